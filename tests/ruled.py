"""A policy for one world: a directory of its own in the place of the machine's, for this process and for a start."""

import json
import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from broker import policy
from tests.real import world

# Run before intent-run begins. Whoever runs the tests stands in for root: an ordinary user owns no more than that.
HERE = "from broker import policy\npolicy.DIRECTORY = {directory!r}\npolicy.OWNER = {owner}\n"


def directory(where: world.World) -> pathlib.Path:
    """Where the policy of this world is, if there is one."""
    return where.base / "etc" / "policy.d"


def prelude(where: world.World) -> str:
    """What makes a start take that for the machine's."""
    return HERE.format(directory=str(directory(where)), owner=os.geteuid())


@contextmanager
def here(where: world.World) -> Iterator[None]:
    """Let the broker's modules, in this process, take that for the machine's."""
    with mock.patch.multiple(policy, DIRECTORY=str(directory(where)), OWNER=os.geteuid()):
        yield


def rule(
    kind: str, effect: str, *, locked: bool = True, app: str = "*", reason: str = "So it is.", **keys: object
) -> str:
    """One rule as a file says it."""
    lines = ["[[rule]]", f'app = "{app}"', f'kind = "{kind}"', f'effect = "{effect}"', f'reason = "{reason}"']
    lines += [f"locked = {str(locked).lower()}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([*lines, ""])


def write(where: world.World, *rules: str, name: str = "10.toml") -> pathlib.Path:
    """Let a file of the policy say these rules."""
    directory(where).mkdir(parents=True, exist_ok=True, mode=0o755)
    path = directory(where) / name
    path.write_text("\n".join(rules))
    path.chmod(0o644)
    return path
