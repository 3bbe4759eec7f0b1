"""Names on the session and the system bus: those that mean a capability, those that are not given, and all others."""

from intents.flatpak import rows

_TRAY, _SECRETS = rows.ask("tray", "tray"), rows.ask("secrets", "secrets")
_PLAYER = "org.mpris.MediaPlayer2."


def _short(name: str) -> str:
    return name.removesuffix(".*").rpartition(".")[2]


def _calls(name: str, said: str, *methods: str, signals: tuple[str, ...] = (), bus: str = "session") -> rows.Row:
    """Single methods of a name, and signals of it, instead of all that is behind it."""
    lists = {"call": [f"{name}={method}" for method in methods]}
    lists |= {"broadcast": [f"{name}={signal}" for signal in signals]} if signals else {}
    return rows.tighter(said, rows.ask(_short(name), "dbus", bus=bus, **lists))


_AWAKE = "the methods that keep the screen on, and no other"
_TYPING = rows.tighter("contexts of typing, no settings", rows.ask("typing", "input-method"))
_WALLET = rows.warned("it holds the passwords of every program: ask for `secrets`, which KWallet answers as well")

# With `talk`, on the session bus. A name stands for its `.*` as well.
SESSION = {
    "org.freedesktop.Notifications": rows.tighter(
        "its methods and signals, not all that is behind the name", rows.ask("notifications", "notifications")
    ),
    "org.kde.StatusNotifierWatcher": rows.tighter("its methods and signals, not all that is behind the name", _TRAY),
    "org.freedesktop.secrets": rows.exact("the secret service", _SECRETS),
    "org.gnome.keyring": rows.tighter("the secret service, which the keyring answers", _SECRETS),
    "org.kde.kwalletd": _WALLET,
    "org.kde.kwalletd5": _WALLET,
    "org.kde.kwalletd6": _WALLET,
    "ca.desrt.dconf": rows.DCONF,
    "org.a11y.Bus": rows.READERS,
    "org.fcitx.Fcitx": _TYPING,
    "org.freedesktop.IBus": _TYPING,
    "org.freedesktop.portal.Fcitx": _TYPING,
    "org.freedesktop.portal.IBus": _TYPING,
    "org.freedesktop.FileManager1": _calls(
        "org.freedesktop.FileManager1", "its three methods, not all that is behind the name",
        "org.freedesktop.FileManager1.*@/org/freedesktop/FileManager1",
    ),
    "org.freedesktop.ScreenSaver": _calls(
        "org.freedesktop.ScreenSaver", _AWAKE,
        "org.freedesktop.ScreenSaver.Inhibit", "org.freedesktop.ScreenSaver.UnInhibit",
    ),
    "org.freedesktop.PowerManagement": _calls(
        "org.freedesktop.PowerManagement", _AWAKE, "org.freedesktop.PowerManagement.Inhibit.*",
    ),
    "org.freedesktop.PowerManagement.Inhibit": _calls(
        "org.freedesktop.PowerManagement.Inhibit", _AWAKE, "org.freedesktop.PowerManagement.Inhibit.*",
    ),
    "org.gnome.SessionManager": _calls(
        "org.gnome.SessionManager", _AWAKE,
        "org.gnome.SessionManager.Inhibit@/org/gnome/SessionManager",
        "org.gnome.SessionManager.Uninhibit@/org/gnome/SessionManager",
    ),
    "org.gnome.SettingsDaemon.MediaKeys": _calls(
        "org.gnome.SettingsDaemon.MediaKeys", "being told of media keys, and nothing else",
        "org.gnome.SettingsDaemon.MediaKeys.GrabMediaPlayerKeys",
        "org.gnome.SettingsDaemon.MediaKeys.ReleaseMediaPlayerKeys",
        signals=("org.gnome.SettingsDaemon.MediaKeys.MediaPlayerKeyPressed",),
    ),
    "com.canonical.AppMenu.Registrar": _calls(
        "com.canonical.AppMenu.Registrar", "offering its menu, not reading those of others",
        "com.canonical.AppMenu.Registrar.RegisterWindow", "com.canonical.AppMenu.Registrar.UnregisterWindow",
    ),
    "org.gnome.Mutter.IdleMonitor": _calls(
        "org.gnome.Mutter.IdleMonitor", "for how long nobody has typed, and nothing else of the window manager",
        "org.gnome.Mutter.IdleMonitor.*@/org/gnome/Mutter/IdleMonitor/Core",
        signals=("org.gnome.Mutter.IdleMonitor.*@/org/gnome/Mutter/IdleMonitor/Core",),
    ),
    "org.freedesktop.DBus": rows.exact("every app may talk to the bus itself, as far as the filter lets it"),
}  # fmt: skip
_LOGIN = "/org/freedesktop/login1"
SYSTEM = {
    "org.freedesktop.login1": _calls(
        "org.freedesktop.login1", "keeping the machine awake, and being told that it goes to sleep",
        f"org.freedesktop.login1.Manager.Inhibit@{_LOGIN}",
        signals=(f"org.freedesktop.login1.Manager.PrepareForSleep@{_LOGIN}",
                 f"org.freedesktop.login1.Manager.PrepareForShutdown@{_LOGIN}"),
        bus="system",
    ),
    "org.freedesktop.NetworkManager": _calls(
        "org.freedesktop.NetworkManager", "reading the state of the network; add the methods by which it changes it",
        "org.freedesktop.DBus.Properties.Get", "org.freedesktop.DBus.Properties.GetAll",
        "org.freedesktop.DBus.ObjectManager.GetManagedObjects", "org.freedesktop.NetworkManager.CheckConnectivity",
        "org.freedesktop.NetworkManager.GetDevices", "org.freedesktop.NetworkManager.state",
        signals=("org.freedesktop.DBus.Properties.*", "org.freedesktop.NetworkManager.*"),
        bus="system",
    ),
}  # fmt: skip

# What follows `org.freedesktop.portal.` -> the kind that is this portal. Flatpak gives every app all of them.
PORTALS = {
    "Account": "account",
    "Background": "background",
    "Camera": "camera-portal",
    "Documents": "files",
    "Email": "email",
    "FileChooser": "files",
    "GameMode": "game-mode",
    "GlobalShortcuts": "global-shortcuts",
    "Inhibit": "stay-awake",
    "Location": "location",
    "NetworkMonitor": "network-status",
    "Notification": "notifications",
    "OpenURI": "open-uri",
    "Print": "print-dialog",
    "Realtime": "real-time",
    "ScreenCast": "screenshare",
    "Screenshot": "screenshot",
    "Secret": "app-secret",
    "Settings": "appearance",
    "Trash": "trash",
    "Wallpaper": "wallpaper",
}
_PORTAL = "the portal of that name, which asks the user where it matters"
SESSION |= {
    f"org.freedesktop.portal.{name}": rows.tighter(_PORTAL, rows.ask(kind, kind)) for name, kind in PORTALS.items()
}

# Names that are not given, or whose kind is not there yet -> what to do instead.
INSTEAD = {
    "org.freedesktop.Flatpak": "start other programs outside, or run them inside the sandbox",
    "org.freedesktop.portal": "ask for the portals that it uses, each by its kind",
    "org.freedesktop.PolicyKit1": "let a service of the system ask for the administrator",
    "org.gnome.Shell.Screenshot": "ask for `screenshot`",
    "org.gnome.Shell": "there is no narrower way",
    "org.gnome.Mutter": "there is no narrower way",
    "org.gnome.keyring": "ask for `secrets`",
    "org.a11y": "ask for `accessibility`",
}


def session(name: str, verb: str, request: rows.Request) -> rows.Row:
    """A name on the session bus with ``see``, ``talk`` or ``own``."""
    if verb == "own":
        return _own(name, request.app_id)
    plain = name.removesuffix(".*")
    if verb == "talk" and plain in SESSION:
        return SESSION[plain]
    return _rule("session", name, verb)


def system(name: str, verb: str, request: rows.Request) -> rows.Row:
    """A name on the system bus."""
    if verb == "own":
        return rows.warned("an app offers no services to the system: have the service installed as one")
    plain = name.removesuffix(".*")
    if verb == "talk" and plain in SYSTEM:
        return SYSTEM[plain]
    return _rule("system", name, verb)


def _own(name: str, app_id: str) -> rows.Row:
    plain = name.removesuffix(".*")
    if plain == app_id:
        asked = rows.ask("own-name", "dbus", bus="session", own=[app_id])
        row = rows.exact("its own id", asked) if name == plain else rows.tighter("its own id, none below it", asked)
        return rows.allowed(row, "give the app an id of its own")
    if plain.startswith(_PLAYER):
        asked = rows.ask("media-keys", "media-control", player=plain.removeprefix(_PLAYER))
        return rows.allowed(rows.exact("the player's name and those below it", asked), "name the player")
    if plain.startswith("org.kde.StatusNotifierItem"):
        return rows.tighter("a tray icon, which needs no name", _TRAY)
    return rows.warned(f"an app can own its own id alone: let the program use the name `{app_id}`")


def _rule(bus: str, name: str, verb: str) -> rows.Row:
    said = "the same name" if verb == "talk" else "that it exists"
    row = rows.exact(said, rows.ask(_short(name), "dbus", bus=bus, **{verb: [name]}))
    known = (advice for known, advice in INSTEAD.items() if f"{name}.".startswith(f"{known}."))
    return rows.allowed(row, next(known, "name the one service that it is about"))
