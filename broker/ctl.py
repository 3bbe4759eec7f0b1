"""``intent-ctl``: what the user's apps may do, in the user's hands (SPEC §11.2).

Text for people, or with ``--json`` one JSON document on standard output, an error being ``{"error": ...}`` there.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from broker import commands, doctor, explain, journal, known, publishers, reach, views, why
from broker.ui import wording
from intents import errors

Options = argparse.Namespace
Argument = tuple[str, dict[str, Any]]  # a name or flag, and the keywords of add_argument()
Command = tuple[str, str, str, Callable[[Options], known.Report], tuple[Argument, ...]]

_STATUS = """Exit status: 0; 1 for an error or a negative result; 2 for a command line not understood. With --json,
standard output holds one JSON document whose keys each command's help lists, null where there is nothing; an error is
{error: {code, message, subject, hint, exit_status}}. Times are seconds since the epoch."""
_EVENTS = 50  # that the log shows unless told otherwise


class _Parser(argparse.ArgumentParser):
    """Reports a bad command line like every other error."""

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError("usage", message, hint=f"{self.prog} --help")


def main() -> int:
    """The command; its exit status: 0, 1 for an error or a negative result, 2 for a command line not understood."""
    as_json = "--json" in sys.argv[1:]
    try:
        options = _parser().parse_args()
        report = options.run(options)
        status = 1 if report.negative else 0
        said = json.dumps(report.data, indent=2) if as_json else "\n".join(map(wording.clean, report.lines))
    except errors.IntentError as error:
        status = 2 if isinstance(error, errors.UsageError) else 1
        said = json.dumps({"error": {**errors.as_data(error), "exit_status": status}}, indent=2) if as_json else ""
        if not as_json:
            lines = errors.render(error, "intent-ctl").split("\n")
            sys.stderr.write("\n".join(map(wording.clean, lines)) + "\n")
    except KeyboardInterrupt:
        return 130
    if sys.stdout is None:  # closed by whoever started us
        return status
    try:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        sys.stdout.write(f"{said}\n" if said else "")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens to what is left
    return status


def _parser() -> argparse.ArgumentParser:
    import intents

    about = "See and change what your apps may do."
    top = _Parser(prog="intent-ctl", description=about, epilog=_STATUS, allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"intent-ctl {intents.VERSION}")
    group = top.add_subparsers(metavar="COMMAND", required=True)
    _add(group, _COMMANDS)
    trust = group.add_parser("trust", help="say whose manifests count", allow_abbrev=False)
    _add(trust.add_subparsers(metavar="COMMAND", required=True), _TRUST)
    return top


def _add(group: "argparse._SubParsersAction[Any]", table: tuple[Command, ...]) -> None:
    for name, words, keys, run, arguments in table:
        about = f"{words[0].upper()}{words[1:]}."
        parser = group.add_parser(name, help=words, description=about, epilog=f"JSON: {keys}", allow_abbrev=False)
        parser.set_defaults(run=run)
        parser.add_argument("--json", action="store_true", help="print one JSON document, as below")
        for argument, keywords in arguments:
            parser.add_argument(argument, **keywords)


def _here() -> known.Here:
    return known.here(os.environ, typed=os.isatty(0))


def _doctor(options: Options) -> known.Report:
    if options.new_journal:
        moved = journal.start_over(_here().places)
        lines = [f"set aside: {path}" for path in moved] or ["There was no journal."]
        return known.Report(data={"set_aside": list(moved)}, lines=tuple(lines))
    findings = doctor.examine(os.environ)
    return known.Report(
        data={"findings": doctor.as_data(findings)},
        lines=tuple(doctor.render(findings).split("\n")),
        negative=any(found.status == doctor.MISSING for found in findings),
    )


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of events")
    return int(text)


def _serial(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` is not a serial")
    return int(text)


_APP: Argument = ("app", {"metavar": "APP", "help": "an app id, an alias or a manifest file"})
_RUNNING = "[{app, lineage, pid, sandbox_pid, started}]"
_DECISION = "{seq, intent, effect, asked, granted, span, until, at, source}"
_ERROR = "{code, message, subject, hint, exit_status}"
_PIN = "{app, lineage, fingerprint, serial, digest, since}"


def _flag(name: str, words: str) -> Argument:
    return name, {"action": "store_true", "help": words}


_COMMANDS: tuple[Command, ...] = (
    (
        "list",
        "list the apps you decided about",
        "{apps: [{app, name, version, aliases, manifest, lineage, current, allowed, partly, denied, open, unanswered,"
        f" last_used, running, trouble: {_ERROR}}}]}}; allowed, partly, denied and open hold intent ids",
        lambda o: views.list_apps(_here(), everything=o.all),
        (_flag("--all", "and every app of the catalogs, with its aliases"),),
    ),
    (
        "show",
        "show what an app may do, why, and for how long",
        "{app, name, version, aliases, manifest, serial, command, files, lineage, trust, fingerprint, last_used,"
        f" unanswered, unreadable, pin: {_PIN}, trouble and would_not_start: {_ERROR}, running: {_RUNNING},"
        f" unused: [{_DECISION}],"
        " together: [sentence],"
        " intents: [{intent, scope, optional, state, because, granted, denied, open, risk, allows, notes, withheld,"
        f" reason, if_denied, decisions: [{_DECISION}]}}]}}; state is allowed, partly, denied or open",
        lambda o: views.show(_here(), o.app),
        (_APP,),
    ),
    (
        "explain",
        "print every option of an app's sandbox under what it is there for",
        f"{{app, groups: [{{group, granted, because, decisions: [{_DECISION}], options: [{{part, words}}]}}], missing,"
        f" withheld: [{{intent, {_ERROR[1:]}], together: [sentence]}}; group is base or an intent; part is"
        " bubblewrap, companion, system-calls or launch; missing holds the intents without which it does not start",
        lambda o: explain.explain_app(_here(), o.app),
        (_APP,),
    ),
    (
        "why",
        "say what decides about a path, server, bus name or variable",
        f"{{app, asked, sort, allowed, access, says, source, lines: [{{line, group, because, decisions: [{_DECISION}]"
        "}], grants: [{intent, command}], withheld: [{intent, message}], never, named}; access is read, write or null;"
        " source is the object here that is seen; grants holds what would allow it, withheld what this machine cannot"
        " give, never why nothing can, named the command that gives a file to one run",
        lambda o: why.why(_here(), o.app, o.asked, sort=o.sort, write=o.write),
        (
            _APP,
            ("asked", {"metavar": "PATH|HOST|BUSNAME|VARIABLE|DEVICE", "help": "as it is called outside the sandbox"}),
            ("--as", {"dest": "sort", "choices": why.SORTS, "help": "what it is, where that cannot be seen from it"}),
            _flag("--write", "ask whether the app can change a path, rather than see it"),
        ),
    ),
    (
        "reach",
        "look around inside an app's sandbox, and compare with what it promises",
        "{app, probe, rows: [{row, group, question, outside, promised, found, agrees}], differences,"
        " withheld: [{intent, message}]}; group is files, processes, kernel, network or desktop; the answers are true,"
        " false, a text, a list or null; agrees is null, and found too, where there was no way to tell; probe is the"
        " program inside that looked: a shell can tell less than Python",
        lambda o: reach.reach(_here(), o.app),
        (_APP,),
    ),
    (
        "grant",
        "allow intents of an app",
        f"{{app, lineage, granted: [{{intent, scope, risk, span, until, withheld}}], pinned, running: {_RUNNING}}}",
        lambda o: commands.grant(_here(), o.app, o.intents, o.span, o.confirm),
        (
            _APP,
            ("intents", {"metavar": "INTENT", "nargs": "+", "help": "the intents, as `show` names them"}),
            (
                "--for",
                {
                    "dest": "span",
                    "metavar": "SPAN",
                    "help": "session, forever, or a time such as 8h or 7d; usually forever, from high risk on session",
                },
            ),
            (
                "--confirm",
                {"metavar": "INTENT", "action": "append", "default": [], "help": "yes, this critical one as well"},
            ),
        ),
    ),
    (
        "revoke",
        "deny intents of an app, or all, for good",
        f"{{app, lineage, denied, running: {_RUNNING}}}",
        lambda o: commands.revoke(_here(), o.app, o.intents),
        (_APP, ("intents", {"metavar": "INTENT", "nargs": "*", "help": "all unless named"})),
    ),
    (
        "forget",
        "let no decision about an app count any more: it asks again",
        f"{{app, forgotten, removed, running: {_RUNNING}}}",
        lambda o: commands.forget(_here(), o.app, data=o.data),
        (_APP, _flag("--data", "and remove what it kept in its private directories")),
    ),
    (
        "log",
        "show what happened, newest last",
        "{events: [{seq, at, what, app, lineage, body}]}; body depends on what (docs/journal.md)",
        lambda o: views.log(_here(), o.app, o.limit),
        (
            ("app", {"metavar": "APP", "nargs": "?", "help": "of this app alone"}),
            ("--limit", {"metavar": "N", "type": _limit, "default": _EVENTS, "help": f"how many; else {_EVENTS}"}),
        ),
    ),
    ("ps", "list what runs", f"{{instances: {_RUNNING}}}", lambda o: views.ps(_here()), ()),
    (
        "stop",
        "ask running apps to end",
        f"{{stopped: {_RUNNING}}}",
        lambda o: commands.stop(_here(), o.app, kill=o.kill),
        (
            ("app", {"metavar": "APP|PID", "help": "every instance of an app, or the one with this number"}),
            _flag("--kill", "end the whole sandbox at once"),
        ),
    ),
    (
        "doctor",
        "say what this machine can enforce",
        "{findings: [{name, status, sentence, fix}]}, or {set_aside}",
        _doctor,
        (_flag("--new-journal", "set a journal aside that cannot be used, and begin an empty one"),),
    ),
)

_TRUST: tuple[Command, ...] = (
    ("list", "list the publishers you agreed to", f"{{pins: [{_PIN}]}}", lambda o: publishers.list_pins(_here()), ()),
    (
        "show",
        "show who publishes an app",
        f"{{app, pin: {_PIN}, manifest: {{path, fingerprint, serial}}, trust, lineage, trouble: {_ERROR}}}",
        lambda o: publishers.show(_here(), o.app),
        (_APP,),
    ),
    (
        "accept",
        "agree to the key of an app before it is started",
        "{app, lineage, fingerprint, changed}",
        lambda o: publishers.accept(_here(), o.app, o.fingerprint),
        (_APP, ("fingerprint", {"metavar": "FINGERPRINT", "help": "SHA256:… as ssh-keygen -l shows it"})),
    ),
    (
        "rekey",
        "agree to another key, or an older manifest, of the same publisher",
        "{app, changes, decisions, applied}; changes holds what: [then, now]",
        lambda o: publishers.rekey(_here(), o.app, o.fingerprint, o.serial),
        (
            _APP,
            ("--fingerprint", {"metavar": "FINGERPRINT", "help": "the new key, in full; without it, only look"}),
            ("--serial", {"metavar": "N", "type": _serial, "help": "the manifest's, if not above the last one"}),
        ),
    ),
)


if __name__ == "__main__":
    sys.exit(main())
