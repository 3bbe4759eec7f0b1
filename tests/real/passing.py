"""Descriptors of the host's network in an accomplice's hands, and what a program does with those that it is passed.

``held`` makes them; ``TRIES`` is what a program inside a sandbox does with them; ``Bus`` is a D-Bus connection that
passes them, and ``INSIDE`` the same for a program inside, behind the text of ``broker.bus``.
"""

import contextlib
import inspect
import os
import socket
import struct
import threading
from collections.abc import Iterator

from broker import bus
from tests.real import networked, peers

# What passes, in this order. The last is no way out itself: whatever else is there can come through it later.
KINDS = ("connected", "unconnected", "datagrams", "listening", "namespace", "pair")
NAME, PATH = "org.example.Friend", "/org/example/Friend"
GIVE, TAKE = "Give", "Take"


class Bus(bus.Connection):
    """A connection that sends descriptors and keeps those that come. D-Bus Specification, "UNIX_FDS"."""

    def greet(self) -> str:
        """As for any connection, with leave to pass descriptors."""
        self.came: list[int] = []
        self.write(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        assert self.line().startswith(b"OK ")
        self.write(b"NEGOTIATE_UNIX_FD\r\n")
        assert self.line() == b"AGREE_UNIX_FD"
        self.write(b"BEGIN\r\n")
        answer = self.ask("Hello")
        return answer.body[4:].rstrip(b"\0").decode()

    def passes(self, message: bus.Message, handles: "list[int]") -> None:
        """Send a message whose body is these descriptors."""
        self._serial += 1
        fields = {name: getattr(message, name) for name in message.__slots__}
        fields |= {"serial": self._serial, "signature": "h" * len(handles), "body": b""}
        data = bus.encode(bus.Message(**fields))
        size = struct.unpack_from("<I", data, 12)[0]
        head = data[16 : 16 + size] + bytes(-size % 8) + struct.pack("<BBBBI", 9, 1, ord("u"), 0, len(handles))
        body = struct.pack(f"<{len(handles)}I", *range(len(handles)))
        data = data[:4] + struct.pack("<I", len(body)) + data[8:12] + struct.pack("<I", len(head)) + head + body
        socket.send_fds(self._stream, [data], handles)

    def _fill(self) -> None:
        data, came, _, _ = socket.recv_fds(self._stream, 1 << 16, 64)
        if not data:
            raise ConnectionResetError
        self.came += came
        self._buffer += data


# To begin with, the program's arguments: where a server of the host's is that answers, a port of TCP and one of UDP.
TRIES = """
import ctypes, errno, json, os, socket, struct, sys, time
PATIENCE = 30
far, datagrams = (("127.0.0.1", int(word)) for word in sys.argv[1:3])

def asked(stream):
    stream.send(b"hello")
    return "reached" if stream.recv(64) == b"seen hello" else "silent"

def turned(stream):  # connect(2): AF_UNSPEC takes a connection back, and the end of listening
    ctypes.CDLL(None).connect(stream.fileno(), bytes(16), 16)
    stream.connect(far)
    return asked(stream)

def connected(stream):
    return asked(stream) + " " + tried(turned, stream.detach())

def unconnected(stream):
    stream.connect(far)
    return asked(stream)

def sent(stream):
    stream.sendto(b"hello", datagrams)
    return "reached" if stream.recv(64) == b"seen hello" else "silent"

def namespace(stream):
    if ctypes.CDLL(None, use_errno=True).setns(stream, 0):
        raise OSError(ctypes.get_errno(), "setns")
    return "entered"

def pair(stream):
    _, handles, _, _ = socket.recv_fds(stream, 9, 1)
    with socket.socket(fileno=handles[0]) as made:
        made.settimeout(PATIENCE)
        return unconnected(made)

def tried(use, handle):
    try:
        if use is namespace:
            return use(handle)
        with socket.socket(fileno=handle) as stream:
            stream.settimeout(PATIENCE)
            return use(stream)
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)

def uses(handles, first=0):
    ways = (connected, unconnected, sent, turned, namespace, pair)
    return [tried(way, handle) for way, handle in zip(ways[first:], handles)]

def own():  # of the network that the program is in
    made = [socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.create_server(("127.0.0.1", 0))]
    return [*(each.detach() for each in made), os.open("/proc/self/ns/net", os.O_RDONLY)]
"""
_ASKS = f"""
stream = socket.socket(socket.AF_UNIX)
stream.connect(target(os.environ["DBUS_SESSION_BUS_ADDRESS"]))
connection = Bus(stream, time.monotonic() + PATIENCE)
connection.greet()
names = dict(kind=CALL, serial=0, path="{PATH}", interface="{NAME}", destination="{NAME}")
connection.call(Message(member="{GIVE}", **names))
print(json.dumps(uses(connection.came)), flush=True)
connection.passes(Message(member="{TAKE}", **names), own())
while connection.receive().reply_serial != connection._serial:
    pass
"""
_TEXT = inspect.getsource(Bus).replace("bus.", "")
INSIDE = inspect.getsource(bus) + _TEXT + TRIES + _ASKS


class Far:
    """Servers of the host: ``near``, which the accomplice is connected to, and others at ``words``, a port each."""

    def __init__(self, held: contextlib.ExitStack) -> None:
        self.near, self.tcp = networked.Server(), networked.Server()
        for each in (self.near, self.tcp):
            held.callback(each.close)
        self._udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("127.0.0.1", 0))
        self.fd = self._udp.fileno()
        self._thread = threading.Thread(target=self._answer)
        self._thread.start()
        held.callback(self._over)
        self.words = [str(self.tcp.port), str(self._udp.getsockname()[1])]

    def _answer(self) -> None:
        while True:
            data, sender = self._udp.recvfrom(64)
            if not data:
                return
            self._udp.sendto(b"seen " + data, sender)

    def _over(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.sendto(b"", self._udp.getsockname())
        self._thread.join(peers.PATIENCE)


@contextlib.contextmanager
def far() -> Iterator[Far]:
    """The servers, for as long as the block."""
    with contextlib.ExitStack() as stack:
        yield Far(stack)


@contextlib.contextmanager
def held(where: Far) -> Iterator[list[int]]:
    """One descriptor of each of ``KINDS``, of the network that this process is in."""
    with contextlib.ExitStack() as stack:
        connected = stack.enter_context(socket.create_connection(("127.0.0.1", where.near.port)))
        unconnected = stack.enter_context(socket.socket())
        datagrams = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        later = stack.enter_context(socket.socket())
        ours, theirs = (stack.enter_context(each) for each in socket.socketpair())
        socket.send_fds(ours, [b"x"], [later.fileno()])
        namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
        stack.callback(os.close, namespace)
        sockets = (connected, unconnected, datagrams, listening)
        yield [*(each.fileno() for each in sockets), namespace, theirs.fileno()]
