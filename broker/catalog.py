"""Catalogs: where manifests are found, in which order, and which of them are vouched for (SPEC §6.4)."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from broker import state
from intents import errors, model, parse, paths

SYSTEM = ("/etc/intents/manifests", "/usr/share/intents/manifests")
MAX_FILE = 64 * 1024 + 1
_APP_ID = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """One directory of manifests. ``vouched``: whoever put a file there could change intents itself as well."""

    directory: str
    vouched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The bytes of a manifest as they were read once, its signature's bytes or None, and whether it is vouched for."""

    path: str
    body: bytes
    signature: bytes | None
    vouched: bool


def checkout() -> str:
    """The source tree this program runs from, or empty when it is installed."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return root if os.path.isfile(f"{root}/bootstrap") and os.path.isdir(f"{root}/manifests") else ""


def _ours() -> str:
    """The directory of the manifests that come with this program: beside it, in it, or where packages put them."""
    inside = f"{os.path.dirname(os.path.abspath(__file__))}/manifests"
    root = checkout()
    return f"{root}/manifests" if root else inside if os.path.isdir(inside) else SYSTEM[1]


def catalogs(places: state.Places) -> tuple[Catalog, ...]:
    """Administrator's, package's (or the checkout's), user's: the first that has an id decides (SPEC §6.4)."""
    return (
        Catalog(directory=SYSTEM[0], vouched=True),
        Catalog(directory=_ours(), vouched=True),
        Catalog(directory=f"{places.data}/manifests", vouched=False),
    )


def find(name: str, places: state.Places) -> tuple[Found, ...]:
    """The manifests that ``name`` may mean: one for a file or an id, all that claim it for an alias.

    Raises CatalogError ``manifest-not-found``, ``unsafe-catalog`` or ``unreadable``.
    """
    if "/" in name or name.endswith(".toml"):
        return (_read(os.path.abspath(name), vouched=False),)
    for catalog in catalogs(places):
        path = f"{catalog.directory}/{name}.toml"
        if _APP_ID.fullmatch(name) and os.path.lexists(path):
            _check_directory(catalog)
            return (_read(path, vouched=catalog.vouched),)
    # Aliases count from vouched catalogs only; no file of another may stand in the way.
    found = tuple(found for found in everything(places, vouched=True) if name in manifest(found).app.aliases)
    if not found:
        shown = paths.printable(name)
        raise errors.CatalogError("manifest-not-found", f"nothing here is called `{shown}`")
    return found


def everything(places: state.Places, *, vouched: bool = False) -> Iterator[Found]:
    """Every manifest of every catalog, or those vouched for, that no earlier one shadows. Raises CatalogError."""
    for catalog, name in _unshadowed(places):
        if vouched and not catalog.vouched:
            continue
        _check_directory(catalog)
        yield _read(f"{catalog.directory}/{name}.toml", vouched=catalog.vouched)


def ids(places: state.Places) -> tuple[str, ...]:
    """The app ids that the catalogs have a file for, sorted; nothing is read, so no file is in the way of another."""
    return tuple(sorted(name for _, name in _unshadowed(places) if _APP_ID.fullmatch(name)))


def _unshadowed(places: state.Places) -> Iterator[tuple[Catalog, str]]:
    seen: set[str] = set()
    for catalog in catalogs(places):
        listed = os.listdir(catalog.directory) if os.path.isdir(catalog.directory) else []
        new = {name.removesuffix(".toml") for name in listed if name.endswith(".toml")} - seen
        seen |= new
        yield from ((catalog, name) for name in sorted(new))


def choose(found: tuple[Found, ...], *, typed: bool, wayland: bool) -> Found:
    """Of several manifests with one alias, the one that suits: on a desktop the window, else the terminal program.

    typed: whether standard input is a terminal; wayland: whether a compositor is there. What is installed goes first.
    """
    if len(found) == 1:
        return found[0]
    wanted = "window" if typed and wayland else "terminal"

    def unfit(candidate: Found) -> tuple[bool, bool, str]:
        app = manifest(candidate).app
        return not os.access(app.command[0], os.X_OK), app.interface != wanted, app.id

    return min(found, key=unfit)


def check_id(found: Found, manifest: model.Manifest) -> None:
    """A catalog's file must be named after the id it declares. Raises CatalogError ``unsafe-catalog``."""
    name = os.path.basename(found.path).removesuffix(".toml")
    if found.vouched and name != manifest.app.id:
        shown = paths.printable(found.path)
        raise errors.CatalogError("unsafe-catalog", f"`{shown}` declares the id `{manifest.app.id}`")


def manifest(found: Found) -> model.Manifest:
    """What a found file says. Raises ManifestError."""
    return parse.parse(found.body, file=found.path)


def _check_directory(catalog: Catalog) -> None:
    if catalog.vouched and catalog.directory not in SYSTEM:
        _check_checkout(catalog.directory, os.stat(catalog.directory))
    else:
        _check(catalog.directory, os.stat(catalog.directory), vouched=catalog.vouched)


def _check_checkout(path: str, info: os.stat_result) -> None:
    """A group may share a checkout, the program with the manifests; everybody else may change neither."""
    if info.st_uid != os.stat(__file__).st_uid:
        raise _unsafe(path, "belongs to somebody else than this program does")
    if info.st_mode & stat.S_IWOTH:
        raise _unsafe(path, f"can be written by everybody (mode {stat.S_IMODE(info.st_mode):04o})")


def _check(path: str, info: os.stat_result, *, vouched: bool) -> None:
    owners = (0,) if vouched else (0, os.geteuid())
    if info.st_uid not in owners:
        raise _unsafe(path, f"belongs to user {info.st_uid}")
    strict = bool(info.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    if strict if vouched else state.others_write(info):
        raise _unsafe(path, f"can be written by others (mode {stat.S_IMODE(info.st_mode):04o})")


def _unsafe(path: str, why: str) -> errors.CatalogError:
    return errors.CatalogError("unsafe-catalog", f"`{paths.printable(path)}` {why}")


def _read(path: str, *, vouched: bool) -> Found:
    body = _bytes(path, vouched=vouched)
    if body is None:
        raise errors.CatalogError("manifest-not-found", f"there is no file `{paths.printable(path)}`")
    return Found(path=path, body=body, signature=_bytes(f"{path}.sig", vouched=vouched), vouched=vouched)


def _bytes(path: str, *, vouched: bool) -> bytes | None:
    """The file's bytes, or None when it does not exist. A pipe or device is never opened for reading."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.CatalogError("unreadable", f"`{paths.printable(path)}`: {error.strerror}") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode):
        os.close(handle)
        raise errors.CatalogError("unreadable", f"`{paths.printable(path)}` is not a regular file")
    with open(handle, "rb") as file:
        if vouched and not path.startswith(SYSTEM):
            _check_checkout(path, info)
        else:
            _check(path, info, vouched=vouched)
        return file.read(MAX_FILE)
