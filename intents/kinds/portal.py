"""The kinds that are one portal of the desktop each and nothing else (SPEC §5.7); ``files`` has a file of its own."""

from intents import model, portals, text

_LOW, _NORMAL, _HIGH = model.Risk.LOW, model.Risk.NORMAL, model.Risk.HIGH
_ASKED = text.said("The desktop asks you before it happens; it may remember your answer.")

KINDS = (
    portals.Portal(
        kind="open-uri",
        doc="""Open links and files in the user's other programs. Whoever may do this can send data out by the address
of a link, with or without a network of its own.""",
        title=text.said("open links"),
        allows=text.said(
            "It can open links and files in your other programs. A link can carry data out, even without a network."
        ),
        level=_NORMAL,
        interfaces=(("OpenURI", ("OpenURI", "OpenFile", "OpenDirectory", "SchemeSupported")),),
    ),
    portals.Portal(
        kind="screenshot",
        doc="Ask for a picture of the screen, or for the colour of one point of it.",
        title=text.said("screenshots"),
        allows=text.said("It can ask for pictures of your screen."),
        level=_NORMAL,
        interfaces=(("Screenshot", ("Screenshot", "PickColor")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="screenshare",
        doc="Ask to see a screen or a window for as long as the user shares it.",
        title=text.said("screen sharing"),
        allows=text.said("It can ask to watch your screen or a window."),
        level=_NORMAL,
        interfaces=(("ScreenCast", ("CreateSession", "SelectSources", "Start", "OpenPipeWireRemote")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="remote-desktop",
        doc="""Ask to watch the screen, to type and to move the pointer in every window, and to use the clipboard of
that session: for programs by which somebody else helps at this desktop.""",
        title=text.said("remote control"),
        allows=text.said("It can ask to watch your screen and to type and click in every window."),
        level=_HIGH,
        interfaces=(
            ("RemoteDesktop", ("*",)),
            ("ScreenCast", ("SelectSources", "OpenPipeWireRemote")),
            ("Clipboard", ("*",)),
        ),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="input-capture",
        doc="Ask for the keyboard and pointer once the pointer leaves the screen: for programs that share them.",
        title=text.said("capture keyboard and pointer"),
        allows=text.said(
            "It can ask to get all that you type and point at while the pointer is at an edge of the screen."
        ),
        level=_HIGH,
        interfaces=(("InputCapture", ("*",)),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="global-shortcuts",
        doc="Ask for keys that reach the app whatever window has the focus.",
        title=text.said("global shortcuts"),
        allows=text.said("It can ask for keys that reach it from every window."),
        level=_NORMAL,
        interfaces=(("GlobalShortcuts", ("*",)),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="camera-portal",
        doc="Ask for the camera through PipeWire. Ask for `camera` only where the program reads the device itself.",
        title=text.said("camera, when you agree"),
        allows=text.said("It can ask to use your cameras."),
        level=_NORMAL,
        interfaces=(("Camera", ("AccessCamera", "OpenPipeWireRemote")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="location",
        doc="Ask where the user is.",
        title=text.said("location"),
        allows=text.said("It can ask where you are."),
        level=_NORMAL,
        interfaces=(("Location", ("CreateSession", "Start")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="account",
        doc="Ask for the user's name, login name and picture.",
        title=text.said("your name and picture"),
        allows=text.said("It can ask for your name, login name and picture."),
        level=_LOW,
        interfaces=(("Account", ("GetUserInformation",)),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="email",
        doc="Open a letter with text and attachments in the user's mail program.",
        title=text.said("write e-mail"),
        allows=text.said("It can open a letter in your mail program, with attachments. You send it or not."),
        level=_NORMAL,
        interfaces=(("Email", ("ComposeEmail",)),),
    ),
    portals.Portal(
        kind="print-dialog",
        doc="""Print through the desktop's own dialog, in which the user picks the printer. Ask for `printing` only
where the program speaks with CUPS itself.""",
        title=text.said("print, when you agree"),
        allows=text.said("It can show you the print dialog."),
        level=_LOW,
        interfaces=(("Print", ("PreparePrint", "Print")),),
    ),
    portals.Portal(
        kind="background",
        doc="""Ask to go on running without a window, and say in one line what for. Starting at login, which this portal
offers as well, does not work: the desktop would start a Flatpak of that name.""",
        title=text.said("run in the background"),
        allows=text.said("It can ask to go on running without a window."),
        level=_NORMAL,
        interfaces=(("Background", ("RequestBackground", "SetStatus")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="appearance",
        doc="""Read the desktop's settings of looks and behaviour, such as dark mode, fonts and contrast. GTK wants it
where it uses any other portal, and complains on its standard error without.""",
        title=text.said("the desktop's look"),
        allows=text.said("It can read how your desktop looks and behaves: dark mode, fonts, contrast and the like."),
        level=_LOW,
        interfaces=(("Settings", ("Read", "ReadOne", "ReadAll")),),
        hears=("org.freedesktop.portal.Settings.SettingChanged",),
    ),
    portals.Portal(
        kind="stay-awake",
        doc="Keep the computer from sleeping, locking or logging out while something runs.",
        title=text.said("keep awake"),
        allows=text.said("It can keep the computer awake and the screen on, and delay logging out."),
        level=_LOW,
        interfaces=(("Inhibit", ("Inhibit", "CreateMonitor", "QueryEndResponse")),),
    ),
    portals.Portal(
        kind="wallpaper",
        doc="Set the wallpaper.",
        title=text.said("wallpaper"),
        allows=text.said("It can set your wallpaper."),
        level=_LOW,
        interfaces=(("Wallpaper", ("SetWallpaperURI", "SetWallpaperFile")),),
        notes=(_ASKED,),
    ),
    portals.Portal(
        kind="trash",
        doc="""Move files to the trash rather than delete them: those that the app may change already. Before 1.20.4,
xdg-desktop-portal could be made to remove others.""",
        title=text.said("the trash"),
        allows=text.said("It can move files that it may change to the trash."),
        level=_NORMAL,
        interfaces=(("Trash", ("TrashFile",)),),
    ),
    portals.Portal(
        kind="app-secret",
        doc="Get one secret of its own from the user's keyring, to lock up what it stores. Other secrets stay hidden.",
        title=text.said("a secret of its own"),
        allows=text.said("It gets a secret from your keyring that no other program has."),
        level=_LOW,
        interfaces=(("Secret", ("RetrieveSecret",)),),
    ),
    portals.Portal(
        kind="real-time",
        doc="Ask for real-time priority for single threads, as sound programs do.",
        title=text.said("real-time priority"),
        allows=text.said("It can take precedence over other programs for short times."),
        level=_NORMAL,
        interfaces=(("Realtime", ("*",)),),
    ),
    portals.Portal(
        kind="game-mode",
        doc="Have the computer tuned for games (GameMode) while the app runs.",
        title=text.said("game mode"),
        allows=text.said("It can have your computer tuned for games while it runs."),
        level=_LOW,
        interfaces=(("GameMode", ("*",)),),
    ),
    portals.Portal(
        kind="resource-warnings",
        doc="Learn when memory runs low and when the computer saves power.",
        title=text.said("memory and power warnings"),
        allows=text.said("It learns when memory runs low and when the computer saves power."),
        level=_LOW,
        interfaces=(),
        hears=(
            "org.freedesktop.portal.MemoryMonitor.LowMemoryWarning",
            "org.freedesktop.DBus.Properties.PropertiesChanged",
        ),
    ),
    portals.Portal(
        kind="network-status",
        doc="""Learn whether there is a network, what it costs, and which proxy to use. The desktop tells only an app
that has `network` as well.""",
        title=text.said("network status"),
        allows=text.said("It learns whether there is a network and which proxy to use."),
        level=_LOW,
        interfaces=(("NetworkMonitor", ("*",)), ("ProxyResolver", ("Lookup",))),
        hears=("org.freedesktop.portal.NetworkMonitor.changed",),
    ),
)
