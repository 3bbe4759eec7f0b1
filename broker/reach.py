"""``intent-ctl reach``: what is true inside an app's sandbox, beside what the compiled sandbox promises (SPEC §11.4).

The sandbox that a start now would launch is launched by the same executor with ``probe.py`` in place of the app's
program; the same questions are asked outside. Nothing of it is a use of the app, and nothing is left behind.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from broker import app as apps
from broker import journal, known, launch, probe, programs, promises, runs, shell_probe, why
from intents import bwrap, compiler, decide, errors, model, paths, plan, sandbox, sight

PYTHON = "/usr/bin/python3"
SHELLS = ("/bin/sh", "/bin/dash", "/bin/bash", "/usr/bin/sh", "/usr/bin/dash", "/usr/bin/bash")
GROUPS = ("files", "processes", "kernel", "network", "desktop")
PATIENCE = probe.LIFETIME + 30.0  # seconds for a probe and its sandbox


def reach(at: known.Here, name: str) -> known.Report:
    """Ask, and compare; negative where one answer is not as promised.

    Raises as a start does, DecisionError ``not-probed`` where the sandbox holds nothing that could ask, and HostError
    ``probe-failed``.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
    app, delta = found.settled()
    programs.check_bwrap(app.host.bwrap)
    compiled = compiler.compile_sandbox(decide.settle(delta), app.host)
    box = compiled.sandbox
    prober = _prober(box, app.manifest.app)
    try:
        with _bait() as bait, _undone(at, app, box):
            case = promises.Case(box=box, host=app.host, environ=at.environ, bait=bait, ask=probe.ask)
            rows = promises.rows(case)
            answers = _inside(at, app, box, prober, [row.question for row in rows])
            told = [_compare(row, answer) for row, answer in zip(rows, answers, strict=True)]
    except OSError as error:
        raise _failed(str(error.strerror)) from error
    differing = [each for each in told if each["agrees"] is False]
    data = {
        "app": found.app_id,
        "probe": prober,
        "rows": told,
        "differences": len(differing),
        "withheld": [{"intent": intent, "message": error.message} for intent, error in compiled.withheld],
    }
    return known.Report(data=data, lines=tuple(_table(told)), negative=bool(differing))


def _compare(row: promises.Row, inside: Sequence[object]) -> dict[str, object]:
    """The row as JSON: row, group, question, outside, promised, found, agrees.

    inside: the answer, or nothing where there was no way to tell; then ``found`` and ``agrees`` are null.
    """
    found = row.seen(inside[0]) if inside else None
    return {
        "row": row.name,
        "group": row.group,
        "question": row.words,
        "outside": row.outside,
        "promised": row.promised,
        "found": found,
        "agrees": found == row.promised if inside else None,
    }


def _table(told: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """The rows of ``_compare`` for people; what is not as promised again at the end, with what is too much of it."""
    wide = max(len(str(row["question"])) for row in told)
    yield f"  {'':{wide}}  {'outside':14}  {'promised':14}  found"
    for group in GROUPS:
        yield group
        for row in told:
            if row["group"] != group:
                continue
            cells = f"{_words(row['outside']):14}  {_words(row['promised']):14}"
            found = "cannot be told" if row["agrees"] is None else _words(row["found"])
            mark = "!!" if row["agrees"] is False else "  "
            yield f"{mark}{row['question']:{wide}}  {cells}  {found}"
    differing = [row for row in told if row["agrees"] is False]
    yield ""
    for row in differing:
        yield f"DIFFERS: {row['question']}: {_difference(row['promised'], row['found'])}"
    untold = sum(row["agrees"] is None for row in told)
    beside = f", {untold} could not be told" if untold else ""
    yield (
        f"{len(differing)} of {len(told)} answers are not as promised{beside}."
        if differing
        else (f"All {len(told) - untold} answers are as promised{beside}.")
    )


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "none" if not value else " ".join(value) if len(" ".join(value)) <= 14 else f"{len(value)} of them"
    return "-" if value is None else str(value)[:14]


def _difference(promised: object, found: object) -> str:
    if isinstance(promised, list) and isinstance(found, list):
        more = [str(item) for item in found if item not in promised]
        less = [str(item) for item in promised if item not in found]
        parts = [f"found and not promised: {', '.join(more)}"] if more else []
        return "; ".join([*parts, *([f"promised and not found: {', '.join(less)}"] if less else [])])
    return f"promised {_words(promised)}, found {_words(found)}"


def _prober(box: sandbox.Sandbox, app: model.App) -> str:
    """The program inside that can ask, the better first. Raises DecisionError ``not-probed``."""
    version = os.path.basename(os.path.realpath(PYTHON))
    library = [f"/usr/{lib}/{version}/encodings/__init__.py" for lib in ("lib", "lib64")]
    if _found(box, PYTHON) and any(_found(box, path) for path in library):
        return PYTHON
    shell = next((path for path in SHELLS if _found(box, path)), "")
    if shell:
        return shell
    message = f"the sandbox of {app.name} holds no Python and no shell, so nothing in it could look around"
    raise errors.DecisionError("not-probed", message, hint=f"intent-ctl explain {app.id}")


def _found(box: sandbox.Sandbox, path: str) -> bool:
    seen = sight.look(box, path, why.read_link)
    return seen.stands is sight.Stands.HOST and os.path.isfile(seen.source)


@contextlib.contextmanager
def _bait() -> Iterator[promises.Bait]:
    """A port of 127.0.0.1, an abstract socket and a process with a secret in its environment, all nobody's but ours."""
    secret = secrets.token_hex(16)
    with socket.socket(socket.AF_INET) as inet, socket.socket(socket.AF_UNIX) as unix:
        inet.bind(("127.0.0.1", 0))
        unix.bind(f"\0intents-reach-{secrets.token_hex(8)}")
        for opened in (inet, unix):
            opened.listen(8)
        abstract = "@" + os.fsdecode(unix.getsockname()[1:])
        waiting = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"]
        holder = subprocess.Popen(waiting, stdin=subprocess.PIPE, env={"SECRET": secret})
        try:
            yield promises.Bait(port=inet.getsockname()[1], abstract=abstract, secret=secret)
        finally:
            holder.communicate()


def _inside(
    at: known.Here, app: apps.App, box: sandbox.Sandbox, prober: str, questions: list[list[object]]
) -> list[list[object]]:
    """The answers from inside the sandbox, started by the executor from the plan that a start would have."""
    command = (prober, "-c", shell_probe.TEXT, "probe", *shell_probe.arguments(questions))
    if prober == PYTHON:
        command = (PYTHON, "-I", "-S", "-c", _text(), json.dumps(questions))
    # ``terminal`` lets it end with us, whatever the app would do.
    asking = dataclasses.replace(box, command=command, terminal=True, network=_outwards(box))
    with tempfile.TemporaryDirectory(prefix="reach-", dir=_own(at), ignore_cleanup_errors=True) as directory:
        # What a launch leaves for others to find it by: its record, its stamp, its instance for the desktop's portals.
        left = {name: f"{directory}/{name}" for name in ("run", "stamp", "instances")}
        settings = {**left, "name": app.manifest.app.name}
        sections = plan.decode(bwrap.plan_bytes(asking, app.host, guards=(), settings=settings))
        if sections is None:
            raise _failed("its sandbox is more than a plan can hold")
        out, err = _launch(sections)
    found = _read(out) if prober == PYTHON else shell_probe.answers(out)
    if len(found) != len(questions):
        said = err.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        raise _failed(said or "it ended without an answer")
    return found


def _outwards(box: sandbox.Sandbox) -> tuple[sandbox.NetworkRule, ...]:
    """Its network without what lets others in: the app may be running, and has those places."""
    return tuple(rule for rule in box.network if rule.verb != "listen")


def _own(at: known.Here) -> str:
    return os.path.realpath(at.places.runtime or at.places.state)


def _text() -> str:
    with open(probe.__file__, encoding="utf-8") as source:
        return source.read()


@contextlib.contextmanager
def _undone(at: known.Here, app: apps.App, box: sandbox.Sandbox) -> Iterator[None]:
    """Take back what this launch makes on the host: directories and links that were not there, while they are empty and
    no instance of the app runs."""
    own = f"{app.host.apps}/{box.app_id}-{box.lineage}"
    links = {f"{own}/{link.directory}/{link.below}": link.target for link in box.links}
    wanted = {*links, *(made.path for made in box.make)}
    ways = {above for path in wanted for above in (path, *_above(path))}
    missing = sorted((path for path in ways if not os.path.lexists(path)), key=paths.depth, reverse=True)
    try:
        yield
    finally:
        if not any(each.app_id == box.app_id for each in runs.instances(at.places)):
            for path in missing:
                if os.path.realpath(paths.parent(path)) != paths.parent(path):
                    continue  # the app led it elsewhere
                with contextlib.suppress(OSError):
                    if os.path.islink(path) and os.readlink(path) == links.get(path):
                        os.unlink(path)
                    else:
                        os.rmdir(path)


def _above(path: str) -> Iterator[str]:
    while (path := paths.parent(path)) != "/":
        yield path


def _launch(sections: launch.Sections) -> tuple[bytes, bytes]:
    """Run the executor in a child, with nothing but pipes; what the sandbox printed."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _become(sections, out_end, err_end)
    os.close(out_end)
    os.close(err_end)
    try:
        return _drain(out, err)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(out)
        os.close(err)
        os.waitpid(child, 0)


def _become(sections: launch.Sections, out: int, err: int) -> None:
    """The sandbox itself, in the child; never returns."""
    status = 125
    try:
        os.setsid()
        handles = (os.open(os.devnull, os.O_RDONLY), out, err)
        # Out of the way first: where a standard descriptor is closed, one of these may have its number.
        for number, handle in enumerate([fcntl.fcntl(handle, fcntl.F_DUPFD, 10) for handle in handles]):
            os.dup2(handle, number)
        os.chdir("/")
        status = launch.execute(sections, [], lambda _line: None)
    except errors.IntentError as error:
        os.write(2, error.message.encode("utf-8", "backslashreplace"))
    except OSError as error:
        os.write(2, str(error.strerror).encode())
    finally:
        os._exit(status)


def _drain(out: int, err: int) -> tuple[bytes, bytes]:
    """All that comes from two descriptors until nobody writes to them. Raises HostError ``probe-failed``."""
    found = {out: b"", err: b""}
    left, deadline = {out, err}, time.monotonic() + PATIENCE
    while left:
        ready, _, _ = select.select(list(left), [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise _failed(f"it took more than {PATIENCE:g} seconds")
        for handle in ready:
            piece = os.read(handle, 1 << 16)
            found[handle] += piece
            if not piece:
                left.remove(handle)
    return found[out], found[err]


def _read(out: bytes) -> list[list[object]]:
    """What ``probe.py`` printed: for each question nothing or one answer; nothing at all if it cannot be read."""
    try:
        return [json.loads(line)[1:] for line in out.splitlines()]
    except (ValueError, TypeError):
        return []


def _failed(reason: str) -> errors.HostError:
    return errors.HostError("probe-failed", f"the probe did not answer: {paths.printable(reason)}")
