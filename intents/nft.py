"""The packet filter of an app that reaches the internet, with or without the local network, as nft(8) reads it.

Only what the app sends decides: nothing from outside is let in but answers. Whatever stands in no list of what may be
reached is refused, at once, so that programs do not wait. The tables are RFC 6890's and the registries that follow it,
the metadata services of clouds added; ``broker/network/addresses.py`` says the same of what a name leads to, and a law
holds the two together. Addresses are packed (SPEC §10.6).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INTERNET, LAN = "internet", "lan"
TABLE = "intents"
Prefix = tuple[bytes, int]  # a packed address, and how many of its bits count
Grant = tuple[Prefix, str, int]  # ... protocol and port

# Never: metadata services, "this network", loopback, link-local, protocol assignments, 6to4's relays, benchmarks (where
# granted names have their addresses), multicast, reserved, broadcast.
_NEVER_4 = (
    "a9fea9fe/32 a9feaa02/32 a9feaa17/32 646464c8/32 c00000c0/32 a83f8110/32 00000000/8 7f000000/8 a9fe0000/16 "
    "c0000000/24 c0586300/24 c6120000/15 e0000000/4 f0000000/4"
)
_PRIVATE_4 = "0a000000/8 ac100000/12 c0a80000/16 64400000/10"  # RFC 1918, RFC 6598
# Metadata services, Teredo, ORCHID, 6to4, and the prefix in which granted names have their addresses.
_NEVER_6 = (
    "fd000ec2000000000000000000000254/128 fd000ec2000000000000000000000023/128 fd2000ce000000000000000000000254/128 "
    "20010000000000000000000000000000/32 20010010000000000000000000000000/28 20010020000000000000000000000000/28 "
    "20020000000000000000000000000000/16 fd696e74656e00000000000000000000/96"
)
_PRIVATE_6 = (  # NAT64 of a site, RFC 8215; unique local; site-local
    "0064ff9b000100000000000000000000/48 fc000000000000000000000000000000/7 fec00000000000000000000000000000/10"
)
_GLOBAL_6 = (b"\x20" + bytes(15), 3)  # all that is handed out: RFC 4291
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # ... with an IPv4 address behind it: RFC 6052
_NEIGHBOURS = "nd-neighbor-solicit, nd-neighbor-advert"
_NAMES = "{ 53, 853 }"  # DNS, and DNS over TLS or QUIC


def rules(
    scope: str,
    *,
    resolves: bool,
    grants: "Iterable[Grant]" = (),
    own: "Iterable[Prefix]" = (),
    near: "Iterable[Prefix]" = (),
) -> str:
    """The whole table, in the place of an earlier one, as one transaction.

    scope: ``internet`` or ``lan``; resolves: it may ask name servers outside; grants: what it may reach besides; own:
    this machine's addresses, which nothing here gives; near: what this machine is directly connected to, which is the
    local network whatever its numbers are. Raises ValueError for another scope.
    """
    if scope not in (INTERNET, LAN):
        raise ValueError(scope)
    own, near = tuple(own), tuple(near)
    four = [*_read(_NEVER_4), *_of(own, 4)]
    local_4 = [*_read(_PRIVATE_4), *_of(near, 4)]
    # Nobody's private addresses are behind the well-known prefix: RFC 6052, 3.1.
    six = [*_read(_NEVER_6), *_of(own, 16), *((_NAT64 + base, 96 + bits) for base, bits in (*four, *local_4))]
    local_6 = [*_read(_PRIVATE_6), *_of(near, 16)]
    known = [_GLOBAL_6, (_NAT64 + bytes(4), 96), *_read(_PRIVATE_6)]
    refused = [f"ip daddr {_set(four)}", f"ip6 daddr != {_set(known)}", f"ip6 daddr {_set(six)}"]
    later = [] if resolves else [f"tcp dport {_NAMES}", f"udp dport {_NAMES}"]
    if scope == INTERNET:
        later += [f"ip daddr {_set(local_4)}", f"ip6 daddr {_set(local_6)}"]
    lines = [
        'oifname "lo" accept',
        f"icmpv6 type {{ {_NEIGHBOURS}, nd-router-solicit }} accept",
        *(f"{match} goto refused" for match in refused),
        *(f"{_daddr(prefix)} {protocol} dport {port} accept" for prefix, protocol, port in grants),
        *(f"{match} goto refused" for match in later),
        "ct state established,related accept",
        "meta l4proto { tcp, udp } accept",
        "icmp type echo-request accept",
        "icmpv6 type echo-request accept",
        "goto refused",
    ]
    return _table(lines)


def _table(lines: "list[str]") -> str:
    """A table that is not there cannot be deleted, and one that is there can be added."""
    out = "\n".join(f"    {line}" for line in lines)
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain refused {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain out {{
    type filter hook output priority filter; policy drop;
{out}
  }}
  chain in {{
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    icmpv6 type {{ {_NEIGHBOURS}, nd-router-advert }} accept
  }}
}}
"""


def _read(table: str) -> "list[Prefix]":
    found = (word.split("/") for word in table.split())
    return [(bytes.fromhex(base), int(bits)) for base, bits in found]


def _of(prefixes: "Iterable[Prefix]", size: int) -> "list[Prefix]":
    return [prefix for prefix in prefixes if len(prefix[0]) == size]


def _daddr(prefix: Prefix) -> str:
    return f"ip{'' if len(prefix[0]) == 4 else '6'} daddr {_text(prefix)}"


def _set(prefixes: "Iterable[Prefix]") -> str:
    """Those of which none lies in another: a set with overlaps is an error to nft."""
    kept: list[Prefix] = []
    for prefix in sorted(prefixes, key=lambda each: (each[1], each[0])):
        if not any(_top(prefix[0], bits) == _top(base, bits) for base, bits in kept):
            kept.append(prefix)
    return f"{{ {', '.join(map(_text, kept))} }}"


def _top(address: bytes, bits: int) -> int:
    return int.from_bytes(address, "big") >> (8 * len(address) - bits)


def _text(prefix: Prefix) -> str:
    base, bits = prefix
    size = 8 * len(base)
    whole = (_top(base, bits) << (size - bits)).to_bytes(len(base), "big")
    if size == 32:
        return f"{'.'.join(map(str, whole))}/{bits}"
    return f"{':'.join(f'{whole[at] << 8 | whole[at + 1]:x}' for at in range(0, 16, 2))}/{bits}"
