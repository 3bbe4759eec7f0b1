"""Unix sockets at a path of the host's, for an app that may be reached there (SPEC §10.6).

Nobody but the user and root may be able to put another socket in its place, and no other's socket is taken away.
"""

import _socket
import fcntl
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STREAM = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
_SOCKET, _FORMAT = 0o140000, 0o170000
_STICKY, _SET_GROUP = 0o1000, 0o2000
BACKLOG = 1024


class Unsafe(Exception):
    """A directory that is not safe to make a socket in; the text says why."""


class Taken(Exception):
    """Something is there; the text says what."""


class Directory:
    """The directory of a socket's path, held open and locked; made, for the user alone, where only it is missing."""

    __slots__ = ("_handle", "_name")

    def __init__(self, path: bytes) -> None:
        """path: absolute. Nobody else may rename or replace anything on the way, and no link is followed.

        Raises Unsafe or OSError.
        """
        *above, self._name = path.strip(b"/").split(b"/")
        self._handle = os.open("/", _DIRECTORY)
        try:
            for at, part in enumerate(above):
                self._check(ancestor=True)
                if at == len(above) - 1:
                    self._make(part)
                found = os.open(part, _DIRECTORY, dir_fd=self._handle)
                os.close(self._handle)
                self._handle = found
            self._check(ancestor=False)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        except NotADirectoryError:
            os.close(self._handle)
            raise Unsafe(f"`{os.fsdecode(part)}` is no directory, or a link, which is not followed") from None
        except BaseException:
            os.close(self._handle)
            raise

    def _make(self, part: bytes) -> None:
        try:
            os.mkdir(part, 0o700, dir_fd=self._handle)
        except OSError:  # it is there, or opening it will say why it is not
            return

    def _check(self, *, ancestor: bool) -> None:
        """Whether others cannot change what is in it; in an ancestor they may have entries of their own."""
        info = os.fstat(self._handle)
        open_to = 0o002 if ancestor else 0o022
        if info.st_uid not in (0, os.geteuid()):
            raise Unsafe(f"a directory on the way belongs to user {info.st_uid}")
        if info.st_mode & open_to and not (ancestor and info.st_mode & _STICKY):
            raise Unsafe("others can write in its directory" if not ancestor else "others can write on the way to it")

    def __enter__(self) -> "Directory":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def _path(self) -> bytes:
        """A path that leads through the open directory, and is short enough for an address."""
        return b"/proc/self/fd/%d/%s" % (self._handle, self._name)

    def node(self) -> "tuple[int, int] | None":
        """What is there under the name, as device and inode."""
        try:
            info = os.lstat(self._name, dir_fd=self._handle)
        except FileNotFoundError:
            return None
        return info.st_dev, info.st_ino

    def listen(self) -> _socket.socket:
        """Listen there. In a directory whose new files get its group, that group can connect; else the user alone.

        A socket of ours where nobody listens any more is removed first. Raises Taken or OSError.
        """
        if self.node():
            self._clear()
        made = _socket.socket(_socket.AF_UNIX, _STREAM)
        shared = os.fstat(self._handle).st_mode & _SET_GROUP
        mask = os.umask(0o117 if shared else 0o177)
        try:
            made.bind(self._path())
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
        finally:
            os.umask(mask)
        return made

    def _clear(self) -> None:
        info = os.lstat(self._name, dir_fd=self._handle)
        if info.st_mode & _FORMAT != _SOCKET:
            raise Taken("is taken by something that is no socket")
        if info.st_uid != os.geteuid():
            raise Taken(f"is taken by a socket of user {info.st_uid}")
        asking = _socket.socket(_socket.AF_UNIX, _STREAM)
        try:
            asking.connect(self._path())
        except ConnectionRefusedError:
            os.unlink(self._name, dir_fd=self._handle)
            return
        except BlockingIOError:  # somebody listens, and is busy
            pass
        finally:
            asking.close()
        raise Taken("is taken by a program that answers there")

    def remove(self, node: "tuple[int, int] | None") -> None:
        """Remove the socket, if it is still that one."""
        if node and self.node() == node:
            os.unlink(self._name, dir_fd=self._handle)
