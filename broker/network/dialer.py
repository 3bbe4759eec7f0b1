"""Dials for the relay, in the host's network, what the rules allow and nothing else (SPEC §10.6).

The relay speaks for an app, and may have been taken over by it: what it asks for is checked here against the rules, and
what a name leads to against the machine, on the very address that is then connected to.
"""

import _socket

from broker.network import addresses, connecting, control, forward, lookup, loop, post, proxy, rules, surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.network import asking, inbound
DIALS = 1024  # at a time
WAITING = 256  # names that somebody has to decide about
UNSENT = 16384  # answers that the relay has not taken
_LIMIT = 65536
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.:")


def is_host(text: str) -> bool:
    """Whether a text can be a host: lower case, of the characters that names and addresses have."""
    if ":" in text:
        return len(text) < 64 and _PLAIN.issuperset(text)
    return len(text) < 254 and _PLAIN.issuperset(text) and all(0 < len(each) < 64 for each in text.split("."))


class Dial:
    """One request to connect."""

    __slots__ = ("host", "number", "port", "protocol", "rule")

    def __init__(self, number: str, rule: rules.Connect, host: str) -> None:
        self.number, self.rule, self.host = number, rule, host
        self.protocol, self.port = rule.protocol, rule.port


class Dialer:
    """Everything that is done for one sandbox in the host's network.

    wanted: is told of each name that waits for somebody's decision, with the port it is tried at, or 0. It may be
    replaced.
    """

    def __init__(
        self,
        relay: _socket.socket,
        found: rules.Rules,
        looping: loop.Loop,
        environment: "Mapping[bytes, bytes]",
        resolver: "Callable[[bytes], tuple[bytes, ...]]" = lookup.resolve,
    ) -> None:
        """environment: of whoever started the app, for what it says of proxies. Raises OSError."""
        self._relay, self.rules, self.loop = relay, found, looping
        self.wanted: Callable[[str, int], None] = _nobody
        self.desk: control.Desk | None = None
        self.near, self.lookup = surroundings.Surroundings(), lookup.Lookup(looping, resolver)
        self._proxies = proxy.Proxies(environment)
        self.post = post.Post(looping)
        self.forward = forward.Forward(looping, self._kind_of, found.internet == "lan")
        self._reached: inbound.Inbound | None = None
        self._changes = -1  # of the rules, as they were when they were looked through last
        self._dials: dict[str, Dial] = {}
        self._ends: dict[str, Callable[[], None]] = {}  # of dials: what gives up what they wait for
        # Names, and ports or 0, that somebody has to decide about, by the number of the request.
        self._waiting: dict[str, tuple[str, int]] = {}
        self._unsent: list[tuple[bytes, _socket.socket | None]] = []
        relay.setblocking(False)
        looping.watch(relay.fileno(), loop.READ, self._heard)

    def _heard(self, events: int) -> None:
        if events & loop.WRITE and self._flush():
            self.loop.change(self._relay.fileno(), loop.READ)
        try:
            data = self._relay.recv(_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._unsent) > UNSENT:
            self.loop.ended = True
            return
        try:
            self._do(data)
        except ValueError:  # the relay sends nothing of the kind
            self.loop.ended = True

    def _do(self, data: bytes) -> None:
        """Do what the relay asks for. Raises ValueError for what is not in its language."""
        verb, word, rest = (*data.split(b" ", 2), b"", b"")[:3]
        number = word.decode("ascii")
        words = rest.decode("ascii").split(" ") if verb != b"query" else []
        if verb == b"dial" and len(words) == 3:
            self._dial(number, words[0], words[1], int(words[2]))
        elif verb == b"may" and len(words) in (1, 2):
            self._may(number, words[0], int((*words[1:], "0")[0]))
        elif verb == b"query":
            self._query(number, rest)
        elif verb == b"look":
            self._look(number)
        elif not any(part.heard(data.decode("ascii").split(" ")) for part in (self._reached, self.desk) if part):
            raise ValueError(verb)

    def send(self, data: bytes, made: "_socket.socket | None" = None) -> None:
        """Send something to the relay, and a socket with it, which is closed then."""
        self._unsent.append((data, made))
        if len(self._unsent) == 1 and not self._flush():
            self.loop.change(self._relay.fileno(), loop.READ | loop.WRITE)

    def _flush(self) -> bool:
        """Send what is unsent; whether the relay has taken all of it."""
        try:
            while self._unsent:
                data, made = self._unsent[0]
                rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, made.fileno().to_bytes(4, "little"))] if made else []
                self._relay.sendmsg([data], rights, _socket.MSG_NOSIGNAL)
                if made:
                    made.close()
                del self._unsent[0]
        except BlockingIOError:
            return False
        except OSError:
            self.loop.ended = True
        return True

    def _look(self, host: str) -> None:
        """The app has asked for a name: it is about to connect to it."""
        for rule in self.rules.of_name(host) if is_host(host) else ():
            if rule.protocol == "udp" or self._proxies.of(host, rule.port) is None:
                self.lookup.find(host.encode("ascii"), lambda _found: None)
                return

    def _query(self, number: str, data: bytes) -> None:
        if self.rules.resolves:
            self.forward.ask(data, lambda reply: self.send(b"answer %s %s" % (number.encode(), reply)))
        else:
            self.send(f"no {number} not-granted".encode())

    def _may(self, number: str, host: str, port: int) -> None:
        """Wait until somebody has decided about a name, or about it at a port: until there is a rule, or none asks."""
        if len(self._waiting) >= WAITING or not is_host(host):
            reason = "busy" if is_host(host) else "not-granted"
            self.send(f"no {number} {reason}".encode())
            return
        self._waiting[number] = host, port
        self.recheck()
        if number in self._waiting:
            self.wanted(host, port)

    def refuse(self, name: str, port: int) -> None:
        """Nobody has decided about a name in time: whoever waits for it goes on without."""
        for number, waiting in list(self._waiting.items()):
            if waiting == (name, port):
                del self._waiting[number]
                self.send(f"no {number} busy".encode())

    def recheck(self) -> None:
        """The rules have changed: what waits for one goes on, what is dialled under one that has gone is given up."""
        self._changes = self.rules.changes
        for number, (host, port) in list(self._waiting.items()):
            given = self.rules.find("tcp", host, port) is not None if port else any(self.rules.of_name(host))
            if given or self.rules.asking(host, port) is None:
                del self._waiting[number]
                self.send(f"ok {number}".encode() if given else f"no {number} not-granted".encode())
        self.post.drop(lambda host, port: self.rules.find("udp", host, port) is not None)
        for dial in list(self._dials.values()):
            if self.rules.find(dial.protocol, dial.host, dial.port) is None:
                stop = self._ends.pop(dial.number, None)
                if stop:
                    stop()
                self._end(dial, "not-granted")

    def _dial(self, number: str, protocol: str, host: str, port: int) -> None:
        rule = self.rules.find(protocol, host, port) if protocol in _KINDS and is_host(host) else None
        if number in self._dials or rule is None or len(self._dials) >= DIALS:
            reason = "busy" if rule else "not-granted"
            self.send(f"no {number} {reason}".encode())
            self._count(protocol, host, port, reason, rule)
            return
        dial = self._dials[number] = Dial(number, rule, host)
        prefix = dial.rule.prefix
        address = _socket.inet_pton(prefix[0], dial.host) if prefix else b""
        server = self._proxies.of(dial.host, dial.port, address) if dial.protocol == "tcp" else None
        if server and server.host:
            self._tunnel(dial, server)
        elif server:
            self._end(dial, "unreachable")
        elif prefix:
            alone = prefix[2] == 8 * len(address)
            refused = addresses.verdict_of_literal(self._kind_of(address), alone)
            self._connect(dial, [] if refused else [address], itself=alone)
        else:
            self.lookup.find(dial.host.encode("ascii"), lambda found: self._found(dial, found))

    def _found(self, dial: Dial, found: "tuple[bytes, ...] | None") -> None:
        if found:
            self._connect(dial, [address for address in found if self._is_free(dial, address)])
        else:
            self._end(dial, "busy" if found is None else "unresolved")

    def _kind_of(self, address: bytes) -> str:
        return self.near.kind_of(address)

    def _is_free(self, dial: Dial, address: bytes) -> bool:
        """Whether the name may lead to an address."""
        family = _socket.AF_INET if len(address) == 4 else _socket.AF_INET6
        granted = any(
            rule.holds(family, address) and (rule.protocol, rule.port) == (dial.protocol, dial.port)
            for rule in self.rules.connects
        )
        local = addresses.is_local_name(dial.host)
        return not addresses.verdict(self._kind_of(address), local_name=local, granted=granted)

    def _connect(self, dial: Dial, free: "list[bytes]", itself: bool = False) -> None:
        """Connect to one of the addresses. itself: to this machine, too, as that is what was granted."""
        if not free or dial.number not in self._dials:
            self._end(dial, "address-refused")
            return

        def connected(made: "_socket.socket | None", reason: str) -> None:
            if made and not itself and connecting.to_itself(made):
                made.close()
                made, reason = None, "address-refused"
            if made and dial.protocol == "udp":
                made = self.post.carry(made, dial.host, dial.port, connecting.most)
                reason = "" if made else "busy"
            self._end(dial, reason, made)

        if dial.protocol == "udp":
            connected(*connecting.datagram(free, dial.port))
        else:
            self._race(dial, free, dial.port, connected)

    def _race(self, dial: Dial, free: "list[bytes]", port: int, done: "connecting.Done") -> None:
        race = connecting.Race(self.loop, free, port, done)
        if dial.number in self._dials:  # it is not over already
            self._ends[dial.number] = race.cancel

    def _tunnel(self, dial: Dial, server: proxy.Server) -> None:
        """Connect through a proxy, which is where its user says: its address is not checked, nor is what it reaches."""

        def reached(made: "_socket.socket | None", reason: str) -> None:
            self._ends.pop(dial.number, None)
            if made is None:
                self._end(dial, reason if reason == "busy" else "unreachable")
                return
            tunnel = proxy.Tunnel(
                self.loop, made, server, (dial.host, dial.port), lambda made, reason: self._end(dial, reason, made)
            )
            self._ends[dial.number] = tunnel.cancel

        def found(told: "tuple[bytes, ...] | None") -> None:
            if told and dial.number in self._dials:
                self._race(dial, list(told), server.port, reached)
            else:
                self._end(dial, "unreachable")

        self.lookup.find(server.host, found)

    def _end(self, dial: Dial, reason: str, made: "_socket.socket | None" = None) -> None:
        """Answer a request, if it has not been: with a socket, or with the reason why there is none."""
        self._ends.pop(dial.number, None)
        if self._dials.pop(dial.number, None) is None:
            if made:
                made.close()
            return
        self.send(f"ok {dial.number}".encode() if made else f"no {dial.number} {reason}".encode(), made)
        self._count(dial.protocol, dial.host, dial.port, "allowed" if made else reason, dial.rule)

    def _count(self, protocol: str, host: str, port: int, verdict: str, rule: "rules.Connect | None") -> None:
        if self.desk:
            self.desk.tries.add(protocol, host, port, verdict, rule.intent if rule else "-")

    def serve(
        self,
        ready: int,
        desk: control.Desk,
        reached: "inbound.Inbound | None" = None,
        asks: "asking.Asking | None" = None,
    ) -> int:
        """Serve until the relay is gone, or nobody reads the pipe of which ``ready`` is the writing end."""
        self.desk, self._reached = desk, reached
        self.wanted = asks.wanted if asks else self.refuse
        parts = [part for part in (desk, reached, asks) if part]

        def over(_events: int) -> None:
            self.loop.ended = True

        def woken(_events: int) -> None:
            return

        self.loop.watch(ready, 0, over)
        for part in parts:
            self.loop.watch(part.fileno(), loop.READ, woken)
        while not self.loop.ended:
            waits = [wait for part in parts if (wait := part.patience()) >= 0]
            self.loop.turn(min(waits) / 1000 if waits else -1.0)
            for part in parts:
                part.turn()
            if self._changes != self.rules.changes:
                self.recheck()
        return 0

    def close(self) -> None:
        """Let go of everything but the relay's socket."""
        for stop in list(self._ends.values()):
            stop()
        for _, made in self._unsent:
            if made:
                made.close()
        self._unsent.clear()
        self.post.close()
        self.forward.close()
        self.lookup.close()
        self.near.close()
        self.loop.close()


def _nobody(host: str, port: int) -> None:
    return
