"""Completion of command lines in shells: what may stand where the cursor is (SPEC §11.2).

One engine for every shell and command: it walks the same parsers that read the commands, and asks the catalogs and the
journal for apps and intents. The scripts of the shells (``SCRIPTS``) only call it and show what it prints.
"""

import argparse
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

Candidate = tuple[str, str]  # a word, and what it is, in a few words or none

# What `intent-ctl completion SHELL` prints. Nothing found: the shell goes on with file names.
SCRIPTS = {
    "bash": """_intents() {
  local words=("${COMP_WORDS[@]:0:COMP_CWORD+1}")
  mapfile -t COMPREPLY < <(intent-ctl complete "${words[@]}" 2>/dev/null | cut -f 1)
}
complete -o default -F _intents intent-run intent-ctl intent-author
""",
    "zsh": """#compdef intent-run intent-ctl intent-author
_intents() {
  local -a found
  found=("${(@f)$(intent-ctl complete "${(@)words[1,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then _describe -V word "found=(${(@)found/$'\\t'/:})" ; else _files; fi
}
if [[ "${funcstack[1]}" = _intents ]]; then _intents "$@"; else compdef _intents intent-run intent-ctl intent-author; fi
""",
    "fish": """for name in intent-run intent-ctl intent-author
  complete -c $name -a '(intent-ctl complete (commandline -opc) (commandline -ct) 2>/dev/null)'
end
""",
}
_SHOWABLE = re.compile(r"[A-Za-z0-9._@:/=+-]+")  # nothing that a shell would take apart


def candidates(
    parser: argparse.ArgumentParser,
    words: Sequence[str],
    known: Mapping[str, Callable[[Sequence[str]], Sequence[Candidate]]],
) -> tuple[Candidate, ...]:
    """What the last of ``words`` may become; the others come before it on the command line.

    known: for the name of an argument, what gives its values, from the arguments that stand before it.
    """
    *before, begun = words
    place = _walk(parser, before)
    found = place.expected(begun, known)
    return tuple(
        (word, about) for word, about in found if word.startswith(begun) and word != begun and _SHOWABLE.fullmatch(word)
    )


class _Place:
    """Where on a command line the cursor is: the parser in charge, its arguments, an option that wants a value."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser
        self.given: list[str] = []
        self.wanting: argparse.Action | None = None

    def expected(
        self, begun: str, known: Mapping[str, Callable[[Sequence[str]], Sequence[Candidate]]]
    ) -> Iterator[Candidate]:
        if self.wanting is None and begun.startswith("-"):
            for option in self.parser._actions:
                yield from ((name, _about(option)) for name in option.option_strings if name.startswith("--"))
            return
        action = self.wanting if self.wanting is not None else self.positional()
        if action is None:
            return
        if isinstance(action, argparse._SubParsersAction):
            yield from ((each.dest, _about(each)) for each in action._choices_actions)
        elif action.choices:
            yield from ((str(choice), "") for choice in action.choices)
        elif action.dest in known:
            taken = set(self.given)
            yield from (each for each in known[action.dest](self.given) if each[0] not in taken)

    def positional(self) -> argparse.Action | None:
        """The positional argument that comes next: the last one goes on where it takes several."""
        actions = [action for action in self.parser._actions if not action.option_strings]
        if len(self.given) < len(actions):
            return actions[len(self.given)]
        return actions[-1] if actions and actions[-1].nargs in ("*", "+") else None


def _walk(parser: argparse.ArgumentParser, words: Sequence[str]) -> _Place:
    place = _Place(parser)
    for word in words:
        if place.wanting is not None:
            place.wanting = None
            continue
        if word.startswith("-"):
            named = [action for action in place.parser._actions if word in action.option_strings]
            place.wanting = next((action for action in named if action.nargs != 0), None)
            continue
        expected = place.positional()
        if isinstance(expected, argparse._SubParsersAction) and word in expected.choices:
            place = _Place(expected.choices[word])
        else:
            place.given.append(word)
    return place


def _about(action: argparse.Action) -> str:
    return " ".join((action.help or "").split())[:60]
