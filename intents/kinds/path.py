"""Kind ``path``: one file or directory of the host (SPEC §5.3)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from intents import catalogue, errors, facts, keys, model, paths, sandbox, text

KIND = "path"
DOC = """Use one file or directory. `place` is `home/…`, one of the user's directories (`xdg-documents/…`), a
directory below one of the base directories (`xdg-config/…`), `removable` (what you have mounted: sticks, disks,
cameras) or one of them (`removable/…`), or an absolute path. `access` is `read`, `write` (read
and change), or `create` (the same, and the directory is made when it does not exist). Nothing of the broker, the
kernel (`/proc`, `/sys`, `/dev`) or the running system (`/run`, `/tmp`) can be granted."""

ACCESS = ("read", "write", "create")
_WORD = re.compile(r"[\w.,+@~/-]+")
# (path below home, name of the app's own persistent directory that is mounted there)
PRIVATE_DIRECTORIES = ((".config", "config"), (".local/share", "data"), (".local/state", "state"), (".cache", "cache"))
# What `home` leaves out: where programs keep what is their own, those of Flatpak in .var.
NOT_OF_HOME = (".config", ".local", ".cache", ".var", ".granted")
# Where homes are: what holds the user's own does not give it.
HOMES = ("/home", "/root", "/var/home")


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
        access = keys.choice(table, "access", ACCESS, KIND)
        if place.root == paths.REMOVABLE and access == "create":
            raise errors.ManifestError("bad-value", f"`access` below `{place.root}` must be `read` or `write`")
        return cls(place=place, access=access)

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"place": self.place.text, "access": self.access}

    def covers(self, other: model.Scope) -> bool:
        return (
            isinstance(other, Path)
            and _shows(self.place, other.place)
            and ACCESS.index(other.access) <= ACCESS.index(self.access)
        )

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, Path):
            return None
        deeper = self if _shows(other.place, self.place) else other
        if not (_shows(self.place, other.place) or _shows(other.place, self.place)):
            return None
        return Path(place=deeper.place, access=min(self.access, other.access, key=ACCESS.index))

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        return tuple(Path(place=self.place, access=less) for less in reversed(ACCESS[: ACCESS.index(self.access)]))

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="place", name=self.place.text),)

    def objects(self) -> tuple[str, ...]:
        return (self.place.text,)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        if self.holds(host) or self.starts(host):
            return model.Risk.CRITICAL
        if self.access != "read":
            return model.Risk.HIGH
        wide = any(_wide(way, host.account.home) for way in self._ways(host)) or self.place == MEDIA
        return model.Risk.HIGH if wide else model.Risk.NORMAL

    def holds(self, host: facts.HostFacts) -> text.Said | None:
        """Which secrets whoever reads there gets, as `it holds …`; None for none."""
        return next(filter(None, (_holds(way, host) for way in self._ways(host))), None)

    def starts(self, host: facts.HostFacts) -> text.Said | None:
        """Why whoever may write there decides what runs as the user; None where only reading is asked for, or no."""
        ways = self._ways(host) if self.access != "read" else ()
        return next(filter(None, (_starts(way, host) for way in ways)), None)

    def _ways(self, host: facts.HostFacts) -> tuple[str, ...]:
        """The path and what it leads to: a link counts by its own name as well, as other programs take that way."""
        path = self.place.resolve(dict(host.directories)) or self.place.text
        fact = host.path(path)
        return tuple(dict.fromkeys((path, fact.real))) if fact and fact.real else (path,)

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        path = self.place.resolve(dict(host.directories)) or self.place.text
        fact = host.path(path)
        shown = _quoted(_with_tilde(path, host.account.home))
        notes: list[str] = []
        if self.place == MEDIA:
            notes.append(text.said("Media that you mount while it runs are seen from its next start on."))
        if starts := self.starts(host):
            notes.append(catalogue.no_sandbox(starts))
        if holds := self.holds(host):
            notes.append(text.said("Beware: {why}.", why=holds))
        if fact and fact.real not in ("", path):
            notes.append(text.said("{path} is a link: what is given is {real}.", path=shown, real=_quoted(fact.real)))
        if fact and fact.kind == "absent":
            if self.access == "create":
                notes.append(text.said("{path} does not exist: it is made for the app.", path=shown))
            else:
                notes.append(text.said("{path} does not exist: nothing is given until it exists.", path=shown))
        if self.place == paths.Place(root="home", parts=()):
            notes.append(
                text.said("Not given: .config, .local, .cache and .var. New files directly in your home are not kept.")
            )
            notes.extend(_exceptions(fact, host, write=self.access != "read") if fact else ())
        if path != host.account.home and paths.inside(host.account.home, path):
            notes.append(text.said("Your own home directory in it is not given: the app's own stands in its place."))
        if inside := _private_root(path, host):
            below = paths.printable(path[len(host.account.home) + 1 :])
            at = f"~/.granted/{below}"
            notes.append(text.said("It appears as {path} with a link to it in {directory}.", path=at, directory=inside))
        return model.Phrase(title=shown, allows=self._allows(fact, shown), notes=tuple(notes))

    def _allows(self, fact: facts.PathFact | None, shown: str) -> text.Said:
        read = self.access == "read"
        if self.place == MEDIA:
            if read:
                return text.said("It can read everything on the media that are mounted in {path}.", path=shown)
            return text.said(
                "It can read, change and delete everything on the media that are mounted in {path}.", path=shown
            )
        if fact and fact.kind == "file":
            if read:
                return text.said("It can read the file {path}.", path=shown)
            return text.said("It can read, change and delete the file {path}.", path=shown)
        if read:
            return text.said("It can read everything in {path}.", path=shown)
        return text.said("It can read, change and delete everything in {path}.", path=shown)

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The binds. Raises HostError ``place-missing`` or RefusedError for what no answer can grant."""
        fact = self._fact(host)
        real = fact.real
        refuse_path(real, self.place.text, host, write=self.access != "read")
        if real in (host.account.home, host.directory(paths.REMOVABLE)):
            return self._children(fact, host, because)
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
            what = "nothing is mounted" if self.place.root == paths.REMOVABLE else "this account has no directory"
            raise errors.HostError("place-missing", f"{what} for `{self.place.text}`")
        fact = host.path(path)
        if fact is None or fact.kind == "unreadable" or not fact.real:
            raise errors.HostError("place-missing", f"`{paths.printable(path)}` cannot be looked at")
        if fact.kind == "other":
            raise errors.RefusedError("path-refused", f"`{paths.printable(path)}` is neither a file nor a directory")
        if fact.kind == "absent" and self.access != "create":
            raise errors.HostError("place-missing", f"`{paths.printable(path)}` does not exist")
        return fact

    def _children(self, fact: facts.PathFact, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """One by one: of a home, so that some can be left out; of media, because a later mount below a bind for reading
        would be writable (mount_namespaces(7): it arrives with flags of its own)."""
        apart = {*NOT_OF_HOME} if fact.real == host.account.home else set()
        hidden = apart | _first(fact, (*host.reserved, *host.kernel))
        kept = _first(fact, host.code) if self.access != "read" else {name for name, _ in fact.entries}
        return tuple(
            sandbox.Bind(
                source=f"{fact.real}/{name}",
                dest=f"{fact.real}/{name}",
                access=sandbox.Access.READ if name in kept else sandbox.Access.WRITE,
                because=because,
            )
            for name, kind in fact.entries
            if kind in ("dir", "file") and name not in hidden
        )


MEDIA = paths.Place(root=paths.REMOVABLE, parts=())


def _shows(place: paths.Place, other: paths.Place) -> bool:
    """Whether whoever is given ``place`` is given ``other``: a wide place leaves out what is asked for by name."""
    if place == other or not place.contains(other):
        return place == other
    if place.root == "home" and not place.parts:
        return other.parts[0] not in NOT_OF_HOME
    homes = [home for home in HOMES if place.root == "/" and paths.inside(home, place.text)]
    return not any(paths.inside(other.text, home) for home in homes)


def refuse_path(real: str, text: str, host: facts.HostFacts, *, write: bool) -> None:
    """Raise RefusedError for a canonical path that no answer can grant (SPEC §8.6)."""
    shown = paths.printable(text)
    media = host.directory(paths.REMOVABLE)  # below /run, and files of the user's all the same
    named = () if media and paths.inside(real, media) else paths.REFUSED_ROOTS
    running = (*named, *host.kernel, *([host.runtime_dir] if host.runtime_dir else []))
    if real == "/" or any(paths.inside(real, root) for root in running):
        what = f"`{shown}` is `{paths.printable(real)}`"
        raise errors.RefusedError("path-refused", f"{what}, which belongs to the running system")
    if any(paths.inside(real, place) for place in host.reserved):
        raise errors.RefusedError("path-refused", f"`{shown}` belongs to intents itself")
    if paths.inside(real, f"{host.account.home}/.granted"):
        raise errors.RefusedError("path-refused", f"`{shown}` is where a sandbox shows what lies in ~/.config and such")
    if real in paths.SYSTEM_ROOTS:
        raise errors.RefusedError("path-refused", f"`{shown}` is part of what every sandbox already has")
    if real in (host.account.home, media):
        return  # given child by child, so that the reserved places stay out
    if window := next((place for place in host.kernel if paths.inside(place, real)), ""):
        what = f"`{shown}` holds `{paths.printable(window)}`, which shows the running system"
        raise errors.RefusedError("path-refused", what)
    if write and any(paths.inside(real, place) or paths.inside(place, real) for place in host.code):
        raise errors.RefusedError("path-refused", f"`{shown}` holds programs that intents itself is run from")
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


def _first(home: facts.PathFact, places: tuple[str, ...]) -> set[str]:
    """The names directly in the home on the way to those of the places that lie there."""
    return {place[len(home.real) + 1 :].split("/")[0] for place in places if paths.inside(place, home.real)}


def _exceptions(home: facts.PathFact, host: facts.HostFacts, *, write: bool) -> list[text.Said]:
    """What of a whole home is not given as asked, for reasons that are not in every home: one sentence each."""
    names = {name for name, _ in home.entries}
    hidden, kept = names & _first(home, host.kernel), names & _first(home, host.code)
    shown = [paths.printable(name) for name in sorted(hidden)]
    readable = [paths.printable(name) for name in sorted(kept - hidden)] if write else []
    return [
        *(text.said("Not given: {name}, which shows the running system.", name=name) for name in shown),
        *(text.said("Only to be read: {name}, from which intents is run.", name=name) for name in readable),
    ]


def _holds(real: str, host: facts.HostFacts) -> text.Said | None:
    return catalogue.DAEMON if real in catalogue.DAEMON_SOCKETS else _touched(real, host, catalogue.READ)


def _starts(real: str, host: facts.HostFacts) -> text.Said | None:
    if _wide(real, host.account.home):
        return catalogue.WHOLE_HOME
    return _touched(real, host, catalogue.WRITE) or _decides(real, host)


def _decides(real: str, host: facts.HostFacts) -> text.Said | None:
    """Why what is changed there decides what runs: what is hidden in the home, configuration, the system."""
    home = host.account.home
    if paths.inside(real, home):
        data = any(paths.inside(real, f"{home}/{name}") for name in catalogue.DATA)
        hidden = real[len(home) + 1 :].startswith(".") and not data
        return catalogue.HIDDEN if hidden or paths.inside(real, _base(host, "xdg-config")) else None
    system = any(paths.inside(real, root) or paths.inside(root, real) for root in catalogue.PROGRAMS)
    return catalogue.SYSTEM if system else None


def _base(host: facts.HostFacts, root: str) -> str:
    return host.directory(root) or f"{host.account.home}/.config"


def _wide(real: str, home: str) -> bool:
    """Whether the path holds a whole home or one of its hidden trees."""
    trees = (".config", ".local", ".local/share", ".local/state", ".cache")
    return real in [f"{home}/{tree}" for tree in trees] or paths.inside(home, real)


def _touched(real: str, host: facts.HostFacts, rows: Mapping[str, text.Said]) -> text.Said | None:
    """The reason of the first row whose place of the home the path lies in, or holds without being the home itself."""
    home, bases = host.account.home, {".config/": "xdg-config", ".local/share/": "xdg-data"}
    for name, why in rows.items():
        moved = [
            f"{host.directory(root)}/{name.removeprefix(usual)}"  # where the environment has moved it
            for usual, root in bases.items()
            if name.startswith(usual)
        ]
        for place in (f"{home}/{name}", *moved):
            if paths.inside(real, place) or (real != home and paths.inside(place, real)):
                return why
    return None


def _quoted(path: str) -> str:
    """The path as one visible word: a directory's name must not read like the rest of our sentence."""
    shown = paths.printable(path)
    return shown if _WORD.fullmatch(shown) else '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _with_tilde(path: str, home: str) -> str:
    return "~" + path[len(home) :] if paths.inside(path, home) else path
