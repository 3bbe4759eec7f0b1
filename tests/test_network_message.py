"""DNS messages: what is taken for a question, what is answered, and that no bytes do harm (SPEC §10.6)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.network import message


def wire(name: str) -> bytes:
    return b"".join(bytes([len(each)]) + each.encode() for each in name.split(".") if each) + b"\0"


def question(name: str, kind: int = 1, group: int = 1, flags: int = 0x0100, more: bytes = b"") -> bytes:
    return (
        struct.pack(">HHHHHH", 0xABCD, flags, 1, 0, 0, bool(more)) + wire(name) + struct.pack(">HH", kind, group) + more
    )


def opt(version: int = 0, payload: int = 1232, data: bytes = b"", name: bytes = b"\0") -> bytes:
    return name + struct.pack(">HHBBHH", 41, payload, 0, version, 0x8000, len(data)) + data


def test_a_question_is_read() -> None:
    query = message.parse_query(question("WWW.Example.org", 28, more=opt(data=b"\0\x0a\0\x08abcdefgh")))
    assert query is not None
    assert (query.number, query.name, query.kind, query.group) == (b"\xab\xcd", "www.example.org", 28, 1)
    assert (query.version, query.payload) == (0, 1232)
    assert query.question == wire("WWW.Example.org") + b"\0\x1c\0\1"


LONG = ".".join(["a" * 63] * 3 + ["b" * 61])
REFUSED = {
    "nothing": b"",
    "a header alone": question("a")[:12],
    "a question cut short": question("example.org")[:-1],
    "bytes behind it": question("example.org") + b"\0",
    "a response": question("example.org", flags=0x8100),
    "an update": question("example.org", flags=0x2800),
    "a notification": question("example.org", flags=0x2000),
    "a truncated one": question("example.org", flags=0x0300),
    "the reserved bit": question("example.org", flags=0x0140),
    "no question": question("example.org")[:4] + b"\0\0" + question("example.org")[6:],
    "two questions": question("a")[:4] + b"\0\2" + question("a")[6:] + wire("b") + b"\0\1\0\1",
    "an answer in it": question("a")[:6] + b"\0\1" + question("a")[8:],
    "a pointer to itself": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1",
    "a pointer behind a label": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\1a\xc0\x0c\0\1\0\1",
    "a label type of the past": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x41\1a\0\0\1\0\1",
    "a name of 256 bytes": question(LONG + "c"),
    "a label past the end": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x3fabc\0\0\1\0\1",
    "a dot in a label": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x07exa.mpl\3org\0\0\1\0\1",
    "a zero in a label": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x03a\0b\0\0\1\0\1",
    "a letter that is not ASCII": struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\x02\xc3\xa4\0\0\1\0\1",
    "a star": question("*.example.org"),
    "a signature behind it": question("example.org", more=b"\0\0\xfa\0\xff\0\0\0\0\0\0"),
    "EDNS of another name": question("example.org", more=opt(name=b"\1a\0")),
    "EDNS cut short": question("example.org", more=opt(data=b"abcd")[:-1]),
    "EDNS twice": question("example.org", more=opt() + opt()),
    "too long": question("example.org", more=opt(data=bytes(5000))),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_plain_question_is_not_read(data: bytes) -> None:
    assert message.parse_query(data) is None


def test_the_longest_name_is_read_and_the_root_too() -> None:
    longest = message.parse_query(question(LONG))
    root = message.parse_query(question("", 2))
    assert longest is not None and longest.name == LONG and len(wire(LONG)) == 255
    assert root is not None and root.name == ""


def test_a_name_is_answered_with_its_address_and_the_case_that_was_asked() -> None:
    query = message.parse_query(question("ExAmple.org", flags=0x0110))
    assert query is not None
    assert message.answer(query, message.OKAY, [b"\xc6\x12\0\2"]) == (
        struct.pack(">HHHHHH", 0xABCD, 0x8190, 1, 1, 0, 0)
        + wire("ExAmple.org") + b"\0\1\0\1"
        + b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\xc6\x12\0\2"
    )  # fmt: skip


@pytest.mark.parametrize("code", [message.OKAY, message.NO_SUCH_NAME, message.REFUSED, message.FAILED])
def test_a_reply_without_records_says_why(code: int) -> None:
    query = message.parse_query(question("example.org", 28))
    assert query is not None
    reply = message.answer(query, code)
    assert reply == struct.pack(">HHHHHH", 0xABCD, 0x8180 | code, 1, 0, 0, 0) + query.question
    assert message.addresses_in(reply) == []


def test_who_speaks_edns_gets_it_back_and_another_version_only_that() -> None:
    query = message.parse_query(question("example.org", more=opt()))
    later = message.parse_query(question("example.org", more=opt(version=1)))
    assert query is not None and later is not None
    assert message.answer(query, 3).endswith(b"\0\0\x29\x04\xd0\0\0\0\0\0\0")
    assert message.answer(query, 3)[10:12] == b"\0\1"
    refused = message.answer(later, message.OKAY, [b"\1\2\3\4"])
    assert refused[3] & 15 == 0 and refused[6:8] == b"\0\0" and refused.endswith(b"\0\0\x29\x04\xd0\1\0\0\0\0\0")


def test_what_is_malformed_is_complained_about_once_and_a_response_never() -> None:
    assert message.complaint(question("a")[:11]) == b""
    assert message.complaint(question("a", flags=0x8100)) == b""
    assert message.complaint(REFUSED["two questions"]) == b"\xab\xcd\x81\x81" + bytes(8)
    assert message.complaint(REFUSED["an update"])[2:4] == b"\xa8\x84"
    assert message.parse_query(message.complaint(REFUSED["two questions"])) is None


@given(st.binary(max_size=300))
def test_no_bytes_do_harm(data: bytes) -> None:
    query = message.parse_query(data)
    message.complaint(data)
    message.addresses_in(data)
    message.unframe(data)
    if query is not None:
        assert wire(query.name) + data[12 + len(query.question) - 4 : 12 + len(query.question)] == (
            query.question.lower()[:-4] + query.question[-4:]
        )


@given(st.data())
def test_a_damaged_message_is_refused_or_means_what_it_says(data: st.DataObject) -> None:
    whole = bytearray(question("www.example.org", more=opt(data=b"\0\x0a\0\x08abcdefgh")))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    query = message.parse_query(bytes(whole))
    if query is not None:
        reply = message.answer(query, message.OKAY, [b"\xc6\x12\0\2"])
        assert reply[12 : 12 + len(query.question)] == bytes(whole[12 : 12 + len(query.question)])
        assert message.addresses_in(reply) is not None


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 300))
def test_messages_of_a_stream_come_out_whole_however_it_is_cut(told: list[bytes], cut: int) -> None:
    stream = b"".join(message.framed(each) for each in told)
    found, rest = [], b""
    for piece in (stream[:cut], stream[cut:]):
        rest += piece
        while taken := message.unframe(rest):
            found.append(taken[0])
            rest = taken[1]
    assert (found, rest) == (told, b"")


def reply(*records: tuple[bytes, int, bytes], name: str = "example.org") -> bytes:
    made = [owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for owner, kind, data in records]
    return struct.pack(">HHHHHH", 0xABCD, 0x8180, 1, len(made), 0, 0) + wire(name) + b"\0\1\0\1" + b"".join(made)


def test_addresses_of_a_reply_are_found_wherever_they_are() -> None:
    hints = b"\0\1\0" + b"\0\1\0\3\2h2" + b"\0\4\0\x08" + b"\x0a\0\0\1\x0a\0\0\2" + b"\0\6\0\x10" + bytes(15) + b"\1"
    told = reply((b"\xc0\x0c", 5, b"\3www\xc0\x0c"), (b"\xc0\x29", 1, b"\x7f\0\0\1"), (b"\xc0\x0c", 65, hints))
    assert message.addresses_in(told) == [b"\x7f\0\0\1", b"\x0a\0\0\1", b"\x0a\0\0\2", bytes(15) + b"\1"]


BROKEN = {
    "an address of three bytes": reply((b"\xc0\x0c", 1, b"abc")),
    "an address of 15 bytes": reply((b"\xc0\x0c", 28, bytes(15))),
    "bytes behind it": reply((b"\xc0\x0c", 1, b"abcd")) + b"\0",
    "fewer records than it says": reply((b"\xc0\x0c", 1, b"abcd"))[:-14],
    "a pointer to itself": reply((b"\xc0\x1d", 1, b"abcd")),
    "a pointer ahead": reply((b"\xc0\x30", 1, b"abcd")),
    "a name without an end": reply((b"\x3f" * 70, 1, b"abcd")),
    "hints cut short": reply((b"\xc0\x0c", 65, b"\0\1\0\0\4\0\x08abcd")),
    "hints of five bytes": reply((b"\xc0\x0c", 64, b"\0\1\0\0\4\0\5abcde")),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_malformed_reply_is_none(data: bytes) -> None:
    assert message.addresses_in(data) is None


def test_an_upstream_hears_the_question_and_nothing_else_of_the_app() -> None:
    query = message.parse_query(question("Example.org", flags=0x0110, more=opt(data=b"\0\x0a\0\x08abcdefgh")))
    assert query is not None
    asked = message.asks(b"\1\2", query)
    again = message.parse_query(asked)
    assert again is not None and again.question == query.question and b"abcdefgh" not in asked
    told = b"\1\2\x81\x80" + b"\0\1\0\0\0\0\0\0" + query.question.lower()
    assert message.replies(told, b"\1\2", query)
    for other in (
        b"\1\3" + told[2:],
        told[:2] + b"\1\0" + told[4:],
        told[:-1] + b"\2",
        told[:12] + wire("b") + b"\0\1\0\1",
    ):
        assert not message.replies(other, b"\1\2", query)


def test_a_reply_too_long_for_the_app_is_cut_and_says_so() -> None:
    query = message.parse_query(question("example.org"))
    assert query is not None
    told = reply(*[(b"\xc0\x0c", 16, bytes(100))] * 9)
    assert message.fits(query, told, stream=True) == told
    cut = message.fits(query, told)
    assert message.truncated(cut) and not message.truncated(told) and message.addresses_in(cut) == []
