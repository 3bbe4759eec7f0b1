"""A world in which every permission leads somewhere: services that answer, devices, a furnished home, two buses.

``stage`` gives a command line before which a program finds stand-ins of devices that such a machine may lack.
"""

import contextlib
import os
import pathlib
import pwd
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from intents.base import PASSED
from tests.oracle import access
from tests.real import peers, world

APP = "org.example.App"
KEY = f"{APP}-0123456789abcdef"  # the app's own directories are called so
LAUNCH = "/sockets-of-this-launch"  # where companions of ours make theirs, in a plan that nobody executes
SECRET, VALUE = "AWS_SECRET_ACCESS_KEY", "nobody may see this"
DIRECTORIES = (
    "Desktop", "Documents", "Downloads", "Music", "Pictures", "Public", "Templates", "Videos", "Documents/sub",
    "Projects/deep/down", ".ssh", ".gnupg", ".mozilla", ".cache/foo", ".config/foo", ".config/autostart",
    ".config/fontconfig", ".local/share/foo", ".local/share/applications", ".local/bin", ".var/app/org.other.App",
    "real", ".config/gtk-3.0", ".local/share/flatpak", ".local/state/foo", ".themes", ".steam", ".fonts", ".icons",
    ".local/share/fonts", ".local/share/icons", ".local/share/themes", ".terminfo",
)  # fmt: skip
FILES = (
    ".ssh/id_ed25519", ".bashrc", ".profile", ".config/kdeglobals", "secret.txt", "Documents/letter.txt",
    ".config/gtk-3.0/settings.ini", ".config/gtk-3.0/bookmarks",
)  # fmt: skip
LINKS = {"link": "real", "etc-link": "/etc", ".config/linked": "../real"}
USER_DIRS = "".join(
    f'XDG_{name}_DIR="$HOME/{where}"\n'
    for name, where in {
        "DESKTOP": "Desktop", "DOCUMENTS": "Documents", "DOWNLOAD": "Downloads", "MUSIC": "", "PICTURES": "Pictures",
        "PUBLICSHARE": "Public", "TEMPLATES": "Templates",
    }.items()  # videos: nothing is said of them; music: there is no such directory
)  # fmt: skip
NODES = (
    "dri/card0", "dri/renderD128", "nvidia0", "nvidiactl", "nvidia-modeset", "nvidia-uvm", "kfd", "udmabuf", "mali0",
    "snd/controlC0", "snd/pcmC0D0p", "input/event0", "input/js0", "input/by-id/pad-event-joystick", "video0", "media0",
    "bus/usb/001/001", "kvm", "fuse", "ttyUSB0", "ntsync", "hidraw0", "net/tun",
)  # fmt: skip
SERVICES = (
    "pulse/native", "cups.sock", "pcscd.comm", "ssh-agent", "gnupg/S.gpg-agent", "gnupg/S.gpg-agent.extra",
    "pipewire-0", "foo.sock", "app/org.discord/x",
)  # fmt: skip
# What a compositor answers that offers nothing: the end of the list, wl_callback.done of the second object we name.
NOTHING_OFFERED = struct.pack("=III", 3, 12 << 16, 0)


def stage() -> list[str]:
    """A command line that shows the machine with a /dev of stand-ins, each a null device, and no X11 display."""
    placed = [word for node in NODES for word in ("--dev-bind", "/dev/null", f"/dev/{node}")]
    homes = ["--tmpfs", above] if (above := _above()) else []
    return ["bwrap", "--dev-bind", "/", "/", "--dev", "/dev", *placed, *homes, "--tmpfs", "/tmp/.X11-unix", "--"]


def _above() -> str | None:
    """Where the world stands if not in the home: Flatpak shows nothing of /root, so that of root lies elsewhere."""
    candidates = (place for place in ("/home", "/srv", "/mnt") if not access.inside(str(world.ROOT), place))
    return next(filter(os.path.isdir, candidates)) if os.geteuid() == 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenery:
    """One furnished world. ``environ``: what a program is started with; ``names``: what its things are called."""

    world: world.World
    environ: Mapping[str, str]
    names: access.Names


def _environ(here: world.World, display: int) -> dict[str, str]:
    user, runtime = pwd.getpwuid(os.geteuid()).pw_name, here.runtime
    return {
        **here.environ,
        **dict.fromkeys(PASSED, "C.UTF-8"),
        "TERM": "xterm",
        "TZ": "UTC",
        "XDG_CURRENT_DESKTOP": "Test",
        "PATH": f"{here.base}/tools:/usr/bin:/bin",
        "USER": user,
        "LOGNAME": user,
        SECRET: VALUE,
        "EDITOR": "vi",
        "WAYLAND_DISPLAY": "wayland-0",
        "DISPLAY": f":{display}",
        "XAUTHORITY": f"{runtime}/authority",
        "PULSE_SERVER": f"unix:{runtime}/pulse/native",
        "CUPS_SERVER": f"{runtime}/cups.sock",
        "PCSCLITE_CSOCK_NAME": f"{runtime}/pcscd.comm",
        "SSH_AUTH_SOCK": f"{runtime}/ssh-agent",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={runtime}/system-bus",
    }


def furnish(home: pathlib.Path) -> None:
    """Fill a home with what permissions name."""
    for name in DIRECTORIES:
        (home / name).mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (home / name).write_text("secret\n")
    for name, target in LINKS.items():
        (home / name).symlink_to(target)
    (home / ".config" / "user-dirs.dirs").write_text(USER_DIRS)


@contextlib.contextmanager
def scenery(*, staged: bool) -> Iterator[Scenery]:
    """A world with everything in it; staged: for who was started with ``stage``."""
    with world.world(_above() if staged else None) as here, contextlib.ExitStack() as stack:
        runtime = here.runtime
        furnish(here.home)
        (runtime / "authority").touch(mode=0o600)
        (here.base / "tools").mkdir()
        (here.base / "tools" / "gpgconf").write_text(f"#!/bin/sh\necho {runtime}/gnupg/S.gpg-agent\n")
        (here.base / "tools" / "gpgconf").chmod(0o755)
        for name in SERVICES:
            (runtime / name).parent.mkdir(parents=True, exist_ok=True)
            _listen(stack, runtime / name)
        display = _display(stack)
        stack.enter_context(peers.peer(runtime / "wayland-0", peers.says(NOTHING_OFFERED)))
        buses = {"session": runtime / "bus", "system": runtime / "system-bus"}
        for name, path in buses.items():
            (here.base / name).mkdir()
            stack.enter_context(peers.message_bus(here.base / name, f"unix:path={path}", {}))
        for path in buses.values():
            peers.eventually(path.exists, "the bus's socket")
        names = access.Names(
            own={
                f"{here.places.data}/apps/{KEY}": f"{here.home}/.var/app/{APP}",
                # What stands behind these gives less than the display, the sound server or the agent itself.
                f"{LAUNCH}/pulse": f"{runtime}/pulse/native",
                f"{LAUNCH}/wayland": f"{runtime}/wayland-0",
                f"{runtime}/gnupg/S.gpg-agent.extra": f"{runtime}/gnupg/S.gpg-agent",
                f"{LAUNCH}/x11": f"/tmp/.X11-unix/X{display}",
            },
            filtered=tuple(f"{LAUNCH}/{name}" for name in buses),
            buses={str(path): name for name, path in buses.items()},
        )
        yield Scenery(world=here, environ=_environ(here, display), names=names)


def _display(stack: contextlib.ExitStack) -> int:
    """The number of an X11 display that nobody else has, at whose socket somebody listens."""
    where = pathlib.Path("/tmp/.X11-unix")
    where.mkdir(mode=0o1777, exist_ok=True)
    for number in range(200, 2000):
        with contextlib.suppress(OSError):
            _listen(stack, where / f"X{number}")
            return number
    raise LookupError("every display is taken")


def _listen(stack: contextlib.ExitStack, path: pathlib.Path) -> None:
    """Somebody who takes connections there and says nothing: what connects is never read from, only counted."""
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))
    listener.listen(4096)
    stack.callback(path.unlink)
