"""The form of a command of ``intent-ctl``, and what many of them have in common."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from broker import known

Options = argparse.Namespace
Argument = tuple[str, dict[str, Any]]  # a name or flag, and the keywords of add_argument()
# Name, one line of help, the keys of its JSON document, what runs it, its arguments.
Command = tuple[str, str, str, Callable[[Options], known.Report], tuple[Argument, ...]]

APP: Argument = ("app", {"metavar": "APP", "help": "an app id, an alias or a manifest file"})
RUNNING = "[{app, lineage, pid, sandbox_pid, started}]"
TRIES = "[{protocol, host, port, verdict, intent, times, first, last}]"
STATE = (
    "[{app, lineage, pid, sandbox_pid, started, given, drift: [{intent, place, before, after}],"
    f" tried: {TRIES}}}]"
)
# What became of each instance; before, after: read, write, device, made or null; sort: file, directory (all below it is
# reached), working-directory, mapping.
NOW = (
    "[{pid, sandbox_pid, changed: [{intent, place, before, after}], closed, also,"
    " servers: [{intent, server, granted, connections}],"
    " open: [{pid, program, sort, place, writable}], later: [{intent, why}], stopped}]"
)
DECISION = "{seq, intent, effect, asked, granted, span, until, at, source}"
RULE = "{file, line, app, kind, scope, effect, locked, reason}"
ERROR = "{code, message, subject, hint, exit_status}"
PIN = "{app, lineage, fingerprint, serial, digest, since, files}"


def here() -> known.Here:
    """This user's places, now. Raises HostError."""
    return known.here(os.environ, typed=os.isatty(0))


def flag(name: str, words: str) -> Argument:
    """A switch, off unless it is given."""
    return name, {"action": "store_true", "help": words}
