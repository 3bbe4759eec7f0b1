"""What listens in the host's network for an app: made, or taken over from systemd, before it begins (SPEC §10.6).

In the executor, so that a place that is taken stops the launch; what is made here goes on to the dialer, never further.
"""

import _socket
import errno
import os
import select

from broker.network import nearby, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from broker.network import rules
BACKLOG = 1024
_TRIES = 20  # in a second
_FIRST = 3  # SD_LISTEN_FDS_START: sd_listen_fds(3)
_VARIABLES = (b"LISTEN_PID", b"LISTEN_FDS", b"LISTEN_FDNAMES", b"LISTEN_PIDFDID")
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_EVERYWHERE = {"loopback": ("127.0.0.1", "::1"), "all": ("0.0.0.0", "::")}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make(listens: "Iterable[rules.Listen]") -> "list[tuple[int, _socket.socket]]":
    """All listening sockets, each with the number of its rule. Raises HostError, and then none is left open.

    ``listen-taken``, ``listen-forbidden``, ``listen-place``, ``listen-not-passed``. What is taken is tried for a second
    more: an app that was just stopped lets go of its place a moment after it has ended.
    """
    rows = list(listens)
    try:
        for _ in range(_TRIES):
            try:
                return _make(rows)
            except Exception as error:
                if getattr(error, "code", "") != "listen-taken":
                    raise
            select.select((), (), (), 1 / _TRIES)
        return _make(rows)
    finally:
        names = {rule.outside for rule in rows if rule.where == "systemd"}
        for fd in [fd for fd, name in _passed(os.environb).items() if name in names]:  # others are closed already
            os.close(fd)
        forget()


def _make(listens: "Iterable[rules.Listen]") -> "list[tuple[int, _socket.socket]]":
    opened: list[tuple[int, _socket.socket]] = []
    try:
        for index, rule in enumerate(listens):
            opened += ((index, made) for made in _side(rule))
    except BaseException:
        for _, made in opened:
            made.close()
        raise
    return opened


def wanted(section: "Iterable[bytes]") -> "dict[int, str]":
    """Which inherited descriptors are listening sockets that systemd passed to this process and a rule names.

    section: the plan's companions. They are closed at the next exec from now on.
    """
    names = {word.split(b" ")[4] for word in section if word[:8] == b"=listen " and word.count(b" ") > 4}
    found = {fd: name for fd, name in _passed(os.environb).items() if b"systemd:" + name.encode() in names}
    for fd in found:
        os.set_inheritable(fd, False)
    if not found:
        forget()
    return found


def forget() -> None:
    """Tell nobody what systemd told us."""
    for name in _VARIABLES:
        os.environb.pop(name, None)


def _passed(environ: "Mapping[bytes, bytes]") -> "dict[int, str]":
    """What systemd passed: the number and the name of each descriptor; nothing where it is for another process."""
    pid, count = environ.get(b"LISTEN_PID", b""), environ.get(b"LISTEN_FDS", b"")
    if not (pid.isdigit() and count.isdigit() and int(pid) == os.getpid() and int(count) < 1024):
        return {}
    names = environ.get(b"LISTEN_FDNAMES", b"").decode("utf-8", "replace").split(":")
    names += ["unknown"] * (int(count) - len(names))
    return {_FIRST + at: names[at] for at in range(int(count))}


def _side(rule: "rules.Listen") -> "Iterator[_socket.socket]":
    if rule.where == "unix":
        yield _at_path(rule)
        return
    if rule.where == "systemd":
        yield from _from_systemd(rule)
        return
    if rule.where == "lan":
        places = nearby.here()
    else:
        families = (_socket.AF_INET, _socket.AF_INET6)
        places = [(each, address, 0) for each, address in zip(families, _EVERYWHERE[rule.where], strict=True)]
    for family, address, scope in places:
        try:
            yield at_port(family, address, int(rule.outside), scope)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and (
                family == _socket.AF_INET6 or rule.where == "lan"
            ):
                continue  # a machine without IPv6, or an address that has just gone
            raise _refused(rule, address, error) from error


def at_port(family: int, address: str, port: int, scope: int) -> _socket.socket:
    """One that listens at a TCP port. scope: the interface of a link-local address, else 0. Raises OSError."""
    made = _socket.socket(family, _STREAM)
    try:
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)  # else old connections keep it for a minute
        if family == _socket.AF_INET6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
            made.bind((address, port, 0, scope))
        else:
            made.bind((address, port))
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return made


def _refused(rule: "rules.Listen", address: str, error: OSError) -> Exception:
    place = f"[{address}]:{rule.outside}" if ":" in address else f"{address}:{rule.outside}"
    if error.errno == errno.EADDRINUSE:
        return _error(
            "listen-taken", f"`{place}`, where `{rule.intent}` is to be reached, {_holder(int(rule.outside))}"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return _error("listen-forbidden", f"`{place}`, where `{rule.intent}` is to be reached, is not yours to use")
    return _error(
        "listen-forbidden", f"`{place}`, where `{rule.intent}` is to be reached, is refused: {error.strerror}"
    )


def _holder(port: int) -> str:
    """Who listens at a TCP port, as far as this user can see (proc(5), /proc/net/tcp)."""
    for table in ("tcp", "tcp6"):
        with open(f"/proc/self/net/{table}", "rb") as lines:
            rows = [line.split() for line in lines][1:]
        for row in rows:
            if row[3] == b"0A" and int(row[1].rpartition(b":")[2], 16) == port:
                return _process(row[9]) or f"is taken by a program of user {int(row[7])}"
    return "is taken"


def _process(inode: bytes) -> str:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(b"/proc/%s/fd/%s" % (pid.encode(), fd.encode())) == b"socket:[%s]" % inode:
                    with open(f"/proc/{pid}/comm", "rb") as name:
                        return f"is taken by `{name.read().decode('ascii', 'replace').strip()}`, process {pid}"
        except OSError:  # another user's, or over
            continue
    return ""


def _from_systemd(rule: "rules.Listen") -> "Iterator[_socket.socket]":
    """The sockets that systemd calls so, which are this process's own only as long as nothing else was given."""
    numbers = [fd for fd, name in _passed(os.environb).items() if name == rule.outside]
    if not numbers:
        raise _error("listen-not-passed", f"systemd passed no socket called `{rule.outside}`, for `{rule.intent}`")
    for fd in numbers:
        made = _duplicate(fd)
        if made is None:
            message = f"what systemd passed as `{rule.outside}` is no socket that takes connections"
            raise _error("listen-not-passed", message)
        yield made


def _duplicate(fd: int) -> "_socket.socket | None":
    handle = os.dup(fd)
    try:
        made = _socket.socket(fileno=handle)
    except OSError:
        os.close(handle)
        return None
    if not _takes_connections(made):
        made.close()
        return None
    made.setblocking(False)
    return made


def _takes_connections(made: _socket.socket) -> bool:
    """Whether it listens for streams of a protocol that the companion knows."""
    streams = {_socket.AF_INET: _socket.IPPROTO_TCP, _socket.AF_INET6: _socket.IPPROTO_TCP, _socket.AF_UNIX: 0}
    asked = (_socket.SO_PROTOCOL, _socket.SO_ACCEPTCONN, _socket.SO_TYPE)
    protocol, accepts, kind = (made.getsockopt(_socket.SOL_SOCKET, option) for option in asked)
    return bool(accepts) and kind == _socket.SOCK_STREAM and streams.get(made.family) == protocol


def _at_path(rule: "rules.Listen") -> _socket.socket:
    path = os.fsencode(rule.outside)
    shown = rule.outside.encode("utf-8", "backslashreplace").decode()
    try:
        with paths.Directory(path) as directory:
            return directory.listen()
    except paths.Unsafe as unsafe:
        raise _error("listen-place", f"`{shown}`, where `{rule.intent}` is to be reached: {unsafe}") from None
    except paths.Taken as taken:
        raise _error("listen-taken", f"`{shown}`, where `{rule.intent}` is to be reached, {taken}") from None
    except OSError as error:
        message = f"`{shown}`, where `{rule.intent}` is to be reached, cannot be made: {error.strerror}"
        raise _error("listen-place", message) from error


def _error(code: str, message: str) -> Exception:
    from intents import errors

    return errors.HostError(code, message)
