"""What this machine can enforce, found out by trying, and the command that mends each shortcoming (SPEC §11)."""

import ctypes
import errno
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from broker import catalog, doctor_live, doctor_proxy, host, overrides, programs, state
from broker.ui import dialog
from intents import errors, facts, paths, seccomp
from intents.kinds import display, network

OK, DEGRADED, MISSING, ABSENT = "ok", "degraded", "missing", "absent"

# What Debian calls a package, by the package managers that call it otherwise.
_PACKAGES = {
    ("python3-gi", "dnf"): "python3-gobject",
    ("python3-gi", "pacman"): "python-gobject",
    ("python3-gi", "apk"): "py3-gobject3",
    ("gir1.2-gtk-4.0", "dnf"): "gtk4",
    ("gir1.2-gtk-4.0", "pacman"): "gtk4",
    ("gir1.2-gtk-4.0", "apk"): "gtk4.0",
}
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2  # prctl(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. status: ok, degraded (less is enforced than could be), missing (launches need it, and it
    is not there or not usable) or absent (not here, as on a server); sentence: what was found and what it means; fix:
    the exact command that mends it, or empty."""

    name: str
    status: str
    sentence: str
    fix: str = ""


def examine(environ: Mapping[str, str]) -> tuple[Finding, ...]:
    """Everything that the enforcement rests on, most important first. Changes nothing; raises nothing of ours."""
    bwrap = programs.find("bwrap")
    found = [*_bwrap(bwrap), _filter(os.uname().machine), _landlock(host.landlock()), _tiocsti(), _signals()]
    try:
        kept = state.places(environ, os.geteuid())
        seen = host.survey(environ, kept)
    except errors.HostError as error:
        return (*found, _proxy(), Finding(name="account", status=MISSING, sentence=_sentence(error), fix=error.hint))
    displays = (_wayland(seen.wayland), _x11(seen.x11), _abstract(seen), _window(dialog.missing(environ)))
    buses = (_proxy(), *(_bus(name, seen) for name in ("session", "system")))
    return (*found, *displays, *buses, _uplink(), _runtime(kept), *_reserved(kept), *_overrides(kept))


def render(findings: Sequence[Finding]) -> str:
    """The findings as lines for people, each fix below its finding. No final newline."""
    lines = []
    for found in findings:
        lines.append(f"{found.status:9} {found.name}: {paths.printable(found.sentence)}")
        if found.fix:
            lines.append(f"{'':9} fix: {paths.printable(found.fix)}")
    return "\n".join(lines)


def as_data(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The findings as JSON objects: name, status, sentence, fix."""
    return [asdict(found) for found in findings]


def _sentence(error: errors.IntentError) -> str:
    return error.message[:1].upper() + error.message[1:] + "."


def _bwrap(path: str) -> Iterator[Finding]:
    name, namespaces = "bubblewrap", "user namespaces"
    try:
        programs.check_bwrap(path)
    except errors.HostError as error:
        if error.code != "userns-forbidden":
            yield Finding(name=name, status=MISSING, sentence=_sentence(error), fix=error.hint)
            untried = "They cannot be tried without a usable bubblewrap."
            yield Finding(name=namespaces, status=MISSING, sentence=untried)
            return
        yield Finding(name=name, status=OK, sentence=f"{path} has every option that is needed.")
        yield Finding(name=namespaces, status=MISSING, sentence=_sentence(error), fix=error.hint)
        return
    yield Finding(name=name, status=OK, sentence=f"{path} has every option that is needed.")
    restricted = programs.read_line("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1"
    also = " although AppArmor restricts them" if restricted and os.geteuid() else ""
    yield Finding(name=namespaces, status=OK, sentence=f"A sandbox can be made and closed for further ones{also}.")
    yield _planted(path)
    yield _live(path)


def _planted(path: str) -> Finding:
    """CVE-2026-87766: does this bubblewrap follow a link that an earlier run of the app left behind?"""
    name = "planted links"
    with tempfile.TemporaryDirectory() as directory:
        box, canary = f"{directory}/box", f"{directory}/canary"
        os.mkdir(box)
        os.mkdir(canary)
        # While bubblewrap builds the new root, the host's is at /oldroot.
        os.symlink(f"/oldroot{canary}", f"{box}/link")
        asked = ("--bind", box, "/tmp", "--dir", "/tmp/link/made", "--", "/bin/true")
        programs.run(path, "--unshare-user", "--ro-bind", "/", "/", *asked)
        followed = os.path.exists(f"{canary}/made")
    if not followed:
        return Finding(name=name, status=OK, sentence="bubblewrap does not follow links while it builds the sandbox.")
    return Finding(
        name=name,
        status=DEGRADED,
        sentence="This bubblewrap follows links that an app planted (CVE-2026-87766; 0.12 does not). Apps of intents "
        "cannot use that: nothing is ever mounted below a directory they can write.",
    )


def _live(path: str) -> Finding:
    name = "running apps"
    if why := doctor_live.probe(path):
        only = f"What is granted or revoked reaches an app at its next start, also with --now ({why})."
        return Finding(name=name, status=DEGRADED, sentence=only)
    return Finding(name=name, status=OK, sentence="What you grant or revoke with --now reaches apps that run already.")


def _filter(machine: str) -> Finding:
    name = "system call filter"
    try:
        seccomp.build(machine)
    except errors.HostError as error:
        return Finding(name=name, status=MISSING, sentence=_sentence(error), fix=error.hint)
    libc = ctypes.CDLL(None, use_errno=True)
    # A kernel with filters reads the program, which is not there: EFAULT; one without does not know the mode: EINVAL.
    libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None)
    if ctypes.get_errno() == errno.EFAULT:
        return Finding(name=name, status=OK, sentence=f"The kernel takes filters, and there is one for {machine}.")
    lacking = "The kernel takes no system call filter (CONFIG_SECCOMP_FILTER)."
    return Finding(name=name, status=MISSING, sentence=lacking)


def _landlock(version: int) -> Finding:
    name = "Landlock"
    if version >= network.LANDLOCK_SCOPES:
        closes = f"ABI {version} closes abstract sockets to apps on the host's network."
        return Finding(name=name, status=OK, sentence=closes)
    what = f"only has ABI {version}" if version else "is absent or switched off"
    reach = "an app with the host's network reaches the abstract sockets of other programs. Linux 6.12 closes them."
    return Finding(name=name, status=DEGRADED, sentence=f"Landlock {what}: {reach}")


def _tiocsti() -> Finding:
    name = "TIOCSTI"
    if programs.read_line("/proc/sys/dev/tty/legacy_tiocsti") == "0":
        return Finding(name=name, status=OK, sentence="The kernel lets no program type into its terminal.")
    own = "Apps of intents cannot: they get a terminal of their own, and the filter refuses it."
    knob = os.path.exists("/proc/sys/dev/tty/legacy_tiocsti")
    return Finding(
        name=name,
        status=DEGRADED,
        sentence=f"Programs outside intents may type into the terminal they run on. {own}",
        fix=f"{programs.sudo()}sysctl -w dev.tty.legacy_tiocsti=0" if knob else "",
    )


def _signals() -> Finding:
    name = "/usr/bin/env"
    if host.env_resets_signals():
        return Finding(name=name, status=OK, sentence="It resets ignored signals before the app starts.")
    kept = "It cannot reset signals (GNU coreutils 8.31 can): an app started with signals ignored keeps them so."
    return Finding(name=name, status=DEGRADED, sentence=kept, fix=programs.install("coreutils"))


def _wayland(found: facts.Wayland | None) -> Finding:
    name = "Wayland"
    if found is None:
        no = "No compositor answers (WAYLAND_DISPLAY, XDG_RUNTIME_DIR): apps with Wayland windows cannot start."
        return Finding(name=name, status=ABSENT, sentence=no)
    if display.in_context(found):
        kept = f"The compositor at {found.socket} keeps apps apart itself (security context)."
        return Finding(name=name, status=OK, sentence=kept)
    powers = "; ".join(display.powers(found.globals)) or "do little more than an app may"
    kept = f"A filter keeps apps apart: the compositor at {found.socket} lets every program {powers}."
    return Finding(name=name, status=OK, sentence=kept)


def _x11(found: facts.X11 | None) -> Finding:
    if found is None:
        return Finding(name="X11", status=OK, sentence="No local X11 display answers (DISPLAY).")
    twin = ", also at an abstract socket" if found.abstract else ""
    walls = "every app with this display can read all keys and see all windows"
    return Finding(name="X11", status=DEGRADED, sentence=f"Display :{found.display} answers{twin}: {walls}.")


def _window(missing: str) -> Finding:
    name = "questions in a window"
    if not missing:
        return Finding(name=name, status=OK, sentence="A start without a terminal asks in a window.")
    if missing == "display":
        no = "No display answers (WAYLAND_DISPLAY, DISPLAY): a start without a terminal cannot ask."
        return Finding(name=name, status=ABSENT, sentence=no)
    what = "the distribution's PyGObject" if missing == "python3-gi" else "GTK 4 for PyGObject"
    lacking = f"A start without a terminal cannot ask: /usr/bin/python3 does not find {what} (Debian's {missing})."
    package = _PACKAGES.get((missing, programs.package_manager()), missing)
    return Finding(name=name, status=DEGRADED, sentence=lacking, fix=programs.install(package))


def _uplink() -> Finding:
    """Whether the internet can be given without the rest; servers by name need nothing of this."""
    name = "internet alone"
    for program, package in network.TOOLS:
        if not programs.find(program, (*programs.SEARCH, *programs.ADMIN)):
            lacking = f"`{program}` is not installed: an app gets servers by name or the whole network."
            return Finding(name=name, status=DEGRADED, sentence=lacking, fix=programs.install(package))
    if not os.access(network.TUN, os.R_OK | os.W_OK):
        lacking = f"{network.TUN} is not yours to use: an app gets servers by name or the whole network."
        return Finding(name=name, status=DEGRADED, sentence=lacking, fix=f"modprobe tun && chmod 0666 {network.TUN}")
    return Finding(name=name, status=OK, sentence="Apps can have the internet without your local network and services.")


def _abstract(seen: facts.HostFacts) -> Finding:
    name = "abstract sockets"
    count = len(seen.abstract_sockets)
    if not count:
        return Finding(name=name, status=OK, sentence="Nobody listens on one.")
    if seen.landlock >= network.LANDLOCK_SCOPES:
        closed = f"{count} listen, closed to apps on the host's network unless X11 is granted as well."
        return Finding(name=name, status=OK, sentence=closed)
    reachable = f"{count} listen, and apps on the host's network reach them:"
    return Finding(name=name, status=DEGRADED, sentence=f"{reachable} {', '.join(seen.abstract_sockets[:5])}.")


def _proxy() -> Finding:
    name = "xdg-dbus-proxy"
    path = programs.find(name)
    if not path:
        missing = "It is not installed: apps with D-Bus intents cannot have them."
        return Finding(name=name, status=MISSING, sentence=missing, fix=programs.install(name))
    said = {
        doctor_proxy.FIXED: (OK, f"{path} filters, also what pretends to be a reply (CVE-2026-94422)."),
        doctor_proxy.VULNERABLE: (
            DEGRADED,
            f"{path} has CVE-2026-94422: an app with any D-Bus intent reaches every name on that bus.",
        ),
        doctor_proxy.UNFILTERED: (MISSING, f"{path} does not filter."),
        doctor_proxy.UNKNOWN: (DEGRADED, f"{path} did not answer when it was tried (CVE-2026-94422 is not ruled out)."),
    }
    status, sentence = said[doctor_proxy.probe(path)]
    return Finding(name=name, status=status, sentence=sentence, fix="" if status == OK else programs.upgrade(name))


def _bus(name: str, seen: facts.HostFacts) -> Finding:
    found = seen.bus(name)
    if found is None:
        return Finding(name=f"{name} bus", status=ABSENT, sentence="It does not answer: apps cannot use it.")
    counts = f"{len(found.owned)} names are owned, {len(found.activatable)} can be started"
    return Finding(name=f"{name} bus", status=OK, sentence=f"It answers at {found.address}: {counts}.")


def _runtime(kept: state.Places) -> Finding:
    name = "runtime directory"
    if kept.runtime:
        return Finding(name=name, status=OK, sentence=f"{os.path.dirname(kept.runtime)} is yours alone.")
    lost = "XDG_RUNTIME_DIR names no directory that is yours alone: answers for one session are not offered."
    return Finding(name=name, status=DEGRADED, sentence=lost)


def _reserved(kept: state.Places) -> Iterator[Finding]:
    """Who owns what intents stands on: the user's own places, and root's."""
    bad = [(path, fault) for path, owner in _own(kept) if (fault := _fault(path, owner))]
    for path, (what, fix) in bad:
        yield Finding(name="reserved places", status=MISSING, sentence=f"{path} {what}.", fix=fix)
    if not bad:
        yield Finding(name="reserved places", status=OK, sentence="Nobody but you and root can change them.")


def _overrides(kept: state.Places) -> Iterator[Finding]:
    """Launchers and commands of ours that start nothing any more, or are not ours any more."""
    name = "overrides"
    try:
        known = overrides.recorded(kept)
    except errors.HostError as error:
        yield Finding(name=name, status=DEGRADED, sentence=_sentence(error), fix=error.hint)
        return
    here = catalog.ids(kept)
    bad = [each for each in known if each.app_id not in here or each.status != "installed"]
    for each in bad:
        if each.app_id not in here:
            why, fix = f"starts {each.app_id}, which has no manifest any more", f"intent-ctl forget {each.app_id}"
        else:
            why = "was changed since it was installed" if each.status == "changed" else "is gone"
            fix = f"intent-ctl unwrap --all {each.app_id}"
        yield Finding(name=name, status=DEGRADED, sentence=f"{each.path} {why}.", fix=fix)
    if known and not bad:
        yield Finding(
            name=name, status=OK, sentence=f"{len(known)} launchers and commands start apps in their sandbox."
        )


def _own(kept: state.Places) -> Iterator[tuple[str, int]]:
    uid = os.geteuid()
    files = ("broker.db", "mark", "locks", "plans", "stamps")
    for path in (kept.state, *(f"{kept.state}/{file}" for file in files), kept.data, kept.config, kept.runtime):
        if path:
            yield path, uid
    for path in host.RESERVED:
        yield path, 0


def _fault(path: str, owner: int) -> tuple[str, str] | None:
    try:
        info = os.lstat(path)
    except OSError:
        return None
    quoted = shlex.quote(path)
    if stat.S_ISLNK(info.st_mode):
        return "is a link", f"rm {quoted}"
    if info.st_uid != owner:
        return f"belongs to user {info.st_uid}, not to user {owner}", f"{programs.sudo()}chown {owner} {quoted}"
    if state.others_write(info):
        return f"has mode {stat.S_IMODE(info.st_mode):04o}", f"chmod go-w {quoted}"
    return None
