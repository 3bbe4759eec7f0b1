"""Writes the reference pages that come from the code: ``python docs/generate.py`` (a test holds them together)."""

import contextlib
import io
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from broker import ctl, run  # noqa: E402
from intents import author, errors, kinds, seccomp  # noqa: E402

NOTE = "<!-- Written by docs/generate.py; edit the code instead. -->\n"


def error_page() -> str:
    """docs/errors.md: every code, its exit status, what it means, what to do."""
    about = "Every error prints one sentence about your own case, then the next step. The code is stable."
    lines = ["# Errors", "", NOTE, about, ""]
    for family, codes in errors.CATALOGUE.items():
        lines += [f"## {family}", "", _summary(family), ""]
        lines += ["| code | exit | meaning | next step |", "|---|---|---|---|"]
        lines += [f"| `{code}` | {status} | {title} | {hint} |" for code, (status, title, hint) in codes.items()]
        lines.append("")
    return "\n".join(lines)


def _summary(family: str) -> str:
    return (getattr(errors, family).__doc__ or "").splitlines()[0]


def kind_page() -> str:
    """docs/kinds.md: what each kind of intent asks for."""
    lines = ["# Kinds of intent", "", NOTE]
    for name, text in kinds.DOCS.items():
        lines += [f"## `{name}`", "", text, ""]
    return "\n".join(lines)


def filter_page() -> str:
    """docs/system-calls.md: what the system call filter says on each processor."""
    about = "What is not listed is allowed by name or does not exist for the app."
    lines = ["# The system call filter", "", NOTE, about, ""]
    both = [(machine, compat) for machine in ("x86_64", "aarch64") for compat in (False, True)]
    for machine, compat in both:
        rows = [(name, word) for name, word in seccomp.verdicts(machine, compat=compat) if word != "allow"]
        title = f"{machine}, 32-bit programs where `multiarch` is granted" if compat else machine
        lines += [f"## {title}", "", "| call | answer |", "|---|---|"]
        lines += [f"| `{name}` | {verdict} |" for name, verdict in rows]
        lines.append("")
    return "\n".join(lines)


def command_page() -> str:
    """docs/cli.md: the help of every command."""
    lines = ["# Commands", "", NOTE, "## intent-run", "", "```", run.USAGE.rstrip(), "```", ""]
    for name, main, words in (("intent-ctl", ctl.main, CTL), ("intent-author", author.main, AUTHOR)):
        lines += [f"## {name}", ""]
        for word in words:
            lines += ["```", _help(main, name, [*word, "--help"]).rstrip(), "```", ""]
    return "\n".join(lines)


CTL = [[], *([word] for word in ("list", "show", "explain", "why", "grant", "revoke", "forget", "log", "ps", "stop"))]
CTL += [["doctor"]]
CTL += [["trust"], *(["trust", word] for word in ("list", "show", "accept", "rekey"))]
AUTHOR = [[], ["new"], ["import", "flatpak"], *([word] for word in ("lint", "sign", "verify", "compile", "explain"))]


def _help(main: object, name: str, words: list[str]) -> str:
    os.environ["COLUMNS"] = "100"
    said = io.StringIO()
    before, sys.argv = sys.argv, [name, *words]
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            main()  # type: ignore[operator]
    finally:
        sys.argv = before
    return said.getvalue()


PAGES = {"errors.md": error_page, "kinds.md": kind_page, "system-calls.md": filter_page, "cli.md": command_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (ROOT / "docs" / page).write_text(write(), encoding="utf-8")
