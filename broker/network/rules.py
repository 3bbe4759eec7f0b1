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
    """One ``connect``. prefix: (family, packed address, bits) of an address or CIDR, else None."""

    __slots__ = ("ask", "host", "intent", "port", "prefix", "protocol", "sni")

    def __init__(self, words: "list[str]") -> None:
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


def _prefix(host: str) -> "tuple[int, bytes, int] | None":
    address, _, bits = host.partition("/")
    for family, size in ((_socket.AF_INET, 32), (_socket.AF_INET6, 128)):
        try:
            return family, _socket.inet_pton(family, address), int(bits or size)
        except OSError:
            continue
    return None


class Rules:
    """All rules of one launch, in the plan's order."""

    __slots__ = ("connects", "internet", "listens", "resolves", "tools")

    def __init__(self, arguments: "Iterable[bytes]") -> None:
        """Raises ValueError or IndexError for what no compiler writes."""
        self.connects: list[Connect] = []
        self.listens: list[list[str]] = []
        self.internet = self.resolves = ""
        self.tools: dict[str, str] = {}
        for argument in arguments:
            verb, *words = argument.decode("ascii").split(" ")
            if verb == "connect":
                self.connects.append(Connect(words))
            elif verb == "listen":
                self.listens.append(words)
            elif verb == "resolve":
                self.resolves = words[0]
            elif verb == "internet":
                self.internet = words[1]
            elif verb == "tool":
                self.tools[words[0]] = words[1]
            else:
                raise ValueError(verb)

    def of_name(self, name: str) -> "Iterator[Connect]":
        """The rules about a name."""
        return (rule for rule in self.connects if rule.names(name))

    def find(self, protocol: str, host: str, port: int) -> "Connect | None":
        """The rule that lets a name or an address be dialled at that port."""
        prefix = _prefix(host)
        for rule in self.connects:
            if (rule.protocol, rule.port) == (protocol, port) and (
                rule.holds(prefix[0], prefix[1]) if prefix else rule.names(host)
            ):
                return rule
        return None
