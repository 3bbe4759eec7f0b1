"""intent-ctl and real sandboxes: what runs is listed, ended and folded into history; what only looks like it is not."""

import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from broker import runs
from tests import control
from tests.control import APP
from tests.real import peers, world

pytestmark = pytest.mark.real

LOOP = "while :; do sleep 0.1; done"
POLITE = f"trap 'exit 5' TERM; {LOOP}"
DEAF = f"trap '' TERM; {LOOP}"


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world with an app that runs what it is told."""
    with world.world() as made:
        made.install(world.manifest(["/bin/sh", "-c"], interface="window"))
        yield made


@contextmanager
def running(home: world.World, script: str, *, terminal: bool = False) -> Iterator[tuple[int, dict[str, int]]]:
    """The app with a script, once it is in its sandbox: intent-run's pid, and what ``ps`` says of it."""
    user, app = pty.openpty() if terminal else (-1, -1)
    stdin = app if terminal else subprocess.DEVNULL
    started = subprocess.Popen(
        home.argv(APP, script), env=home.environ, stdin=stdin, stdout=subprocess.DEVNULL, start_new_session=True
    )
    for end in (user, app) if terminal else ():
        os.set_blocking(end, False)
    try:
        ready = peers.eventually(lambda: listed(home).get(started.pid), "the sandbox")
        yield started.pid, ready
    finally:
        for pid in (listed(home).get(started.pid) or {}).values():
            kill(pid)
        kill(started.pid)
        started.wait(peers.PATIENCE)
        for end in (user, app) if terminal else ():
            os.close(end)


def kill(pid: int) -> None:
    """Make sure that a process of the test is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def listed(home: world.World) -> dict[int, dict[str, int]]:
    """The running sandboxes that ``ps`` lists, by the pid of their intent-run."""
    found = control.data(home, "ps")["instances"]
    assert isinstance(found, list) and all(each["app"] == APP for each in found)
    return {each["pid"]: {"sandbox": each["sandbox_pid"]} for each in found if each["sandbox_pid"]}


def trapped(home: world.World, first: int) -> bool:
    """Whether the script has set its trap: SIGTERM is caught or ignored (proc_pid_status(5))."""
    (instance,) = [each for each in runs.instances(home.places) if each.first == first]
    for pid in instance.members():
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("SigCgt", "SigIgn")))
        if any(int(mask, 16) & 1 << (signal.SIGTERM - 1) for mask in masks.values()):
            return True
    return False


def history(home: world.World, what: str) -> list[dict[str, int]]:
    """What the log knows of launches or ends, oldest first."""
    events = control.data(home, "log", APP)["events"]
    assert isinstance(events, list)
    return [event["body"] for event in events if event["what"] == what]


@pytest.mark.parametrize("terminal", [False, True])
def test_stop_asks_the_app_and_its_end_is_history(home: world.World, terminal: bool) -> None:
    with running(home, POLITE, terminal=terminal) as (pid, ready):
        peers.eventually(lambda: trapped(home, ready["sandbox"]), "the trap")
        assert f"pid {pid}, since" in control.done(home, "show", APP)
        assert [body["pid"] for body in history(home, "launch")] == [pid]
        assert f"{APP} (pid {pid}) has ended." in control.done(home, "stop", APP)
        assert listed(home) == {}
        ended = peers.eventually(lambda: history(home, "exit"), "its end in the log")
        assert [(body["pid"], body["status"]) for body in ended] == [(pid, 5)]
        assert len(history(home, "launch")) == 1, "a launch is told once"
        assert os.listdir(runs.directory(home.places)) == []
        assert control.code(home, "stop", APP) == "not-running"


def test_what_does_not_end_is_said_and_can_be_killed(home: world.World) -> None:
    with running(home, DEAF) as (pid, ready):
        peers.eventually(lambda: trapped(home, ready["sandbox"]), "the trap")
        assert control.run(home, "stop", APP)[0] == 1
        assert ready["sandbox"] == listed(home)[pid]["sandbox"], "it still runs"
        inside = runs.instances(home.places)[0].members()
        control.done(home, "stop", APP, "--kill")
        assert listed(home) == {}
        assert inside and not [one for one in inside if alive(one)], "the app is gone, not only its first process"


def alive(pid: int) -> bool:
    """Whether there is such a process that is not merely waited for."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_number_stops_one_of_two(home: world.World) -> None:
    with running(home, LOOP) as (one, _), running(home, LOOP) as (two, ready):
        assert set(listed(home)) == {one, two}
        control.done(home, "stop", str(ready["sandbox"]))
        assert set(listed(home)) == {one}
        control.done(home, "stop", str(one))
        assert listed(home) == {}


def test_a_stopped_app_can_be_stopped(home: world.World) -> None:
    with running(home, LOOP) as (_, ready):
        for pid in runs.instances(home.places)[0].members():
            os.kill(pid, signal.SIGSTOP)
        control.done(home, "stop", APP)
        assert not alive(ready["sandbox"])


def test_an_orphan_is_still_listed_and_ended(home: world.World) -> None:
    with running(home, LOOP) as (pid, ready):
        kill(pid)
        peers.eventually(lambda: not alive(pid), "the end of bubblewrap outside")
        assert alive(ready["sandbox"]) and pid in listed(home)
        control.done(home, "stop", APP, "--kill")
        assert not alive(ready["sandbox"])
        assert [body["status"] for body in history(home, "exit")] == [None]


def test_cve_2022_31214_a_record_of_numbers_that_came_back_is_no_instance(home: world.World) -> None:
    """Our own pid stands for the next process that got a number: alive, of this user, and in no such sandbox."""
    run = pathlib.Path(runs.directory(home.places))
    alive = os.getppid() or 1  # in a box of its own the suite may have no parent
    mine = {f"{name}-namespace": os.stat(f"/proc/self/ns/{name}").st_ino for name in ("ipc", "mnt", "net", "uts")}
    other = {"child-pid": os.getpid(), **mine, "pid-namespace": 1}
    record = run / f"{alive}.json"
    record.write_text(json.dumps({"app": APP, "lineage": "0" * 16, "at": 7}) + f"\n{json.dumps(other)}\n")
    record.chmod(0o600)
    (run / f"{alive}").mkdir()
    (run / f"{alive}" / "session").touch()
    assert runs.instances(home.places) == ()
    assert control.code(home, "stop", str(os.getpid())) == "not-running"
    assert control.data(home, "ps") == {"instances": []}
    assert os.listdir(run) == [], "the record and its sockets are removed"
    assert [body["at"] for body in history(home, "launch")] == [7]
    assert [body["status"] for body in history(home, "exit")] == [None]


def test_what_begins_and_what_ends_is_not_swept(home: world.World) -> None:
    run = pathlib.Path(runs.directory(home.places))
    record = run / f"{os.getpid()}.json"
    with open(os.open(record, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(json.dumps({"app": APP, "lineage": "0" * 16, "at": 7}) + "\n")
        file.flush()
        (instance,) = runs.instances(home.places)
        assert (instance.pid, instance.first) == (os.getpid(), 0)
        control.done(home, "ps")
        assert record.exists()
        line = json.dumps({"child-pid": os.getpid(), "pid-namespace": 1}) + "\n"
        file.write(line[:20])
        file.flush()
        (instance,) = runs.instances(home.places)
        assert instance.first == 0, "bubblewrap writes the line in pieces: not seeing the start would be not revoking"
        file.write(line[20:])
        file.flush()
        assert control.data(home, "ps") == {"instances": []}
        assert record.exists(), "its sandbox is over, and its exit status not yet written"
        file.write(json.dumps({"exit-code": 4}) + "\n")
    assert control.data(home, "ps") == {"instances": []}
    assert not record.exists()
    assert [body["status"] for body in history(home, "exit")] == [4]


def test_a_record_that_others_could_write_is_refused(home: world.World) -> None:
    record = pathlib.Path(runs.directory(home.places), "1.json")
    record.write_text("{}")
    record.chmod(0o666)
    assert control.code(home, "ps") == "unsafe-place"


def test_a_start_long_ago_is_told_once_by_many(home: world.World) -> None:
    home.start("exit 3")
    run = runs.directory(home.places)
    assert len(os.listdir(run)) == 1
    program = f"""
import sys
sys.path.insert(0, {str(world.ROOT)!r})
from broker import ctl, state
state._home = lambda euid: {str(home.home)!r}
sys.argv = ["intent-ctl", "ps"]
sys.exit(ctl.main())
"""
    words = [sys.executable, "-c", program]
    many = [subprocess.Popen(words, env=home.environ, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [one.wait(peers.PATIENCE) for one in many] == [0] * 4
    assert [body["status"] for body in history(home, "exit")] == [3]
    assert len(history(home, "launch")) == 1


def test_data_goes_only_when_nothing_runs_and_leads_nowhere(home: world.World) -> None:
    canary = home.home / "canary"
    canary.mkdir()
    (canary / "letter").write_text("dear")
    plant = f"ln -s {canary} ~/.config/gate; ln -s ../../../../../canary ~/.cache/gate; mkdir -p ~/.local/share/a/b/c; "
    plant += "touch ~/.local/state/1 ~/.local/share/a/b/c/d; chmod 0 ~/.local/share/a/b ~/.local/share/a; "
    with running(home, f"{plant}{LOOP}"):
        peers.eventually(lambda: (home.own("state") / "1").exists(), "what it plants")
        peers.eventually(lambda: (home.own("data") / "a").stat().st_mode & 0o777 == 0, "all that it plants")
        assert control.code(home, "forget", APP, "--data") == "still-running"
        assert (home.own("config") / "gate").is_symlink(), "nothing is touched"
        control.done(home, "forget", APP)
        control.done(home, "stop", APP, "--kill")
    (removed,) = control.data(home, "forget", APP, "--data")["removed"]  # type: ignore[misc]
    assert pathlib.Path(removed).parent == pathlib.Path(home.places.data, "apps") and not os.path.lexists(removed)
    assert (canary / "letter").read_text() == "dear"
    assert os.listdir(f"{home.places.data}/apps") == []


def test_revoke_says_who_keeps_what(home: world.World) -> None:
    home.install(world.manifest(["/bin/sh", "-c"], {"net": control.NETWORK}, interface="window", serial=2))
    control.done(home, "grant", APP, "net")
    with running(home, LOOP) as (pid, _):
        assert f"pid {pid} keeps what it has until it ends" in control.done(home, "revoke", APP)
        assert f"pid {pid} does not get it" in control.done(home, "grant", APP, "net")


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that runs: five seconds pass without five seconds of waiting."""
    moments: Iterator[float] = iter(range(100))
    slept: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    sleep: Callable[[float], None] = slept.append
    monkeypatch.setattr(time, "sleep", sleep)
    me = runs.Instance(
        app_id=APP, lineage="", pid=os.getpid(), at=0, first=os.getpid(), status=None, changed=0, path="/nowhere.json",
        namespaces=(("mnt", os.stat("/proc/self/ns/mnt").st_ino),),
    )  # fmt: skip
    with pytest.raises(Exception, match="did not end within 5 seconds") as caught:
        runs.stop([me], kill=False)
    assert getattr(caught.value, "code", "") == "not-stopped" and len(slept) == 5
