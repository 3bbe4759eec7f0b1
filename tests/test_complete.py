"""What a shell is told when the user presses Tab: the engine, and three real shells with the scripts we print."""

import argparse
import os
import pathlib
import pty
import select
import shutil
import subprocess
import sys
import time

import pytest

from broker import complete, ctl
from tests.conftest import must_work

ROOT = pathlib.Path(__file__).parents[1]
APPS = [("org.example.One", "One"), ("one", "One")]


def asked(*words: str) -> list[str]:
    """The candidates for a command line of ``intent-ctl``, with two names of apps and one intent."""
    known = {"app": lambda _: APPS, "intents": lambda given: [(f"of-{given[0]}", "network")] if given else []}
    return [word for word, _ in complete.candidates(ctl.parser(), words, known)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["gra"], ["grant"]),
        (["trust", "re"], ["rekey"]),
        (["show", ""], ["org.example.One", "one"]),
        (["show", "o"], ["org.example.One", "one"]),
        (["show", "one", ""], []),
        (["grant", "one", ""], ["of-one"]),
        (["grant", "one", "of-one", ""], []),
        (["grant", "--for", "8h", "one", ""], ["of-one"]),
        (["grant", "--for", ""], []),
        (["show", "--js"], ["--json"]),
        (["why", "one", "x", "--as", "pa"], ["path"]),
        (["no-such-command", ""], []),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["grant"], []),
    ],
)
def test_the_end_of_a_command_line(words: list[str], expected: list[str]) -> None:
    assert asked(*words) == expected


def test_every_command_is_offered() -> None:
    commands = {name for name, *_ in ctl.COMMANDS} | {name for name, *_ in ctl.GROUPS}
    assert set(asked("")) == commands


def test_what_a_shell_would_take_apart_is_left_out() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("app")
    names = ["$(reboot)", "a b", "`x`", "a;b", "\x1b[2J", "a\tb", "a\nb", "*", "good.Name-1"]
    found = complete.candidates(parser, [""], {"app": lambda _: [(name, "") for name in names]})
    assert found == (("good.Name-1", ""),)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    """A PATH with our commands in front."""
    for name in ("intent-ctl", "intent-run", "intent-author"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m broker.ctl \"$@\"\n")
        script.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def script(shell: str, directory: pathlib.Path) -> pathlib.Path:
    file = directory / f"completion.{shell}"
    file.write_text(complete.SCRIPTS[shell])
    return file


def test_bash_completes(path: str, tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("bash"), "bash")
    tried = "COMP_WORDS=(intent-ctl gra); COMP_CWORD=1; _intents; echo ${COMPREPLY[@]}"
    words = ["bash", "-c", f"source {script('bash', tmp_path)}; {tried}"]
    done = subprocess.run(words, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("grant\n", "")


def test_fish_completes(path: str, tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("fish"), "fish")
    words = f"source {script('fish', tmp_path)}; complete -C 'intent-ctl gra'"
    environ = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(["fish", "-c", words], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "grant\tallow intents of an app\n"


def test_zsh_completes(path: str, tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("zsh"), "zsh")
    child, terminal = pty.fork()
    if child == 0:
        environ = {"PATH": path, "HOME": str(tmp_path), "TERM": "dumb", "PS1": "ready> "}
        os.execve(str(shutil.which("zsh")), ["zsh", "-f", "-i"], environ)
    try:
        os.write(terminal, b"autoload -U compinit; compinit -u -D; source completion.zsh; echo se''t\n".replace(
            b"completion.zsh", os.fsencode(script("zsh", tmp_path))))  # fmt: skip
        assert "set\r\n" in until(terminal, "set\r\n")
        os.write(terminal, b"intent-ctl gra\t")
        assert "grant" in until(terminal, "grant")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def until(terminal: int, words: str, patience: float = 30.0) -> str:
    """What the terminal has shown when ``words`` came, or after ``patience`` seconds."""
    seen, end = "", time.monotonic() + patience
    while words not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode("utf-8", "replace")
    return seen
