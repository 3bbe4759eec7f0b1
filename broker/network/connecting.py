"""Connects to the first of several addresses that answers (RFC 8305), in the host's network."""

import _socket
import errno
import os

from broker.network import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Done = Callable[["_socket.socket | None", str], None]
DELAY = 0.25  # seconds until the next address is tried beside the last: RFC 8305, 5
PATIENCE = 20.0  # seconds for all of them
MOST = 8  # addresses
RESERVE = 96  # descriptors that no connection takes: those of who looks names up, and of the user, who takes them back
_FAMILY = {4: _socket.AF_INET, 16: _socket.AF_INET6}
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def ceiling() -> int:
    """How many descriptors connections leave untouched, once there may be as many as there can."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(RESERVE, hard - RESERVE) if hard != resource.RLIM_INFINITY else 1 << 20


most = 1 << 20  # the number from which on a descriptor is not for a connection: the kernel gives the lowest (dup(2))


def turns(found: "Iterable[bytes]") -> "list[bytes]":
    """Addresses in the order they are tried: the families take turns, the one that was first begins."""
    found = list(found)
    if len(found) < 2:
        return found
    both: dict[int, list[bytes]] = {}
    for address in found:
        both.setdefault(len(address), []).append(address)
    ordered: list[bytes] = []
    while any(both.values()):
        ordered += [each.pop(0) for each in both.values() if each]
    return ordered[:MOST]


def make(address: bytes, kind: int) -> _socket.socket:
    """A socket for this address that does not wait. Raises OSError."""
    made = _socket.socket(_FAMILY[len(address)], kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)
    if made.fileno() >= most:
        made.close()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return made


def target(address: bytes, port: int, scope: int = 0) -> "tuple[str, int] | tuple[str, int, int, int]":
    """What connect(2) is told: the address itself, so that nothing is looked up."""
    text = _socket.inet_ntop(_FAMILY[len(address)], address)
    return (text, port) if len(address) == 4 else (text, port, 0, scope)


def to_itself(made: _socket.socket) -> bool:
    """Whether a connected socket leads to an address that is this machine's own."""
    try:
        return bool(made.getsockname()[0] == made.getpeername()[0])
    except OSError:
        return True


def datagram(addresses: "list[bytes]", port: int) -> "tuple[_socket.socket | None, str]":
    """A connected UDP socket to the first address that there is a route to; None, and why, where there is none."""
    reason = "unreachable"
    for address in turns(addresses):
        made = None
        try:
            made = make(address, _socket.SOCK_DGRAM)
            made.connect(target(address, port))
            return made, ""
        except OSError as error:
            reason = "busy" if error.errno in _FULL else "unreachable"
            if made:
                made.close()
    return None, reason


class Race:
    """Several attempts at one connection. It ends by calling ``done`` once, if it is not cancelled before."""

    __slots__ = ("_done", "_left", "_loop", "_next", "_port", "_reason", "_running", "_whole")

    def __init__(self, looping: loop.Loop, addresses: "list[bytes]", port: int, done: "Done") -> None:
        """done: gets the connected socket, which is then its, or None and the reason."""
        self._loop, self._port, self._done = looping, port, done
        self._left = turns(addresses)
        self._running: dict[int, _socket.socket] = {}
        self._reason = "unreachable"
        self._next: loop.Timer | None = None
        self._whole: loop.Timer | None = None
        self._go_on()
        if self._running:
            self._whole = looping.after(PATIENCE, lambda: self._end(None, "unreachable"))

    def _go_on(self) -> None:
        """Start the next attempt; where there is none, and none runs, it is lost."""
        if self._next:
            self._next.cancel()
            self._next = None
        while self._left:
            address = self._left.pop(0)
            made = None
            try:
                made = make(address, _socket.SOCK_STREAM)
                where = target(address, self._port)
                code = made.connect_ex(where)
                if code == errno.EINPROGRESS:  # what is near has answered by now: connect(2) says so when asked again
                    code = made.connect_ex(where)
                if code not in (0, errno.EALREADY):
                    raise OSError(code, os.strerror(code))
                if code:
                    self._loop.watch(made.fileno(), loop.WRITE, self._ready(made))
                    self._running[made.fileno()] = made
            except OSError as error:
                self._failed(made, error.errno or 0)
                continue
            if not code:
                self._end(made, "")
                return
            if self._left:
                self._next = self._loop.after(DELAY, self._go_on)
            return
        if not self._running:
            self._end(None, self._reason)

    def _ready(self, made: _socket.socket) -> "Callable[[int], None]":
        def ready(_events: int) -> None:
            code = made.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
            if code:
                self._failed(made, code)
                self._go_on()
            else:
                self._loop.forget(made.fileno())
                del self._running[made.fileno()]
                self._end(made, "")

        return ready

    def _failed(self, made: "_socket.socket | None", code: int) -> None:
        self._reason = "refused" if code == errno.ECONNREFUSED else "busy" if code in _FULL else "unreachable"
        if made:
            self._loop.forget(made.fileno())
            self._running.pop(made.fileno(), None)
            made.close()

    def _end(self, made: "_socket.socket | None", reason: str) -> None:
        self.cancel()
        self._done(made, reason)

    def cancel(self) -> None:
        """Give up all attempts."""
        if self._whole:
            self._whole.cancel()
        if self._next:
            self._next.cancel()
        self._left.clear()
        for handle, made in self._running.items():
            self._loop.forget(handle)
            made.close()
        self._running.clear()
