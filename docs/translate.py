"""Brings the catalogues of our sentences up to date: ``python -m docs.translate`` (GNU gettext has to be installed).

For each language in ``broker/locale``: new sentences get an empty translation in ``intents.po``, gone ones leave, and
``intents.mo`` is written from it. A new language begins as an empty directory ``broker/locale/CODE/LC_MESSAGES``.
"""

import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
LOCALE = ROOT / "broker" / "locale"
SOURCES = ("intents", "broker")
_HEADER = r"""msgid ""
msgstr ""
"Language: {code}\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"""
_PLAIN = ("--no-location", "--no-wrap", "--sort-output")


def extract(pot: pathlib.Path) -> None:
    """Write every template of ``text.said`` and ``text.template`` into a new catalogue without translations."""
    sources = sorted(str(path.relative_to(ROOT)) for top in SOURCES for path in (ROOT / top).rglob("*.py"))
    keywords = ("--keyword", "--keyword=said:1", "--keyword=template:1")
    words = ("xgettext", "--language=Python", "--from-code=UTF-8", *_PLAIN, *keywords)
    subprocess.run([*words, f"--output={pot}", *sources], cwd=ROOT, check=True)
    body = pot.read_text("utf-8").partition("\n\n")[2]  # its header has the date and CHARSET instead of one
    pot.write_text(_HEADER.format(code="") + "\n" + body, "utf-8")


def update(directory: pathlib.Path, pot: pathlib.Path) -> None:
    """Bring the catalogue of one language, ``directory``, up to date with ``pot``, and compile it."""
    po, mo = directory / "intents.po", directory / "intents.mo"
    if not po.exists():
        po.write_text(_HEADER.format(code=directory.parent.name), "utf-8")
    merge = ("msgmerge", "--quiet", "--no-fuzzy-matching", "--update", "--backup=none", *_PLAIN)
    subprocess.run([*merge, str(po), str(pot)], check=True)
    kept = subprocess.run(["msgattrib", "--no-obsolete", *_PLAIN, str(po)], check=True, capture_output=True).stdout
    po.write_bytes(kept)
    subprocess.run(["msgfmt", "--check-format", f"--output-file={mo}", str(po)], check=True)


def main() -> None:
    """Update every language."""
    with tempfile.TemporaryDirectory() as scratch:
        pot = pathlib.Path(scratch) / "intents.pot"
        extract(pot)
        for directory in sorted(LOCALE.glob("*/LC_MESSAGES")):
            update(directory, pot)


if __name__ == "__main__":
    main()
