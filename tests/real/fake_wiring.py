"""Network namespaces of a test's own: made, joined by cables, and entered; standard library only, root or not.

Run as a program: ``fake_wiring.py PID PROGRAM ARG...`` starts PROGRAM in the user, mount and network namespaces of
process PID. Kernel sources: user_namespaces(7), setns(2), rtnetlink(7), veth(4).
"""

import ctypes
import ipaddress
import os
import socket
import struct
import sys

NEWNS, NEWUSER, NEWNET = 0x20000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24  # rtnetlink message types
_REQUEST, _CREATE = 0x5, 0x600  # NLM_F_REQUEST | NLM_F_ACK; NLM_F_CREATE | NLM_F_EXCL
_NODAD = 0x02
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, flags: int = MS_BIND, kind: str = "none") -> None:
    """mount(2). Raises OSError."""
    words = (source.encode(), target.encode(), kind.encode())
    _checked(_libc.mount(*words, ctypes.c_ulong(flags), None), f"mount {target}")


def private() -> None:
    """Leave the namespaces of this process for new ones: user (unless root), mount and network. The uid stays."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(NEWNS | NEWNET | (NEWUSER if uid else 0))
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount("none", "/", MS_REC | MS_PRIVATE)


def enter(pid: int) -> None:
    """Go into the namespaces of ``pid``, which an ordinary user's ``private`` made. Raises OSError."""
    kinds = ["mnt", "net"] if os.stat(f"/proc/{pid}/ns/user").st_ino == os.stat("/proc/self/ns/user").st_ino else []
    directory = os.getcwd()
    fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds or ("user", "mnt", "net")]
    for fd in fds:
        _checked(_libc.setns(fd, 0), "setns")
        os.close(fd)
    os.chdir(directory)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _request(kind: int, flags: int, body: bytes) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as stream:
        stream.send(struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST, 1, 0) + body)
        error = struct.unpack_from("=i", stream.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def up(name: str) -> None:
    """Switch an interface on."""
    _request(_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), 1, 1))


def cable(name: str, peer: str, pid: int) -> None:
    """A veth pair: ``name`` here, ``peer`` in the network namespace of ``pid``."""
    far = bytes(16) + _attribute(3, peer.encode() + b"\0") + _attribute(19, struct.pack("=I", pid))
    info = _attribute(1, b"veth") + _attribute(2, _attribute(1, far))
    _request(_NEWLINK, _CREATE, bytes(16) + _attribute(3, name.encode() + b"\0") + _attribute(18, info))


def address(name: str, text: str) -> None:
    """Give an interface an address with its prefix length."""
    found = ipaddress.ip_interface(text)
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    head = struct.pack("=BBBBI", family, found.network.prefixlen, _NODAD, 0, socket.if_nametoindex(name))
    packed = found.ip.packed
    _request(_NEWADDR, _CREATE, head + _attribute(2, packed) + _attribute(1, packed))


def join(name: str, *texts: str) -> None:
    """Switch a cable's end on and give it addresses.

    One of them is link-local: IPv6 neighbours are asked from it, and the kernel's own is tentative for seconds.
    """
    up(name)
    for text in texts:
        address(name, text)


def default(gateway: str) -> None:
    """The default route."""
    found = ipaddress.ip_address(gateway)
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, 254, 4, 0, 1, 0)
    _request(_NEWROUTE, _CREATE, head + _attribute(5, found.packed))


def local(text: str, kind: int = 2) -> None:
    """Take a whole range for this machine's own (``kind`` 2: RTN_LOCAL, table 255), or 7: say it is unreachable."""
    found = ipaddress.ip_network(text)
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    table, scope = (255, 254) if kind == 2 else (254, 0)
    head = struct.pack("=BBBBBBBBI", family, found.prefixlen, 0, 0, table, 4, scope, kind, 0)
    index = _attribute(4, struct.pack("=I", socket.if_nametoindex("lo"))) if kind == 2 else b""
    _request(_NEWROUTE, _CREATE, head + _attribute(1, found.network_address.packed) + index)


def put(source: str, target: str) -> None:
    """Show ``source`` (a file or directory) where ``target`` leads, even if nothing is there yet."""
    target = os.path.realpath(target)
    if not os.path.exists(target):
        above = os.path.dirname(target)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        mount("tmpfs", above, 0, "tmpfs")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(source):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target)


if __name__ == "__main__":
    enter(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
