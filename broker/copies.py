"""Copy the settings that a program has already into an app's own directories, before it starts (SPEC §5.8).

The app may have run before, so what stands in its directories may be a trap: no link is followed there, nor in the
user's own, nothing is overwritten, and every file appears whole or not at all.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from broker import state
from intents import base, errors, facts, model, paths
from intents.kinds import settings

_DEPTH = 32
_CHUNK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True, kw_only=True)
class _Copy:
    """One copying: the directory for files that are not whole yet, what was left out, what is counted."""

    stage: int
    left_out: list[str] = field(default_factory=list)
    files: int = 0
    size: int = 0


def bring(delta: model.Delta, withheld: Container[str], host: facts.HostFacts, say: Callable[[str], None]) -> None:
    """Do what the answers about settings say: copy them once for each answer, and take away links to what is not given
    in place any more. The caller holds the app's ``state`` lock.

    withheld: ids of intents that are not given here; say: takes one line for standard error. Raises HostError
    ``settings-not-copied``; then nothing may be started.
    """
    vetted = delta.vetted
    for change in delta.changes:
        if not isinstance(change.intent.scope, settings.Settings) or vetted.trust is model.Trust.UNSIGNED:
            continue
        granted = () if change.intent.id in withheld else change.granted
        given = [scope for scope in granted if isinstance(scope, settings.Settings)]
        used = {place for scope in given if scope.how == settings.USE for place in scope.places}
        for place in change.intent.scope.places:
            _tidy(vetted, host, place, say, used=place in used)
        for scope in given:
            if scope.how == settings.COPY:
                _once(vetted, host, scope, change.decided_by, say)


def _tidy(
    vetted: model.Vetted, host: facts.HostFacts, place: paths.Place, say: Callable[[str], None], *, used: bool
) -> None:
    """Remove the link of an earlier start to what is not given any more; say what stands in the way of a new one."""
    path = base.own_directory(vetted, host, settings.own(place))
    directory, name = os.path.split(path)
    with contextlib.suppress(OSError), _opened(directory) as handle:
        link = stat.S_ISLNK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode)
        if used and not link:
            own = paths.printable(path)
            say(f"{own} is the app's own, and stands in the way of yours; remove it, or let the app start fresh")
        elif not used and link and os.readlink(name, dir_fd=handle).startswith(f"{host.account.home}/.granted/"):
            os.unlink(name, dir_fd=handle)


def _once(
    vetted: model.Vetted,
    host: facts.HostFacts,
    scope: settings.Settings,
    answers: tuple[int, ...],
    say: Callable[[str], None],
) -> None:
    directory = base.own_directory(vetted, host, "")
    mark = f"{directory}copied"
    answer = f"{max(answers, default=0)}\n".encode()
    if state.read_private(mark, 64) == answer != b"0\n":
        return
    try:
        state.own_directory(directory.rstrip("/"))
        left_out = _all(directory, scope.sources(host))
        state.write_atomic(mark, answer)
    except OSError as error:
        message = f"your settings cannot be copied for {vetted.manifest.app.name}: {error.strerror or error}"
        raise _failed(vetted, message) from error
    except OverflowError as error:
        most = f"{settings.MAX_BYTES >> 20} MiB or {settings.MAX_FILES} files"
        raise _failed(vetted, f"your settings for {vetted.manifest.app.name} are more than {most}") from error
    for path in left_out:
        say(f"not copied: {paths.printable(path)}")


def _failed(vetted: model.Vetted, message: str) -> errors.HostError:
    return errors.HostError("settings-not-copied", message, hint=f"intent-ctl forget {vetted.manifest.app.id}")


def _all(directory: str, sources: tuple[tuple[str, str], ...]) -> list[str]:
    """Copy each source to its place; what was left out. Raises OSError, and OverflowError before anything is copied."""
    _measure([source for source, _ in sources])
    stage = f"{directory}.copying"
    with contextlib.suppress(FileExistsError):
        os.mkdir(stage, 0o700)
    handle = os.open(stage, _FOLDER)
    try:
        for name in os.listdir(handle):
            os.unlink(name, dir_fd=handle)  # of a copying that was interrupted
        made = _Copy(stage=handle)
        for source, below in sources:
            into = f"{directory}{os.path.dirname(below)}"
            with _opened(os.path.dirname(source)) as origin, _opened(into, make=True) as target:
                _entry(made, origin, os.path.basename(source), target, os.path.basename(below), source)
    finally:
        os.close(handle)
    os.rmdir(stage)
    return made.left_out


def _measure(sources: list[str]) -> None:
    files, size = 0, 0
    for source in sources:
        for here, folders, names in os.walk(source) if os.path.isdir(source) else (("", [], [source]),):
            if here.count("/") - source.count("/") > _DEPTH:
                folders.clear()  # it is not copied
            for name in names:
                with contextlib.suppress(OSError):
                    info = os.lstat(os.path.join(here, name))
                    files, size = files + 1, size + (info.st_size if stat.S_ISREG(info.st_mode) else 0)
            if files > settings.MAX_FILES or size > settings.MAX_BYTES:
                raise OverflowError


def _entry(made: _Copy, origin: int, name: str, target: int, new: str, shown: str, depth: int = _DEPTH) -> None:
    """Copy one entry of ``origin`` to ``target``; what is neither a file nor a directory of its file system stays."""
    info = os.stat(name, dir_fd=origin, follow_symlinks=False)
    if stat.S_ISREG(info.st_mode):
        _file(made, origin, name, target, new, shown)
    elif stat.S_ISDIR(info.st_mode) and info.st_dev == os.fstat(origin).st_dev and depth:
        _directory(made, origin, name, target, new, shown, depth)
    else:
        made.left_out.append(shown)


def _directory(made: _Copy, origin: int, name: str, target: int, new: str, shown: str, depth: int) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(new, 0o700, dir_fd=target)
    try:
        there = os.open(new, _FOLDER, dir_fd=target)
    except OSError:  # the app has something else of that name
        made.left_out.append(shown)
        return
    try:
        here = os.open(name, _FOLDER, dir_fd=origin)
        try:
            for entry in sorted(os.listdir(here)):
                _entry(made, here, entry, there, entry, f"{shown}/{entry}", depth - 1)
        finally:
            os.close(here)
    finally:
        os.close(there)


def _file(made: _Copy, origin: int, name: str, target: int, new: str, shown: str) -> None:
    """Copy a file beside, and link it into place whole; one that the app has already stays as it is."""
    try:
        source = os.open(name, _FILE, dir_fd=origin)
    except PermissionError:
        made.left_out.append(shown)
        return
    with open(source, "rb") as reading:
        info = os.fstat(source)
        made.files += 1
        copied = os.open("file", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=made.stage)
        with open(copied, "wb") as writing:
            while data := reading.read(_CHUNK):
                made.size += len(data)
                if made.size > settings.MAX_BYTES or made.files > settings.MAX_FILES:
                    raise OverflowError
                writing.write(data)
            os.fchmod(copied, stat.S_IMODE(info.st_mode) & 0o700)
            writing.flush()
            os.utime(copied, ns=(info.st_atime_ns, info.st_mtime_ns))
    with contextlib.suppress(FileExistsError):
        os.link("file", new, src_dir_fd=made.stage, dst_dir_fd=target, follow_symlinks=False)
    os.unlink("file", dir_fd=made.stage)


@contextlib.contextmanager
def _opened(path: str, *, make: bool = False) -> Iterator[int]:
    """A directory, opened component by component without following a link, and made where ``make`` says so."""
    handle = os.open("/", _FOLDER)
    try:
        for part in path.strip("/").split("/"):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=handle)
            found = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=handle)
            os.close(handle)
            handle = found
        yield handle
    finally:
        os.close(handle)
