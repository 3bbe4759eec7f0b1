"""What names lead to, by this machine's own means: getaddrinfo(3), with all that nsswitch.conf(5) says.

It waits, so it runs in threads: a few of them, each name in one at a time, so that a slow name keeps nobody waiting but
those who want it.
"""

import _queue
import _socket
import _thread
import os
import time

from broker.network import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[["tuple[bytes, ...] | None"], None]
THREADS, NAMES = 16, 256  # at a time
PATIENCE = 12.0  # seconds: two tries of a resolver, and some
FRESH, ABSENT = 4.0, 1.0  # seconds that a name, and one without an address, is not looked up again
CACHED = 512  # names
_STACK = 1 << 20  # bytes: what other people's lookup modules may want


def resolve(name: bytes) -> "tuple[bytes, ...]":
    """The packed addresses of a name, the best first (RFC 6724); none where there are none."""
    try:
        told = _socket.getaddrinfo(name, None, 0, _socket.SOCK_STREAM)
    except (OSError, ValueError):
        return ()
    found: dict[bytes, None] = {}
    for family, _, _, _, address in told:
        if family in (_socket.AF_INET, _socket.AF_INET6):
            found[_socket.inet_pton(family, str(address[0]).partition("%")[0])] = None
    return tuple(found)


class Lookup:
    """Names that are being looked up, and those that just were."""

    __slots__ = ("_cached", "_jobs", "_loop", "_resolve", "_results", "_threads", "_waiting", "_wake")

    def __init__(self, looping: loop.Loop, resolver: "Callable[[bytes], tuple[bytes, ...]]" = resolve) -> None:
        self._loop, self._resolve = looping, resolver
        self._jobs: _queue.SimpleQueue[bytes | None] = _queue.SimpleQueue()
        self._results: _queue.SimpleQueue[tuple[bytes, tuple[bytes, ...]]] = _queue.SimpleQueue()
        self._waiting: dict[bytes, list[tuple[Found, loop.Timer]]] = {}
        self._cached: dict[bytes, tuple[float, tuple[bytes, ...]]] = {}
        self._threads = 0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        looping.watch(self._wake, loop.READ, self._woken)

    def find(self, name: bytes, found: "Found") -> None:
        """Call ``found``, at once or later, with the addresses of a name; with None where too many wait already."""
        until, addresses = self._cached.get(name, (0.0, ()))
        if time.monotonic() < until:
            found(addresses)
            return
        if name not in self._waiting:
            if len(self._waiting) >= NAMES:
                found(None)
                return
            self._waiting[name] = []
            self._start()
            self._jobs.put(name)
        entry: list[tuple[Found, loop.Timer]] = []
        entry.append((found, self._loop.after(PATIENCE, lambda: self._late(name, entry[0]))))
        self._waiting[name] += entry

    def _late(self, name: bytes, entry: "tuple[Found, loop.Timer]") -> None:
        if entry in self._waiting.get(name, ()):
            self._waiting[name].remove(entry)
            entry[0](())

    def _start(self) -> None:
        if len(self._waiting) > self._threads and self._threads < THREADS:
            before = _thread.stack_size(_STACK)
            try:
                _thread.start_new_thread(self._work, ())
                self._threads += 1
            except RuntimeError:  # this user has too many: those that run have more to do
                if not self._threads:
                    raise
            finally:
                _thread.stack_size(before)

    def _work(self) -> None:
        while (name := self._jobs.get()) is not None:
            found: tuple[bytes, ...] = ()
            try:
                found = self._resolve(name)
            except Exception:  # a thread less would be a name that waits for ever
                found = ()
            self._results.put((name, found))
            os.eventfd_write(self._wake, 1)
        self._results.put((b"", ()))

    def _woken(self, _events: int) -> None:
        os.eventfd_read(self._wake)
        while not self._results.empty():
            name, addresses = self._results.get()
            if len(self._cached) >= CACHED:
                del self._cached[next(iter(self._cached))]
            self._cached.pop(name, None)
            self._cached[name] = time.monotonic() + (FRESH if addresses else ABSENT), addresses
            for found, timer in self._waiting.pop(name, ()):
                timer.cancel()
                found(addresses)

    def idle(self) -> bool:
        """Whether no name is being looked up."""
        return not self._waiting

    def close(self) -> None:
        """End the threads, each after what it looks up now."""
        self._loop.forget(self._wake)
        for _ in range(self._threads):
            self._jobs.put(None)
        while self._threads:
            self._threads -= not self._results.get()[0]
        os.close(self._wake)
