"""Places: the symbolic paths a manifest may name (SPEC §5.3), and lexical path arithmetic. Never touches the disk."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from intents import errors

USER_DIRECTORIES = (
    "xdg-desktop",
    "xdg-documents",
    "xdg-download",
    "xdg-music",
    "xdg-pictures",
    "xdg-public-share",
    "xdg-templates",
    "xdg-videos",
)
BASE_DIRECTORIES = ("xdg-cache", "xdg-config", "xdg-data", "xdg-state")
REMOVABLE = "removable"
ROOTS = ("home", *USER_DIRECTORIES, *BASE_DIRECTORIES, REMOVABLE)

# Kernel interfaces and other programs' run-time state: no answer of the user grants them (ruling in SPEC §8.6).
REFUSED_ROOTS = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/run", "/var/tmp")
# What the base already gives, or what a bind would replace under the running sandbox.
SYSTEM_ROOTS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc")

# Where some distributions keep every program and library, and the link to the one that is in use.
STORES = ("/nix/store", "/gnu/store")
CURRENT_SYSTEM = "/run/current-system"
CURRENT_PROGRAMS = f"{CURRENT_SYSTEM}/sw/bin"

MAX_PLACE = 1024
MAX_COMPONENT = 255
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A symbolic path: ``root`` is one of ``ROOTS`` or ``/``; ``parts`` are the components below it."""

    root: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The place as a manifest writes it."""
        if self.root == "/":
            return "/" + "/".join(self.parts)
        return "/".join((self.root, *self.parts))

    def contains(self, other: "Place") -> bool:
        """Whether ``other`` is this place or lies below it, judged by the text alone."""
        return self.root == other.root and other.parts[: len(self.parts)] == self.parts

    def resolve(self, directories: dict[str, str]) -> str | None:
        """The absolute path on a host whose roots are ``directories``; None where the root does not exist there."""
        if self.root == "/":
            return self.text
        base = directories.get(self.root)
        return None if base is None else "/".join((base.rstrip("/"), *self.parts))


def parse_place(text: str) -> Place:
    """Read a place as a manifest writes it (SPEC §5.3 ABNF). Raises ManifestError ``bad-place``."""

    def refuse(why: str) -> errors.ManifestError:
        return errors.ManifestError("bad-place", f"`{printable(text)}` is not a place: {why}")

    if len(text.encode("utf-8", "surrogatepass")) > MAX_PLACE:
        raise refuse(f"it is longer than {MAX_PLACE} bytes")
    root, parts = ("/", text[1:].split("/")) if text.startswith("/") else _split_root(text)
    if root not in ("/", *ROOTS):
        raise refuse("it begins with neither `/` nor one of " + ", ".join(f"`{name}`" for name in ROOTS))
    if root == "/" and parts == [""]:
        raise refuse("the whole file system cannot be asked for")
    if root in BASE_DIRECTORIES and not parts:
        raise refuse(f"ask for one directory below `{root}`")
    for part in parts:
        if why := _bad_component(part):
            raise refuse(why)
    return Place(root=root, parts=tuple(parts))


def _split_root(text: str) -> tuple[str, list[str]]:
    root, *parts = text.split("/")
    return root, parts


def _bad_component(part: str) -> str:
    if part in ("", ".", ".."):
        return "empty, `.` and `..` components are not allowed"
    if len(part.encode("utf-8", "surrogatepass")) > MAX_COMPONENT:
        return f"a component is longer than {MAX_COMPONENT} bytes"
    if any(unicodedata.category(char) in _FORBIDDEN_CATEGORIES for char in part):
        return "it holds a character that cannot be shown"
    if unicodedata.normalize("NFC", part) != part or part != part.strip():
        return "it is not in normal form (NFC, no space at the ends of a component)"
    return ""


def inside(path: str, ancestor: str) -> bool:
    """Whether the absolute ``path`` is ``ancestor`` or lies below it; both normalised, judged by the text alone."""
    return path == ancestor or ancestor == "/" or path.startswith(ancestor + "/")


def depth(path: str) -> int:
    """How many components an absolute path has: 0 for ``/``."""
    return 0 if path == "/" else path.count("/")


def parent(path: str) -> str:
    """The directory that holds an absolute path."""
    return path.rpartition("/")[0] or "/"


def above(path: str) -> Iterator[str]:
    """The directories that an absolute path lies in, nearest first, ``/`` last."""
    while path != "/":
        path = parent(path)
        yield path


def printable(text: str) -> str:
    """``text`` with everything that could move the cursor, hide or reorder made visible as ``\\x1b`` or ``\\u202e``."""
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _FORBIDDEN_CATEGORIES or (char.isspace() and char != " ")
        else char
        for char in text
    )
