"""The companion that shows an app's X11 windows: a nested X server in a sandbox of its own, and its window manager.

The server sees its code, the socket of the display it draws on, and nothing else of the host. The app reaches it by the
socket ``x11`` in the directory of this launch, and nobody else does; that is why the server asks for no authority.
"""

import os
import select
import signal
import socket
import struct
import time

from broker.companions import x11_windows

PATIENCE = 10.0  # seconds for the server's first answer
_WAITING = 64  # connections that the kernel keeps until the server takes them
# /usr and the links into it are all that a server needs of the host: its libraries, xkbcomp, keyboards, fonts.
_SANDBOX = (
    *(b"--unshare-all", b"--unshare-user", b"--disable-userns", b"--cap-drop", b"ALL", b"--die-with-parent"),
    *(b"--new-session", b"--ro-bind", b"/usr", b"/usr", b"--ro-bind-try", b"/etc/X11/xkb", b"/etc/X11/xkb"),
    *(b"--proc", b"/proc", b"--dev", b"/dev", b"--tmpfs", b"/tmp", b"--dir", b"/run/upstream"),
    *(b"--setenv", b"PATH", b"/usr/bin", b"--setenv", b"HOME", b"/tmp"),
    *(b"--setenv", b"XDG_RUNTIME_DIR", b"/run/upstream"),
)
_LINKS = (b"/bin", b"/lib", b"/lib32", b"/lib64", b"/sbin")


def main(arguments: list[bytes], directory: bytes, ready: int) -> int:
    """Serve one display until the sandbox or the server ends.

    arguments: bubblewrap; the server (Xwayland or Xephyr); the socket it draws on; the display's number; its authority
    file or empty; the system call filter in hexadecimal. Returns the exit status.
    """
    bwrap, server, upstream, number, authority, filter_hex = arguments
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if not _appears(upstream):
        return 1
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.fsdecode(directory + b"/x11"))
    listening.listen(_WAITING)
    pid = _start([bwrap, *_words(server, upstream, number, authority)], listening, bytes.fromhex(filter_hex.decode()))
    listening.close()
    os.set_inheritable(ready, False)
    try:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(os.fsdecode(directory + b"/x11"))
        manager = x11_windows.WindowManager(stream)
        os.write(ready, b".")
        _serve(manager, stream, ready)
    except (EOFError, OSError, struct.error):
        return 1
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    return 0


def _words(server: bytes, upstream: bytes, number: bytes, authority: bytes) -> list[bytes]:
    """What bubblewrap is told, the server's own command line included; descriptor 3 listens, 4 is the filter."""
    links = [word for at in _LINKS for word in _system(at)]
    words = [*_SANDBOX, *links, b"--seccomp", b"4"]
    if server.endswith(b"/Xwayland"):
        words += [b"--ro-bind", upstream, b"/run/upstream/wayland-0", b"--setenv", b"WAYLAND_DISPLAY", b"wayland-0"]
        own = [b"-listenfd", b"3"]
    else:  # Xephyr listens where systemd(1) would: sd_listen_fds(3), as the sandbox's second process
        words += [b"--ro-bind", upstream, b"/tmp/.X11-unix/X0", b"--setenv", b"DISPLAY", b":0"]
        words += [b"--ro-bind", authority, b"/run/upstream/authority"] if authority else []
        words += [b"--setenv", b"XAUTHORITY", b"/run/upstream/authority"] if authority else []
        words += [b"--setenv", b"LISTEN_PID", b"2", b"--setenv", b"LISTEN_FDS", b"1"]
        own = [b"-resizeable", b"-screen", b"1024x768"]
    return [*words, b"--", server, b":" + number, *own, b"-ac", b"-noreset", b"-nolisten", b"tcp"]


def _system(place: bytes) -> list[bytes]:
    """The arguments that show one of the directories beside /usr as it is here."""
    if os.path.islink(place):
        return [b"--symlink", os.readlink(place), place]
    return [b"--ro-bind", place, place] if os.path.isdir(place) else []


def _start(words: list[bytes], listening: socket.socket, verdicts: bytes) -> int:
    handle = os.memfd_create("filter")
    os.write(handle, verdicts)
    os.lseek(handle, 0, os.SEEK_SET)
    given = [(os.POSIX_SPAWN_DUP2, os.dup(fd), at) for fd, at in ((listening.fileno(), 3), (handle, 4))]
    return os.posix_spawn(words[0], words, {}, file_actions=given, setsid=True)


def _serve(manager: x11_windows.WindowManager, stream: socket.socket, ready: int) -> None:
    """Manage windows until nobody reads the ready pipe any more: then the sandbox is over."""
    waiting = select.poll()
    waiting.register(ready, 0)
    waiting.register(stream, select.POLLIN)
    while not any(handle == ready for handle, _ in waiting.poll()):
        manager.turn()


def _appears(path: bytes) -> bool:
    """Whether the display to draw on is there; another companion may be about to make it."""
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
