"""Addresses and routes of the network namespace that this thread is in (rtnetlink(7)); no program is started for it."""

import _socket
import _struct
import os

_NEW_ADDRESS, _NEW_ROUTE = 20, 24  # RTM_NEWADDR, RTM_NEWROUTE
_ASK = 0x605  # NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL
_LOOPBACK = 1  # the index of `lo` in every namespace
_NO_DAD = 2  # IFA_F_NODAD: there is nobody to ask
_LOCAL = 255  # the table of what is this machine itself
_GET_FLAGS, _UP = 0x8913, 1  # SIOCGIFFLAGS, IFF_UP: netdevice(7)


def add_address(family: int, address: bytes, bits: int) -> None:
    """Give `lo` an address (packed), with all of its prefix local. Raises OSError."""
    head = _struct.pack("=BBBBI", family, bits, _NO_DAD, 254, _LOOPBACK)
    _request(_NEW_ADDRESS, head + _attribute(2, address) + _attribute(1, address))


def add_local(family: int, prefix: bytes, bits: int) -> None:
    """Make every address of a prefix this namespace's own: what is sent there arrives here. `lo` is up.

    Raises OSError.
    """
    head = _struct.pack("=BBBBBBBBI", family, bits, 0, 0, _LOCAL, 4, 254, 2, 0)  # RTPROT_STATIC, RTN_LOCAL
    _request(_NEW_ROUTE, head + _attribute(1, prefix) + _attribute(4, _struct.pack("=I", _LOOPBACK)))


def loopback_is_up(probe: _socket.socket) -> bool:
    """Whether `lo` is up in the namespace in which the socket was made. Raises OSError."""
    import fcntl

    found = fcntl.ioctl(probe.fileno(), _GET_FLAGS, _struct.pack("16sH22x", b"lo", 0))
    return bool(_struct.unpack_from("=H", found, 16)[0] & _UP)


def _attribute(number: int, data: bytes) -> bytes:
    return _struct.pack("=HH", 4 + len(data), number) + data + bytes(-len(data) % 4)


def _request(what: int, body: bytes) -> None:
    asking = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, 0)
    try:
        asking.send(_struct.pack("=IHHII", 16 + len(body), what, _ASK, 1, 0) + body)
        error = -_struct.unpack_from("=i", asking.recv(4096), 16)[0]
    finally:
        asking.close()
    if error:
        raise OSError(error, os.strerror(error))
