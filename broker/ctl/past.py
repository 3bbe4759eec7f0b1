"""What happened, and taking it back."""

import argparse
import re
import time

from broker import commands, history, known, log, undo, uses, verify
from broker.ctl import table

_EVENTS = 50  # that the log shows unless told otherwise
_AGO = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_MOMENTS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")
_CONFIRM: table.Argument = (
    "--confirm",
    {"metavar": "INTENT", "action": "append", "default": [], "help": "yes, this critical one may be granted by it"},
)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of events")
    return int(text)


def _since(text: str) -> int:
    """A moment in seconds since the epoch, from a length such as ``8h`` or a local date and time."""
    if found := _AGO.fullmatch(text):
        return int(time.time()) - int(found[1]) * _SECONDS[found[2]]
    for form in _MOMENTS:
        try:
            return int(time.mktime(time.strptime(text, form)))
        except (ValueError, OverflowError):
            continue
    raise argparse.ArgumentTypeError(f"`{text}` is neither a time such as `8h` or `7d` nor a date such as 2026-01-31")


def _log(options: table.Options) -> known.Report:
    how = {"since": options.since, "whats": tuple(map(history.What, options.what))}
    if not options.follow:
        return log.log(table.here(), options.app, options.limit, **how)
    return known.Report(data={}, lines=(), more=log.follow(table.here(), options.app, options.limit, **how))


COMMANDS: tuple[table.Command, ...] = (
    (
        "restore",
        "let count again what an app was allowed before it went unused for long",
        "{app, restored: [{intent, granted}]}",
        lambda o: commands.restore(table.here(), o.app),
        (table.APP,),
    ),
    (
        "log",
        "show what happened, newest last",
        "{events: [{seq, at, what, app, lineage, body}]}; body depends on what (docs/journal.md). With --follow, each"
        " event is a line of its own",
        _log,
        (
            ("app", {"metavar": "APP", "nargs": "?", "help": "of this app alone"}),
            ("--limit", {"metavar": "N", "type": _limit, "default": _EVENTS, "help": f"how many; else {_EVENTS}"}),
            (
                "--since",
                {"metavar": "WHEN", "type": _since, "default": 0, "help": "a time such as 8h or 7d, or a date"},
            ),
            (
                "--what",
                {
                    "action": "append",
                    "default": [],
                    "choices": [each.value for each in history.What],
                    "help": "events of this kind alone; may be given several times",
                },
            ),
            table.flag("--follow", "go on with what happens, until interrupted"),
        ),
    ),
    (
        "undo",
        "let what counted before your last decisions count again",
        "{app, event, undone, words, changes: [{intent, before, after, risk, more}]}; event is the number of the"
        " undoing, undone holds those of what it takes back; more: something is granted that was not before",
        lambda o: undo.undo(table.here(), o.which, o.confirm, dry=o.dry_run),
        (
            ("which", {"metavar": "SEQ|APP", "nargs": "?", "help": "an event, as `log` numbers them, or an app"}),
            table.flag("--dry-run", "only show what would change"),
            _CONFIRM,
        ),
    ),
    (
        "uses",
        "say which apps were started with what, and what they tried and did not get",
        "{apps: [{app, lineage, starts, first, last, intents: [{intent, starts, without, last}], refused: [{what,"
        f" starts, last}}], tried: {table.TRIES}}}]}}; without counts starts that did not have the intent; refused is"
        " what filters of ours told, tried what was tried of the network",
        lambda o: uses.uses(table.here(), o.app),
        (("app", {"metavar": "APP", "nargs": "?", "help": "of this app alone"}),),
    ),
    (
        "verify-log",
        "check the journal, or a copy of one, event by event",
        "{file, events, newest: {seq, at, hash}, broken: {seq, why}, damage, mark: {seq, hash}, mark_holds}; events"
        " counts those that follow one another from the first; mark_holds is null without a mark beside the file",
        lambda o: verify.verify(table.here(), o.file),
        (("file", {"metavar": "FILE", "nargs": "?", "help": "a copy of broker.db, wherever it is"}),),
    ),
)
