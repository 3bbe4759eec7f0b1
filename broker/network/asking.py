"""What has to be asked about before the app may reach it: who is waited for, and for how long (SPEC §8.9, §10.6).

The *asker* is a process of its own, begun beside the dialer and replaced by a broker when there is first something to
ask (``broker.asker``). The dialer tells it which intent is tried; it tells what was decided. Where it is gone, or says
nothing in time, nothing is given.

dialer -> asker     ask INTENT HOST
asker -> dialer     rule RULE | drop INTENT HOST PORT PROTOCOL | later INTENT
"""

import _socket
import os
import select
import sys
import time

from broker.network import control, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
WAIT = 25.0  # seconds that the app waits for a person: as long as programs wait for a name
REST = 10.0  # seconds in which it is then refused at once
MOST = 1024  # names that wait
LIMIT = 4096
# -P: what lies in the working directory is not a module of ours.
BEGIN = "import sys; sys.path[:] = sys.argv[3:]; from broker import asker; sys.exit(asker.main(*sys.argv[1:3]))"


def start(directory: bytes) -> _socket.socket:
    """Begin the asker; the socket to it. directory: of the launch's sockets. Raises OSError.

    Before anything else of the companion is made: it keeps nothing of that open.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    if os.fork() == 0:
        try:
            handle = os.dup2(theirs.detach(), 3)
            os.closerange(4, os.sysconf("SC_OPEN_MAX"))
            if _socket.socket(fileno=os.dup(handle)).recv(1, _socket.MSG_PEEK):
                os.chdir("/")
                words = [sys.executable, "-P", "-c", BEGIN, str(handle), os.fsdecode(directory), *sys.path]
                os.execve(sys.executable, words, os.environb)
        finally:
            os._exit(0)
    theirs.close()
    ours.setblocking(False)
    return ours


class Asking:
    """Names that wait for somebody's decision."""

    __slots__ = ("_channel", "_desk", "_gone", "_held", "_poll", "_refuse", "_rests", "_rules", "_waiting")

    def __init__(
        self, channel: _socket.socket, found: rules.Rules, desk: control.Desk, refuse: "Callable[[str, int], object]"
    ) -> None:
        """refuse: lets whoever waits for a name go on without it."""
        self._channel, self._rules, self._desk, self._refuse = channel, found, desk, refuse
        self._held: dict[str, float] = {}  # intents that are asked about, and until when it is waited
        self._rests: dict[str, float] = {}  # intents that nothing waits for now, and until when
        self._waiting: dict[tuple[str, int], str] = {}  # names and ports, and whose
        self._gone = False
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        """What can be read when ``turn`` has something to do."""
        return self._poll.fileno()

    def wanted(self, host: str, port: int) -> None:
        """The app waits for a name, or for what it has connected to at a port, that has to be asked about."""
        rule = self._rules.asking(host, port)
        if rule is None:
            return
        now, intent = time.monotonic(), rule.intent
        self._desk.tries.add(rule.protocol, host, rule.port, "asked", intent)
        if self._gone or now < self._rests.get(intent, 0.0) or len(self._waiting) >= MOST:
            self._refuse(host, port)
            return
        self._waiting[host, port] = intent
        if intent not in self._held:
            self._held[intent] = now + WAIT
            try:
                self._channel.send(f"ask {intent} {host}".encode("ascii"))
            except OSError:
                self._later(intent)

    def patience(self) -> int:
        """Milliseconds until ``turn`` has something to do in any case; -1 for never."""
        if not self._held:
            return -1
        return max(0, int((min(self._held.values()) - time.monotonic()) * 1000) + 1)

    def turn(self) -> None:
        """Hear what was decided, and give up what has waited too long."""
        while not self._gone:
            try:
                said = self._channel.recv(LIMIT).decode("ascii", "replace")
            except BlockingIOError:
                break
            except OSError:
                said = ""
            if said:
                self._hear(said)
            else:
                self._gone = True
                self._poll.unregister(self._channel.fileno())
                for intent in list(self._held):
                    self._later(intent)
        now = time.monotonic()
        for intent in [each for each, until in self._held.items() if until <= now]:
            self._later(intent)

    def _hear(self, said: str) -> None:
        verb, *words = said.split(" ")
        if verb == "later" and len(words) == 1:
            self._later(words[0])
        elif verb in ("rule", "drop"):
            self._desk.apply(said)
            for each in [each for each in self._waiting if self._rules.asking(*each) is None]:
                del self._waiting[each]  # whoever waits goes on by the rules
            for intent in [each for each in self._held if each not in self._waiting.values()]:
                del self._held[intent]

    def _later(self, intent: str) -> None:
        """Nobody waits for it any more, for now."""
        self._held.pop(intent, None)
        self._rests[intent] = time.monotonic() + REST
        for each in [each for each, whose in self._waiting.items() if whose == intent]:
            del self._waiting[each]
            self._refuse(*each)

    def close(self) -> None:
        """Let go of the asker, which ends."""
        self._poll.close()
        self._channel.close()
