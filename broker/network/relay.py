"""Takes what the app sends in its own network, and moves bytes between it and what the dialer reached (SPEC §10.6).

One thread. Whatever the app does ends its own connections at most, and where there is no room it waits.
"""

import _socket

from broker.network import connections, datagrams, dialing, flows, listening, resolver, rules, stub, turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from broker.network import inward
MOST = 8192  # connections at once, where the limit of descriptors allows as many
MOST_ASKED = 64  # connections that wait for somebody's answer
MOST_COUNTED = 200  # different targets
INWARD = connections.INWARD
RESERVE = 192  # descriptors that no connection takes: pipes, the resolver's, the loop's
_ANY = {_socket.AF_INET: "0.0.0.0", _socket.AF_INET6: "::"}


class Relay:
    """Everything that one sandbox has open."""

    def __init__(self, found: rules.Rules, channel: _socket.socket, *, six: bool, descriptors: int) -> None:
        """channel: to the dialer; six: there is IPv6; descriptors: how many there may be. Raises OSError."""
        self._rules, self._six, self._descriptors = found, six, descriptors
        self.loop = turns.Loop()
        self._asked = 0  # connections that wait for somebody's answer
        # What was found for what always means the same, as long as the rules are these.
        self._meanings: dict[listening.Key, tuple[rules.Connect, flows.Rights]] = {}
        self._changes = found.changes
        commands = {b"in": self._in, b"drop": self._drop, b"rule": self._rule, b"count": self._count}
        self.dialing = dialing.Dialing(self.loop, channel, commands)
        self.connections = connections.Connections(self.loop, self.dialing, self._changed)
        self.datagrams = datagrams.Datagrams(self.loop, self.dialing, self._meant)
        self.listeners = listening.Listeners(self.loop, self._arrived, self._room)
        self.stub = stub.Stub(found, self._listen_name, self.dialing.tell, six)
        self.dialing.others = self.stub.answered
        self.loop.tick = self.stub.tick
        self._inward = self._reached() if found.listens else None
        self.resolver = resolver.Resolver(self.loop, self.stub, resolver.ADDRESS, resolver.PORT)
        self._listen_prefixes()
        for number, name in self.stub.names():
            for rule in found.about(name):
                self._listen_name(rule.protocol, number, rule.port)

    def _room(self) -> int:
        used = len(self.listeners) + len(self.datagrams) + RESERVE
        return min(MOST, (self._descriptors - used) // 2) - len(self.connections)

    def _changed(self) -> None:
        self.listeners.resume()

    def _listen_prefixes(self) -> None:
        """Of many addresses all are listened on, by one socket: two of one port cannot be."""
        every = (*self._rules.connects, *self._rules.asks)
        prefixes = [(rule.prefix, rule.protocol, rule.port) for rule in every if rule.prefix]
        for (family, address, bits), protocol, port in sorted(prefixes, key=lambda row: row[0][2]):
            one = bits == len(address) * 8
            self._listen(protocol, family, _socket.inet_ntop(family, address if one else bytes(len(address))), port)

    def _listen_name(self, protocol: str, number: int, port: int) -> None:
        """Listen at the n-th made-up address."""
        for family in (_socket.AF_INET, _socket.AF_INET6) if self._six else (_socket.AF_INET,):
            self._listen(protocol, family, _socket.inet_ntop(family, stub.made_up(family, number)), port)

    def _listen(self, protocol: str, family: int, address: str, port: int) -> None:
        where = self.listeners if protocol == "tcp" else self.datagrams
        if (family, _ANY[family], port) not in where and not (family == _socket.AF_INET6 and not self._six):
            where.listen((family, address, port))

    def _arrived(self, app: _socket.socket, key: listening.Key) -> None:
        """The app has connected to something that is listened on."""
        if self._changes != self._rules.changes:
            self._meanings.clear()
            self._changes = self._rules.changes
        known = self._meanings.get(key)
        if known is None:
            family, address, port = key
            if address == _ANY[family]:
                address = app.getsockname()[0]
            known = self._known(family, address, port)
            if known is None:
                if not self._held(app, address, port):
                    self.dialing.hint(f"tried tcp {address} {port} not-granted".encode("ascii"))
                    flows.abort(self.loop, app)
                return
            if address == key[1] and self.stub.keeps(known[1].host):
                self._meanings[key] = known
        self.connections.arrived(app, *known)

    def _known(self, family: int, address: str, port: int) -> "tuple[rules.Connect, flows.Rights] | None":
        found = self._meant(family, address, port, "tcp")
        return (found[0], flows.Rights(found[0].intent, "tcp", found[1], port)) if found else None

    def _held(self, app: _socket.socket, address: str, port: int) -> bool:
        """Whether somebody is asked about what the app has connected to, which then waits for the answer."""
        number = stub.number_of(_socket.inet_pton(app.family, address))
        host = self.stub.name(number) if number else address
        if not host or self._rules.asking(host, port) is None or self._asked >= MOST_ASKED:
            return False

        def answered(verb: bytes, _rest: bytes, _handles: "list[int]") -> None:
            self._asked -= 1
            known = self._known(app.family, address, port) if verb == b"ok" else None
            if known:
                self.connections.arrived(app, *known)
            else:
                flows.abort(self.loop, app)

        self._asked += 1
        self.dialing.ask(b"may", f"{host} {port}".encode("ascii"), answered)
        return True

    def _meant(self, family: int, address: str, port: int, protocol: str) -> "tuple[rules.Connect, str] | None":
        """The rule that lets the app send there, and the host that it means."""
        number = stub.number_of(_socket.inet_pton(family, address))
        if number and (found := self.stub.target(number, port, protocol)):
            return found
        rule = self._rules.find(protocol, address, port)
        return (rule, address) if rule else None

    def _rule(self, words: bytes, _handles: "list[int]") -> None:
        """One more thing that the app may do: it is found when its name is looked up."""
        added = self._rules.add(words.decode("ascii"))
        if added:
            self.stub.added(self._rules.connects[-1])
        self.dialing.tell(b"ruled" if added else b"no-rule")

    def _drop(self, words: bytes, _handles: "list[int]") -> None:
        """What an intent gave, or what it gave for one host, is no more."""
        intent, *about = words.decode("ascii").split(" ")
        self._rules.drop(intent, *about)
        gone = self.connections.drop(self._unruled) + self.datagrams.drop(self._unruled)
        gone += self._inward.drop(intent) if self._inward else 0
        for protocol, where in (("tcp", self.listeners), ("udp", self.datagrams)):
            for key in where.found():
                if not self._wanted(protocol, key):
                    where.stop(key)
        self.dialing.tell(b"dropped %d" % gone)

    def _unruled(self, rights: flows.Rights) -> bool:
        """Whether no rule lets it be there any more."""
        if rights.protocol == INWARD:
            return all(rule.intent != rights.intent for rule in self._rules.listens)
        return self._rules.find(rights.protocol, rights.host, rights.port) is None

    def _count(self, _words: bytes, _handles: "list[int]") -> None:
        """What is open, by its target."""
        counts: dict[str, int] = {}
        for rights in (*self.connections.open(), *self.datagrams.open()):
            if rights.protocol == INWARD:
                continue
            words = rights.words.decode("ascii")
            counts[words] = counts.get(words, 0) + 1
        rows = [f"{words} {many}" for words, many in counts.items()]
        self.dialing.tell(" ".join(["counted", *rows[:MOST_COUNTED]]).encode("ascii"))

    def _wanted(self, protocol: str, key: listening.Key) -> bool:
        """Whether there is still a rule for something that is listened on."""
        family, address, port = key
        if address == _ANY[family]:
            every = (*self._rules.connects, *self._rules.asks)
            meant = [rule for rule in every if (rule.protocol, rule.port) == (protocol, port)]
            return any(rule.prefix and rule.prefix[0] == family for rule in meant)
        number = stub.number_of(_socket.inet_pton(family, address))
        asked = self._rules.asking(self.stub.name(number) if number else address, port)
        return asked is not None or self._meant(family, address, port, protocol) is not None

    def _in(self, words: bytes, handles: "list[int]") -> None:
        """Somebody outside connected to what the app may be reached by."""
        if handles and self._inward:
            self.loop.stirred = True
            outside = _socket.socket(fileno=handles[0])
            del handles[0]
            self._inward.take(words.split(b" "), outside)
        elif self._inward:  # there was no descriptor left for it
            self._over()

    def _join(self, inside: _socket.socket, outside: _socket.socket, intent: str) -> None:
        flows.plain(inside)
        self.connections.join(inside, outside, flows.Rights(intent, INWARD, "", 0))

    def _over(self) -> None:
        """One connection from outside is no more."""
        self.dialing.tell(b"over")

    def _reached(self) -> "inward.Inward":
        """What connects to the app, where it may be reached."""
        from broker.network import inward

        made = inward.Inward(self._rules.listens, self._join, self._over)

        def tick(now: float) -> "float | None":
            if not made.patience():
                made.turn()
            due, wait = self.stub.tick(now), made.patience()
            return due if wait < 0 else min(now + wait, due or now + wait)

        def turn(_events: int) -> None:
            made.turn()
            self.loop.stirred = True

        self.loop.watch(made, turns.READ, turn, self._nothing)
        self.loop.tick = tick
        return made

    def _nothing(self) -> None:
        """What went wrong is over."""

    def run(self) -> None:
        """Serve until the dialer is gone."""
        self.loop.run()

    def close(self) -> None:
        """Close everything."""
        self.connections.close()
        self.datagrams.close()
        self.listeners.close()
        self.resolver.close()
        self.loop.close()


def prepare(found: rules.Rules, channel: _socket.socket, six: bool) -> Relay:
    """Make everything that needs a capability, in the sandbox's network: all that listens. six: it has IPv6.

    Raises OSError.
    """
    from broker.network import netlink

    for rule in (*found.connects, *found.asks):
        if rule.prefix and not (rule.prefix[0] == _socket.AF_INET6 and not six):
            try:
                netlink.add_local(*rule.prefix)
            except FileExistsError:  # for another port, or an address that `lo` has anyway
                continue
    return Relay(found, channel, six=six, descriptors=_descriptors())


def _descriptors() -> int:
    """How many descriptors this process may have, once it may have as many as it can."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 1 << 20
