"""What a compiled sandbox says of one server: which rule decides whether the app reaches it (SPEC §10.6, §11.4)."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from intents import hosts, sandbox, sight

_LOOPBACK = ("localhost", "ip6-localhost", "ip6-loopback")
Lines = tuple[tuple[str, str], ...]  # what decides: its words, and whose it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Whether it is reached, in one clause, and what decides."""

    allowed: bool
    says: str
    lines: Lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What is asked about. port: 0 for any; protocol: empty for either."""

    host: str
    port: int = 0
    protocol: str = ""

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """It, where it is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def itself(self) -> bool:
        """Whether it is this machine."""
        address = self.address
        return address.is_loopback if address else self.host in _LOOPBACK or self.host.endswith(".localhost")

    @property
    def near(self) -> bool:
        """Whether it is of the local network, as far as its name or address tells."""
        address = self.address
        if address is None:
            return hosts.is_local(self.host)
        return any(address.version == lan.version and address in lan for lan in hosts.LAN)

    def is_of(self, target: hosts.Target) -> bool:
        """Whether a rule is about this host, at whatever port."""
        address = self.address
        return target.matches(str(address) if address else self.host)


def read(asked: str) -> Server:
    """``HOST``, ``HOST:PORT``, ``HOST:PORT/udp``, ``[ADDRESS]:PORT`` or a URL."""
    scheme, _, rest = asked.rpartition("://")
    name, _, path = rest.partition("/")
    name = name.rpartition("@")[2]
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
    else:
        port = ""
    usual = {"http": 80, "https": 443, "ftp": 21, "ssh": 22}.get(scheme, 0)
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else usual
    protocol = path if not scheme and path in hosts.PROTOCOLS else ""
    return Server(host=name.lower().removesuffix("."), port=number, protocol=protocol)


def tell(box: sandbox.Sandbox, server: Server, read_link: Callable[[str], str]) -> Said:
    """What the sandbox says of it."""
    if box.share("network") is not None:
        return _shared(box, server, read_link)
    if not box.network:
        says = "it has no network, only a loopback interface with nobody else on it"
        return Said(allowed=False, says=says, lines=(("a network of its own", sandbox.BASE),))
    about = [(rule, target(rule)) for rule in box.network if rule.verb == "connect"]
    here = [(rule, each) for rule, each in about if server.is_of(each)]
    there = [(rule, each) for rule, each in here if _fits(server, each)]
    given = [(rule, each) for rule, each in there if sandbox.ASK not in rule.flags]
    if given:
        ports = _ports(each for _, each in given)
        by_name = "" if server.address else "it looks the name up and "
        return Said(allowed=True, says=f"{by_name}reaches it at {ports}", lines=_lines(rule for rule, _ in given))
    wide = next((rule for rule in box.network if rule.verb == "internet"), None)
    if wide is not None and not server.itself and (not server.near or wide.rule == "lan"):
        return _wide(box, server, wide)
    if there:
        says = f"you are asked when it first tries {_ports(each for _, each in there)}; until then it does not exist"
        return Said(allowed=False, says=says, lines=_lines(rule for rule, _ in there))
    if here:
        says = f"it reaches it at {_ports(each for _, each in here)} alone"
        return Said(allowed=False, says=says, lines=_lines(rule for rule, _ in here))
    if server.itself:
        says = "what listens on this machine is not reached: there it finds itself"
    elif server.address is not None:
        says = "there is no way to that address"
    else:
        says = "there is no such name"
        if any(rule.verb == "resolve" for rule in box.network):
            says = "the name is looked up, and there is no way to where it leads"
    return Said(allowed=False, says=says, lines=(("a network of its own, with what was granted alone", sandbox.BASE),))


def _shared(box: sandbox.Sandbox, server: Server, read_link: Callable[[str], str]) -> Said:
    """The host's own network."""
    share = box.share("network")
    assert share is not None
    lines = ((share.describe(), share.because),)
    if share.ports and server.port and server.port not in share.ports and server.protocol != hosts.UDP:
        ports = ", ".join(map(str, share.ports))
        return Said(allowed=False, says=f"its TCP connections are held to port {ports}", lines=lines)
    if server.itself:
        says = "it reaches what listens on this machine, as every program outside does"
        return Said(allowed=True, says=says, lines=lines)
    if server.address is not None:
        return Said(allowed=True, says="it reaches every address that this machine reaches", lines=lines)
    resolver = sight.look(box, "/etc/resolv.conf", read_link)
    if resolver.line is None or resolver.stands is sight.Stands.NOTHING:
        says = "it reaches every address; names are not looked up for it, but it can ask a name server itself"
        return Said(allowed=True, says=says, lines=lines)
    says = "it can look the name up, and reaches every address that this machine reaches"
    return Said(allowed=True, says=says, lines=(*lines, (resolver.line.describe(), resolver.because)))


def _wide(box: sandbox.Sandbox, server: Server, wide: sandbox.NetworkRule) -> Said:
    """The internet, with or without the local network."""
    what = "every address outside this machine" if wide.rule == "lan" else "every address of the internet"
    if server.address is not None:
        return Said(allowed=True, says=f"it reaches {what}", lines=_lines([wide]))
    resolve = [rule for rule in box.network if rule.verb == "resolve"]
    if resolve:
        says = f"it can look the name up, and reaches {what}"
        return Said(allowed=True, says=says, lines=_lines([wide, *resolve]))
    says = f"it reaches {what}; names are not looked up for it, but it can ask a name server itself"
    return Said(allowed=True, says=says, lines=_lines([wide]))


def target(rule: sandbox.NetworkRule) -> hosts.Target:
    """The server of a rule to connect."""
    protocol, host, port = rule.rule.split(" ")
    return hosts.Target(host=host, port=int(port), protocol=protocol)


def _fits(server: Server, there: hosts.Target) -> bool:
    return server.port in (0, there.port) and server.protocol in ("", there.protocol)


def _ports(targets: Iterable[hosts.Target]) -> str:
    found = sorted({(each.port, each.protocol) for each in targets})
    words = [f"{port}{' (UDP)' if protocol == hosts.UDP else ''}" for port, protocol in found]
    return f"port {', '.join(words)}"


def _lines(rules: Iterable[sandbox.NetworkRule]) -> Lines:
    return tuple((rule.describe(), rule.because) for rule in rules)
