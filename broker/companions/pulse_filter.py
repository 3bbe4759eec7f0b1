"""A sound server's socket that lets through what was granted, playing or recording, and nothing else (SPEC §5.6).

The PulseAudio native protocol, which PipeWire speaks too: pulsecore/native-common.h numbers the commands,
pulsecore/pstream.c says how they are framed, pulsecore/tagstruct.c how a packet is written. On the server's own socket
a client may record, listen to what others play, and load modules into the server, which is to run code as the user.

In: the client's bytes, which may be anything. Out: whole packets whose command is on the list, and sound. What is
refused is answered as the server would answer a client without access. Descriptors are never passed on.
"""

import _socket
import os
import select

CONNECTIONS = 32  # at a time
BACKLOG = 1 << 20  # bytes that wait for a reader until no more are taken from the writer
MAX_PACKET = 1 << 20  # a server takes 16 MiB, for samples; a packet with an icon in it has some KiB
MAX_SOUND = 1 << 24
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
_NOW = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL  # a client that has gone must not end the sound of the others

HEADER = 20
CONTROL = 0xFFFFFFFF  # the channel of packets; the others carry sound
SEEK_MODES = 0xFF  # of the flags: all that sound may have. The rest is about memory that both sides share.
ERROR, REPLY, AUTH, GET_SERVER_INFO = 0, 2, 8, 20
HOST = b"sandbox"  # the name of the machine, as the app is told it everywhere
ACCESS_DENIED = 1  # PA_ERR_ACCESS
VERSION = 0xFFFF  # of the word in AUTH whose upper half offers shared memory

ALWAYS = {
    8: "AUTH", 9: "SET_CLIENT_NAME", 10: "LOOKUP_SINK", 11: "LOOKUP_SOURCE", 13: "STAT", 20: "GET_SERVER_INFO",
    21: "GET_SINK_INFO", 22: "GET_SINK_INFO_LIST", 23: "GET_SOURCE_INFO", 24: "GET_SOURCE_INFO_LIST", 35: "SUBSCRIBE",
    82: "UPDATE_CLIENT_PROPLIST", 85: "REMOVE_CLIENT_PROPLIST",
}  # fmt: skip
# word of the intent -> commands about streams that this connection made, by its own channel numbers
STREAMS = {
    b"playback": {
        3: "CREATE_PLAYBACK_STREAM", 4: "DELETE_PLAYBACK_STREAM", 12: "DRAIN_PLAYBACK_STREAM",
        14: "GET_PLAYBACK_LATENCY", 15: "CREATE_UPLOAD_STREAM", 16: "DELETE_UPLOAD_STREAM",
        17: "FINISH_UPLOAD_STREAM", 18: "PLAY_SAMPLE", 41: "CORK_PLAYBACK_STREAM", 42: "FLUSH_PLAYBACK_STREAM",
        43: "TRIGGER_PLAYBACK_STREAM", 46: "SET_PLAYBACK_STREAM_NAME", 60: "PREBUF_PLAYBACK_STREAM",
        72: "SET_PLAYBACK_STREAM_BUFFER_ATTR", 74: "UPDATE_PLAYBACK_STREAM_SAMPLE_RATE",
        81: "UPDATE_PLAYBACK_STREAM_PROPLIST", 84: "REMOVE_PLAYBACK_STREAM_PROPLIST",
    },
    b"record": {
        5: "CREATE_RECORD_STREAM", 6: "DELETE_RECORD_STREAM", 47: "SET_RECORD_STREAM_NAME", 57: "GET_RECORD_LATENCY",
        58: "CORK_RECORD_STREAM", 59: "FLUSH_RECORD_STREAM", 73: "SET_RECORD_STREAM_BUFFER_ATTR",
        75: "UPDATE_RECORD_STREAM_SAMPLE_RATE", 80: "UPDATE_RECORD_STREAM_PROPLIST",
        83: "REMOVE_RECORD_STREAM_PROPLIST",
    },
}  # fmt: skip
# ... and those that name a stream by the server's number, which may be anybody's
NUMBERED = {
    b"playback": {
        29: "GET_SINK_INPUT_INFO", 37: "SET_SINK_INPUT_VOLUME", 49: "KILL_SINK_INPUT", 67: "MOVE_SINK_INPUT",
        69: "SET_SINK_INPUT_MUTE",
    },
    b"record": {
        31: "GET_SOURCE_OUTPUT_INFO", 50: "KILL_SOURCE_OUTPUT", 68: "MOVE_SOURCE_OUTPUT",
        98: "SET_SOURCE_OUTPUT_VOLUME", 99: "SET_SOURCE_OUTPUT_MUTE",
    },
}  # fmt: skip
CREATES = {b"playback": 3, b"record": 5}


class Refused(Exception):
    """The client sent what no client of this protocol sends: the connection is over."""


class Judge:
    """What of one connection passes. Knows the streams that the connection made, by the server's numbers."""

    def __init__(self, words: "frozenset[bytes]") -> None:
        """words: of ``STREAMS``."""
        self._free = {*ALWAYS, *(command for word in words for command in STREAMS[word])}
        self._numbered = {command: word for word in words for command in NUMBERED[word]}
        self._creates = {CREATES[word]: word for word in words}
        self._asked: dict[int, bytes] = {}  # tag of a packet that makes a stream -> the word
        self._last = -1  # tag: with one used twice, another answer could be taken for that about a stream
        self._own: set[tuple[bytes, int]] = set()
        self._told: set[int] = set()  # tags of packets whose answer names the machine

    def asks(self, packet: bytes) -> "tuple[bytes, bytes]":
        """(what goes to the server, what goes back to the client) for one packet. Raises Refused."""
        command, tag = _number(packet, 0), _number(packet, 5)
        if command is None or tag is None or tag <= self._last:
            raise Refused
        self._last = tag
        if command in self._creates:
            self._asked[tag] = self._creates[command]
        if command == GET_SERVER_INFO:
            self._told.add(tag)
        word = self._numbered.get(command)
        if command in self._free or (word is not None and (word, _number(packet, 10)) in self._own):
            return (_without_memory(packet) if command == AUTH else packet), b""
        return b"", _packet(b"".join(b"L" + each.to_bytes(4, "big") for each in (ERROR, tag, ACCESS_DENIED)))

    def answers(self, packet: bytes) -> bytes:
        """One packet of the server as the client gets it; the number of a new stream stands behind its channel."""
        command, tag, number = _number(packet, 0), _number(packet, 5), _number(packet, 15)
        if command in (REPLY, ERROR) and tag in self._asked:
            word = self._asked.pop(tag)
            if command == REPLY and number is not None:
                self._own.add((word, number))
        return _elsewhere(packet) if command == REPLY and tag in self._told else packet


def _number(packet: bytes, at: int) -> "int | None":
    """The 32-bit number of a tagged structure at that byte."""
    whole = packet[at : at + 1] == b"L" and len(packet) >= at + 5
    return int.from_bytes(packet[at + 1 : at + 5], "big") if whole else None


def _named(command: int) -> bytes:
    """What a client asked for by a command, in a word or two."""
    for word in STREAMS:
        if command in STREAMS[word] or command in NUMBERED[word]:
            return word + (b" of others" if command in NUMBERED[word] else b"")
    return b"command %d" % command


def _without_memory(packet: bytes) -> bytes:
    """AUTH without the offer to share memory."""
    version = _number(packet, 10)
    if version is None:
        raise Refused
    return packet[:11] + (version & VERSION).to_bytes(4, "big") + packet[15:]


def _elsewhere(packet: bytes) -> bytes:
    """The answer to GET_SERVER_INFO, in which the fourth text is the name of the machine. Raises Refused."""
    at = end = 10
    for _ in range(4):
        at, tag = end, packet[end : end + 1]
        end = at + 1 if tag == b"N" else packet.find(0, at) + 1  # N: a text that is not there
        if tag not in (b"t", b"N") or not end:
            raise Refused
    return packet[:at] + b"t" + HOST + b"\0" + packet[end:]


def _packet(body: bytes) -> bytes:
    return b"".join(each.to_bytes(4, "big") for each in (len(body), CONTROL, 0, 0, 0)) + body


class Frames:
    """The frames of one direction, from pieces of any length."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._sound = 0  # bytes that are still to come of a frame of sound

    def feed(self, data: bytes) -> "list[tuple[bool, bytes]]":
        """(whether it is a packet, bytes): packets whole, without a header; sound as it comes. Raises Refused."""
        self._held += data
        found: list[tuple[bool, bytes]] = []
        while self._held:
            if self._sound:
                piece = bytes(self._held[: self._sound])
                self._sound -= len(piece)
                del self._held[: len(piece)]
                found.append((False, piece))
                continue
            if len(self._held) < HEADER:
                break
            words = (int.from_bytes(self._held[at : at + 4], "big") for at in range(0, HEADER, 4))
            length, channel, _, _, flags = words
            packet = channel == CONTROL
            if not 0 < length <= (MAX_PACKET if packet else MAX_SOUND) or flags & ~(0 if packet else SEEK_MODES):
                raise Refused
            if not packet:
                found.append((False, bytes(self._held[:HEADER])))
                del self._held[:HEADER]
                self._sound = length
                continue
            if len(self._held) < HEADER + length:
                break
            found.append((True, bytes(self._held[HEADER : HEADER + length])))
            del self._held[: HEADER + length]
        return found


class Pair:
    """One client and its connection to the server. Every method raises OSError or Refused when it is over."""

    def __init__(self, client: _socket.socket, server: _socket.socket, words: "frozenset[bytes]") -> None:
        self._ends = (client, server)
        self._frames = (Frames(), Frames())
        self._waiting = (bytearray(), bytearray())  # for the client, for the server
        self._judge = Judge(words)
        self.refused = b""  # the newest command that was

    def wants(self) -> "list[tuple[int, int]]":
        """(descriptor, what to wait for), for both ends."""
        wanted = []
        for at, end in enumerate(self._ends):
            # Of the client's packets some are answered at once: it is not listened to while it does not listen.
            full = max(len(waiting) for waiting in self._waiting[: 2 - at]) > BACKLOG
            events = (0 if full else select.POLLIN) | (select.POLLOUT if self._waiting[at] else 0)
            wanted.append((end.fileno(), events))
        return wanted

    def move(self, descriptor: int, events: int) -> None:
        """Do what can be done with one end without waiting."""
        at = [end.fileno() for end in self._ends].index(descriptor)
        if events & select.POLLOUT:
            self._send(at)
        if events & select.POLLIN:
            data = self._ends[at].recv(1 << 16, _NOW)  # and not a descriptor that may come along
            if not data:
                self._send(1 - at)
                raise Refused
            for is_packet, piece in self._frames[at].feed(data):
                self._pass(at, is_packet, piece)
        elif events & (select.POLLHUP | select.POLLERR):
            raise Refused

    def _send(self, at: int) -> None:
        waiting = self._waiting[at]
        del waiting[: self._ends[at].send(waiting, _NOW)]

    def _pass(self, at: int, is_packet: bool, piece: bytes) -> None:
        back, forth = self._waiting if at == 0 else self._waiting[::-1]
        if is_packet and at == 0:
            asked = piece
            piece, answer = self._judge.asks(asked)
            back += answer
            if answer:
                self.refused = _named(_number(asked, 0) or 0)
        elif is_packet:
            piece = self._judge.answers(piece)
        forth += _packet(piece) if is_packet and piece else piece

    def close(self) -> None:
        """Both ends."""
        for end in self._ends:
            end.close()


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Arguments: the socket to make, the server's, system calls that will do, and the words of the intent."""
    made, server, calls, *words = arguments
    listener = _unix()
    listener.bind(made)
    listener.listen(CONNECTIONS)
    os.write(ready, b".")
    from broker import confine
    from broker.companions import refusals  # ctypes is most of what starting costs, and now nobody waits

    told = refusals.Refusals(directory)
    inside = confine.confine(server, directory, bytes.fromhex(calls.decode()))
    serve(listener, inside, frozenset(words), ready, told.tell)
    return 0


def serve(
    listener: _socket.socket,
    server: bytes,
    words: "frozenset[bytes]",
    ready: int,
    tell: "Callable[[bytes], None] | None" = None,
) -> None:
    """Until nobody reads the ready pipe any more. tell: takes what was refused."""
    pairs: dict[int, Pair] = {}
    while True:
        poll = select.poll()
        poll.register(ready, 0)
        poll.register(listener.fileno(), select.POLLIN)
        for pair in set(pairs.values()):
            for descriptor, events in pair.wants():
                poll.register(descriptor, events)
        found = dict(poll.poll())
        if ready in found:
            return
        for descriptor in found.keys() & pairs.keys():
            if descriptor not in pairs:
                continue  # its other end ended it just now
            pair = pairs[descriptor]
            try:
                pair.move(descriptor, found[descriptor])
            except (OSError, Refused):
                pairs = {each: other for each, other in pairs.items() if other is not pair}
                pair.close()
            if pair.refused and tell:
                tell(b"audio " + pair.refused)
                pair.refused = b""
        if listener.fileno() in found:  # at last: a new one may get the descriptors of one that is over
            _accept(listener, server, words, pairs)


def _accept(listener: _socket.socket, server: bytes, words: "frozenset[bytes]", pairs: "dict[int, Pair]") -> None:
    try:
        client = _socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]
    except OSError:
        return
    upstream = _unix()
    try:
        if len(pairs) >= 2 * CONNECTIONS:
            raise OSError
        upstream.connect(server)
    except OSError:
        client.close()
        upstream.close()
        return
    pair = Pair(client, upstream, words)
    pairs[client.fileno()] = pairs[upstream.fileno()] = pair


def _unix() -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
