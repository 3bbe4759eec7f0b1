"""How the desktop's portals recognise an app: its identity file, and the proxy in a sandbox that shows it (SPEC §9.8).

xdg-desktop-portal knows a caller by the file ``/.flatpak-info`` in the root of the process that it hears on the bus,
which is xdg-dbus-proxy; a caller without one is to it a program outside every sandbox. ADR 6 has the reasons.
"""

import urllib.parse

from intents import facts, model, portals, sandbox


def portal_id(vetted: model.Vetted) -> str:
    """The name under which portals keep what they remember of an app: that of its identity (SPEC §7), not of its id.

    Only for an app that is vouched for it is the id, if portals take that: they want no ``-`` but in the last label.
    """
    app_id = vetted.manifest.app.id
    if vetted.trust is model.Trust.VOUCHED and "-" not in app_id.rpartition(".")[0]:
        return app_id
    return f"{app_id.replace('-', '_')}.k{vetted.lineage}"


def keyfile(box: sandbox.Sandbox) -> str:
    """The identity file but for the end of its last line, which is the instance's name, known only at launch."""
    shared = "[Context]\nshared=network;\n\n" if box.share("network") else ""
    return f"[Application]\nname={box.portal_id}\n\n{shared}[Instance]\ninstance-id="


def around_proxy(host: facts.HostFacts, buses: tuple[facts.Bus, ...]) -> tuple[str, ...]:
    """bubblewrap's tagged arguments (``bwrap.py``) up to the program, for a proxy that speaks with ``buses``.

    Nothing is in it but programs and libraries, the sockets it connects to, the directory of this launch, the identity.
    """
    roots = [
        ("--symlink", entry.target, entry.path) if entry.kind == "link" else ("--ro-bind", entry.path, entry.path)
        for entry in host.system
    ]
    linker = [("--ro-bind-try", entry.path, entry.path) for entry in host.etc if entry.path.startswith("/etc/ld")]
    sockets = [socket for bus in buses if (socket := _path(bus.address))]
    # An abstract socket is found in the network namespace that it was made in, and nowhere else.
    network = [] if len(sockets) == len(buses) else [("--share-net",)]
    fixed = [
        ("--unshare-all",), *network, ("--unshare-user",), ("--disable-userns",), ("--cap-drop", "ALL"),
        ("--die-with-parent",), ("--ro-bind", "/usr", "/usr"), *roots, *linker,
        *(("--ro-bind", socket, socket) for socket in sockets),
    ]  # fmt: skip
    words = [f"={word}" for option in fixed for word in option]
    words += ["=--bind", "s", "s", "=--ro-bind", f"s{sandbox.IDENTITY}", f"={portals.IDENTITY_FILE}"]
    words += ["=--remount-ro", "=/"]
    return ("=--args", f"l{len(words)} ", *words, "=--", f"={host.proxy}")


def _path(address: str) -> str:
    """The file of a ``unix:path=`` address, or empty (D-Bus Specification, "Server Addresses")."""
    keys = dict(pair.partition("=")[::2] for pair in address.removeprefix("unix:").split(","))
    return urllib.parse.unquote(keys.get("path", ""), errors="surrogateescape")
