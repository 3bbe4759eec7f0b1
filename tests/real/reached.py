"""What tests share that start an app which is reached from outside (SPEC §5.9)."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence

from tests.real import peers, world

PLAIN = "/usr/bin/python3"
# What systemd does between fork and exec: descriptors from 3 on, and variables that say whose they are.
_STAGE = """
import fcntl, os, sys
handles = [fcntl.fcntl(int(handle), fcntl.F_DUPFD, 64) for handle in sys.argv[2].split(",")]
for at, handle in enumerate(handles):
    os.dup2(handle, 3 + at)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(handles)), LISTEN_FDNAMES=sys.argv[1])
os.execv(sys.argv[3], sys.argv[3:])
"""
# Answers each connection with who it seems to be; BACK: echoes until the end, and ends.
SERVER = """
import os, socket, socketserver, sys, threading
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        if sys.argv[2] == "back":
            while data := self.request.recv(1 << 16):
                self.request.sendall(data)
        elif sys.argv[2] == "head":
            self.request.sendall(self.request.recv(16 + 36))
        else:
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
host, _, port = sys.argv[1].rpartition(":")
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 1024
    address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
Server((host, int(port)), Handler).serve_forever()
"""
# Tries everything it can think of to get out, with each descriptor that it has, and says what worked.
ESCAPE = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
port, found = int(sys.argv[1]), []
for fd in range(64):
    try:
        link = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        continue
    if not link.startswith("socket:"):
        continue
    found.append(f"socket {fd}")
    if libc.connect(fd, bytes(16), 16) == 0:
        made = socket.socket(fileno=os.dup(fd))
        made.settimeout(5)
        try:
            made.connect(("127.0.0.1", port))
            found.append("out")
        except OSError:
            pass
for address in ("127.0.0.1", sys.argv[2]):
    try:
        socket.create_connection((address, port), 5)
        found.append("direct")
    except OSError:
        pass
found += [name for name in os.environ if name.startswith("LISTEN_")]
print(*found, sep=",")
"""
SERIAL = iter(range(1, 1000))
Address = tuple[str, int] | str


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def staged(argv: Sequence[str | bytes], listening: Sequence[socket.socket], names: str) -> list[str | bytes]:
    """The command line of a program that becomes another as systemd starts it, with these sockets and names."""
    handles = ",".join(str(made.fileno()) for made in listening)
    return [PLAIN, "-c", _STAGE, names, handles, *argv]


@contextlib.contextmanager
def started(
    home: world.World, argv: Sequence[str | bytes], *, cwd: str | os.PathLike[str] = "", fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A command line of intent-run, for as long as the block; ``told`` is what it says."""
    with open(home.base / "said", "wb") as said:
        process = subprocess.Popen(
            argv,
            env=home.environ,
            cwd=cwd or home.base,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=tuple(fds),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(peers.PATIENCE)


def told(home: world.World) -> str:
    """What was said so far by what was started last."""
    return (home.base / "said").read_text()


def family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def asked(address: Address, words: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes | None:
    """What comes back from there; None where nobody is reached."""
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else family(address[0])) as made:
        made.settimeout(peers.PATIENCE)
        try:
            made.connect(address)
            made.sendall(words)
            made.shutdown(socket.SHUT_WR)
            data = b""
            while piece := made.recv(1 << 16):
                data += piece
        except OSError:
            return None
        return data


def reached(home: world.World, address: Address, words: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
    """The app's answer, which comes as soon as it has been started."""

    def answer() -> bytes | None:
        assert "Traceback" not in told(home), told(home)
        return asked(address, words)

    return peers.eventually(answer, "an answer of the app's")


@contextlib.contextmanager
def running(
    home: world.World,
    *words: str,
    program: str = SERVER,
    removed: str = "",
) -> Iterator[subprocess.Popen[bytes]]:
    """The app, for as long as the block."""
    argv = home.argv(world.APP, program, *words, removed=removed)
    with started(home, argv) as process:
        yield process


def give(home: world.World, port: int, **scope: object) -> None:
    """Install the app, to be reached at a port, and say yes."""
    home.install(world.manifest(world.PYTHON, {"web": {"kind": "listen", "port": port, **scope}}, serial=next(SERIAL)))
    home.decide()


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The port of a service of this machine's own."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made.getsockname()[1]


def here() -> str:
    """An address of this machine's, whatever it is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.77", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
