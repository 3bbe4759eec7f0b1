"""The resolver of a sandbox: gives each granted name an address of its own that leads to the relay (SPEC §10.6).

It knows the rules and no more: what a name leads to outside is not looked up here, and nothing of the host is told.
"""

import _socket

from broker.network import message, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Reply = Callable[[bytes], object]
POOL = 512  # names below wildcards that have an address at a time
KEPT = 10.0  # seconds: an address is not given to another name that soon
HELD, WAITING = 64, 32  # names that wait for a person, and questions about one of them
PATIENCE = 30.0  # seconds that a question waits for a person; programs wait no longer
SAID, SAME = 64, 1.0  # answers that are remembered, and the seconds they are
FORWARDED, UPSTREAM = 256, 10.0  # questions that wait for the host's resolvers, and the seconds they do
TOLD, TRIED = 32, 512  # names of tries told to the dialer in a second, and remembered between
_FIRST = 2  # the number before it is `lo`'s own
_NOT_FORWARDED = ("localhost", "invalid", "onion", "local")  # RFC 6761, RFC 7686, RFC 6762: never for a resolver
_NOT_ANSWERED = frozenset((41, *range(128, 256)))  # OPT, TSIG, transfers, ANY: RFC 6895, 3.1; RFC 8482


class Held:
    """Questions about one name, until somebody has decided."""

    __slots__ = ("name", "questions", "until")

    def __init__(self, name: str, until: float) -> None:
        self.name, self.until = name, until
        self.questions: list[tuple[message.Query, Reply]] = []


class Stub:
    """Names, the addresses that were made up for them, and the questions that wait."""

    def __init__(
        self,
        found: rules.Rules,
        listen: "Callable[[str, int, int], None]",
        send: "Callable[[bytes], object]",
        six: bool = True,
    ) -> None:
        """listen: makes the relay listen for a rule's protocol and port at the n-th made-up address, or raises OSError;
        send: to the dialer. Numbers of requests begin with an ``s`` here. six: the sandbox has IPv6.
        """
        self._rules, self._listen, self._send, self._six = found, listen, send, six
        self._numbers: dict[str, int] = {}  # exact names
        self._names: list[str] = [""] * _FIRST
        self._pool: dict[str, int] = {}  # names below a wildcard, the one that was not used for longest first
        self._used: dict[str, float] = {}
        self._free: list[int] = []
        self._looked: dict[str, float] = {}
        self._said: dict[bytes, bytes] = {}  # without their numbers: questions about exact names, and the answers
        self._since, self._changes = 0.0, 0
        self._held: dict[bytes, Held] = {}
        self._forwarded: dict[bytes, tuple[message.Query, Reply, bool, float]] = {}
        self._tried: dict[str, int] = {}
        self._next_told = self._now = 0.0
        self._last = 0
        for rule in found.connects:
            self._enter(rule)

    def _enter(self, rule: rules.Connect) -> None:
        if rule.prefix is None and rule.host[:2] != "*." and rule.host not in self._numbers:
            self._numbers[rule.host] = len(self._names)
            self._names.append(rule.host)

    def added(self, rule: rules.Connect) -> None:
        """A rule that has come: what has an address then is listened for at its port. Raises OSError."""
        self._enter(rule)
        for number, name in self.names():
            for each in (rule, *self._rules.asks) if rule.names(name) else ():
                if each.names(name):
                    self._listen(each.protocol, number, each.port)

    def names(self) -> "list[tuple[int, str]]":
        """(number, name) of what has an address."""
        return [(number, name) for number, name in enumerate(self._names) if name]

    def name(self, number: int) -> str:
        """The name that has the n-th made-up address; empty for none."""
        return self._names[number] if 0 <= number < len(self._names) else ""

    def keeps(self, name: str) -> bool:
        """Whether a name has its address for good."""
        return name in self._numbers

    def target(self, number: int, port: int, protocol: str) -> "tuple[rules.Connect, str] | None":
        """The rule and the name that the n-th made-up address stands for."""
        name = self.name(number)
        rule = self._rules.find(protocol, name, port) if name else None
        if rule is None:
            return None
        if name in self._pool:
            self._pool[name] = self._pool.pop(name)
            self._used[name] = self._now
        return rule, name

    def again(self, data: bytes, now: float) -> bytes:
        """The answer to a message that was answered a moment ago, under the same rules; empty where it was not."""
        if now - self._since >= SAME or self._changes != self._rules.changes:
            self._said.clear()
            self._since, self._changes = now, self._rules.changes
        said = self._said.get(data[2:])
        return data[:2] + said if said else b""

    def ask(self, data: bytes, now: float, reply: "Reply", stream: bool = False) -> None:
        """Answer one message, now or later. stream: it came over TCP, so that the answer may have any length."""
        self._now = now
        query = message.parse_query(data)
        if query is None:
            complaint = message.complaint(data)
            if complaint:
                reply(complaint)
        elif query.group != message.INTERNET:
            reply(message.answer(query, message.REFUSED))
        else:
            if any(self._rules.of_name(query.name)):
                answer = self._known(query)
                if query.name in self._numbers and len(self._said) < SAID:
                    self._said[data[2:]] = answer[2:]
                reply(answer)
            elif self._rules.asking(query.name) is not None:
                self._hold(query, reply)
            else:
                self._unknown(query, reply, stream)

    def _known(self, query: message.Query) -> bytes:
        """The answer for a granted name: its own address, and nothing for other types."""
        if query.kind not in (message.A, message.AAAA):
            return message.answer(query, message.OKAY)
        try:
            number = self._numbers.get(query.name) or self._numbered(query.name)
        except OSError:
            number = 0
        if not number:
            return message.answer(query, message.FAILED)
        if self._now - self._looked.get(query.name, -KEPT) >= 1:
            self._looked[query.name] = self._now
            self._send(b"look " + query.name.encode("ascii"))
        if query.kind == message.A:
            return message.answer(query, message.OKAY, [made_up(_socket.AF_INET, number)])
        return message.answer(query, message.OKAY, [made_up(_socket.AF_INET6, number)] if self._six else ())

    def _numbered(self, name: str) -> int:
        """The number of a name below a wildcard, which the least used one loses for it; 0 when all are in use.

        Raises OSError.
        """
        number = self._pool.pop(name, 0)
        if not number:
            number = self._next()
            if not number:
                return 0
            self._names[number] = name
            try:
                for rule in self._rules.about(name):
                    self._listen(rule.protocol, number, rule.port)
            except OSError:
                self._names[number] = ""
                self._free.append(number)
                raise
        self._pool[name], self._used[name] = number, self._now
        return number

    def _next(self) -> int:
        if self._free:
            return self._free.pop()
        if len(self._pool) < POOL:
            self._names.append("")
            return len(self._names) - 1
        oldest = next(iter(self._pool))
        if self._now - self._used[oldest] < KEPT:
            return 0
        del self._used[oldest]
        self._looked.pop(oldest, None)
        return self._pool.pop(oldest)

    def _hold(self, query: message.Query, reply: "Reply") -> None:
        """Keep a question until a person has decided about its name."""
        held = next((each for each in self._held.values() if each.name == query.name), None)
        if held is None and len(self._held) < HELD:
            held = Held(query.name, self._now + PATIENCE)
            self._held[self._request(b"may", query.name.encode("ascii"))] = held
        if held is None or len(held.questions) >= WAITING:
            reply(message.answer(query, message.FAILED))
        else:
            held.questions.append((query, reply))

    def _unknown(self, query: message.Query, reply: "Reply", stream: bool) -> None:
        """What is not granted: for the host's resolvers where any name is, else no such name, at once."""
        name = query.name
        if name.rpartition(".")[2] in _NOT_FORWARDED or not name or not self._rules.resolves:
            if not self._rules.resolves and (query.kind != message.AAAA or name not in self._tried):
                self._try(name or ".")
            reply(message.answer(query, message.NO_SUCH_NAME))
        elif query.kind in _NOT_ANSWERED:
            reply(message.answer(query, message.NOT_IMPLEMENTED))
        elif len(self._forwarded) >= FORWARDED:
            reply(message.answer(query, message.FAILED))
        else:
            number = self._request(b"query", message.asks(query.number, query))
            self._forwarded[number] = query, reply, stream, self._now + UPSTREAM

    def _request(self, verb: bytes, rest: bytes) -> bytes:
        self._last += 1
        number = b"s%d" % self._last
        self._send(b" ".join((verb, number, rest)))
        return number

    def answered(self, told: bytes) -> None:
        """What the dialer says to a request whose number begins with an ``s``."""
        verb, number, rest = (*told.split(b" ", 2), b"")[:3]
        if number in self._forwarded:
            query, reply, stream, _ = self._forwarded.pop(number)
            good = verb == b"answer" and message.replies(rest, query.number, query)
            reply(message.fits(query, rest, stream) if good else message.answer(query, message.FAILED))
        elif number in self._held:
            held = self._held.pop(number)
            given = verb == b"ok" and any(self._rules.of_name(held.name))
            code = message.NO_SUCH_NAME if rest == b"not-granted" else message.FAILED
            for query, reply in held.questions:
                reply(self._known(query) if given else message.answer(query, code))

    def _try(self, name: str) -> None:
        if name not in self._tried and len(self._tried) >= TRIED:
            name = "*"
        self._tried[name] = self._tried.get(name, 0) + 1
        self._tell()

    def _tell(self) -> None:
        if self._tried and self._now >= self._next_told:
            self._next_told = self._now + 1
            for name in list(self._tried)[:TOLD]:
                self._send(f"tried dns {name} 53 not-granted {self._tried.pop(name)}".encode())

    def tick(self, now: float) -> "float | None":
        """Give up what has waited too long, and tell of tries. Returns when to come again; None: not until asked."""
        self._now = now
        self._tell()
        for number, (query, reply, _, until) in list(self._forwarded.items()):
            if until <= now:
                del self._forwarded[number]
                reply(message.answer(query, message.FAILED))
        for number, held in list(self._held.items()):
            if held.until <= now:
                del self._held[number]
                for query, reply in held.questions:
                    reply(message.answer(query, message.FAILED))
        times = [each.until for each in self._held.values()] + [each[3] for each in self._forwarded.values()]
        return min(times + [self._next_told] * bool(self._tried), default=None)


def made_up(family: int, number: int) -> bytes:
    """The n-th made-up address, packed."""
    if family == _socket.AF_INET:
        return (0xC6120000 + number).to_bytes(4, "big")
    return bytes.fromhex("fd696e74656e0000000000000000")[:12] + number.to_bytes(4, "big")


def number_of(address: bytes) -> int:
    """Which made-up address a packed one is; 0 for any other."""
    if len(address) == 4:
        number = int.from_bytes(address, "big") - 0xC6120000
        return number if 0 < number < 1 << 17 else 0
    return int.from_bytes(address[12:], "big") if address[:12] == made_up(_socket.AF_INET6, 0)[:12] else 0
