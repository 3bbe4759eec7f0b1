"""Questions that wait: to see them, to answer them."""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator

from broker import client, known, pending, prompts, server, state, watching
from broker.ctl import table
from broker.ui import choose, scripted
from intents import errors, paths

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


def _watch(options: table.Options) -> known.Report:
    recorders: list[scripted.Recorder] = []

    def whom() -> prompts.Prompter | None:
        prompter = choose.choose(os.environ, secrets.choice)
        if prompter is None or not options.record:
            return prompter
        recorders.append(scripted.Recorder(prompter))
        return recorders[-1]

    def told() -> Iterator[watching.Told | None]:
        for item in watching.watch(table.here, whom):
            if item is not None and options.record:
                _write(options.record, [step for each in recorders for step in each.script])
            yield item

    return known.Report(data={}, lines=(), more=told())


def _write(path: str, script: list[dict[str, object]]) -> None:
    try:
        state.write_atomic(os.path.abspath(path), scripted.to_json(script).encode())
    except OSError as error:
        message = f"`{paths.printable(path)}` cannot be written: {error.strerror}"
        raise errors.HostError("unwritable-place", message) from error


def _replay(options: table.Options) -> known.Report:
    try:
        with open(options.file, encoding="utf-8") as file:
            script = scripted.Scripted.from_json(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise errors.CatalogError("unreadable", f"`{paths.printable(options.file)}` cannot be read: {error}") from error
    except scripted.Mismatch as error:
        raise errors.DecisionError("not-as-scripted", f"`{paths.printable(options.file)}`: {error}") from error
    with server.connect(table.here()) as connection:
        told = list(watching.replay(client.Client(connection), script, options.wait))
    return known.Report(data={"answered": [data for data, _ in told]}, lines=tuple(line for _, line in told))


def _seconds(text: str) -> float:
    if not text.isdecimal() or not 0 < int(text) <= 86400:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of seconds")
    return float(text)


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
    (
        "watch",
        "put questions on this terminal as they come",
        "one object a line: {watching}, then {question, shown, answered, error} for each question",
        _watch,
        (("--record", {"metavar": "FILE", "help": "and write what is asked and answered there, for `replay`"}),),
    ),
    (
        "serve",
        "serve the questions of this session to other front-ends (docs/protocol.md)",
        "one object: {serving}",
        lambda o: known.Report(data={}, lines=(), more=server.serve(table.here)),
        (),
    ),
    (
        "replay",
        "answer the questions that are served from a script",
        "{answered: [{question, shown, answers}]}",
        _replay,
        (
            ("file", {"metavar": "FILE", "help": "as `watch --record` writes it (docs/protocol.md)"}),
            (
                "--wait",
                {
                    "metavar": "SECONDS",
                    "type": _seconds,
                    "default": 60.0,
                    "help": "for how long the next question is waited for; else 60",
                },
            ),
        ),
    ),
)
