"""The dialer's part of being reached: takes connections from outside and passes them to the relay (SPEC §10.6).

An app that does not take them keeps others waiting in the kernel's queue, not here: of those that were passed and have
not ended there is a most, and nothing is taken while there are so many.
"""

import _socket
import os
import resource
import select

from broker.network import hostside, listeners, nearby, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.network import rules
MOST = 1000  # connections of one app at a time, where the relay may have descriptors for as many
_OTHERS = 400  # descriptors of the relay that are for other things
TURNS = 16  # taken in one go, until others have theirs
_STARVED = 100  # milliseconds until it is tried again, where the system gives no more descriptors
_INPUT = select.EPOLLIN


class Inbound:
    """What listens for one app.

    The dialer watches ``fileno`` for input, waits at most ``patience`` milliseconds, calls ``turn`` after each wait,
    and gives ``heard`` what the relay says that is no request of its own.
    """

    __slots__ = (
        "_held",
        "_listens",
        "_made",
        "_most",
        "_nodes",
        "_open",
        "_poll",
        "_relay",
        "_rules",
        "_starved",
        "_watch",
    )

    def __init__(self, found: "rules.Rules", relay: _socket.socket, given: "Iterable[int]") -> None:
        """given: the number of a rule and a listening descriptor of it, in turn. Raises OSError."""
        self._rules, self._relay = found, relay
        self._listens = found.listens  # all there were at the beginning: of these the numbers are
        self._poll = select.epoll()
        self._made: dict[int, tuple[int, _socket.socket]] = {}
        self._held: tuple[bytes, _socket.socket] | None = None  # taken, and the relay has no room
        self._open, self._starved = 0, False
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self._most = MOST if hard == resource.RLIM_INFINITY else max(1, min(MOST, (hard - _OTHERS) // 2))
        words = iter(given)
        for index in words:
            self._add(index, _socket.socket(fileno=next(words)))
        self._nodes = {rule.outside: _node(rule.outside) for rule in self._listens if rule.where == "unix"}
        self._watch = hostside.changes() if any(rule.where == "lan" for rule in self._listens) else None
        if self._watch:
            self._poll.register(self._watch.fileno(), _INPUT)
            self._look_again()  # what came since they were made

    def _add(self, index: int, made: _socket.socket) -> None:
        self._made[made.fileno()] = index, made
        self._poll.register(made.fileno(), _INPUT if self._open < self._most and not self._held else 0)

    def fileno(self) -> int:
        """What can be read when ``turn`` has something to do."""
        return self._poll.fileno()

    def patience(self) -> int:
        """Milliseconds until ``turn`` has something to do in any case; -1 for never."""
        return _STARVED if self._starved or self._held else -1

    def turn(self) -> None:
        """Do what there is to do, and wait for nothing."""
        self._drop()
        if self._held:
            message, taken = self._held
            self._held = None
            self._pass(message, taken)
            self._pause(on=bool(self._held) or self._open >= self._most)
        if self._starved:
            self._starved = False
            self._pause(on=self._open >= self._most)
        for handle, _ in self._poll.poll(0):
            if handle in self._made:
                self._take(*self._made[handle])
            elif self._watch:
                self._look_again()

    def heard(self, words: "list[str]") -> bool:
        """Take a message of the relay's, as words; whether it was for us: one connection is over."""
        if words[0] != "over":
            return False
        self._open = max(0, self._open - 1)
        if self._open == self._most - 1 and not self._held:
            self._pause(on=False)
        return True

    def _drop(self) -> None:
        """Listen no more for what has no rule any more. The relay ends its connections."""
        for handle, (index, made) in list(self._made.items()):
            if self._listens[index] not in self._rules.listens:
                del self._made[handle]
                made.close()
        if self._held and self._listens[int(self._held[0].split(b" ")[1])] not in self._rules.listens:
            self._held[1].close()
            self._held = None
            self._pause(on=self._open >= self._most)
        for rule in self._listens:
            if rule not in self._rules.listens and rule.outside in self._nodes:
                self._remove(rule.outside)

    def close(self) -> None:
        """Listen no more, and leave no socket behind."""
        for _, made in self._made.values():
            made.close()
        self._made.clear()
        for path in list(self._nodes):
            self._remove(path)
        if self._watch:
            self._watch.close()
        if self._held:
            self._held[1].close()
        self._poll.close()

    def _remove(self, path: str) -> None:
        node = self._nodes.pop(path)
        try:
            with paths.Directory(os.fsencode(path)) as directory:
                directory.remove(node)
        except (OSError, paths.Unsafe):
            return

    def _pause(self, *, on: bool) -> None:
        for handle in self._made:
            self._poll.modify(handle, 0 if on else _INPUT)

    def _take(self, index: int, listener: _socket.socket) -> None:
        rule = self._listens[index]
        for _ in range(TURNS):
            try:
                handle, address = listener._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError:
                self._starved = True
                self._pause(on=True)
                return
            taken = _socket.socket(fileno=handle)
            place = "-", 0
            if taken.family != _socket.AF_UNIX:
                place = address[:2]
                if rule.where == "lan" and not nearby.is_near(_socket.inet_pton(taken.family, place[0])):
                    taken.close()  # routed here from elsewhere, which the address alone does not prevent
                    continue
            self._pass(f"in {index} {place[0]} {place[1]}".encode(), taken)
            if self._held or self._open >= self._most:
                self._pause(on=True)
                return

    def _pass(self, message: bytes, taken: _socket.socket) -> None:
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, taken.fileno().to_bytes(4, "little"))]
        try:
            self._relay.sendmsg([message], rights, _socket.MSG_DONTWAIT)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                self._held = message, taken
            else:
                taken.close()
            return
        self._open += 1
        taken.close()

    def _look_again(self) -> None:
        """Listen at what has come to be an address of the local network, and not where one has gone."""
        if self._watch:
            hostside.drain(self._watch)
        try:
            places = nearby.here()
        except OSError:  # the next change tells
            return
        for index, rule in enumerate(self._listens):
            if rule.where != "lan" or rule not in self._rules.listens:
                continue
            here = {address: made for at, made in self._made.values() if at == index for address in [_address(made)]}
            for gone in here.keys() - {(address, scope) for _, address, scope in places}:
                del self._made[here[gone].fileno()]
                here[gone].close()
            for family, address, scope in places:
                if (address, scope) not in here:
                    try:
                        self._add(index, listeners.at_port(family, address, int(rule.outside), scope))
                    except OSError:  # taken there: the others remain
                        continue


def _address(made: _socket.socket) -> "tuple[str, int]":
    address = made.getsockname()
    return address[0].partition("%")[0], address[3] if len(address) > 3 else 0


def _node(path: str) -> "tuple[int, int] | None":
    try:
        with paths.Directory(os.fsencode(path)) as directory:
            return directory.node()
    except (OSError, paths.Unsafe):
        return None
