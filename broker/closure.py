"""Which files a program needs before it can run: what ldd(1) tells, found without executing anything (SPEC §9.2.2).

A program is whatever a manifest starts: an ELF file or a script. Takes paths and how to guard them; gives
``facts.Closure``. The rules are those of ``intents.linker``, over the files as they are now. Links are followed step by
step and each is remembered, so that the sandbox can have the same ones; what is read is read without following any.
"""

import errno
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from intents import base, elf, facts, linker, paths

See = Callable[[str, str], None]  # guard (kind, subject), to be made before the subject is looked at
SEARCH = (*base.SEARCH_PATH.split(":"), paths.CURRENT_PROGRAMS)  # where env(1) finds what a script names
MAX_LINKS = 40  # in one path: path_resolution(7)
MAX_LOOKS = 1 << 15  # files looked at for one closure; an honest program needs some hundred
MAX_SCRIPTS = 5  # a script's interpreter may be a script: execve(2)
_BEGINNING = 256  # bytes of a script that the kernel reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Where files may be shown without a grant: below ``shown`` and not below ``hidden``."""

    shown: tuple[str, ...]
    hidden: tuple[str, ...]

    def holds(self, path: str) -> bool:
        """Whether a canonical path lies in it."""
        inside = any(paths.inside(path, root) for root in self.shown)
        return inside and not any(paths.inside(path, root) for root in self.hidden)

    def holds_all(self, directory: str) -> bool:
        """Whether a directory lies in it with all that is in the directory."""
        return self.holds(directory) and not any(paths.inside(root, directory) for root in self.hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One regular file by the path that leads there; ``links``: those on the way, canonical path and text."""

    path: str
    real: str
    links: tuple[tuple[str, str], ...]
    elf: elf.Elf | None
    first: bytes  # its beginning, where it is no ELF file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """One program or library in the process. ``origin``: the directory that it is in, as the linker reckons."""

    origin: str
    elf: elf.Elf
    path: str
    parent: "_Object | None" = None

    def chain(self) -> Iterator["_Object"]:
        """It, what needs it, what needs that."""
        here: _Object | None = self
        while here is not None:
            yield here
            here = here.parent


def look(program: str, extras: Sequence[str], machine: str, area: Area, see: See) -> facts.Closure:
    """The files that ``program`` needs, and ``extras``: names of libraries that it opens later, and paths of libraries,
    programs, other files and directories.

    machine: as ``uname -m`` says. Nothing outside ``area`` is among them but the program itself; what was found there
    instead is told. An extra that is not there is left out.
    """
    walk = _Walk(machine, area, see)
    named = {extra: walk.file(extra) for extra in extras if "/" in extra}
    walk.program(program, [extra for extra in extras if extra not in named or _is_library(named[extra])], asked=True)
    for extra, found in named.items():
        if found is None:
            walk.directory(extra)
        elif not _is_library(found):
            walk.extra(found)
    kinds = dict.fromkeys(walk.directories, "dir")
    entries = (
        facts.Entry(path=path, kind="link" if target else kinds.get(path, "file"), target=target)
        for path, target in sorted(walk.entries.items())
    )
    lacks = (facts.Lack(name=name, of=needer, why=why) for (name, needer), why in walk.lacks.items())
    return facts.Closure(entries=tuple(entries), outside=tuple(walk.outside), lacks=tuple(lacks))


@dataclass(slots=True)
class _Walk:
    """One look at a machine."""

    machine: str
    area: Area
    see: See
    entries: dict[str, str] = field(default_factory=dict)  # path -> text of the link, empty for anything else
    directories: set[str] = field(default_factory=set)  # those of the entries that are shown whole
    outside: dict[str, None] = field(default_factory=dict)
    lacks: dict[tuple[str, str], str] = field(default_factory=dict)
    _programs: set[str] = field(default_factory=set)
    _files: dict[str, _File | None] = field(default_factory=dict)
    _links: dict[str, str] = field(default_factory=dict)
    _cache: dict[str, list[tuple[str, bool]]] | None = None

    def extra(self, found: _File) -> None:
        """Add a file by its path; if it is a program, with what that needs."""
        if found.elf is not None or linker.script(found.first):
            self.program(found.path, ())
        elif not self.show(found):
            self.outside[found.real] = None

    def directory(self, path: str) -> None:
        """Add a directory with all that is in it; nothing where there is none."""
        self.see("node", path)
        try:
            real, links = self._trace(path)
            if not stat.S_ISDIR(os.lstat(real).st_mode):
                return
        except OSError:
            return
        if not self.area.holds_all(real) or not all(self.area.holds(at) for at, _ in links):
            self.outside[real] = None
            return
        self.entries |= {real: "", **dict(links)}
        self.directories.add(real)

    def program(self, path: str, names: Sequence[str], *, asked: bool = False) -> None:
        """Add a program, what interprets it, and all that needs.

        names: libraries that it opens later; asked: it is the app's own, which may lie anywhere.
        """
        if path in self._programs:  # a script can name itself
            return
        self._programs.add(path)
        for _ in range(MAX_SCRIPTS):
            found = self.file(path)
            if found is None:
                break
            if not self.show(found, asked=asked):
                self.outside[found.real] = None
                return
            asked = False
            if found.elf is not None:
                self._libraries(found, found.elf, names)
                return
            said = linker.script(found.first)
            if said is None:
                break
            path, argument = said
            if os.path.basename(path) == "env" and (named := self._named(argument)):
                self.program(named, names)
        self.lacks[path, path] = facts.NO_PROGRAM

    def _named(self, argument: str) -> str:
        """The program that ``env ARGUMENT`` starts, where a sandbox would find it; empty where it names none."""
        try:
            words = shlex.split(argument[2:]) if argument.startswith("-S") else [argument]
        except ValueError:
            return ""
        name = next((word for word in words if word and "=" not in word and not word.startswith("-")), "")
        if "/" in name:
            return name
        return next((found for each in SEARCH if name and self.file(found := f"{each}/{name}")), "")

    def _libraries(self, program: _File, found: elf.Elf, names: Sequence[str]) -> None:
        if not linker.suits(found, self.machine):
            self.lacks[program.path, program.path] = facts.OTHER_PROCESSOR
            return
        if not found.interpreter:
            return  # static
        own = self.file(found.interpreter)
        if own is None or own.elf is None:
            self.lacks[found.interpreter, program.path] = facts.NO_PROGRAM
            return
        if not self.show(own):
            self.outside[own.real] = None
        search = _Search(self, linker.Linker(path=found.interpreter, real=own.real), found)
        started = _Object(path=program.path, origin=os.path.dirname(program.real), elf=found)
        wanted = [(name, started, True) for name in found.needed] + [(name, started, False) for name in names]
        known: set[str] = set()
        for name, needer, required in wanted:  # grows: breadth first, as the linker goes
            if name in known or search.linker.is_itself(name, own.elf.soname):
                continue
            known.add(name)
            objects = search.find(name, needer)
            if not objects and search.outside:
                self.outside[search.outside] = None
            elif not objects and required:
                self.lacks[name, needer.path] = search.why
            for library in objects:
                known.add(library.elf.soname)
                wanted += [(below, library, True) for below in library.elf.needed]

    def show(self, found: _File, *, asked: bool = False) -> bool:
        """Add a file and the links on its way, if it lies where it may be shown or is the one ``asked`` for."""
        places = [found.real, *(at for at, _ in found.links)]
        if not asked and not all(self.area.holds(place) for place in places):
            return False
        self.entries |= {found.real: "", **dict(found.links)}
        return True

    def file(self, path: str) -> _File | None:
        """The regular file that a path leads to; None where there is none, or after too many looks."""
        if path not in self._files and not self.weary:
            self._files[path] = self._look(path)
        return self._files.get(path)

    @property
    def weary(self) -> bool:
        """Whether enough was looked at."""
        return len(self._files) >= MAX_LOOKS

    def _look(self, path: str) -> _File | None:
        self.see("file", path)
        try:
            if "\0" in path or not stat.S_ISREG(os.stat(path).st_mode):
                return None
            real, links = self._trace(path)
            handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            return _File(path=path, real=real, links=links, elf=_elf(handle), first=os.pread(handle, _BEGINNING, 0))
        except OSError:
            return None
        finally:
            os.close(handle)

    def _trace(self, path: str) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The canonical path, and the links on the way there. Raises OSError."""
        done, rest, links = "", path.split("/"), {}
        while rest:
            part, *rest = rest
            if part == "..":
                done = done.rpartition("/")[0]
            if part in ("", ".", ".."):
                continue
            here = f"{done}/{part}"
            if rest:
                self.see("real", here)
            target = self._target(here)
            if not target:
                done = here
                continue
            links[here] = target
            if len(links) > MAX_LINKS:
                raise OSError(errno.ELOOP, "too many links")
            done, rest = "" if target.startswith("/") else done, [*target.split("/"), *rest]
        return done, tuple(links.items())

    def _target(self, here: str) -> str:
        """The text of a link, empty for anything else. Raises OSError for what is not there."""
        if here not in self._links:
            self.see("link", here)
            try:
                self._links[here] = os.readlink(here)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._links[here] = ""
        return self._links[here]

    def cached(self, name: str) -> list[tuple[str, bool]]:
        """(path, whether only for better processors) of what the linker's cache says about a library."""
        if self._cache is None:
            self._cache = {}
            for key, path, better in linker.cache(self.content(linker.CACHE) or b""):
                self._cache.setdefault(key, []).append((path, better))
        return self._cache.get(name, [])

    def content(self, path: str) -> bytes | None:
        """A file of a linker's configuration; None where there is none."""
        self.see("file", path)
        try:
            with open(path, "rb") as file:
                return file.read(linker.MAX_CACHE)
        except OSError:
            return None

    def configuration(self, path: str) -> None:
        """Add a file that a linker itself reads."""
        try:
            real, links = self._trace(path)
        except OSError:
            return
        self.entries |= {real: "", **dict(links)}


class _Search:
    """Where one program's linker looks for libraries.

    Of the last one not found: ``outside``, where it is out of the area; ``why``, what else stood in the way.
    """

    def __init__(self, walk: _Walk, which: linker.Linker, program: elf.Elf) -> None:
        self.walk, self.linker, self._program = walk, which, program
        text = walk.content(which.configuration) if which.musl else None
        self._configured = text is not None
        self._last = which.directories(program, None if text is None else os.fsdecode(text))
        self._levels = which.levels(program)
        self.outside, self.why = "", facts.ABSENT

    def find(self, name: str, needer: _Object) -> list[_Object]:
        """Add what ``name`` means to ``needer``: the library, and its variants for better processors."""
        self.outside, self.why = "", facts.ABSENT
        objects: list[_Object] = []
        if self.walk.weary:
            return objects
        for path, better, configured in self._candidates(name, needer):
            if self.walk.weary:
                break
            found = self._loadable(path)
            if found is None or found.elf is None:
                continue
            if not self.walk.show(found):  # nobody sees it there, so that the linker goes on as well
                self.outside = self.outside or found.real
                continue
            objects.append(_Object(path=path, origin=os.path.dirname(path), elf=found.elf, parent=needer))
            if not better:
                if configured:
                    self.walk.configuration(self.linker.configuration)
                break
        return objects

    def _loadable(self, path: str) -> _File | None:
        found = self.walk.file(path)
        if found is not None and found.elf is not None and not found.elf.runs_with(self._program):
            self.why = facts.OTHER_PROCESSOR
            return None
        return found

    def _candidates(self, name: str, needer: _Object) -> Iterator[tuple[str, bool, bool]]:
        """(path, whether only for better processors, whether the linker needs its configuration to come there)."""
        if "/" in name:
            yield from ((found, False, False) for found in self.linker.expand((name,), needer.origin, self._program))
            return
        for directory in self._first(needer):
            yield from ((found, better, False) for found, better in self._within(directory, name))
        if self.linker.musl:
            for directory in self._last:
                yield f"{directory}/{name}", False, self._configured
            return
        for found, better in self.walk.cached(name) if self.linker.configuration else ():
            usual = os.path.dirname(found) in self._last
            if not (usual and needer.elf.no_default):
                yield found, better, not usual
        for directory in () if needer.elf.no_default else self._last:
            yield from ((found, better, False) for found, better in self._within(directory, name))

    def _first(self, needer: _Object) -> Iterator[str]:
        """The search paths of the library that needs it and, unless that has a runpath, of those that need that."""
        chain = list(needer.chain())
        if self.linker.musl:
            searched = [(each, each.elf.runpath or each.elf.rpath) for each in chain]
        elif needer.elf.runpath:
            searched = [(needer, needer.elf.runpath)]
        else:
            searched = [(each, each.elf.rpath) for each in chain]
        for owner, search in searched:
            yield from self.linker.expand(search, owner.origin, self._program)

    def _within(self, directory: str, name: str) -> Iterator[tuple[str, bool]]:
        above = directory.rstrip("/")
        yield from ((f"{above}/{level}/{name}", True) for level in self._levels)
        yield f"{above}/{name}", False


def _is_library(found: _File | None) -> bool:
    """Whether it is something that a program opens: it names libraries and no linker to find them."""
    return found is not None and found.elf is not None and not found.elf.interpreter and bool(found.elf.needed)


def _elf(handle: int) -> elf.Elf | None:
    try:
        return elf.read(lambda at, size: os.pread(handle, size, at))
    except (OSError, OverflowError, elf.Malformed):
        return None
