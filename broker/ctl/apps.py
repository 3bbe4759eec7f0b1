"""What apps may do: to see it, to have it explained, to change it."""

from broker import change, commands, explain, reach, views, why
from broker.ctl import table

COMMANDS: tuple[table.Command, ...] = (
    (
        "list",
        "list the apps you decided about",
        "{apps: [{app, name, version, aliases, manifest, lineage, current, allowed, partly, denied, open, unanswered,"
        f" last_used, running, trouble: {table.ERROR}}}]}}; allowed, partly, denied and open hold intent ids",
        lambda o: views.list_apps(table.here(), everything=o.all),
        (table.flag("--all", "and every app of the catalogs, with its aliases"),),
    ),
    (
        "show",
        "show what an app may do, why, and for how long",
        "{app, name, version, aliases, manifest, serial, command, files, lineage, trust, fingerprint, last_used,"
        f" unanswered, unreadable, pin: {table.PIN}, trouble and would_not_start: {table.ERROR},"
        f" running: {table.STATE}, unused: [{table.DECISION}],"
        " together: [sentence],"
        " intents: [{intent, scope, optional, state, because, granted, denied, open, lapsed, risk, allows, notes,"
        f" withheld, reason, if_denied, decisions: [{table.DECISION}], locked, rules: [{table.RULE}]}}]}}; state is"
        " allowed, partly, denied or open",
        lambda o: views.show(table.here(), o.app),
        (table.APP,),
    ),
    (
        "explain",
        "print every option of an app's sandbox under what it is there for",
        f"{{app, groups: [{{group, granted, because, decisions: [{table.DECISION}], rules: [{table.RULE}],"
        f" options: [{{part, words}}]}}], missing, withheld: [{{intent, {table.ERROR[1:]}], together: [sentence]}};"
        " group is base or an intent; part is bubblewrap, companion, system-calls or launch; missing holds the intents"
        " without which it does not start",
        lambda o: explain.explain_app(table.here(), o.app),
        (table.APP,),
    ),
    (
        "why",
        "say what decides about a path, server, bus name or variable",
        "{app, asked, sort, allowed, access, says, source, lines: [{line, group, because,"
        f" decisions: [{table.DECISION}], rules: [{table.RULE}]}}],"
        f" grants: [{{intent, command}}], locked: [{{intent, rules: [{table.RULE}]}}], withheld: [{{intent, message}}],"
        " never, named}; access is read, write or null;"
        " source is the object here that is seen; grants holds what would allow it, locked what would if the policy"
        " let it, withheld what this machine cannot give, never why nothing can, named the command that gives a file to"
        " one run",
        lambda o: why.why(table.here(), o.app, o.asked, sort=o.sort, write=o.write),
        (
            table.APP,
            ("asked", {"metavar": "PATH|HOST|BUSNAME|VARIABLE|DEVICE", "help": "as it is called outside the sandbox"}),
            ("--as", {"dest": "sort", "choices": why.SORTS, "help": "what it is, where that cannot be seen from it"}),
            table.flag("--write", "ask whether the app can change a path, rather than see it"),
        ),
    ),
    (
        "reach",
        "look around inside an app's sandbox, and compare with what it promises",
        "{app, probe, rows: [{row, group, question, outside, promised, found, agrees}], differences,"
        " withheld: [{intent, message}]}; group is files, processes, kernel, network or desktop; the answers are true,"
        " false, a text, a list or null; agrees is null, and found too, where there was no way to tell; probe is the"
        " program inside that looked: a shell can tell less than Python",
        lambda o: reach.reach(table.here(), o.app),
        (table.APP,),
    ),
    (
        "grant",
        "allow intents of an app",
        f"{{app, lineage, granted: [{{intent, scope, granted, risk, span, until, withheld}}], pinned,"
        f" running: {table.RUNNING}, now: {table.NOW}}}; now is null without --now",
        lambda o: commands.grant(table.here(), o.app, o.intents, o.span, o.confirm, now=o.now),
        (
            table.APP,
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
            table.flag("--now", "and put it into what runs, where that can be done"),
        ),
    ),
    (
        "choose",
        "show what can be answered about an intent, or answer it, also with less than all of it",
        "{app, intent, offers: [{offer, scopes, title, allows, risk, spans, usual, chosen}]}, or with OFFER {app,"
        f" lineage, intent, offer, granted, risk, span, until, withheld, running: {table.RUNNING}}}",
        lambda o: change.choose(table.here(), o.app, o.intent, o.offer, o.span, o.confirm),
        (
            table.APP,
            ("intent", {"metavar": "INTENT", "help": "the intent, as `show` names it"}),
            ("offer", {"metavar": "OFFER", "nargs": "?", "help": "one of those that are shown without it"}),
            (
                "--for",
                {
                    "dest": "span",
                    "metavar": "SPAN",
                    "help": "session, forever, or a time such as 8h or 7d; usually as `grant` and `revoke` have it",
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
        f"{{app, lineage, denied, servers, locked, running: {table.RUNNING}, now: {table.NOW}}}; now is null without"
        " --now; a negative result says that later is not empty for an instance that still runs",
        lambda o: commands.revoke(table.here(), o.app, o.intents, now=o.now or o.stop, stop=o.stop),
        (
            table.APP,
            ("intents", {"metavar": "INTENT|SERVER", "nargs": "*", "help": "all unless named; or a server of one"}),
            table.flag("--now", "and take it from what runs; says what stays open"),
            table.flag("--stop", "and end what runs if something of it stays; includes --now"),
        ),
    ),
    (
        "forget",
        "let no decision about an app count any more: it asks again",
        f"{{app, forgotten, removed, running: {table.RUNNING}}}",
        lambda o: commands.forget(table.here(), o.app, data=o.data, trial=o.dry_run),
        (
            table.APP,
            table.flag("--data", "and remove what it kept in its private directories, copies of your settings too"),
            table.flag("--dry-run", "only say what would be forgotten and removed"),
        ),
    ),
)
