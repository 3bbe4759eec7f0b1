"""Command-line transcripts: tests/cli/*.txt say what a user types and sees. INTENT_UPDATE=1 rewrites what is seen.

A paragraph that begins with ``$ command`` goes on with its output, errors included, and ends with ``? N`` where the
exit status is not 0; other paragraphs are remarks. Files stand at the end, each after a line ``-- name --``. Commands
run in a fresh directory, [TMP]; [REPO] is the checkout, [TIME] a moment.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import must_work

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
COMMANDS = {"intent-author": "intents.author", "intent-ctl": "broker.ctl", "intent-run": "broker.run"}
MARKER = re.compile(r"^-- (\S+) --\n", re.MULTILINE)
TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:?\d{2})?")


def split(transcript: str) -> tuple[list[str], dict[str, str]]:
    """The paragraphs and the files of a transcript."""
    talk, *files = MARKER.split(transcript)
    return talk.rstrip("\n").split("\n\n"), dict(zip(files[::2], files[1::2], strict=True))


def join(paragraphs: list[str], files: dict[str, str]) -> str:
    """The transcript that ``split`` takes apart."""
    end = "\n\n" if files else "\n"
    return "\n\n".join(paragraphs) + end + "".join(f"-- {name} --\n{text}" for name, text in files.items())


def play(paragraph: str, directory: Path, environ: dict[str, str]) -> str:
    """The paragraph as it really goes; a remark stays what it is."""
    if not paragraph.startswith("$ "):
        return paragraph
    command = paragraph.partition("\n")[0]
    done = subprocess.run(
        ["/bin/sh", "-c", command.removeprefix("$ ")],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    output = done.stdout.decode().replace(str(directory), "[TMP]").replace(str(REPOSITORY), "[REPO]")
    lines = TIME.sub("[TIME]", output).rstrip("\n").split("\n") if output else []
    status = [f"? {done.returncode}"] if done.returncode else []
    # An empty line would end the paragraph.
    return "\n".join((command, *(line or "[EMPTY]" for line in lines), *status))


@pytest.mark.parametrize("path", sorted((HERE / "cli").glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    work, tools = tmp_path / "work", tmp_path / "bin"
    work.mkdir()
    tools.mkdir()
    for name, module in COMMANDS.items():
        start = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from {module} import main; sys.exit(main())"
        (tools / name).write_text(f"#!{sys.executable}\n{start}\n")
        (tools / name).chmod(0o755)
    environ = {"PATH": f"{tools}:/usr/bin:/bin", "REPO": str(REPOSITORY), "LANG": "C.UTF-8", "COLUMNS": "100"}
    paragraphs, files = split(path.read_text("utf-8"))
    if "intent-run org." in path.read_text("utf-8"):  # it starts one
        must_work(shutil.which("bwrap"), "bubblewrap")
    for name, content in files.items():
        (work / name).write_text(content, "utf-8")
    seen = [play(paragraph, work, environ) for paragraph in paragraphs]
    if os.environ.get("INTENT_UPDATE") == "1":
        path.write_text(join(seen, files), "utf-8")
    else:
        assert join(seen, files) == path.read_text("utf-8")


def test_a_transcript_that_lies_is_caught(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin:/bin"}
    assert play("$ echo a; exit 3", tmp_path, environ) == "$ echo a; exit 3\na\n? 3"
    assert play("$ true\nsomething", tmp_path, environ) == "$ true"
    assert play("$ printf 'a\\n\\nb'; pwd", tmp_path, environ) == "$ printf 'a\\n\\nb'; pwd\na\n[EMPTY]\nb[TMP]"
    assert play("$ echo 2026-01-02T03:04:05Z", tmp_path, environ) == "$ echo 2026-01-02T03:04:05Z\n[TIME]"
    text = "A remark.\n\n$ true\n\n-- a --\nb\n"
    assert join(*split(text)) == text
