"""What compiling refuses and what it withholds, on recorded machines (SPEC §5, §8.6, §9)."""

import dataclasses
import pathlib

import pytest

from intents import compiler, decide, diff, errors, facts, kinds, model, sandbox
from intents.kinds import display, path

HOSTS = pathlib.Path(__file__).parent / "hosts"
NOW = model.Clock(wall=1_000, boottime=100, boot_id="boot", session="token")
HOME = "/home/user"


def host(*, found: tuple[facts.PathFact, ...] = (), **changed: object) -> facts.HostFacts:
    """A recorded machine with the program and the given paths on it."""
    recorded = facts.from_json((HOSTS / "debian12-desktop.json").read_text("utf-8"))
    program = facts.PathFact(path="/usr/bin/app", real="/usr/bin/app", kind="file", owner=0)
    return dataclasses.replace(recorded, paths=(*found, program, *recorded.paths), **changed)  # type: ignore[arg-type]


def at(where: str, kind: str = "dir", real: str = "", entries: tuple[tuple[str, str], ...] = ()) -> facts.PathFact:
    return facts.PathFact(path=where, real=real or where, kind=kind, owner=1000, entries=entries)


def compiled(
    seen: facts.HostFacts,
    *,
    optional: bool = False,
    granted: bool = True,
    command: str = "/usr/bin/app",
    **scope: object,
) -> compiler.Compiled:
    """One intent, granted or denied, compiled."""
    intent = model.Intent(id="it", scope=kinds.from_data(scope), optional=optional, reason="r", if_denied="d")
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=(command,), interface="window",
        aliases=(), packages=(("apt", "app"),),
    )  # fmt: skip
    manifest = model.Manifest(app=app, intents=(intent,), digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    effect = model.Effect.ALLOW if granted else model.Effect.DENY
    objects = {text: text for text in intent.scope.objects()}
    life = model.Life(span=model.Lifespan.FOREVER)
    made = decide.decisions(intent, intent.scope.parts(), effect, life, objects, source="command", now=NOW)
    return compiler.compile_sandbox(decide.settle(diff.diff(vetted, made, NOW, objects)), seen)


INTERNET = {"kind": "network", "scope": "internet"}
TOOLS = (("pasta", "/usr/bin/pasta"), ("nft", "/usr/sbin/nft"))
TUN = facts.Node(path="/dev/net/tun", kind="char", usable=True)
BUS = {"kind": "dbus", "bus": "session"}
READ = {"kind": "path", "access": "read"}
WRITE = {"kind": "path", "access": "write"}
NO_BUS = facts.Bus(name="session", address="unix:path=/run/user/1000/bus", activatable=(), owned=())


@pytest.mark.parametrize(
    ("code", "scope", "seen"),
    [
        ("no-wayland", {"kind": "display", "protocol": "wayland"}, host(wayland=None)),
        ("no-x11", {"kind": "display", "protocol": "x11-host"}, host(x11=None)),
        ("no-nested-x11", {"kind": "display", "protocol": "x11"}, host(programs=())),
        ("no-uplink", INTERNET, host(programs=(), nodes=(TUN,))),
        ("no-uplink", INTERNET, host(programs=TOOLS[:1], nodes=(TUN,))),
        ("no-uplink", INTERNET, host(programs=TOOLS, nodes=())),
        ("no-uplink", INTERNET, host(programs=TOOLS, nodes=(dataclasses.replace(TUN, usable=False),))),
        ("no-port-limit", {"kind": "network", "scope": "host", "ports": [443]}, host(landlock=3)),
        ("no-bus", {**BUS, "talk": ["org.example.Other"]}, host(buses=())),
        ("proxy-missing", {**BUS, "talk": ["org.example.Other"]}, host(buses=(NO_BUS,), proxy="")),
        (
            "bus-name-activatable",
            {**BUS, "own": ["org.example.App"]},
            host(buses=(dataclasses.replace(NO_BUS, activatable=("org.example.App",)),)),
        ),
        (
            "bus-name-activatable",
            {**BUS, "own": ["org.example.App"]},
            host(buses=(dataclasses.replace(NO_BUS, owned=("org.example.App",)),)),
        ),
        ("place-missing", {**READ, "place": "home/gone"}, host(found=(at(f"{HOME}/gone", "absent"),))),
        ("place-missing", {**READ, "place": "home/never-looked-at"}, host()),
        ("path-refused", {**READ, "place": "home/pipe"}, host(found=(at(f"{HOME}/pipe", "other"),))),
        ("path-refused", {**READ, "place": "home/link"}, host(found=(at(f"{HOME}/link", real="/proc/1"),))),
        ("path-refused", {**READ, "place": "home/link"}, host(found=(at(f"{HOME}/link", real="/"),))),
        ("path-refused", {**READ, "place": "home/link"}, host(found=(at(f"{HOME}/link", real="/usr"),))),
        (
            "path-refused",
            {**READ, "place": "home/link"},
            host(found=(at(f"{HOME}/link", real=f"{HOME}/.local/state/intents/plans"),)),
        ),
        ("path-covers-reserved", {**WRITE, "place": "home/.local"}, host(found=(at(f"{HOME}/.local"),))),
        ("path-covers-reserved", {**READ, "place": "home/.local/share"}, host(found=(at(f"{HOME}/.local/share"),))),
        ("path-covers-reserved", {**WRITE, "place": "/var/lib"}, host(found=(at("/var/lib"),))),
    ],
)  # fmt: skip
def test_what_cannot_be_given_stops_a_required_intent_and_is_withheld_from_an_optional_one(
    code: str, scope: dict[str, object], seen: facts.HostFacts
) -> None:
    with pytest.raises(errors.IntentError) as refused:
        compiled(seen, **scope)
    assert refused.value.code == code
    result = compiled(seen, optional=True, **scope)
    assert [(name, error.code) for name, error in result.withheld] == [("it", code)]
    assert all(op.because == sandbox.BASE for op in result.sandbox.ops)


def test_a_required_denial_stops_the_launch() -> None:
    with pytest.raises(errors.RefusedError) as refused:
        compiled(host(), granted=False, kind="network", scope="host")
    assert refused.value.code == "required-intent-refused"
    assert refused.value.hint == "intent-ctl grant org.example.App it"


def test_an_absent_program_is_named_with_its_package() -> None:
    seen = host()
    without = tuple(fact for fact in seen.paths if fact.path != "/usr/bin/app")
    with pytest.raises(errors.HostError) as missing:
        compiled(dataclasses.replace(seen, paths=without), optional=True, kind="network", scope="host")
    assert missing.value.code == "program-missing"
    assert missing.value.exit_status == 127
    assert "apt install app" in missing.value.hint


def test_a_program_among_the_apps_own_directories_is_refused() -> None:
    where = f"{HOME}/.local/share/app/bin/app"
    with pytest.raises(errors.HostError) as refused:
        compiled(host(found=(at(where, "file"),)), command=where, optional=True, kind="network", scope="host")
    assert refused.value.code == "program-missing"
    assert "own directories" in refused.value.message


def program(seen: facts.HostFacts, real: str) -> facts.HostFacts:
    """The machine with the program being a link to somewhere else."""
    moved = facts.PathFact(path="/usr/bin/app", real=real, kind="file", owner=0)
    return dataclasses.replace(seen, paths=(moved, *seen.paths))


def test_a_program_outside_the_system_is_shown_alone() -> None:
    base = compiled(host(), optional=True, granted=False, kind="dns", scope="any").sandbox
    box = compiled(program(host(), "/opt/app/bin/app"), optional=True, granted=False, kind="dns", scope="any").sandbox
    added = [op for op in box.mounts if op not in base.mounts]
    assert added == [sandbox.Bind(source="/opt/app/bin/app", dest="/opt/app/bin/app")]


def test_names_without_a_network_give_nothing() -> None:
    base = compiled(host(), optional=True, granted=False, kind="dns", scope="any").sandbox
    assert compiled(host(), kind="dns", scope="any").sandbox == base


def test_the_scope_of_landlock_follows_network_and_display() -> None:
    assert compiled(host(landlock=7), kind="network", scope="host").sandbox.scoped
    assert not compiled(host(landlock=5), kind="network", scope="host").sandbox.scoped
    assert not compiled(host(landlock=7), kind="display", protocol="wayland").sandbox.scoped


def test_home_is_given_child_by_child_without_the_reserved_trees() -> None:
    hidden = ((".config", "dir"), (".local", "dir"), (".var", "dir"))
    entries = (("Documents", "dir"), (".bashrc", "file"), ("l", "link"), *hidden)
    seen = host(found=(at(HOME, entries=entries),))
    box = compiled(seen, **{**WRITE, "place": "home"}).sandbox
    given = [op.dest for op in box.mounts if op.because == "it"]
    assert given == [f"{HOME}/.bashrc", f"{HOME}/Documents"]


def test_a_grant_among_the_apps_own_directories_is_mounted_beside_them() -> None:
    seen = host(found=(at(f"{HOME}/.config/kdeglobals", "file"),))
    box = compiled(seen, **{**READ, "place": "xdg-config/kdeglobals"}).sandbox
    assert [op.dest for op in box.mounts if op.because == "it"] == [f"{HOME}/.granted/.config/kdeglobals"]
    (link,) = box.links
    assert (link.directory, link.below, link.target) == ("config", "kdeglobals", f"{HOME}/.granted/.config/kdeglobals")


def test_a_reserved_place_below_a_readable_directory_is_hidden() -> None:
    seen = host(found=(at("/var"), at("/var/lib/intents")))
    box = compiled(seen, **{**READ, "place": "/var"}).sandbox
    assert [op.dest for op in box.mounts if isinstance(op, sandbox.Tmpfs) and op.mask] == ["/var/lib/intents"]


def test_above_the_home_the_own_one_stays_in_its_place() -> None:
    box = compiled(host(found=(at("/home"),)), **{**READ, "place": "/home"}).sandbox
    kinds_of = {op.dest: type(op) for op in box.mounts if op.dest in ("/home", HOME)}
    assert kinds_of == {"/home": sandbox.Bind, HOME: sandbox.Tmpfs}
    assert [*kinds_of] == ["/home", HOME]
    with pytest.raises(errors.RefusedError):
        compiled(host(found=(at("/home"),)), **{**WRITE, "place": "/home"})


def test_what_runs_programs_or_holds_keys_is_critical() -> None:
    seen = host()
    for text, access, risk in (
        ("home", "write", model.Risk.CRITICAL),
        ("home", "read", model.Risk.HIGH),
        ("home/.ssh", "read", model.Risk.CRITICAL),
        ("home/.bashrc", "write", model.Risk.CRITICAL),
        ("home/.bashrc", "read", model.Risk.NORMAL),
        ("xdg-config/autostart", "create", model.Risk.CRITICAL),
        ("home/Sheets", "write", model.Risk.HIGH),
        ("home/Sheets", "read", model.Risk.NORMAL),
        ("/home", "read", model.Risk.CRITICAL),
        ("/usr/share/app", "write", model.Risk.CRITICAL),
        ("/opt", "write", model.Risk.CRITICAL),
        ("/var/spool/cron", "create", model.Risk.CRITICAL),
        ("/home/linuxbrew/.linuxbrew", "write", model.Risk.CRITICAL),
        ("home/.config/plasma-workspace", "write", model.Risk.CRITICAL),
        ("home/.tmux.conf", "write", model.Risk.CRITICAL),
        ("home/.local/lib/python3.11", "create", model.Risk.CRITICAL),
        ("home/.local/share/gnome-shell/extensions", "write", model.Risk.CRITICAL),
        ("home/.local/share/Steam", "write", model.Risk.HIGH),
        ("home/.var/app/org.mozilla.firefox", "read", model.Risk.CRITICAL),
        ("home/.docker", "read", model.Risk.CRITICAL),
    ):
        assert path.Path.read({"place": text, "access": access}).risk(seen) is risk, (text, access)


def test_the_name_of_a_directory_is_not_our_sentence() -> None:
    place = "home/x. It can do nothing else"
    phrase = path.Path.read({"place": place, "access": "read"}).phrase(host())
    assert phrase.allows == 'It can read everything in "~/x. It can do nothing else".'
    assert path.Path.read({"place": "home/a", "access": "read"}).phrase(host()).allows.endswith(" in ~/a.")


def test_a_link_counts_by_its_name_and_by_what_it_leads_to() -> None:
    """Dotfiles are kept elsewhere and linked: whoever changes the file there changes what the shell starts."""
    kept = at(f"{HOME}/.bashrc", "file", real=f"{HOME}/dotfiles/bashrc")
    seen = host(found=(kept, at(f"{HOME}/l", real=f"{HOME}/.ssh")))
    assert path.Path.read({"place": "home/.bashrc", "access": "write"}).risk(seen) is model.Risk.CRITICAL
    assert path.Path.read({"place": "home/l", "access": "read"}).risk(seen) is model.Risk.CRITICAL


def test_where_the_environment_moves_the_configuration_the_risk_goes_with_it() -> None:
    moved = {"xdg-config": f"{HOME}/cfg", "xdg-data": f"{HOME}/share"}
    seen = host()
    seen = dataclasses.replace(seen, directories=tuple((dict(seen.directories) | moved).items()))
    for text, access in (("xdg-config/foo", "write"), ("xdg-data/dbus-1", "write"), ("xdg-config/chromium", "read")):
        assert path.Path.read({"place": text, "access": access}).risk(seen) is model.Risk.CRITICAL, text


def test_a_window_into_the_running_system_is_never_given() -> None:
    windows = ("/srv/root/proc", f"{HOME}/chroot/proc")
    children = at(HOME, entries=(("chroot", "dir"), ("D", "dir")))
    found = (at("/srv"), at("/srv/root/proc/sys"), at(f"{HOME}/chroot"), children)
    seen = dataclasses.replace(host(found=found), kernel=windows)
    for place in ("/srv", "/srv/root/proc/sys", "home/chroot"):
        with pytest.raises(errors.RefusedError) as refused:
            compiled(seen, **{**READ, "place": place})
        assert refused.value.code == "path-refused"
    box = compiled(seen, **{**READ, "place": "home"}).sandbox
    assert [op.dest for op in box.mounts if op.because == "it"] == [f"{HOME}/D"]
    notes = path.Path.read({"place": "home", "access": "read"}).phrase(seen).notes
    assert "Not given: chroot, which shows the running system." in notes


WALLS, NO_WALLS = ("wl_shm", "xdg_wm_base"), ("wl_shm", "zwlr_screencopy_manager_v1")


@pytest.mark.parametrize(
    ("context", "keeper"),
    [(WALLS, "wayland_context"), (NO_WALLS, "wayland_filter"), (None, "wayland_filter")],
    ids=["walls", "a context without walls", "no context"],
)
@pytest.mark.parametrize("offered", [WALLS, NO_WALLS])
def test_a_window_has_walls_on_every_compositor(
    offered: tuple[str, ...], context: tuple[str, ...] | None, keeper: str
) -> None:
    """The compositor keeps them, or the filter does: the socket of the compositor is not shown, and the risk is low."""
    where = "/run/user/1000/wayland-1"
    seen = host(wayland=facts.Wayland(socket=where, globals=offered, context=context))
    box = compiled(seen, kind="display", protocol="wayland").sandbox
    assert [op.program for op in box.companions] == [keeper]
    assert [op for op in box.mounts if op.dest == "/run/user/1000/wayland-0"] == [
        sandbox.LaunchSocket(name="wayland", dest="/run/user/1000/wayland-0", because="it")
    ]
    assert not [op for op in box.mounts if isinstance(op, sandbox.Bind) and op.source == where]
    scope = display.Display(protocol="wayland")
    assert scope.risk(seen) is model.Risk.LOW
    assert ("security context" in scope.phrase(seen).notes[0]) is (keeper == "wayland_context")


def test_the_filter_shows_nothing_that_reaches_beyond_the_app() -> None:
    assert not set(display.ORDINARY) & display.PRIVILEGED.keys()
    assert len(set(display.ORDINARY)) == len(display.ORDINARY)
    hidden = {"wl_fixes", "ext_idle_notifier_v1", "zwp_keyboard_shortcuts_inhibit_manager_v1", "zxdg_importer_v2"}
    assert not set(display.ORDINARY) & hidden
