"""Servers that an app may reach: ``Target``, one host and one port (SPEC §5.1.1).

Takes the text of a manifest, gives values; nothing is looked up. What is not written in its one canonical form is
refused, with that form as the next step: what the user reads is, letter by letter, what is compared later.
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass

from intents import errors, paths

TCP, UDP = PROTOCOLS = ("tcp", "udp")
MAX_NAME = 253  # characters (RFC 1035, section 2.3.4, without the trailing dot)
MAX_SHOWN = 80
_NEXT = "Write `www.example.org:443`, `*.example.org:443`, `192.168.1.0/24:631`, `[2001:db8::1]:22` or `…:123/udp`."

# Names that are of the user's own network by custom or by RFC (6762, 8375, and ICANN's `internal`).
LOCAL_SUFFIXES = ("home", "home.arpa", "internal", "lan", "local", "localdomain")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# What the resolver of libc takes for an address (inet_aton(3)), though it is not written as one.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# Of what international names are made (RFC 5892), roughly: a name that shows nothing else is for the eye, not for DNS.
_LETTERS = frozenset({"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"})


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# What no app may name, and why.
_REFUSED: tuple[tuple[str, tuple[Network, ...]], ...] = (
    ("no address of a server", _networks("0.0.0.0/8", "::/128", "240.0.0.0/4")),
    ("an address of whoever is on the same cable", _networks("169.254.0.0/16", "fe80::/10")),
    ("an address of many servers at once", _networks("224.0.0.0/4", "ff00::/8")),
    ("an IPv4 address in the clothes of IPv6", _networks("::ffff:0:0/96", "::/96")),
    ("what intents makes up inside a sandbox", _networks("198.18.0.0/15", "fd69:6e74:656e::/96")),
)
# Where a cloud gives whoever asks the keys of the machine: the ones that are not link-local. A range may hold them; the
# dialer and the filter know them as well, and do not let it lead there.
METADATA = _networks(
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
    *("fd00:ec2::254/128", "fd00:ec2::23/128", "fd20:ce::254/128"),
)
# This machine itself. 127.0.0.1 and ::1 can be named, for one service; other addresses and names of it cannot.
OWN = _networks("127.0.0.0/8", "::1/128")
_ITSELF = "this machine itself"
_INSTEAD = "Write `127.0.0.1:9050` for one of its services."
# The user's own network: private addresses (RFC 1918, 4193, 6598, 8215, and site-local ones of old).
LAN = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"), *("fc00::/7", "fec0::/10", "64:ff9b:1::/48")
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Target:
    """One host and one port. ``host``: a name, ``*.name`` (all names below it), an address, or a CIDR range.

    Always canonical: ``parse`` makes one. ``protocol`` is ``tcp`` or ``udp``.
    """

    host: str
    port: int
    protocol: str

    @property
    def text(self) -> str:
        """As a manifest writes it: ``host:port``, IPv6 in brackets, ``/udp`` at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{'/udp' if self.protocol == UDP else ''}"

    @property
    def network(self) -> Network | None:
        """The addresses, where it names addresses; None for a name."""
        return None if _is_name(self.host) else ipaddress.ip_network(self.host)

    @property
    def wild(self) -> bool:
        """Whether it names many hosts: ``*.name``, or a range of addresses."""
        return self.host.startswith("*.") or "/" in self.host

    @property
    def local(self) -> bool:
        """Whether it is of the user's own network: by its name, or all of its addresses."""
        network = self.network
        if network is not None:
            return any(_within(network, lan) for lan in LAN)
        return is_local(self.host.removeprefix("*."))

    @property
    def own(self) -> bool:
        """Whether it is a service of this machine."""
        network = self.network
        return network is not None and any(_within(network, own) for own in OWN)

    def covers(self, other: "Target") -> bool:
        """Whether every host and port of ``other`` is one of this. Names and addresses never cover one another."""
        if (self.port, self.protocol) != (other.port, other.protocol):
            return False
        mine, theirs = self.network, other.network
        if mine is not None or theirs is not None:
            return mine is not None and theirs is not None and _within(theirs, mine)
        return self.host == other.host or (self.host.startswith("*.") and _below(other.host, self.host[2:]))

    def meet(self, other: "Target") -> "Target | None":
        """What both name: one of the two, as names and ranges lie within one another or apart."""
        return other if self.covers(other) else self if other.covers(self) else None

    def matches(self, host: str) -> bool:
        """Whether ``host``, a canonical name or an address, is one of its hosts."""
        network = self.network
        if network is not None:
            return not _is_name(host) and _within(ipaddress.ip_network(host), network)
        return host == self.host or (self.host.startswith("*.") and _is_name(host) and _below(host, self.host[2:]))


def parse(text: str) -> Target:
    """The target that ``host:port`` or ``host:port/udp`` says. Raises ManifestError ``bad-host``."""
    host, port, protocol = _split(text)
    if host.startswith("["):
        found = _address(text, host[1:-1], port, protocol)
    elif ":" in host:
        raise _error(text, "IPv6 addresses stand in brackets", _NEXT)
    elif "/" in host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2].lower()):
        found = _address(text, host, port, protocol)
    else:
        found = Target(host=_name(text, host, port, protocol), port=port, protocol=protocol)
    return found


def is_local(name: str) -> bool:
    """Whether a canonical name is one of the user's own network: without a dot, or under one of its suffixes."""
    return "." not in name or any(_below(name, suffix) or name == suffix for suffix in LOCAL_SUFFIXES)


def _split(text: str) -> tuple[str, int, str]:
    """The host as it is written, the port, the protocol."""
    where, protocol = text, TCP
    rest, slash, word = text.rpartition("/")
    if slash and "]" not in word and ":" not in word:
        if word != UDP:
            fix = f"Write `{paths.printable(rest[:MAX_SHOWN])}`." if word == TCP else _NEXT
            raise _error(text, "what follows the port can be `/udp` alone; without it, the protocol is TCP", fix)
        where, protocol = rest, UDP
    host, colon, port = where.rpartition(":")
    if not colon or not host or (host.startswith("[") != host.endswith("]")) or host == "[]":
        raise _error(text, "it must be a host, a colon and a port", _NEXT)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) or int(port) > 65535:
        raise _error(text, "its port must be a number from 1 to 65535", _NEXT)
    return host, int(port), protocol


def _address(text: str, host: str, port: int, protocol: str) -> Target:
    try:
        if "%" in host:
            raise ValueError
        network = ipaddress.ip_network(host, strict=False)
        shown = str(network.network_address if network.num_addresses == 1 else network)
    except ValueError:
        said = "its host is no address: IPv4 is four decimal numbers without leading zeros, IPv6 has no zone"
        raise _error(text, said, _NEXT) from None
    instead = f"Write `{Target(host=shown, port=port, protocol=protocol).text}`."
    if text.startswith("[") != (network.version == 6):
        raise _error(text, "IPv6 addresses, and they alone, stand in brackets", instead)
    own = any(_within(network, each) for each in OWN)
    for why, refused in _REFUSED:
        if not own and any(_within(network, each) for each in refused):
            raise _error(text, f"it is {why}", _NEXT)
    if network in METADATA:
        raise _error(text, "it is where a cloud tells the keys of this machine", _NEXT)
    if host != shown:
        raise _error(text, "it is not in its shortest form", instead)
    if own and shown not in ("127.0.0.1", "::1"):
        raise _error(text, f"it is {_ITSELF}", _INSTEAD)
    if own:
        return Target(host=shown, port=port, protocol=protocol)
    every = (*LAN, *OWN, *(each for _, them in _REFUSED for each in them))
    if any(each.version == network.version and network.overlaps(each) and not _within(network, each) for each in every):
        raise _error(text, "the range holds addresses of servers and others", 'Ask for less, or for `scope = "lan"`.')
    return Target(host=shown, port=port, protocol=protocol)


def _name(text: str, host: str, port: int, protocol: str) -> str:
    """The name, which is in its canonical form."""
    wild = host.startswith("*.")
    name = host[2:] if wild else host
    if canonical := _canonical(name):
        fix = Target(host=("*." if wild else "") + canonical, port=port, protocol=protocol).text
        raise _error(text, "a name is lower-case, without a dot at its end, and as DNS has it", f"Write `{fix}`.")
    labels = name.split(".")
    if "*" in name:
        raise _error(text, "`*` can only be the first part of a name, alone", "Write `*.example.org:443`.")
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) and _decodes(label) for label in labels):
        raise _error(text, "its host is no name: letters, digits and hyphens between dots", _NEXT)
    if wild and len(labels) < 2:
        raise _error(text, "below `*` there must be two parts of a name at least", "Write `*.example.org:443`.")
    if labels[-1] == "localhost":
        raise _error(text, f"it is {_ITSELF}", _INSTEAD)
    return host


def _canonical(name: str) -> str:
    """The name as it should be written; empty where it is written so, or nothing can be said."""
    try:
        wanted = name.lower().removesuffix(".")
        # IDNA 2003 (RFC 3490) maps what it can; what resolves is up to the author, who is shown the result.
        wanted = wanted if wanted.isascii() else wanted.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    good = all(_LABEL.fullmatch(label) for label in wanted.split("."))
    return wanted if wanted != name and good else ""


def _decodes(label: str) -> bool:
    """Whether a label that says it is an international one (RFC 5890) is one, in the only spelling it has."""
    if not label.startswith("xn--"):
        return True
    try:
        said = label[4:].encode("ascii").decode("punycode")
        same = unicodedata.normalize("NFC", said.lower()) == said and said.encode("punycode").decode() == label[4:]
    except UnicodeError:
        return False
    return same and not said.isascii() and all(unicodedata.category(char) in _LETTERS or char in "-·" for char in said)


def _is_name(host: str) -> bool:
    return ":" not in host and "/" not in host and not host.rpartition(".")[2].isdigit()


def _below(name: str, parent: str) -> bool:
    return name.endswith(f".{parent}")


def _within(network: Network, other: Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return network.subnet_of(other)
    if isinstance(network, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return network.subnet_of(other)
    return False


def _error(text: str, why: str, hint: str) -> errors.ManifestError:
    shown = paths.printable(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
    return errors.ManifestError("bad-host", f"`{shown}` is not a server that an app can ask for: {why}", hint=hint)
