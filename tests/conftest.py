"""What every test shares: a missing part skips on a user's machine and fails where INTENTS_CI=1 is set."""

import os

import pytest


def must_work(present: object, reason: str) -> None:
    """Skip for want of ``reason`` on a user's machine; fail in CI (INTENTS_CI=1), where everything must be there."""
    if present:
        return
    if os.environ.get("INTENTS_CI") == "1":
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)
