"""The broker's own files: that writes, locks and tokens hold under a crowd."""

import dataclasses
import multiprocessing
import os
import secrets
import signal
import stat
import threading
from pathlib import Path

import pytest

from broker import state
from intents import errors
from tests import scene

ME = os.geteuid()


def mode(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


# Files


def test_write_atomic_replaces_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for data in (b"one", b"", b"two" * 100_000):
        state.write_atomic(str(path), data)
        assert path.read_bytes() == data
        assert mode(str(path)) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_write_atomic_follows_no_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    for name in ("file", "file.new"):
        os.symlink(target, tmp_path / name)
    state.write_atomic(f"{tmp_path}/file", b"data")
    assert target.read_bytes() == b"kept"
    assert (tmp_path / "file").read_bytes() == b"data"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = f"{tmp_path}/file"
    whole = {bytes([65 + number]) * 200_000 for number in range(8)}
    state.write_atomic(path, min(whole))
    done = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(Path(path).read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for data in sorted(whole) * 5:
            state.write_atomic(path, data)
    finally:
        done.set()
        reader.join()
    assert seen and seen <= whole


@pytest.mark.parametrize("defect", ["link", "fifo", "mode", "directory"])
def test_read_private_refuses(tmp_path: Path, defect: str) -> None:
    path = tmp_path / "file"
    match defect:
        case "link":
            (tmp_path / "target").write_bytes(b"")
            os.symlink(tmp_path / "target", path)
        case "fifo":
            os.mkfifo(path, 0o600)
        case "mode":
            path.write_bytes(b"")
            path.chmod(0o640)
        case _:
            path.mkdir(mode=0o700)
    with pytest.raises(errors.HostError) as caught:
        state.read_private(str(path), 10)
    assert caught.value.code == "unsafe-place"


def test_read_private_tells_missing_from_empty(tmp_path: Path) -> None:
    assert state.read_private(f"{tmp_path}/file", 10) is None
    state.write_atomic(f"{tmp_path}/file", b"")
    assert state.read_private(f"{tmp_path}/file", 10) == b""


# Locks


def test_a_lock_keeps_others_out_until_it_ends(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    with state.lock(path):
        assert mode(path) == 0o600
        for waiting in ({"wait": False}, {"limit": 0.05}):
            with pytest.raises(errors.JournalError) as caught, state.lock(path, **waiting):
                pytest.fail("two hold one lock")
            assert caught.value.code == "journal-busy"
            assert path in caught.value.message
    with state.lock(path, wait=False):
        pass


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    out, back = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with state.lock(path):
                os.write(back, b"held")
                signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(out, 4) == b"held"
        with pytest.raises(errors.JournalError), state.lock(path, wait=False):
            pytest.fail("two hold one lock")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(out)
        os.close(back)
    with state.lock(path, wait=False):
        pass


def test_a_lock_keeps_a_crowd_in_line(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")

    def add(_: int) -> bytes:
        for _ in range(20):
            with state.lock(f"{tmp_path}/lock"):
                counter.write_text(str(int(counter.read_text()) + 1))
        return b""

    scene.crowd(add)
    assert counter.read_text() == "640"


def test_a_lock_refuses_a_link_and_a_shared_file(tmp_path: Path) -> None:
    os.symlink(f"{tmp_path}/target", f"{tmp_path}/link")
    with pytest.raises(errors.JournalError) as caught, state.lock(f"{tmp_path}/link"):
        pass
    assert caught.value.code == "journal-unwritable"
    assert not (tmp_path / "target").exists()
    (tmp_path / "shared").touch(0o600)
    (tmp_path / "shared").chmod(0o666)
    with pytest.raises(errors.JournalError) as caught, state.lock(f"{tmp_path}/shared"):
        pass
    assert caught.value.code == "journal-unsafe"


def test_lock_files_have_one_name_each(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    app = f"org.example.{'x' * 116}-{'0' * 16}"  # the longest key there is
    names = {reserved.lock_file(purpose, key) for purpose in ("ask", "state") for key in (app, "other")}
    assert len(names) == 4
    for name in names:
        with state.lock(name, wait=False):
            pass


# Session


def test_a_crowd_agrees_on_one_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = scene.below(tmp_path)
    together = multiprocessing.get_context("fork").Barrier(32)
    draw = secrets.token_hex

    def draw_together(size: int) -> str:
        together.wait()  # by now all have seen that there is no token
        return draw(size)

    monkeypatch.setattr(secrets, "token_hex", draw_together)
    tokens = scene.crowd(lambda _: state.session_token(reserved, create=True).encode())
    assert len(set(tokens)) == 1
    token = tokens[0].decode()
    assert len(token) == 32 and int(token, 16) >= 0
    assert mode(f"{reserved.runtime}/session") == 0o600
    assert os.listdir(reserved.runtime) == ["session"]
    assert state.session_token(reserved, create=False) == token


def test_every_session_has_another_token(tmp_path: Path) -> None:
    first = state.session_token(scene.below(tmp_path / "one"), create=True)
    assert state.session_token(scene.below(tmp_path / "two"), create=True) != first


def test_no_token_where_there_is_no_session(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    assert state.session_token(reserved, create=False) == ""
    assert not os.path.lexists(reserved.runtime)
    without = dataclasses.replace(reserved, runtime="")
    assert state.session_token(without, create=True) == ""
    assert state.clock(without).session == ""


@pytest.mark.parametrize(
    "content", [b"", b"0" * 32, b"0" * 31 + b"\n", b"X" * 32 + b"\n", b"0" * 33 + b"\n", b"0" * 32 + b"\n\n"]
)
def test_a_damaged_token_is_no_session(tmp_path: Path, content: bytes) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    state.write_atomic(f"{reserved.runtime}/session", content)
    for create in (False, True):
        with pytest.raises(errors.HostError) as caught:
            state.session_token(reserved, create=create)
        assert caught.value.code == "unsafe-place"


def test_a_planted_token_is_refused(tmp_path: Path) -> None:
    reserved = scene.below(tmp_path)
    state.ensure(reserved)
    (tmp_path / "planted").write_bytes(b"0" * 32 + b"\n")
    (tmp_path / "planted").chmod(0o600)
    os.symlink(tmp_path / "planted", f"{reserved.runtime}/session")
    with pytest.raises(errors.HostError):
        state.session_token(reserved, create=True)


def test_the_clock_reads_this_boot(tmp_path: Path) -> None:
    now = state.clock(scene.below(tmp_path))
    assert now.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    uptime = float(Path("/proc/uptime").read_text().split()[0])  # CLOCK_BOOTTIME, proc_uptime(5)
    assert now.boottime <= uptime + 1
    assert now.session == state.session_token(scene.below(tmp_path), create=False) != ""
