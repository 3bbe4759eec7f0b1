"""The filter of a sound server's socket, without the server: which commands pass, and what any bytes come to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.companions import pulse_filter
from broker.companions.pulse_filter import Frames, Judge, Refused

PLAY, RECORD = frozenset({b"playback"}), frozenset({b"record"})
# Numbers of pulsecore/native-common.h, counted there and not in the module.
EVERYBODY = {8, 9, 10, 11, 13, 20, 21, 22, 23, 24, 35, 82, 85}
PLAYING = {3, 4, 12, 14, 15, 16, 17, 18, 41, 42, 43, 46, 60, 72, 74, 81, 84}
RECORDING = {5, 6, 47, 57, 58, 59, 73, 75, 80, 83}
OWN = {PLAY: {29, 37, 49, 67, 69}, RECORD: {31, 50, 68, 98, 99}}
DENIED = bytes.fromhex("0000000f ffffffff 00000000 00000000 00000000 4c00000000 4c00000007 4c00000001")
quiet = settings(deadline=None, database=None, max_examples=200)


def number(value: int) -> bytes:
    return b"L" + value.to_bytes(4, "big")


def packet(command: int, tag: int, *numbers: int) -> bytes:
    return b"".join(map(number, (command, tag, *numbers)))


def frame(body: bytes, channel: int = 0xFFFFFFFF, flags: int = 0) -> bytes:
    return b"".join(each.to_bytes(4, "big") for each in (len(body), channel, 0, 0, flags)) + body


@pytest.mark.parametrize(
    ("words", "passes"),
    [
        (frozenset(), EVERYBODY),
        (PLAY, EVERYBODY | PLAYING),
        (RECORD, EVERYBODY | RECORDING),
        (PLAY | RECORD, EVERYBODY | PLAYING | RECORDING),
    ],
)
def test_every_command_passes_or_is_answered(words: frozenset[bytes], passes: set[int]) -> None:
    for command in (*range(130), 2**31, 2**32 - 1):
        asked = packet(command, 7, 35)
        forth, back = Judge(words).asks(asked)
        assert (forth, back) == ((asked, b"") if command in passes else (b"", DENIED)), command


@pytest.mark.parametrize(("words", "creates"), [(PLAY, 3), (RECORD, 5)])
def test_what_names_a_stream_passes_for_those_of_this_connection(words: frozenset[bytes], creates: int) -> None:
    for command in OWN[words]:
        judge = Judge(words)
        assert judge.asks(packet(command, 0, 12))[0] == b""
        judge.asks(packet(creates, 1))
        judge.answers(packet(2, 2, 0, 12))  # the answer to something else
        assert judge.asks(packet(command, 2, 12))[0] == b""
        judge.answers(packet(2, 1, 0, 12))
        assert judge.asks(packet(command, 3, 12))[0] == packet(command, 3, 12)
        assert judge.asks(packet(command, 4, 13))[0] == b""
        (other,) = {PLAY, RECORD} - {words}
        assert all(judge.asks(packet(each, 5 + n, 12))[0] == b"" for n, each in enumerate(OWN[other]))


def test_a_stream_that_was_not_made_is_nobodys() -> None:
    judge = Judge(PLAY)
    judge.asks(packet(3, 1))
    judge.answers(packet(0, 1, 3, 12))  # an error
    assert judge.asks(packet(37, 2, 12))[0] == b""


def test_a_tag_is_used_once() -> None:
    """Two answers with one tag: the first, of numbers that the client may choose, would count as a stream's."""
    judge = Judge(PLAY)
    judge.asks(packet(13, 5))
    with pytest.raises(Refused):
        judge.asks(packet(3, 5))


def test_the_machine_is_not_named() -> None:
    judge = Judge(PLAY)
    judge.asks(packet(20, 1))
    said = packet(2, 1) + b"tserver\0t16.1\0tuser\0tmy-machine\0a\5\2t\0"
    assert judge.answers(said) == said.replace(b"my-machine", b"sandbox")
    other = packet(2, 2) + b"tserver\0t16.1\0tuser\0tmy-machine\0"
    assert judge.answers(other) == other
    assert judge.answers(packet(2, 1) + b"tserver\0NNtx\0") == packet(2, 1) + b"tserver\0NNtsandbox\0"
    for odd in (packet(2, 1), packet(2, 1) + b"ta\0tb\0tc\0td", packet(2, 1) + b"ta\0NN"):
        with pytest.raises(Refused):
            judge.answers(odd)


def test_no_memory_is_offered() -> None:
    forth, _ = Judge(PLAY).asks(packet(8, 0, 0xC0000023) + b"x" + bytes(4))
    assert forth == packet(8, 0, 0x23) + b"x" + bytes(4)
    with pytest.raises(Refused):
        Judge(PLAY).asks(packet(8, 0))


@pytest.mark.parametrize("flags", [0x80000000, 0xA0000000, 0x40000000, 0xC0000000, 0x00800000, 0x100])
@pytest.mark.parametrize("channel", [0, 5, 0xFFFFFFFF])
def test_no_memory_is_shared(flags: int, channel: int) -> None:
    with pytest.raises(Refused):
        Frames().feed(frame(b"x" * 16, channel, flags))


@pytest.mark.parametrize(
    "begin",
    [
        frame(b"", 0),
        frame(b""),
        bytes.fromhex("00100001 ffffffff 00000000 00000000 00000000"),  # a packet without end
        bytes.fromhex("01000001 00000000 00000000 00000000 00000000"),
    ],
)
def test_a_frame_has_a_size(begin: bytes) -> None:
    with pytest.raises(Refused):
        Frames().feed(begin)


@pytest.mark.parametrize("body", [b"", b"L", b"L\0\0\0\3", b"t\0\0\0\3L\0\0\0\1", b"L\0\0\0\3t\0\0\0\1"])
def test_a_packet_begins_with_a_command_and_a_tag(body: bytes) -> None:
    with pytest.raises(Refused):
        Judge(PLAY | RECORD).asks(body)


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=40).map(frame),
            st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 9)).map(lambda pair: frame(*pair)),
        ),
        max_size=6,
    ),
    st.lists(st.integers(1, 30), max_size=40),
)
@quiet
def test_it_does_not_matter_how_the_bytes_arrive(frames: list[bytes], cuts: list[int]) -> None:
    whole, rest = b"".join(frames), b"".join(frames)
    reader, found = Frames(), []
    for cut in cuts:
        found += reader.feed(rest[:cut])
        rest = rest[cut:]
    found += reader.feed(rest)
    assert b"".join(frame(piece) if is_packet else piece for is_packet, piece in found) == whole


@given(st.lists(st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(frame)), max_size=8))
@quiet
def test_any_bytes_are_frames_or_refused(pieces: list[bytes]) -> None:
    reader, judge = Frames(), Judge(PLAY)
    try:
        for piece in pieces:
            for is_packet, body in reader.feed(piece):
                if is_packet:
                    judge.answers(body)
                    judge.asks(body)
    except Refused:
        pass


def test_the_table_names_each_command_once() -> None:
    groups = [pulse_filter.ALWAYS, *pulse_filter.STREAMS.values(), *pulse_filter.NUMBERED.values()]
    names = [name for group in groups for name in group.values()]
    assert len(names) == len(set(names)) == sum(map(len, groups))
