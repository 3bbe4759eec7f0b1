"""The manual pages: every command and option is in them, and a formatter of manual pages has nothing to say."""

import pathlib
import shutil
import subprocess

import pytest

from broker import ctl
from docs import man
from intents import kinds
from tests.conftest import must_work

PAGES = man.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed(name: str, tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("mandoc"), "mandoc")
    (tmp_path / name).write_text(PAGES[name], "utf-8")
    words = ["mandoc", "-Tlint", "-Wwarning", tmp_path / name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def shown(name: str, directory: pathlib.Path) -> str:
    """The page as it is read."""
    must_work(shutil.which("mandoc"), "mandoc")
    (directory / name).write_text(PAGES[name], "utf-8")
    words = ["mandoc", "-Tascii", "-O", "width=200", directory / name]
    raw = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return subprocess.run(["col", "-b"], input=raw, capture_output=True, text=True, check=True).stdout


def test_every_command_and_argument_is_told(tmp_path: pathlib.Path) -> None:
    page = shown("intent-ctl.1", tmp_path)
    for name, words, _, _, arguments in ctl.COMMANDS:
        assert f"\n   {name}\n" in page
        assert f"{words[0].upper()}{words[1:]}." in " ".join(page.split())
        assert all(flag in page for flag, _ in arguments if flag.startswith("--"))
    assert all(name in shown("intent-manifest.5", tmp_path) for name in kinds.DOCS)
    assert "--unsigned" in shown("intent-run.1", tmp_path)


def test_no_text_is_a_request() -> None:
    assert man._text(".so /etc/shadow") == "\\&.so /etc/shadow"
    assert man._text("'x \\fB-y") == "\\&'x \\efB\\-y"
