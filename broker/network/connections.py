"""The app's connections: each is looked at, dialled for, and from then on a pair (SPEC §10.6)."""

import _socket
import select

from broker.network import dialing as dialings
from broker.network import flows, hello, rules, turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
INWARD = "in"  # the protocol of those that come from outside
HELLO_SECONDS = 15.0  # in which a client says whom it wants
SLOW = 0.1  # seconds from which on it is noticed that the app gives up on a dial: most do not last as long
_PEEK = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
_ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Arrival:
    """A connection that the app has made and that nothing stands for yet."""

    __slots__ = ("_all", "_number", "app", "rights")

    def __init__(self, everything: "Connections", app: _socket.socket, rights: flows.Rights) -> None:
        self._all, self.app, self.rights = everything, app, rights
        self._number = 0

    def look(self, events: int) -> None:
        """Dial if the client has said that it wants the host that it may reach, and nothing if it may still do so."""
        try:
            data = self.app.recv(hello.LIMIT, _socket.MSG_PEEK)
        except BlockingIOError:
            return
        name = hello.server_name(data)
        if name is hello.INCOMPLETE and not events & _ENDED:
            return
        self._all.hellos.stop(self)
        if isinstance(name, bytes) and name == self.rights.host.encode("ascii"):
            self.mind()
            self.dial()
        else:
            self.refuse()

    def refuse(self) -> None:
        """Reset it, for what the client said or did not say."""
        self._all.dialing.tell(b"tried %b sni" % self.rights.words)
        self.fail()

    def dial(self) -> None:
        """Ask for the other side, unless the app gives up first."""
        number = self._all.dialing.ask(b"dial", self.rights.words, self._answered)
        if self in self._all.arrivals:
            self._number = number
            self._all.slow.start(self)

    def mind(self) -> None:
        """Take notice when the app gives up."""
        self._all.loop.watch(self.app, 0, self._broken, self.fail)

    def _broken(self, _events: int) -> None:
        self.fail()

    def _answered(self, verb: bytes, _rest: bytes, handles: "list[int]") -> None:
        if verb != b"ok" or not handles:
            self.fail()
            return
        try:
            outside = _socket.socket(-1, _socket.SOCK_STREAM, 0, handles[0])
        except OSError:  # no socket
            self.fail()
            return
        del handles[0]
        outside.setblocking(False)
        self._all.become(self, outside)

    def fail(self) -> None:
        """Reset it, whatever becomes of the other side."""
        if self in self._all.arrivals:
            if self._number:
                self._all.dialing.forget(self._number)
            self._all.gone(self)
            flows.abort(self._all.loop, self.app)


class Connections:
    """All of them. changed: called when there are fewer."""

    __slots__ = ("_changed", "_pipes", "arrivals", "dialing", "hellos", "loop", "pairs", "slow")

    def __init__(self, loop: turns.Loop, dialing: dialings.Dialing, changed: "Callable[[], object]") -> None:
        self.loop, self.dialing, self._changed = loop, dialing, changed
        self._pipes = flows.Pipes()
        self.arrivals: dict[Arrival, None] = {}
        self.pairs: dict[flows.Pair, None] = {}
        self.slow = turns.Patience(loop, SLOW, Arrival.mind)
        self.hellos = turns.Patience(loop, HELLO_SECONDS, Arrival.refuse)

    def __len__(self) -> int:
        return len(self.arrivals) + len(self.pairs)

    def arrived(self, app: _socket.socket, rule: rules.Connect, rights: flows.Rights) -> None:
        """The app made a connection to what it has rights to by a rule."""
        arrival = Arrival(self, app, rights)
        self.arrivals[arrival] = None
        try:
            if not rule.sni:
                arrival.dial()
            elif rule.prefix:  # an address has no name that a client could say
                arrival.refuse()
            else:
                self.hellos.start(arrival)
                self.loop.watch(app, _PEEK, arrival.look, arrival.fail)
        except Exception:  # whatever it is, it is this connection's
            arrival.fail()

    def become(self, arrival: Arrival, outside: _socket.socket) -> None:
        """The other side of an arrival is there."""
        self.slow.stop(arrival)
        self.arrivals.pop(arrival, None)
        self.join(arrival.app, outside, arrival.rights)

    def join(self, inside: _socket.socket, outside: _socket.socket, rights: flows.Rights) -> None:
        """Move bytes between the two from now on."""
        pair = flows.Pair(self.loop, self._pipes, inside, outside, rights, self.gone)
        self.pairs[pair] = None
        try:
            pair.begin()
        except OSError:
            pair.reset()

    def gone(self, what: "Arrival | flows.Pair") -> None:
        """One is no more."""
        if isinstance(what, Arrival):
            self.hellos.stop(what)
            self.slow.stop(what)
            self.arrivals.pop(what, None)
        else:
            self.pairs.pop(what, None)
            if what.rights.protocol == INWARD:
                self.dialing.tell(b"over")
        self._changed()

    def open(self) -> "Iterator[flows.Rights]":
        """What those that have two sides are there by."""
        return (each.rights for each in self.pairs)

    def drop(self, wanted: "Callable[[flows.Rights], bool]") -> int:
        """Reset all whose rights are wanted back; how many that were."""
        arrivals = [each for each in self.arrivals if wanted(each.rights)]
        pairs = [each for each in self.pairs if wanted(each.rights)]
        for arrival in arrivals:
            arrival.fail()
        for pair in pairs:
            pair.reset()
        return len(arrivals) + len(pairs)

    def close(self) -> None:
        """Reset all of them."""
        self.drop(lambda _rights: True)
        self._pipes.close()
