"""Directories that were replaced, and updates that want more of files named at a start (SPEC §8.3, §9.7)."""

import dataclasses
import shutil
from collections.abc import Iterator

import pytest

from broker import guards, journal, state
from intents import diff
from tests import control
from tests.conftest import must_work
from tests.real import starting, world
from tests.real.starting import LOOK, NET_TITLE, NOTES_TITLE, WARM

pytestmark = pytest.mark.real

APP, KEY = world.APP, control.OTHER_KEY


@pytest.fixture
def home() -> Iterator[world.World]:
    """The app was started once, may use ~/Notes, may not use the network, and has a plan."""
    with starting.home() as made:
        with starting.start(made, LOOK) as begun:
            begun.choose(NOTES_TITLE, "ALLOW always")
            begun.go()
            assert starting.got(begun.ends(0)) == {"notes"}
        yield made


IDENTITY_UNKNOWN = "from broker import guards\nguards.lasting = lambda path: False\n"


def test_another_directory_at_the_same_path_is_asked_again(home: world.World) -> None:
    must_work(guards.lasting(str(home.home)), "a home on a file system that keeps numbers from boot to boot")
    for _ in range(2):  # the second one may have got the number of the first
        shutil.rmtree(home.home / "Notes")
        (home.home / "Notes").mkdir()
        (home.home / "Notes" / "old").write_text("old notes of somebody else\n")
    assert starting.got(home.says(LOOK)) == set()
    assert starting.got(home.says(LOOK, removed=IDENTITY_UNKNOWN)) == set(), "it was known, so it has to be known still"
    with starting.start(home, LOOK) as begun:
        begun.settle()
        text = " ".join(" ".join(begun.lines()).replace("│", " ").split())
        assert "home/Notes is another directory than the one you decided about" in text
        assert not begun.row(NET_TITLE)
        begun.choose(NOTES_TITLE, "ALLOW always")
        begun.go()
        assert starting.got(begun.ends(0)) == {"notes"}
    assert starting.got(starting.quietly(home, LOOK, removed=WARM)) == {"notes"}


def test_without_identities_another_directory_would_pass(home: world.World) -> None:
    home.decide("notes")
    for decision in control.decisions(home):
        assert len(decision.objects) == 2 or decision.granted is None
    unknown = [dataclasses.replace(each, objects=each.places) for each in control.decisions(home)]
    shutil.rmtree(home.home / "Notes")
    (home.home / "Notes").mkdir()
    app = home.load()
    with journal.Journal.open(home.places) as book:
        found = diff.diff(app.vet(book), unknown, state.clock(home.places), app.objects)
    assert not found.questions


def test_a_file_may_be_replaced() -> None:
    """Editors write another file and rename it."""
    with starting.home({"notes": {"kind": "path", "place": "home/Notes/old", "access": "read"}}) as where:
        where.decide("notes")
        (where.home / "Notes" / "new").write_text("old notes, corrected\n")
        (where.home / "Notes" / "new").rename(where.home / "Notes" / "old")
        assert "corrected" in where.says("cat ~/Notes/old")


WITH_FILES = "for file; do cat $file && (echo changed >>$file) 2>&1; done; echo LOOKED"


def test_an_update_that_wants_more_of_named_files_asks() -> None:
    """What the first manifest says of them is told, and given: naming a file is the user's act. More is a question."""

    def manifest(serial: int, files: str) -> str:
        return world.manifest(["/bin/sh", "-c", WITH_FILES, "sh"], {}, serial=serial, files=files)

    with starting.home({}) as where:
        file = where.home / "letter"
        file.write_text("dear\n")
        control.done(where, "forget", APP)
        control.publish(where, world.manifest(["/bin/sh", "-c", WITH_FILES, "sh"], {}, serial=2), KEY)
        assert "dear" not in where.says(str(file))
        control.publish(where, manifest(3, "read"), KEY)
        done = where.start(str(file))
        assert b"starts without app.files" in done.stderr and b"dear" not in done.stdout
        with starting.start(where, str(file)) as begun:
            begun.choose("files you name", "ALLOW always")
            begun.go()
            assert "dear" in begun.ends(0) and file.read_text() == "dear\n"
        control.publish(where, manifest(4, "write"), KEY)
        assert "dear" in where.says(str(file)) and file.read_text() == "dear\n", "what was allowed before is kept"
        with starting.start(where, str(file)) as begun:
            begun.settle()
            assert begun.shows("It can read and change the files that you name")
            begun.go()
            begun.ends(0)
        assert control.states(where) == {"app.files": "partly"} and file.read_text() == "dear\n"
        where.says(str(file), options=["--write"])
        assert file.read_text() == "dear\nchanged\n", "the user's word for one start counts"
        where.says(str(file))
        assert file.read_text() == "dear\nchanged\n"
        control.done(where, "grant", APP, "app.files")
        where.says(str(file))
        assert file.read_text() == "dear\nchanged\nchanged\n"
        control.done(where, "revoke", APP, "app.files")
        assert "dear" not in where.says(str(file))


def test_what_the_first_manifest_says_of_named_files_is_no_question() -> None:
    with starting.home({}, pinned=False) as where:
        control.publish(where, world.manifest(["/bin/sh", "-c", WITH_FILES, "sh"], {}, files="write"), KEY)
        (where.home / "letter").write_text("dear\n")
        with starting.start(where, str(where.home / "letter")) as begun:
            begun.settle()
            assert begun.shows("asks for nothing but to be started") and begun.shows("read and change")
            begun.press("s")
            assert "dear" in begun.ends(0)
        assert (where.home / "letter").read_text() == "dear\nchanged\n"
