"""Running instances: what launches and bubblewrap left in ``run/`` (SPEC §10.4), told from what merely looks like it.

Process and namespace numbers come back, so none is believed alone: a sandbox runs while its first process has the
namespaces that bubblewrap reported, and an instance that is about to start still holds its record open.
"""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker import history, identity, journal, state, tried
from intents import errors, model

PATIENCE = 5.0  # seconds that an app has to end by itself
_POLL = 0.05
_REFUSED = "refused"  # as companions.refusals writes it
_LIMIT = 4 << 20  # of a record: a plan has at most one MiB, and JSON writes one byte of a name as up to six
_NAME = re.compile(r"([1-9][0-9]{0,9})\.json")
_NAMESPACES = {f"{name}-namespace": name for name in ("cgroup", "ipc", "mnt", "net", "pid", "uts")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One thing that an intent put into a sandbox: where, from where (empty: the launch made it), and as what
    (``read``, ``write``, ``device`` or ``made``); since: after its start."""

    intent: str
    dest: str
    source: str
    how: str
    since: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One record. pid: of intent-run, which is bubblewrap unless on a terminal; at: when it was started (seconds since
    the epoch); first: pid of the sandbox's first process, 0 before there is one; namespaces: (name, inode) of that one;
    status: the exit status bubblewrap reported, or None; changed: when the record last was; path: the record's file;
    given: the intents it was started with; pieces: what those, and what was granted since, put into it; servers:
    (intent, server, whether it is reached now), where that is not as at its start."""

    app_id: str
    lineage: str
    pid: int
    at: int
    first: int
    namespaces: tuple[tuple[str, int], ...]
    status: int | None
    changed: int
    path: str
    given: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    servers: tuple[tuple[str, str, bool], ...] = ()

    @property
    def running(self) -> bool:
        """Whether anything of it runs: the sandbox, or what is about to become one."""
        return _is_in(self.first, self.namespaces) if self.first else self.held

    @property
    def held(self) -> bool:
        """Whether the process that made the record still has it open."""
        return _has_open(self.pid, self.path)

    def members(self) -> tuple[int, ...]:
        """The pids, here, of the sandbox's processes without the first, which is bubblewrap's own."""
        own = dict(self.namespaces).get("pid")
        found = (int(name) for name in os.listdir("/proc") if name.isdigit())
        return tuple(pid for pid in found if own and pid != self.first and _namespace(pid, "pid") == own)

    def as_data(self) -> dict[str, object]:
        """app, lineage, pid, sandbox_pid (0 while it starts) and started (seconds since the epoch)."""
        return {
            "app": self.app_id,
            "lineage": self.lineage,
            "pid": self.pid,
            "sandbox_pid": self.first,
            "started": self.at,
        }


def directory(places: state.Places) -> str:
    """The canonical directory in which a launch leaves its record."""
    return os.path.realpath(f"{places.runtime or places.state}/run")


def stamp(places: state.Places, app_id: str) -> str:
    """The canonical path of the file that every launch of the app touches."""
    return f"{os.path.realpath(f'{places.state}/stamps')}/{app_id}"


def last_used(places: state.Places, app_id: str) -> int | None:
    """When the app was last started, in seconds since the epoch."""
    try:
        return int(os.stat(stamp(places, app_id)).st_mtime)
    except OSError:
        return None


def instances(places: state.Places) -> tuple[Instance, ...]:
    """What runs now, oldest first. Raises HostError ``unsafe-place`` for records that others could have written."""
    return tuple(found for found in _records(places) if found.running)


def sweep(places: state.Places, book: journal.Journal, now: model.Clock) -> None:
    """Fold what the records tell into history, once for each launch and each end, and remove those that are over.

    Raises as ``instances`` and ``Journal.record`` do; nothing that is not recorded is removed.
    """
    with state.lock(places.lock_file("runs", "all")):
        found = [(record, record.running or record.held) for record in _records(places)]
        known = {
            (event.what, event.app, event.body.get("pid"), event.body.get("at"))
            for event in (book.events() if found else ())
            if event.what in (history.What.LAUNCH, history.What.EXIT)
        }
        # What ended is read again: its exit status is the last thing that bubblewrap writes.
        over = [read(record.path) or record for record, alive in found if not alive]
        entries = [_launched(record) for record in (*(record for record, alive in found if alive), *over)]
        entries += [_exited(record) for record in over if record.first]
        new = [each for each in entries if (each.what, each.app, each.body["pid"], each.body["at"]) not in known]
        book.record(now, new)
        for record in over:
            _remove(record.path)
        for run in _directories(places):
            _remove_orphans(run)
        if places.runtime:
            identity.remove_stale(f"{os.path.dirname(places.runtime)}/.flatpak", directory(places))


def stop(running: Sequence[Instance], *, kill: bool, patience: float = PATIENCE) -> None:
    """End instances, and return when all have: the app's processes are asked to, or with ``kill`` the sandbox is ended.

    patience: seconds. Raises DecisionError ``not-stopped``.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + patience
    # Read again each time: what was about to start may have become a sandbox.
    while left := [now for instance in running if (now := read(instance.path) or instance).running]:
        for instance in left:
            for pid in set(_targets(instance, kill=kill)) - asked:
                asked.add(pid)
                _signal(pid, instance, kill=kill)
        if time.monotonic() > deadline:
            names = ", ".join(f"{instance.app_id} (pid {instance.pid})" for instance in left)
            ways = " ".join(dict.fromkeys(instance.app_id for instance in left))
            hint = "" if kill else f"intent-ctl stop {ways} --kill"
            raise errors.DecisionError("not-stopped", f"{names} did not end within {patience:g} seconds", hint=hint)
        time.sleep(_POLL)


def _targets(instance: Instance, *, kill: bool) -> tuple[int, ...]:
    """The sandbox's first process takes no signal but SIGKILL, and with it all others end (pid_namespaces(7))."""
    if not instance.first:
        return (instance.pid,)
    return (instance.first,) if kill else instance.members()


def _signal(pid: int, instance: Instance, *, kill: bool) -> None:
    """Signal a process that is checked after it is held, so that its number cannot have become another's."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        namespace = dict(instance.namespaces).get("pid")
        if _namespace(pid, "pid") == namespace if instance.first else instance.held:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL if kill else signal.SIGTERM)
                signal.pidfd_send_signal(handle, signal.SIGCONT)  # a stopped process takes SIGTERM when it goes on
    finally:
        os.close(handle)


def _directories(places: state.Places) -> tuple[str, ...]:
    """With and without a runtime directory: both kinds of login may be open at once."""
    found = (f"{base}/run" for base in (places.runtime, places.state) if base)
    return tuple(os.path.realpath(run) for run in found if os.path.isdir(run))


def _records(places: state.Places) -> Iterator[Instance]:
    names = ((run, name) for run in _directories(places) for name in os.listdir(run) if _NAME.fullmatch(name))
    found = (read(f"{run}/{name}") for run, name in names)
    yield from sorted((record for record in found if record), key=lambda record: (record.at, record.pid))


def read(path: str) -> Instance | None:
    """The record in the file, or None when it is gone or not whole."""
    data = state.read_private(path, _LIMIT)
    try:
        # bubblewrap writes a line in several pieces: one without its end is not there yet.
        whole = (data or b"").rpartition(b"\n")[0]
        rows = [json.loads(line) for line in whole.splitlines() if line.strip()]
        changed = int(os.stat(path).st_mtime)
    except (ValueError, OSError):
        return None
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    match rows[0]:
        case {"app": str(app_id), "lineage": str(lineage), "at": int(at)}:
            told = {name: value for row in rows[1:] for name, value in row.items() if isinstance(value, int)}
            return _instance(path, app_id, lineage, at, told, changed, rows)
    return None


def note(instance: Instance, pieces: Sequence[Piece]) -> None:
    """Add to the record what is about to be put into the running sandbox. Raises OSError."""
    rows: dict[str, list[list[str]]] = {piece.intent: [] for piece in pieces}
    for piece in pieces:
        rows[piece.intent].append([piece.dest, piece.source, piece.how])
    _append(instance, {"added": rows})


def note_servers(instance: Instance, servers: Sequence[tuple[str, str, bool]]) -> None:
    """Add to the record which servers the sandbox reaches since now, or does not reach any more. Raises OSError."""
    if servers:
        _append(instance, {"servers": [list(each) for each in servers]})


def _append(instance: Instance, row: Mapping[str, object]) -> None:
    handle = os.open(instance.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.write(handle, json.dumps(row).encode() + b"\n")
    finally:
        os.close(handle)


def _servers(rows: Sequence[Mapping[str, object]]) -> tuple[tuple[str, str, bool], ...]:
    """What is not as at the start: a server that was given or taken and then the contrary is."""
    found: dict[tuple[str, str], list[bool]] = {}
    for row in rows:
        noted = row.get("servers")
        for intent, server, granted in noted if isinstance(noted, list) else ():
            found.setdefault((str(intent), str(server)), []).append(granted is True)
    return tuple((*key, said[-1]) for key, said in found.items() if len(said) % 2)


def _pieces(rows: Sequence[Mapping[str, object]]) -> Iterator[Piece]:
    for row in rows:
        for key in ("given", "added"):
            found = row.get(key)
            for intent, things in (found if isinstance(found, dict) else {}).items():
                for dest, source, how in things:
                    yield Piece(intent=intent, dest=dest, source=source, how=how, since=key == "added")


def _instance(
    path: str,
    app_id: str,
    lineage: str,
    at: int,
    told: Mapping[str, int],
    changed: int,
    rows: Sequence[Mapping[str, object]],
) -> Instance:
    given = next((found for row in rows if isinstance(found := row.get("given"), dict)), {})
    return Instance(
        app_id=app_id,
        lineage=lineage,
        pid=int(os.path.basename(path).removesuffix(".json")),
        at=at,
        first=told.get("child-pid", 0),
        namespaces=tuple((_NAMESPACES[name], value) for name, value in told.items() if name in _NAMESPACES),
        status=told.get("exit-code"),
        changed=changed,
        path=path,
        given=tuple(given),
        pieces=tuple(_pieces(rows)),
        servers=_servers(rows),
    )


def _is_in(pid: int, namespaces: Sequence[tuple[str, int]]) -> bool:
    """Whether the process has these namespaces; a process that ended and is not yet waited for has none."""
    return bool(namespaces) and all(_namespace(pid, name) == inode for name, inode in namespaces)


def _namespace(pid: int, name: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{name}").st_ino
    except OSError:
        return 0


def _has_open(pid: int, path: str) -> bool:
    try:
        wanted = os.stat(path)
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_same(f"/proc/{pid}/fd/{handle}", wanted) for handle in handles)


def _same(path: str, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), wanted)
    except OSError:
        return False


def refused(record: Instance) -> tuple[str, ...]:
    """What companions of ours refused to the instance so far, each once."""
    data = state.read_private(f"{record.path.removesuffix('.json')}/{_REFUSED}", _LIMIT) or b""
    return tuple(dict.fromkeys(data.decode("ascii", "replace").split("\n")[:-1]))


def tries(record: Instance) -> tuple[tried.Try, ...]:
    """What the instance tried of its network so far."""
    return tried.read(record.path.removesuffix(".json"))


def _launched(record: Instance) -> history.Entry:
    return history.launched(record.app_id, record.lineage, pid=record.pid, at=record.at, given=record.given)


def _exited(record: Instance) -> history.Entry:
    ended = None if record.status is None else record.changed
    return history.exited(
        record.app_id,
        record.lineage,
        pid=record.pid,
        at=record.at,
        ended=ended,
        status=record.status,
        refused=refused(record),
        tried=[each.as_data() for each in tried.kept(tries(record))],
    )


def _remove(path: str) -> None:
    """A record and what a launch made beside it: the sockets of its companions, its identity."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    _remove_sockets(path.removesuffix(".json"))


def _remove_sockets(path: str) -> None:
    with contextlib.suppress(OSError):
        for name in os.listdir(path):
            os.unlink(f"{path}/{name}")
        os.rmdir(path)


def _remove_orphans(run: str) -> None:
    """Sockets of launches that ended before they had a record: no process has their number any more."""
    for name in os.listdir(run):
        if name.isdigit() and not os.path.exists(f"{run}/{name}.json") and not os.path.exists(f"/proc/{name}"):
            _remove_sockets(f"{run}/{name}")
