"""The server's name in a TLS ClientHello, as real clients send it and as no client should (SPEC §10.6)."""

import ssl
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.network import hello


def real(name: str | None) -> bytes:
    """What the TLS library of this machine says first."""
    context = ssl.create_default_context()
    context.check_hostname = False
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def entry(name: bytes, kind: int = 0) -> bytes:
    return bytes([kind]) + struct.pack(">H", len(name)) + name


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack(">HH", kind, len(data)) + data


def names(*entries: bytes) -> bytes:
    told = b"".join(entries)
    return extension(0, struct.pack(">H", len(told)) + told)


def made(*extensions: bytes, tail: bytes = b"") -> bytes:
    told = b"".join(extensions)
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack(">H", len(told)) + told + tail
    return b"\1" + len(body).to_bytes(3, "big") + body


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\3\1" + struct.pack(">H", len(piece)) + piece for piece in pieces)


def test_a_real_client_names_its_server() -> None:
    assert hello.server_name(real("www.example.org")) == b"www.example.org"
    assert hello.server_name(real(None)) is None


def test_it_is_complete_at_its_last_byte_and_not_before() -> None:
    told = real("www.example.org")
    assert {hello.server_name(told[:end]) for end in range(len(told))} == {hello.INCOMPLETE}
    assert hello.server_name(told + b"\x17\3\3\0\1a") == b"www.example.org"


@given(st.integers(1, 400))
def test_it_may_be_split_over_records_anywhere(size: int) -> None:
    told = records(real("www.example.org")[5:], size)
    assert hello.server_name(told) == b"www.example.org"
    assert hello.server_name(told[:-1]) is hello.INCOMPLETE


def test_case_and_the_trailing_dot_do_not_count() -> None:
    assert hello.server_name(records(made(names(entry(b"WWW.Example.ORG."))))) == b"www.example.org"


def test_the_outer_name_counts_with_encrypted_client_hello() -> None:
    assert (
        hello.server_name(records(made(extension(0xFE0D, bytes(200)), names(entry(b"outer.example")))))
        == b"outer.example"
    )


NAMELESS = {
    "two names": records(made(names(entry(b"a.example"), entry(b"b.example")))),
    "the same name twice": records(made(names(entry(b"a.example"), entry(b"a.example")))),
    "two extensions": records(made(names(entry(b"a.example")), names(entry(b"b.example")))),
    "a name of another kind": records(made(names(entry(b"a.example", kind=1)))),
    "an empty list": records(made(names())),
    "an empty name": records(made(names(entry(b"")))),
    "only a dot": records(made(names(entry(b".")))),
    "a zero in the name": records(made(names(entry(b"a.example\0.b.example")))),
    "letters that are not ASCII": records(made(names(entry("ä.example".encode())))),
    "bytes behind the list": records(made(extension(0, struct.pack(">H", 4) + entry(b"a") + b"x"))),
    "bytes behind the extensions": records(made(names(entry(b"a.example")), tail=b"x")),
    "an extension past the end": records(made(extension(0, b"")[:-1] + b"\xff")),
    "no extensions": records(b"\1\0\0\x29\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0"),
    "a hello of no length": records(b"\1\0\0\0"),
    "another message": records(b"\2" + made(names(entry(b"a.example")))[1:]),
    "no handshake": b"\x17" + records(made(names(entry(b"a.example"))))[1:],
    "another protocol": b"GET / HTTP/1.1\r\n",
    "an older one": b"\x80\x2e\1\0\2",
    "an empty record": b"\x16\3\1\0\0" + records(made(names(entry(b"a.example")))),
    "a record that is too long": b"\x16\3\1\x40\1" + bytes(16385),
    "a hello that is too long": records(b"\1\0\x40\0"),
    "a hello that goes on and on": records(b"\1\0\x3f\xf0" + bytes(20000)),
}


@pytest.mark.parametrize("data", NAMELESS.values(), ids=NAMELESS)
def test_what_names_no_one_host_is_none(data: bytes) -> None:
    assert hello.server_name(data) is None


def test_more_than_the_limit_is_not_waited_for() -> None:
    told = b"".join(b"\x16\3\1\0\1" + bytes([byte]) for byte in b"\1\0\x3f\xf0" + bytes(8000))
    assert hello.server_name(told[: hello.LIMIT - 1]) is hello.INCOMPLETE
    assert hello.server_name(told[: hello.LIMIT]) is None


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    hello.server_name(data)
    hello.server_name(b"\x16\3\1" + data)
    hello.server_name(records(b"\1" + len(data).to_bytes(3, "big") + data) if data else b"")


@given(st.data())
def test_a_damaged_hello_names_nobody_it_does_not_hold(data: st.DataObject) -> None:
    whole = bytearray(records(made(extension(10, b"\0\2\0\x1d"), names(entry(b"www.example.org")))))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    name = hello.server_name(bytes(whole))
    if isinstance(name, bytes):
        assert name in bytes(whole).lower()
