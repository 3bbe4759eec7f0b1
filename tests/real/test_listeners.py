"""What listens in the host's network for an app: made safely or not at all, before anything begins (SPEC §10.6)."""

import os
import pathlib
import pwd
import socket
import tempfile
from collections.abc import Iterator

import pytest

from broker.network import hostside, listeners, nearby, paths, rules
from intents import errors

pytestmark = pytest.mark.real


def rule(side: str, words: str = "-") -> rules.Listen:
    """A rule of the intent ``web``."""
    return rules.Listen(f"web tcp 4533 {side} {words}".split(" "))


@pytest.fixture
def base() -> Iterator[pathlib.Path]:
    """A directory whose path is short enough for a socket, and that nobody else can change."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    with tempfile.TemporaryDirectory(prefix=".listen-", dir=home) as made:
        yield pathlib.Path(os.path.realpath(made))


def refusal(side: str) -> errors.HostError:
    with pytest.raises(errors.HostError) as caught:
        listeners.make([rule(side)])
    return caught.value


def close(made: list[tuple[int, socket.SocketType]]) -> None:
    for _, each in made:
        each.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_loopback_is_this_machine_alone() -> None:
    port = free_port()
    made = listeners.make([rule(f"loopback:{port}")])
    try:
        assert {each.getsockname()[0] for _, each in made} in ({"127.0.0.1", "::1"}, {"127.0.0.1"})
        assert all(index == 0 and not os.get_inheritable(each.fileno()) for index, each in made)
    finally:
        close(made)


def test_all_is_every_address() -> None:
    port = free_port()
    made = listeners.make([rule(f"all:{port}")])
    try:
        assert {each.getsockname()[0] for _, each in made} in ({"0.0.0.0", "::"}, {"0.0.0.0"})
    finally:
        close(made)


def test_the_local_network_is_private_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the one that the internet routes, nor the loopback, nor one that is not settled yet."""
    addresses = (
        *((1, 0, "127.0.0.1"), (2, 0, "192.168.7.1"), (2, 0, "203.0.113.9"), (2, 0, "100.64.0.1"), (3, 0, "10.1.2.3")),
        *((2, 0x40, "fe80::2"), (3, 0, "fe80::3"), (3, 0, "fd00::3"), (3, 0, "2001:db8::3"), (1, 0, "::1")),
    )
    told = [
        (interface, flags, socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address))
        for interface, flags, address in addresses
    ]
    monkeypatch.setattr(hostside, "addresses", lambda: told)
    four, six = int(socket.AF_INET), int(socket.AF_INET6)
    found = [(four, "192.168.7.1", 0), (four, "10.1.2.3", 0), (six, "fe80::3", 3), (six, "fd00::3", 0)]
    assert nearby.here() == found


def test_a_port_that_is_taken_is_named_with_who_has_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refusal(f"loopback:{port}")
        assert said.code == "listen-taken"
        assert f"`127.0.0.1:{port}`" in str(said) and "`web`" in str(said) and f"process {os.getpid()}" in str(said)
        assert refusal(f"all:{port}").code == "listen-taken"
    close(listeners.make([rule(f"loopback:{port}")]))


def test_nothing_stays_open_where_one_is_taken() -> None:
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = rule(f"loopback:{other.getsockname()[1]}")
        with pytest.raises(errors.HostError):
            listeners.make([rule(f"loopback:{port}"), taken])
    close(listeners.make([rule(f"loopback:{port}")]))


def test_a_port_that_is_not_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(listeners, "at_port", refused)
    said = refusal("loopback:80")
    assert said.code == "listen-forbidden" and "`127.0.0.1:80`" in str(said)


def test_a_socket_is_for_the_user_alone_and_goes_away(base: pathlib.Path) -> None:
    path = base / "org.example.App" / "web"
    made = listeners.make([rule(f"unix:{path}")])
    try:
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        with paths.Directory(bytes(path)) as directory:
            directory.remove((0, 0))
            assert path.exists(), "another's was removed"
            directory.remove(directory.node())
        assert not path.exists()
    finally:
        close(made)


def test_a_group_is_let_in_by_its_directory(base: pathlib.Path) -> None:
    shared = base / "shared"
    shared.mkdir()
    shared.chmod(0o2750)
    close(listeners.make([rule(f"unix:{shared}/web")]))
    found = (shared / "web").stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o660, shared.stat().st_gid)


def test_one_where_nobody_answers_is_replaced_and_no_other(base: pathlib.Path) -> None:
    path = base / "web"
    close(listeners.make([rule(f"unix:{path}")]))
    assert path.exists()
    made = listeners.make([rule(f"unix:{path}")])
    try:
        said = refusal(f"unix:{path}")
        assert said.code == "listen-taken" and "answers" in str(said) and str(path) in str(said)
    finally:
        close(made)
    path.unlink()
    path.write_text("mine")
    said = refusal(f"unix:{path}")
    assert said.code == "listen-taken" and path.read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_directory_that_others_can_change_is_refused(base: pathlib.Path, mode: int) -> None:
    loose = base / "loose"
    loose.mkdir()
    loose.chmod(mode)
    said = refusal(f"unix:{loose}/web")
    assert said.code == "listen-place" and not list(loose.iterdir())


def test_no_link_is_followed_on_the_way(base: pathlib.Path) -> None:
    (base / "real").mkdir(mode=0o700)
    (base / "link").symlink_to("real")
    said = refusal(f"unix:{base}/link/web")
    assert said.code == "listen-place" and "link" in str(said)
    (base / "real" / "web").symlink_to("elsewhere")
    assert refusal(f"unix:{base}/real/web").code == "listen-taken"
    assert not (base / "real" / "elsewhere").exists()


def test_a_place_of_another_user_is_refused(base: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one above it: who owns a directory can rename what is in it."""
    (base / "sub").mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    above = base.stat().st_uid
    if above == 0:  # root's own places are fine for everybody
        os.chown(base, 65534, 65534)
    said = refusal(f"unix:{base}/sub/web")
    assert said.code == "listen-place" and "belongs to user" in str(said)


def handed(monkeypatch: pytest.MonkeyPatch, pid: int, names: str, count: int) -> None:
    monkeypatch.setenv("LISTEN_PID", str(pid))
    monkeypatch.setenv("LISTEN_FDS", str(count))
    monkeypatch.setenv("LISTEN_FDNAMES", names)


def test_what_systemd_did_not_pass_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal("systemd:web")
    assert said.code == "listen-not-passed" and "`web`" in str(said)
    handed(monkeypatch, os.getpid() + 1, "web", 1)
    assert refusal("systemd:web").code == "listen-not-passed", "it was for another process"
    assert "LISTEN_PID" not in os.environ and "LISTEN_FDNAMES" not in os.environ


def test_only_named_descriptors_of_this_process_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    section = (b"network", b"network", b"2", b"=00", b"=listen web tcp 80 systemd:web -")
    monkeypatch.setattr(os, "set_inheritable", lambda *_: None)
    handed(monkeypatch, os.getpid(), "other:web:web.x", 3)
    assert listeners.wanted(section) == {4: "web"}
    handed(monkeypatch, os.getppid(), "web", 1)
    assert listeners.wanted(section) == {} and "LISTEN_FDS" not in os.environ
    handed(monkeypatch, os.getpid(), "web", 1)
    assert listeners.wanted(()) == {}
