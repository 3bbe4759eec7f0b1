"""How the user has made things look: fonts, icons, themes, settings of the toolkits, terminals (SPEC §9.2.3).

Part of the base ``desktop``: a program that cannot show the user's own fonts, or blinds them at night, is not used in a
sandbox but without. Read-only, never what a link leads to, and nothing that says what the user does.
"""

from intents import errors, facts, model, sandbox
from intents.kinds import path

# Where it is on the host -> where a program looks for it below the home.
_ROOTS = {"home": "", "xdg-data": ".local/share/", "xdg-config": ".config/"}
_TERMINALS = ("home/.terminfo",)
_WINDOWS = (
    "home/.fonts", "home/.icons", "home/.themes", "xdg-config/fontconfig", "xdg-config/gtk-3.0/gtk.css",
    "xdg-config/gtk-3.0/settings.ini", "xdg-config/gtk-4.0/gtk.css", "xdg-config/gtk-4.0/settings.ini",
    "xdg-data/fonts", "xdg-data/icons", "xdg-data/themes",
)  # fmt: skip
_VARIABLES = (
    "XCURSOR_THEME", "XCURSOR_SIZE", "GTK_THEME", "GDK_SCALE", "GDK_DPI_SCALE", "QT_STYLE_OVERRIDE", "QT_SCALE_FACTOR",
    "QT_FONT_DPI",
)  # fmt: skip


def places(app: model.App) -> tuple[str, ...]:
    """What has to be looked at on a host, as manifests write places."""
    return (*_TERMINALS, *_WINDOWS) if app.interface == "window" else _TERMINALS


def ops(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """What of it there is here, and the variables that speak of it."""
    shown = [op for place in places(app) for op in _place(place, host)]
    names = _VARIABLES if app.interface == "window" else ()
    return (*shown, *(sandbox.Pass(name=name) for name in ("TERMINFO", *names)))


def _place(text: str, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """At its usual path, or beside the app's own directories with a link in them, which stay the app's (SPEC §9.4)."""
    root, _, below = text.partition("/")
    fact = host.path(f"{host.directory(root)}/{below}")
    if fact is None or fact.kind not in ("dir", "file") or fact.real != fact.path or fact.owner != host.account.uid:
        return ()
    try:
        path.refuse_path(fact.real, text, host, write=False)
    except errors.RefusedError:
        return ()
    if root == "home":
        return (sandbox.Bind(source=fact.real, dest=f"{host.account.home}/{below}"),)
    dest = f"{host.account.home}/.granted/{_ROOTS[root]}{below}"
    own = dict(path.PRIVATE_DIRECTORIES)[_ROOTS[root].rstrip("/")]
    link = sandbox.PrivateLink(directory=own, below=below, target=dest, because=sandbox.BASE)
    return (sandbox.Bind(source=fact.real, dest=dest), link)
