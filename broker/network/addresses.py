"""What an address is to this machine, and whether a name may lead to it (SPEC §10.6).

An app that was granted a name was granted what is behind it on the internet, not what its owner could point it at:
this machine, its neighbours, the metadata service of a cloud. Addresses are packed. Documentation ranges count as
public: nobody is there, and a network that a test builds has nowhere else to be.
"""

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PUBLIC, LAN, SELF = "public", "lan", "this-machine"
LOOPBACK, LINK_LOCAL, METADATA, MULTICAST = "loopback", "link-local", "metadata", "multicast"
UNSPECIFIED, RESERVED, TUNNEL = "unspecified", "reserved", "tunnel"
LOCAL_ENDINGS = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localdomain")
Prefix = tuple[bytes, int]  # a packed address, and how many of its bits count

# The first that holds an address says what it is. RFC 6890 and its registries, but for the metadata services of clouds.
_TABLE = (
    ("169.254.169.254/32", METADATA), ("169.254.170.2/32", METADATA), ("169.254.170.23/32", METADATA),
    ("100.100.100.200/32", METADATA), ("192.0.0.192/32", METADATA), ("168.63.129.16/32", METADATA),
    ("fd00:ec2::254/128", METADATA), ("fd00:ec2::23/128", METADATA), ("fd20:ce::254/128", METADATA),
    ("0.0.0.0/8", UNSPECIFIED), ("127.0.0.0/8", LOOPBACK), ("169.254.0.0/16", LINK_LOCAL),
    ("10.0.0.0/8", LAN), ("172.16.0.0/12", LAN), ("192.168.0.0/16", LAN), ("100.64.0.0/10", LAN),
    ("192.0.0.0/24", RESERVED), ("192.88.99.0/24", TUNNEL), ("198.18.0.0/15", RESERVED),
    ("224.0.0.0/4", MULTICAST), ("255.255.255.255/32", MULTICAST), ("240.0.0.0/4", RESERVED),
    ("::/128", UNSPECIFIED), ("::1/128", LOOPBACK), ("::ffff:0:0/96", TUNNEL), ("::/96", TUNNEL),
    ("64:ff9b:1::/48", LAN), ("100::/64", RESERVED), ("2001::/32", TUNNEL), ("2001:10::/28", RESERVED),
    ("2001:20::/28", RESERVED), ("2002::/16", TUNNEL), ("fd69:6e74:656e::/96", RESERVED), ("fc00::/7", LAN),
    ("fe80::/10", LINK_LOCAL), ("fec0::/10", LAN), ("ff00::/8", MULTICAST),
)  # fmt: skip
_GLOBAL_6 = (b"\x20" + bytes(15), 3)  # 2000::/3, all that is handed out: RFC 4291
_NAT64 = (bytes.fromhex("0064ff9b") + bytes(12), 96)
# An address of these kinds may be granted only as itself: a wide range that happens to hold it did not mean it.
_ALONE = (METADATA, SELF)
_NEVER = (MULTICAST, UNSPECIFIED, TUNNEL)


def holds(prefix: Prefix, address: bytes) -> bool:
    """Whether an address lies in a prefix of its own family."""
    base, bits = prefix
    if len(base) != len(address):
        return False
    shift = 8 * len(address) - bits
    return int.from_bytes(address, "big") >> shift == int.from_bytes(base, "big") >> shift


def pack(text: str) -> Prefix:
    """The prefix that a text names: ``192.0.2.0/24``, or an address. Raises OSError or ValueError."""
    address, _, bits = text.partition("/")
    packed = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    return packed, int(bits or 8 * len(packed))


_PREFIXES = tuple((pack(text), kind) for text, kind in _TABLE)


_listed: dict[bytes, str] = {}  # what the table says of addresses that were looked for
_MOST_LISTED = 1024


def _kind(address: bytes) -> str:
    kind = _listed.get(address)
    if kind is None:
        if len(_listed) >= _MOST_LISTED:
            _listed.clear()
        kind = _listed[address] = next((kind for prefix, kind in _PREFIXES if holds(prefix, address)), PUBLIC)
    return kind


def kind_of(address: bytes, own: "Iterable[Prefix]" = (), near: "Iterable[Prefix]" = ()) -> str:
    """What an address is: one of the words above.

    own: this machine's addresses; near: what it is directly connected to, which is LAN whatever its numbers are. Behind
    the well-known prefix of NAT64 it is what the address inside is, if that is public (RFC 6052, 3.1).
    """
    if holds(_NAT64, address):
        inner = kind_of(address[12:], own, near)
        return inner if inner in (PUBLIC, SELF, METADATA) else TUNNEL
    kind = _kind(address)
    if kind not in (PUBLIC, LAN, RESERVED):
        return kind
    if any(holds(prefix, address) for prefix in own):
        return SELF
    if kind == PUBLIC and any(holds(prefix, address) for prefix in near):
        return LAN
    return kind if len(address) == 4 or kind != PUBLIC or holds(_GLOBAL_6, address) else RESERVED


def verdict(kind: str, *, local_name: bool, granted: bool) -> str:
    """Why a name may not lead to an address of this kind; empty when it may.

    local_name: it is a name of the local network; granted: an address or a range that was granted covers the address.
    """
    if kind == PUBLIC or (kind == LAN and (local_name or granted)):
        return ""
    return kind


def verdict_of_literal(kind: str, alone: bool) -> str:
    """Why an address that was granted as an address may not be dialled; empty when it may.

    alone: the grant is of this one address.
    """
    return kind if kind in _NEVER or (not alone and (kind in _ALONE or kind not in (PUBLIC, LAN))) else ""


def is_local_name(name: str) -> bool:
    """Whether a name is one of the local network: those are what leads to private addresses."""
    return "." not in name or name.endswith(LOCAL_ENDINGS)
