"""The mounts of a running sandbox, changed from outside without privileges (SPEC §11.7).

A sandbox's mounts belong to the user namespace that bubblewrap made first, and that belongs to this user: a forked
child may enter both (setns(2), ioctl_ns(2)). It executes nothing there, imports nothing, and goes by descriptors: what
it opened it compares with what it was told, so that an app that moves or plants things meanwhile is noticed.
"""

import array
import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from broker import mounts, runs
from intents import paths

# Numbers that are the same on x86-64 and arm64 (asm-generic/unistd.h).
_OPEN_TREE, _MOVE_MOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 437, 442
_CLONE, _RECURSIVE, _EMPTY = 1, 0x8000, 0x1000  # OPEN_TREE_CLONE, AT_RECURSIVE, AT_EMPTY_PATH
_BOTH_EMPTY = 0x44  # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
READ_ONLY, _NOSUID, _NODEV = 1, 2, 4  # MOUNT_ATTR_*: mount_setattr(2)
RESOLVE = 0x10 | 4 | 2  # RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, RESOLVE_NO_MAGICLINKS: openat2(2)
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x20000  # CLONE_NEWUSER, CLONE_NEWNS: setns(2)
_DETACH, _NOFOLLOW = 2, 8  # MNT_DETACH, UMOUNT_NOFOLLOW: umount2(2)
_GET_USERNS = 0xB701  # NS_GET_USERNS: ioctl_ns(2)
_NOT_DUMPABLE, _PARENT_DEATH = (4, 0), (1, signal.SIGKILL)  # prctl(2)
_MASK = 7  # MS_RDONLY | MS_NOSUID | MS_NODEV: mount(2)
_OBJECT = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _OBJECT | os.O_DIRECTORY
_LIBC = ctypes.CDLL(None, use_errno=True)
MOVED = errno.ESTALE  # what was opened is not what was meant: the app changed something meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """The way into one sandbox. user, space: its namespaces; process: /proc of its first process, whose number cannot
    become another's while this is open."""

    user: int
    space: int
    process: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An object of the host to be shown: write: not only to be read; device: usable as one; masks: what stays hidden
    below it."""

    path: str
    write: bool
    device: bool = False
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Detach the mount of this number at ``point``, and what is mounted below it. holder: the sandbox's own file system
    in which it stands, whose entry for it is removed; None where it stands elsewhere."""

    mount: int
    point: str
    holder: mounts.Mount | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrow:
    """Make the mount of this number at ``point`` one that can only be read, with what is mounted below it."""

    mount: int
    point: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Give:
    """Put a tree of ``trees`` at ``dest``, in the sandbox's own file system ``holder``."""

    tree: int
    dest: str
    holder: mounts.Mount


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Make a symbolic link in the sandbox's own file system ``holder``."""

    dest: str
    target: str
    holder: mounts.Mount


Step = Take | Narrow | Give | Link


@contextlib.contextmanager
def door(instance: runs.Instance) -> Iterator[Door]:
    """Open the way into a running instance. Raises OSError: it ended, or the kernel keeps the door shut."""
    with contextlib.ExitStack() as held:

        def keep(handle: int) -> int:
            held.callback(os.close, handle)
            return handle

        process = keep(os.open(f"/proc/{instance.first}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name, inode in instance.namespaces:
            if os.stat(f"ns/{name}", dir_fd=process).st_ino != inode:
                raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        space = keep(os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process))
        if os.fstat(space).st_ino != dict(instance.namespaces)["mnt"]:
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        yield Door(user=keep(fcntl.ioctl(space, _GET_USERNS)), space=space, process=process)


def table(way: Door) -> tuple[mounts.Mount, ...]:
    """What is mounted in the sandbox now, in the order of its making. Raises OSError."""
    handle = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=way.process)
    return mounts.read(handle)


def trees(sources: Sequence[Source]) -> list[int | OSError]:
    """A detached mount of each object, as a launch would mount it, to be closed; or why there is none.

    Made in namespaces of a child's own, in which nothing else ever is; no link is followed.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, _child(lambda: _send_trees(sources, theirs)):
        theirs.close()
        return [_received(ours) for _ in sources]


def change(way: Door, steps: Sequence[Step]) -> list[OSError | None]:
    """Take these steps in the sandbox, each whether or not one before it failed; for each None, or why not."""
    ours, theirs = os.pipe()
    try:
        with _child(lambda: _enter(way, steps, theirs)):
            os.close(theirs)
            told = b""
            while piece := os.read(ours, 1 << 16):
                told += piece
    finally:
        os.close(ours)
    codes = [int(code) for code in told.split()]
    codes += [errno.ECANCELED] * (len(steps) - len(codes))
    return [_error(code) if code else None for code in codes]


@contextlib.contextmanager
def _child(work: Callable[[], None]) -> Iterator[None]:
    """Run ``work`` in a forked child, which has one thread whatever this process has, and wait for its end."""
    pid = os.fork()
    if pid == 0:
        try:
            sys.meta_path.clear()  # from here on nothing may be loaded: the files may be another's
            _LIBC.prctl(*_PARENT_DEATH, 0, 0, 0)
            work()
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.waitpid(pid, 0)


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _checked(result: int) -> int:
    if result < 0:
        raise _error(ctypes.get_errno())
    return result


def _call(number: int, *arguments: int | bytes | None) -> int:
    # Each is passed as wide as the kernel reads it; a Python int alone would be passed as a C int.
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_LIBC.syscall(ctypes.c_long(number), *wide))


def _open(root: int, path: str, flags: int = _OBJECT) -> int:
    """An object by its path from ``root``, through no link."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, RESOLVE)
    return _call(_OPENAT2, root, os.fsencode(path), how, len(how))


def _set(handle: int, flags: int, on: int, off: int = 0) -> None:
    """Change attributes of a mount by a descriptor of its root."""
    attributes = struct.pack("=QQQQ", on, off, 0, 0)
    _call(_MOUNT_SETATTR, handle, b"", flags | _EMPTY, attributes, len(attributes))


def _send_trees(sources: Sequence[Source], out: socket.socket) -> None:
    """In the child: one message for each source, an error number and, if that is 0, a descriptor."""
    user, group = os.geteuid(), os.getegid()
    failed = 0
    try:
        _checked(_LIBC.unshare(_NEW_USER | _NEW_MOUNTS))
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            handle = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(handle, line.encode())
            os.close(handle)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        failed = error.errno or errno.EIO
    for source in sources:
        try:
            if failed:
                raise _error(failed)
            tree = _tree(root, source)
        except OSError as error:
            out.sendmsg([b"%d" % (error.errno or errno.EIO)])
            continue
        out.sendmsg([b"0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [tree]))])
        os.close(tree)


def _tree(root: int, source: Source) -> int:
    """What a launch would mount: bubblewrap's ``--bind`` and ``--ro-bind`` set these attributes, all the way down."""
    for mask in source.masks:
        os.fchdir(_open(root, mask, _DIRECTORY))
        _checked(_LIBC.mount(b"tmpfs", b".", b"tmpfs", _MASK, b"mode=0"))
    handle = _open(root, source.path)
    tree = _call(_OPEN_TREE, handle, b"", _CLONE | _RECURSIVE | _EMPTY | os.O_CLOEXEC)
    os.close(handle)
    _set(tree, _RECURSIVE, _NOSUID | (0 if source.device else _NODEV) | (0 if source.write else READ_ONLY))
    return tree


def _received(ours: socket.socket) -> int | OSError:
    message, rights, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    if not rights:
        return _error(int(message or errno.ECANCELED))
    return int(array.array("i", rights[0][2])[0])


def _enter(way: Door, steps: Sequence[Step], out: int) -> None:
    """In the child: enter, and write an error number for each step."""
    known = os.open("/proc/self/fdinfo", os.O_PATH | os.O_DIRECTORY)  # ours: inside is another /proc
    _LIBC.prctl(*_NOT_DUMPABLE, 0, 0, 0)
    try:
        _checked(_LIBC.setns(way.user, _NEW_USER))
        _checked(_LIBC.setns(way.space, _NEW_MOUNTS))
        root, failed = os.open("/", os.O_PATH | os.O_DIRECTORY), 0
    except OSError as error:
        root, failed = -1, error.errno or errno.EIO
    for step in steps:
        code = failed
        try:
            if not failed:
                _act(root, known, step)
        except OSError as error:
            code = error.errno or errno.EIO
        os.write(out, b"%d " % code)


def _act(root: int, known: int, step: Step) -> None:
    match step:
        case Take():
            _take(root, known, step)
        case Narrow():
            _set(_mounted(root, known, step.point, step.mount), _RECURSIVE, READ_ONLY)
        case Give():
            _give(root, known, step)
        case Link():
            above, name = _above(_within(root, known, step.holder), step.holder, step.dest)
            os.symlink(step.target, name, dir_fd=above)


def _number(known: int, handle: int) -> int:
    """The number of the mount that a descriptor leads into (proc_pid_fdinfo(5))."""
    file = os.open(b"%d" % handle, os.O_RDONLY, dir_fd=known)
    fields = dict(line.split(b":", 1) for line in os.read(file, 4096).splitlines() if b":" in line)
    os.close(file)
    return int(fields[b"mnt_id"])


def _mounted(root: int, known: int, point: str, number: int) -> int:
    """The root of one mount. Raises OSError ``MOVED`` where another stands at its point."""
    handle = _open(root, point)
    if _number(known, handle) != number:
        raise _error(MOVED)
    return handle


def _take(root: int, known: int, step: Take) -> None:
    above, name = _place(root, step.point)
    if _number(known, os.open(name, _OBJECT, dir_fd=above)) != step.mount:
        raise _error(MOVED)
    _detach(above, name)
    if not step.holder:
        return
    above, name = _above(_within(root, known, step.holder), step.holder, step.point, make=False)
    try:
        os.rmdir(name, dir_fd=above)
    except NotADirectoryError:
        if os.stat(name, dir_fd=above, follow_symlinks=False).st_size == 0:
            os.unlink(name, dir_fd=above)
    except OSError:
        return  # something of the app's own is there: it is in memory, and stays


def _place(root: int, path: str) -> tuple[int, bytes]:
    """The directory that ``path`` is in, and its name there: nobody inside can give a mount point another name."""
    above, _, name = path.rpartition("/")
    return _open(root, above or "/", _DIRECTORY), os.fsencode(name)


def _detach(above: int, name: bytes) -> None:
    os.fchdir(above)
    _checked(_LIBC.umount2(name, _DETACH | _NOFOLLOW))


def _within(root: int, known: int, holder: mounts.Mount) -> int:
    """One of the sandbox's own file systems without what is mounted on it, to be changed here alone: what the app sees
    of it stays read-only if it is."""
    handle = _mounted(root, known, holder.point, holder.number)
    inner = _call(_OPEN_TREE, handle, b"", _CLONE | _EMPTY | os.O_CLOEXEC)
    _set(inner, 0, 0, READ_ONLY)
    return inner


def _above(inner: int, holder: mounts.Mount, path: str, *, make: bool = True) -> tuple[int, bytes]:
    """The directory of the file system in which ``path`` is the name that is returned, too; no link is followed."""
    *above, name = os.fsencode(path[len(holder.point.rstrip("/")) + 1 :]).split(b"/")
    for part in above:
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=inner)
        inner = os.open(part, _DIRECTORY, dir_fd=inner)
    return inner, name


def _give(root: int, known: int, step: Give) -> None:
    inner, name = _above(_within(root, known, step.holder), step.holder, step.dest)
    with contextlib.suppress(FileExistsError):
        if os.fstat(step.tree).st_mode & 0o170000 == 0o040000:
            os.mkdir(name, 0o755, dir_fd=inner)
        else:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=inner))
    above, _ = _place(root, step.dest)
    meant, spot = (os.open(name, _OBJECT, dir_fd=directory) for directory in (inner, above))
    if _number(known, spot) != step.holder.number or not os.path.sameopenfile(meant, spot):
        raise _error(MOVED)
    _call(_MOVE_MOUNT, step.tree, b"", spot, b"", _BOTH_EMPTY)
    try:
        _mounted(root, known, step.dest, _number(known, step.tree))
    except OSError:
        _detach(above, name)  # the app moved the place: there it must not stay
        raise


def made(mount: mounts.Mount, host: Sequence[mounts.Mount]) -> bool:
    """Whether a sandbox's mount is a file system of its own, in memory and not of the host; files that bubblewrap made
    are parts of one. Its root is a directory of such a one."""
    whole = mount.root == "/" or mount.point == "/"
    return mount.kind == "tmpfs" and whole and mount.device not in {each.device for each in host}


def holder(table: Sequence[mounts.Mount], path: str) -> mounts.Mount:
    """The mount in which ``path`` stands, not counting what is mounted at it; the last of several at one point."""
    over = [mount for mount in table if mount.point != path and paths.inside(path, mount.point)]
    return max(enumerate(over), key=lambda pair: (len(pair[1].point), pair[0]))[1]
