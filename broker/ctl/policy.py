"""The administrator's policy: to check it, and to see what it does."""

import os

from broker import rulings
from broker.ctl import table

COMMANDS: tuple[table.Command, ...] = (
    (
        "check",
        "check policy files, or the policy of this machine",
        f"{{rules: [{table.RULE}], ignored, errors: [{table.ERROR}]}}; ignored holds names that are not policy files;"
        " exit status 1 if there is an error",
        lambda o: rulings.check(dict(os.environ), o.files),
        (
            (
                "files",
                {"metavar": "FILE", "nargs": "*", "help": "wherever it lies; without any, what every start reads"},
            ),
        ),
    ),
    (
        "list",
        "list the rules of this machine",
        f"{{directory, rules: [{table.RULE}]}}",
        lambda o: rulings.list_rules(dict(os.environ)),
        (),
    ),
    (
        "explain",
        "say which rule decides about each intent of an app, and what you had answered",
        "{app, files, intents: [{intent, scope, state, because, locked,"
        f" rules: [{table.RULE[:-1]}, decides, idle}}], answers: [{table.DECISION}]}}],"
        f" would_not_start: {table.ERROR}}}; idle says why a rule does not decide, else null",
        lambda o: rulings.explain(table.here(), o.app),
        (table.APP,),
    ),
)
