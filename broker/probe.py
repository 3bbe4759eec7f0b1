"""What a program can reach from where it is started: asked by ``intent-ctl reach`` inside a sandbox and outside it.

One file that needs nothing beside itself and Python's standard library: ``python3 -I -S -c TEXT QUESTIONS``. QUESTIONS
is a JSON array of arrays, each the name of one of ``ASK`` and its operands. For each, one line is printed: a JSON array
of the question and the answer, or of the question alone where this place gives no way to tell. Asking changes nothing:
no file is made, nothing is said to anybody but a bus and a compositor about themselves, and calls that would change
something are made with operands that the kernel refuses, or in a child that ends at once.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import stat
import struct
import sys

PATIENCE = 5.0  # seconds for one connection
LIFETIME = 60  # seconds for all questions together
MAX_BYTES = 1 << 20
_CALLS = {"x86_64": {"keyctl": 250, "perf_event_open": 298, "bpf": 321}}
_CALLS["aarch64"] = {"keyctl": 219, "perf_event_open": 241, "bpf": 280}
_IO_URING_SETUP = 425  # asm-generic/unistd.h, the same on both
_NEWUSER, _NEWNS, _BIND, _TIOCSTI, _TRACEME = 0x10000000, 0x00020000, 4096, 0x5412, 0
_REFUSED = (errno.EPERM, errno.ENOSYS, errno.EACCES)


class Untold(Exception):
    """There is no way to find out here."""


def read(path: str) -> bool:
    """Whether a file can be opened, a directory listed; of what is neither, whether its mode would let it."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)
        elif stat.S_ISREG(mode):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        else:
            return os.access(path, os.R_OK)
    except OSError:
        return False
    return True


def write(path: str) -> bool:
    """Whether a file or directory could be changed (access(2), which knows of read-only mounts)."""
    return os.access(path, os.W_OK)


def identities(*paths: str) -> list[list[int] | None]:
    """Device and inode of the objects at paths, or null."""
    found: list[list[int] | None] = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append([info.st_dev, info.st_ino])
    return found


def names(path: str) -> list[str] | None:
    """What a directory holds, or null where there is none."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return None


def mounts() -> list[list[str]]:
    """[place, "ro" or "rw"] of every mount, the topmost where several are at one place (proc(5), mountinfo)."""
    found = {}
    for line in _content("/proc/self/mountinfo").splitlines():
        words = line.split(b" ")
        place = os.fsdecode(words[4].decode("unicode_escape").encode("latin-1"))
        found[place] = words[5].split(b",")[0].decode()
    return sorted([place, mode] for place, mode in found.items())


def namespace(name: str) -> str:
    """The name of a namespace that this process is in (namespaces(7))."""
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError as error:
        raise Untold from error


def processes() -> int:
    """How many processes are seen, without this one and its parent."""
    if not os.path.isdir("/proc/self"):
        raise Untold
    own = (str(os.getpid()), str(os.getppid()))
    return len([name for name in os.listdir("/proc") if name.isdigit() and name not in own])


def signals(pid: int) -> bool:
    """Whether a process can be signalled; none is sent (kill(2), signal 0)."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def status(field: str) -> str:
    """A line of /proc/self/status."""
    for line in _content("/proc/self/status").splitlines():
        if line.startswith(field.encode() + b":"):
            return line.partition(b":")[2].strip().decode()
    raise Untold


def environ() -> list[str]:
    """The names of the variables this program was started with; Python itself may add to ``os.environ``."""
    items = _content("/proc/self/environ").split(b"\0")
    return sorted(os.fsdecode(item.partition(b"=")[0]) for item in items if item)


def leak(secret: str) -> bool:
    """Whether the environment of this process or of any that is seen holds a text."""
    found = [name for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []
    for name in ("self", *found):
        try:
            if secret.encode() in _content(f"/proc/{name}/environ"):
                return True
        except (Untold, OSError):
            continue
    return secret in "\0".join(os.environ.values())


def hostname() -> str:
    """The name of the machine."""
    return os.uname().nodename


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Untold from error


def _connects(family: int, kind: int, address: object) -> bool:
    try:
        with socket.socket(family, kind) as opened:
            opened.settimeout(PATIENCE)
            opened.connect(address)  # type: ignore[arg-type]
    except ConnectionResetError:  # it was taken, and ended before we could see that: nobody's port refuses instead
        return True
    except OSError:
        return False
    return True


def tcp(host: str, port: int) -> bool:
    """Whether something answers on a port."""
    return _connects(socket.AF_INET, socket.SOCK_STREAM, (host, port))


def resolves(name: str) -> bool:
    """Whether a name leads to an address."""
    try:
        return bool(socket.getaddrinfo(name.encode("ascii"), None, 0, socket.SOCK_STREAM))
    except OSError:
        return False


def unix(path: str) -> bool:
    """Whether something answers on a Unix socket; a name that begins with ``@`` is abstract."""
    return _connects(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + path[1:] if path[:1] == "@" else path)


def route(address: str) -> bool:
    """Whether there is a way to an address. Nothing is sent: connecting a datagram socket only looks it up (udp(7))."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return _connects(family, socket.SOCK_DGRAM, (address, 9))


def interfaces() -> list[str]:
    """The network interfaces that are seen."""
    try:
        return sorted(name for _, name in socket.if_nameindex())
    except OSError as error:
        raise Untold from error


def family(number: int, kind: int, protocol: int = 0) -> bool:
    """Whether a socket of an address family can be made (address_families(7))."""
    try:
        socket.socket(number, kind, protocol).close()
    except OSError:
        return False
    return True


def bus(address: str) -> list[str] | None:
    """The well-known names that a D-Bus bus shows, or null where none answers (D-Bus specification).

    address: of the bus, or the name of the variable that holds it.
    """
    address = address if ":" in address else os.environ.get(address, "")
    keys = dict(pair.partition("=")[::2] for pair in address.partition(":")[2].split(","))
    where = keys.get("path") or ("\0" + keys["abstract"] if "abstract" in keys else "")
    if not where:
        return None
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(PATIENCE)
            opened.connect(where)
            opened.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
            data = b""
            while not data.endswith(b"\r\n"):
                data += _more(opened, data)
            opened.sendall(b"BEGIN\r\n" + _call(1, b"Hello"))
            # A filter gives answers wrong numbers while it greets the bus itself (xdg-dbus-proxy before 0.1.6).
            _, _, more = _answer(opened, b"", 1)
            opened.sendall(_call(2, b"ListNames"))
            order, listed, _ = _answer(opened, more, 2)
            return _strings(order, listed)
    except (OSError, ValueError, struct.error):
        return None


def _call(serial: int, member: bytes) -> bytes:
    """A call to the bus itself, without arguments."""
    fields = b""
    for code, kind, text in (
        (1, b"o", b"/org/freedesktop/DBus"),
        (2, b"s", b"org.freedesktop.DBus"),
        (3, b"s", member),
        (6, b"s", b"org.freedesktop.DBus"),
    ):
        fields += b"\0" * (-len(fields) % 8) + struct.pack("<BB2sI", code, 1, kind + b"\0", len(text)) + text + b"\0"
    head = struct.pack("<cBBBIII", b"l", 1, 0, 1, 0, serial, len(fields)) + fields
    return head + b"\0" * (-len(head) % 8)


def _answer(opened: socket.socket, data: bytes, serial: int) -> tuple[str, bytes, bytes]:
    """Byte order and body of the answer to a call, and what came after it; data: what has come already."""
    while True:
        while len(data) < 16:
            data += _more(opened, data)
        order = "<" if data[:1] == b"l" else ">"
        body, _, fields = struct.unpack_from(order + "III", data, 4)
        start = 16 + (fields + 7) // 8 * 8
        while len(data) < start + body:
            data += _more(opened, data)
        answers = struct.pack(order + "BB2sI", 5, 1, b"u\0", serial) in data[:start]
        message, data = data[start : start + body], data[start + body :]
        if answers:
            return order, message, data


def _strings(order: str, array: bytes) -> list[str]:
    """The well-known names of an array of names."""
    found, at = [], 4
    while at < len(array):
        length = struct.unpack_from(order + "I", array, at)[0]
        found.append(array[at + 4 : at + 4 + length].decode())
        at += (4 + length + 1 + 3) // 4 * 4
    return sorted(name for name in found if name[:1] != ":")


def _more(opened: socket.socket, before: bytes) -> bytes:
    piece = opened.recv(1 << 16)
    if not piece or len(before) > MAX_BYTES:
        raise ValueError("no end")
    return piece


def wayland(name: str = "") -> list[str] | None:
    """The interfaces that a compositor offers, or null where none answers.

    name: of its socket, as WAYLAND_DISPLAY has it, which counts where there is none.
    """
    name = name or os.environ.get("WAYLAND_DISPLAY", "")
    if not name:
        return None
    # wl_display.get_registry as object 2, wl_display.sync as object 3: once that is done, the list is complete.
    requests = struct.pack("=III", 1, 12 << 16 | 1, 2) + struct.pack("=III", 1, 12 << 16, 3)
    found: set[str] = set()
    data = b""
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(PATIENCE)
            opened.connect(os.path.join(os.environ.get("XDG_RUNTIME_DIR", ""), name))
            opened.sendall(requests)
            while True:
                while len(data) < 8 or len(data) < struct.unpack_from("=II", data)[1] >> 16:
                    data += _more(opened, data)
                target, word = struct.unpack_from("=II", data)
                body, data = data[8 : word >> 16], data[max(word >> 16, 8) :]
                if target == 3:
                    return sorted(found)
                if target == 2 and word & 0xFFFF == 0:
                    found.add(body[8 : 8 + struct.unpack_from("=I", body, 4)[0] - 1].decode())
    except (OSError, ValueError, struct.error):
        return None


def call(name: str) -> bool:
    """Whether the kernel lets a call through: it then complains of the operands, and not of who makes it."""
    try:
        import ctypes
    except ImportError as error:
        raise Untold from error
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = _CALLS.get(os.uname().machine, {})

    def passes(*operands: object) -> bool:
        ctypes.set_errno(0)
        return libc.syscall(*operands) >= 0 or ctypes.get_errno() not in _REFUSED

    def works(function: str, *operands: object) -> bool:
        ctypes.set_errno(0)
        return getattr(libc, function)(*operands) >= 0 or ctypes.get_errno() not in _REFUSED

    if name in ("keyctl", "perf_event_open", "bpf") and name not in numbers:
        raise Untold
    return {
        "type-into-terminal": lambda: works("ioctl", -1, _TIOCSTI, b"x"),
        "setuid-mode": lambda: works("fchmod", -1, 0o4755),
        "trace": lambda: _in_child(lambda: libc.ptrace(_TRACEME, 0, 0, 0) == 0),
        "user-namespace": lambda: _in_child(lambda: libc.unshare(_NEWUSER) == 0),
        # A source that does not exist is looked up only for whoever may mount (mount(2)).
        "mount": lambda: _in_child(
            lambda: (libc.unshare(_NEWUSER | _NEWNS), works("mount", b"/nowhere/at/all", b"/", None, _BIND, None))[1]
        ),
        "keyring": lambda: passes(numbers["keyctl"], 0, -3, 0),  # KEYCTL_GET_KEYRING_ID of the session's, not made
        "io-uring": lambda: passes(_IO_URING_SETUP, 0, None),
        "perf": lambda: passes(numbers["perf_event_open"], None, 0, -1, -1, 0),
        "bpf": lambda: passes(numbers["bpf"], -1, None, 0),
    }[name]()


def _in_child(asked: object) -> bool:
    """The answer of a process of its own, for what would change this one."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if asked() else 1)  # type: ignore[operator]
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


ASK = {
    "read": read, "write": write, "identities": identities, "names": names, "mounts": mounts, "namespace": namespace,
    "processes": processes, "signals": signals, "status": status, "environ": environ, "leak": leak,
    "hostname": hostname, "tcp": tcp, "resolves": resolves, "unix": unix, "route": route, "interfaces": interfaces,
    "family": family, "bus": bus, "wayland": wayland, "call": call,
}  # fmt: skip


def ask(question: list[object]) -> list[object]:
    """The answer in a list, or an empty one where there is no way to tell."""
    try:
        return [ASK[str(question[0])](*question[1:])]  # type: ignore[operator]
    except Untold:
        return []


def main() -> int:
    """Answer what the command line asks; 0."""
    signal.alarm(LIFETIME)
    for question in json.loads(sys.argv[1]):
        sys.stdout.write(json.dumps([question, *ask(question)]) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
