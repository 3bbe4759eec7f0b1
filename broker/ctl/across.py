"""What concerns many apps at once."""

from broker import transfer, who
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
    (
        "export",
        "write decisions as one JSON document, for another machine",
        "{intents_export, at, apps: [{app, lineage, fingerprint, decisions: [{intent, asked, granted, span, until, at,"
        " source}], left_out}]}, also without --json; left_out counts decisions that end with the session",
        lambda o: transfer.export(table.here(), o.apps),
        (("apps", {"metavar": "APP", "nargs": "*", "help": "of these apps alone"}),),
    ),
    (
        "import",
        "apply decisions that `export` wrote, as far as they could be given here",
        "{file, applied, apps: [{app, decisions: [{intent, asked, granted, span, until, at, source, applied, why}],"
        " changes: [{intent, before, after, risk, more}], pinned}]}; exit status 1 where some of it does not apply",
        lambda o: transfer.bring(table.here(), o.file, o.confirm, dry=o.dry_run),
        (
            ("file", {"metavar": "FILE"}),
            table.flag("--dry-run", "only show what would change"),
            (
                "--confirm",
                {
                    "metavar": "APP:INTENT",
                    "action": "append",
                    "default": [],
                    "help": "yes, this critical one as well",
                },
            ),
        ),
    ),
)
