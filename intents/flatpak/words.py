"""Flatpak's fixed words: shares, sockets, devices and features (flatpak-metadata(5), `[Context]`)."""

from intents.flatpak import rows

_GPU, _CAMERA, _INPUT = rows.ask("graphics", "gpu"), rows.ask("camera", "camera"), rows.ask("controllers", "input")
_DISPLAY = {"kind": "display", "protocol": "x11-host"}

SHARES = {
    "network": rows.exact(
        "the network of the host, and the names of servers",
        rows.ask("network", "network", scope="host"),
        rows.ask("names", "dns", scope="any"),
    ),
}
_IPC = rows.exact(
    "shared memory with the X11 server",
    rows.ask("memory", "shared-memory", uses=["ipc"]),
)
_NO_IPC = rows.tighter("shared memory of its own: that of the host is for programs on the real X11 display")

SOCKETS = {
    "wayland": rows.exact(
        "the socket of the compositor",
        rows.Ask(name="window", table={"kind": "display", "protocol": "wayland"}, required=True),
    ),
    "pulseaudio": rows.tighter(
        "playing alone, without the sound card itself; add `record` if the program records",
        rows.ask("sound", "audio", uses=["playback"]),
    ),
    "ssh-auth": rows.exact("the socket of the SSH agent", rows.ask("ssh", "ssh-agent")),
    "gpg-agent": rows.exact("the socket of the GnuPG agent", rows.ask("gpg", "gpg-agent")),
    "pcsc": rows.exact("the socket of pcscd", rows.ask("smartcard", "smartcard")),
    "cups": rows.exact("the socket of CUPS", rows.ask("printing", "printing")),
    "session-bus": rows.warned(
        "the whole bus starts programs outside the sandbox: ask for the services by name, with kind `dbus`"
    ),
    "system-bus": rows.warned("nobody needs all of the system: ask for the services by name, with kind `dbus`"),
    "inherit-wayland-socket": rows.warned("a socket that is handed down is not watched: ask for `wayland` instead"),
}
_X11 = rows.exact("the real display", rows.Ask(name="x11", table=_DISPLAY))
# A program with windows cannot do without a display.
_X11_ALONE = rows.exact("the real display", rows.Ask(name="x11", table=_DISPLAY, required=True))
_FALLBACK = rows.tighter("Wayland alone; without a compositor the program has no window")

DEVICES = {
    "dri": rows.tighter("the nodes that render, without those that set the screen", _GPU),
    "input": rows.tighter("game controllers, without keyboards and mice", _INPUT),
    "kvm": rows.exact("the node itself", rows.ask("kvm", "device", nodes=["/dev/kvm"])),
    "usb": rows.exact("the same nodes", rows.ask("usb", "usb")),
    "shm": rows.exact("the host's /dev/shm", rows.ask("memory", "shared-memory", uses=["files"])),
    "all": rows.warned(
        "of all devices it asks for graphics, cameras and game controllers: name what else it uses, with kind `device`",
        _GPU,
        _CAMERA,
        _INPUT,
    ),
}

FEATURES = {
    "devel": rows.exact("tracing its own processes", rows.ask("debugging", "debugging")),
    "bluetooth": rows.exact("sockets of that family", rows.ask("bluetooth", "socket-family", families=["bluetooth"])),
    "canbus": rows.exact("sockets of that family", rows.ask("can", "socket-family", families=["can"])),
    "multiarch": rows.exact("32-bit programs, and their sockets", rows.ask("multiarch", "multiarch", scope="sockets")),
    "per-app-dev-shm": rows.tighter("each start has a /dev/shm of its own, which no other start of it sees"),
}
_UNKNOWN = rows.warned("it is not a word of Flatpak that this program knows: look for a kind that means it")


def share(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--share=WORD``."""
    if word == "ipc":
        return _IPC if real_x11(request) else _NO_IPC
    return SHARES.get(word, _UNKNOWN)


def socket(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--socket=WORD``. With `fallback-x11`, X11 counts only where Wayland does not (flatpak-metadata(5))."""
    if word not in ("x11", "fallback-x11"):
        return SOCKETS.get(word, _UNKNOWN)
    if not real_x11(request):
        return _FALLBACK
    return _X11 if request.has("socket", "wayland") else _X11_ALONE


def real_x11(request: rows.Request) -> bool:
    """Whether Flatpak gives the X11 display also where there is a compositor, or there is nothing else to give."""
    if request.has("socket", "fallback-x11"):
        return not request.has("socket", "wayland")
    return request.has("socket", "x11")


def device(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--device=WORD``."""
    return DEVICES.get(word, _UNKNOWN)


def feature(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--allow=WORD``."""
    return FEATURES.get(word, _UNKNOWN)
