"""``intent-ctl``: what the user's apps may do, in the user's hands (SPEC §11.2).

Text for people, or with ``--json`` one JSON document on standard output, an error being ``{"error": ...}`` there.
"""

import argparse
import json
import os
import secrets
import select
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from broker import overview, views
from broker.ctl import across, apps, machine, moving, past, policy, queue, shell, table, trust
from broker.ui import wording
from intents import errors

# Commands as they are listed; then those with commands of their own: word, one line of help, table.
_DECIDING = (*apps.COMMANDS, *across.COMMANDS, *queue.COMMANDS, *past.COMMANDS)
COMMANDS = (*_DECIDING, *machine.COMMANDS, *moving.COMMANDS, *shell.COMMANDS)
GROUPS = (
    ("desktop", "start apps in their sandbox from the desktop", moving.DESKTOP),
    ("trust", "say whose manifests count", trust.COMMANDS),
    ("policy", "see what the administrator has settled", policy.COMMANDS),
)

_TURN_MS = 500  # between two looks at what is new

_STATUS = """Exit status: 0; 1 for an error or a negative result; 2 for a command line not understood. With --json,
standard output holds one JSON document whose keys each command's help lists, null where there is nothing; an error is
{error: {code, message, subject, hint, exit_status}}. Times are seconds since the epoch."""


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line like every other error."""

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError("usage", message, hint=f"{self.prog} --help")


def main() -> int:
    """The command; its exit status: 0, 1 for an error or a negative result, 2 for a command line not understood."""
    if sys.argv[1:2] == ["complete"]:  # by the scripts that `completion` prints: the words are another command's
        _say(shell.told(parser(), sys.argv[2:]))
        return 0
    as_json = "--json" in sys.argv[1:]
    lines_of_json = False
    try:
        if len(sys.argv) == 1 and os.isatty(0) and os.isatty(1) and _viewed():
            return 0
        options = parser().parse_args()
        report = options.run(options)
        if report.more is not None:
            lines_of_json = as_json
            _go_on(report.more, as_json=as_json)
            return 0
        status = 1 if report.negative else 0
        said = json.dumps(report.data, indent=2) if as_json else "\n".join(map(wording.clean, report.lines))
    except errors.IntentError as error:
        status = 2 if isinstance(error, errors.UsageError) else 1
        document = {"error": {**errors.as_data(error), "exit_status": status}}
        said = json.dumps(document, indent=None if lines_of_json else 2) if as_json else ""
        if not as_json:
            lines = errors.render(error, "intent-ctl").split("\n")
            sys.stderr.write("\n".join(map(wording.clean, lines)) + "\n")
    except KeyboardInterrupt:
        return 130
    _say(f"{said}\n" if said else "")
    return status


def _viewed() -> bool:
    """Show everything on the whole terminal until the user leaves it; not where it is dumb, small or not ours."""
    from broker.ui import browser  # prompt_toolkit takes a while to import

    if not browser.fits(os.environ):
        return False
    methods = overview.methods(table.here)
    browser.show(os.environ, lambda name, values: overview.call(name, values, methods), views.day, secrets.choice)
    return True


def _say(text: str) -> bool:
    """Print, and tell whether anybody listens."""
    if sys.stdout is None:  # closed by whoever started us
        return False
    try:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens to what is left
        return False
    return True


def _go_on(told: Iterator[tuple[Mapping[str, object], str] | None], *, as_json: bool) -> None:
    """Print line by line what happens, until the user interrupts it or nobody listens any more: both end it well."""
    try:
        for item in told:
            if item is None and not _listened():
                return
            if item and not _say((json.dumps(item[0]) if as_json else wording.clean(item[1])) + "\n"):
                return
    except KeyboardInterrupt:
        return


def _listened() -> bool:
    """Wait a little, and tell whether somebody still reads standard output."""
    if sys.stdout is None:
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return not any(what & select.POLLERR for _, what in poll.poll(_TURN_MS))


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    import intents

    about = "See and change what your apps may do."
    top = _Parser(prog="intent-ctl", description=about, epilog=_STATUS, allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"intent-ctl {intents.VERSION}")
    group = top.add_subparsers(metavar="COMMAND", required=True)
    _add(group, COMMANDS)
    for name, words, commands in GROUPS:
        parser = group.add_parser(name, help=words, allow_abbrev=False)
        _add(parser.add_subparsers(metavar="COMMAND", required=True), commands)
    return top


def _add(group: "argparse._SubParsersAction[Any]", commands: tuple[table.Command, ...]) -> None:
    for name, words, keys, run, arguments in commands:
        about = f"{words[0].upper()}{words[1:]}."
        parser = group.add_parser(name, help=words, description=about, epilog=f"JSON: {keys}", allow_abbrev=False)
        parser.set_defaults(run=run)
        parser.add_argument("--json", action="store_true", help="print one JSON document, as below")
        for argument, keywords in arguments:
            parser.add_argument(argument, **keywords)
