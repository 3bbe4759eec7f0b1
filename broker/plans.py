"""Where plans are kept, and what makes the plans of one app stale at once (SPEC §10.1)."""

import contextlib
import os
import re

from broker import state

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def file(places: state.Places, name: str, *, typed: bool) -> str:
    """The plan of what the user calls ``name``, apart by whether standard input is a terminal; empty for a file,
    because another directory may hold another one of that name."""
    kept = _NAME.fullmatch(name) and not name.endswith(".toml")
    return f"{places.state}/plans/{name}.{'tty' if typed else 'pipe'}" if kept else ""


def head_file(places: state.Places, app_id: str) -> str:
    """The file whose content every plan of the app guards: the journal's head when the plan was compiled."""
    return f"{places.state}/plans/{app_id}.head"


def write(places: state.Places, path: str, app_id: str, head: str, data: bytes) -> None:
    """Store a plan made from ``head``. The caller holds the app's ``state`` lock. Raises OSError."""
    mark(places, app_id, head)
    state.write_atomic(path, data)


def mark(places: state.Places, app_id: str, head: str) -> None:
    """Say what launches are compiled from now: one that finds another head when it is about to start, does not.

    The caller holds the ``state`` lock. Raises OSError.
    """
    path = head_file(places, app_id)
    if state.read_private(path, len(head) + 1) != head.encode():
        state.write_atomic(path, head.encode())


def drop(places: state.Places, app_id: str) -> None:
    """Make every plan of the app stale, before a decision commits. The caller holds the ``state`` lock."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(head_file(places, app_id))
