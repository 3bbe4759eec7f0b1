"""Less than asked, from the question to the sandbox: only that is there, and nobody is asked again (SPEC §8)."""

from collections.abc import Callable, Iterator

import pytest

from broker import answers, elsewhere, journal, prompts, state
from intents import errors, kinds, model, text
from tests import control
from tests.real import starting, world
from tests.real.starting import NOTES, NOTES_TITLE

pytestmark = pytest.mark.real

SEES = "cat ~/Notes/old; cat ~/Notes/sub/inner; echo new >~/Notes/sub/inner && echo WROTE; echo LOOKED"
ONE = {"notes": NOTES}


@pytest.fixture
def home() -> Iterator[world.World]:
    """The app asks to change ~/Notes, in which there are a folder and links."""
    with starting.home(ONE) as made:
        notes = made.home / "Notes"
        (notes / "sub").mkdir()
        (notes / "sub" / "inner").write_text("inner notes\n")
        (notes / "out").symlink_to("/etc")
        (notes / "in").symlink_to("sub")
        yield made


def less(begun: starting.Start, *typed: str) -> None:
    """Open what can be given of the row, and press these keys there, each alone."""
    begun.press("n")
    begun.see("As it stands")
    begun.until(lambda: not begun.shows("moment") and not begun.shows("more to read"))
    for key in typed:
        begun.hand(key)
        begun.pause(0.15)


def back(begun: starting.Start) -> None:
    begun.hand("\r")
    begun.see("space tick")


def test_reading_alone_is_all_there_is(home: world.World) -> None:
    with starting.start(home, SEES) as begun:
        begun.settle()
        less(begun, "1", "t", "t")
        back(begun)
        begun.choose(NOTES_TITLE, "ALLOW always")
        begun.go()
        shown = begun.ends(0)
    assert "It can read everything in ~/Notes" in shown.partition("Less than asked")[2]
    assert "old notes" in shown and "inner notes" in shown and "WROTE" not in shown
    assert "WROTE" not in starting.quietly(home, SEES)
    assert (home.home / "Notes" / "sub" / "inner").read_text() == "inner notes\n"


def test_a_folder_in_it_is_all_there_is_and_stays_so(home: world.World) -> None:
    with starting.start(home, SEES) as begun:
        begun.settle()
        less(begun, "e", *"sub", "\r")
        begun.see("~/Notes/sub")
        begun.hand(" ")
        begun.see("ALLOW")
        back(begun)
        begun.choose("~/Notes/sub", "ALLOW always")
        begun.go()
        shown = begun.ends(0)
    assert "inner notes" in shown and "WROTE" in shown and "old notes" not in shown.replace("cat:", "")
    again = starting.quietly(home, SEES)
    assert "WROTE" in again and "old notes" not in again
    warm = starting.quietly(home, SEES, removed=starting.WARM)
    assert "WROTE" in warm and "old notes" not in warm
    assert "~/Notes/sub" in control.done(home, "show", world.APP)
    moved = home.home / "Notes" / "sub"
    moved.rename(home.home / "Notes" / "gone")
    moved.symlink_to("/etc")
    with starting.start(home, SEES) as begun:
        begun.settle()
        assert begun.shows("asks for something new")
        begun.press("l")
        begun.ends(126)


REFUSED = {
    "/etc": "is not in",
    "../Notes2": "cannot be given",
    "~": "is not in",
    "~/Notes": "is all that it asks for",
    "~/Notes/": "is all that it asks for",
    "nothing": "is no folder or file that is there",
    "out": "leads to /etc, out of what it asks for",
    "sub/../../x": "cannot be given",
    "a\x1b[2Jb": "cannot be given",
    "a\u202eb": "cannot be given",
    "x" * 300: "cannot be given",
}


@pytest.mark.parametrize("typed", REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_in_it_is_refused_with_a_sentence(home: world.World, typed: str) -> None:
    found = looked(home, typed)
    assert isinstance(found, text.Said) and REFUSED[typed] in found, found
    assert not {"\x1b", "\u202e"} & set(found)


def test_what_is_in_it_is_found_with_where_it_leads(home: world.World) -> None:
    for typed in ("sub", "./sub", "sub/", "~/Notes/sub", f"{home.home}/Notes//sub"):
        write, read = looked(home, typed)
        assert isinstance(write, prompts.Narrowing) and isinstance(read, prompts.Narrowing)
        assert [kinds.to_data(each.scopes[0])["access"] for each in (write, read)] == ["write", "read"]
        assert kinds.to_data(write.scopes[0])["place"] == "home/Notes/sub"
    link, _ = looked(home, "in")
    assert isinstance(link, prompts.Narrowing)
    assert any("is a link: what is given is" in note for note in link.notes), link


def looked(home: world.World, typed: str) -> tuple[prompts.Narrowing, ...] | text.Said:
    with home.here():
        app = home.load()
        with journal.Journal.open(app.places) as book:
            delta = app.delta(book, state.clock(app.places))
        return elsewhere.Looking(app, delta)("notes", typed)


def answered(home: world.World, scope: model.Scope, *, named: str = "", then: Callable[[], object] = str) -> None:
    """Give this instead of all, for good, as a front-end does. named: a place looked at before; then: what follows."""
    with home.here():
        app = home.load()
        with journal.Journal.open(app.places) as book:
            asked = answers.handshake(app, book, state.clock(app.places), launching=True)
        assert asked is not None and asked.request.elsewhere is not None
        if named:
            assert not isinstance(asked.request.elsewhere("notes", named), text.Said)
        then()
        (question,) = asked.request.questions
        answers.keep(
            asked,
            [prompts.answer(question, model.Effect.ALLOW, model.Lifespan.FOREVER, (scope,))],
            source="prompt",
        )


def test_what_is_put_there_after_the_look_is_not_given(home: world.World) -> None:
    """Another app that may write there exchanges the folder that the user has named by a link."""
    notes = home.home / "Notes"
    (home.home / "Private").mkdir()
    (home.home / "Private" / "inner").write_text("private\n")

    def exchange() -> None:
        (notes / "sub").rename(notes / "was")
        (notes / "sub").symlink_to("../Private")

    scope = kinds.from_data({"kind": "path", "place": "home/Notes/sub", "access": "read"})
    answered(home, scope, named="sub", then=exchange)
    assert control.states(home)["notes"] == "open"
    with pytest.raises(errors.RefusedError):
        answered(home, scope)
    (notes / "sub").unlink()
    (notes / "was").rename(notes / "sub")
    assert "inner notes" in home.says("cat ~/Notes/sub/inner")
