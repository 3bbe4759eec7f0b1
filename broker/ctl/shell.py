"""Help for shells: completion of the command lines of all three commands."""

import argparse
from collections.abc import Sequence

from broker import catalog, complete, journal, known
from broker.ctl import table
from intents import author, errors, parse


def _completion(options: table.Options) -> known.Report:
    script = complete.SCRIPTS[options.shell]
    return known.Report(data={"shell": options.shell, "script": script}, lines=tuple(script.rstrip().split("\n")))


COMMANDS: tuple[table.Command, ...] = (
    (
        "completion",
        "print what makes a shell complete our command lines",
        "{shell, script}",
        _completion,
        (("shell", {"metavar": "SHELL", "choices": sorted(complete.SCRIPTS), "help": "bash, zsh or fish"}),),
    ),
)


def told(parser: argparse.ArgumentParser, words: Sequence[str]) -> str:
    """What may stand at the end of a command line, for a shell: a word, a tab and what it is, line by line.

    words: the command line up to the cursor, the command's name first; parser: of ``intent-ctl``. What cannot be
    looked up is left out: a shell that completes is no place for errors.
    """
    command, *rest = words or [""]
    parsers = {"intent-ctl": lambda: parser, "intent-run": _run_parser, "intent-author": author.parser}
    make = parsers.get(command.rpartition("/")[2])
    if make is None or not rest:
        return ""
    found = complete.candidates(make(), rest, {"app": _apps, "apps": _apps, "intent": _intents, "intents": _intents})
    return "".join(f"{word}\t{about}\n" if about else f"{word}\n" for word, about in found)


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="intent-run")
    parser.add_argument("--unsigned", action="store_true", help="nobody vouches for it: nothing outlives the session")
    parser.add_argument("--read", action="store_true", help="it may read the files named on its command line")
    parser.add_argument("--write", action="store_true", help="it may read and change them")
    parser.add_argument("app")
    parser.add_argument("arguments", nargs="*")
    return parser


def _apps(_: Sequence[str]) -> list[complete.Candidate]:
    at = table.here()
    found: dict[str, str] = {}
    try:
        for each in catalog.everything(at.places):
            app = parse.parse(each.body, file=each.path).app
            found |= dict.fromkeys((app.id, *(app.aliases if each.vouched else ())), app.name)
    except errors.IntentError:
        found |= dict.fromkeys(catalog.ids(at.places), "")
    try:
        with journal.Journal.open(at.places, create=False) as book:
            found |= {app_id: found.get(app_id, "") for app_id, _ in book.apps()}
    except errors.IntentError:
        pass  # there is none yet, or doctor says what is wrong with it
    return sorted(found.items())


def _intents(given: Sequence[str]) -> list[complete.Candidate]:
    try:
        found = catalog.find(given[0], table.here().places)[0] if given else None
        manifest = parse.parse(found.body, file=found.path) if found else None
    except errors.IntentError:
        return []
    return [(intent.id, intent.scope.kind) for intent in manifest.intents] if manifest else []
