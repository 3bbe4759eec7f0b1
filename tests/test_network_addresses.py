"""What an address is to this machine, against the standard library's opinion, and what a name may lead to."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.network import addresses


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


KINDS = {
    "public": "1.1.1.1 8.8.8.8 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 198.17.255.255 198.20.0.0 "
    "223.255.255.255 192.0.2.1 198.51.100.10 203.0.113.20 2001:db8::1 2606:4700::1111 2a00::1 64:ff9b::1.1.1.1",
    "lan": "10.0.0.1 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 fc00::1 fd12::1 "
    "fec0::1 64:ff9b:1::1",
    "loopback": "127.0.0.1 127.0.0.53 127.255.255.255 ::1",
    "link-local": "169.254.0.1 169.254.255.255 fe80::1 febf::1",
    "metadata": "169.254.169.254 169.254.170.2 100.100.100.200 fd00:ec2::254 168.63.129.16 64:ff9b::169.254.169.254",
    "multicast": "224.0.0.251 239.255.255.250 ff02::fb 255.255.255.255",
    "unspecified": "0.0.0.0 0.1.2.3 ::",
    "reserved": "192.0.0.1 198.18.0.1 198.19.255.255 240.0.0.1 100::1 4000::1 200::1 fd69:6e74:656e::2",
    "tunnel": "::ffff:127.0.0.1 ::ffff:1.1.1.1 ::127.0.0.1 ::2 2001::1 2002:7f00:1::1 2002:101:101::1 "
    "64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 192.88.99.1",
}


@pytest.mark.parametrize(("kind", "text"), [(kind, each) for kind, told in KINDS.items() for each in told.split()])
def test_every_range_is_known_at_its_edges(kind: str, text: str) -> None:
    assert addresses.kind_of(packed(text)) == kind


def opinion(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the standard library holds it for an address of the internet; what the module leaves out, besides."""
    documentation = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    if any(address in ipaddress.ip_network(each) for each in documentation):
        return True
    if isinstance(address, ipaddress.IPv6Address) and address in ipaddress.ip_network("64:ff9b::/96"):
        return opinion(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    ours = ("2002::/16", "192.88.99.0/24", "::/96", "192.0.0.0/24", "168.63.129.16/32")
    return address.is_global and not address.is_multicast and not any(
        address in ipaddress.ip_network(each) for each in ours
    )  # fmt: skip


SPECIAL = [int.from_bytes(base, "big") for (base, _), _ in addresses._PREFIXES if len(base) == 4]
SPECIAL_6 = [int.from_bytes(base, "big") for (base, _), _ in addresses._PREFIXES if len(base) == 16]
NEAR_4 = st.builds(lambda base, off: (base + off) % 2**32, st.sampled_from(SPECIAL), st.integers(-300, 300))
NEAR_6 = st.builds(lambda base, off: (base + off) % 2**128, st.sampled_from(SPECIAL_6), st.integers(-(2**97), 2**97))


@given(st.integers(0, 2**32 - 1) | NEAR_4)
@example(0xC0000009)
def test_nothing_is_public_in_ipv4_that_is_not(number: int) -> None:
    address = ipaddress.IPv4Address(number)
    if addresses.kind_of(address.packed) == addresses.PUBLIC:
        assert opinion(address)
    elif addresses.kind_of(address.packed) != addresses.LAN:
        assert not opinion(address)


@given(st.integers(0, 2**128 - 1) | st.integers(0x2000 << 112, 0x3FFF << 112) | NEAR_6)
def test_nothing_is_public_in_ipv6_that_is_not(number: int) -> None:
    address = ipaddress.IPv6Address(number)
    if addresses.kind_of(address.packed) == addresses.PUBLIC:
        # What the registries set aside below 2001::/23 changes with the version of the library.
        assert opinion(address) or address in ipaddress.ip_network("2001::/23") or number >> 125 == 1
    else:
        assert not opinion(address) or number >> 125 != 1 or address in ipaddress.ip_network("2001::/23")


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_a_prefix_holds_what_the_standard_library_says(base: int, bits: int, number: int) -> None:
    network = ipaddress.ip_network((base, bits), strict=False)
    for each in (number, base ^ (number & 0xFF)):
        assert addresses.holds((base.to_bytes(4, "big"), bits), each.to_bytes(4, "big")) == (
            ipaddress.ip_address(each) in network
        )


def test_this_machine_and_its_neighbours_are_not_the_internet_whatever_their_numbers() -> None:
    own, near = [(packed("203.0.113.5"), 32), (packed("192.168.1.5"), 32)], [(packed("203.0.113.0"), 24)]
    assert addresses.kind_of(packed("203.0.113.5"), own, near) == addresses.SELF
    assert addresses.kind_of(packed("192.168.1.5"), own, near) == addresses.SELF
    assert addresses.kind_of(packed("64:ff9b::203.0.113.5"), own, near) == addresses.SELF
    assert addresses.kind_of(packed("203.0.113.9"), own, near) == addresses.LAN
    assert addresses.kind_of(packed("198.51.100.9"), own, near) == addresses.PUBLIC


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_leads_to_the_internet_and_to_the_lan_only_where_it_is_local_or_granted(kind: str) -> None:
    for local in (False, True):
        for granted in (False, True):
            free = kind == "public" or (kind == "lan" and (local or granted))
            assert addresses.verdict(kind, local_name=local, granted=granted) == ("" if free else kind)


def test_a_range_that_was_granted_does_not_mean_this_machine() -> None:
    for kind in ("loopback", "link-local", "metadata", "this-machine", "reserved"):
        assert addresses.verdict_of_literal(kind, alone=False) == kind
        assert addresses.verdict_of_literal(kind, alone=True) == ""
    for kind in ("multicast", "unspecified", "tunnel"):
        assert addresses.verdict_of_literal(kind, alone=True) == kind
    for kind in ("public", "lan"):
        assert addresses.verdict_of_literal(kind, alone=False) == ""


def test_local_names() -> None:
    assert all(map(addresses.is_local_name, ("printer", "printer.local", "nas.home.arpa", "a.b.lan", "x.internal")))
    assert not any(map(addresses.is_local_name, ("example.org", "lan.example.org", "a.mylan", "local.test")))
