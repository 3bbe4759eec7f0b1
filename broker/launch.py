"""The executor: reads a plan, checks that it still holds, opens what it names and becomes bubblewrap (SPEC §10).

The only way anything is launched, warm or cold. Imports little, because it is most of what a warm start costs: all
that not every launch needs, where it is needed.
"""

import _signal  # type: ignore[import-not-found]
import fcntl
import os

from intents import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
Sections = dict[str, tuple[bytes, ...]]
Settings = dict[bytes, bytes]

_DIRECTORY = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_OBJECT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MEMORY_DEVICES = frozenset(os.makedev(1, minor) for minor in (3, 5, 7, 8, 9))  # null zero full random urandom: mem(4)
_CLOCK_BOOTTIME = 7  # clock_gettime(2)
_FS_IOC_GETVERSION = 0x80087601  # linux/fs.h; the answer is an int, whatever its number says
_FORMATS = {0o100000: "file", 0o040000: "directory", 0o010000: "pipe", 0o020000: "device", 0o140000: "socket"}


def read(path: "str | bytes") -> "Sections | None":
    """The plan stored at ``path``; None unless it is a whole plan that only we can write."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    info = os.fstat(handle)
    data = _rest(handle)
    return None if info.st_uid != os.geteuid() or info.st_mode & ~0o100600 else plan.decode(data)


def holds(guards: "tuple[bytes, ...]") -> bool:
    """Whether everything the plan was compiled from is still as it was (SPEC §10.2). An unknown guard never holds."""
    try:
        return len(guards) % 3 == 0 and all(_holds(*guards[at : at + 3]) for at in range(0, len(guards), 3))
    except OSError:
        return False


def _holds(kind: bytes, subject: bytes, value: bytes) -> bool:
    if kind == b"env":
        return os.environb.get(subject, b"-") == value
    if kind == b"file":
        info = os.stat(subject)
        return b"%d:%s" % (info.st_dev, _version(info)) == value
    if kind == b"node":
        info = os.stat(subject)
        return b"%d:%d" % (info.st_dev, info.st_ino) == value
    if kind == b"same":
        return _rest(os.open(subject, os.O_RDONLY | os.O_CLOEXEC)) == value
    if kind == b"link":
        return os.readlink(subject) == value
    if kind == b"real":
        return os.path.realpath(subject) == value
    if kind == b"absent":
        return not os.path.exists(subject)
    if kind in (b"names", b"list"):
        with os.scandir(subject) as entries:
            found = sorted((each.name, _entry(kind, each)) for each in entries)
        return b"/".join(map(b"=".join, found)) == value
    if kind == b"code":
        return os.path.dirname(os.path.abspath(os.fsencode(__file__))) == subject
    if kind == b"object":
        return object_of(subject) == value
    if kind == b"until":
        return _before(subject, value)
    if kind == b"used":
        return _now() - os.stat(subject).st_mtime < int(value)
    return False


def object_of(directory: bytes) -> bytes:
    """What tells a directory from every other that was or will be at its path: inode and generation (ioctl_fs(2)).

    Raises OSError, also where its file system has no generations.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        generation = fcntl.ioctl(handle, _FS_IOC_GETVERSION, bytes(8))
        return b"%d:%d" % (os.fstat(handle).st_ino, int.from_bytes(generation[:4], "little"))
    finally:
        os.close(handle)


def _version(info: os.stat_result) -> bytes:
    return b"%d:%d:%d:%d" % (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def _entry(kind: bytes, entry: "os.DirEntry[bytes]") -> bytes:
    if kind == b"list":
        return _version(entry.stat(follow_symlinks=False))
    return b"l" if entry.is_symlink() else b"d" if entry.is_dir() else b"f" if entry.is_file() else b"o"


def _rest(handle: int) -> bytes:
    """What a descriptor still gives; it is closed then."""
    data = b""
    try:
        while piece := os.read(handle, plan.LIMIT):  # the kernel gives files of its own in pieces
            data += piece
    finally:
        os.close(handle)
    return data


def _before(wall: bytes, boottime: bytes) -> bool:
    """Both clocks count, so that setting one back prolongs nothing; boottime is empty after another boot."""
    import time

    return time.time() < int(wall) and (not boottime or time.clock_gettime(_CLOCK_BOOTTIME) < int(boottime))


def _now() -> float:
    """Seconds since the epoch, without a module for it: when a file in memory was made."""
    handle = os.memfd_create("now")
    now = os.fstat(handle).st_mtime
    os.close(handle)
    return now


def execute(sections: Sections, arguments: "list[bytes]", say: "Callable[[str], None]", *, wanted: bytes = b"") -> int:
    """Launch; returns only on a terminal, with the status to exit with. Raises HostError, and then nothing was started.

    arguments: what the user wrote after the app's name; say: takes a line for standard error; wanted: ``read`` or
    ``write``, where the user says what the app may do with files that are named there.
    """
    settings = plan.settings(sections)
    check_descriptors()
    _forget_inherited(sections["companions"])
    _reset()
    if any(word[:5] == b"file:" or os.path.lexists(word) for word in arguments):
        from broker import named

        sections, arguments = named.give(sections, arguments, wanted, walk, say)
    terminal = any(os.isatty(fd) for fd in (0, 1, 2))
    sockets = settings[b"run"] + b"/%d" % os.getpid()
    # First, because it takes the longest: it gets ready while the rest is prepared.
    beside, wait, told = _start_companions(sections, settings, sockets) if sections["companions"] else ([], None, [])
    for path in sections["make"]:
        os.close(walk(path, make=True))
    for at in range(0, len(sections["links"]), 3):
        link(*sections["links"][at : at + 3])
    args = _arguments(sections, settings, sockets)
    if wait:
        wait()
    record = _record(settings, beside[0] if settings[b"proxy"] else 0)
    # Who revokes looks for records after that, and ours is there now: either it is seen, or what was decided is.
    if b"head" in settings and not holds((b"same", settings[b"head file"], settings[b"head"])):
        raise _host_error("decisions-changed", "what it may do was changed while it started")
    options = [*_options(settings, terminal, record), *told]
    command = [*sections["command"], *arguments]
    deaf = terminal and settings[b"signals"] == b"1"
    if deaf:
        command = [b"/usr/bin/env", b"--default-signal=INT,QUIT,HUP,TERM", b"--", *command]
    argv = [b"bwrap", b"--args", b"%d" % _memory(b"\0".join([*options, *args, b""])), b"--", *command]

    def start() -> None:
        if deaf:  # bubblewrap would die of these before the app could handle them (ADR 3)
            for number in (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGHUP, _signal.SIGTERM):
                _signal.signal(number, _signal.SIG_IGN)
        _restrict(settings)
        os.execve(settings[b"bwrap"], argv, {})

    if not terminal:
        start()
    from broker import relay

    return relay.stay(start)


def _options(settings: Settings, terminal: bool, record: int) -> "list[bytes]":
    """What the plan cannot know: the descriptors, the terminal, whether a bus started it, whose child soon ends."""
    ends = terminal or (settings[b"terminal"] == b"1" and b"DBUS_STARTER_ADDRESS" not in os.environb)
    bound = [b"--die-with-parent"] if ends else []
    return [b"--json-status-fd", b"%d" % record, *bound, *([] if terminal else [b"--new-session"])]


def check_descriptors() -> None:
    """Refuse standard descriptors through which the app could reach the host (SPEC §9.5). Raises HostError."""
    for fd in (0, 1, 2):
        try:
            info = os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)  # the lowest free number is this one
            os.set_inheritable(fd, True)
            continue
        what = _FORMATS.get(info.st_mode & 0o170000, "kernel object")
        harmless = what in ("file", "pipe") or (what == "device" and (os.isatty(fd) or info.st_rdev in _MEMORY_DEVICES))
        if not harmless and not (what == "socket" and _is_local(fd)):
            name = ("standard input", "standard output", "standard error")[fd]
            raise _host_error("unsafe-descriptor", f"{name} is a {what} that would lead out of the sandbox")


def _is_local(fd: int) -> bool:
    import _socket

    return bool(_socket.socket(fileno=os.dup(fd)).family == _socket.AF_UNIX)


def _forget_inherited(companions: "tuple[bytes, ...]") -> None:
    """Close what the caller left open, but what systemd passed for a companion: bubblewrap would give it to the app."""
    kept: Collection[int] = ()
    if b"LISTEN_PID" in os.environb:
        from broker.network import listeners

        kept = listeners.wanted(companions)
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in kept:
            os.closerange(fd, fd + 1)  # without an error where it is the one that listed the directory


def _reset() -> None:
    """The signals and capabilities a program expects; Python ignores SIGPIPE and SIGXFSZ, and exec would keep that."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    with open("/proc/self/status", "rb") as status:
        ambient = next((line for line in status if line.startswith(b"CapAmb:")), b"")
    if int(ambient[7:] or b"0", 16):
        _prctl(47, 4)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL


def walk(path: bytes, *, make: bool = False) -> int:
    """An O_PATH descriptor of an absolute path, opened component by component without following a link."""
    handle = os.open(b"/", _DIRECTORY)
    parts = path.strip(b"/").split(b"/")
    for at, part in enumerate(parts):
        flags = _OBJECT if at == len(parts) - 1 and not make else _DIRECTORY
        try:
            try:
                found = os.open(part, flags, dir_fd=handle)
            except FileNotFoundError:
                if not make:
                    raise
                os.mkdir(part, 0o700, dir_fd=handle)
                found = os.open(part, flags, dir_fd=handle)
        except OSError as error:
            raise _unwalkable(path, error) from error
        finally:
            os.close(handle)
        handle = found
    return handle


def _unwalkable(path: bytes, error: OSError) -> Exception:
    shown = path.decode("utf-8", "backslashreplace")
    if isinstance(error, FileNotFoundError):
        return _host_error("place-missing", f"`{shown}` does not exist any more")
    return _host_error("path-changed", f"`{shown}` is not what it was, or cannot be opened ({error.strerror})")


def _bind(path: bytes) -> int:
    handle = walk(path)
    if os.fstat(handle).st_mode & 0o170000 == 0o120000:
        raise _host_error("path-changed", f"`{path.decode('utf-8', 'backslashreplace')}` has become a link")
    os.set_inheritable(handle, True)
    return handle


def link(directory: bytes, below: bytes, target: bytes) -> None:
    """Lead from the app's own directory to a grant that is mounted elsewhere. What the app put there itself stays."""
    *above, name = below.split(b"/")
    handle = walk(directory)
    try:
        for part in above:
            try:
                os.mkdir(part, 0o700, dir_fd=handle)
            except FileExistsError:
                pass
            found = os.open(part, _DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = found
        os.symlink(target, name, dir_fd=handle)
    except OSError:
        return  # something of the app's own is in the way: it misses the link, nothing else
    finally:
        os.close(handle)


def _memory(content: bytes) -> int:
    """A sealed anonymous file that the next program inherits."""
    handle = os.memfd_create("intents", os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]
    os.lseek(handle, 0, os.SEEK_SET)
    fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    os.set_inheritable(handle, True)
    return handle


def _arguments(sections: Sections, settings: Settings, sockets: bytes) -> "list[bytes]":
    """bubblewrap's arguments with descriptors in place of tags; ``sockets``: the directory of this launch's."""
    sources = sections["binds"][::2]

    def value(arg: bytes) -> bytes:
        tag, rest = arg[:1], arg[1:]
        if tag == b"=":
            return rest
        if tag == b"b":
            return b"%d" % _bind(sources[int(rest)])
        if tag == b"f":
            return b"%d" % _memory(sections["files"][int(rest)])
        if tag == b"c":
            return b"%d" % _memory(bytes.fromhex(settings[b"seccomp"].decode()))
        if tag == b"d":
            return _directory(shown, rest)
        return sockets + b"/" + rest

    tagged = sections["args"]
    shown = [(sources[int(arg[1:])], tagged[at + 1][1:]) for at, arg in enumerate(tagged) if arg[:1] == b"b"]
    passed = [(b"--setenv", name, os.environb[name]) for name in sections["passed"] if name in os.environb]
    return [*map(value, tagged), *(word for words in passed for word in words)]


def _directory(shown: "list[tuple[bytes, bytes]]", home: bytes) -> bytes:
    """Where the app finds the caller's working directory, or its home where it does not; ``shown``: (source, place)."""
    try:
        here = os.getcwdb()
    except OSError:  # it was removed
        return home
    for source, dest in shown:
        covered = (home + b"/").startswith(source + b"/") and (here + b"/").startswith(home + b"/")
        if (here + b"/").startswith(source + b"/") and not covered:
            return dest + here[len(source) :]
    return home


def _start_companions(
    sections: Sections, settings: Settings, directory: bytes
) -> "tuple[list[int], Callable[[], None], list[bytes]]":
    """Start what lives beside the sandbox: its pids, what waits until all are ready, bubblewrap's options about it."""
    from broker import companions

    os.close(walk(directory, make=True))
    companions.empty(directory)
    told = -1
    if settings[b"identity"]:
        from broker import identity

        told = identity.make(settings[b"identity"], settings[b"instances"], directory)
    pids, ready, options = companions.start(sections["companions"], directory, _memory, told)
    return pids, lambda: companions.wait(sections["companions"], pids, ready), options


def _record(settings: Settings, proxy: int) -> int:
    """The file that says this instance runs: one line of ours, then what bubblewrap reports (SPEC §10.4).

    proxy: the pid of its xdg-dbus-proxy, or 0: a name on the bus that this process owns is the app's own.
    """
    run = settings[b"run"]
    path = b"%s/%d.json" % (run, os.getpid())
    os.close(walk(run, make=True))
    if os.path.lexists(path):  # of an earlier process with our number
        os.unlink(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_APPEND, 0o600)
    ours = settings[b"app"], settings[b"lineage"], os.fstat(handle).st_mtime, proxy, settings[b"given"]
    os.write(handle, b'{"app": "%s", "lineage": "%s", "at": %d, "proxy": %d}\n{"given": %s}\n' % ours)
    os.set_inheritable(handle, True)
    os.close(walk(os.path.dirname(settings[b"stamp"]), make=True))
    stamp = os.open(settings[b"stamp"], os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.fstat(stamp).st_mtime < ours[2]:  # where the clock was set back, it was used later than now
        os.utime(stamp)
    os.close(stamp)
    return handle


def _restrict(settings: Settings) -> None:
    """Close what the shared network would leave open."""
    scoped, ports = settings[b"scoped"] == b"1", settings[b"ports"]
    if scoped or ports:
        from broker import landlock

        landlock.restrict(scoped, ports, settings[b"held"])


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl refused")


def _host_error(code: str, message: str) -> Exception:
    from intents import errors

    return errors.HostError(code, message)
