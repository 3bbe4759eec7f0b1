"""The process that draws the window, when it is slow, dead or somebody else's: nothing of that gives more (§11.5)."""

import json
import os
import pathlib
import sys
from collections.abc import Sequence

import pytest

from broker import prompts, wire
from broker.ui import dialog
from intents import errors, model, paths
from intents.kinds import path
from tests import handshake

pytestmark = pytest.mark.real

READ, WRITE = (path.Path(place=paths.parse_place("home/Notes"), access=access) for access in ("read", "write"))
REQUEST = handshake.request(handshake.question(open=(READ,)))
(QUESTION,) = REQUEST.questions
ALLOWED = (prompts.answer(QUESTION, model.Effect.ALLOW, model.Lifespan.SESSION),)
MORE = (prompts.answer(QUESTION, model.Effect.ALLOW, model.Lifespan.SESSION, (WRITE,)),)
TWICE = ALLOWED * 2
SPEAKS = """
import json, os, socket, sys, time
stream = socket.socket(fileno=0)
lines = stream.makefile("rb")

def call(method, **values):
    stream.sendall(json.dumps({"id": 1, "method": method, **values}).encode() + b"\\n")
    return json.loads(lines.readline())

def put():
    return call("list")["result"]["questions"][0]
"""
ANSWER = SPEAKS + """
put, answers = put(), json.loads(sys.argv[1])
call("showing")
call("answer", question=put["question"], shown=put["shown"], answers=answers)
"""


def ask(program: str, *words: str, environ: dict[str, str] | None = None) -> tuple[prompts.Answer, ...] | None:
    """What comes of asking through a helper that is this Python program."""
    helper = [sys.executable, "-I", "-c", program, *words]
    return dialog.Dialog(environ or {}, helper=helper).ask(REQUEST)


def said(answers: Sequence[prompts.Answer]) -> str:
    return json.dumps(wire.answers_data(answers))


def test_an_answer_that_is_on_offer_counts() -> None:
    assert ask(ANSWER, said(ALLOWED)) == ALLOWED


@pytest.mark.parametrize("answers", [MORE, TWICE, ()], ids=["more than asked", "twice", "nothing"])
def test_an_answer_that_is_not_on_offer_is_none(answers: Sequence[prompts.Answer]) -> None:
    assert ask(ANSWER, said(answers)) is None


@pytest.mark.parametrize(
    "then",
    [
        "",
        "time.sleep(0.2); os.kill(os.getpid(), 9)",
        "stream.sendall(os.urandom(4096) + b'\\n')",
        "stream.sendall(b'[' * 100_000 + b'\\n'); lines.readline(); sys.exit()",
        "stream.sendall(b'x' * (2 << 20))",
        "call('answer', question=it['question'], shown='0' * 64, answers=json.loads(sys.argv[1]))",
        "call('answer', question='another', shown=it['shown'], answers=json.loads(sys.argv[1]))",
        "call('answer', question=it['question'], shown=it['shown'], answers=None)",
        "call('answer', question=it['question'], shown=it['shown'])",
        "call('answer', question=it['question'], shown=it['shown'], answers='yes')",
        "call('grant', question=it['question'], shown=it['shown'], answers=json.loads(sys.argv[1]))",
    ],
    ids=["ends", "killed", "garbage", "deep", "flood", "hash", "question", "null", "absent", "text", "method"],
)
def test_a_helper_that_answers_wrongly_has_not_answered(then: str) -> None:
    assert ask(f"{SPEAKS}\nit = put(); call('showing')\n{then}", said(ALLOWED)) is None


@pytest.mark.parametrize("program", ["", "import time; time.sleep(60)", f"{SPEAKS}\nput(); time.sleep(60)"])
def test_a_window_that_does_not_open_is_said(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialog, "PATIENCE", 1.0)
    with pytest.raises(errors.RefusedError) as caught:
        ask(program)
    assert caught.value.code == "no-way-to-ask" and "did not open" in caught.value.message


def test_the_helper_ends_with_the_question(tmp_path: pathlib.Path) -> None:
    report = f"{tmp_path}/pid"
    assert ask(f"open({report!r}, 'w').write(str(__import__('os').getpid()))\n{ANSWER}\ntime.sleep(60)", said(ALLOWED))
    with open(report) as file, pytest.raises(ProcessLookupError):
        os.kill(int(file.read()), 0)


LOOKS = """
import json, os, sys
found = {"fds": sorted(os.listdir("/proc/self/fd"), key=int), "environ": dict(os.environ), "cwd": os.getcwd(),
         "session": os.getsid(0) == os.getpid()}
json.dump(found, open(sys.argv[2], "w"))
"""


def test_the_helper_gets_its_socket_and_what_a_window_needs(tmp_path: pathlib.Path) -> None:
    report = f"{tmp_path}/report"
    hostile = {
        **dict.fromkeys(("LD_PRELOAD", "PYTHONPATH", "GTK_MODULES", "GTK_PATH", "GI_TYPELIB_PATH", "GTK_THEME"), "/x"),
        **dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_DATA_DIRS", "SECRET"), "/x"),
        "WAYLAND_DISPLAY": "wayland-0",
        "XDG_RUNTIME_DIR": "/run/user/1",
        "LC_ALL": "C.UTF-8",
    }
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        assert ask(LOOKS + ANSWER, said(ALLOWED), report, environ=hostile) == ALLOWED
    finally:
        os.close(reading)
        os.close(writing)
    with open(report) as file:
        found = json.load(file)
    assert found["fds"] == ["0", "1", "2", "3"]  # 3: the directory that is being listed
    assert found["session"] and found["cwd"] == "/"
    kept = {name: value for name, value in found["environ"].items() if value != "/nonexistent"}
    assert kept == {
        "PATH": "/usr/bin:/bin",
        "GSETTINGS_BACKEND": "memory",
        "GSK_RENDERER": "cairo",
        **{name: hostile[name] for name in ("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "LC_ALL")},
    }
