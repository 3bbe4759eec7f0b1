"""Files that the user names on the command line are given to this launch alone (SPEC §9.7).

Naming a file is the user's act, as choosing one in a dialog is. Loaded only where an argument names something. The
plan's section ``named`` says what may be given: (word, path, source) rows, those of ``intents/named.py`` and mounts.
"""

import os

from intents import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Sections = dict[str, tuple[bytes, ...]]
    Walk = Callable[[bytes], int]
    Launch = tuple[Sections, list[bytes]]

LIMIT = 500  # files at once: each takes a descriptor, of which a process has 1024
_LINKS = 40  # as the kernel follows at most
_SHOWN = 3  # names in one line
_WIDTH = 100  # characters of a name
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._,+@~/-%")
_URI_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/!$&'()*+,;=:@")
_OWN = frozenset(b"/dev/" + name for name in b"stdin stdout stderr null zero full random urandom tty".split())
_NOTHING, _CHANGE = "does not get", "may not change"
_UNASKED = "to give it for this run, use `intent-run --read`"
_SYSTEM = "it belongs to the running system, or to intents itself"
_DIRECTORY = "it is a directory, and only files are given by naming them"
_NO_FILE = "it is not a regular file"
_LINKED = "it has another name elsewhere (a hard link), which cannot be judged; name a copy of it"
_FOREIGN = "it belongs to somebody else, in a directory that everybody can write"
_MOUNTED = "it lies on something that is mounted in a directory that everybody can write"
_COVERED = "the app has something of its own in its place"
_PLANTED = "on the way is a link that the app or somebody else may have made"
_HIDDEN = "it is a link to a hidden file or one of the system; name that file itself"
_MANY = f"at most {LIMIT} files are given at once"
_OURS = "intents itself, or what the app starts with, is run from it"
_STARTS = "it may decide which programs run; to allow that, use `intent-run --write`"


def give(
    sections: "Sections", arguments: "list[bytes]", wanted: bytes, walk: "Walk", say: "Callable[[str], None]"
) -> "Launch":
    """The sections with the named files mounted, and the arguments as the app finds those files.

    wanted: ``read`` or ``write`` as the user said, empty for what the manifest says; walk: opens a canonical path,
    following no link; say: takes a line for standard error. What may not be given is left out, and said. Raises
    HostError when a file changes under our eyes.
    """
    settings = plan.settings(sections)
    files = _Files(sections, wanted or settings[b"files"], bool(wanted), walk)
    words = files.arguments(arguments)
    for line in files.lines(settings[b"name"].decode()):
        say(line)
    return {**sections, "args": files.mounted(sections["args"])}, words


class _Files:
    """The files of one launch."""

    def __init__(self, sections: "Sections", access: bytes, said: bool, walk: "Walk") -> None:
        """access: ``read``, ``write`` or nothing; said: that is the user's own word."""
        named = sections["named"]
        self.table = list(zip(named[::3], named[1::3], named[2::3], strict=True))
        self.access, self.said, self.walk = access, said, walk
        self.home = next(arg[1:] for arg in sections["args"] if arg[:1] == b"d")
        self.options: list[bytes] = []
        self.given: dict[bytes, tuple[str, bool]] = {}  # place inside -> (name, to be changed)
        self.told: list[tuple[str, str, str]] = []  # (name, what the app does not get of it, why)
        self.inside = b""  # the working directory, where names count from it

    def arguments(self, words: "list[bytes]") -> "list[bytes]":
        """The arguments as the app finds the files; ``options`` then mounts them."""
        found, operands = [], False
        for word in words:
            name = _name(word, operands)
            operands |= word == b"--"
            found.append((word, name, self._look(name) if name is not None else b""))
        if any(place and word[:1] != b"/" and not _is_uri(word) for word, _, place in found):
            self.inside = self._directory()
        return [self._word(word, place) if place else word for word, _, place in found]

    def _word(self, word: bytes, place: bytes) -> bytes:
        """``word`` as it leads to ``place`` inside."""
        if _is_uri(word):
            tail = word[len(word.partition(b"#")[0].partition(b"?")[0]) :]
            return word if _name(word, False) == place else _uri(place) + tail
        return word if os.path.normpath(os.path.join(self.inside or b"/", word)) == place else place

    def _look(self, name: bytes) -> bytes:
        """Where the app finds what is named; empty where it is nothing, or is not given."""
        try:
            mode = os.stat(name).st_mode & 0o170000
        except (OSError, ValueError):
            return b""  # an argument like any other
        real, links = _resolve(name)
        if name in _OWN or name[:8] == b"/dev/fd/":
            return b""
        seen = self._seen(real)
        if seen and (mode != 0o100000 or self.access != b"write" or seen[1]):
            return seen[0]
        shown = self._shown(name, real)
        if not self.access:
            self.told += [(shown, _NOTHING, _UNASKED)] if mode == 0o100000 else []
            return b""
        why = self._refused(real, mode, links)
        if not why and len(self.given) < LIMIT:
            return self._file(real, shown, seen[0] if seen else b"")
        self.told.append((shown, _NOTHING, why or _MANY))
        return b""

    def _refused(self, real: bytes, mode: int, links: "list[bytes]") -> str:
        """Why an object is not given at all; links: those that led there."""
        if self._rule(real, b"closed", b"open") == b"closed":
            return _SYSTEM
        if mode != 0o100000:
            return _DIRECTORY if mode == 0o040000 else _NO_FILE
        # Those of the system are trusted: on some, /home is one.
        loose = [link for link in links if _in(link, self.home) or os.lstat(link).st_uid]
        written = [source for what, _, source in self.table if what == b"write"]
        for link in loose:
            if os.lstat(link).st_uid not in (0, os.geteuid()) or any(_in(link, source) for source in written):
                return _PLANTED
        return _HIDDEN if loose and self._rule(real, b"guarded", b"free") == b"guarded" else ""

    def _file(self, real: bytes, shown: str, seen: bytes) -> bytes:
        """Have one file mounted; its place inside, or ``seen``, where it can be read already."""
        handle = self.walk(real)
        write, less = self._access(real)
        why = self._unfit(os.fstat(handle), real)
        place = self._place(real) if not why and (write or not seen) else b""
        if not place or place in self.given:  # refused, there already, or named twice
            os.close(handle)
            self.told += [(shown, _CHANGE if seen else _NOTHING, why or less * bool(seen) or _COVERED)] * (not place)
            return place or seen
        os.set_inheritable(handle, True)
        self.options += [b"=--bind-fd" if write else b"=--ro-bind-fd", b"=%d" % handle, b"=" + place]
        self.given[place] = shown, write
        self.told += [(shown, _CHANGE, less)] if less else []
        return place

    def _unfit(self, info: os.stat_result, real: bytes) -> str:
        """Why what was opened is not given."""
        if info.st_mode & 0o170000 != 0o100000:  # by now
            return _NO_FILE
        if info.st_nlink > 1:
            return _LINKED
        shared = [at for word, at, _ in self.table if word == b"own" and real.startswith(at)]
        if shared and info.st_uid != os.geteuid():
            return _FOREIGN
        # The rules know of no mount there, because nothing else is ever given from there.
        return _MOUNTED if shared and info.st_dev != os.stat(shared[0]).st_dev else ""

    def _access(self, real: bytes) -> "tuple[bool, str]":
        """Whether the file may be changed, and why not although that was wanted."""
        if self.access != b"write":
            return False, ""
        if self._rule(real, b"kept"):
            return False, _OURS
        if not self.said and self._rule(real, b"guarded", b"free") == b"guarded":
            return False, _STARTS
        return True, ""

    def _rule(self, real: bytes, *words: bytes) -> bytes:
        """Which of these words the rules say about a path; empty for none."""
        found = [(len(at), word) for word, at, _ in self.table if word in words and (real + b"/").startswith(at)]
        return max(found)[1] if found else b""

    def _over(self, path: bytes) -> "tuple[bytes, bytes, bytes]":
        """(what, where, source) of the mount that a path inside lies on."""
        mounts = [row for row in self.table if row[0] in (b"read", b"write", b"memory", b"other") and _in(path, row[1])]
        return max(mounts, key=lambda row: len(row[1]), default=(b"memory", b"/", b""))

    def _seen(self, real: bytes) -> "tuple[bytes, bool] | None":
        """Where the app finds an object of the host anyway, and whether it can change it."""
        places = []
        for row in self.table:
            what, at, source = row
            if what in (b"read", b"write") and _in(real, source):
                place = at + real[len(source) :]
                if self._over(place) == row:
                    places.append((what == b"write", place == real, place))
        if not places:
            return None
        write, _, place = max(places)
        return place, write

    def _place(self, real: bytes) -> bytes:
        """Where a file can be mounted: at its own path, else beside the app's own directories; empty for nowhere."""
        if self._free(real):
            return self._parents(real)
        beside = self.home + b"/.granted" + real[len(self.home) :]
        return self._parents(beside) if _in(real, self.home) and self._free(beside) else b""

    def _free(self, place: bytes) -> bool:
        """Whether nothing but memory is there, or, to be read only, the very directory that holds the file."""
        what, at, source = self._over(place)
        return at != place and (what == b"memory" or (what == b"read" and at == source))

    def _parents(self, place: bytes) -> bytes:
        """``place``, with the directories above it: in them nothing can be made, for nothing of it would be kept."""
        what, at, _ = self._over(place)
        steps = place[len(at.rstrip(b"/")) + 1 :].split(b"/")[:-1] if what == b"memory" else []
        for count in range(1, len(steps) + 1):
            self._make(b"/".join([at.rstrip(b"/"), *steps[:count]]))
        return place

    def _make(self, directory: bytes) -> None:
        if (made := [b"=--perms", b"=0555", b"=--dir", b"=" + directory])[3] not in self.options:
            self.options += made

    def _directory(self) -> bytes:
        """The working directory inside: the caller's, made where only names of files count from it."""
        here = os.getcwdb()
        if seen := self._seen(here):
            return seen[0]
        if not self._free(here) or self._over(here)[0] != b"memory":
            return self.home
        self._parents(here)
        self._make(here)
        return here

    def mounted(self, args: "tuple[bytes, ...]") -> "tuple[bytes, ...]":
        """bubblewrap's arguments with the files among the mounts, before anything becomes read-only."""
        at = args.index(b"=--remount-ro")
        rest = [b"=" + self.inside if self.inside and arg[:1] == b"d" else arg for arg in args[at:]]
        return (*args[:at], *self.options, *rest)

    def _shown(self, name: bytes, real: bytes) -> str:
        """A file's name, and what it leads to, as one word each that cannot be taken for anything else."""
        path = os.path.normpath(name)
        return " → ".join(_quoted(self._short(each)) for each in dict.fromkeys((path, real)))

    def _short(self, path: bytes) -> str:
        below = _in(path, self.home)
        return (b"~" + path[len(self.home) :] if below else path).decode("utf-8", "backslashreplace")

    def lines(self, name: str) -> "list[str]":
        """What is said of this launch."""
        said = []
        for write, what in ((False, "read"), (True, "read and change")):
            if shown := [each for each, changed in self.given.values() if changed is write]:
                said.append(f"{name} may {what} {_listed(shown)} for this run")
        for what, why in dict.fromkeys((what, why) for _, what, why in self.told):
            shown = [each for each, *rest in self.told if rest == [what, why]]
            said.append(f"{name} {what} {_listed(shown)}: {why}")
        return said


def _name(word: bytes, operands: bool) -> "bytes | None":
    """The absolute path that an argument may name; None for an option. operands: ``--`` stood before it."""
    if _is_uri(word):
        return _decoded(word)
    if not word or (word[:1] == b"-" and not operands):
        return None
    try:
        return os.path.join(os.getcwdb(), word)
    except OSError:  # the directory was removed
        return None


def _resolve(path: bytes) -> "tuple[bytes, list[bytes]]":
    """The canonical path, and that of each link that was followed (path_resolution(7))."""
    done, rest, links = b"", path.split(b"/")[::-1], []
    while rest:
        part = rest.pop()
        if part in (b"", b".", b".."):
            done = done[: done.rfind(b"/")] if part == b".." and done else done
            continue
        try:
            target = os.readlink(done + b"/" + part)
        except OSError:  # no link
            done += b"/" + part
            continue
        links.append(done + b"/" + part)
        if len(links) > _LINKS:
            return path, links
        rest += target.split(b"/")[::-1]
        done = b"" if target[:1] == b"/" else done
    return done or b"/", links


def _is_uri(word: bytes) -> bool:
    return word[:8] == b"file:///" or word[:17] == b"file://localhost/"


def _decoded(uri: bytes) -> "bytes | None":
    """The path of a ``file`` URI (RFC 8089) without its query and fragment; None where it holds no path."""
    path = uri[7:].partition(b"#")[0].partition(b"?")[0]
    first, *rest = path[path.index(b"/") :].split(b"%")
    if not all(part[:2].isalnum() and len(part) > 1 for part in rest):
        return None
    try:
        found = first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in rest)
    except ValueError:
        return None
    return None if b"\0" in found else found


def _uri(path: bytes) -> bytes:
    return b"file://" + b"".join(b"%c" % byte if byte in _URI_SAFE else b"%%%02X" % byte for byte in path)


def _in(path: bytes, ancestor: bytes) -> bool:
    return path == ancestor or path.startswith(ancestor.rstrip(b"/") + b"/")


def _quoted(text: str) -> str:
    """One visible word: what could move, hide or reorder is written out, the middle of what is long is left out."""
    safe = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    short = safe if len(safe) <= _WIDTH else f"{safe[: _WIDTH // 3]}…{safe[-_WIDTH * 2 // 3 :]}"
    return short if set(short) <= _PLAIN else '"' + short.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _listed(names: "list[str]") -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
