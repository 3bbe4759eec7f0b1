"""Kind ``path``: one file or directory of the host (SPEC §5.3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, paths, sandbox

KIND = "path"
DOC = """Use one file or directory. `place` is `home/…`, one of the user's directories (`xdg-documents/…`), a
directory below one of the base directories (`xdg-config/…`) or an absolute path. `access` is `read`, `write` (read
and change), or `create` (the same, and the directory is made when it does not exist). Nothing of the broker, the
kernel (`/proc`, `/sys`, `/dev`) or the running system (`/run`, `/tmp`) can be granted."""

ACCESS = ("read", "write", "create")
_WORD = re.compile(r"[\w.,+@~/-]+")
# (path below home, name of the app's own persistent directory that is mounted there)
PRIVATE_DIRECTORIES = ((".config", "config"), (".local/share", "data"), (".local/state", "state"), (".cache", "cache"))

# Whoever changes these runs programs as the user, or is the user to others (docs/threat-model.md).
SENSITIVE_WRITE = (
    ".bash_profile", ".bash_login", ".bash_logout", ".bashrc", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin",
    ".login", ".cshrc", ".tcshrc", ".xinitrc", ".xsession", ".xprofile", ".xsessionrc", ".pam_environment",
    ".config/autostart", ".config/systemd", ".config/environment.d", ".config/fish", ".config/git", ".config/dconf",
    ".local/bin", "bin", ".local/share/applications", ".local/share/dbus-1", ".local/share/systemd",
    ".local/share/flatpak", ".var/app", ".vimrc", ".vim", ".emacs", ".emacs.d", ".config/nvim", ".cargo/bin", ".ssh",
    ".gitconfig", ".gnupg", ".local/share/keyrings",
)  # fmt: skip
SENSITIVE_READ = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".netrc", ".git-credentials", ".password-store", ".pki",
    ".mozilla", ".thunderbird", ".config/chromium", ".config/google-chrome", ".config/BraveSoftware", ".config/gh",
    ".config/gcloud", ".local/share/keyrings", ".bitcoin", ".electrum", ".monero", ".bash_history", ".zsh_history",
)  # fmt: skip
DAEMON_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman", "/run/containerd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One place, and what may be done there: read < write < create."""

    place: paths.Place
    access: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Path":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("place", "access"), KIND)
        place = paths.parse_place(keys.string(table, "place", KIND))
        if place.root == "/":
            _refuse_system(place.text)
        return cls(place=place, access=keys.choice(table, "access", ACCESS, KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"place": self.place.text, "access": self.access}

    def covers(self, other: model.Scope) -> bool:
        return (
            isinstance(other, Path)
            and self.place.contains(other.place)
            and ACCESS.index(other.access) <= ACCESS.index(self.access)
        )

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, Path):
            return None
        deeper = self if other.place.contains(self.place) else other
        if not (self.place.contains(other.place) or other.place.contains(self.place)):
            return None
        return Path(place=deeper.place, access=min(self.access, other.access, key=ACCESS.index))

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def objects(self) -> tuple[str, ...]:
        return (self.place.text,)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        path = self.place.resolve(dict(host.directories)) or self.place.text
        fact = host.path(path)
        real = fact.real if fact and fact.real else path
        if _touches(real, host.account.home, SENSITIVE_READ) or real in DAEMON_SOCKETS:
            return model.Risk.CRITICAL
        if self.access == "read":
            return model.Risk.HIGH if _wide(real, host.account.home) else model.Risk.NORMAL
        if _wide(real, host.account.home) or _touches(real, host.account.home, SENSITIVE_WRITE):
            return model.Risk.CRITICAL
        return model.Risk.CRITICAL if real.startswith(("/usr/", "/etc/", "/opt/")) else model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        path = self.place.resolve(dict(host.directories)) or self.place.text
        fact = host.path(path)
        shown = _quoted(_with_tilde(path, host.account.home))
        verb = "read" if self.access == "read" else "read, change and delete"
        what = "the file" if fact and fact.kind == "file" else "everything in"
        notes: list[str] = []
        if fact and fact.real not in ("", path):
            notes.append(f"{shown} is a link: what is given is {_quoted(fact.real)}.")
        if fact and fact.kind == "absent":
            made = "it is made for the app" if self.access == "create" else "nothing is given until it exists"
            notes.append(f"{shown} does not exist: {made}.")
        if self.place == paths.Place(root="home", parts=()):
            notes.append("Not given: .config, .local and .cache. New files directly in your home are not kept.")
        if path != host.account.home and paths.inside(host.account.home, path):
            notes.append("Your own home directory in it is not given: the app's own stands in its place.")
        if inside := _private_root(path, host):
            below = paths.printable(path[len(host.account.home) + 1 :])
            notes.append(f"It appears as ~/.granted/{below} with a link to it in {inside}.")
        return model.Phrase(title=shown, allows=f"It can {verb} {what} {shown}.", notes=tuple(notes))

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The binds. Raises HostError ``place-missing`` or RefusedError for what no answer can grant."""
        fact = self._fact(host)
        real = fact.real
        refuse_path(real, self.place.text, host, write=self.access != "read")
        if real == host.account.home:
            return self._home(fact, host, because)
        access = sandbox.Access.READ if self.access == "read" else sandbox.Access.WRITE
        dest, extra = _destination(real, host, because)
        ops: list[sandbox.Op] = [sandbox.Bind(source=real, dest=dest, access=access, because=because), *extra]
        if fact.kind == "absent":
            ops.append(sandbox.HostDirectory(path=real, because=because))
        if fact.path != real and not _private_root(fact.path, host):
            ops.append(sandbox.Symlink(target=dest, dest=fact.path, because=because))
        ops.extend(sandbox.Tmpfs(dest=place, mask=True, because=because) for place in _masked(real, host))
        return tuple(ops)

    def _fact(self, host: facts.HostFacts) -> facts.PathFact:
        path = self.place.resolve(dict(host.directories))
        if path is None:
            raise errors.HostError("place-missing", f"this account has no directory for `{self.place.text}`")
        fact = host.path(path)
        if fact is None or fact.kind == "unreadable" or not fact.real:
            raise errors.HostError("place-missing", f"`{paths.printable(path)}` cannot be looked at")
        if fact.kind == "other":
            raise errors.RefusedError("path-refused", f"`{paths.printable(path)}` is neither a file nor a directory")
        if fact.kind == "absent" and self.access != "create":
            raise errors.HostError("place-missing", f"`{paths.printable(path)}` does not exist")
        return fact

    def _home(self, fact: facts.PathFact, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        access = sandbox.Access.READ if self.access == "read" else sandbox.Access.WRITE
        hidden = {".config", ".local", ".cache", ".granted"}
        own = [place for place in host.reserved if paths.inside(place, fact.real)]
        hidden |= {place[len(fact.real) + 1 :].split("/")[0] for place in own}
        return tuple(
            sandbox.Bind(source=f"{fact.real}/{name}", dest=f"{fact.real}/{name}", access=access, because=because)
            for name, kind in fact.entries
            if kind in ("dir", "file") and name not in hidden
        )


def refuse_path(real: str, text: str, host: facts.HostFacts, *, write: bool) -> None:
    """Raise RefusedError for a canonical path that no answer can grant (SPEC §8.6)."""
    shown = paths.printable(text)
    if real == "/" or any(paths.inside(real, root) for root in paths.REFUSED_ROOTS):
        what = f"`{shown}` is `{paths.printable(real)}`"
        raise errors.RefusedError("path-refused", f"{what}, which belongs to the running system")
    if any(paths.inside(real, place) for place in host.reserved):
        raise errors.RefusedError("path-refused", f"`{shown}` belongs to intents itself")
    if paths.inside(real, f"{host.account.home}/.granted"):
        raise errors.RefusedError("path-refused", f"`{shown}` is where a sandbox shows what lies in ~/.config and such")
    if real in paths.SYSTEM_ROOTS:
        raise errors.RefusedError("path-refused", f"`{shown}` is part of what every sandbox already has")
    if real == host.account.home:
        return  # given child by child, so that the reserved places stay out
    covered = [place for place in host.reserved if paths.inside(place, real)]
    if covered and (write or paths.inside(real, host.account.home)):
        what = paths.printable(covered[0])
        raise errors.RefusedError("path-covers-reserved", f"`{shown}` holds `{what}`, which belongs to intents itself")
    own = next((place for place in (host.account.home, "/var/tmp") if paths.inside(place, real)), "")
    if write and own:
        what = f"`{shown}` holds `{paths.printable(own)}`, of which every sandbox has its own"
        raise errors.RefusedError("path-refused", what)


def _refuse_system(text: str) -> None:
    if text in paths.SYSTEM_ROOTS or any(paths.inside(text, root) for root in paths.REFUSED_ROOTS):
        raise errors.ManifestError("bad-place", f"`{paths.printable(text)}` is not a place an app can be given")


def _destination(real: str, host: facts.HostFacts, because: str) -> tuple[str, tuple[sandbox.Op, ...]]:
    """Where a grant appears: at its own path, or beside the app's own directories if it lies there (SPEC §9.4)."""
    home = host.account.home
    if not paths.inside(real, home):
        return real, ()
    below = real[len(home) + 1 :]
    for private, name in PRIVATE_DIRECTORIES:
        if paths.inside(private, below) and private != below:
            return f"{home}/.granted/{below}", ()  # an ancestor, such as ~/.local
        if paths.inside(below, private):
            dest = f"{home}/.granted/{below}"
            inner = below[len(private) + 1 :]
            link = sandbox.PrivateLink(directory=name, below=inner, target=dest, because=because)
            return dest, (link,) if inner else ()
    return real, ()


def _masked(real: str, host: facts.HostFacts) -> tuple[str, ...]:
    """The reserved places that exist below a granted directory; those in the home are under the sandbox's own home."""
    below = (place for place in host.reserved if paths.inside(place, real))
    found = (host.path(place) for place in below if not paths.inside(place, host.account.home))
    return tuple(fact.path for fact in found if fact and fact.kind == "dir")


def _private_root(path: str, host: facts.HostFacts) -> str:
    below = path[len(host.account.home) + 1 :] if paths.inside(path, host.account.home) else ""
    found = (f"~/{private}" for private, _ in PRIVATE_DIRECTORIES if below and paths.inside(below, private))
    return next(found, "")


def _wide(real: str, home: str) -> bool:
    """Whether the path holds a whole home or one of its hidden trees."""
    trees = (".config", ".local", ".local/share", ".local/state", ".cache")
    return real in [f"{home}/{tree}" for tree in trees] or paths.inside(home, real)


def _touches(real: str, home: str, names: tuple[str, ...]) -> bool:
    """Whether the path lies in one of the named places of the home, or holds one and is not the home itself."""
    places = [f"{home}/{name}" for name in names]
    return any(paths.inside(real, place) or (real != home and paths.inside(place, real)) for place in places)


def _quoted(path: str) -> str:
    """The path as one visible word: a directory's name must not read like the rest of our sentence."""
    shown = paths.printable(path)
    return shown if _WORD.fullmatch(shown) else '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _with_tilde(path: str, home: str) -> str:
    return "~" + path[len(home) :] if paths.inside(path, home) else path
