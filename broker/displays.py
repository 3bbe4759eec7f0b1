"""The displays of the session: the compositor's socket and its registry, the real X11 server (SPEC §5.4)."""

import os
import re
import socket
import stat
from collections.abc import Mapping

from broker import guards, state, wayland
from broker.companions import wayland_context
from intents import facts

PATIENCE = 5.0  # seconds for a compositor or a display on a busy machine
_DISPLAY = re.compile(r"(?:unix)?:([0-9]{1,5})(?:\.[0-9]+)?")
_ACCEPTING = 0x10000  # __SO_ACCEPTCON in /proc/net/unix: somebody listens (proc(5))


def wayland_socket(environ: Mapping[str, str]) -> str:
    """The path of the compositor's socket that WAYLAND_DISPLAY names, or empty where there is none.

    Stricter than libwayland, which falls back to ``wayland-0``: a login over the network would show its windows to
    whoever sits at the machine.
    """
    where = compositor(environ)
    try:
        return where if where and stat.S_ISSOCK(os.stat(where).st_mode) else ""
    except OSError:
        return ""


def compositor(environ: Mapping[str, str]) -> str:
    """Where the socket that WAYLAND_DISPLAY names would be, or empty where it names none that counts."""
    name, runtime = environ.get("WAYLAND_DISPLAY", ""), environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(name):
        return name
    usable = name and "/" not in name and state.private_directory(runtime, os.geteuid())
    return os.path.join(runtime, name) if usable else ""


def look_wayland(watch: guards.Watch) -> facts.Wayland | None:
    """The compositor and what it offers, to a plain client and to a sandboxed one; None where none answers."""
    for variable in ("WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"):
        watch.see("env", variable)
    where = compositor(watch.environ)
    if not where:
        return None
    watch.see("real", where)
    watch.see("file", where)
    found = wayland.registry(where, PATIENCE)
    if found is None:
        return None
    context = wayland.context(where, PATIENCE) if wayland_context.MANAGER in found else None
    return facts.Wayland(socket=os.path.realpath(where), globals=found, context=context)


def look_x11(watch: guards.Watch, account: facts.Account) -> facts.X11 | None:
    """The real X11 server of DISPLAY on this machine; None where none answers."""
    local = _DISPLAY.fullmatch(watch.variable("DISPLAY"))
    if not local:
        return None
    number = int(local[1])
    where = f"/tmp/.X11-unix/X{number}"
    watch.see("file", where)
    if not listens(where):
        return None
    authority = os.path.realpath(watch.variable("XAUTHORITY") or f"{account.home}/.Xauthority")
    watch.see("node", authority)
    try:
        info = os.stat(authority)
        usable = stat.S_ISREG(info.st_mode) and info.st_uid == account.uid
    except OSError:
        usable = False
    twin = f"@{where}" in abstract_sockets()
    return facts.X11(display=number, socket=where, abstract=twin, authority=authority if usable else "")


def listens(path: str) -> bool:
    """Whether somebody accepts connections on the Unix socket at ``path``."""
    try:
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(path)
    except OSError:
        return False
    return True


def abstract_sockets(table: str = "/proc/net/unix") -> tuple[str, ...]:
    """Names of the abstract sockets that somebody listens on, sorted, each with its leading ``@`` (proc(5))."""
    try:
        with open(table, encoding="utf-8", errors="backslashreplace") as file:
            rows = [line.rstrip("\n").split(None, 7) for line in file]
    except OSError:
        return ()
    listening = (row for row in rows[1:] if len(row) == 8 and int(row[3], 16) & _ACCEPTING)
    return tuple(sorted({row[7] for row in listening if row[7].startswith("@")}))
