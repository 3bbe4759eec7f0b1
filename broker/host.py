"""The machine as one user sees it now: everything that compiling may know, looked at once (SPEC §9.1).

Takes the environment and what the launch needs; gives ``facts.HostFacts`` and the guards of all that was consulted.
Looks only at what is needed: no compositor is spoken to for an app without windows.
"""

import contextlib
import ctypes
import dataclasses
import grp
import json
import os
import pwd
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker import (
    bus,
    closure,
    displays,
    guards,
    launchers,
    mounts,
    objects,
    overrides,
    programs,
    services,
    state,
    userdirs,
)
from intents import appearance, base, errors, facts, model, paths
from intents.kinds import display, dns, network

# Beside /usr, or links into it; where some distributions keep everything.
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", *paths.STORES)
LINKS = (paths.CURRENT_SYSTEM, "/home")  # where they are links: to what is in use, to where the homes are
LIBRARIES = (
    "/lib", "/lib32", "/lib64", "/libx32", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libx32", "/usr/local/lib",
    "/usr/local/lib64", *paths.STORES,
)  # fmt: skip
# What programs read before they do anything of their own: linker, locale, time, fonts, toolkits, graphics, terminals.
# Everything here is shown to every app, so nothing of it may tell who the user is or which machine this is.
ETC = (
    "/etc/alternatives", "/etc/drirc", "/etc/fonts", "/etc/glvnd", "/etc/gtk-2.0", "/etc/gtk-3.0", "/etc/gtk-4.0",
    "/etc/inputrc", "/etc/ld-musl-aarch64.path", "/etc/ld-musl-x86_64.path", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/etc/locale.alias", "/etc/locale.conf", "/etc/localtime", "/etc/mime.types",
    "/etc/os-release", "/etc/pango", "/etc/terminfo", "/etc/timezone", "/etc/vulkan", "/etc/xdg",
)  # fmt: skip
MEDIA = ("/run/media", "/media")
RESERVED = ("/etc/intents", "/usr/share/intents", "/var/lib/intents")
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
PATIENCE = 5.0  # seconds for a bus on a busy machine
_WHAT = ("path", "place", "display", "bus", "documents", "socket", "nodes", "mounts", "look", "program")
EVERYTHING = (
    *(facts.Need(what="display", name=name) for name in ("wayland", "x11")),
    *(facts.Need(what="bus", name=name) for name in ("session", "system")),
    facts.Need(what="documents", name="session"),
    *(facts.Need(what="socket", name=name) for name in services.SOCKETS),
    *(facts.Need(what="nodes", name=name) for name in services.PATTERNS),
    *(facts.Need(what="program", name=name) for name in display.NESTED),
    *network.Network(scope=network.LAN).needs(),
)

_LANDLOCK_CREATE_RULESET = 444  # the same number on every processor (asm-generic/unistd.h)
_LANDLOCK_VERSION_FLAG = 1
_HostFacts = facts.HostFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """One look at the machine, and the guards under which what was seen still holds."""

    facts: _HostFacts
    guards: tuple[guards.Guard, ...]


def look(manifest: model.Manifest, environ: Mapping[str, str], kept: state.Places) -> Looked:
    """The machine as far as ``manifest`` needs to know it, and the guards of everything that was consulted.

    kept: the reserved places that ``state.places`` gave for the same environment. The facts' ``paths`` hold each place
    that an intent names and whose root exists here, the program, the reserved places and the links of /etc.
    Raises HostError ``unsafe-account``.
    """
    needs = {need for intent in manifest.intents for need in intent.scope.needs()}
    if manifest.app.files:
        needs.add(facts.Need(what="mounts", name=mounts.TABLE))
    if manifest.app.base == base.DESKTOP:
        needs |= {facts.Need(what="look", name=place) for place in appearance.places(manifest.app)}
    looked = _look(needs, manifest.app.command[0], manifest.app.id, environ, kept)
    return _with_closure(looked, manifest.app, environ) if manifest.app.base == base.STRICT else looked


def _look(
    needs: Iterable[facts.Need], command: str, app_id: str, environ: Mapping[str, str], kept: state.Places
) -> Looked:
    watch = guards.Watch(environ)
    wanted = {what: sorted(need.name for need in needs if need.what == what) for what in _WHAT}
    account = _account(watch, kept)
    runtime = os.path.dirname(kept.runtime)
    directories = (*_directories(watch, account, kept), *_media(watch, account))
    table = _mounts(watch) if wanted["place"] or wanted["mounts"] else ()
    reserved = _canonical(watch, kept, table)
    etc = tuple(objects.entries(watch, (*ETC, *dns.FILES, *dns.CERTIFICATES)))
    places = (paths.parse_place(text).resolve(dict(directories)) for text in (*wanted["place"], *wanted["look"]))
    links_of_system = [each for each in objects.entries(watch, LINKS) if each.kind == "link"]
    links = [entry.path for entry in etc if entry.kind == "link"]
    listed = (account.home, dict(directories).get(paths.REMOVABLE))
    asked = sorted({*filter(None, places), *wanted["path"], *reserved, *links, command})
    buses = tuple(filter(None, (_bus(watch, name, runtime, kept, app_id) for name in wanted["bus"])))
    seen = _HostFacts(
        machine=os.uname().machine,
        account=account,
        runtime_dir=runtime,
        directories=directories,
        reserved=reserved,
        apps=os.path.realpath(f"{kept.data}/apps"),
        system=(*objects.entries(watch, SYSTEM), *links_of_system),
        etc=etc,
        paths=tuple(objects.path(watch, each, listed) for each in asked),
        wayland=displays.look_wayland(watch) if "wayland" in wanted["display"] else None,
        x11=displays.look_x11(watch, account) if "x11" in wanted["display"] else None,
        buses=buses,
        bwrap=_program(watch, "bwrap"),
        proxy=_program(watch, "xdg-dbus-proxy"),
        landlock=landlock(),
        abstract_sockets=displays.abstract_sockets(),
        env_resets_signals=_signals(watch),
        code=programs.code(),
        sockets=services.sockets(watch, wanted["socket"], runtime, account),
        documents=_documents(watch, [each.address for each in buses if each.name in wanted["documents"]]),
        nodes=services.nodes(watch, wanted["nodes"]),
        programs=tuple((name, found) for name in wanted["program"] if (found := _beside(watch, name))),
        kernel=mounts.system(table),
    )
    return Looked(facts=seen, guards=tuple(watch.taken.values()))


def _with_closure(looked: Looked, app: model.App, environ: Mapping[str, str]) -> Looked:
    """The same with what the program needs, for a base that shows nothing else."""
    watch, seen = guards.Watch(environ), looked.facts
    libraries = tuple(objects.entries(watch, LIBRARIES))
    # What the next wider base shows: no closure leads further.
    shown = ("/usr", "/etc/alternatives", *(entry.path for entry in seen.system if entry.path != "/home"))
    area = closure.Area(shown=shown, hidden=(seen.account.home, *seen.reserved))
    found = closure.look(app.command[0], app.extras, seen.machine, area, watch.see)
    known = dataclasses.replace(seen, libraries=libraries, closure=found)
    return Looked(facts=known, guards=tuple(dict.fromkeys((*looked.guards, *watch.taken.values()))))


def survey(environ: Mapping[str, str], kept: state.Places, command: str = "/bin/sh") -> facts.HostFacts:
    """The machine with everything that any app could need: both displays, both buses. Raises as ``look`` does."""
    return _look(EVERYTHING, command, "", environ, kept).facts


def record(environ: Mapping[str, str], command: str) -> str:
    """The machine as the JSON of ``facts.to_json``, with every bus and display but without the user's name, home,
    numbers and runtime directory: fit to be shown to others. Raises HostError ``unsafe-account``."""
    seen = survey(environ, state.places(environ, os.geteuid()), command)
    account = facts.Account(uid=1000, gid=1000, user="user", group="user", home="/home/user")
    moved = {seen.account.home: account.home, seen.runtime_dir or "/run/user": "/run/user/1000"}
    owners = tuple(dataclasses.replace(fact, owner=min(fact.owner, account.uid), identity="") for fact in seen.paths)
    sockets = tuple(name for name in seen.abstract_sockets if name.startswith(network.X11_ABSTRACT))
    nameless = dataclasses.replace(seen, account=account, paths=owners, abstract_sockets=sockets, code=(), kernel=())
    text = json.dumps(_renamed(json.loads(facts.to_json(nameless)), moved))
    return facts.to_json(facts.from_json(text)).encode("utf-8", "backslashreplace").decode()


def _renamed(value: object, moved: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for before, after in moved.items():
            value = re.sub(f"{re.escape(before)}(?=/|$)", after, value)
        return value
    if isinstance(value, list):
        return [_renamed(item, moved) for item in value]
    return {key: _renamed(item, moved) for key, item in value.items()} if isinstance(value, dict) else value


def _account(watch: guards.Watch, kept: state.Places) -> facts.Account:
    uid, gid = os.geteuid(), os.getegid()
    if (os.getuid(), os.getgid()) != (uid, gid):
        raise errors.HostError("unsafe-account", f"this program runs as user {uid} for user {os.getuid()}")
    for file in ("/etc/passwd", "/etc/group"):
        watch.see("file", file)
    for variable in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        watch.see("env", variable)
    watch.see("real", kept.home)
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    home = os.path.realpath(kept.home)
    return facts.Account(uid=uid, gid=gid, user=pwd.getpwuid(uid).pw_name, group=group, home=home)


def _directories(watch: guards.Watch, account: facts.Account, kept: state.Places) -> tuple[tuple[str, str], ...]:
    cache = watch.variable("XDG_CACHE_HOME")
    if not state.private_directory(cache, account.uid):
        cache = f"{kept.home}/.cache"
    bases = {
        "xdg-cache": os.path.normpath(cache),
        "xdg-config": os.path.dirname(kept.config),
        "xdg-data": os.path.dirname(kept.data),
        "xdg-state": os.path.dirname(kept.state),
    }
    config = f"{bases['xdg-config']}/user-dirs.dirs"
    watch.see("file", config)
    for name in userdirs.DEFAULTS.values():
        watch.see("node", f"{account.home}/{name}")
    personal = userdirs.read(config, account.home, account.uid)
    for directory in personal.values():
        watch.see("real", directory)
    resolved = {"home": account.home} | bases | personal
    return tuple((root, _below(found, kept.home, account.home)) for root, found in resolved.items())


def _media(watch: guards.Watch, account: facts.Account) -> tuple[tuple[str, str], ...]:
    """Where the desktop mounts what this user plugs in: udisks2 makes the directory, which is root's, for the first."""
    for above in MEDIA:
        place = f"{above}/{account.user}"
        watch.see("real", place)
        watch.see("node", place)
        with contextlib.suppress(OSError):
            info = os.lstat(place)
            if stat.S_ISDIR(info.st_mode) and not info.st_uid and os.path.realpath(place) == place:
                return ((paths.REMOVABLE, place),)
    return ()


def _below(found: str, before: str, after: str) -> str:
    return after + found[len(before) :] if paths.inside(found, before) else found


def _canonical(watch: guards.Watch, kept: state.Places, table: tuple[mounts.Mount, ...]) -> tuple[str, ...]:
    """The reserved places of this environment and of one without XDG variables, by every path that leads there."""
    usual = [f"{kept.home}/{base}/{state.NAME}" for base in (".local/state", ".local/share", ".config")]
    own = [place for place in (kept.state, kept.data, kept.config, kept.runtime, *usual, *RESERVED) if place]
    for place in own:
        watch.see("real", place)
    real = [os.path.realpath(place) for place in own]
    return tuple(dict.fromkeys((*real, *(other for place in real for other in mounts.others(place, table)))))


def _mounts(watch: guards.Watch) -> tuple[mounts.Mount, ...]:
    watch.see("same", mounts.TABLE)
    return mounts.read()


def _bus(watch: guards.Watch, name: str, runtime: str, kept: state.Places, app_id: str) -> facts.Bus | None:
    if name == "a11y":
        address, services = _accessibility(watch, runtime), ["/usr/share/dbus-1/accessibility-services"]
    elif name == "session":
        address = _session(watch, runtime)
        shared = watch.variable("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        bases = (runtime, os.path.dirname(kept.data), *shared.split(":"))
        services = [f"{directory}/dbus-1/services" for directory in bases if os.path.isabs(directory)]
    else:
        address = bus.usable(watch.variable("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS)
        services = ["/usr/local/share/dbus-1/system-services", "/usr/share/dbus-1/system-services"]
    where = bus.target(address)
    if not where:
        return None
    if not where.startswith("\0"):
        watch.see("file", where)
    for directory in services:
        watch.see("list", directory)
    found = bus.names(address, PATIENCE)
    if found is None:
        return None
    foreign = tuple(each for each in found[0] if each != app_id or not _ours(kept, app_id, bus.owner(address, app_id)))
    watch.see("file", overrides.file(kept))
    ours = name == "session" and launchers.controlled(kept, app_id, address, found[1])
    activatable = tuple(each for each in found[1] if not ours or each != app_id)
    return facts.Bus(name=name, address=address, owned=foreign, activatable=activatable)


def _session(watch: guards.Watch, runtime: str) -> str:
    default = bus.address(f"{runtime}/bus") if runtime else ""
    return bus.usable(watch.variable("DBUS_SESSION_BUS_ADDRESS") or default)


def _accessibility(watch: guards.Watch, runtime: str) -> str:
    """Toolkits look for a variable, then ask the session bus; who answers there starts the accessibility bus."""
    known = watch.variable("AT_SPI_BUS_ADDRESS")
    if not known:
        known = bus.told(_session(watch, runtime), "org.a11y.Bus", "/org/a11y/bus", "GetAddress", PATIENCE)
    return bus.usable(known)


def _documents(watch: guards.Watch, addresses: Iterable[str]) -> str:
    """Where the document portal shows its files: a file system of its own, another one once it was restarted."""
    for address in addresses:
        where = os.fsdecode(bus.documents(address, PATIENCE))
        if os.path.isabs(where) and os.path.ismount(where):
            watch.see("real", where)
            watch.see("node", f"{where}/by-app")
            return where
    return ""


def _ours(kept: state.Places, app_id: str, pid: int) -> bool:
    """Whether a process is the filter of an instance of this app: what owns the id there is sandboxed already."""
    with contextlib.suppress(OSError, ValueError):
        run = f"{kept.runtime or kept.state}/run"
        for name in os.listdir(run):
            first = (state.read_private(f"{run}/{name}", 4096) or b"").partition(b"\n")[0] if "." in name else b""
            record = json.loads(first) if first else {}
            if pid and record.get("app") == app_id and record.get("proxy") in _ancestry(pid):
                return os.readlink(f"/proc/{pid}/exe") == programs.find("xdg-dbus-proxy")
    return False


def _ancestry(pid: int) -> tuple[int, ...]:
    """The process, and those above it as far as bubblewrap's two go that a proxy may run in (SPEC §9.8)."""
    found = [pid]
    while len(found) < 3 and found[-1]:
        with open(f"/proc/{found[-1]}/stat", "rb") as status:
            found.append(int(status.read().rpartition(b")")[2].split()[1]))
    return tuple(found)


def _program(watch: guards.Watch, name: str, search: tuple[str, ...] = programs.SEARCH) -> str:
    for directory in search:
        watch.see("file", f"{directory}/{name}")
    return programs.find(name, search)


def _beside(watch: guards.Watch, name: str) -> str:
    """One that works beside apps; nft(8) is the administrator's, and so not where users' programs are."""
    return _program(watch, name, (*programs.SEARCH, *programs.ADMIN))


def _signals(watch: guards.Watch) -> bool:
    watch.see("file", "/usr/bin/env")
    return env_resets_signals()


def env_resets_signals() -> bool:
    """Whether /usr/bin/env understands ``--default-signal``, as GNU coreutils 8.31 and newer do."""
    return programs.run("/usr/bin/env", "--default-signal=INT", "true")[0] == 0


def landlock() -> int:
    """The Landlock ABI version of this kernel, 0 without Landlock (landlock_create_ruleset(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    return max(int(version), 0)
