"""What passes the Wayland filter is the stream without the hidden globals, however it arrives (SPEC §5.4)."""

import struct
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.companions import wayland_registry as registry

ALLOWED = ("wl_shm", "wl_seat", "xdg_wm_base")
HIDDEN = ("zwlr_screencopy_manager_v1", "wl_sh", "wl_shm2", "WL_SHM", "", "zwp_virtual_keyboard_manager_v1")
DISPLAY, FIRST, SECOND = 1, 2, 7  # the two registries of these streams
OTHERS = st.sampled_from([3, 4, 5, 6, 8, 0xFF000000, 0xFF000001])
NAMES = st.integers(0, 5)
Message = tuple[int, int, bytes]  # object, opcode, arguments


def words(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}I", *numbers)


def string(text: str) -> bytes:
    data = text.encode() + b"\0"
    return words(len(data)) + data + b"\0" * (-len(data) % 4)


def encoded(*messages: Message) -> bytes:
    return b"".join(words(to, len(body) + 8 << 16 | opcode) + body for to, opcode, body in messages)


def decoded(data: bytes) -> Iterator[Message]:
    """The messages of a stream that holds whole ones, and perhaps the beginning of another."""
    while len(data) >= 8:
        to, sized = struct.unpack_from("=II", data)
        size = sized >> 16
        assert size >= 8 and size % 4 == 0
        if len(data) < size:
            return
        yield to, sized & 0xFFFF, data[8:size]
        data = data[size:]


def get_registry(new: int) -> Message:
    return DISPLAY, 1, words(new)


def announced(to: int, name: int, interface: str) -> Message:
    return to, 0, words(name) + string(interface) + words(1)


def removed(to: int, name: int) -> Message:
    return to, 1, words(name)


def bind(to: int, name: int, interface: str, new: int = 20) -> Message:
    return to, 0, words(name) + string(interface) + words(1, new)


BODIES = st.integers(0, 12).flatmap(lambda count: st.binary(min_size=4 * count, max_size=4 * count))
ANYTHING = st.tuples(OTHERS, st.integers(0, 0xFFFF), BODIES)
REGISTRIES = st.sampled_from([FIRST, SECOND])
EVENTS = st.lists(
    st.one_of(
        st.builds(announced, REGISTRIES, NAMES, st.sampled_from(ALLOWED + HIDDEN)),
        st.builds(removed, REGISTRIES, NAMES),
        st.builds(lambda number: (DISPLAY, 1, words(number)), st.sampled_from([FIRST, SECOND, 3, 9])),
        ANYTHING,
    ),
    max_size=30,
)
BINDS = st.lists(
    st.one_of(st.builds(bind, REGISTRIES, NAMES, st.sampled_from(ALLOWED + HIDDEN)), ANYTHING), max_size=20
)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    """The same bytes in pieces."""
    ends = sorted({min(end, len(data)) for end in at} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if end > start]


CUTS = st.one_of(st.just(range(4000)), st.lists(st.integers(0, 1500), max_size=40))


def visible(events: Sequence[Message]) -> tuple[list[Message], dict[int, str]]:
    """The model: which of the events a client gets, and which names it may bind in the end."""
    shown: dict[int, str] = {}
    passing = []
    for to, opcode, body in events:
        if to in (FIRST, SECOND):
            name = int.from_bytes(body[:4], "little")
            if opcode == 0:
                interface = body[8:].split(b"\0")[0].decode()
                shown.pop(name, None)
                if interface not in ALLOWED:
                    continue
                shown[name] = interface
            elif name not in shown:
                continue
        passing.append((to, opcode, body))
    return passing, shown


def opened() -> registry.Registry:
    """A connection whose client has asked for both registries."""
    judged = registry.Registry(frozenset(name.encode() for name in ALLOWED))
    asked = encoded(get_registry(FIRST), (DISPLAY, 0, words(3)), get_registry(SECOND))
    assert judged.requests.passes(asked) == asked
    return judged


@given(EVENTS, BINDS, CUTS, CUTS)
def test_what_passes_is_the_stream_without_the_hidden_globals(
    events: list[Message], binds: list[Message], here: Sequence[int], there: Sequence[int]
) -> None:
    judged = opened()
    passing, shown = visible(events)
    out = b"".join(judged.events.passes(piece) for piece in cut(encoded(*events), here))
    assert out == encoded(*passing)
    assert judged.events.between
    wanted = [each for each in binds if each[0] not in (FIRST, SECOND) or _may(each, shown)]
    asked = encoded(*wanted)
    assert b"".join(judged.requests.passes(piece) for piece in cut(asked, there)) == asked
    for each in binds:
        if each not in wanted:
            with pytest.raises(registry.Refused) as refused:
                judged.requests.passes(encoded(each))
            assert refused.value.about == each[0]
            return


def _may(request: Message, shown: dict[int, str]) -> bool:
    _, _, body = request
    return shown.get(int.from_bytes(body[:4], "little")) == body[8:].split(b"\0")[0].decode()


@given(EVENTS, st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=8), CUTS)
def test_no_damage_lets_a_hidden_global_through(
    events: list[Message], damage: list[tuple[int, int]], pieces: Sequence[int]
) -> None:
    data = bytearray(encoded(*events))
    assume(data)
    for at, byte in damage:
        data[at % len(data)] = byte
    judged, out = opened(), b""
    try:
        for piece in cut(bytes(data), pieces):
            out += judged.events.passes(piece)
    except registry.Refused:
        pass
    for to, opcode, body in decoded(out):
        if to in (FIRST, SECOND) and opcode == 0:
            assert body[8 : 8 + int.from_bytes(body[4:8], "little") - 1].decode() in ALLOWED


@given(EVENTS, BINDS, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8), CUTS, st.binary())
def test_no_damage_lets_a_hidden_name_be_bound(
    events: list[Message], binds: list[Message], damage: list[tuple[int, int]], pieces: Sequence[int], end: bytes
) -> None:
    judged = opened()
    judged.events.passes(encoded(*events))
    _, shown = visible(events)
    data = bytearray(encoded(*binds) + end)
    assume(data)
    for at, byte in damage:
        data[at % len(data)] = byte
    out = b""
    try:
        for piece in cut(bytes(data), pieces):
            out += judged.requests.passes(piece)
    except registry.Refused:
        pass
    known = {FIRST, SECOND}
    for to, opcode, body in decoded(out):
        if (to, opcode) == (DISPLAY, 1):
            known.add(int.from_bytes(body, "little"))
        if to in known:
            assert opcode == 0 and _may((to, opcode, body), shown)


@given(st.binary(max_size=300), st.booleans(), CUTS)
def test_no_bytes_raise_anything_else(data: bytes, sent: bool, pieces: Sequence[int]) -> None:
    judged = opened()
    try:
        for piece in cut(data, pieces):
            (judged.requests if sent else judged.events).passes(piece)
    except registry.Refused:
        pass


def test_an_id_that_was_another_objects_stays_a_registrys() -> None:
    """A client deletes an object and makes a registry of its id at once: the news of the deletion comes after that."""
    judged = opened()
    asked = encoded((3, 0, words(9)), (9, 0, b""), get_registry(9))
    assert judged.requests.passes(asked) == asked
    gone = encoded((DISPLAY, 1, words(9)))
    assert judged.events.passes(gone + encoded(announced(9, 1, HIDDEN[0]))) == gone
    with pytest.raises(registry.Refused):
        judged.requests.passes(encoded(bind(9, 1, HIDDEN[0])))


@pytest.mark.parametrize(
    "request_",
    [
        bind(FIRST, 1, HIDDEN[0]),
        bind(FIRST, 1, "wl_shm"),  # never announced
        bind(SECOND, 2, "wl_shm"),  # announced as another interface
        (FIRST, 1, words(2)),
        (FIRST, 0, words(2) + string("wl_seat")),
        (FIRST, 0, words(2) + string("wl_seat") + words(1, 20, 21)),
        (FIRST, 0, words(2, 0xFFFFFFFF) + b"wl_seat\0" + words(1, 20)),
        (FIRST, 0, b""),
        get_registry(0),
        get_registry(1),
        get_registry(0xFF000000),
        (DISPLAY, 1, words(9, 9)),
        (DISPLAY, 1, b""),
        (DISPLAY, 2, words(9)),
        (FIRST, 0, words(2) + string("wl_seat" * 2000) + words(1, 20)),
    ],
)
def test_what_ends_the_connection(request_: Message) -> None:
    judged = opened()
    judged.events.passes(encoded(announced(FIRST, 1, HIDDEN[0]), announced(FIRST, 2, "wl_seat")))
    assert judged.requests.passes(encoded(bind(FIRST, 2, "wl_seat")))
    with pytest.raises(registry.Refused):
        judged.requests.passes(encoded(request_))


@pytest.mark.parametrize("size", [0, 1, 4, 7, 9, 10, 11, 0xFFFF])
@pytest.mark.parametrize("sent", [True, False])
def test_a_size_that_is_none_ends_the_connection(size: int, sent: bool) -> None:
    stream = opened().requests if sent else opened().events
    with pytest.raises(registry.Refused):
        stream.passes(words(5, size << 16) + b"\0" * 70000)


def test_a_name_that_is_used_again_for_something_hidden_cannot_be_bound() -> None:
    judged = opened()
    judged.events.passes(encoded(announced(FIRST, 1, "wl_shm"), removed(FIRST, 1)))
    late = encoded(bind(FIRST, 1, "wl_shm"))
    assert judged.requests.passes(late) == late  # sent before the client could know
    judged.events.passes(encoded(announced(FIRST, 1, HIDDEN[0])))
    with pytest.raises(registry.Refused):
        judged.requests.passes(late)
