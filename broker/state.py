"""Where the broker keeps what it knows (SPEC §8.6), and the primitives that keep it whole: private directories and
files, locks, atomic writes, the session token, the clock.

Takes the environment and the effective user as parameters; touches only the reserved places.
"""

import contextlib
import fcntl
import grp
import math
import os
import pwd
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from intents import errors, model, paths

NAME = "intents"  # the directory of ours below each base directory
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TOKEN = re.compile(rb"[0-9a-f]{32}\n")
_POLL = 0.02  # seconds between two tries for a lock that is not waited for without end


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The reserved places of one user, as absolute paths; ``runtime`` is empty where there is no runtime directory.

    state: ``broker.db``, ``mark``, ``locks/``, ``plans/``, ``stamps/``; data: ``manifests/``, ``apps/``;
    config: aliases and choices; runtime: ``session``, ``run/``. Paths are not resolved: base directories may be links.
    """

    home: str
    state: str
    data: str
    config: str
    runtime: str

    def lock_file(self, purpose: str, key: str) -> str:
        """The file of the lock for ``purpose`` (``ask``, ``state``, ``terminal``) on ``key``: an app's
        ``Vetted.key``, or the device number of a terminal."""
        return f"{self.state}/locks/{purpose}-{key}"


def places(environ: Mapping[str, str], euid: int) -> Places:
    """The reserved places of the user ``euid``; the home comes from the user database, never from HOME.

    An XDG variable counts only when its directory is the user's own and nobody else can write it. Raises HostError
    ``unsafe-account`` when the user has no home of their own.
    """
    if sys.getfilesystemencoding() != "utf-8":  # a plan's names would be others than those that were looked at
        encoding = sys.getfilesystemencoding()
        message = f"this locale has file names in {encoding}, which cannot say all names that there are"
        raise errors.HostError("unsafe-account", message, hint="export LC_ALL=C.UTF-8")
    home = _home(euid)

    def base(variable: str, default: str) -> str:
        value = environ.get(variable, "")
        found = os.path.normpath(value) if private_directory(value, euid) else os.path.join(home, default)
        return os.path.join(found, NAME)  # which is right for `/` as well

    runtime = environ.get("XDG_RUNTIME_DIR", "")
    runtime_usable = os.path.isdir(runtime) and private_directory(runtime, euid)
    return Places(
        home=home,
        state=base("XDG_STATE_HOME", ".local/state"),
        data=base("XDG_DATA_HOME", ".local/share"),
        config=base("XDG_CONFIG_HOME", ".config"),
        runtime=f"{os.path.normpath(runtime)}/{NAME}" if runtime_usable else "",
    )


def _home(euid: int) -> str:
    def refuse(why: str, hint: str = "") -> errors.HostError:
        return errors.HostError("unsafe-account", why, hint=hint)

    try:
        home = os.path.normpath(pwd.getpwuid(euid).pw_dir)
    except KeyError as error:
        raise refuse(f"user {euid} is not in the user database", "Log in as a user that the system knows.") from error
    shown = paths.printable(home)
    try:
        info = os.stat(home)
    except OSError as error:
        raise refuse(f"the home directory `{shown}` cannot be used: {error.strerror}") from error
    if home == "/":
        raise refuse("the home directory is `/`, which would have to be hidden and shown at once")
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != euid:
        raise refuse(f"the home directory `{shown}` belongs to user {info.st_uid}, not to user {euid}")
    if info.st_mode & stat.S_IWOTH:
        raise refuse(f"everybody can write to the home directory `{shown}`", f"chmod o-w {shown}")
    return home


def private_directory(path: str, euid: int) -> bool:
    """Whether ``path`` is an absolute path to a directory of ``euid`` that nobody else can write.

    One that does not exist yet is judged by its nearest ancestor that does, because it would be made there.
    """
    if not os.path.isabs(path):
        return False
    while True:
        try:
            info = os.stat(path)
        except FileNotFoundError:
            path = os.path.dirname(path.rstrip("/")) or "/"
        except OSError:
            return False
        else:
            return stat.S_ISDIR(info.st_mode) and info.st_uid == euid and not others_write(info)


def ensure(reserved: Places) -> None:
    """Create every reserved place with mode 0700, and hold the existing ones to it.

    Raises HostError ``unsafe-place`` for a link, a foreign owner or a place that others can write, and
    ``unwritable-place`` when one cannot be made.
    """
    tree = [
        (reserved.state, ("locks", "plans", "stamps")),
        (reserved.data, ("manifests", "apps")),
        (reserved.config, ()),
        (reserved.runtime, ("run",)),
    ]
    for base, children in tree:
        if base:
            own_directory(base)
            for child in children:
                own_directory(f"{base}/{child}")


def own_directory(path: str) -> None:
    """Make ``path`` exist as a directory of the effective user with mode 0700. Raises as ``ensure`` does."""
    shown = paths.printable(path)
    try:
        _make(path)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except NotADirectoryError as error:  # what O_DIRECTORY with O_NOFOLLOW says of a link, too (open(2))
        raise _unsafe(path, "is not a directory, or is a link") from error
    except OSError as error:
        raise errors.HostError("unwritable-place", f"`{shown}` cannot be made: {error.strerror}") from error
    try:
        info = os.fstat(handle)
        if why := unsafe(info, forbidden=_OTHERS_WRITE if others_write(info) else 0):
            raise _unsafe(path, why)
        if info.st_mode & _OTHERS:
            os.fchmod(handle, 0o700)
    except OSError as error:
        raise errors.HostError("unwritable-place", f"`{shown}` cannot be looked at: {error.strerror}") from error
    finally:
        _let_go(handle)


def _make(path: str) -> None:
    with contextlib.suppress(FileExistsError):  # also between the two tries: others begin at the same time
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            _make(os.path.dirname(path))
            os.mkdir(path, 0o700)


def roots() -> set[int]:
    """Who counts as root. Where a user namespace has no uid 0, root's files are shown as nobody's (user_namespaces(7)),
    and nothing in it can be changed by their owner."""
    with open("/proc/self/uid_map", encoding="ascii") as rows:
        mapped = any(row.split()[0] == "0" for row in rows)
    if mapped:
        return {0}
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return {0, int(file.read())}


def others_write(info: os.stat_result) -> bool:
    """Whether somebody besides its owner can write an object.

    A group of the user's own name that nobody else was put into is the user alone: where every user has one, files
    are made writable for it (useradd(8), pam_umask(8)).
    """
    if not info.st_mode & stat.S_IWGRP:
        return bool(info.st_mode & stat.S_IWOTH)
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(info.st_gid)
    except KeyError:
        return True
    own = (user.pw_gid, user.pw_name) == (group.gr_gid, group.gr_name) and not {*group.gr_mem} - {user.pw_name}
    return not own or bool(info.st_mode & stat.S_IWOTH)


def unsafe(info: os.stat_result, *, forbidden: int = _OTHERS) -> str:
    """Why a file or directory is not the effective user's alone, or empty. ``forbidden``: mode bits it may not have."""
    if info.st_uid != os.geteuid():
        return f"belongs to user {info.st_uid}"
    if info.st_mode & forbidden:
        return f"has mode {stat.S_IMODE(info.st_mode):04o}"
    return ""


def _unsafe(path: str, why: str) -> errors.HostError:
    return errors.HostError("unsafe-place", f"`{paths.printable(path)}` {why}")


def read_private(path: str, limit: int) -> bytes | None:
    """Up to ``limit`` bytes of a file that is the user's alone, or None when there is none.

    Raises HostError ``unsafe-place`` for a link, anything but a regular file, a foreign owner, or access for others.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unsafe(path, f"cannot be read: {error.strerror}") from error
    try:
        info = os.fstat(handle)
        if why := unsafe(info) or ("" if stat.S_ISREG(info.st_mode) else "is not a file"):
            raise _unsafe(path, why)
        return os.read(handle, limit)
    finally:
        os.close(handle)


def stage(path: str, data: bytes) -> str:
    """Write ``data`` durably beside ``path`` and return the name to rename into place. Raises OSError.

    Whoever stages for one path at the same time as others holds a lock: the name beside it is always the same, so that
    a crash leaves at most one file behind.
    """
    beside = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return beside


def put(beside: str, path: str) -> None:
    """Rename a staged file into place and make the renaming durable. Raises OSError."""
    os.replace(beside, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_atomic(path: str, data: bytes) -> None:
    """Replace the file ``path`` (mode 0600) by ``data``: after a crash it is the old one or the new one, whole.

    Concurrent writers of one path hold a lock. Raises OSError.
    """
    put(stage(path, data), path)


@contextlib.contextmanager
def lock(path: str, *, wait: bool = True, limit: float = math.inf) -> Iterator[None]:
    """Hold the lock file ``path`` for the block; it is released with the process, however that ends (flock(2)).

    wait: whether to wait at all; limit: for how many seconds. Raises JournalError ``journal-busy`` when somebody else
    keeps it, ``journal-unwritable`` or ``journal-unsafe`` when it cannot be held. A child that is forked inside the
    block keeps the lock, too.
    """
    shown = paths.printable(path)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise errors.JournalError(
            "journal-unwritable", f"the lock `{shown}` cannot be opened: {error.strerror}"
        ) from error
    try:
        try:
            why = unsafe(os.fstat(handle))
            held = not why and _acquire(handle, limit if wait else 0)
        except OSError as error:
            message = f"the lock `{shown}` cannot be held: {error.strerror}"
            raise errors.JournalError("journal-unwritable", message) from error
        if why:
            raise errors.JournalError("journal-unsafe", f"the lock `{shown}` {why}")
        if not held:
            raise errors.JournalError("journal-busy", f"another program holds `{shown}`")
        yield
    finally:
        _let_go(handle)


def _let_go(handle: int) -> None:
    """Close a descriptor that nothing was written to: whatever the system says, it is closed, and nothing is lost."""
    with contextlib.suppress(OSError):
        os.close(handle)


def _acquire(handle: int, limit: float) -> bool:
    if limit == math.inf:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    deadline = time.monotonic() + limit
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        else:
            return True


def session_token(reserved: Places, create: bool) -> str:
    """The random name of this login session (32 hex digits), the same for every caller; empty where there is none.

    The runtime directory ends with the session and the token with it; device and inode numbers would come back.
    Raises HostError ``unsafe-place`` when the file is not ours or damaged, ``unwritable-place`` when none can be made.
    """
    if not reserved.runtime:
        return ""
    path = f"{reserved.runtime}/session"
    found = read_private(path, 64)
    if found is None and create:
        _make_token(reserved.runtime, path)
        found = read_private(path, 64)
    if found is None:
        return ""
    if not _TOKEN.fullmatch(found):
        raise _unsafe(path, "is damaged")
    return found[:-1].decode("ascii")


def _make_token(directory: str, path: str) -> None:
    token = secrets.token_hex(16)
    beside = f"{path}.{token}"
    own_directory(directory)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(token.encode("ascii") + b"\n")
        # The link appears with its content and only once: of many that begin at the same time, one gives the name.
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    except OSError as error:
        raise errors.HostError(
            "unwritable-place", f"`{paths.printable(path)}` cannot be made: {error.strerror}"
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)


def clock(reserved: Places) -> model.Clock:
    """This moment, with the token of this session; the token is made where it is missing. Raises as it does."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    return model.Clock(
        wall=int(time.time()),
        boottime=int(time.clock_gettime(time.CLOCK_BOOTTIME)),
        boot_id=boot_id,
        session=session_token(reserved, create=True),
    )
