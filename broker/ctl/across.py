"""What concerns many apps at once."""

from broker import who
from broker.ctl import table

_ALL = table.flag("--all", "and every app of the catalogs that nothing is decided about")

COMMANDS: tuple[table.Command, ...] = (
    (
        "who",
        "say which apps have one kind of permission",
        "{asked, apps: [{app, name, lineage, intent, kind, scope, state, granted, denied, open, risk, span, until,"
        " since, last_used}]}; state as in show. Without WHAT, {kinds: [{kind, allowed, partly, denied, open}]}, which"
        " count apps",
        lambda o: who.who(table.here(), o.what, everything=o.all),
        (
            ("what", {"metavar": "WHAT", "nargs": "?", "help": "a kind, such as network, or the id of an intent"}),
            _ALL,
        ),
    ),
)
