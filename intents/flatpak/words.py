"""Flatpak's fixed words: shares, sockets, devices and features (flatpak-metadata(5), `[Context]`)."""

from intents.flatpak import rows

_GPU, _CAMERA, _INPUT = rows.ask("graphics", "gpu"), rows.ask("camera", "camera"), rows.ask("controllers", "input")
_NESTED = {"kind": "display", "protocol": "x11"}

SHARES = {
    # What X11 programs ask for it is memory that they share with the server; here they have a server of their own.
    "ipc": rows.tighter("memory, semaphores and queues of its own, not those of the host"),
    "network": rows.exact(
        "the network of the host, and the names of servers; where its servers are known, ask for them with `connect`",
        rows.ask("network", "network", scope="host"),
        rows.ask("names", "dns", scope="any"),
    ),
}
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
    "gpg-agent": rows.tighter("signing and decrypting, not the keys themselves", rows.ask("gpg", "gpg-agent")),
    "pcsc": rows.exact("the socket of pcscd", rows.ask("smartcard", "smartcard")),
    "cups": rows.exact("the socket of CUPS", rows.ask("printing", "printing")),
    "session-bus": rows.warned(
        "the whole bus starts programs outside the sandbox: ask for the services by name, with kind `dbus`"
    ),
    "system-bus": rows.warned("nobody needs all of the system: ask for the services by name, with kind `dbus`"),
    "inherit-wayland-socket": rows.warned("a socket that is handed down is not watched: ask for `wayland` instead"),
}
_X11 = rows.tighter("an X server of its own, in one window", rows.Ask(name="x11", table=_NESTED))
# A program with windows cannot do without a display.
_X11_ALONE = rows.tighter(_X11.said, rows.Ask(name="x11", table=_NESTED, required=True))
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
    return SHARES.get(word, _UNKNOWN)


def socket(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--socket=WORD``. With `fallback-x11`, X11 counts only where Wayland does not (flatpak-metadata(5))."""
    if word not in ("x11", "fallback-x11"):
        return SOCKETS.get(word, _UNKNOWN)
    if not request.has("socket", "wayland"):
        return _X11_ALONE
    return _FALLBACK if request.has("socket", "fallback-x11") else _X11


def device(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--device=WORD``."""
    return DEVICES.get(word, _UNKNOWN)


def feature(word: str, value: str, request: rows.Request) -> rows.Row:
    """``--allow=WORD``."""
    return FEATURES.get(word, _UNKNOWN)
