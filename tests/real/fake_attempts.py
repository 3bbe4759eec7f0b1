"""What a program inside a sandbox tries with the network. Not imported there: its text is handed to a bare interpreter.

Standard input: lines of words, an attempt each. Standard output: a line each, in that order: what came of it, which
begins with ``+`` where somebody answered or the kernel let it, else with ``-`` and why. Standard library only.
"""

import ctypes
import os
import pathlib
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

PATIENCE, ALL = 4.0, 20.0  # seconds for one answer, and for a whole attempt
AT_ONCE = 12
_libc = ctypes.CDLL(None, use_errno=True)


def _asks(stream: socket.socket, host: str) -> str:
    """Who answers an HTTP request."""
    stream.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    data = b""
    while b"i am" not in data or not data.endswith(b"\n"):
        piece = stream.recv(4096)
        if not piece:
            raise OSError(f"closed after {data!r}")
        data += piece
    return data.decode().rpartition("\r\n")[2]


def _family(host: str) -> int:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def tcp(host: str, port: str) -> str:
    with socket.create_connection((host, int(port)), PATIENCE) as stream:
        return _asks(stream, host)


def tls(host: str, port: str, name: str, piece: str = "65536") -> str:
    """``name``: the server name that is asked for, ``-`` for none; piece: so many bytes at a time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = context.wrap_bio(coming, going, server_hostname=None if name == "-" else name)
    with socket.create_connection((host, int(port)), PATIENCE) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def through(act: Callable[[], object]) -> object:
            while True:
                try:
                    done = act()
                except ssl.SSLWantReadError:
                    done = None
                data = going.read()
                for at in range(0, len(data), int(piece)):
                    stream.sendall(data[at : at + int(piece)])
                if done is not None:
                    return done
                data = stream.recv(16384)
                if not data:
                    raise OSError("closed")
                coming.write(data)

        through(lambda: secure.do_handshake() or True)
        through(lambda: secure.write(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()))
        said = b""
        while b"i am" not in said:
            said += through(lambda: secure.read(4096))  # type: ignore[operator]
        return said.decode().rpartition("\r\n")[2]


def program(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=ALL, check=False)
    if done.returncode or "i am" not in done.stdout:
        raise OSError(done.stderr or done.stdout or f"status {done.returncode}")
    return done.stdout


def curl(*words: str) -> str:
    return program("curl", "-sS", "--max-time", "6", *words)


def musl(host: str, port: str) -> str:
    return program(os.path.expanduser("~/.local/share/lookup"), host, port)


def ssh(host: str, port: str = "22") -> str:
    options = ["-v", "-oBatchMode=yes", "-oConnectTimeout=5", "-oStrictHostKeyChecking=no", "-p", port]
    done = subprocess.run(
        ["ssh", *options, host], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=ALL, check=False
    )
    if "Fake_1" not in done.stderr:
        raise OSError(done.stderr[-200:])
    return "i am Fake_1"


def udp(host: str, port: str, count: str = "1", size: str = "5") -> str:
    """So many exchanges of so many bytes each, on one socket."""
    (family, kind, _, _, address), *_ = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    with socket.socket(family, kind) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(address)
        for number in range(int(count)):
            data = struct.pack(">H", number) * (int(size) // 2)
            stream.send(data)
            back = stream.recv(65536)
            if not back.endswith(data):
                raise OSError(f"other bytes: {back[:20]!r}")
        return back[: -len(data)].decode()


def ntp(host: str, port: str = "123") -> str:
    (family, kind, _, _, address), *_ = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)
    with socket.socket(family, kind) as stream:
        stream.settimeout(PATIENCE)
        stream.sendto(bytes((0x23,)) + bytes(47), address)  # not connected: the answer's sender has to be right
        data, sender = stream.recvfrom(64)
        if sender[:2] != address[:2] or data[0] & 7 != 4:
            raise OSError(f"not a server's answer: {data!r} from {sender}")
        return "i am a clock"


def _query(name: str, kind: int, edns: bool = True) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    extra = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack(">HHHHHH", kind + 7, 0x100, 1, 0, 0, edns) + labels + b"\0" + struct.pack(">HH", kind, 1) + extra


def _found(data: bytes) -> list[str]:
    at = 12
    while data[at]:
        at += data[at] + 1
    at += 5
    found = []
    for _ in range(struct.unpack_from(">H", data, 6)[0]):
        while data[at] and data[at] < 0xC0:
            at += data[at] + 1
        at += 2 if data[at] else 1
        kind, _cls, _ttl, size = struct.unpack_from(">HHIH", data, at)
        at += 10 + size
        if kind in (1, 28):
            found.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data[at - size : at]))
    return found


def _server() -> str:
    with open("/etc/resolv.conf") as file:
        return next(line.split()[1] for line in file if line.startswith("nameserver"))


def _exchange(server: str, data: bytes, how: str) -> bytes:
    with socket.socket(_family(server), socket.SOCK_DGRAM if how == "udp" else socket.SOCK_STREAM) as stream:
        stream.settimeout(PATIENCE)
        stream.connect((server, 853 if how == "tls" else 53))
        if how == "udp":
            stream.send(data)
            return stream.recv(65536)
        if how == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(stream) as wrapped:
                wrapped.sendall(struct.pack(">H", len(data)) + data)
                wrapped.recv(2)
                return wrapped.recv(65536)
        for at in range(0, len(data) + 2, 7):  # a stream has no borders
            stream.sendall((struct.pack(">H", len(data)) + data)[at : at + 7])
        (size,) = struct.unpack(">H", stream.recv(2, socket.MSG_WAITALL))
        return stream.recv(size, socket.MSG_WAITALL)


def dns(name: str, how: str = "udp", server: str = "", kind: str = "1") -> str:
    """A question by hand. ``+`` is an answer with addresses, whatever they are."""
    made = _exchange(server.strip("-") or _server(), _query(name, int(kind)), how)
    if not (found := _found(made)):
        raise OSError(f"code {made[3] & 15}, nothing in it")
    return "i am " + " ".join(found)


def go(host: str, port: str) -> str:
    """As Go's own resolver asks: A and AAAA at once, each on a socket of its own, with EDNS; over TCP if cut short."""
    answers: dict[int, list[str]] = {}

    def ask(kind: int) -> None:
        data = _query(host, kind)
        made = _exchange(_server(), data, "udp")
        if made[2] & 2:
            made = _exchange(_server(), data, "tcp")
        if made[:2] == data[:2]:
            answers[kind] = _found(made)

    workers = [threading.Thread(target=ask, args=(kind,)) for kind in (1, 28)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = answers[1] + answers[28]
    for address in found:
        try:
            return tcp(address, port)
        except OSError as error:
            failed = error
    raise failed if found else OSError("no such host")


def garbage(name: str) -> str:
    """Everything that is no question, then one that is."""
    loop = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"
    forward = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\xc0\xff\0\1\0\1"
    long = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\x3f" + b"a" * 63
    many = struct.pack(">HHHHHH", 1, 0x100, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF) + b"\0\0\1\0\1"
    bad = [b"", b"\0", b"\xff" * 12, loop, forward, long * 40, many, os.urandom(600), bytes(60000), loop[:13]]
    for data in bad:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.sendto(data, (_server(), 53))
        with socket.socket() as stream:
            stream.settimeout(PATIENCE)
            stream.connect((_server(), 53))
            stream.sendall(struct.pack(">H", min(len(data), 65535)) + data)
    return dns(name)


def often(host: str, port: str) -> str:
    """The same again and again: a name that leads elsewhere each time. Answers are kept for seconds at most."""
    failed = OSError()
    for _ in range(9):
        try:
            return tcp(host, port)
        except OSError as error:
            failed = error
            time.sleep(1)
    raise failed


def mapped(host: str, port: str) -> str:
    with socket.socket(socket.AF_INET6) as stream:
        stream.settimeout(PATIENCE)
        stream.connect((f"::ffff:{host}", int(port)))
        return _asks(stream, host)


def device(name: str, host: str, port: str) -> str:
    with socket.socket() as stream:
        stream.settimeout(PATIENCE)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.encode())
        stream.connect((host, int(port)))
        return _asks(stream, host)


def source(address: str, host: str, port: str) -> str:
    """From an address that is not ours (IP_FREEBIND)."""
    with socket.socket() as stream:
        stream.settimeout(PATIENCE)
        stream.setsockopt(socket.IPPROTO_IP, 15, 1)
        stream.bind((address, 0))
        stream.connect((host, int(port)))
        return _asks(stream, host)


def fastopen(host: str, port: str) -> str:
    with socket.socket() as stream:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # one of Python's waits otherwise
            stream.setsockopt(socket.SOL_SOCKET, option, struct.pack("=qq", int(PATIENCE), 0))
        stream.sendto(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0x20000000, (host, int(port)))
        return stream.recv(4096).decode().rpartition("\r\n")[2]


def protocol(number: str, host: str, port: str) -> str:
    """A stream of another protocol: 262 is MPTCP, 132 SCTP."""
    with socket.socket(_family(host), socket.SOCK_STREAM, int(number)) as stream:
        stream.settimeout(PATIENCE)
        stream.connect((host, int(port)))
        return _asks(stream, host)


def turned(near: str, near_port: str, host: str, port: str) -> str:
    """Loosen a connected socket (connect(2), AF_UNSPEC) and connect it elsewhere."""
    with socket.socket() as stream:
        stream.settimeout(PATIENCE)
        stream.connect((near, int(near_port)))
        if _libc.connect(stream.fileno(), bytes(16), 16):
            raise OSError(ctypes.get_errno(), "connect(AF_UNSPEC)")
        stream.connect((host, int(port)))
        return _asks(stream, host)


def proxy(host: str, port: str, target: str) -> str:
    with socket.create_connection((host, int(port)), PATIENCE) as stream:
        stream.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        stream.recv(4096)
        return _asks(stream, target)


def abstract(name: str) -> str:
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(name.replace("@", "\0"))
        return _asks(stream, "x")


def _attempt(words: list[str]) -> str:
    try:
        verb = globals()[words[0]]
        return f"+{verb(*words[1:])}"
    except Exception as error:
        return f"-{type(error).__name__} {error}"


def _begin(words: list[str]) -> "tuple[int, int]":
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            signal.alarm(int(ALL) + 5)
            os.write(writing, _attempt(words).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    return child, reading


def main() -> None:
    todo = [line.split() for line in sys.stdin.read().splitlines()]
    results, running = [""] * len(todo), {}
    waiting = list(enumerate(todo))
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            at, words = waiting.pop(0)
            child, handle = _begin(words)
            running[handle] = at, child
        for handle in select.select(list(running), [], [])[0]:
            data = os.read(handle, 4096)
            at, child = running[handle]
            results[at] += data.decode("utf-8", "replace")
            if not data:
                os.close(handle)
                os.waitpid(child, 0)
                del running[handle]
    for line in results:
        print(" ".join(line.split()) or "-cut off")


def text() -> str:
    """This file and fake_trespass, for ``python3 -c``."""
    here = pathlib.Path(__file__)
    return here.with_name("fake_trespass.py").read_text() + here.read_text()


if __name__ == "__main__":
    main()
