"""This machine's own addresses and what it is directly connected to, and when they change (rtnetlink(7))."""

import _socket
import _struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
Prefix = tuple[bytes, int]  # a packed address, and how many of its bits count

_GROUPS = 0x10 | 0x40 | 0x100 | 0x400  # RTMGRP_IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE
_GET_ADDRESS, _GET_ROUTE = 22, 26  # RTM_GETADDR, RTM_GETROUTE
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR, _CHANGED = 3, 2, 0x10  # NLMSG_DONE, NLMSG_ERROR, NLM_F_DUMP_INTR
_CLONED = 0x200  # RTM_F_CLONED
_MAIN = 254  # RT_TABLE_MAIN, in which pasta looks
_UNICAST, _OURS = 1, (2, 3, 4)  # RTN_UNICAST; RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST
_BEYOND = {5, 9, 18}  # RTA_GATEWAY, RTA_MULTIPATH, RTA_VIA
# A route of fewer bits that has no gateway is a tunnel to everywhere, not a network of neighbours.
_LEAST = {4: 8, 16: 16}


def changes() -> _socket.socket:
    """A socket that can be read when an address or a route has changed. Raises OSError."""
    made = _netlink()
    made.bind((0, _GROUPS))
    made.setblocking(False)
    return made


def drain(made: _socket.socket) -> None:
    """Forget what ``changes`` has told: it is looked at anew."""
    while True:
        try:
            made.recv(65536)
        except BlockingIOError:
            return
        except OSError:  # more than it could hold: that, too, is told once
            continue


def look() -> "tuple[list[Prefix], list[Prefix], bool]":
    """This machine's own addresses, the networks it is part of, and whether a route leads to everywhere else.

    Sorted, each once. Raises OSError.
    """
    own: set[Prefix] = set()
    near: set[Prefix] = set()
    leads_out = False
    for family, size in ((_socket.AF_INET, 4), (_socket.AF_INET6, 16)):
        for body, found in _dump(_GET_ADDRESS, family, 8):  # struct ifaddrmsg
            near.add((found.get(1, found.get(2, b"")), body[1]))  # IFA_ADDRESS: the other side, where there is one
            own.add((found.get(2, found.get(1, b"")), 8 * size))  # IFA_LOCAL
        for body, found in _dump(_GET_ROUTE, family, 12):  # struct rtmsg
            bits, kind, flags = body[1], body[7], int.from_bytes(body[8:12], "little")
            if flags & _CLONED:
                continue
            if kind in _OURS:
                own.add((found.get(1, bytes(size)), bits))
            elif kind == _UNICAST and not _BEYOND & found.keys():
                near.add((found.get(1, bytes(size)), bits))
            leads_out = leads_out or (kind == _UNICAST and bits == 0 and body[4] == _MAIN)
    kept = [sorted(each for each in known if each[1] >= _LEAST.get(len(each[0]), 129)) for known in (own, near)]
    return kept[0], kept[1], leads_out


def addresses() -> "list[tuple[int, int, bytes]]":
    """(interface, flags, packed address) of each address of this machine's own. Raises OSError."""
    return [
        (_struct.unpack_from("=I", body, 4)[0], body[2], found.get(2, found.get(1, b"")))
        for family in (_socket.AF_INET, _socket.AF_INET6)
        for body, found in _dump(_GET_ADDRESS, family, 8)
    ]


def _netlink() -> _socket.socket:
    return _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)


def _dump(what: int, family: int, head: int) -> "Iterator[tuple[bytes, dict[int, bytes]]]":
    """The head of each answer, and its attributes. Raises OSError, also where it went on changing."""
    for _ in range(10):
        found: list[tuple[bytes, dict[int, bytes]]] = []
        if _ask(what, family, head, found):
            return iter(found)
    raise OSError("this machine's addresses do not stop changing")


def _ask(what: int, family: int, head: int, found: "list[tuple[bytes, dict[int, bytes]]]") -> bool:
    whole = True
    asking = _netlink()
    try:
        body = bytes([family]) + bytes(head - 1)
        asking.send(_struct.pack("=IHHII", 16 + head, what, _DUMP, 1, 0) + body)
        while True:
            data = asking.recv(1 << 18)
            at = 0
            while at + 16 <= len(data):
                size, kind, flags = _struct.unpack_from("=IHH", data, at)
                whole = whole and not flags & _CHANGED
                if kind == _DONE:
                    return whole
                if kind == _ERROR or size < 16:
                    raise OSError(-_struct.unpack_from("=i", data, at + 16)[0], "this machine's addresses are not told")
                start = at + 16 + head
                found.append((data[at + 16 : start], _attributes(data[start : at + size])))
                at += (size + 3) & ~3
    finally:
        asking.close()


def _attributes(data: bytes) -> "dict[int, bytes]":
    found, at = {}, 0
    while at + 4 <= len(data):
        size, kind = _struct.unpack_from("=HH", data, at)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + size]
        at += (size + 3) & ~3
    return found
