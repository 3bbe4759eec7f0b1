"""The internet, with or without the local network, for an app in a network of its own: pasta(1) behind nft(8).

Two more processes beside the dialer and the relay (SPEC §10.6). The *warden* stays in the host's network: it starts
pasta, ends it, and watches this machine's addresses. The *keeper* stays in the sandbox's, with the right to change its
filter, and loads what the warden sends. Neither ever reads what an app sends. The filter is there before anything can
leave; where it cannot be loaded again, because the addresses changed, the way out is closed.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import ctypes
import os
import select

from broker.network import addresses, hostside
from intents import nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from broker.network import rules
LIMIT = 1 << 20  # bytes of a message
PATIENCE_MS = 10_000
_ALONE = ("-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw")  # no port in either direction
_QUIET = ("--config-net", "--foreground", "--quiet", "--no-dhcp", "--no-dhcpv6", "--no-ra")
_DEATH_SIGNAL, _AMBIENT, _RAISE = 1, 47, 2  # prctl(2)
_CAPABILITIES_3, _NET_ADMIN = 0x20080522, 12  # capget(2), capabilities(7)
_NEW_NS = 0x20000  # CLONE_NEWNS
_NO_PROBES = "/proc/sys/net/ipv6/conf/default/accept_dad"  # nobody else is there who could have the address


def granted(found: "rules.Rules") -> "list[nft.Grant]":
    """What the filter lets through: the addresses that were granted as such, but for those that ``relayed`` keeps."""
    own = [rule for rule in found.connects if rule not in relayed(found)]
    return [((rule.prefix[1], rule.prefix[2]), rule.protocol, rule.port) for rule in own if rule.prefix]


def relayed(found: "rules.Rules") -> "list[rules.Connect]":
    """The rules that stay with the relay: names, what is asked about or read, and what lies nowhere that a filter lets
    reach, such as a service of this machine."""

    def stays(rule: "rules.Connect") -> bool:
        if rule.prefix is None or rule.ask or rule.sni:
            return True
        _, base, bits = rule.prefix
        return bits == 8 * len(base) and addresses.kind_of(base) not in (addresses.PUBLIC, addresses.LAN)

    return [rule for rule in found.connects if stays(rule)]


def watch(found: "rules.Rules", directory: bytes, ready: int) -> "tuple[_socket.socket, _socket.socket]":
    """Start the warden; the sockets by which ``join`` reaches it, and by which it is told what was dropped (§11.7).

    directory: for a file of a moment; ready: the writing end of the pipe that somebody reads as long as the app lives.
    Raises OSError.
    """
    keeper, joining = _pair()
    told, telling = _pair()
    parent = os.getpid()
    if os.fork() == 0:
        try:
            _end_with(parent)
            _close_all_but(ready, keeper.fileno(), told.fileno())
            Warden(keeper, told, found, directory, ready).run()
        finally:
            os._exit(1)
    keeper.close()
    told.close()
    return joining, telling


def _pair() -> "tuple[_socket.socket, _socket.socket]":
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


class Warden:
    """What keeps the way out of one sandbox, in the host's network."""

    def __init__(
        self, keeper: _socket.socket, told: _socket.socket, found: "rules.Rules", directory: bytes, ready: int
    ) -> None:
        self._keeper, self._told, self._rules, self._ready = keeper, told, found, ready
        self._fifo = directory + b"/pasta"
        self._place = 0  # the keeper's pid: its namespaces are the sandbox's
        self._loaded = ""
        self._pasta = self._handle = 0

    def run(self) -> None:
        """Serve until the app, the dialer, the keeper or pasta is gone, or the grant."""
        changes = hostside.changes()
        try:
            self._place = int(self._keeper.recv(LIMIT) or 0)
            self._refresh()
            self._keeper.send(b"up")
            while self._wait(changes):
                self._refresh()
        except OSError as error:
            self._keeper.send(f"failed {error.strerror or error}".encode())
        finally:
            changes.close()
            self._end()

    def _wait(self, changes: _socket.socket) -> bool:
        """Whether the filter may have to be another one now; False when it is over."""
        poll = select.poll()
        poll.register(self._ready, 0)
        handles = [self._keeper.fileno(), self._told.fileno(), changes.fileno(), self._handle]
        for handle in filter(None, handles):
            poll.register(handle, select.POLLIN)
        seen = {handle for handle, _ in poll.poll()}
        if self._told.fileno() in seen:
            words = self._told.recv(LIMIT).decode("ascii", "replace").split(" ")
            if words[0] != "drop":
                return False
            self._rules.drop(*words[1:3])
        hostside.drain(changes)
        return bool(self._rules.internet) and seen <= {changes.fileno(), self._told.fileno()}

    def _refresh(self) -> None:
        """Load the filter for this machine as it is now, then let pasta begin, where it is not there and could be."""
        own, near, leads_out = hostside.look()
        asked = bool(self._rules.resolves)
        text = nft.rules(self._rules.internet, resolves=asked, grants=granted(self._rules), own=own, near=near)
        if text != self._loaded:
            self._keeper.send(text.encode())
            answer = self._keeper.recv(LIMIT)
            if answer != b"ok":
                raise OSError(answer.decode() or "the keeper of the filter ended")
            self._loaded = text
        if leads_out and not self._pasta:
            self._begin()

    def _begin(self) -> None:
        """Start pasta and wait until it has made the sandbox's network. Raises OSError."""
        os.mkfifo(self._fifo, 0o600)
        told, loud = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        fifo = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._start(loud)
            os.close(loud)
            loud = -1
            poll = select.poll()
            poll.register(fifo, select.POLLIN)
            poll.register(self._handle, select.POLLIN)
            seen = [handle for handle, events in poll.poll(PATIENCE_MS) if events & select.POLLIN]
            if fifo not in seen:
                said = os.read(told, 400).decode("ascii", "replace").strip() if self._handle in seen else "not ready"
                raise OSError(f"pasta: {said.rpartition(chr(10))[2]}")
        finally:
            for handle in (fifo, told, *([loud] if loud >= 0 else [])):
                os.close(handle)
            os.unlink(self._fifo)

    def _start(self, loud: int) -> None:
        place = f"/proc/{self._place}/ns"
        words = ["pasta", *_QUIET, *_ALONE, "--pid", os.fsdecode(self._fifo)]
        words += ["--userns", f"{place}/user", "--netns", f"{place}/net"]
        if os.geteuid() == 0:  # as nobody, which it would choose, it may not enter
            words += ["--runas", "0"]
        parent = os.getpid()
        self._pasta = os.fork()
        if self._pasta == 0:
            try:
                _end_with(parent)
                os.dup2(loud, 2)
                _close_all_but()
                for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # pasta does not start without the first
                    _signal.signal(number, _signal.SIG_DFL)
                os.execve(self._rules.tools["pasta"], words, {})
            finally:
                os._exit(127)
        self._handle = os.pidfd_open(self._pasta)

    def _end(self) -> None:
        if self._handle:
            _signal.pidfd_send_signal(self._handle, _signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._handle, os.WEXITED)


def join(warden: _socket.socket, pid: int, program: str) -> None:
    """In the sandbox's network, with all rights over it: start the keeper, and wait until the way out is there.

    pid: the sandbox's first process; program: nft. The socket is the keeper's from now on. Raises OSError.
    """
    while not _mapped(pid):  # before that a new program has no rights
        select.select([], [], [], 0.0005)
    told, telling = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        try:
            _close_all_but(warden.fileno(), telling)
            _keep(warden, telling, program)
        finally:
            os._exit(1)
    os.close(telling)
    warden.close()
    answer = os.read(told, 400)
    os.close(told)
    if answer != b"up":
        raise OSError(answer.decode("utf-8", "replace") or "the keeper of its filter ended")


def _mapped(pid: int) -> bool:
    with open(f"/proc/{pid}/uid_map", "rb") as table:
        return bool(table.read())


def _keep(warden: _socket.socket, telling: int, program: str) -> None:
    """Load what the warden sends, until it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NS):  # the relay is about to leave its own, with all who are in it
        raise OSError(ctypes.get_errno(), "no mounts of its own")
    _hand_down(libc)
    try:
        handle = os.open(_NO_PROBES, os.O_WRONLY | os.O_CLOEXEC)
        os.write(handle, b"0")
        os.close(handle)
    except OSError:  # without IPv6; or its addresses count a second later
        pass
    warden.send(b"%d" % os.getpid())
    while text := warden.recv(LIMIT):
        if text == b"up" or text[:7] == b"failed ":
            os.write(telling, text.removeprefix(b"failed "))
            os.close(telling)
        else:
            warden.send(b"ok" if _load(program, text) == 0 else b"nft does not take the rules")


def _load(program: str, text: bytes) -> int:
    """Run nft with the rules; its exit status."""
    rules_file = os.memfd_create("rules")
    os.write(rules_file, text)
    os.lseek(rules_file, 0, os.SEEK_SET)
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(rules_file, 0)
            _close_all_but()
            os.execve(program, ["nft", "-f", "-"], {})
        finally:
            os._exit(127)
    os.close(rules_file)
    return os.waitpid(pid, 0)[1]


def _hand_down(libc: ctypes.CDLL) -> None:
    """Let a program that this process becomes have its right over the network, whoever it is there."""
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0), (ctypes.c_uint32 * 6)()
    failed = libc.capget(header, sets)
    sets[2] |= 1 << _NET_ADMIN  # of effective, permitted, inheritable: the third
    if failed or libc.capset(header, sets) or libc.prctl(_AMBIENT, _RAISE, _NET_ADMIN, 0, 0):
        raise OSError(ctypes.get_errno(), "no right over its network")


def _end_with(parent: int) -> None:
    """Be killed when the process that started this one ends."""
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, _signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _close_all_but(*kept: int) -> None:
    lowest = 3
    for handle in sorted(kept):
        os.closerange(lowest, handle)
        lowest = handle + 1
    os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
