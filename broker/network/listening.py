"""What listens for the app inside the sandbox, and how much of what it sends is taken on (SPEC §10.6)."""

import _socket
import errno

from broker.network import flows, turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
BACKLOG = 4096  # as far as the kernel lets us (net.core.somaxconn)
BATCH = 32  # connections that are accepted in one turn of one listener
PAUSE = 0.25  # seconds until it is tried again when there is little or no room
ENOUGH = 64  # as much room as is not worth a pause
_FREEBIND_6 = 78  # IPV6_FREEBIND of linux/in6.h
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
Key = tuple[int, str, int]  # family, address, port


class Listeners:
    """Sockets by what they listen on. While there is no room, what arrives waits in the kernel's queues."""

    __slots__ = ("_arrived", "_found", "_last", "_loop", "_paused", "_rest", "_room")

    def __init__(
        self, loop: turns.Loop, arrived: "Callable[[_socket.socket, Key], object]", room: "Callable[[], int]"
    ) -> None:
        """arrived: gets each connection, to close, and what was listened on; room: how many there may be besides those
        that are.
        """
        self._loop, self._arrived, self._room = loop, arrived, room
        self._found: dict[Key, _socket.socket] = {}
        self._last: dict[_socket.socket, int] = {}  # the turn in which a connection came
        self._paused = False
        self._rest = turns.Patience(loop, PAUSE, Listeners._resume)

    def __len__(self) -> int:
        return len(self._found)

    def __contains__(self, key: Key) -> bool:
        return key in self._found

    def found(self) -> "list[Key]":
        """All that is listened on."""
        return list(self._found)

    def listen(self, key: Key) -> None:
        """Listen there, if nothing does. Raises OSError."""
        family, address, port = key
        if key in self._found:
            return
        made = _socket.socket(family, _STREAM)
        try:
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            flows.plain(made)
            if family == _socket.AF_INET6:
                made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
                made.setsockopt(_socket.IPPROTO_IPV6, _FREEBIND_6, 1)  # a local route is no address to it
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEPORT, 1)  # beside the resolver, whose port is 53
            made.bind((address, port))
            made.listen(BACKLOG)
            self._loop.watch(made, 0 if self._paused else turns.READ, lambda _e: self._accept(made, key), self._failed)
        except OSError:
            made.close()
            raise
        self._found[key] = made

    def stop(self, key: Key) -> None:
        """Listen there no more; what is in its queue is reset."""
        if made := self._found.pop(key, None):
            self._last.pop(made, None)
            self._loop.forget(made)

    def _accept(self, listener: _socket.socket, key: Key) -> None:
        number = self._loop.turns
        often = number - self._last.get(listener, -2) <= 1
        self._last[listener] = number
        for _ in range(BATCH if often else 1):
            if self._room() <= 0:
                self._pause()
                return
            try:
                handle, _ = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._pause()
                    return
                continue  # that one was over before it was taken
            app = _socket.socket(listener.family, _STREAM, 0, handle)
            app.setblocking(False)
            self._arrived(app, key)

    def _failed(self) -> None:
        """A connection was no use; those after it may be."""

    def _pause(self) -> None:
        self._paused = True
        self._rest.start(self)
        for made in self._found.values():
            self._loop.change(made, 0)

    def resume(self) -> None:
        """There may be room: take on what has arrived meanwhile, at once or soon."""
        if self._paused and not len(self._rest):
            if self._room() < ENOUGH:
                self._rest.start(self)
            else:
                self._resume()

    def _resume(self) -> None:
        if self._room() <= 0:
            self._rest.start(self)
            return
        self._paused = False
        for made in self._found.values():
            self._loop.change(made, turns.READ)

    def close(self) -> None:
        """Listen to nothing."""
        for key in self.found():
            self.stop(key)
