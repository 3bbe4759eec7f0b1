"""The relay's one loop: waits for sockets and deadlines, and keeps what goes wrong with one from the others."""

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any, Protocol

    class Watched(Protocol):
        """Something that can be waited for."""

        def fileno(self) -> int:
            """Its descriptor."""

    class Part(Protocol):
        """Something that may have more to do than one turn allows."""

        def move(self) -> None:
            """Go on."""

        def reset(self) -> None:
            """End it, whatever state it is in."""


READ = select.EPOLLIN | select.EPOLLRDHUP
_TICK = 0.001  # no deadline is met more exactly


class Patience:
    """Things that each have the same number of seconds, the oldest first."""

    __slots__ = ("_deadlines", "_late", "_loop", "_seconds")

    def __init__(self, loop: "Loop", seconds: float, late: "Callable[[Any], object]") -> None:
        """late: called with each thing whose time is over, which is then forgotten here."""
        self._loop, self._seconds, self._late = loop, seconds, late
        self._deadlines: dict[object, float] = {}

    def __len__(self) -> int:
        return len(self._deadlines)

    def start(self, what: object) -> None:
        """Give it all of its time, from now on."""
        self._deadlines.pop(what, None)
        self._deadlines[what] = self._loop.now + self._seconds
        self._loop.patience[self] = None

    def stop(self, what: object) -> None:
        """It has as long as it takes."""
        self._deadlines.pop(what, None)

    def oldest(self) -> "Any":
        """What was started longest ago; None without any."""
        return next(iter(self._deadlines), None)

    def next(self) -> float:
        """The seconds until the first one is late; -1 without any. Ends those that are late already."""
        while self._deadlines:
            what, deadline = next(iter(self._deadlines.items()))
            if deadline > self._loop.now:
                return deadline - self._loop.now + _TICK
            del self._deadlines[what]
            self._late(what)
        self._loop.patience.pop(self, None)
        return -1


class Loop:
    """Sockets with what to do when they are ready. ``now``: the time at which this turn began, as time.monotonic.

    tick: called with the time, when ``stirred`` was set and when it is due; returns when that is, or None.
    patience: those that somebody has to be late for.
    """

    __slots__ = (
        "_busy",
        "_closing",
        "_due",
        "_handlers",
        "_poll",
        "ended",
        "now",
        "patience",
        "stirred",
        "tick",
        "turns",
    )

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, tuple[Callable[[int], object], Callable[[], object]]] = {}
        self._busy: dict[Part, None] = {}
        self._closing: list[_socket.socket] = []
        self.patience: dict[Patience, None] = {}
        self.now = time.monotonic()
        self.tick: Callable[[float], float | None] | None = None
        self._due: float | None = None
        self.stirred = True
        self.turns = 0
        self.ended = False

    def watch(
        self,
        made: "Watched",
        events: int,
        handler: "Callable[[int], object]",
        failed: "Callable[[], object]",
    ) -> None:
        """Call ``handler`` with what happened to a socket, from now on, and ``failed`` if that raises anything.

        Raises OSError.
        """
        known = made.fileno() in self._handlers
        self._handlers[made.fileno()] = handler, failed
        (self._poll.modify if known else self._poll.register)(made.fileno(), events)

    def change(self, made: "Watched", events: int) -> None:
        """Wait for other events of a socket that is watched. Raises OSError."""
        self._poll.modify(made.fileno(), events)

    def forget(self, made: "_socket.socket", *, ours: bool = False) -> None:
        """Close a socket, at the end of the turn: until then nothing else has its number.

        ours: nobody else has it open, so that closing is enough to have it watched no more (epoll(7), question 6).
        """
        if self._handlers.pop(made.fileno(), None) and not ours:
            self._poll.unregister(made.fileno())
        self._closing.append(made)

    def again(self, part: "Part") -> None:
        """Let it move once more, after the others had their turn."""
        self._busy[part] = None

    def turn(self, seconds: float = -1) -> None:
        """Wait for something to happen, so many seconds at most unless it is -1, and do all that it takes."""
        found = self._poll.poll(0 if self._busy else self._wait(seconds))
        self.now = time.monotonic()
        self.turns += 1
        for handle, events in found:
            if known := self._handlers.get(handle):
                try:
                    known[0](events)
                except Exception:  # whatever the app brought about
                    _kept(known[1])
        if self._busy:
            busy, self._busy = self._busy, {}
            for part in busy:
                try:
                    part.move()
                except Exception:  # as above
                    _kept(part.reset)
        while self._closing:
            self._closing.pop().close()

    def _wait(self, seconds: float) -> float:
        """How long nothing but a socket can be a reason to go on."""
        if self.tick and (self.stirred or (self._due is not None and self._due <= self.now)):
            self.stirred = False
            self._due = self.tick(self.now)
        if not self.patience and self._due is None:
            return seconds
        waits = [wait for each in list(self.patience) if (wait := each.next()) >= 0]
        if self._due is not None:
            waits.append(max(0, self._due - self.now) + _TICK)
        if seconds >= 0:
            waits.append(seconds)
        return min(waits, default=-1)

    def run(self) -> None:
        """Take turns until ``ended``."""
        while not self.ended:
            self.turn()

    def close(self) -> None:
        """Close everything that is watched."""
        for handle in list(self._handlers):
            self._poll.unregister(handle)
        self._handlers.clear()
        while self._closing:
            self._closing.pop().close()
        self._poll.close()


def _kept(failed: "Callable[[], object]") -> None:
    """What something raised is the end of its part, and of nothing else."""
    try:
        failed()
    except Exception:  # there is nothing left to do for it
        return
