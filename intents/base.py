"""The base: what every sandbox has before any grant, and nothing else (SPEC §9.2)."""

from intents import facts, model, sandbox
from intents.kinds import dns, path

HOSTNAME = "sandbox"
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
PASSED = (
    "TERM", "COLORTERM", "NO_COLOR", "TZ", "LANG", "LANGUAGE", "LC_ALL", "LC_ADDRESS", "LC_COLLATE", "LC_CTYPE",
    "LC_IDENTIFICATION", "LC_MEASUREMENT", "LC_MESSAGES", "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER",
    "LC_TELEPHONE", "LC_TIME", "XDG_CURRENT_DESKTOP",
)  # fmt: skip


def ops(vetted: model.Vetted, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    """The base's operations for one app on one host."""
    return (*_system(host), *_account(host), *_home(vetted, host), *_environment(vetted.manifest.app, host))


def _system(host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    roots = [
        sandbox.Symlink(target=entry.target, dest=entry.path)
        if entry.kind == "link"
        else sandbox.Bind(source=entry.path, dest=entry.path, held=False)
        for entry in host.system
    ]
    etc = [entry for entry in host.etc if not host.leads_nowhere(entry)]
    shown = [_etc(entry) for entry in etc if entry.path not in (*dns.FILES, *dns.CERTIFICATES)]
    # /usr is bound whole, so what intents keeps below it has to be hidden again.
    masks = [sandbox.Tmpfs(dest="/usr/share/intents", mask=True)] if _has(host, "/usr/share/intents") else []
    return (
        sandbox.Bind(source="/usr", dest="/usr", held=False),
        *roots,
        *shown,
        *masks,
        # For uid 0 the kernel's own permissions in /proc/sys forbid nothing: core_pattern alone would be an escape.
        sandbox.Special(kind="proc", dest="/proc", read_only=host.account.uid == 0),
        sandbox.Special(kind="dev", dest="/dev"),
        sandbox.Tmpfs(dest="/tmp", mode=0o1777),
        sandbox.Tmpfs(dest="/var/tmp", mode=0o1777),
        sandbox.Directory(dest="/run"),
        sandbox.Symlink(target="../run", dest="/var/run"),
    )


def _etc(entry: facts.Entry) -> sandbox.Op:
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


def _environment(app: model.App, host: facts.HostFacts) -> tuple[sandbox.Op, ...]:
    who = host.account
    values = {
        "HOME": who.home,
        "USER": who.user,
        "LOGNAME": who.user,
        "SHELL": "/bin/sh",
        "PATH": SEARCH_PATH,
        "XDG_RUNTIME_DIR": f"/run/user/{who.uid}",
    }
    if app.interface == "window":
        # Settings live in the app's own directory, not in the user's dconf; no accessibility bus is there to wait for.
        values |= {"GSETTINGS_BACKEND": "keyfile", "GTK_A11Y": "none", "NO_AT_BRIDGE": "1"}
    set_here = [sandbox.Env(name=name, value=value) for name, value in values.items()]
    return (*set_here, *(sandbox.Pass(name=name) for name in PASSED))
