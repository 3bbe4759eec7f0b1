"""The relay's end of what it and the dialer say to each other (SPEC §10.6): messages of words, one socket with some.

A question has a number, and gets one answer or, after a while, is taken for refused.
"""

import _socket
import errno
import select

from broker.network import turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Reply = Callable[[bytes, bytes, list[int]], object]
LIMIT = 65536 + 64  # bytes of a message
SECONDS = 300.0  # in which an answer comes: the dialer has its own limits, and asks the user where it has to
MOST_QUEUED = 4096  # messages that the dialer has yet to take
_BATCH = 64  # messages of one turn
_ANSWERS = frozenset((b"ok", b"no", b"answer"))
_RIGHTS = _socket.CMSG_SPACE(16)
_CLOEXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0x40000000)


class Dialing:
    """Asks the dialer and hears it."""

    __slots__ = ("_channel", "_commands", "_late", "_loop", "_number", "_queue", "_waiting", "others")

    def __init__(
        self,
        loop: turns.Loop,
        channel: _socket.socket,
        commands: "Mapping[bytes, Callable[[bytes, list[int]], object]]",
    ) -> None:
        """commands: what the dialer may say unasked: the first word, and what is done with the rest and the descriptors
        that came with it. Descriptors that are left in the list are closed. ``others``: gets the answers to questions
        whose numbers begin with an ``s``, which were not asked here.
        """
        self.others: Callable[[bytes], object] = commands.get
        self._loop, self._channel, self._commands = loop, channel, commands
        self._queue: list[bytes] = []
        self._waiting: dict[int, Reply] = {}
        self._number = 0
        self._late = turns.Patience(loop, SECONDS, self._given_up)
        channel.setblocking(False)
        loop.watch(channel, turns.READ, self._ready, self._lost)

    def ask(self, verb: bytes, rest: bytes, reply: "Reply") -> int:
        """Send a question. ``reply`` gets the answer's first word, the rest of it, and the descriptors, of which it
        takes out what it keeps. Returns the question's number.
        """
        self._number += 1
        if not self.tell(b"%b %d %b" % (verb, self._number, rest)):
            reply(b"no", b"busy", [])
            return 0
        self._waiting[self._number] = reply
        self._late.start(self._number)
        return self._number

    def forget(self, number: int) -> None:
        """Nobody waits for this answer any more; a connection that comes with it is closed."""
        self._waiting.pop(number, None)
        self._late.stop(number)

    def tell(self, message: bytes) -> bool:
        """Send a message; False where too many wait already, and this one is dropped."""
        if self._queue:
            if len(self._queue) >= MOST_QUEUED:
                return False
            self._queue.append(message)
            return True
        if not self._send(message):
            self._queue.append(message)
            self._loop.change(self._channel, turns.READ | select.EPOLLOUT)
        return True

    def hint(self, message: bytes) -> None:
        """Send a message that can be done without, where others do not wait for it."""
        if not self._queue:
            self.tell(message)

    def _send(self, message: bytes) -> bool:
        try:
            self._channel.send(message)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                return False
            self._loop.ended = True  # there is nobody there
        return True

    def _ready(self, events: int) -> None:
        if events & select.EPOLLOUT and self._queue:
            sent = 0
            while sent < len(self._queue) and self._send(self._queue[sent]):
                sent += 1
            del self._queue[:sent]
            if not self._queue:
                self._loop.change(self._channel, turns.READ)
        if events & ~select.EPOLLOUT:
            self._read()

    def _read(self) -> None:
        for _ in range(_BATCH):
            try:
                data, rights, _, _ = self._channel.recvmsg(LIMIT, _RIGHTS, _CLOEXEC)
            except BlockingIOError:
                return
            handles = descriptors(rights) if rights else []
            if not data:
                self._loop.ended = True
                return
            try:
                self._heard(data, handles)
            finally:
                for handle in handles:
                    _socket.close(handle)
            if not self._waiting:
                return  # there is hardly more

    def _heard(self, data: bytes, handles: "list[int]") -> None:
        verb, _, rest = data.partition(b" ")
        if verb in _ANSWERS:
            word, _, rest = rest.partition(b" ")
            if word[:1] == b"s":
                self._loop.stirred = True
                self.others(data)
            elif reply := self._waiting.pop(number := int(word), None):
                self._late.stop(number)
                reply(verb, rest, handles)
        elif command := self._commands.get(verb):
            command(rest, handles)

    def _given_up(self, number: int) -> None:
        if reply := self._waiting.pop(number, None):
            reply(b"no", b"unreachable", [])

    def _lost(self) -> None:
        """One message was no use; those after it may be."""


def descriptors(rights: "list[tuple[int, int, bytes]]") -> "list[int]":
    """The descriptors in recvmsg's ancillary data."""
    found: list[int] = []
    for level, kind, data in rights:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            found += [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) - 3, 4)]
    return found
