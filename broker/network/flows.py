"""Bytes on their way between a connection of the app's and the one that stands for it (SPEC §10.6).

What is little is copied. What is much goes through a pipe by splice(2) and never through this process's memory. A side
that does not read stops the other one, and an end or a reset of one side becomes that of the other.
"""

import _socket
import _struct
import fcntl
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.network import turns
COPY = 32768  # bytes that are copied at once
CHUNK = 1 << 20  # ... that go into a pipe at once
TURN = 1 << 20  # ... that one direction moves before others have their turn
MOST_PIPES = 32
_LARGE_PIPES = 4  # ... of a chunk, as far as the user may have them (pipe(7): pipe-user-pages-soft), others are as made
_F_SETPIPE_SZ, _F_GETPIPE_SZ = 1031, 1032
_FLAGS = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
_NOTHING = -1
_ABORT = _struct.pack("ii", 1, 0)  # struct linger: the other side sees a reset
_BROKEN = select.EPOLLERR | select.EPOLLHUP
_TO_THE_END = select.EPOLLRDHUP | select.EPOLLPRI | _BROKEN  # a short read does not mean that there is no more
_READABLE = select.EPOLLIN | _TO_THE_END
_WRITABLE = select.EPOLLOUT | _BROKEN
_COMING = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
_ALL = _COMING | select.EPOLLOUT
_buffer = memoryview(bytearray(COPY))


class Pipes:
    """The pipes that nothing is in, and how many there are."""

    __slots__ = ("_free", "_made")

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = []
        self._made = 0

    def take(self) -> "tuple[int, int] | None":
        """An empty pipe; None where there can be no more."""
        if self._free:
            return self._free.pop()
        if self._made >= MOST_PIPES:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self._made += 1
        if self._made <= _LARGE_PIPES:
            self._enlarge(pipe)
        if fcntl.fcntl(pipe[1], _F_GETPIPE_SZ) >= COPY:  # with less, copying is quicker
            return pipe
        self.drop(pipe)
        return None

    def _enlarge(self, pipe: "tuple[int, int]") -> None:
        try:
            fcntl.fcntl(pipe[1], _F_SETPIPE_SZ, CHUNK)
        except OSError:  # the user may not have more
            return

    def give(self, pipe: "tuple[int, int]") -> None:
        """Take back an empty one."""
        self._free.append(pipe)

    def drop(self, pipe: "tuple[int, int]") -> None:
        """Close one that something may be in."""
        self._made -= 1
        for handle in pipe:
            os.close(handle)

    def close(self) -> None:
        """Close those that nothing is in."""
        while self._free:
            self.drop(self._free.pop())


class Flow:
    """One direction of a connection. ended: the source has said its last, and the target was told."""

    __slots__ = (
        "_bulk",
        "_held",
        "_pipe",
        "_pipes",
        "_waiting",
        "awaited",
        "ended",
        "full",
        "last",
        "readable",
        "source",
        "target",
        "to_the_end",
    )

    def __init__(self, source: _socket.socket, target: _socket.socket, pipes: Pipes) -> None:
        self.source, self.target, self._pipes = source, target, pipes
        self.readable = True
        self.to_the_end = self.ended = False
        self.full = self.awaited = False  # whether the target takes no more, and whether it is awaited that it does
        self.last = False  # the other direction has ended: both sides are closed next
        self._bulk = False
        self._pipe: tuple[int, int] | None = None
        self._waiting = 0  # bytes in the pipe
        self._held = b""  # bytes that were copied and not taken

    def pump(self, *, telling: bool = True) -> bool:
        """Move what can be moved; whether there may be more at once. telling: the target learns of the end.

        Raises OSError where a side is broken.
        """
        moved = 0
        while moved < TURN:
            if (self._waiting or self._held) and not self._drain():
                self.full = True
                return False
            if self.ended or not self.readable:
                break
            count = self._splice() if self._bulk else self._copy()
            if count == _NOTHING:
                self.readable = False
                break
            if not count:
                self.ended = True
                if telling and not self.last:
                    self.target.shutdown(_socket.SHUT_WR)
                break
            moved += count
        else:
            return True
        self._bulk = self._bulk and moved >= COPY
        if self._pipe and not self._waiting:
            self._pipes.give(self._pipe)
            self._pipe = None
        return False

    def _copy(self) -> int:
        """Read and pass on a little. How many bytes came: 0 at the end, _NOTHING where there are none now."""
        try:
            count = self.source.recv_into(_buffer)
        except BlockingIOError:
            return _NOTHING
        if not count:
            return 0
        try:
            sent = self.target.send(_buffer[:count])
        except BlockingIOError:
            sent = 0
        if sent < count:
            self._held = bytes(_buffer[sent:count])
        if count == COPY:
            self._bulk = True
        elif not self.to_the_end:
            self.readable = False  # until more comes: epoll(7), question 9
        return count

    def _splice(self) -> int:
        """Fill the pipe. As _copy, which does it where there is no pipe."""
        self._pipe = self._pipe or self._pipes.take()
        if not self._pipe:
            return self._copy()
        try:
            self._waiting = os.splice(self.source.fileno(), self._pipe[1], CHUNK, flags=_FLAGS)
        except BlockingIOError:
            return _NOTHING
        return self._waiting

    def _drain(self) -> bool:
        """Pass on what was taken; whether all of it is gone."""
        try:
            while self._held:
                self._held = self._held[self.target.send(self._held) :]
            while self._waiting and self._pipe:
                self._waiting -= os.splice(self._pipe[0], self.target.fileno(), self._waiting, flags=_FLAGS)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of what was not passed on."""
        if self._pipe:
            self._pipes.drop(self._pipe)
            self._pipe = None
        self._held = b""


class Rights:
    """What a connection is there by: an intent, and the name or address that was meant.

    words: as a message names it.
    """

    __slots__ = ("host", "intent", "port", "protocol", "words")

    def __init__(self, intent: str, protocol: str, host: str, port: int) -> None:
        self.intent, self.protocol, self.host, self.port = intent, protocol, host, port
        self.words = f"{protocol} {host} {port}".encode("ascii")


class Pair:
    """A connection inside the sandbox and the one that stands for it outside. rights: whose they are.

    The side inside was made plain already: what listens hands that on.
    """

    __slots__ = ("_flows", "_loop", "_over", "inside", "outside", "rights")

    def __init__(
        self,
        loop: "turns.Loop",
        pipes: Pipes,
        inside: _socket.socket,
        outside: _socket.socket,
        rights: Rights,
        over: "Callable[[Pair], object]",
    ) -> None:
        """Both are from now on this one's to close. over: called once, when they are."""
        self._loop, self._over = loop, over
        self.inside, self.outside, self.rights = inside, outside, rights
        self._flows: tuple[Flow, ...] = (Flow(inside, outside, pipes), Flow(outside, inside, pipes))

    def begin(self) -> None:
        """Pass on what the app has sent already, and from now on all that comes. Raises OSError.

        The other side has something to do then, while the rest is done here.
        """
        try:
            more = self._flows[0].pump()
        except OSError:
            self._fail()
            return
        self._loop.watch(self.outside, _COMING, self._from_outside, self.reset)
        self._loop.watch(self.inside, _COMING, self._from_inside, self.reset)
        plain(self.outside)
        self._settle(more)

    def _from_inside(self, events: int) -> None:
        self._ready(events, 0)

    def _from_outside(self, events: int) -> None:
        self._ready(events, 1)

    def _ready(self, events: int, side: int) -> None:
        if not self._flows:
            return
        out, back = self._flows[side], self._flows[1 - side]
        if events & _READABLE:
            out.readable = True
            out.to_the_end = out.to_the_end or bool(events & _TO_THE_END)
        more = False
        try:
            if events & _READABLE:
                more = out.pump()
            if events & _WRITABLE:
                more = back.pump() or more
        except OSError:
            self._fail()
            return
        if events & select.EPOLLERR and out.ended:  # a reset after the end: what was to come back is not wanted
            self._fail()
        else:
            self._settle(more)

    def move(self) -> None:
        """Go on where a turn was not enough."""
        if not self._flows:
            return
        try:
            more = [flow.pump() for flow in self._flows]
        except OSError:
            self._fail()
        else:
            self._settle(any(more))

    def _settle(self, more: bool) -> None:
        one, two = self._flows
        if one.ended or two.ended:
            one.last = two.last = True
        if one.ended and two.ended:
            self.close()
            return
        for flow in self._flows:
            if flow.full and not flow.awaited:  # most never are
                flow.awaited = True
                self._loop.change(flow.target, _ALL)
        if more:
            self._loop.again(self)

    def _fail(self) -> None:
        """Reset both sides, after what had arrived before from either was passed on as far as it is taken at once."""
        if not self._flows:
            return
        for flow in self._flows:
            try:
                flow.readable = True
                flow.pump(telling=False)  # a broken source says that it has ended
            except OSError:
                continue
        self.reset()

    def reset(self) -> None:
        """Reset both sides at once."""
        if self._flows:
            for made in (self.inside, self.outside):
                made.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
            self.close()

    def close(self) -> None:
        """Close both sides."""
        if not self._flows:
            return
        for flow in self._flows:
            flow.close()
        self._flows = ()
        self._loop.forget(self.inside, ours=True)
        self._loop.forget(self.outside, ours=True)
        self._over(self)


def plain(made: _socket.socket) -> None:
    """Have bytes go out as they come: the sender decides what waits for more, and nothing is out of band."""
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_OOBINLINE, 1)
    if made.family != _socket.AF_UNIX:
        made.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)


def abort(loop: "turns.Loop", made: _socket.socket) -> None:
    """Close a connection so that the other side sees a reset."""
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
    loop.forget(made)
