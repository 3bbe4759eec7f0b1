"""Writes the reference pages that come from the code: ``python docs/generate.py`` (a test holds them together)."""

import contextlib
import io
import json
import lzma
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterable

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from broker import ctl, run  # noqa: E402
from intents import author, errors, flatpak, kinds, seccomp  # noqa: E402
from tests import replay  # noqa: E402
from tests.oracle import allowed, cases  # noqa: E402

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


CTL = [[], *([name] for name, *_ in ctl.COMMANDS)]
CTL += [words for name, _, table in ctl.GROUPS for words in ([name], *([name, word] for word, *_ in table))]
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


CORPUS = ROOT / "tests" / "corpora" / "flathub-finish-args.jsonl.xz"
REASONS = 20
ABOUT = """\
What becomes of the permissions of Flathub's apps when `intent-author import flatpak` makes a manifest of them: every
set of permissions that {apps:,} apps ever had ([where they are from](../tests/corpora/README.md)). Each permission ends
as **exact** (the manifest asks for the same, or there is nothing to ask for), as **tighter** (what programs use it for
works with less), or with a **warning** (it is not asked for, or only in part; the warning says why and what to do
instead). A set counts as the worst of its permissions.
"""
CHECKED = """\
A real `flatpak run` is given each of {singles} permissions and combinations, and sets that real apps have had; what it
starts bubblewrap and xdg-dbus-proxy with is recorded. The same permissions are imported, granted in full and compiled
for the same machine. Both command lines are reduced to what they give: which of the host's files, sockets and devices
(to read, to write, as a device); namespaces; bus rules; names of variables; and what the filter says of each system
call. Ours must lie within Flatpak's (`tests/real/test_flatpak_oracle.py`, with 300 sets; all that Flathub ever asked
for: `python -m tests.oracle --sets 9999`), but for these differences. Devices are stand-ins: not run on hardware.
"""
PROBED = """\
And the same probe is run inside both, for twelve sets (`tests/real/test_flatpak_probe.py`): it reaches nothing with us
that it does not reach with Flatpak. Without any permission it reaches with Flatpak alone: secrets in the environment,
the machine's id, the resolver's configuration, `/sys`, a session bus, the machine's name, io_uring.
"""
HEAD = ["| | number | exact | tighter | warning |", "|---|---:|---:|---:|---:|"]


def comparison_page() -> str:
    """docs/comparison.md: how much of what Flathub's apps ask for is expressed exactly, more tightly, or not."""
    apps = [json.loads(line) for line in lzma.decompress(CORPUS.read_bytes()).splitlines()]
    imports = [[flatpak.from_flatpak(app["id"], tokens).notes for tokens in app["sets"]] for app in apps]
    every = [notes for sets in imports for notes in sets]
    tokens = [note for notes in every for note in notes]
    lines = ["# Compared with Flatpak", "", NOTE, ABOUT.format(apps=len(apps))]
    lines += HEAD
    lines.append(_shares("permissions", (note.outcome for note in tokens)))
    lines.append(_shares("sets", (_worst(notes) for notes in every)))
    lines.append(_shares("sets, the newest of each app", (_worst(sets[-1]) for sets in imports if sets)))
    lines += ["", "## By kind of permission", "", *HEAD]
    options = Counter(note.token.partition("=")[0] for note in tokens)
    for option, _ in options.most_common():
        found = [note.outcome for note in tokens if note.token.partition("=")[0] == option]
        lines.append(_shares(f"`{option}`", found))
    lines += ["", "## The most frequent warnings", ""]
    lines += ["| permission | number | why, and what to do instead |", "|---|---:|---|"]
    warned = Counter(note.said for note in tokens if note.outcome is flatpak.WARNED)
    for said, count in warned.most_common(REASONS):
        most = Counter(note.token for note in tokens if note.said == said).most_common(2)
        more = ", …" if len(most) > 1 else ""
        lines.append(f"| `{most[0][0]}`{more} | {count:,} | {said} |")
    lines += ["", "## Checked against Flatpak", "", CHECKED.format(singles=len(cases.singles()) - 1)]
    lines += ["| we give, and Flatpak does not | because |", "|---|---|"]
    lines += [f"| {entry.title} | {entry.because} |" for entry in allowed.ALLOWED]
    lines += ["", PROBED.rstrip()]
    return "\n".join([*lines, ""])


def _worst(notes: tuple[flatpak.Note, ...]) -> flatpak.rows.Outcome:
    return max((note.outcome for note in notes), key=flatpak.OUTCOMES.index, default=flatpak.EXACT)


def _shares(what: str, found: Iterable[flatpak.rows.Outcome]) -> str:
    outcomes = Counter(found)
    shares = (f"{100 * outcomes[each] / outcomes.total():.1f} %" for each in flatpak.OUTCOMES)
    return f"| {what} | {outcomes.total():,} | {' | '.join(shares)} |"


UPDATES = """\
The permission histories of {apps:,} apps of Flathub ([where they are from](../tests/corpora/README.md)), replayed as
versions of one app each: every set of permissions is imported as a manifest, what is open is asked and answered, and on
goes the next. A user of one of these apps, over its whole history of {updates:,} updates in all, would have seen:
"""
LAWS = """\
An intent of more than low risk needs an act of its own to be allowed, and each can be given in part, for a time or not
at all; what is of low risk is listed in the same handshake. `flatpak` asks one yes or no for all that it lists, and
again when an update lists something new; no line of it can be answered alone, and a no means not to have that version.

{silent:,} of the {updates:,} updates ask for nothing that was not asked before: they are no question. {fewer:,} of
those that Flatpak asks about are among them: what is new to it was covered by an earlier answer (less access, or a
folder below another), needs no intent, or is not asked for by an imported manifest ([comparison](comparison.md)).

`tests/test_replay.py` replays all of it with a user who answers by chance (all, less, some, nothing; for good, for a
time), and checks at every step: what is asked is exactly what no earlier question covered; what counts is what the
reference model (`tests/model/decide.py`) says; nothing is granted that was not both asked for and allowed; no version
is asked about twice. It also plants four defects and sees each found.
"""


def update_page() -> str:
    """docs/updates.md: how much a user is asked over an app's whole history."""
    counts = replay.replay(replay.histories(), replay.SEED, checked=False)
    rows = {
        "handshakes": [each.sheets for each in counts],
        "intents in them that need an act of their own": [each.acts for each in counts],
        "of these, in updates": [each.later for each in counts],
        "intents of low risk in them": [each.listed for each in counts],
        "Flatpak: yes-or-no prompts": [each.prompts for each in counts],
        "Flatpak: permissions that these lump together": [each.lines for each in counts],
    }
    total = {name: sum(getattr(each, name) for each in counts) for name in ("updates", "silent", "unlike")}
    lines = ["# What updates ask", "", NOTE, UPDATES.format(apps=len(counts), **total)]
    lines += ["| per app | median | mean | 90th percentile | all apps |", "|---|---:|---:|---:|---:|"]
    for title, values in rows.items():
        median, mean, most = replay.spread(values)
        lines.append(f"| {title} | {median:g} | {mean:.2f} | {most:g} | {sum(values):,} |")
    lines += ["", LAWS.format(fewer=total["unlike"], **total).rstrip()]
    return "\n".join([*lines, ""])


PAGES = {
    "errors.md": error_page,
    "kinds.md": kind_page,
    "system-calls.md": filter_page,
    "cli.md": command_page,
    "comparison.md": comparison_page,
    "updates.md": update_page,
}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (ROOT / "docs" / page).write_text(write(), encoding="utf-8")
