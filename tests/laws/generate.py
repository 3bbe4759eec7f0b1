"""Generated scopes, manifests, decisions and machines. Names come from few letters, so that things often meet."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from intents import facts, hosts, kinds, model, paths, portals

EXAMPLES = int(os.environ.get("INTENTS_LAWS") or (200 if os.environ.get("INTENTS_CI") == "1" else 50))
BUSY = [HealthCheck.too_slow]  # which says of a busy machine that a strategy is bad
settings.register_profile("laws", deadline=None, database=None, max_examples=EXAMPLES, suppress_health_check=BUSY)
settings.load_profile("laws")
MANY = settings(max_examples=4 * EXAMPLES)  # for what takes a coincidence
NOW = model.Clock(wall=1_000_000, boottime=5_000, boot_id="this-boot", session="this-session")

NAMES = st.sampled_from(
    ["org.a.b", "org.a.b.c", "org.a.b.*", "org.a.b.c.*", "org.a.bb", "com.x.y", "com.x.y.*"],
)
METHODS = st.sampled_from(["*", "org.i.A.*", "org.i.A.M", "org.i.A.N", "org.i.AA.*", "org.i.AA.M"])
OBJECTS = st.sampled_from(["", "@/", "@/*", "@/a", "@/a/*", "@/a/b", "@/ab"])
RULES = st.builds(lambda name, method, path: f"{name}={method}{path}", NAMES, METHODS, OBJECTS)
PARTS = st.lists(st.sampled_from(["a", "b", "--x", "=y", "c d"]), max_size=3)
ROOTS = st.sampled_from(["home", "xdg-documents", "xdg-config/sub", "/srv", "/var/lib"])
PLACES = st.builds(lambda root, parts: "/".join([root, *parts]), ROOTS, PARTS)
# Places that mean something to the layout, beside ordinary ones.
ODD = st.sampled_from(
    ["home/.config", "home/.config/a", "home/.config/a/b", "home/.local", "home/.local/bin", "home/.cache/a", "home",
     "home/.granted/.config/a", "home/Documents", "home/Documents/a", "/home", "/var", "/var/lib", "/srv", "/bin/a",
     "/data", "/usr/lib/a", "/lib/a", "/etc/hosts", "/etc/new/er", "/data/state", "home/.local/state/intents"],
)  # fmt: skip


@st.composite
def dbus(draw: st.DrawFn) -> Mapping[str, object]:
    table: dict[str, object] = {"kind": "dbus", "bus": draw(st.sampled_from(["session", "system"]))}
    for verb, operands in (("see", NAMES), ("talk", NAMES), ("call", RULES), ("broadcast", RULES)):
        if found := draw(st.lists(operands, max_size=2, unique=True)):
            table[verb] = found
    if len(table) == 2:
        table["see"] = [draw(NAMES)]
    return table


PORTALS = ("files", "open-uri", "appearance", "resource-warnings")
WHOLE = (
    *PORTALS,
    "notifications", "tray", "accessibility", "input-method", "secrets", "camera", "gpu", "input", "usb", "printing",
    "smartcard",
    "ssh-agent", "gpg-agent", "processes", "system-info", "debugging", "nested-sandbox",
)  # fmt: skip
# kind -> its key, and words of it
OF_WORDS = {
    "audio": ("uses", ["playback", "record"]),
    "shared-memory": ("uses", ["files", "ipc"]),
    "socket-family": ("families", ["bluetooth", "can"]),
    "device": ("nodes", ["/dev/kvm", "/dev/ttyUSB0", "/dev/snd"]),
    "env": ("names", ["EDITOR", "API_TOKEN", "LANG"]),
    "persist": ("names", ["a", "b", "Documents", ".x"]),
}
WORDS: st.SearchStrategy[Mapping[str, object]] = st.sampled_from(sorted(OF_WORDS)).flatmap(
    lambda kind: st.lists(st.sampled_from(OF_WORDS[kind][1]), min_size=1, unique=True).map(
        lambda words: {"kind": kind, OF_WORDS[kind][0]: words}
    )
)

# What a compositor offers behind a security context: none kept, one with walls, one without.
CONTEXTS = st.sampled_from([None, ("wl_shm",), ("wl_shm", "zwlr_screencopy_manager_v1")])

HOSTS = st.sampled_from(
    ["a.example.org", "*.example.org", "*.a.example.org", "b.a.example.org", "nas", "*.x.lan", "y.x.lan", "10.1.0.0/16",
     "10.1.2.3", "192.0.2.0/24", "192.0.2.7", "[2001:db8::/32]", "[2001:db8::1]", "[fd00::1]", "127.0.0.1", "[::1]"],
)  # fmt: skip
TARGETS = st.builds(lambda host, port: f"{host}:{port}", HOSTS, st.sampled_from(["443", "22", "443/udp"]))


def _disjoint(texts: list[str]) -> list[str]:
    """Those that no other one of them covers."""
    found = [hosts.parse(text) for text in texts]
    return [each.text for each in found if not any(one != each and one.covers(each) for one in found)]


@st.composite
def connects(draw: st.DrawFn) -> Mapping[str, object]:
    targets = _disjoint(draw(st.lists(TARGETS, min_size=1, max_size=4, unique=True)))
    named = not any("/" in each or each[0].isdigit() or each[0] == "[" for each in targets)
    return {"kind": "network", "connect": targets} | ({"sni": True} if named and draw(st.booleans()) else {})


CONNECT = connects()
TABLES: st.SearchStrategy[Mapping[str, object]] = st.one_of(
    st.sampled_from([{"scope": each} for each in ("internet", "lan", "host", "host")]).map({"kind": "network"}.__or__),
    st.builds(
        lambda ports: {"kind": "network", "scope": "host", "ports": ports},
        st.lists(st.sampled_from([22, 80, 443]), min_size=1, unique=True),
    ),
    CONNECT,
    st.builds(
        lambda port, side, more: {"kind": "listen", "port": port} | side | more,
        st.sampled_from([80, 4533]),
        st.sampled_from([{}, {"from": "lan"}, {"from": "all"}, {"socket": "x"}, {"activation": True}]),
        st.sampled_from([{}, {"proxy_protocol": True}]),
    ),
    st.builds(lambda scope: {"kind": "dns", "scope": scope}, st.sampled_from(["granted", "any"])),
    st.builds(
        lambda places, how: {"kind": "settings", "places": places, "how": how},
        st.lists(st.sampled_from(["xdg-config/sub/a", "xdg-config/sub/b", "xdg-data/a"]), min_size=1, unique=True),
        st.sampled_from(["copy", "use"]),
    ),
    st.builds(lambda scope: {"kind": "multiarch", "scope": scope}, st.sampled_from(["programs", "sockets"])),
    st.builds(lambda p: {"kind": "display", "protocol": p}, st.sampled_from(["wayland", "x11", "x11-host"])),
    st.builds(
        lambda place, access: {"kind": "path", "place": place, "access": access},
        PLACES,
        st.sampled_from(["read", "write", "create"]),
    ),
    st.sampled_from([{"kind": kind} for kind in WHOLE]),
    WORDS,
    st.builds(lambda name: {"kind": "media-control", "player": name}, st.sampled_from(["a", "a.b", "ab"])),
    dbus(),
)
KEPT = st.lists(st.sampled_from(OF_WORDS["persist"][1]), min_size=1, unique=True)
PERSISTS: st.SearchStrategy[model.Scope] = KEPT.map(lambda names: kinds.from_data({"kind": "persist", "names": names}))
PATHS: st.SearchStrategy[model.Scope] = st.builds(
    lambda place, access: kinds.from_data({"kind": "path", "place": place, "access": access}),
    st.one_of(PLACES, ODD),
    st.sampled_from(["read", "write", "create"]),
)
SCOPES: st.SearchStrategy[model.Scope] = TABLES.map(kinds.from_data)

# Wider and narrower ones of the same: among those of one family, decisions and intents have to do with each other.
FAMILIES: tuple[st.SearchStrategy[model.Scope], ...] = (
    st.lists(TARGETS, min_size=1, max_size=3, unique=True).map(
        lambda targets: kinds.from_data({"kind": "network", "connect": _disjoint(targets)})
    ),
    st.builds(
        lambda place, access: kinds.from_data({"kind": "path", "place": place, "access": access}),
        st.sampled_from(["home/a", "home/a/b", "home/a/b/c", "home/a/d"]),
        st.sampled_from(["read", "write"]),
    ),
    st.builds(
        lambda verb, names: kinds.from_data({"kind": "dbus", "bus": "session", verb: names}),
        st.sampled_from(["see", "talk"]),
        st.lists(st.sampled_from(["org.a.b.*", "org.a.b.c.*", "org.a.b.c"]), min_size=1, max_size=2, unique=True),
    ),
    SCOPES,
)


# (base, libraries), the narrowest first: each shows what the one before it shows, and more.
BASES = (("strict", "closure"), ("strict", "system"), ("service", "system"), ("desktop", "system"))


def vetted(
    scopes: list[model.Scope], trust: model.Trust = model.Trust.PINNED, base: tuple[str, str] = BASES[-1]
) -> model.Vetted:
    """A manifest that asks for these scopes, all optional, as i0, i1, …"""
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app", "--option"),
        interface="terminal", aliases=(), packages=(), base=base[0], libraries=base[1],
    )  # fmt: skip
    intents = tuple(
        model.Intent(id=f"i{number}", scope=scope, optional=True, reason="To work.", if_denied="Less works.")
        for number, scope in enumerate(scopes)
    )
    manifest = model.Manifest(app=app, intents=intents, digest="0" * 64)
    return model.Vetted(manifest=manifest, trust=trust, lineage="0123456789abcdef", fingerprint="SHA256:x")


IDENTITY = "1:1"  # of every directory
LIVE = st.sampled_from(
    [
        model.Life(span=model.Lifespan.FOREVER),
        model.Life(span=model.Lifespan.SESSION, session=NOW.session),
        model.Life(span=model.Lifespan.UNTIL, until=NOW.wall + 1, until_boottime=NOW.boottime + 1, boot_id=NOW.boot_id),
        model.Life(span=model.Lifespan.UNTIL, until=NOW.wall + 1, until_boottime=0, boot_id="other-boot"),
    ]
)
OVER = st.sampled_from(
    [
        model.Life(span=model.Lifespan.ONCE),
        model.Life(span=model.Lifespan.SESSION, session="other-session"),
        model.Life(span=model.Lifespan.SESSION, session=""),
        model.Life(span=model.Lifespan.UNTIL, until=NOW.wall, until_boottime=NOW.boottime + 9, boot_id=NOW.boot_id),
        model.Life(span=model.Lifespan.UNTIL, until=NOW.wall + 9, until_boottime=NOW.boottime, boot_id=NOW.boot_id),
    ]
)


def where(place: str) -> str:
    """The canonical path of a place now."""
    return f"/now/{place}"


def there(scopes: Iterable[model.Scope]) -> dict[str, str]:
    """What is now at the places that these scopes name: paths and identities."""
    named = [place for scope in scopes for place in scope.objects()]
    return {place: where(place) for place in named} | {model.identity(place): IDENTITY for place in named}


@st.composite
def decisions(draw: st.DrawFn, near: st.SearchStrategy[model.Scope], *, moved: bool = True) -> model.Decision:
    """A decision about a scope of that family or a part of it: denied, allowed, or allowed in part."""
    whole = draw(near)
    asked = draw(st.sampled_from([whole, *whole.parts()]))
    granted = draw(st.sampled_from([None, asked, asked, asked.meet(draw(near))]))
    before = moved and draw(st.sampled_from([True, False, False]))
    known = draw(st.sampled_from(["", IDENTITY, "9:9" if moved else IDENTITY]))
    objects = [(place, "/elsewhere" if before else where(place)) for place in asked.objects()]
    objects += [(model.identity(place), known) for place in asked.objects() if known]
    return model.Decision(
        intent_id="any",
        asked=asked,
        granted=granted,
        life=draw(st.one_of(LIVE, LIVE, LIVE, OVER)),
        objects=tuple(objects),
        source="prompt",
        lapsed=granted is not None and moved and draw(st.sampled_from([True, False, False])),
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest and the decisions about its app, oldest first."""

    vetted: model.Vetted
    stored: tuple[model.Decision, ...]

    @property
    def objects(self) -> dict[str, str]:
        scopes = [intent.scope for intent in self.vetted.manifest.intents]
        scopes += [decision.asked for decision in self.stored]
        return there(scopes)


@st.composite
def cases(draw: st.DrawFn, *, moved: bool = True) -> Case:
    near = draw(st.sampled_from(FAMILIES))
    scopes = draw(st.lists(near, min_size=draw(st.integers(0, 1)), max_size=3))
    stored = draw(st.lists(decisions(near, moved=moved), min_size=draw(st.integers(0, 4)), max_size=6))
    return Case(vetted(scopes), numbered(stored))


def numbered(stored: list[model.Decision]) -> tuple[model.Decision, ...]:
    """The decisions in this order of the journal."""
    return tuple(
        model.Decision(
            intent_id=found.intent_id, asked=found.asked, granted=found.granted, life=found.life,
            objects=found.objects, source=found.source, seq=number, lapsed=found.lapsed,
        )
        for number, found in enumerate(stored, 1)
    )  # fmt: skip


def resolve(tree: Mapping[str, str], path: str) -> tuple[str, str]:
    """(canonical path, kind) in a tree of path -> ``dir``, ``file`` or a link's absolute target."""
    done, rest, links = "", path.strip("/").split("/"), 0
    while rest:
        done, rest = f"{done}/{rest[0]}", rest[1:]
        found = tree.get(done, "absent")
        if found.startswith("/"):
            links += 1
            if links > 8:
                return "", "other"
            done, rest = "", [*found.strip("/").split("/"), *rest]
        elif found == "file" and rest:
            return "", "absent"
    return done or "/", tree.get(done, "absent") if done else "dir"


# What the program needs before it can run, on a machine whose /lib is a directory of its own.
NEEDED = ("/lib/ld.so", "/usr/lib/a/b.so", "/usr/lib/c.so", "/usr/bin/app", "/etc/ld.so.cache")
WHOLE_DIRECTORY = "/usr/share/fonts"
CLOSURE = facts.Closure(
    entries=(
        facts.Entry(path="/bin", kind="link", target="usr/bin"),
        facts.Entry(path="/usr/lib/b.so", kind="link", target="a/b.so"),
        facts.Entry(path=WHOLE_DIRECTORY, kind="dir"),
        *(facts.Entry(path=path, kind="file") for path in NEEDED),
    )
)
HOMES = st.sampled_from(["/home/u", "/root", "/usr/home/u", "/srv/a"])


@st.composite
def machines(draw: st.DrawFn, places: list[str]) -> facts.HostFacts:
    """A machine on which the places are directories, files, links that lead astray, or nothing."""
    home, uid = draw(HOMES), draw(st.sampled_from([0, 1000]))
    moved = draw(st.booleans())  # XDG variables that lead out of the home
    bases = {
        "xdg-state": "/data/state" if moved else f"{home}/.local/state",
        "xdg-data": "/var/lib/data" if moved else f"{home}/.local/share",
        "xdg-config": f"{home}/.config",
    }
    runtime = f"/run/user/{uid}"
    own = [f"{bases['xdg-state']}/intents", f"{bases['xdg-data']}/intents", f"{bases['xdg-config']}/intents"]
    reserved = [*own, f"{runtime}/intents", "/etc/intents", "/usr/share/intents", "/var/lib/intents"]
    directories = {"home": home, "xdg-documents": f"{home}/Documents", **bases}
    tree: dict[str, str] = {}

    def put(path: str, what: str) -> None:
        above = path
        while above := above.rpartition("/")[0]:
            if tree.setdefault(above, "dir") != "dir":
                return
        tree.setdefault(path, what)

    put(WHOLE_DIRECTORY, "dir")
    for path in NEEDED:
        put(path, "file")
    for path in (home, *own, f"{runtime}/intents", f"{own[1]}/apps", "/usr/bin/app", "/usr/share", "/var/tmp"):
        put(path, "file" if path.endswith("/app") else "dir")
    for path in draw(st.lists(st.sampled_from(reserved[4:]), unique=True, min_size=2)):
        put(path, "dir")
    asked = [paths.parse_place(place).resolve(directories) or "" for place in places]
    astray = st.sampled_from([*asked, home, *own, "/etc", "/proc/1", f"{home}/.config/x", "/srv/b"])
    targets = st.one_of(st.sampled_from(["dir", "dir", "dir", "file", "absent"]), astray)
    for path in sorted(asked, key=len):
        if (what := draw(targets)) not in ("absent", path) and not path.startswith(f"{what}/"):
            put(path, what)
    found = {*asked, *reserved, "/usr/bin/app", "/etc/localtime", "/etc/drirc", "/etc/resolv.conf", "/var/tmp"}
    if draw(st.booleans()):
        put("/var/lib", "/data/lib")
    if draw(st.booleans()):
        put("/run/resolv.conf", "file")
        put("/usr/share/zone", "file")
        put("/opt/drirc", "file")
    found |= {*NEEDED, WHOLE_DIRECTORY}
    tree |= {"/bin": "/usr/bin", "/etc/localtime": "/usr/share/zone", "/etc/resolv.conf": "/run/resolv.conf"}
    tree["/etc/drirc"] = "/opt/drirc"
    abi, context = draw(st.sampled_from([0, 7])), draw(CONTEXTS)
    return host(tree, home, uid, runtime, directories, tuple(reserved), found, abi, context)


def _bus(name: str) -> facts.Bus:
    return facts.Bus(name=name, address=f"unix:path=/run/{name}", activatable=(portals.SERVICE,), owned=())


def host(
    tree: dict[str, str],
    home: str,
    uid: int,
    runtime: str,
    directories: dict[str, str],
    reserved: tuple[str, ...],
    found: set[str],
    landlock: int,
    context: tuple[str, ...] | None,
) -> facts.HostFacts:
    """The facts about a machine with this tree."""

    def fact(path: str) -> facts.PathFact:
        real, kind = resolve(tree, path)
        names = [each for each in tree if each.rpartition("/")[0] == real] if real == home else []
        entries = tuple((each.rpartition("/")[2], "link" if tree[each][0] == "/" else tree[each]) for each in names)
        return facts.PathFact(path=path, real=real, kind=kind, owner=uid, entries=tuple(sorted(entries)))

    link = facts.Entry(path="/bin", kind="link", target="usr/bin")
    etc = [facts.Entry(path=f"/etc/{name}", kind="file") for name in ("ld.so.cache", "hosts")]
    links = {"localtime": "/usr/share/zone", "drirc": "/opt/drirc", "resolv.conf": "/run/resolv.conf"}
    for name, target in links.items():
        etc.append(facts.Entry(path=f"/etc/{name}", kind="link", target=target))
    return facts.HostFacts(
        machine="x86_64",
        documents=f"{runtime}/doc",
        account=facts.Account(uid=uid, gid=uid, user="u", group="u", home=home),
        runtime_dir=runtime,
        directories=tuple(directories.items()),
        reserved=tuple(resolve(tree, place)[0] or place for place in reserved),
        apps=f"{directories['xdg-data']}/intents/apps",
        system=(link, facts.Entry(path="/lib", kind="dir")),
        etc=tuple(etc),
        paths=tuple(fact(path) for path in sorted(found)),
        wayland=facts.Wayland(socket=f"{runtime}/wayland-0", globals=(), context=context),
        x11=facts.X11(display=0, socket="/tmp/.X11-unix/X0", abstract=True, authority=f"{runtime}/xauthority"),
        buses=tuple(_bus(name) for name in ("session", "system", "a11y")),
        bwrap="/usr/bin/bwrap",
        proxy="/usr/bin/xdg-dbus-proxy",
        landlock=landlock,
        abstract_sockets=("@/tmp/.X11-unix/X0",),
        env_resets_signals=True,
        libraries=(facts.Entry(path="/lib", kind="dir"), facts.Entry(path="/usr/lib", kind="dir")),
        closure=CLOSURE,
        programs=(("Xwayland", "/usr/bin/Xwayland"), ("pasta", "/usr/bin/pasta"), ("nft", "/usr/sbin/nft")),
        nodes=(facts.Node(path="/dev/net/tun", kind="char", usable=True),),
    )
