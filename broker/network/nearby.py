"""The addresses at which the local network reaches this machine, and what is of that network (SPEC §10.6).

Private and link-local addresses, of every interface but the loopback one. An address that the internet routes is none
of them, though neighbours reach it as well; nor is one of a carrier's or an overlay network (100.64.0.0/10).
"""

import _socket

from broker.network import addresses, hostside

_TENTATIVE = 0x40  # IFA_F_TENTATIVE: not to be bound yet; it is told when it is
_LOOPBACK = 1
# RFC 1918, RFC 3927, RFC 4193
_NEAR_4 = (("10.0.0.0", 8), ("172.16.0.0", 12), ("192.168.0.0", 16), ("169.254.0.0", 16))
_NEAR = (
    *((_socket.inet_pton(_socket.AF_INET, address), bits) for address, bits in _NEAR_4),
    (_socket.inet_pton(_socket.AF_INET6, "fc00::"), 7),
)
_LINK_LOCAL_6 = ((_socket.inet_pton(_socket.AF_INET6, "fe80::"), 10),)  # RFC 4291


def is_near(address: bytes) -> bool:
    """Whether a packed address is one that only the local network has."""
    return _within(address, _NEAR) or _within(address, _LINK_LOCAL_6)


def _within(address: bytes, prefixes: "tuple[addresses.Prefix, ...]") -> bool:
    return any(addresses.holds(prefix, address) for prefix in prefixes)


def here() -> "list[tuple[int, str, int]]":
    """(family, address, scope) of each local address of this machine; scope: its interface where it is link-local.

    Raises OSError.
    """
    found = []
    for interface, flags, address in hostside.addresses():
        if interface != _LOOPBACK and not flags & _TENTATIVE and is_near(address):
            family = _socket.AF_INET if len(address) == 4 else _socket.AF_INET6
            scope = interface if _within(address, _LINK_LOCAL_6) else 0
            found.append((int(family), _socket.inet_ntop(family, address), scope))
    return found
