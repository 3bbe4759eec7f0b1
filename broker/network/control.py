"""The user's hold on a running network companion: ``network``, a socket beside those of the launch (SPEC §10.6, §11.7).

One request of one line on each connection, answered by lines and the end of the connection:

drop INTENT [HOST [PORT [PROTOCOL]]]
                       no rule of the intent, or of it about that, counts any more: ``dropped CONNECTIONS``
rule RULE              one more rule, as the plan writes it: ``ruled``
state                  ``rule RULE`` for each rule, ``open PROTOCOL HOST PORT COUNT`` for what is open, ``end``

Whatever was refused, or could not be done, is ``no REASON``. Served in the dialer's loop, to the same user and root.
"""

import _socket
import _struct
import os
import select

from broker.network import rules, tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
NAME = b"network"
MOST = 8  # connections at a time; of more, the oldest is dropped
LONGEST = 4096  # bytes of a request
_PEER = _struct.Struct("iII")  # struct ucred: unix(7)


class Desk:
    """Everything that the dialer does for the user: the socket, and the tries.

    The dialer watches ``fileno`` for input, waits at most ``patience`` milliseconds, calls ``turn`` after each wait,
    and gives ``heard`` what the relay says that is no request of its own.
    """

    __slots__ = ("_asked", "_dropped", "_listener", "_poll", "_rules", "_talks", "_tell", "tries")

    def __init__(self, directory: bytes, found: rules.Rules, tell: "Callable[[bytes], object]") -> None:
        """directory: of the launch's sockets; found: the dialer's rules, which change; tell: sends to the relay.

        Raises OSError.
        """
        self._rules, self._tell = found, tell
        self.tries = tries.Tries(directory)
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _NONBLOCKING)
        mask = os.umask(0o177)
        try:
            self._listener.bind(directory + b"/" + NAME)
        finally:
            os.umask(mask)
        self._listener.listen(MOST)
        self._poll = select.epoll()
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._talks: dict[int, _Talk] = {}
        # Those who wait for the relay's answer, in the order in which it was asked; None for nobody.
        self._asked: list[_Talk | None] = []

    def fileno(self) -> int:
        """What can be read when ``turn`` has something to do."""
        return self._poll.fileno()

    def patience(self) -> int:
        """Milliseconds until ``turn`` has something to do in any case; -1 for never."""
        return self.tries.patience()

    def turn(self) -> None:
        """Do what there is to do, and wait for nothing."""
        self.tries.flush()
        for handle, _ in self._poll.poll(0):
            talk = self._talks.get(handle)
            try:
                if talk is None:
                    self._accept()
                elif talk.read():
                    self._serve(talk)
            except OSError:
                self._end(talk)

    def heard(self, words: "list[str]") -> bool:
        """Take a message of the relay's, as words; whether it was for us. What it says is not believed but counted."""
        if words[0] == "tried" and len(words) in (5, 6) and all(each.isdigit() for each in (words[3], *words[5:])):
            self.tries.add(words[1], words[2], int(words[3][:5]), words[4], times=int((*words[5:], "1")[0][:9]))
        elif words[0] in ("dropped", "ruled", "counted", "no-rule") and all(map(str.isprintable, words)):
            self._answer(words)
        else:
            return False
        return True

    def apply(self, line: str) -> None:
        """Change the rules as the asker says, who was told by the user: ``rule RULE`` or ``drop INTENT …``."""
        verb, *words = line.split(" ")
        if verb == "drop":
            self._rules.drop(*words[:4])
        elif not self._add(words):
            return
        self._tell(line.encode("ascii"))
        self._asked.append(None)

    def close(self) -> None:
        """Write the last tries, and serve nobody any more."""
        self.tries.close()
        for talk in list(self._talks.values()):
            self._end(talk)
        self._listener.close()
        self._poll.close()

    def _accept(self) -> None:
        handle, _ = self._listener._accept()  # type: ignore[attr-defined]
        made = _socket.socket(fileno=handle)
        made.setblocking(False)
        user = _PEER.unpack(made.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER.size))[1]
        if user not in (0, os.geteuid()):
            made.close()
            return
        if len(self._talks) >= MOST:
            self._end(next(iter(self._talks.values())))
        self._talks[handle] = _Talk(made)
        self._poll.register(handle, select.EPOLLIN)

    def _end(self, talk: "_Talk | None", said: str = "") -> None:
        """Say it, and end the connection."""
        if talk is None or self._talks.pop(talk.made.fileno(), None) is None:
            return
        try:
            talk.made.send(said.encode())  # fits into an empty buffer, or the one who asked does not read
        except OSError:
            pass
        finally:
            talk.made.close()

    def _serve(self, talk: "_Talk") -> None:
        line, whole, _ = bytes(talk.data).partition(b"\n")
        words = line.decode("ascii", "replace").split(" ")
        if talk.asked or not whole:
            self._end(talk, "no request\n")
            return
        talk.asked = words[0]
        if words[0] == "drop" and 2 <= len(words) <= 5:
            self._rules.drop(*words[1:])
            self._tell(line)
        elif words[0] == "rule" and len(words) > 1 and self._add(words[1:]):
            self._tell(line)
        elif words == ["state"]:
            self._tell(b"count")
        else:
            self._end(talk, "no request\n")
            return
        self._asked.append(talk)

    def _add(self, words: "list[str]") -> bool:
        """Whether it is a rule that can come to be while the app runs: nothing but named hosts can."""
        try:
            return self._rules.add(" ".join(words))
        except (ValueError, IndexError):
            return False

    def _answer(self, words: "list[str]") -> None:
        if not self._asked:
            return
        talk = self._asked.pop(0)
        if talk is None:
            return
        if words[0] == "counted":
            held = [f"rule {rule.text}\n" for rule in (*self._rules.connects, *self._rules.asks)]
            rows = [words[at : at + 4] for at in range(1, len(words) - 3, 4)]
            held += [f"open {' '.join(row)}\n" for row in rows]
            self._end(talk, "".join(held) + "end\n")
        else:
            self._end(talk, " ".join(words[:2]) + "\n")


_NONBLOCKING = _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC


class _Talk:
    """One connection."""

    __slots__ = ("asked", "data", "made")

    def __init__(self, made: _socket.socket) -> None:
        self.made = made
        self.data = bytearray()
        self.asked = ""

    def read(self) -> bool:
        """Read what is there; whether a line is whole, or never will be. Raises OSError, also at the end."""
        piece = self.made.recv(LONGEST)
        if not piece:
            raise OSError("ended")
        self.data += piece
        return b"\n" in piece or len(self.data) > LONGEST
