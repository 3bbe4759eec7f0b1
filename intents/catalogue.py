"""What is dangerous to give, and why: places, names on the buses, and grants that matter together (SPEC §8.4).

One row, one reason, in words that finish a sentence. The kinds judge with it, lint advises with it, and the prompt,
``intent-ctl show`` and ``explain`` quote it. Facts about programs, not policy: what follows from a row is said there.
"""

from dataclasses import dataclass

from intents import text

# Places below the home: what whoever reads there gets. `it holds …`
HOLDS: dict[text.Said, tuple[str, ...]] = {
    text.said("keys by which others know you"): (".ssh", ".gnupg", ".local/share/gnupg", ".pki"),
    text.said("your saved passwords"): (
        ".password-store", ".local/share/keyrings", ".local/share/kwalletd", ".config/Bitwarden", ".config/keepassxc",
        ".config/op",
    ),
    text.said("keys to your servers and accounts"): (
        ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".config/gh", ".config/gcloud",
        ".cargo/credentials", ".cargo/credentials.toml", ".config/containers/auth.json", ".config/git/credentials",
        ".config/hub", ".config/rclone", ".config/sops", ".my.cnf", ".npmrc", ".pgpass", ".pypirc", ".s3cfg",
        ".terraform.d", ".vault-token",
    ),
    text.said("passwords, sessions and history of a browser"): (
        ".mozilla", ".config/chromium", ".config/google-chrome", ".config/BraveSoftware", ".config/microsoft-edge",
        ".config/opera", ".config/vivaldi",
    ),
    text.said("your mail and messages"): (
        ".thunderbird", ".config/Element", ".config/Signal", ".local/share/TelegramDesktop", ".local/share/evolution",
    ),
    text.said("money"): (".bitcoin", ".electrum", ".ethereum", ".monero"),
    text.said("what you typed into a shell"): (".bash_history", ".zsh_history", ".local/share/fish"),
    text.said("keys to your display and session"): (".Xauthority", ".ICEauthority"),
    text.said("the private files of other sandboxed apps"): (".var/app", "snap"),
    text.said("sockets through which programs are started"): (".colima", ".lima", ".rd"),
}  # fmt: skip
# Places below the home: what whoever writes there decides.
STARTS: dict[text.Said, tuple[str, ...]] = {
    text.said("shells run what is there"): (
        ".bash_profile", ".bash_login", ".bash_logout", ".bashrc", ".profile", ".zshrc", ".zshenv", ".zprofile",
        ".zlogin", ".login", ".cshrc", ".tcshrc", ".config/fish", ".local/share/fish", ".local/share/zsh",
    ),
    text.said("it runs when you log in"): (
        ".xinitrc", ".xsession", ".xprofile", ".xsessionrc", ".pam_environment", ".config/autostart",
        ".config/environment.d", ".local/share/autostart",
    ),
    text.said("services of yours are started from there"): (
        ".config/systemd", ".local/share/systemd", ".local/share/dbus-1", ".local/share/containers",
    ),
    text.said("your commands are looked for there"): (
        ".local/bin", "bin", "go/bin", ".cargo/bin", "miniconda3", "miniforge3", "anaconda3", ".local/lib",
        ".local/share/mise", ".local/share/pipx", ".local/share/uv", ".local/share/virtualenvs",
    ),
    text.said("your menus start programs from there"): (
        ".local/share/applications", ".local/share/flatpak", ".local/share/kservices5", ".var/app", "snap",
    ),
    text.said("the desktop loads code from there"): (
        ".local/share/cinnamon", ".local/share/gnome-shell", ".local/share/kio", ".local/share/konsole",
        ".local/share/kwin", ".local/share/nautilus", ".local/share/nautilus-python", ".local/share/nemo",
        ".local/share/plasma", ".local/share/vulkan",
    ),
    text.said("your editor runs what is there"): (
        ".vimrc", ".vim", ".emacs", ".emacs.d", ".config/nvim", ".local/share/nvim",
    ),
    text.said("it says which programs git starts"): (".gitconfig", ".config/git"),
    text.said("it holds the settings of every program"): (".config/dconf",),
    text.said("it says who may log in as you"): (".ssh",),
    text.said("it says whom you trust"): (".gnupg", ".local/share/keyrings"),
}  # fmt: skip
# Hidden trees in which other programs keep what they work on; all else that is hidden says how programs start.
DATA = (".cache", ".local/share", ".local/state")
HIDDEN = text.said("what is hidden in the home says how programs start")
# Outside the home: programs, what starts them, and what they trust.
PROGRAMS = (
    "/bin", "/boot", "/etc", "/home/linuxbrew", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/root", "/sbin",
    "/snap", "/usr", "/var/lib", "/var/spool",
)  # fmt: skip
SYSTEM = text.said("programs of the whole system are started from there")
WHOLE_HOME = text.said("it holds what decides which programs you run")
DAEMON_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman", "/run/containerd")
DAEMON = text.said("it runs programs for whoever may talk to it")

READ: dict[str, text.Said] = {
    name: text.said("it holds {what}", what=what) for what, names in HOLDS.items() for name in names
}
WRITE: dict[str, text.Said] = {name: why for why, names in STARTS.items() for name in names}

# A name stands for everything below it as well. Refused in every manifest: a grant of it would undo the sandbox.
NEVER = {
    "org.freedesktop.systemd1": "it starts programs outside the sandbox",
    "org.freedesktop.Flatpak": "it starts programs outside the sandbox",
    "org.freedesktop.impl.portal": "it answers the desktop's permission questions",
    "org.freedesktop.portal": "some portals lead out of the sandbox; each has a kind of its own, such as `files`",
    "org.freedesktop.DBus": "the filter answers for the bus itself",
    "ca.desrt.dconf": "it changes the settings of every program",
    "org.gnome.Shell": "it can run code in the desktop shell",
    "org.kde.plasmashell": "it can run code in the desktop shell",
    "org.kde.KWin": "it can run code in the window manager",
    "org.freedesktop.PolicyKit1": "it answers questions of the administrator",
    "org.freedesktop.login1": "it can end sessions and open devices",
    "org.freedesktop.PackageKit": "it installs software",
    "com.redhat.PackageKit": "it installs software",
    "org.freedesktop.machine1": "it starts programs outside the sandbox",
    "org.freedesktop.portable1": "it starts programs outside the sandbox",
    "org.gnome.Terminal": "it starts programs outside the sandbox",
    "org.kde.klauncher": "it starts programs outside the sandbox",
    "org.kde.klauncher5": "it starts programs outside the sandbox",
    "org.kde.konsole": "it starts programs outside the sandbox",
    "org.kde.krunner": "it starts programs outside the sandbox",
    "org.kde.yakuake": "it starts programs outside the sandbox",
    "io.snapcraft": "it starts programs outside the sandbox",
    "org.Cinnamon": "it can run code in the desktop shell",
    "org.gnome.Mutter": "it can see the screen and type into every window",
    "org.kde.kwalletd": "it holds the passwords of every program",
    "org.freedesktop.secrets": "it holds the passwords of every program",
    "org.gnome.keyring": "it holds the passwords of every program",
    "org.kde.kwalletd5": "it holds the passwords of every program",
    "org.kde.kwalletd6": "it holds the passwords of every program",
}
# Single methods and signals of such names that can be asked for all the same: keeping the machine awake, being told
# that it goes to sleep, and for how long nobody has typed.
HARMLESS = {
    "org.freedesktop.login1=org.freedesktop.login1.Manager.Inhibit@/org/freedesktop/login1",
    "org.freedesktop.login1=org.freedesktop.login1.Manager.PrepareForSleep@/org/freedesktop/login1",
    "org.freedesktop.login1=org.freedesktop.login1.Manager.PrepareForShutdown@/org/freedesktop/login1",
    "org.gnome.Mutter.IdleMonitor=org.gnome.Mutter.IdleMonitor.*@/org/gnome/Mutter/IdleMonitor/Core",
}
# Those that reach far beyond the app, and can be granted all the same.
POWERFUL = {
    "org.a11y": text.said("reads and works the windows of other programs"),
    "org.bluez": text.said("controls Bluetooth devices"),
    "org.fedoraproject.FirewallD1": text.said("changes the firewall"),
    "org.freedesktop.FileManager1": text.said("makes the file manager open places"),
    "org.freedesktop.NetworkManager": text.said("changes the network and knows its passwords"),
    "org.freedesktop.UDisks2": text.said("mounts and erases disks"),
    "org.gnome.SessionManager": text.said("ends the session and starts programs in it"),
    "org.gnome.SettingsDaemon": text.said("works the desktop's settings"),
    "org.gtk.vfs": text.said("opens files and servers for the app"),
    "org.kde.kded5": text.said("loads modules into the desktop"),
    "org.kde.kded6": text.said("loads modules into the desktop"),
    "org.libvirt": text.said("controls virtual machines"),
}
# Those for which there is a kind, which gives no more than what the name is asked for.
MEANT = {
    "org.freedesktop.Notifications": "notifications",
    "org.kde.StatusNotifierWatcher": "tray",
    "org.kde.StatusNotifierItem": "tray",
    "org.mpris.MediaPlayer2": "media-control",
    "org.freedesktop.secrets": "secrets",
    "org.gnome.keyring": "secrets",
    "org.a11y": "accessibility",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Two grants that are more than their sum. one, other: traits (``risk.traits``); says: a template of their titles;
    unless: a trait beside which there is no more to say."""

    one: str
    other: str
    says: str
    unless: str = ""


# kind -> what every scope of it brings along; `risk.traits` knows those for which it depends on the scope.
TRAITS = {
    "network": "sends",
    "open-uri": "links",
    "screenshot": "shown",
    "screenshare": "shown",
    "remote-desktop": "shown",
    "location": "whereabouts",
    "secrets": "passwords",
    "ssh-agent": "logs-in",
    "gpg-agent": "signs",
    "smartcard": "signs",
    "camera": "senses",
    "camera-portal": "senses",
    "processes": "watches",
    "nested-sandbox": "nests",
    "debugging": "kernel",
    "gpu": "kernel",
    "usb": "kernel",
    "device": "kernel",
    "socket-family": "kernel",
    "multiarch": "kernel",
}
COMBINATIONS = {
    "files": Together(
        one="files",
        other="sends",
        says=text.template("With the network as well, it can send your files anywhere: {one}."),
    ),
    "keys": Together(
        one="keys",
        other="sends",
        says=text.template("With the network as well, it can send keys and passwords anywhere: {one}."),
    ),
    "files-by-link": Together(
        one="files",
        other="links",
        says=text.template("By the links that it opens, it can send your files out even without the network: {one}."),
        unless="sends",
    ),
    "keys-by-link": Together(
        one="keys",
        other="links",
        says=text.template(
            "By the links that it opens, it can send keys and passwords out even without the network: {one}."
        ),
        unless="sends",
    ),
    "shown": Together(
        one="shown",
        other="sends",
        says=text.template("With the network as well, it can send what you show it anywhere: {one}."),
    ),
    "whereabouts": Together(
        one="whereabouts",
        other="sends",
        says=text.template("With the network as well, it can tell others where you are."),
    ),
    "passwords": Together(
        one="passwords",
        other="sends",
        says=text.template("With the network as well, it can send your saved passwords anywhere."),
    ),
    "tokens": Together(
        one="tokens",
        other="sends",
        says=text.template("With the network as well, it can send these secrets anywhere: {one}."),
    ),
    "login": Together(
        one="logs-in",
        other="sends",
        says=text.template("With the network as well, it can log in to your servers as you: {one}."),
    ),
    "signatures": Together(
        one="signs",
        other="sends",
        says=text.template("With the network as well, it can sign and decrypt as you for others: {one}."),
    ),
    "senses": Together(
        one="senses",
        other="sends",
        says=text.template("With the network as well, it can send what it hears or sees anywhere: {one}."),
    ),
    "screen": Together(
        one="screen",
        other="sends",
        says=text.template("With the network as well, it can send your screen and what you type anywhere."),
    ),
    "abstract": Together(
        one="x11",
        other="shares",
        says=text.template(
            "With the network as well, the real X11 display opens to it the abstract sockets of your other programs."
        ),
    ),
    "processes": Together(
        one="watches",
        other="sends",
        says=text.template("With the network as well, it can tell others which programs you run, and how."),
    ),
    "files-told": Together(
        one="files",
        other="tells",
        says=text.template("It can send your files to the servers that it may contact: {one}."),
        unless="sends",
    ),
    "keys-told": Together(
        one="keys",
        other="tells",
        says=text.template("It can send keys and passwords to the servers that it may contact: {one}."),
        unless="sends",
    ),
    "shown-told": Together(
        one="shown",
        other="tells",
        says=text.template("It can send what you show it to the servers that it may contact: {one}."),
        unless="sends",
    ),
    "passwords-told": Together(
        one="passwords",
        other="tells",
        says=text.template("It can send your saved passwords to the servers that it may contact."),
        unless="sends",
    ),
    "tokens-told": Together(
        one="tokens",
        other="tells",
        says=text.template("It can send these secrets to the servers that it may contact: {one}."),
        unless="sends",
    ),
    "login-told": Together(
        one="logs-in",
        other="tells",
        says=text.template("It can log in as you to the servers that it may contact, if they are yours."),
        unless="sends",
    ),
    "senses-told": Together(
        one="senses",
        other="tells",
        says=text.template("It can send what it hears or sees to the servers that it may contact: {one}."),
        unless="sends",
    ),
    "screen-told": Together(
        one="screen",
        other="tells",
        says=text.template("It can send your screen and what you type to the servers that it may contact."),
        unless="sends",
    ),
    "kernel": Together(
        one="nests",
        other="kernel",
        says=text.template("With sandboxes of its own as well, far more of the kernel is open to it: {other}."),
    ),
}


def no_sandbox(why: text.Said) -> text.Said:
    """Of whatever equals no sandbox, with the reason."""
    return text.said("This equals no sandbox: {why}.", why=why)


def below(name: str, known: str) -> bool:
    """Whether a bus name is ``known`` or lies below it."""
    return name == known or name.startswith(f"{known}.")


def meant(name: str) -> str:
    """The kind of intent that a bus name is asked for, or empty."""
    return next((kind for known, kind in MEANT.items() if below(name.removesuffix(".*"), known)), "")


def powerful(name: str) -> text.Said | None:
    """What a bus name reaches beyond the app, or None."""
    return next((said for known, said in POWERFUL.items() if below(name.removesuffix(".*"), known)), None)
