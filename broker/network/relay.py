"""Takes what the app sends in its own network, and moves bytes between it and what the dialer reached (SPEC §10.6).

One thread. Bytes go from socket to socket through a pipe by splice(2), never through this process's memory, and a side
that does not read stops the other one. Whatever the app does ends its own connections at most.
"""

import _socket
import _struct
import os
import select
import time

from broker.network import stub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.network import rules
RESOLVER = "127.0.0.53"
BACKLOG = 1024
LIMIT = 65536  # bytes of a message
CHUNK = 1 << 20  # bytes moved at once
TURNS = 8  # ... in one go, until others have theirs
TOLD = 200  # different targets of open connections
RESERVE = 64  # descriptors that no connection takes
_FREEBIND_6 = 78  # IPV6_FREEBIND of linux/in6.h
_ANY = {_socket.AF_INET: "0.0.0.0", _socket.AF_INET6: "::"}
_READ = select.EPOLLIN | select.EPOLLRDHUP
_BOTH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_ABORT = _struct.pack("ii", 1, 0)  # struct linger: the other side sees a reset
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_DATAGRAM = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class Flow:
    """One direction of a connection."""

    __slots__ = ("ended", "pipe", "source", "target", "waiting")

    def __init__(self, source: _socket.socket, target: _socket.socket) -> None:
        self.source, self.target = source, target
        self.pipe: tuple[int, int] | None = None
        self.waiting = 0  # bytes in the pipe
        self.ended = False


class Pair:
    """A connection of the app and the one that stands for it outside."""

    __slots__ = ("app", "flows", "outside", "target")

    def __init__(self, app: _socket.socket, outside: _socket.socket, target: "tuple[str, str, int]") -> None:
        """target: protocol, host and port, as the rules are asked about them."""
        self.app, self.outside, self.target = app, outside, target
        self.flows = (Flow(app, outside), Flow(outside, app))


class Relay:
    """Everything that one sandbox has open."""

    def __init__(self, found: "rules.Rules", dialing: _socket.socket, six: bool) -> None:
        self._rules, self._dialing, self._six = found, dialing, six
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._dials: dict[int, tuple[_socket.socket, tuple[str, str, int]]] = {}
        self._pairs: dict[Pair, None] = {}
        self._number = 0
        self._pipes: list[tuple[int, int]] = []
        self._busy: dict[Pair, None] = {}  # with more to move than one go allows
        self.ended = False
        self.stub = stub.Stub(found, self._listen_name, dialing.send, six)
        self._listening: set[tuple[int, str, int]] = set()
        self._watch(dialing, _READ, self._answered)
        self._resolver()
        self._listen_prefixes()
        for number, name in self.stub.names():
            for rule in found.of_name(name):
                self._listen_name(rule.protocol, number, rule.port)

    def _listen_prefixes(self) -> None:
        """Of many addresses all are listened on, by one socket: two of one port cannot be."""
        prefixes = [(rule.prefix, rule.port) for rule in self._rules.connects if rule.prefix]
        for (family, address, bits), port in sorted(prefixes, key=lambda row: row[0][2]):
            one = bits == len(address) * 8
            self._listen(family, _socket.inet_ntop(family, address if one else bytes(len(address))), port)

    def _watch(self, made: _socket.socket, events: int, handler: "Callable[[int], None]") -> None:
        self._handlers[made.fileno()] = handler
        self._poll.register(made.fileno(), events)

    def _forget(self, made: _socket.socket) -> None:
        self._handlers.pop(made.fileno(), None)
        made.close()

    def _resolver(self) -> None:
        made = _socket.socket(_socket.AF_INET, _DATAGRAM)
        made.bind((RESOLVER, 53))

        def asked(_events: int) -> None:
            data, sender = made.recvfrom(LIMIT)
            self.stub.ask(data, time.monotonic(), lambda answer: _reply(made, answer, sender))

        self._watch(made, _READ, asked)

    def _listen_name(self, protocol: str, number: int, port: int) -> None:
        for family in (_socket.AF_INET, _socket.AF_INET6) if self._six else (_socket.AF_INET,):
            self._listen(family, _socket.inet_ntop(family, stub.made_up(family, number)), port)

    def _listen(self, family: int, address: str, port: int) -> None:
        if not {(family, address, port), (family, _ANY[family], port)}.isdisjoint(self._listening):
            return
        self._listening.add((family, address, port))
        made = _socket.socket(family, _STREAM)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        if family == _socket.AF_INET6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            made.setsockopt(_socket.IPPROTO_IPV6, _FREEBIND_6, 1)  # a local route is no address to it
        made.bind((address, port))
        made.listen(BACKLOG)
        self._watch(made, _READ, lambda _events: self._accept(made))

    def _accept(self, listener: _socket.socket) -> None:
        handle, _ = listener._accept()  # type: ignore[attr-defined]
        app = _socket.socket(fileno=handle)
        app.setblocking(False)
        address, port = app.getsockname()[:2]
        packed = _socket.inet_pton(app.family, address)
        number = stub.number_of(packed)
        found = self.stub.target(number, port, "tcp") if number else None
        host = found[1] if found else address
        rule = found[0] if found else self._rules.find("tcp", address, port)
        if rule is None:
            self._abort(app)
            return
        self._number += 1
        self._dials[self._number] = app, ("tcp", host, port)
        self._dialing.send(f"dial {self._number} tcp {host} {port}".encode())

    def _abort(self, made: _socket.socket) -> None:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
        self._forget(made)

    def _answered(self, _events: int) -> None:
        data, rights, _, _ = self._dialing.recvmsg(LIMIT, _socket.CMSG_SPACE(4))
        if not data:
            self.ended = True
            return
        handles = [int.from_bytes(given[:4], "little") for _, _, given in rights]
        verb, *words = data.decode("latin-1").split(" ")
        if verb in ("drop", "rule", "count"):
            self._dialing.send(self._ruled(verb, words).encode())
            return
        if words[0][:1] == "s":
            self.stub.answered(data)
            return
        app, target = self._dials.pop(int(words[0]))
        if verb != "ok":
            self._abort(app)
            return
        outside = _socket.socket(fileno=handles[0])
        if self._rules.find(*target) is None:  # revoked meanwhile
            outside.close()
            self._abort(app)
            return
        pair = Pair(app, outside, target)
        self._pairs[pair] = None
        for each in (app, outside):
            self._watch(each, _BOTH, lambda _events: self._move(pair))

    def _ruled(self, verb: str, words: "list[str]") -> str:
        """Do what the user changes while the app runs (``control``); what is to be said of it."""
        if verb == "count":
            counts: dict[tuple[str, str, int], int] = {}
            for pair in self._pairs:
                counts[pair.target] = counts.get(pair.target, 0) + 1
            rows = [f"{protocol} {host} {port} {many}" for (protocol, host, port), many in counts.items()]
            return " ".join(["counted", *rows[:TOLD]])
        if verb == "rule":
            if not self._rules.add(" ".join(words)):
                return "no-rule"
            self.stub.added(self._rules.connects[-1])
            return "ruled"
        self._rules.drop(*words)
        gone = [pair for pair in self._pairs if self._rules.find(*pair.target) is None]
        for pair in gone:
            self._end(pair, self._abort)
        return f"dropped {len(gone)}"

    def _move(self, pair: Pair) -> None:
        """Move what can be moved in both directions."""
        self._busy.pop(pair, None)
        try:
            more = [self._pump(flow) for flow in pair.flows]
        except OSError:
            self._end(pair, self._abort)
            return
        if all(flow.ended for flow in pair.flows):
            self._end(pair, self._forget)
        elif any(more):
            self._busy[pair] = None

    def _end(self, pair: Pair, close: "Callable[[_socket.socket], None]") -> None:
        self._busy.pop(pair, None)
        if self._pairs.pop(pair, 0) == 0:  # it has ended in this turn already
            return
        for flow in pair.flows:
            if flow.pipe:
                for handle in flow.pipe:
                    os.close(handle)
                flow.pipe = None
        for each in (pair.app, pair.outside):
            close(each)

    def _pump(self, flow: Flow) -> bool:
        """Move bytes of one direction; whether there may be more at once. Raises OSError where a side is broken."""
        if flow.ended:
            return False
        if flow.pipe is None:
            flow.pipe = self._pipes.pop() if self._pipes else os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        source, target = flow.source.fileno(), flow.target.fileno()
        reading, writing = flow.pipe
        more = False
        try:
            for _ in range(TURNS):
                if not flow.waiting:
                    flow.waiting = os.splice(source, writing, CHUNK, flags=3)  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
                    if not flow.waiting:
                        flow.ended = True
                        flow.target.shutdown(_socket.SHUT_WR)
                        break
                while flow.waiting:
                    flow.waiting -= os.splice(reading, target, flow.waiting, flags=3)
            else:
                more = True
        except BlockingIOError:
            pass
        if not flow.waiting:
            self._pipes.append(flow.pipe)
            flow.pipe = None
        return more

    def run(self) -> None:
        """Serve until the dialer is gone."""
        while not self.ended:
            due = self.stub.tick(time.monotonic())
            wait = -1.0 if due is None else max(0.0, due - time.monotonic())
            for handle, events in self._poll.poll(0 if self._busy else wait):
                handler = self._handlers.get(handle)
                if handler:
                    handler(events)
            for pair in list(self._busy):
                self._move(pair)


def _reply(made: _socket.socket, answer: bytes, sender: "tuple[str, int]") -> None:
    """Send an answer to who asked; where that cannot be, it asks again."""
    try:
        made.sendto(answer, sender)
    except OSError:
        return


def prepare(found: "rules.Rules", dialing: _socket.socket, six: bool) -> Relay:
    """Make everything that needs a capability, in the sandbox's network: all that listens. six: it has IPv6.

    Raises OSError.
    """
    from broker.network import netlink

    for rule in found.connects:
        if rule.prefix and not (rule.prefix[0] == _socket.AF_INET6 and not six):
            try:
                netlink.add_local(*rule.prefix)
            except FileExistsError:  # for another port, or an address that `lo` has anyway
                continue
    return Relay(found, dialing, six)
