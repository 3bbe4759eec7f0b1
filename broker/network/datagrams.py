"""Datagrams between the app and what it may reach by UDP (SPEC §10.6).

A session is one socket of the app's and one target. Outside it has a socket of its own, which the dialer connected and
keeps, so that nobody but the target can answer; what the target says goes back from the address that the app sent to.
"""

import _socket
import _struct
import select

from broker.network import dialing as dialings
from broker.network import flows, turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.network import rules

    # Where the app sent to, the socket and the packed address; and where it sent from.
    Key = tuple[_socket.socket, bytes, tuple[object, ...]]
    Meant = Callable[[int, str, int, str], tuple[rules.Connect, str] | None]
IDLE = 180.0  # seconds that a session may be silent: RFC 4787, 4.3, wants two minutes at least
MOST = 1024  # sessions; the one that was silent the longest makes room for another
DIALLING = 256  # ... of which so many are dialled
RECHECK = 1.0  # seconds: what an address stands for may have become another name while nothing was sent there
AGAIN = 1.0  # seconds until it is tried again where that was in vain
EARLY, EARLY_BYTES = 16, 65536  # datagrams and bytes that wait until there is one
BATCH = 64  # datagrams that one socket passes on before others have their turn
BUFFER = 1 << 20  # bytes that wait in the kernel for us, as far as it lets us
_SIZE = 65535
_PKTINFO = _socket.IP_PKTINFO if hasattr(_socket, "IP_PKTINFO") else 8  # ip(7)
_PKTINFO_6 = _socket.IPV6_PKTINFO
_FREEBIND_6 = 78  # IPV6_FREEBIND of linux/in6.h
_ROOM = _socket.CMSG_SPACE(20)
_DATAGRAM = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_buffer = bytearray(_SIZE)
_view = memoryview(_buffer)


class Session:
    """What one socket of the app's and one target say to each other."""

    __slots__ = (
        "_all",
        "_bytes",
        "_early",
        "_inside",
        "_number",
        "_outside",
        "_until",
        "checked",
        "key",
        "rights",
        "source",
    )

    def __init__(self, everything: "Datagrams", key: "Key", rights: flows.Rights) -> None:
        self._all, self.key, self.rights = everything, key, rights
        self._inside, to, _ = key
        self.source = _leaving(self._inside.family, to)
        self._outside: _socket.socket | None = None
        self._early: list[bytes] = []
        self._bytes = 0
        self._number = 0
        self._until = 0.0  # it is not dialled again before
        self.checked = everything.loop.now

    def _dial(self) -> None:
        if self._all.loop.now < self._until or len(self._all.waiting) >= DIALLING:
            return
        self._until = self._all.loop.now + AGAIN
        self._all.waiting[self] = None
        self._number = self._all.dialing.ask(b"dial", self.rights.words, self._answered)

    def _answered(self, verb: bytes, _rest: bytes, handles: "list[int]") -> None:
        self._all.waiting.pop(self, None)
        early, self._early = self._early, []
        self._bytes = 0
        if verb != b"ok" or not handles:
            return
        try:
            self._outside = _socket.socket(fileno=handles[0])
        except OSError:  # no socket
            return
        del handles[0]
        self._outside.setblocking(False)
        self._all.loop.watch(self._outside, select.EPOLLIN, self._ready, self.close)
        for data in early:
            self.send(data)

    def send(self, data: "bytes | memoryview") -> None:
        """Pass on one datagram of the app's; where it cannot be it is lost, as datagrams are."""
        if self._outside is None:
            if self not in self._all.waiting:
                self._dial()
            if self in self._all.waiting and len(self._early) < EARLY and self._bytes + len(data) <= EARLY_BYTES:
                self._early.append(bytes(data))
                self._bytes += len(data)
            return
        try:
            self._outside.send(data)
        except OSError:  # the last one was not wanted, this one is too large, or there is no room
            return

    def _ready(self, events: int) -> None:
        outside = self._outside
        if events & select.EPOLLHUP:  # the dialer has ended it
            self.close()
            return
        for _ in range(BATCH):
            if outside is None:
                return
            try:
                size = outside.recv_into(_buffer)
            except BlockingIOError:
                break
            except OSError:  # nobody is there: told by the target's machine, which may change its mind
                continue
            try:
                self._inside.sendmsg([_view[:size]], self.source, 0, self.key[2])
            except OSError:  # the app does not read, or is gone
                continue
        self._all.idle.start(self)

    def waits(self) -> bool:
        """Whether it has no socket outside yet."""
        return self._outside is None

    def close(self) -> None:
        """End it."""
        if self._all.sessions.pop(self.key, None) is None:
            return
        self._all.idle.stop(self)
        if self._all.waiting.pop(self, self) is None:
            self._all.dialing.forget(self._number)
        if self._outside is not None:
            self._all.loop.forget(self._outside)
            self._outside = None


class Datagrams:
    """What the app can send datagrams to, and the sessions that this has made."""

    __slots__ = ("_found", "_meant", "dialing", "idle", "loop", "sessions", "waiting")

    def __init__(self, loop: turns.Loop, dialing: dialings.Dialing, meant: "Meant") -> None:
        """meant: the rule and the host that an address, a port and a protocol stand for, if any."""
        self.loop, self.dialing, self._meant = loop, dialing, meant
        self._found: dict[tuple[int, str, int], _socket.socket] = {}
        self.sessions: dict[Key, Session] = {}
        self.waiting: dict[Session, None] = {}  # those that are dialled
        self.idle = turns.Patience(loop, IDLE, Session.close)

    def __len__(self) -> int:
        """How many descriptors it has."""
        return len(self._found) + len(self.sessions)

    def __contains__(self, key: object) -> bool:
        return key in self._found

    def found(self) -> "list[tuple[int, str, int]]":
        """All where datagrams are taken."""
        return list(self._found)

    def listen(self, key: "tuple[int, str, int]") -> None:
        """Take datagrams there: family, address, port. Raises OSError."""
        family, address, port = key
        if key in self._found:
            return
        made = _socket.socket(family, _DATAGRAM)
        try:
            if family == _socket.AF_INET6:
                made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
                made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
                made.setsockopt(_socket.IPPROTO_IPV6, _FREEBIND_6, 1)  # a local route is no address to it
            else:
                made.setsockopt(_socket.IPPROTO_IP, _PKTINFO, 1)
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, BUFFER)
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)  # beside the resolver, whose port is 53
            made.bind((address, port))
            self.loop.watch(made, turns.READ, lambda _events: self._read(made, port), self._failed)
        except OSError:
            made.close()
            raise
        self._found[key] = made

    def stop(self, key: "tuple[int, str, int]") -> None:
        """Take none there."""
        if made := self._found.pop(key, None):
            self.loop.forget(made)

    def _failed(self) -> None:
        """One datagram was no use; those after it may be."""

    def _read(self, inside: _socket.socket, port: int) -> None:
        for _ in range(BATCH):
            try:
                size, told, _, sender = inside.recvmsg_into([_buffer], _ROOM)
            except BlockingIOError:
                return
            except OSError:  # the app closed what we answered to
                continue
            to = _arriving(told)
            key = (inside, to, sender)
            session = self.sessions.get(key)
            if session is not None and self.loop.now - session.checked >= RECHECK:
                session = self._checked(session, port)
            if session is None:
                session = self._made(key, port)
            if session is not None:
                self.idle.start(session)
                session.send(_view[:size])

    def _made(self, key: "Key", port: int) -> "Session | None":
        """A new session; None where no rule is about it."""
        inside, to, _ = key
        address = _socket.inet_ntop(inside.family, to)
        found = self._meant(inside.family, address, port, "udp")
        if found is None:
            self.dialing.hint(f"tried udp {address} {port} not-granted".encode("ascii"))
            return None
        if len(self.sessions) >= MOST:
            self.idle.oldest().close()
        rule, host = found
        session = Session(self, key, flows.Rights(rule.intent, "udp", host, port))
        self.sessions[key] = session
        return session

    def _checked(self, session: Session, port: int) -> "Session | None":
        """The session, if its address still stands for its host, which is told that it is in use; else it ends."""
        inside, to, _ = session.key
        found = self._meant(inside.family, _socket.inet_ntop(inside.family, to), port, "udp")
        if found and found[1] == session.rights.host:
            session.checked = self.loop.now
            return session
        session.close()
        return None

    def open(self) -> "list[flows.Rights]":
        """What those that have a socket outside are there by."""
        return [each.rights for each in self.sessions.values() if not each.waits()]

    def drop(self, wanted: "Callable[[flows.Rights], bool]") -> int:
        """End those whose rights are wanted back; how many that were."""
        gone = [each for each in self.sessions.values() if wanted(each.rights)]
        for session in gone:
            session.close()
        return len(gone)

    def close(self) -> None:
        """End all of it."""
        self.drop(lambda _rights: True)
        for key in self.found():
            self.stop(key)


def _arriving(told: "list[tuple[int, int, bytes]]") -> bytes:
    """The packed address that a datagram was sent to. Raises ValueError where the kernel did not say."""
    for level, kind, data in told:
        if (level, kind) == (_socket.IPPROTO_IP, _PKTINFO):
            return data[8:12]  # struct in_pktinfo: index, local address, address in the header
        if (level, kind) == (_socket.IPPROTO_IPV6, _PKTINFO_6):
            return data[:16]  # struct in6_pktinfo: address, index
    raise ValueError("a datagram to nowhere")


def _leaving(family: int, address: bytes) -> "list[tuple[int, int, bytes]]":
    """What makes a datagram leave from a packed address."""
    if family == _socket.AF_INET6:
        return [(_socket.IPPROTO_IPV6, _PKTINFO_6, address + _struct.pack("=I", 0))]
    return [(_socket.IPPROTO_IP, _PKTINFO, _struct.pack("=I", 0) + address + bytes(4))]
