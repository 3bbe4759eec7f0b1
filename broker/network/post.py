"""Datagrams between the relay and what they are for: the dialer's part (SPEC §10.6).

An Internet socket for datagrams sends to wherever each of them says, connected or not (udp(7)), and no system call
filter can see that. So the relay never gets one, but one end of a pair, whose other end the dialer keeps.
"""

import _socket
import select

from broker.network import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
MOST = 1024  # sessions at a time: as many as the relay keeps
BATCH = 64  # datagrams that one session passes on before others have their turn
_SIZE = 65535
_BUFFER = 1 << 20  # bytes that wait for the relay, as far as the kernel lets us


class Session:
    """One connected socket, and the end that the relay has not got."""

    __slots__ = ("_all", "_inside", "_outside", "host", "port")

    def __init__(
        self, everything: "Post", inside: _socket.socket, outside: _socket.socket, host: str, port: int
    ) -> None:
        self._all, self._inside, self._outside, self.host, self.port = everything, inside, outside, host, port

    def send(self, _events: int) -> None:
        """Pass on what the relay says; where it cannot be sent it is lost, as datagrams are."""
        for _ in range(BATCH):
            try:
                data = self._inside.recv(_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data and _is_over(self._inside):
                self.close()
                return
            try:
                self._outside.send(data)
            except OSError:  # nobody is there, it is too large, or there is no room
                continue

    def answer(self, _events: int) -> None:
        """Pass on what the target says; what the relay does not take is lost."""
        for _ in range(BATCH):
            try:
                data = self._outside.recv(_SIZE)
            except BlockingIOError:
                return
            except OSError:  # nobody is there, which may change
                continue
            try:
                self._inside.send(data)
            except OSError:  # it does not read, or is gone
                continue

    def close(self) -> None:
        """End it."""
        if self._all.sessions.pop(self, self) is None:
            for made in (self._inside, self._outside):
                self._all.loop.forget(made.fileno())
                made.close()


class Post:
    """All sessions of one sandbox."""

    __slots__ = ("loop", "sessions")

    def __init__(self, looping: loop.Loop) -> None:
        self.loop = looping
        self.sessions: dict[Session, None] = {}

    def carry(self, outside: _socket.socket, host: str, port: int, most: int) -> "_socket.socket | None":
        """What the relay gets for a connected socket, which is this one's from now on; None where there is no room.

        most: the number from which on a descriptor is not for a session.
        """
        try:
            inside, theirs = _socket.socketpair(_socket.AF_UNIX, _PAIR)
        except OSError:
            outside.close()
            return None
        if len(self.sessions) >= MOST or inside.fileno() >= most:
            for made in (outside, inside, theirs):
                made.close()
            return None
        session = Session(self, inside, outside, host, port)
        self.sessions[session] = None
        for made in (inside, theirs):
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, _BUFFER)
        self.loop.watch(inside.fileno(), loop.READ, session.send)
        self.loop.watch(outside.fileno(), loop.READ, session.answer)
        return theirs

    def drop(self, kept: "Callable[[str, int], bool]") -> None:
        """End those whose host and port are not to be reached any more."""
        for session in list(self.sessions):
            if not kept(session.host, session.port):
                session.close()

    def close(self) -> None:
        """End all of them."""
        for session in list(self.sessions):
            session.close()


def _is_over(made: _socket.socket) -> bool:
    """Whether nobody has the other end; a datagram of no bytes reads the same."""
    poll = select.poll()
    poll.register(made.fileno(), select.POLLRDHUP)
    return bool(poll.poll(0))


_PAIR = _socket.SOCK_SEQPACKET | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
