"""A Wayland socket behind which the compositor shows only some of its interfaces (SPEC §5.4).

For every client that connects, one connection to the compositor; what passes between them is for ``wayland_registry``
to say. Descriptors go on with the bytes they came with; none of them may lead on. Each direction is read only while
nothing of it waits to be written, so a side that does not read stops the other one, and no memory is taken for it.

One thread and no state but the connections. The client is the app, and believed nothing: whatever it does ends its own
connection at most.
"""

import _socket
import os
import select
import sys

from broker.companions import wayland_registry as registry
from broker.companions import wayland_wire as wire

CONNECTIONS = 128  # of one app; more wait until one ends
BACKLOG = 128  # as libwayland's
CHUNK = 1 << 14  # bytes read at once
TOLD = 200  # bytes of a reason; its names are the client's own
AGAIN_MS = 50  # until a compositor that takes no connection now is asked again
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
# Keymaps, pools, buffers, fences, what is pasted: files, pipes, devices, and what has no type (inode(7)). A socket is
# a way into the network it was made in, one of Unix a way for other descriptors, and a directory a way to sockets.
_ORDINARY = frozenset({0o100000, 0o010000, 0o020000, 0})
_RIGHTS = _socket.CMSG_SPACE(wire.DESCRIPTORS * 4)
_READ = _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
_WRITE = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Arguments: the socket to make, the compositor's, a system call filter in hexadecimal, the allowed interfaces.

    Ready as soon as it listens: what it gives up before it reads the first byte takes a while, and a client can wait.
    """
    made, compositor, calls, *allowed = arguments
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    listener.bind(made)
    listener.listen(BACKLOG)
    os.write(ready, b".")
    from broker import confine
    from broker.companions import refusals  # ctypes is most of what starting costs, and now nobody waits

    told = refusals.Refusals(directory)
    inside = confine.confine(compositor, directory, bytes.fromhex(calls.decode()))
    serve(listener, ready, inside, frozenset(allowed), told.tell)
    return 0


def serve(
    listener: _socket.socket,
    ready: int,
    compositor: bytes,
    allowed: "frozenset[bytes]",
    tell: "Callable[[bytes], None] | None" = None,
) -> None:
    """Serve the clients of ``listener`` until nobody reads the pipe of which ``ready`` is the writing end.

    tell: takes what was refused.
    """
    poll = select.poll()
    poll.register(ready, 0)
    connections: dict[int, Connection] = {}
    patience = None  # where the compositor takes no connection now: how long to leave the clients waiting
    while True:
        if patience is None and len(connections) < 2 * CONNECTIONS:
            poll.register(listener, select.POLLIN)
        found = poll.poll(patience)
        patience = None
        for number, what in found:
            if number == ready:
                for left in set(connections.values()):
                    left.close()
                listener.close()
                return
            if number == listener.fileno():
                poll.unregister(listener)
                patience = _accept(listener, poll, connections, compositor, allowed)
            elif connection := connections.get(number):
                connection.turn(number, what)
                connection.watch(poll)
                if connection.refused and tell:
                    tell(b"wayland " + connection.refused)
                if connection.over:
                    for each in connection.close():
                        del connections[each]


def _accept(
    listener: _socket.socket,
    poll: select.poll,
    connections: "dict[int, Connection]",
    compositor: bytes,
    allowed: "frozenset[bytes]",
) -> "int | None":
    """Take one client, if the compositor takes it; else for how many milliseconds to let it wait."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        server.connect(compositor)
        gone = False
    except BlockingIOError:  # its queue is full: unix(7)
        server.close()
        return AGAIN_MS
    except OSError:
        gone = True
    try:
        client = _socket.socket(fileno=listener._accept()[0])  # type: ignore[attr-defined]  # what socket.py calls
    except OSError:
        server.close()
        return AGAIN_MS
    if gone:
        server.close()
        client.close()
        return None
    made = Connection(client, server, registry.Registry(allowed))
    made.watch(poll)
    connections |= {client.fileno(): made, server.fileno(): made}
    return None


class Connection:
    """A client, the compositor as it sees it, and a way in each direction."""

    __slots__ = ("_client", "_events", "_requests", "_server", "_watched", "refused")

    def __init__(self, client: _socket.socket, server: _socket.socket, judged: registry.Registry) -> None:
        self._client, self._server = client, server
        self._requests = Way(client, server, judged.requests)
        self._events = Way(server, client, judged.events)
        self.refused = b""  # why the connection has to end
        self._watched: dict[_socket.socket, int] = {}

    @property
    def over(self) -> bool:
        """Whether nothing more can pass that anybody would read."""
        ended = self._requests.ended or self._events.ended
        return bool(self.refused) or ended or (self._requests.deaf and self._events.deaf)

    def turn(self, number: int, what: int) -> None:
        """Move what poll(2) says can be moved at one of the two sockets."""
        coming, going = self._requests, self._events
        if number == self._server.fileno():
            coming, going = going, coming
        try:
            if what & ~select.POLLIN:
                going.write()
            if what & ~select.POLLOUT:
                coming.read()
        except registry.Refused as error:
            self.refused = str(error).encode()[:TOLD] or b"refused"
            self._tell(error)

    def _tell(self, error: registry.Refused) -> None:
        """Let the client know why, if it is not in the middle of another message."""
        if not self._events.waits and self._events.stream.between:
            words = str(error).encode()[:TOLD]
            try:
                self._client.send(wire.message(wire.DISPLAY, wire.ERROR, error.about, 0, words), _WRITE)
            except OSError:
                return

    def watch(self, poll: select.poll) -> None:
        """Have poll(2) look at what is waited for, and at nothing else: an end that nobody reads would never pass."""
        for socket, coming, going in (
            (self._client, self._requests, self._events),
            (self._server, self._events, self._requests),
        ):
            wanted = select.POLLIN * coming.wants | select.POLLOUT * going.waits
            before = self._watched.get(socket, 0)
            if self.over or not wanted:
                if before:
                    poll.unregister(socket)
            elif wanted != before:
                poll.register(socket, wanted)
            self._watched[socket] = 0 if self.over else wanted

    def close(self) -> "tuple[int, int]":
        """Close everything; the numbers of the two sockets."""
        numbers = self._client.fileno(), self._server.fileno()
        for way in (self._requests, self._events):
            way.drop()
        self._client.close()
        self._server.close()
        return numbers


class Way:
    """One direction. ``ended``: the source will say nothing more; ``deaf``: the sink will read nothing more."""

    __slots__ = ("_descriptors", "_pending", "_sink", "_source", "deaf", "ended", "stream")

    def __init__(self, source: _socket.socket, sink: _socket.socket, stream: registry.Stream) -> None:
        self._source, self._sink, self.stream = source, sink, stream
        self._pending = b""
        self._descriptors: list[int] = []
        self.ended = self.deaf = False

    @property
    def waits(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._pending)

    @property
    def wants(self) -> bool:
        """Whether something is to be read."""
        return not (self._pending or self.deaf or self.ended)

    def read(self) -> None:
        """Read once, and write on what passes. Raises Refused."""
        if not self.wants:
            return
        try:
            data, control, flags, _ = self._source.recvmsg(CHUNK, _RIGHTS, _READ)
        except BlockingIOError:
            return
        except OSError:
            self.ended = True
            return
        before = len(self._descriptors)
        for level, kind, rights in control:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                self._descriptors += memoryview(rights)[: len(rights) // 4 * 4].cast("i")
        # Twice as many where the ones before wait with the beginning of a message.
        if flags & _socket.MSG_CTRUNC or len(self._descriptors) > 2 * wire.DESCRIPTORS:
            raise registry.Refused("too many descriptors")
        if not all(_ordinary(each) for each in self._descriptors[before:]):
            raise registry.Refused("a descriptor that leads on")
        if not data:
            self.ended = True
            return
        self._pending = self.stream.passes(data)
        self.write()

    def write(self) -> None:
        """Write what waits, as far as the sink takes it: descriptors never later than the bytes they came with."""
        while self._pending:
            now = self._descriptors[: wire.DESCRIPTORS]
            rights = b"".join(each.to_bytes(4, sys.byteorder) for each in now)
            control = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else []
            data = self._pending if now == self._descriptors else self._pending[:1]
            try:
                sent = self._sink.sendmsg([data], control, _WRITE)
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self.deaf = True  # what comes the other way may still be worth reading: the reason, for one
                self._pending = b""
                self.drop()
                return
            except OSError as error:
                raise registry.Refused(str(error.strerror)) from None
            self.drop(len(now))
            self._pending = self._pending[sent:]

    def drop(self, count: int | None = None) -> None:
        """Close the oldest descriptors, or all, which were passed on or have nowhere to go."""
        for each in self._descriptors[:count]:
            os.close(each)
        del self._descriptors[:count]


def _ordinary(handle: int) -> bool:
    """Whether a descriptor is of a kind that is passed on."""
    from broker import confine

    return confine.type_of(handle) in _ORDINARY
