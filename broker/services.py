"""What a grant can lead to besides displays and buses: sockets of services, device nodes.

Looks where each service is looked for by its own client library; what does not answer does not exist (SPEC §9.1).
"""

import glob
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping

from broker import displays, guards
from intents import facts

Candidates = Callable[[Mapping[str, str], str, str], list[str]]


def _pulse(environ: Mapping[str, str], runtime: str, _home: str) -> list[str]:
    server = environ.get("PULSE_SERVER", "")
    named = [server.removeprefix("unix:")] if server.startswith(("unix:/", "/")) else []
    return named or ([f"{runtime}/pulse/native"] if runtime else [])


def _pipewire(environ: Mapping[str, str], runtime: str, _home: str) -> list[str]:
    where, name = environ.get("PIPEWIRE_RUNTIME_DIR") or runtime, environ.get("PIPEWIRE_REMOTE") or "pipewire-0"
    return [name if name.startswith("/") else f"{where}/{name}"] if where else []


def _cups(environ: Mapping[str, str], _runtime: str, _home: str) -> list[str]:
    named = environ.get("CUPS_SERVER", "")
    return [named] if named.startswith("/") else ["/run/cups/cups.sock", "/var/run/cups/cups.sock"]


def _pcscd(environ: Mapping[str, str], _runtime: str, _home: str) -> list[str]:
    return [environ.get("PCSCLITE_CSOCK_NAME") or "/run/pcscd/pcscd.comm"]


def _ssh_agent(environ: Mapping[str, str], _runtime: str, _home: str) -> list[str]:
    return [environ["SSH_AUTH_SOCK"]] if environ.get("SSH_AUTH_SOCK") else []


def _gpg_agent(environ: Mapping[str, str], runtime: str, home: str) -> list[str]:
    # GnuPG's common/homedir.c: below /run/user/UID whatever the environment says, in a directory of its own for every
    # home but the usual one; where there is no such directory, in the home itself.
    run = f"/run/user/{os.geteuid()}/gnupg"
    own = os.path.abspath(environ.get("GNUPGHOME") or f"{home}/.gnupg")
    if own != f"{home}/.gnupg":
        places = [f"{run}/d.{_gpg_name(own)}", own]
    else:
        places = [run, *([f"{runtime}/gnupg"] if runtime else []), own]
    # The socket for callers elsewhere: it signs and decrypts, and neither gives keys out nor changes them.
    return [f"{place}/S.gpg-agent.extra" for place in places]


def _gpg_name(home: str) -> str:
    """The first 15 bytes of the name's SHA-1 in z-base-32, 24 letters."""
    number = int.from_bytes(hashlib.sha1(os.fsencode(home), usedforsecurity=False).digest()[:15], "big")
    return "".join("ybndrfg8ejkmcpqxot1uwisza345h769"[number >> shift & 31] for shift in range(115, -1, -5))


# name -> (the variables that move it, where it may be, first the one that counts)
SOCKETS: dict[str, tuple[tuple[str, ...], Candidates]] = {
    "pulse": (("PULSE_SERVER",), _pulse),
    "pipewire": (("PIPEWIRE_RUNTIME_DIR", "PIPEWIRE_REMOTE"), _pipewire),
    "cups": (("CUPS_SERVER",), _cups),
    "pcscd": (("PCSCLITE_CSOCK_NAME",), _pcscd),
    "ssh-agent": (("SSH_AUTH_SOCK",), _ssh_agent),
    "gpg-agent": (("GNUPGHOME",), _gpg_agent),
}
_KINDS = {stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFDIR: "dir"}
PATTERNS = ("/dev/dri/renderD*", "/dev/nvidia*", "/dev/video*", "/dev/media*", "/dev/input/js*", "/dev/bus/usb")


def sockets(
    watch: guards.Watch, names: Iterable[str], runtime: str, account: facts.Account
) -> tuple[tuple[str, str], ...]:
    """(name, canonical path) of those named services of ``SOCKETS`` that somebody listens for."""
    found = []
    for name in names:
        variables, candidates = SOCKETS[name]
        for variable in variables:
            watch.see("env", variable)
        for candidate in candidates(watch.environ, runtime, account.home):
            watch.see("real", candidate)
            watch.see("file", candidate)
            if os.path.isabs(candidate) and displays.listens(candidate):
                found.append((name, os.path.realpath(candidate)))
                break
    return tuple(found)


def nodes(watch: guards.Watch, patterns: Iterable[str]) -> tuple[facts.Node, ...]:
    """What stands below /dev under those patterns, sorted; a link counts as what it leads to, in /dev as well."""
    found: dict[str, set[str]] = {}
    for pattern in patterns:
        watch.see("names", os.path.dirname(pattern))
        for name in glob.glob(pattern):
            watch.see("real", name)
            found.setdefault(os.path.realpath(name), set()).add(name)
    made = (_node(watch, path, found[path] - {path}) for path in sorted(found))
    return tuple(node for node in made if node)


def _node(watch: guards.Watch, path: str, names: set[str]) -> facts.Node | None:
    watch.see("node", path)
    try:
        kind = _KINDS.get(stat.S_IFMT(os.stat(path).st_mode), "")
    except OSError:
        return None
    if not kind or not path.startswith("/dev/"):
        return None
    needed = os.R_OK | (os.X_OK if kind == "dir" else os.W_OK)
    return facts.Node(path=path, kind=kind, usable=os.access(path, needed), names=tuple(sorted(names)))
