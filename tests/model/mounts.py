"""What a list of mounts makes visible; written from mount_namespaces(7), without a look at the compiler or bubblewrap.

A mount at D covers everything that was below D; a path belongs to the deepest mount above it. Places that no mount
names, but that lie above one, are directories which the sandbox makes itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intents import sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What stands at a mount point: a host path (source), a link's text (target), or something new (neither)."""

    source: str = ""
    target: str = ""
    writable: bool = False
    hidden: bool = False


View = Mapping[str, Seen]


def visible(mounts: Iterable[sandbox.Mount]) -> View:
    """Mount point -> what stands there, of mounts made in this order. The root is made read-only at the end."""
    view: dict[str, Seen] = {}
    for mount in mounts:
        view = {at: seen for at, seen in view.items() if not _below(at, mount.dest)}
        match mount:
            case sandbox.Bind():
                view[mount.dest] = Seen(source=mount.source, writable=mount.access is sandbox.Access.WRITE)
            case sandbox.Symlink():
                view[mount.dest] = Seen(target=mount.target)
            case sandbox.Tmpfs():
                view[mount.dest] = Seen(writable=not mount.mask, hidden=mount.mask)
            case sandbox.Directory():
                view[mount.dest] = Seen(writable=at(view, mount.dest)[0].writable)
            case _:
                view[mount.dest] = Seen()
    return view


def at(view: View, path: str) -> tuple[Seen, str]:
    """(the deepest mount above ``path`` or at it, the rest of the path below that mount, "" at the mount itself)."""
    while path not in view:
        if path == "/":
            return Seen(), ""
        path = path.rpartition("/")[0] or "/"
    return view[path], path


def source(view: View, path: str) -> str:
    """The host path that is seen at ``path``, empty where none is."""
    seen, top = at(view, path)
    return seen.source + path[len(top) :] if seen.source else ""


def _below(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")
