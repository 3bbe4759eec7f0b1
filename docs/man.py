"""Writes the manual pages, from the same parsers and texts as the commands: ``python -m docs.man DIRECTORY``."""

import argparse
import pathlib
import sys
import textwrap
from collections.abc import Iterator

import intents
from broker import ctl, run
from intents import author, kinds

_FILES = """\
/etc/intents/manifests	the administrator's manifests
/usr/share/intents/manifests	those of the package
~/.local/share/intents/manifests	the user's own
~/.local/state/intents	what you decided: the journal broker.db and its mark
~/.local/share/intents/apps	what each app keeps, one directory for each app and publisher"""

_ESCAPES = {"\\": "\\e", "-": "\\-", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq"}
_ABOUT = """A manifest is a TOML file named after the app's id. It says what the app wants, why, and what breaks without
it; the user decides. `intent-author new` writes a first one, and `intent-author lint` checks it."""


def main() -> None:
    """Write every page into the directory that is named."""
    directory = pathlib.Path(sys.argv[1])
    for name, text in pages().items():
        (directory / name).write_text(text, "utf-8")


def pages() -> dict[str, str]:
    """The pages in man(7) by the name of their file."""
    return {
        "intent-run.1": _page("intent-run", 1, "start an app inside what you granted", _run()),
        "intent-ctl.1": _page("intent-ctl", 1, "see and change what your apps may do", _parsed(ctl.parser())),
        "intent-author.1": _page("intent-author", 1, "write, check and sign manifests", _parsed(author.parser())),
        "intent-manifest.5": _page("intent-manifest", 5, "what an app asks for", _manifest()),
    }


def _page(name: str, section: int, about: str, body: Iterator[str]) -> str:
    others = ("intent-run(1)", "intent-ctl(1)", "intent-author(1)", "intent-manifest(5)", "bwrap(1)")
    title = f'.TH "{name.upper()}" "{section}" "" "intents {intents.VERSION}"'
    lines = [title, ".SH NAME", f"{_text(name)} \\- {about}", *body]
    lines += [".SH FILES", *(line for row in _FILES.split("\n") for line in _tagged(*row.split("\t")))]
    return "\n".join([*lines, ".SH SEE ALSO", ", ".join(map(_text, (o for o in others if not o.startswith(name)))), ""])


def _run() -> Iterator[str]:
    usage, about, options, rest = run.USAGE.split("\n\n", 3)
    yield from (".SH SYNOPSIS", _text(usage.removeprefix("usage: ")), ".SH DESCRIPTION", *_filled(about))
    yield ".SH OPTIONS"
    for line in options.split("\n"):
        yield from _tagged(*line.strip().split(None, 1))
    yield from (".SH EXIT STATUS", *_filled(rest.partition("Exit status: ")[2]))


def _parsed(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (".SH SYNOPSIS", _text(f"{parser.prog} COMMAND [ARGUMENT ...]"), ".SH DESCRIPTION")
    yield from _filled(parser.description or "")
    yield ".SH COMMANDS"
    for command in _commands(parser):
        yield from (f'.SS "{_text(command.prog.partition(" ")[2])}"', _text(_synopsis(command)), ".PP")
        yield from _filled(command.description or "")
        for action in command._actions:
            if action.dest != "help" and action.help:
                yield from _tagged(_named(action), action.help)
        if command.epilog:
            yield from (".PP", *_filled(command.epilog))
    if parser.epilog:
        yield from (".SH EXIT STATUS", *_filled(parser.epilog.removeprefix("Exit status: ")))


def _commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands below a parser, in their order; those of a group in its place."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        about = {each.dest: each.help for each in group._choices_actions}
        for name, command in group.choices.items():
            command.description = command.description or about.get(name)
            yield from _commands(command)


def _synopsis(parser: argparse.ArgumentParser) -> str:
    return " ".join(parser.format_usage().removeprefix("usage: ").split())


def _named(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return " ".join(filter(None, (", ".join(action.option_strings), value)))


def _manifest() -> Iterator[str]:
    yield from (".SH DESCRIPTION", *_filled(_ABOUT), ".SH KINDS")
    for name, text in kinds.DOCS.items():
        yield from _tagged(name, text)


def _tagged(tag: str, words: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{_text(tag)}\\fR", *_filled(words))


def _filled(words: str) -> list[str]:
    return [_text(line) for line in textwrap.wrap(" ".join(words.split()), 100, break_on_hyphens=False)]


def _text(words: str) -> str:
    """The words as man(7) shows them as they are: its own characters escaped, and none of them a request."""
    shown = "".join(_ESCAPES.get(char, char) for char in words)
    return f"\\&{shown}" if shown[:1] in (".", "'") else shown


if __name__ == "__main__":
    main()
