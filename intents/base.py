"""The base: what a sandbox has before any grant, and nothing else (SPEC §9.2). Each base shows what the one before it
shows, and more.
"""

from intents import appearance, facts, model, paths, sandbox
from intents.kinds import dns, path

HOSTNAME = "sandbox"
STRICT, SERVICE, DESKTOP = BASES = ("strict", "service", "desktop")
SYSTEM, CLOSURE = LIBRARIES = ("system", "closure")
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
_LOCALE = (
    "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_ADDRESS", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION", "LC_MEASUREMENT",
    "LC_MESSAGES", "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER", "LC_TELEPHONE", "LC_TIME",
)  # fmt: skip
_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR")
# Variables whose value is taken from whoever starts the app.
PASSED = {
    STRICT: _TERMINAL,
    SERVICE: (*_TERMINAL, *_LOCALE),
    DESKTOP: (*_TERMINAL, *_LOCALE, "XDG_CURRENT_DESKTOP"),
}
# Of /etc, what leads to libraries, and what a program without windows and terminals reads. ``desktop`` shows the rest.
_LINKER = (
    "/etc/alternatives", "/etc/ld-musl-aarch64.path", "/etc/ld-musl-x86_64.path", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d",
)  # fmt: skip
_SERVICE = (
    *_LINKER, "/etc/locale.alias", "/etc/locale.conf", "/etc/localtime", "/etc/mime.types", "/etc/os-release",
    "/etc/timezone",
)  # fmt: skip


def ops(vetted: model.Vetted, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """The base's operations for one app on one host."""
    app = vetted.manifest.app
    shown = _named(app, host) if app.base == STRICT else _system(app, host)
    look = appearance.ops(app, host) if app.base == DESKTOP else ()
    return (*shown, *_made(app, host), *_account(host), *_home(vetted, host), *_environment(app, host), *look)


def _named(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """What ``strict`` shows of the host: the program with what it needs, or with the system's libraries."""
    libraries = _entries(host.libraries) if app.libraries == SYSTEM else ()
    needed = host.closure.entries if host.closure else ()
    roots = [op.dest for op in libraries if isinstance(op, sandbox.Bind)]
    whole = [entry.path for entry in needed if entry.kind == "dir"]
    alone = [
        entry
        for entry in needed
        if not any(paths.inside(entry.path, root) for root in roots)
        and not any(paths.inside(entry.path, top) and entry.path != top for top in whole)
    ]
    files = [
        sandbox.Symlink(target=entry.target, dest=entry.path)
        if entry.kind == "link"
        else sandbox.Bind(source=entry.path, dest=entry.path)
        for entry in alone
    ]
    linker = _of_etc(host, _LINKER) if app.libraries == SYSTEM else ()
    return tuple({op.dest: op for op in (*files, *libraries, *linker)}.values())


def _system(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    apart = (*dns.FILES, *dns.CERTIFICATES)
    names = tuple(entry.path for entry in host.etc if entry.path not in apart)
    # /usr is bound whole, so what intents keeps below it has to be hidden again.
    masks = [sandbox.Tmpfs(dest="/usr/share/intents", mask=True)] if _has(host, "/usr/share/intents") else []
    return (
        sandbox.Bind(source="/usr", dest="/usr", held=False),
        *_entries(host.system),
        *_of_etc(host, _SERVICE if app.base == SERVICE else names),
        *masks,
        sandbox.Tmpfs(dest="/var/tmp", mode=0o1777),
        sandbox.Directory(dest="/run"),
        sandbox.Symlink(target="../run", dest="/var/run"),
    )


def _entries(entries: tuple[facts.Entry, ...]) -> tuple[sandbox.Bind | sandbox.Symlink, ...]:
    return tuple(
        sandbox.Symlink(target=entry.target, dest=entry.path)
        if entry.kind == "link"
        else sandbox.Bind(source=entry.path, dest=entry.path, held=False)
        for entry in entries
    )


def _made(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """What the kernel makes anew for each sandbox."""
    # For uid 0 the kernel's own permissions in /proc/sys forbid nothing: core_pattern alone would be an escape.
    proc: sandbox.Op = sandbox.Special(kind="proc", dest="/proc", read_only=host.account.uid == 0)
    if not app.proc:
        fact = host.path(app.command[0])
        proc = sandbox.Symlink(target=fact.real if fact else app.command[0], dest="/proc/self/exe")
    return (proc, sandbox.Special(kind="dev", dest="/dev"), sandbox.Tmpfs(dest="/tmp", mode=0o1777))


def _of_etc(host: facts.HostFacts, names: tuple[str, ...]) -> tuple[sandbox.Bind | sandbox.Symlink, ...]:
    return tuple(_etc(entry) for entry in host.etc if entry.path in names and not host.leads_nowhere(entry))


def _etc(entry: facts.Entry) -> sandbox.Bind | sandbox.Symlink:
    """Links into /usr stay links, so that `/etc/localtime` still says which zone it is."""
    if entry.kind == "link" and "/usr/" in entry.target:
        return sandbox.Symlink(target=entry.target, dest=entry.path)
    return sandbox.Bind(source=entry.path, dest=entry.path, held=False)


def _has(host: facts.HostFacts, path_there: str) -> bool:
    fact = host.path(path_there)
    return fact is not None and fact.kind == "dir"


def _account(host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    who = host.account
    passwd = f"{who.user}:x:{who.uid}:{who.gid}::{who.home}:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
    group = f"{who.group}:x:{who.gid}:\nnogroup:x:65534:\n"
    return (
        sandbox.File(dest="/etc/passwd", content=passwd.encode()),
        sandbox.File(dest="/etc/group", content=group.encode()),
        sandbox.File(dest="/etc/nsswitch.conf", content=b"passwd: files\ngroup: files\nhosts: files\n"),
        sandbox.Tmpfs(dest=f"/run/user/{who.uid}"),
    )


def own_directory(vetted: model.Vetted, host: facts.HostFacts, name: str) -> str:
    """The host path of one of the app's own directories: config, data, state, cache or below persist."""
    return f"{host.apps}/{vetted.key}/{name}"


def own(vetted: model.Vetted, host: facts.HostFacts, name: str, dest: str, because: str) -> tuple[sandbox.Op, ...]:
    """One of the app's own directories at ``dest``; in memory for an app that has no place to keep it."""
    if vetted.trust is model.Trust.UNSIGNED:
        return (sandbox.Directory(dest=dest, because=because),)
    source = own_directory(vetted, host, name)
    return (
        sandbox.Bind(source=source, dest=dest, access=sandbox.Access.WRITE, because=because),
        sandbox.HostDirectory(path=source, because=because),
    )


def _home(vetted: model.Vetted, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    home = host.account.home
    private = [own(vetted, host, name, f"{home}/{at}", sandbox.BASE) for at, name in path.PRIVATE_DIRECTORIES]
    return (sandbox.Tmpfs(dest=home), *(op for ops in private for op in ops))


def search_path(host: facts.HostFacts) -> str:
    """Where programs are looked for inside."""
    current = any(entry.path == paths.CURRENT_SYSTEM for entry in host.system)
    return f"{SEARCH_PATH}:{paths.CURRENT_PROGRAMS}" if current else SEARCH_PATH


def without_accessibility(app: model.App) -> tuple[sandbox.Op, ...]:
    """What tells an app's toolkit not to wait for the accessibility bus, where it is not given."""
    window = app.base == DESKTOP and app.interface == "window"
    values = {"GTK_A11Y": "none", "NO_AT_BRIDGE": "1"} if window else {}
    return tuple(sandbox.Env(name=name, value=value) for name, value in values.items())


def _environment(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    who = host.account
    values = {
        "HOME": who.home,
        "USER": who.user,
        "LOGNAME": who.user,
        "PATH": search_path(host),
        "XDG_RUNTIME_DIR": f"/run/user/{who.uid}",
    }
    if app.base != STRICT:
        values |= {"SHELL": "/bin/sh"}
    if app.base == DESKTOP and app.interface == "window":
        # Settings live in the app's own directory, not in the user's dconf.
        values |= {"GSETTINGS_BACKEND": "keyfile"}
    set_here = [sandbox.Env(name=name, value=value) for name, value in values.items()]
    return (*set_here, *(sandbox.Pass(name=name) for name in PASSED[app.base]))
