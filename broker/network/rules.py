"""What a launch may do with the network, as the plan says it: one rule per argument, words between spaces (SPEC §10.6).

connect INTENT PROTOCOL HOST PORT FLAGS
resolve INTENT any
internet INTENT SCOPE
listen INTENT PROTOCOL INSIDE HOSTSIDE OPTIONS
tool NAME PATH
"""

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Connect:
    """One ``connect``. prefix: (family, packed address, bits) of an address or CIDR, else None; text: the argument."""

    __slots__ = ("ask", "host", "intent", "port", "prefix", "protocol", "sni", "text")

    def __init__(self, words: "list[str]") -> None:
        self.text = " ".join(["connect", *words])
        self.intent, self.protocol, self.host = words[:3]
        self.port = int(words[3])
        flags = words[4].split(",")
        self.sni, self.ask = "sni" in flags, "ask" in flags
        self.prefix = _prefix(self.host)

    def names(self, name: str) -> bool:
        """Whether the rule is about this name: lower case, no trailing dot."""
        if self.host[:2] == "*.":
            return len(name) > len(self.host) - 1 and name.endswith(self.host[1:])
        return self.prefix is None and name == self.host

    def holds(self, family: int, address: bytes) -> bool:
        """Whether the rule is about this packed address."""
        if self.prefix is None or self.prefix[0] != family:
            return False
        shift = len(address) * 8 - self.prefix[2]
        return int.from_bytes(address, "big") >> shift == int.from_bytes(self.prefix[1], "big") >> shift

    def means(self, host: str, prefix: "tuple[int, bytes, int] | None") -> bool:
        """Whether the rule is about this name, or address, of which ``prefix`` is what ``_prefix`` says."""
        return self.holds(*prefix[:2]) if prefix else self.names(host)

    def of(self, intent: str, host: str, port: str, protocol: str) -> bool:
        """Whether it is of this intent and about this host, port and protocol, each unless it is empty."""
        about = (host, self.host), (port, str(self.port)), (protocol, self.protocol)
        return self.intent == intent and all(said in ("", mine) for said, mine in about)

    def same(self, other: "Connect") -> bool:
        """Whether it is of the same intent and about the same."""
        mine = self.intent, self.protocol, self.host, self.port
        return mine == (other.intent, other.protocol, other.host, other.port)


def _prefix(host: str) -> "tuple[int, bytes, int] | None":
    address, _, bits = host.partition("/")
    if ":" not in address and not address[-1:].isdigit():  # a name, as nearly all are
        return None
    for family, size in ((_socket.AF_INET, 32), (_socket.AF_INET6, 128)):
        try:
            return family, _socket.inet_pton(family, address), int(bits or size)
        except OSError:
            continue
    return None


class Listen:
    """One ``listen``. where: loopback, lan, all, unix or systemd; outside: the port, path or name there."""

    __slots__ = ("inside", "intent", "outside", "protocol", "proxy", "where")

    def __init__(self, words: "list[str]") -> None:
        self.intent, self.protocol = words[:2]
        self.inside = int(words[2])
        self.where, _, self.outside = " ".join(words[3:-1]).partition(":")
        self.proxy = "proxy2" in words[-1].split(",")


class Rules:
    """All rules of one launch, in the plan's order. asks: those that give nothing before the user was asked.

    changes: how often they have changed, so that who remembers what they said knows when it is over.
    """

    __slots__ = ("asks", "changes", "connects", "internet", "listens", "resolves", "tools", "whose")

    def __init__(self, arguments: "Iterable[bytes]") -> None:
        """Raises ValueError or IndexError for what no compiler writes."""
        self.changes = 0
        self.connects: list[Connect] = []
        self.asks: list[Connect] = []
        self.whose: dict[str, str] = {}  # the intents of ``resolve`` and ``internet``
        self.listens: list[Listen] = []
        self.internet = self.resolves = ""
        self.tools: dict[str, str] = {}
        for argument in arguments:
            verb, *words = argument.decode("ascii").split(" ")
            if verb == "connect":
                made = Connect(words)
                (self.asks if made.ask else self.connects).append(made)
            elif verb == "listen":
                self.listens.append(Listen(words))
            elif verb == "resolve":
                self.whose[verb], self.resolves = words
            elif verb == "internet":
                self.whose[verb] = words[0]
                self.internet = max(self.internet, words[1])  # lan, the wider one, if there are both
            elif verb == "tool":
                self.tools[words[0]] = words[1]
            else:
                raise ValueError(verb)

    def of_name(self, name: str) -> "Iterator[Connect]":
        """The rules about a name."""
        return (rule for rule in self.connects if rule.names(name))

    def about(self, name: str) -> "Iterator[Connect]":
        """The rules about a name, those that have to be asked about as well."""
        return (rule for rule in (*self.connects, *self.asks) if rule.names(name))

    def add(self, argument: str) -> bool:
        """One more rule, while the app runs; whether it could be: nothing but named hosts can.

        It takes the place of the one that had to be asked about. Raises ValueError or IndexError.
        """
        verb, *words = argument.split(" ")
        made = Connect(words) if verb == "connect" else None
        if made is None or made.ask:
            return False
        asked = [each for each in self.asks if each.same(made)]
        if made.prefix is not None and not asked:  # its route was to be made before the app began
            return False
        self.changes += 1
        for each in asked:
            self.asks.remove(each)
        if not any(each.text == made.text for each in self.connects):
            self.connects.append(made)
        return True

    def drop(self, intent: str, host: str = "", port: str = "", protocol: str = "") -> None:
        """Let no rule of the intent count any more, or none of it about that host, as the rule writes it, and port."""
        self.changes += 1
        self.connects = [each for each in self.connects if not each.of(intent, host, port, protocol)]
        self.asks = [each for each in self.asks if not each.of(intent, host, port, protocol)]
        self.listens = [each for each in self.listens if each.intent != intent or host]
        if self.whose.get("resolve") == intent and not host:
            self.resolves = ""
        if self.whose.get("internet") == intent and not host:
            self.internet = ""

    def asking(self, name: str, port: int = 0) -> "Connect | None":
        """The rule that lets the user be asked about a name or an address; port: at that TCP port, unless it is 0."""
        prefix = _prefix(name)
        for rule in self.asks:
            if rule.means(name, prefix) and (not port or (rule.protocol, rule.port) == ("tcp", port)):
                return rule
        return None

    def find(self, protocol: str, host: str, port: int) -> "Connect | None":
        """The rule that lets a name or an address be dialled at that port."""
        prefix = _prefix(host)
        for rule in self.connects:
            if (rule.protocol, rule.port) == (protocol, port) and rule.means(host, prefix):
                return rule
        return None
