"""Names come from a real message bus; hostile buses give nothing; the proxy's defect is found where it is."""

import os
import pathlib
import socket
import stat
import struct
import sys
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import bus, doctor_proxy, programs
from tests.conftest import must_work
from tests.real import peers

pytestmark = pytest.mark.real

ADDRESSES = ["unix:path={}/bus", "unix:abstract={}/bus", "unix:path={}/a%20b%2Cc"]


def reply(serial: int, signature: str = "as", body: bytes = b"\0\0\0\0", kind: int = bus.RETURN) -> bytes:
    return bus.encode(bus.Message(kind=kind, serial=9, reply_serial=serial, signature=signature, body=body))


@pytest.mark.parametrize("form", ADDRESSES)
def test_a_real_bus_names_who_is_there_and_who_can_be_started(tmp_path: pathlib.Path, form: str) -> None:
    address = form.format(tmp_path)
    with peers.message_bus(tmp_path, address, {"org.example.Sleeping": "/bin/false"}):
        found = peers.eventually(lambda: bus.names(address, peers.PATIENCE), "the bus")
        assert found == ((), ("org.example.Sleeping",))
        where = bus.target(address)
        assert where
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(where)
            owner = bus.Connection(stream, time.monotonic() + peers.PATIENCE)
            owner.greet()
            name = b"\x11\0\0\0org.example.Awake\0\0\0"  # padded to the flags that follow
            owner.send(
                bus.Message(
                    kind=bus.CALL,
                    serial=0,
                    path="/org/freedesktop/DBus",
                    member="RequestName",
                    destination="org.freedesktop.DBus",
                    signature="su",
                    body=name + struct.pack("<I", 0),
                )
            )
            peers.eventually(lambda: "org.example.Awake" in (bus.names(address) or ((), ()))[0], "the name")


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("unix:path=/run/user/1/bus", "/run/user/1/bus"),
        ("unix:path=/run/bus,guid=0123", "/run/bus"),
        ("unix:abstract=/tmp/dbus-X%2c1", "\0/tmp/dbus-X,1"),
        ("tcp:host=127.0.0.1,port=1", None),
        ("unixexec:path=/bin/sh,argv1=-c,argv2=true", None),
        ("autolaunch:", None),
        ("unix:runtime=yes", None),
        ("unix:path=/a,abstract=/b", None),
        ("unix:path=", None),
        ("unix:path=/a%00b", None),
        ("unix:path=/a%zz", None),
        ("", None),
    ],
)
def test_only_local_sockets_are_addresses(address: str, where: str | None) -> None:
    assert bus.target(address) == where


def test_the_first_usable_address_of_a_list_counts() -> None:
    assert bus.usable("autolaunch:;unix:path=/a;unix:path=/b") == "unix:path=/a"
    assert bus.usable("tcp:host=x") == ""


AUTHENTICATED = b"OK 00\r\n"


@pytest.mark.parametrize(
    "behave",
    [
        peers.silent,
        peers.hangs_up,
        peers.drip,
        peers.flood(b"x"),
        peers.flood(reply(999)),
        peers.says(b"REJECTED EXTERNAL\r\n"),
        peers.says(AUTHENTICATED),
        peers.says(AUTHENTICATED + b"l" * 64),
        peers.says(AUTHENTICATED + struct.pack("<cBBBIII", b"l", 2, 0, 1, 0xFFFFFFFF, 1, 8)),
        peers.says(AUTHENTICATED + struct.pack("<cBBBIII", b"l", 2, 0, 1, 0, 1, 0xFFFFFFFF)),
        peers.says(AUTHENTICATED + struct.pack("<cBBBIII", b"?", 2, 0, 1, 0, 1, 0)),
        peers.says(AUTHENTICATED + reply(1, kind=bus.ERROR) + reply(2) + reply(3)),
        peers.says(AUTHENTICATED + reply(1, "s", b"\xff\xff\xff\x7f")),
        peers.says(AUTHENTICATED + reply(1) + reply(2, "s")),
        peers.says(AUTHENTICATED + reply(1) + reply(2, "as", b"\xff\xff\xff\xff")),
        peers.says(AUTHENTICATED + reply(1) + reply(2, "as", b"\x08\0\0\0\x63\0\0\0abc\0")),
        peers.says(AUTHENTICATED + reply(1) + reply(2)),
        peers.says(AUTHENTICATED + reply(99) * (bus.MAX_MESSAGES + 1) + reply(1) + reply(2) + reply(3)),
    ],
)
def test_what_is_no_bus_gives_nothing(tmp_path: pathlib.Path, behave: object) -> None:
    with peers.peer(tmp_path / "s", behave) as path:  # type: ignore[arg-type]
        assert peers.ends(lambda: bus.names(f"unix:path={path}", 0.3)) is None


@pytest.mark.parametrize("endless", [b"x", AUTHENTICATED + reply(99), AUTHENTICATED + b"l\2\0\1" + b"\xff" * 60])
def test_an_endless_answer_is_cut_by_its_size(tmp_path: pathlib.Path, endless: bytes) -> None:
    first, rest = (AUTHENTICATED, endless[len(AUTHENTICATED) :]) if endless.startswith(b"OK") else (b"", endless)

    def behave(stream: socket.socket) -> None:
        stream.sendall(first)
        peers.flood(rest)(stream)

    with peers.peer(tmp_path / "s", behave) as path:
        assert peers.ends(lambda: bus.names(f"unix:path={path}", 10 * peers.PATIENCE)) is None


def test_the_stand_in_of_a_bus_that_behaves_is_believed(tmp_path: pathlib.Path) -> None:
    listed = reply(2, "as", b"\x08\0\0\0\x03\0\0\0a.b\0")
    with peers.peer(tmp_path / "s", peers.says(AUTHENTICATED + reply(1) + listed + reply(3))) as path:
        assert bus.names(f"unix:path={path}", peers.PATIENCE) == (("a.b",), ())


def test_nobody_there_gives_nothing(tmp_path: pathlib.Path) -> None:
    assert bus.names(f"unix:path={tmp_path}/none") is None
    assert bus.names("unix:path=/" + "x" * 300) is None
    assert bus.names("tcp:host=127.0.0.1,port=9") is None


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@given(
    kind=st.integers(1, 4),
    reply_serial=st.integers(0, 2**32 - 1),
    words=st.tuples(*[TEXT] * 5),
    body=st.binary(max_size=40),
)
def test_what_is_encoded_decodes_to_the_same(
    kind: int, reply_serial: int, words: tuple[str, ...], body: bytes
) -> None:
    path, interface, member, destination, sender = words
    message = bus.Message(
        kind=kind,
        serial=7,
        path=path,
        interface=interface,
        member=member,
        destination=destination,
        sender=sender,
        reply_serial=reply_serial,
        body=body,
    )
    data = bus.encode(message)
    assert bus.size(data) == len(data)
    assert bus.decode(data) == message


@given(data=st.binary(max_size=120))
def test_no_bytes_raise_anything_else_than_value_error(data: bytes) -> None:
    framed = struct.pack("<cBBBIII", b"l", 2, 0, 1, 0, 1, len(data)) + data + b"\0" * (-len(data) % 8)
    with suppress(ValueError):
        bus.decode(framed)


def test_cve_2026_94422_the_installed_proxy_does_not_pass_what_quotes_a_pending_call() -> None:
    proxy = programs.find("xdg-dbus-proxy")
    must_work(proxy, "xdg-dbus-proxy")
    assert doctor_proxy.probe(proxy, peers.PATIENCE) == doctor_proxy.FIXED


# A proxy that lets its client send what LEAKS says, and drops other messages that are not for the bus or the caller.
LEAKY = """#!{python}
import os, select, socket, sys
sys.path.insert(0, {root!r})
from broker import bus
alive, (address, inside) = int(sys.argv[1][5:]), sys.argv[2:4]
listener = socket.socket(socket.AF_UNIX); listener.bind(inside); listener.listen(1)
os.write(alive, b"x")
client, _ = listener.accept()
server = socket.socket(socket.AF_UNIX); server.connect(address.partition("=")[2])
def passes(message): return {leaks}
buffer = b""; speaking = False
while True:
    for stream in select.select([client, server], [], [])[0]:
        data = stream.recv(4096)
        if not data: sys.exit()
        if stream is server: client.sendall(data); continue
        buffer += data
        if not speaking:
            cut = buffer.find(b"BEGIN\\r\\n") + 7
            if cut < 7: server.sendall(buffer); buffer = b""; continue
            server.sendall(buffer[:cut]); buffer = buffer[cut:]; speaking = True
        while (wanted := bus.size(buffer)) and len(buffer) >= wanted:
            one, buffer = buffer[:wanted], buffer[wanted:]
            message = bus.decode(one)
            if message.destination != "org.example.Forbidden" or passes(message): server.sendall(one)
"""


@pytest.mark.parametrize(
    ("leaks", "verdict"),
    [
        ("False", doctor_proxy.FIXED),
        ("True", doctor_proxy.UNFILTERED),
        ("message.reply_serial and message.kind == bus.CALL", doctor_proxy.VULNERABLE),
        ("message.reply_serial and message.kind == bus.SIGNAL", doctor_proxy.VULNERABLE),
        ("message.reply_serial and message.kind == bus.RETURN", doctor_proxy.VULNERABLE),
        ("sys.exit()", doctor_proxy.FIXED),
        ("select.select([], [], [])", doctor_proxy.UNKNOWN),
    ],
)
def test_a_leaky_proxy_is_found_out(tmp_path: pathlib.Path, leaks: str, verdict: str) -> None:
    stand_in = tmp_path / "proxy"
    root = str(pathlib.Path(__file__).parents[2])
    stand_in.write_text(LEAKY.format(python=sys.executable, root=root, leaks=leaks))
    stand_in.chmod(stat.S_IRWXU)
    timeout = 3.0 if verdict == doctor_proxy.UNKNOWN else peers.PATIENCE
    assert doctor_proxy.probe(str(stand_in), timeout) == verdict


@pytest.mark.parametrize("script", ["exit 1", "sleep 60", "head -c1 /dev/zero >&{fd}; sleep 60"])
def test_a_proxy_that_takes_no_part_is_not_judged(tmp_path: pathlib.Path, script: str) -> None:
    stand_in = tmp_path / "proxy"
    stand_in.write_text('#!/bin/bash\nfd="${1#--fd=}"\n' + script.format(fd="$fd") + "\n")
    stand_in.chmod(stat.S_IRWXU)
    assert peers.ends(lambda: doctor_proxy.probe(str(stand_in), 0.5)) == doctor_proxy.UNKNOWN
    assert doctor_proxy.probe(os.devnull, 0.5) == doctor_proxy.UNKNOWN
