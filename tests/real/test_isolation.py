"""The model of mounts against the kernel: random homes, random grants, and what a probe inside finds of them.

INTENTS_GRANTS: how many grants are tried, 60 by default, 400 in CI.
"""

import json
import os
import pathlib
import random
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from broker import app as apps
from broker import launch, plans, session, state
from intents import bwrap, compiler, model, plan, sandbox
from tests.model import mounts
from tests.real import world

pytestmark = pytest.mark.real

CI = os.environ.get("INTENTS_CI") == "1"
GRANTS = int(os.environ.get("INTENTS_GRANTS") or (400 if CI else 60))
TREES = 10
NAMES = ("Documents", "Pictures", "notes", "a b", "=x", "--y", ".ssh", ".config", ".local", ".granted", "é")
# Reports everything below a directory as [path, type, device, inode, link], then tries to write everywhere.
PROBE = """
import os, stat, sys
for top in sys.argv[1:]:
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
            print([os.fsencode(path), stat.S_IFMT(info.st_mode), info.st_dev, info.st_ino, os.fsencode(link)])
for top in sys.argv[1:]:
    for directory, names, files in os.walk(top):
        for name in files:
            try:
                os.close(os.open(os.path.join(directory, name), os.O_WRONLY | os.O_NOFOLLOW | os.O_APPEND))
                print(["w", os.fsencode(os.path.join(directory, name))])
            except OSError:
                pass
        try:
            os.mkdir(os.path.join(directory, "planted"))
            os.rmdir(os.path.join(directory, "planted"))
            print(["w", os.fsencode(directory)])
        except OSError:
            pass
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe reports, or the model expects: path -> (type, device and inode, or 0 and 0 for what is new)."""

    objects: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    writable: set[str] = field(default_factory=set)


def grow(chance: random.Random, top: pathlib.Path, depth: int = 0) -> None:
    """Files, directories and links at random below ``top``; links lead anywhere, also to what must stay hidden."""
    for name in chance.sample(NAMES, chance.randint(2, 6 - depth)):
        path = top / name
        if os.path.lexists(path):
            continue
        kind = chance.random()
        if kind < 0.5 and depth < 3:
            path.mkdir(mode=chance.choice((0o755, 0o700)))
            grow(chance, path, depth + 1)
        elif kind < 0.8:
            path.write_text("content")
            path.chmod(chance.choice((0o644, 0o600, 0o400)))
        else:
            targets = ("Documents", "../notes", ".local/state/intents", "/etc/passwd", "..", str(top), "nowhere")
            path.symlink_to(chance.choice(targets))


def snapshot(top: pathlib.Path) -> dict[str, tuple[int, int, int, str]]:
    """Everything below a directory of the host: type, device, inode, link."""
    found = {}
    for directory, names, files in os.walk(top):
        for name in names + files:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else ""
            found[path] = (stat.S_IFMT(info.st_mode), info.st_dev, info.st_ino, link)
    return found


@pytest.fixture(scope="module", params=range(TREES))
def tree(request: pytest.FixtureRequest) -> Iterator[tuple[random.Random, world.World]]:
    chance = random.Random(request.param)
    with world.world() as made:
        grow(chance, made.home)
        outside = made.base / "outside"
        outside.mkdir()
        grow(chance, outside)
        yield chance, made


def places(chance: random.Random, here: world.World) -> list[str]:
    """Places of all kinds that a manifest might name, in this world."""
    below = [path for top in (here.home, here.base / "outside") for path in top.rglob("*")]
    chosen = [*chance.sample(below, min(len(below), 5)), here.base / "outside", here.home / "new" / "er"]
    # Names that lead to one object, and a directory that holds one of them: here grants meet each other.
    for link in chance.sample([path for path in below if path.is_symlink()] or chosen, 1):
        chosen += [link, link.parent, pathlib.Path(os.path.realpath(link))]
    named = [str(path) for path in chosen]
    inside = [f"home/{path.relative_to(here.home)}" for path in chosen if path.is_relative_to(here.home)]
    return [*named, *inside, "home", "xdg-documents", "xdg-config/Documents", "xdg-pictures/notes", str(here.base)]


def load(chance: random.Random, here: world.World) -> apps.App:
    """An app that asks for some places of this world, each in its own manner."""
    for attempt in range(100):
        asked = chance.sample(places(chance, here), chance.randint(0, 4))
        intents = {
            f"p{number}": {"kind": "path", "place": place, "access": chance.choice(("read", "write", "create"))}
            for number, place in enumerate(asked)
        }
        text = world.manifest(world.PYTHON, intents)
        path = here.base / "manifest.toml"
        path.write_text(text)
        path.chmod(0o600)
        try:
            with here.here():
                return apps.load(str(path), here.environ, typed=False, unsigned=chance.random() < 0.3)
        except Exception as refused:
            if getattr(refused, "code", "") not in ("overlapping-intents", "bad-place") or attempt == 99:
                raise
    raise AssertionError("no manifest")


def grant(app: apps.App, chance: random.Random) -> model.Grant:
    """All that it asks for, or most."""
    trust = model.Trust.UNSIGNED if app.unsigned else model.Trust.PINNED
    vetted = model.Vetted(manifest=app.manifest, trust=trust, lineage="0" * 16, fingerprint="")
    verdicts = tuple(
        model.Verdict(intent=intent, granted=(intent.scope,) if chance.random() < 0.85 else (), because="")
        for intent in app.manifest.intents
    )
    return model.Grant(vetted=vetted, verdicts=verdicts)


def probe(app: apps.App, box: sandbox.Sandbox, here: world.World) -> Found:
    """Run the sandbox by the real executor; what the probe inside found."""
    data = bwrap.plan_bytes(box, app.host, guards=(), settings=session._settings(app, "-"))
    plans.mark(app.places, app.manifest.app.id, "-")
    sections = plan.decode(data)
    assert sections is not None
    out, back = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(back, 1)
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            os.chdir("/")
            launch.execute(sections, [PROBE.encode(), os.fsencode(here.base)], lambda _line: None)
        finally:
            os._exit(111)
    os.close(back)
    with open(out, "rb") as file:
        text = file.read().decode()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, json.dumps(bwrap.arguments(box, app.host), indent=1)
    found = Found()
    for row in map(eval, text.splitlines()):
        if row[0] == "w":
            found.writable.add(os.fsdecode(row[1]))
        else:
            found.objects[os.fsdecode(row[0])] = tuple(row[1:4])
    return found


def expected(box: sandbox.Sandbox, here: world.World) -> Found:
    """What the model says is below the world's directory."""
    view = mounts.visible(box.mounts)
    found = Found()
    tops = [place for place in view if place.startswith(f"{here.base}/") or place == str(here.base)]
    for place in tops:
        above = place
        while above.startswith(f"{here.base}/"):
            if above not in view and not mounts.source(view, above):
                found.objects[above] = (stat.S_IFDIR, 0, 0)
                if mounts.at(view, above)[0].writable:
                    found.writable.add(above)
            above = above.rpartition("/")[0]
    for place in tops:
        seen = view[place]
        if place != str(here.base):
            found.objects[place] = (stat.S_IFLNK if seen.target else stat.S_IFDIR, 0, 0)
        if seen.source:
            _expect_host(view, found, place, seen.source, seen.writable)
        elif seen.writable:
            found.writable.add(place)
    found.objects.pop(str(here.base), None)
    return found


def _expect_host(view: mounts.View, found: Found, place: str, source: str, writable: bool) -> None:
    """The object ``source`` of the host as it is seen at ``place``, and all below it that no other mount hides."""
    info = os.lstat(source)
    found.objects[place] = (stat.S_IFMT(info.st_mode), info.st_dev, info.st_ino)
    if writable and not stat.S_ISLNK(info.st_mode) and info.st_mode & 0o200:
        found.writable.add(place)
    if not stat.S_ISDIR(info.st_mode):
        return
    for name in os.listdir(source):
        if f"{place}/{name}" not in view:
            _expect_host(view, found, f"{place}/{name}", f"{source}/{name}", writable)


def compare(found: Found, wanted: Found, box: sandbox.Sandbox) -> None:
    told = [mount.describe() for mount in box.mounts]
    new = {path: (kind, 0, 0) for path, (kind, *_) in wanted.objects.items() if wanted.objects[path][1:] == (0, 0)}
    really = {path: (entry[0], 0, 0) if path in new else entry for path, entry in found.objects.items()}
    assert really == wanted.objects, told
    assert found.writable == wanted.writable, told


def keeps_the_grant(found: Found, settled: model.Grant, withheld: set[str], app: apps.App, here: world.World) -> None:
    """What is seen of the host was granted, and what was granted is there: judged by the objects' numbers alone."""
    own = f"{app.host.apps}/{settled.vetted.key}"
    given = [(own, True)] if not app.unsigned else []
    host_objects = {(device, inode): path for path, (_, device, inode, _) in snapshot(here.base).items()}
    seen = {entry[1:]: path for path, entry in found.objects.items() if entry[1:] in host_objects}
    writable = {found.objects[path][1:] for path in found.writable if path in found.objects}
    for name, scope in settled.scopes():
        data = dict(scope.data())
        place = app.objects.get(str(data["place"]), "")
        if name in withheld or not place:
            continue
        given.append((place, data["access"] != "read"))
        info = os.lstat(place)
        if place != str(here.home) and place.startswith(f"{here.base}/"):
            assert (info.st_dev, info.st_ino) in seen, place
            if data["access"] != "read" and info.st_mode & 0o200:
                assert (info.st_dev, info.st_ino) in writable, place
    reserved = (here.places.state, here.places.data, here.places.config, here.places.runtime)
    for number in seen:
        path = host_objects[number]
        allowed = [change for place, change in given if path == place or path.startswith(f"{place}/")]
        assert allowed, f"{path} was never granted"
        assert any(allowed) or number not in writable, f"{path} may only be read"
        assert path.startswith(own) or not path.startswith(tuple(f"{place}/" for place in reserved)), path


def test_the_kernel_shows_what_the_model_says(tree: tuple[random.Random, world.World]) -> None:
    chance, here = tree
    shown = 0
    for _ in range(max(1, GRANTS // TREES)):
        app = load(chance, here)
        state.ensure(here.places)
        settled = grant(app, chance)
        compiled = compiler.compile_sandbox(settled, app.host)
        box = compiled.sandbox
        before = snapshot(here.base)
        made = [entry.path for entry in box.make]
        found = probe(app, box, here)
        after = snapshot(here.base)
        compare(found, expected(box, here), box)
        keeps_the_grant(found, settled, {name for name, _ in compiled.withheld}, app, here)
        grown = [path for path in after if path not in before]
        assert [path for path in before if before[path] != after.get(path)] == []
        for path in grown:
            ours = path.startswith((f"{here.places.state}/", f"{here.places.data}/apps/", f"{here.places.runtime}/"))
            assert ours or any(f"{each}/".startswith(f"{path}/") for each in made), path
        shown += len(found.objects)
    assert shown
