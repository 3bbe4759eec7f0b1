"""What the filter of `internet` and `lan` lets through is what the rest of the program says an address is."""

import ipaddress
import itertools
import socket

from hypothesis import example, given
from hypothesis import strategies as st

from broker.network import addresses
from intents import nft

OWN = tuple(addresses.pack(text) for text in ("192.0.2.2", "10.1.2.3", "2001:db8:1::2", "fd00::2"))
NEAR = tuple(addresses.pack(text) for text in ("192.0.2.0/24", "10.1.0.0/16", "203.0.113.64/26", "2001:db8:1::/64"))
GRANTS = tuple(
    (addresses.pack(text), protocol, port)
    for text, protocol, port in (
        ("192.168.1.0/24", "tcp", 631),
        ("192.0.2.0/24", "udp", 53),
        ("2001:db8:1::/64", "tcp", 22),
        ("0.0.0.0/0", "tcp", 9100),
        ("::/0", "tcp", 9100),
    )
)
SPECIAL = [base for base, _ in (addresses.pack(text) for text, _ in addresses._TABLE)]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def near_an_edge(base: bytes) -> st.SearchStrategy[bytes]:
    """Addresses around where a prefix of some length begins or ends."""
    top = 1 << 8 * len(base)
    start = int.from_bytes(base, "big")
    bits = st.integers(0, 8 * len(base)).map(lambda bit: 1 << bit)
    offsets = st.tuples(bits, st.sampled_from([-1, 0, 1])).map(lambda pair: pair[0] + pair[1])
    return offsets.map(lambda step: ((start + step) % top).to_bytes(len(base), "big"))


edges = st.sampled_from([*SPECIAL, *(base for base, _ in (*OWN, *NEAR)), b"\x20" + bytes(15)]).flatmap(near_an_edge)
four = st.binary(min_size=4, max_size=4) | edges.filter(lambda found: len(found) == 4)
inside = four.map(lambda inner: bytes.fromhex("0064ff9b") + bytes(8) + inner)
special = st.sampled_from([*SPECIAL, *(base for base, _ in OWN)])
any_address = four | st.binary(min_size=16, max_size=16) | edges | inside | special


def meets(words: list[str], address: Address, protocol: str, port: int) -> bool:
    """Whether a packet that a program sends meets one line of a chain, without its end."""
    rest = list(words)
    while rest:
        match = rest.pop(0)
        if match in ("ip", "ip6"):
            assert rest.pop(0) == "daddr"
            negated = rest[0] == "!=" and bool(rest.pop(0))
            held = any(address in ipaddress.ip_network(text) for text in values(rest))
            if (address.version == 6) != (match == "ip6") or held == negated:
                return False
        elif match in ("tcp", "udp"):
            assert rest.pop(0) == "dport"
            if str(port) not in values(rest) or protocol != match:
                return False
        elif match == "meta":
            assert rest.pop(0) == "l4proto"
            if protocol not in values(rest):
                return False
        elif match in ("icmp", "icmpv6", "ct", "oifname"):  # what is sent: the first of a flow to outside
            return False
        else:
            raise AssertionError(words)
    return True


def values(rest: list[str]) -> list[str]:
    """One value, or those between braces; they are taken from the words."""
    if rest[0] != "{":
        return [rest.pop(0)]
    end = rest.index("}")
    found = [word.strip(",") for word in rest[1:end]]
    del rest[: end + 1]
    return found


def passes(text: str, address: bytes, protocol: str = "tcp", port: int = 443) -> bool:
    """What the chain for what is sent says of a packet."""
    _, _, chain = text.partition("chain out {")
    target = ipaddress.ip_address(address)
    for line in chain.partition("  }\n")[0].splitlines()[2:]:
        words = line.split()
        end = "accept" if words[-1] == "accept" else "refused"
        if meets(words[: -1 if end == "accept" else -2], target, protocol, port):
            return end == "accept"
    raise AssertionError("no line decides")


def filtered(scope: str, *, resolves: bool = True, grants: tuple[nft.Grant, ...] = ()) -> str:
    return nft.rules(scope, resolves=resolves, grants=grants, own=OWN, near=NEAR)


PLAIN = {scope: filtered(scope) for scope in (nft.INTERNET, nft.LAN)}
GRANTED = filtered(nft.INTERNET, resolves=False, grants=GRANTS)


@example(socket.inet_pton(socket.AF_INET6, "64:ff9b::192.0.2.2"))
@example(socket.inet_pton(socket.AF_INET6, "2001:db8:1::3"))
@given(any_address)
def test_a_scope_is_what_its_addresses_are(address: bytes) -> None:
    kind = addresses.kind_of(address, OWN, NEAR)
    assert passes(PLAIN[nft.INTERNET], address) == (kind == addresses.PUBLIC), kind
    assert passes(PLAIN[nft.LAN], address) == (kind in (addresses.PUBLIC, addresses.LAN)), kind
    assert passes(PLAIN[nft.LAN], address, "udp", 53) == passes(PLAIN[nft.LAN], address)


@given(any_address, st.sampled_from(["tcp", "udp"]), st.sampled_from([22, 53, 443, 631, 853, 9100]))
def test_a_grant_adds_its_addresses_and_port_and_nothing_else(address: bytes, protocol: str, port: int) -> None:
    kind = addresses.kind_of(address, OWN, NEAR)
    granted = kind in (addresses.PUBLIC, addresses.LAN) and any(
        (protocol, port) == (its, number) and addresses.holds(prefix, address) for prefix, its, number in GRANTS
    )
    usual = kind == addresses.PUBLIC and port not in (53, 853)
    assert passes(GRANTED, address, protocol, port) == (granted or usual), kind


def test_another_protocol_does_not_pass() -> None:
    assert not passes(PLAIN[nft.LAN], socket.inet_aton("198.51.100.10"), "sctp")


@given(st.lists(any_address.flatmap(lambda a: st.tuples(st.just(a), st.integers(8, 8 * len(a)))), max_size=20))
def test_no_set_holds_what_another_of_its_members_holds(own: list[nft.Prefix]) -> None:
    text = nft.rules(nft.INTERNET, resolves=False, own=own)
    for line in text.splitlines():
        for family in (4, 6):
            found = [ipaddress.ip_network(word.strip(",")) for word in line.split() if "/" in word]
            nets = sorted(net for net in found if net.version == family)
            assert all(not one.overlaps(two) for one, two in itertools.pairwise(nets)), line  # type: ignore[arg-type]
