"""What is granted or revoked, carried into one running instance (SPEC §11.7).

The compiler says what a sandbox is to have, the kernel what it has; what differs, and comes from the intents that were
named, is changed. Everything is looked at again afterwards, and what is told is what was seen.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker import beside, holding, inside, launch, mounts, online, runs
from intents import bwrap, paths, sandbox

TRIES = 60  # against an app that keeps moving what is looked at
_MOVING = (inside.MOVED, errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
# What can be put into a running sandbox; anything else has to be there when its program starts.
_MOUNTED = sandbox.Bind | sandbox.Device | sandbox.Symlink | sandbox.Tmpfs | sandbox.HostDirectory | sandbox.PrivateLink
_SHOWN = sandbox.Bind | sandbox.Device
_MOVES = "the app keeps changing what is there"
NEXT = "at its next start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One place: how it was seen before and how it is now, as ``Piece.how`` or None."""

    intent: str
    place: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one instance. held: what stays open; later: (intent, why) of what waits for its next start, or
    stays until it ends; closed: the sockets of the launch that nothing serves any more; also: the intents, not named,
    that lost them, too; servers: those that it does not reach any more, or reaches now."""

    instance: runs.Instance
    changed: tuple[Changed, ...] = ()
    held: tuple[holding.Held, ...] = ()
    later: tuple[tuple[str, str], ...] = ()
    closed: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    servers: tuple[online.Server, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """The mounts of the sandbox and of this machine, and what the latter call each source."""

    here: tuple[mounts.Mount, ...]
    host: tuple[mounts.Mount, ...]

    def shows(self, mount: mounts.Mount, piece: runs.Piece) -> bool:
        """Whether a mount is this piece: the same object, wherever the app moved it, or what stands at its place."""
        same = bool(piece.source) and (mount.device, mount.root) == mounts.identity(piece.source, self.host)
        return same or (mount.point == piece.dest and not inside.made(mount, self.host))

    def find(self, piece: runs.Piece) -> mounts.Mount | None:
        """The mount that is this piece, the last of several."""
        return next((mount for mount in reversed(self.here) if self.shows(mount, piece)), None)

    def how(self, piece: runs.Piece) -> str | None:
        """What the app has of this piece now."""
        mount = self.find(piece)
        if mount is None or piece.how not in ("read", "write"):
            return piece.how if mount else None
        return "write" if mount.writable else "read"


def _look(way: inside.Door) -> _Sight:
    return _Sight(here=inside.table(way), host=mounts.read())


def pieces(box: sandbox.Sandbox | None) -> tuple[runs.Piece, ...]:
    """What a compiled sandbox shows, the base's included."""
    found = bwrap.pieces(box) if box else []
    return tuple(runs.Piece(intent=whose, dest=dest, source=source, how=how) for whose, dest, source, how in found)


def drift(instance: runs.Instance) -> tuple[Changed, ...] | None:
    """Where what is mounted in an instance now is not what it was started with; None where that cannot be seen."""
    try:
        with inside.door(instance) as way:
            sight = _look(way)
    except OSError:
        return None
    started = {(piece.intent, piece.dest): piece.how for piece in instance.pieces if not piece.since}
    known = {(piece.intent, piece.dest): piece for piece in instance.pieces}
    rows = [
        Changed(intent=intent, place=dest, before=started.get((intent, dest)), after=sight.how(piece))
        for (intent, dest), piece in known.items()
    ]
    ends = {True: (None, "server"), False: ("server", None)}
    servers = [
        Changed(intent=intent, place=server, before=ends[granted][0], after=ends[granted][1])
        for intent, server, granted in instance.servers
    ]
    return (*servers, *(row for row in rows if row.before != row.after))


def take(
    instance: runs.Instance,
    ids: Collection[str],
    whole: sandbox.Sandbox | None,
    left: sandbox.Sandbox | None,
    declared: Collection[str],
) -> Outcome:
    """Take from an instance what the intents gave it. Raises OSError where the kernel keeps its door shut.

    whole: the sandbox with all of these intents; left: the one that a start would have now; declared: the intents there
    are now. What it was started with may have had other names, so it is the place that counts.
    """
    with inside.door(instance) as way:
        had = set(ids) if {*instance.given} - {*declared} else {*instance.given, *(p.intent for p in instance.pieces)}
        servers, kept_servers = online.take(instance, ids, whole, left)
        closed, later = _close([intent for intent in ids if intent in had], instance, whole, left)
        dead = {op.dest for op in whole.mounts if _is_dead(op, closed)} if whole else set()
        gone = [piece.dest for piece in pieces(whole) if piece.intent in ids]
        every = {piece.dest: piece for piece in (*pieces(whole), *instance.pieces)}
        meant = {dest: piece for dest, piece in every.items() if dest in dead or _within(piece, ids, gone)}
        other = (*pieces(left), *(piece for piece in instance.pieces if not _within(piece, ids, gone)))
        kept = [piece for piece in other if piece.dest not in dead]
        before = _look(way)
        goes = [mount.point for mount in before.here if _lost(before, mount, meant.values(), kept)]
        mapped = holding.mapped(instance, goes)
        why = _take(way, meant.values(), kept)
        # What stood on it went with it, and what is to be seen with less: that is mounted again.
        still = _look(way)
        again = [_wanted(op, left) for op in left.mounts if isinstance(op, _SHOWN)] if left else []
        _give(way, [each for each in again if before.find(each.piece) and not still.find(each.piece)])
        after = _look(way)
    rows = [
        Changed(intent=piece.intent, place=piece.dest, before=before.how(piece), after=after.how(piece))
        for piece in meant.values()
    ]
    left_over = {mount.number for mount in after.here}
    points = {mount.number: mount.point for mount in before.here if mount.number not in left_over}
    stuck = [(row.intent, f"{paths.printable(row.place)} is still there ({why})") for row in rows if _stuck(row, kept)]
    return Outcome(
        instance=instance,
        changed=tuple(row for row in rows if row.before != row.after),
        held=(*holding.opened(instance, points), *(mapped if points else ())),
        later=(*later, *kept_servers, *stuck, *_reached(instance, meant, whole, left, after)),
        closed=closed,
        also=_also(left, closed, ids),
        servers=servers,
    )


def _within(piece: runs.Piece, ids: Collection[str], gone: Iterable[str]) -> bool:
    """Whether a piece is of these intents, or lies in a place that they give."""
    return piece.intent in ids or any(paths.inside(piece.dest, each) for each in gone)


def _reached(
    instance: runs.Instance,
    meant: Mapping[str, runs.Piece],
    whole: sandbox.Sandbox | None,
    left: sandbox.Sandbox | None,
    sight: _Sight,
) -> Iterator[tuple[str, str]]:
    """What is taken and still reached through something wider that it was started with and that nothing gives now."""
    given = {piece.dest for piece in pieces(left)}
    wider = [piece for piece in instance.pieces if piece.dest not in given and piece.dest not in meant]
    for piece in pieces(whole):
        for wide in wider if piece.dest in meant else ():
            if paths.inside(piece.dest, wide.dest) and sight.find(wide):
                place, through = paths.printable(piece.dest), paths.printable(wide.dest)
                yield piece.intent, f"{place} is reached through {through} until it ends"


def _is_dead(op: sandbox.Op, closed: Collection[str]) -> bool:
    return isinstance(op, sandbox.LaunchSocket) and op.name in closed


def _also(left: sandbox.Sandbox | None, closed: Collection[str], ids: Collection[str]) -> tuple[str, ...]:
    """Whose else what was closed is."""
    ops = left.ops if left else ()
    lost = [op for op in ops if _is_dead(op, closed) or (isinstance(op, sandbox.BusRule) and op.bus in closed)]
    return tuple(sorted({op.because for op in lost} - {*ids, sandbox.BASE}))


def _stuck(row: Changed, kept: Iterable[runs.Piece]) -> bool:
    """Whether something is still there that nothing else gives, or more of it."""
    allowed = {piece.how for piece in kept if piece.dest == row.place}
    return row.after is not None and row.after not in allowed and "write" not in allowed


def _lost(
    sight: _Sight, mount: mounts.Mount, meant: Iterable[runs.Piece], kept: Iterable[runs.Piece]
) -> inside.Step | None:
    """How one mount is taken, or None where it stays."""
    if not any(sight.shows(mount, piece) for piece in meant):
        return None
    others = [piece.how for piece in kept if sight.shows(mount, piece)]
    if others:
        narrow = mount.writable and set(others) == {"read"}
        return inside.Narrow(mount=mount.number, point=mount.point) if narrow else None
    above = next((each for each in sight.here if each.number == mount.above), None)
    return inside.Take(
        mount=mount.number, point=mount.point, holder=above if above and inside.made(above, sight.host) else None
    )


def _take(way: inside.Door, meant: Collection[runs.Piece], kept: Sequence[runs.Piece]) -> str:
    """Take until nothing is left to take, or the tries are over; then why."""
    why = ""
    busy: set[int] = set()  # mounts through which something is open for writing: they are exchanged instead
    for _ in range(TRIES):
        sight = _look(way)
        found = [step for mount in reversed(sight.here) if (step := _lost(sight, mount, meant, kept))]
        steps = [
            inside.Take(mount=step.mount, point=step.point, holder=None)
            if isinstance(step, inside.Narrow) and step.mount in busy
            else step
            for step in found
        ]
        if not steps:
            return ""
        for step, error in zip(steps, inside.change(way, steps), strict=True):
            if isinstance(step, inside.Narrow) and error and error.errno == errno.EBUSY:
                busy.add(step.mount)
            elif error:
                why = _MOVES if error.errno in _MOVING else str(error.strerror)
    return why


def _close(
    had: Sequence[str], instance: runs.Instance, whole: sandbox.Sandbox | None, left: sandbox.Sandbox | None
) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """End the companions that served what is revoked; what stays until the app ends: (intent, why)."""
    if whole is None:
        return (), [(intent, "what it has of this besides files stays until it ends") for intent in had]
    kept = set(left.ops) if left else set()
    gone = [op for op in whole.ops if op.because in had and op not in kept]
    names = {op.name: op.because for op in gone if isinstance(op, sandbox.LaunchSocket)}
    names |= {op.bus: op.because for op in gone if isinstance(op, sandbox.BusRule)}
    closed = beside.close(instance, names)
    later = [(whose, f"the connections it has to {name} stay until it ends") for name, whose in names.items()]
    later = [row for row, name in zip(later, names, strict=True) if name not in closed]
    for op in gone:
        if isinstance(op, sandbox.Share | sandbox.Allow):
            later.append((op.because, f"{op.describe()} stays until it ends"))
    only = {op.because for op in gone} - {op.because for op in gone if not isinstance(op, sandbox.Env | sandbox.Pass)}
    return closed, [*later, *((whose, "what it was told at its start stays until it ends") for whose in sorted(only))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A piece to be put into the sandbox, and what stays hidden below it."""

    piece: runs.Piece
    masks: tuple[str, ...] = ()


def give(instance: runs.Instance, ids: Sequence[str], box: sandbox.Sandbox, own: str) -> Outcome:
    """Put into an instance what the intents give. Raises OSError where the kernel keeps its door shut.

    box: the sandbox that it would have with them; own: the host directory with its own directories.
    """
    servers, whole = online.give(instance, ids, box)
    later = [(intent, why) for intent in ids if (why := _waits(box, intent, online=intent in whole))]
    waiting = {intent for intent, _ in later}
    ops = [op for op in box.ops if op.because in ids and op.because not in waiting]
    wanted = [_wanted(op, box) for op in ops if isinstance(op, _SHOWN)]
    with inside.door(instance) as way:
        before = _look(way)
        new = [each for each in wanted if before.how(each.piece) not in (each.piece.how, "write")]
        runs.note(instance, [each.piece for each in new])
        for op in ops:
            if isinstance(op, sandbox.HostDirectory):
                os.close(launch.walk(os.fsencode(op.path), make=True))
        refused = _give(way, new)
        for op in ops:
            if isinstance(op, sandbox.PrivateLink):
                launch.link(os.fsencode(f"{own}/{op.directory}"), os.fsencode(op.below), os.fsencode(op.target))
        _links(way, [op for op in ops if isinstance(op, sandbox.Symlink)])
        after = _look(way)
    rows = [
        Changed(
            intent=each.piece.intent,
            place=each.piece.dest,
            before=before.how(each.piece),
            after=after.how(each.piece),
        )
        for each in wanted
    ]
    return Outcome(
        instance=instance,
        changed=tuple(row for row in rows if row.before != row.after),
        later=(*later, *refused),
        servers=servers,
    )


def _waits(box: sandbox.Sandbox, intent: str, *, online: bool) -> str:
    """Why an intent cannot be added to what runs; empty where it can. online: its servers are reached already."""
    there = _MOUNTED | sandbox.NetworkRule | sandbox.File if online else _MOUNTED
    others = [op for op in box.ops if op.because == intent and not isinstance(op, there)]
    return f"{others[0].describe()}: {NEXT}" if others else ""


def _wanted(op: sandbox.Bind | sandbox.Device, box: sandbox.Sandbox) -> _Wanted:
    """One thing that a sandbox shows, with what it hides below it, whoever's that is: of two masks one is left."""
    source, how = (op.source, op.access.value) if isinstance(op, sandbox.Bind) else (op.dest, "device")
    masks = [each.dest for each in box.mounts if isinstance(each, sandbox.Tmpfs) and each.mask]
    hidden = [place for place in masks if paths.inside(place, op.dest)]
    return _Wanted(
        piece=runs.Piece(intent=op.because, dest=op.dest, source=source, how=how, since=True),
        masks=tuple(source + place[len(op.dest) :] for place in hidden),
    )


def _give(way: inside.Door, wanted: Sequence[_Wanted]) -> list[tuple[str, str]]:
    """Mount pieces; (intent, why) for those that could not be."""
    refused: dict[str, tuple[str, str]] = {}
    for _ in range(TRIES):
        sight = _look(way)
        left = [each for each in wanted if each.piece.dest not in refused and not _stands(sight, each.piece)]
        for each in left:
            if why := _hindered(sight, each.piece):
                refused[each.piece.dest] = (each.piece.intent, f"{paths.printable(each.piece.dest)} {why}: {NEXT}")
        left = [each for each in left if each.piece.dest not in refused]
        if not left:
            break
        for each, error in zip(left, _mount(way, sight, left), strict=True):
            if error and error.errno not in _MOVING:
                said = f"{paths.printable(each.piece.dest)} cannot be mounted ({error.strerror}): {NEXT}"
                refused[each.piece.dest] = (each.piece.intent, said)
    else:
        for each in left:
            place = paths.printable(each.piece.dest)
            refused[each.piece.dest] = (each.piece.intent, f"{place} cannot be mounted ({_MOVES}): {NEXT}")
    return list(refused.values())


def _stands(sight: _Sight, piece: runs.Piece) -> bool:
    """Whether the piece stands at its place with all that it allows."""
    mount = next((mount for mount in reversed(sight.here) if mount.point == piece.dest), None)
    return mount is not None and sight.shows(mount, piece) and sight.how(piece) in (piece.how, "write")


def _hindered(sight: _Sight, piece: runs.Piece) -> str:
    """Why a piece cannot be mounted beside what there is; empty where it can."""
    if any(mount.point != piece.dest and paths.inside(mount.point, piece.dest) for mount in sight.here):
        return "holds something that it has already"
    if not inside.made(inside.holder(sight.here, piece.dest), sight.host):
        return "lies in something that it has already"
    return ""


def _mount(way: inside.Door, sight: _Sight, left: Sequence[_Wanted]) -> list[OSError | None]:
    """Try each piece once; for each None, or why not. What gives less at the same place goes first."""
    sources = [
        inside.Source(
            path=each.piece.source,
            write=each.piece.how != "read",
            device=each.piece.how == "device",
            masks=each.masks,
        )
        for each in left
    ]
    made = inside.trees(sources)
    steps: list[inside.Step] = []
    given: dict[int, int] = {}  # which step gives which piece
    for at, (each, tree) in enumerate(zip(left, made, strict=True)):
        if isinstance(tree, OSError):
            continue
        less = sight.find(each.piece)
        if less and less.point == each.piece.dest:
            steps.append(inside.Take(mount=less.number, point=less.point, holder=None))
        given[at] = len(steps)
        steps.append(inside.Give(tree=tree, dest=each.piece.dest, holder=inside.holder(sight.here, each.piece.dest)))
    results = inside.change(way, steps)
    for tree in made:
        if isinstance(tree, int):
            os.close(tree)
    return [tree if isinstance(tree, OSError) else results[given[at]] for at, tree in enumerate(made)]


def _links(way: inside.Door, links: Sequence[sandbox.Symlink]) -> None:
    """Make the links again that led to what was granted; where something stands in the way it stays."""
    if not links:
        return
    sight = _look(way)
    holders = [(link, inside.holder(sight.here, link.dest)) for link in links]
    steps = [
        inside.Link(dest=link.dest, target=link.target, holder=holder)
        for link, holder in holders
        if inside.made(holder, sight.host)
    ]
    inside.change(way, steps)
