"""``intent-ctl serve``: the protocol on a socket of this session, for front-ends of the same user (SPEC §11.5).

One thread and one turn for everybody: a client gets one request answered at a time, holds at most one unfinished line
and what it has not read yet, and is dropped where it holds more. Of too many, those of the busiest process go first.
"""

import contextlib
import os
import selectors
import signal
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

from broker import known, news, pending, protocol, state, views
from intents import errors, paths

SOCKET = "broker.sock"
MOST = 64  # clients at a time
_CHUNK = 1 << 16
_UNREAD = 4 * protocol.LIMIT  # bytes that a subscriber may leave unread
_LOOK = 1.0  # seconds between two looks at what is new, while somebody wants to know
_BACKLOG = 128
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LONGEST = 107  # bytes of a socket's path (unix(7))

Here = Callable[[], known.Here]


class _Client:
    """One connection: what arrived and is not answered, what is not sent, when it last did anything."""

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.connection = connection
        self.pid = pid
        self.lines = protocol.Lines()
        self.arrived: deque[bytes] = deque()
        self.out = bytearray()
        self.subscribed = False
        self.ended = False  # it sends nothing any more
        self.active = time.monotonic()

    def receive(self) -> None:
        """Take what is there. Raises OSError; a line that is too long is answered, and the last one."""
        data = self.connection.recv(_CHUNK)
        self.active = time.monotonic()
        self.ended = not data
        try:
            self.arrived.extend(self.lines.feed(data))
        except errors.MessageError as error:
            self.out += protocol.refusal(None, error)
            self.ended = True

    def send(self) -> None:
        """Send what it takes. Raises OSError."""
        del self.out[: self.connection.send(self.out)]
        self.active = time.monotonic()

    @property
    def wants(self) -> int:
        """What to wait for: nothing is read before everything is answered and taken."""
        if self.out:
            return selectors.EVENT_WRITE
        return 0 if self.arrived or self.ended else selectors.EVENT_READ


def address(at: known.Here) -> str:
    """Where the socket is. Raises HostError ``no-runtime-directory``."""
    if not at.places.runtime:
        raise errors.HostError("no-runtime-directory", "XDG_RUNTIME_DIR names no directory of your own")
    return f"{at.places.runtime}/{SOCKET}"


def connect(at: known.Here) -> socket.socket:
    """A connection to whoever serves. Raises DecisionError ``not-served``, HostError ``no-runtime-directory``."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address(at))
    except OSError as error:
        connection.close()
        raise errors.DecisionError("not-served", "nobody serves the questions of this session") from error
    return connection


@contextlib.contextmanager
def listening(at: known.Here) -> Iterator[socket.socket]:
    """The socket, while nobody else has it; whatever lies at its name is of an earlier server, and replaced.

    Raises DecisionError ``already-served``, HostError ``no-runtime-directory`` or ``unwritable-place``.
    """
    path = address(at)
    shown = paths.printable(path)
    if len(os.fsencode(path)) > _LONGEST:
        raise errors.HostError("unwritable-place", f"`{shown}` is too long for the name of a socket")
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(state.lock(f"{path}.lock", wait=False))
        except errors.JournalError as error:
            if error.code != "journal-busy":
                raise
            raise errors.DecisionError("already-served", "the questions of this session are served already") from error
        found = held.enter_context(socket.socket(socket.AF_UNIX))
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            before = os.umask(0o177)
            try:
                found.bind(path)
            finally:
                os.umask(before)
            held.callback(_unlink, path)
            found.listen(_BACKLOG)
        except OSError as error:
            raise errors.HostError("unwritable-place", f"`{shown}` cannot be made: {error.strerror}") from error
        found.setblocking(False)
        yield found


def serve(here: Here) -> Iterator[tuple[dict[str, object], str]]:
    """Serve until a signal ends it; what is worth telling, as JSON and as a line. Raises as ``listening`` does."""
    with listening(here()) as listener, _wakened() as waker:
        path = address(here())
        yield {"serving": path}, f"Serving {path}; Ctrl-C ends it."
        server = Server(here, listener)
        try:
            while not _woken(waker):
                server.turn(waker)
        finally:
            server.close()


class Server:
    """The clients of one listening socket."""

    def __init__(self, here: Here, listener: socket.socket) -> None:
        self._here = here
        self._listener = listener
        self._clients: list[_Client] = []
        self._news: news.News | None = None
        self._looked = 0.0

    def close(self) -> None:
        """Leave everybody."""
        for client in self._clients:
            client.connection.close()
        if self._news:
            self._news.close()

    def turn(self, waker: socket.socket | None = None) -> None:
        """Wait for something to do, and do it once for everybody."""
        with selectors.DefaultSelector() as selector:
            for waited in (self._listener, *([waker] if waker else [])):
                selector.register(waited, selectors.EVENT_READ)
            for client in self._clients:
                if client.wants:
                    selector.register(client.connection, client.wants, client)
            ready = selector.select(self._patience())
        for key, _ in ready:
            if isinstance(key.data, _Client):
                self._guarded(key.data, key.data.send if key.data.out else key.data.receive)
        if any(key.fileobj is self._listener for key, _ in ready):
            self._accept()
        for client in list(self._clients):
            if client.arrived and not client.out:
                self._guarded(client, lambda client=client: self._answer(client))  # type: ignore[misc]
            if client.ended and not client.arrived and not client.out:
                self._drop(client)
        if self._wanted and time.monotonic() >= self._looked + _LOOK:
            self._tell()

    @property
    def _wanted(self) -> bool:
        return any(client.subscribed for client in self._clients)

    def _patience(self) -> float | None:
        if any(client.arrived and not client.out for client in self._clients):
            return 0
        return max(0.0, self._looked + _LOOK - time.monotonic()) if self._wanted else None

    def _guarded(self, client: _Client, work: Callable[[], None]) -> None:
        """Whatever goes wrong with a client, a defect of ours included, ends that client alone."""
        try:
            work()
        except Exception:
            self._drop(client)

    def _accept(self) -> None:
        """Take those of our own user."""
        with contextlib.suppress(OSError):  # nobody else is waiting
            for _ in range(_BACKLOG):
                connection, _ = self._listener.accept()
                pid, user = _peer(connection)
                if user != os.geteuid():
                    connection.close()
                    continue
                connection.setblocking(False)
                if len(self._clients) >= MOST:
                    self._drop(self._dispensable())
                self._clients.append(_Client(connection, pid))

    def _dispensable(self) -> _Client:
        """Of the process with the most connections, the one that was silent longest."""
        held = Counter(client.pid for client in self._clients)
        return min(self._clients, key=lambda client: (-held[client.pid], client.active))

    def _drop(self, client: _Client) -> None:
        client.connection.close()
        if client in self._clients:
            self._clients.remove(client)

    def _answer(self, client: _Client) -> None:
        methods = {
            "hello": protocol.hello,
            "list": self._list,
            "answer": self._take,
            "effective": self._effective,
            "subscribe": lambda _: self._subscribe(client),
        }
        before = client.subscribed
        client.out += protocol.reply(client.arrived.popleft(), methods)
        if client.subscribed and not before:
            client.out += b"".join(map(_line, map(news.question_event, self._followed().questions())))

    def _followed(self) -> news.News:
        self._news = self._news or news.News(self._here)
        return self._news

    def _tell(self) -> None:
        """Tell subscribers what is new; who does not read is told no more."""
        self._looked = time.monotonic()
        told = b"".join(map(_line, self._followed().look()))
        for client in [client for client in self._clients if client.subscribed]:
            client.out += told
            if len(client.out) > _UNREAD:
                self._drop(client)

    # Methods

    def _list(self, values: protocol.Values) -> protocol.Values:
        if "question" in values:
            one = pending.by_id(self._here(), protocol.read_text(values, "question"))
            return {"questions": [protocol.question_data(one.asked.question, one.asked.request)]}
        found, _ = pending.waiting(self._here())
        return protocol.listed([protocol.question_data(each.asked.question, each.asked.request) for each in found])

    def _take(self, values: protocol.Values) -> protocol.Values:
        question, shown, given = protocol.read_answer(values)
        pending.answer(self._here(), question, shown, given)
        self._looked = 0.0  # those who wait are told at once
        return {}

    def _effective(self, values: protocol.Values) -> protocol.Values:
        name = protocol.read_text(values, "app")
        if "/" in name or name.endswith(".toml"):  # no file is read for a client, least of all one that never ends
            raise errors.DecisionError("unknown-app", f"`{paths.printable(name)}` is neither an app id nor an alias")
        return views.show(self._here(), name).data

    def _subscribe(self, client: _Client) -> protocol.Values:
        client.subscribed = True
        return {}


def _line(event: news.Event) -> bytes:
    return protocol.event(*event)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """(process, user) at the other end when it connected (SO_PEERCRED, unix(7))."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _ = struct.unpack("3i", found)
    return pid, user


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


@contextlib.contextmanager
def _wakened() -> Iterator[socket.socket]:
    """A socket that becomes readable at the signals that end a server; for the main thread."""
    waker, bell = socket.socketpair()
    with waker, bell:
        for each in (waker, bell):
            each.setblocking(False)
        actions = [(number, signal.signal(number, lambda *_: None)) for number in _ENDING]
        before = signal.set_wakeup_fd(bell.fileno())
        try:
            yield waker
        finally:
            signal.set_wakeup_fd(before)
            for number, action in actions:
                signal.signal(number, action)


def _woken(waker: socket.socket) -> bool:
    try:
        return any(number in _ENDING for number in waker.recv(64))
    except BlockingIOError:
        return False
