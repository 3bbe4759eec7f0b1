"""One thread that waits for many things: descriptors and points in time (epoll(7))."""

import _heapq
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
READ, WRITE, EDGE = select.EPOLLIN, select.EPOLLOUT, select.EPOLLET


class Timer:
    """Something to be done at a time, until it is cancelled."""

    __slots__ = ("due", "number", "what")

    def __init__(self, due: float, number: int, what: "Callable[[], None]") -> None:
        self.due, self.number = due, number
        self.what: Callable[[], None] | None = what

    def __lt__(self, other: "Timer") -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def cancel(self) -> None:
        """Have it not done."""
        self.what = None


class Loop:
    """What is waited for, and what is done then."""

    __slots__ = ("_handlers", "_last", "_poll", "_timers", "ended")

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._last = 0
        self.ended = False

    def watch(self, handle: int, events: int, handler: "Callable[[int], None]") -> None:
        """Call the handler with what happens at a descriptor. Raises OSError."""
        self._poll.register(handle, events)
        self._handlers[handle] = handler

    def change(self, handle: int, events: int) -> None:
        """Wait for other things at a descriptor."""
        self._poll.modify(handle, events)

    def forget(self, handle: int) -> None:
        """Let go of a descriptor, before it is closed or given away; one that is not watched is none of ours."""
        if self._handlers.pop(handle, None):
            self._poll.unregister(handle)

    def after(self, seconds: float, what: "Callable[[], None]") -> Timer:
        """Do something later."""
        self._last += 1
        timer = Timer(time.monotonic() + seconds, self._last, what)
        _heapq.heappush(self._timers, timer)
        return timer

    def turn(self, most: float = -1.0) -> None:
        """Wait for the next things, that many seconds at most, and do them."""
        while self._timers and self._timers[0].what is None:
            _heapq.heappop(self._timers)
        wait = max(0.0, self._timers[0].due - time.monotonic()) if self._timers else -1.0
        if most >= 0:
            wait = min(wait, most) if wait >= 0 else most
        for handle, events in self._poll.poll(wait):
            handler = self._handlers.get(handle)
            if handler:
                handler(events)
        now = time.monotonic()
        while self._timers and self._timers[0].due <= now:
            what = _heapq.heappop(self._timers).what
            if what:
                what()

    def run(self) -> None:
        """Go on until somebody says that it has ended."""
        while not self.ended:
            self.turn()

    def close(self) -> None:
        """Let go of everything."""
        self._handlers.clear()
        self._timers.clear()
        self._poll.close()
