"""Questions that wait: to see them, to answer them."""

import sys

from broker import pending
from broker.ctl import table
from intents import errors

_MOST = 1 << 20  # bytes of answers on standard input


def _standard_input(words: list[str]) -> str | None:
    """What stands on standard input, where the one word is ``-``. Raises UsageError."""
    if words != ["-"]:
        return None
    data = sys.stdin.buffer.read(_MOST + 1)
    try:
        if len(data) <= _MOST:
            return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise errors.UsageError("usage", "standard input is not UTF-8, or too long", hint="intent-ctl answer --help")


QUESTION = "{app, lineage, question, shown, since, unanswered, request}"
ANSWERS = "[{intent, effect, span, seconds, scopes}]"

COMMANDS: tuple[table.Command, ...] = (
    (
        "pending",
        "show the questions that nobody was there to answer, or what one app would ask",
        f"{{questions: [{QUESTION}], troubles: [{{app, error: {table.ERROR}}}]}}; request and question as in"
        " docs/protocol.md",
        lambda o: pending.show(table.here(), o.app),
        (("app", {"metavar": "APP", "nargs": "?", "help": "of this app alone, even if it was never started"}),),
    ),
    (
        "answer",
        "answer everything that is open for an app, as `pending` showed it",
        f"{{app, lineage, question, answers: {ANSWERS}, pinned, running: {table.RUNNING}}}",
        lambda o: pending.reply(
            table.here(),
            o.app,
            o.answers,
            shown=o.shown,
            span=o.span,
            confirmed=o.confirm,
            data=_standard_input(o.answers),
        ),
        (
            table.APP,
            ("shown", {"metavar": "HASH", "help": "which question you saw, as `pending` says"}),
            (
                "answers",
                {
                    "metavar": "INTENT=allow|deny|NUMBER",
                    "nargs": "*",
                    "help": "one for each intent; a number, or several with commas, gives less, as `pending` lists it;"
                    " - reads the answers from standard input, as JSON",
                },
            ),
            (
                "--for",
                {
                    "dest": "span",
                    "choices": tuple(pending.SPANS),
                    "help": "how long what is allowed holds; usually forever, from high risk on session; no is forever",
                },
            ),
            (
                "--confirm",
                {"metavar": "INTENT", "action": "append", "default": [], "help": "yes, this critical one as well"},
            ),
        ),
    ),
)
