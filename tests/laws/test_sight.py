"""What ``sight`` finds at a path against the model of mounts, which is written without a look at it."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from intents import paths, sandbox, sight
from tests import test_compile
from tests.laws import generate
from tests.laws import test_compile as compiling
from tests.model import mounts

# Of these the model says only that something stands there.
UNSAID = (sandbox.File, sandbox.Special, sandbox.LaunchSocket, sandbox.LaunchFile, sandbox.Device)


@generate.MANY
@given(compiling.cases(), st.data())
def test_the_same_is_there_as_in_the_model(case: compiling.Case, data: st.DataObject) -> None:
    box = compiling.compiled(case).sandbox
    view = mounts.visible(box.mounts)
    known = [*(mount.dest for mount in box.mounts), *(fact.path for fact in case.host.paths), "/", "/etc/shadow"]
    known += [fact.real for fact in case.host.paths if fact.real]
    where = data.draw(st.sampled_from(sorted(set(known)))).rstrip("/") + data.draw(st.sampled_from(["", "/x", "/a/b"]))
    seen = sight.look(box, where or "/")
    top = mounts.at(view, seen.path)[1]
    assert not mounts.at(view, seen.path)[0].target, "a link was not followed"
    assert (seen.line.dest if seen.line else "") == top
    if isinstance(seen.line, UNSAID):
        return
    assert seen.source == mounts.source(view, seen.path)
    assert seen.writable == mounts.at(view, seen.path)[0].writable
    made = [mount for mount in box.mounts if paths.inside(mount.dest, seen.path)]
    hidden = mounts.at(view, seen.path)[0].hidden
    stands = sight.Stands.HOST if seen.source else sight.Stands.MADE if made and not hidden else sight.Stands.NOTHING
    assert seen.stands is (sight.Stands.MADE if seen.path == "/" else stands)


@given(compiling.cases())
def test_the_way_over_a_link_of_the_sandbox_is_the_way_to_its_target(case: compiling.Case) -> None:
    box = compiling.compiled(case).sandbox
    for mount in box.mounts:
        if isinstance(mount, sandbox.Symlink):
            target = mount.target if mount.target.startswith("/") else f"{paths.parent(mount.dest)}/{mount.target}"
            assert sight.look(box, mount.dest) == sight.look(box, target)


def test_links_of_the_host_are_followed_inside_and_not_outside() -> None:
    """A link in a granted directory leads to what stands at its target in the sandbox."""
    home, notes = sandbox.Tmpfs(dest="/h"), sandbox.Bind(source="/real/notes", dest="/h/notes")
    empty = test_compile.compiled(test_compile.host(), granted=False, optional=True, kind="network", scope="host")
    box = dataclasses.replace(empty.sandbox, mounts=(home, notes))
    links = {"/real/notes/out": "/etc/shadow", "/real/notes/up": "../notes/a", "/real/notes/round": "round"}
    assert sight.look(box, "/h/notes/out", lambda source: links.get(source, "")).stands is sight.Stands.NOTHING
    assert sight.look(box, "/h/notes/up", lambda source: links.get(source, "")).source == "/real/notes/a"
    assert sight.look(box, "/h/notes/round", lambda source: links.get(source, "")).stands is sight.Stands.NOTHING
    assert sight.look(box, "/h/../h/./notes//b").source == "/real/notes/b"
