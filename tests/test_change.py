"""Answering one intent with all of it, less, or nothing; by command and by the protocol of front-ends."""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping

import pytest

from broker import known, overview, record
from intents import errors
from tests import control, ruled
from tests.control import APP, NETWORK, NOTES
from tests.real import world

BUS = {"kind": "dbus", "bus": "session", "talk": ["org.example.One", "org.example.Two"]}
WRITE = {**NOTES, "access": "write"}


@pytest.fixture
def home() -> Iterator[world.World]:
    with control.home() as made:
        made.install(world.manifest(["/bin/true"], {"net": NETWORK, "notes": WRITE, "bus": BUS}, serial=2))
        yield made


def call(home: world.World, name: str, **values: object) -> Mapping[str, object]:
    with home.here():
        here = functools.partial(known.here, home.environ, typed=False)
        return overview.call(name, values, overview.methods(here))


def offered(home: world.World, intent: str) -> dict[str, Mapping[str, object]]:
    offers = control.data(home, "choose", APP, intent)["offers"]
    assert isinstance(offers, list)
    return {each["offer"]: each for each in offers}


def test_less_than_all_of_it_is_offered(home: world.World) -> None:
    found = offered(home, "notes")
    least, *less, most = found
    assert (least, most) == ("deny", "allow") and less
    read = next(name for name, each in found.items() if each["scopes"] == [{"kind": "path", **reading()}])
    control.done(home, "choose", APP, "notes", read)
    assert control.states(home)["notes"] == "partly"
    assert [each["offer"] for each in offered(home, "notes").values() if each["chosen"]] == [read]
    control.done(home, "choose", APP, "notes", "allow", "--for", "2h")
    assert control.states(home)["notes"] == "allowed"
    control.done(home, "choose", APP, "notes", "deny")
    assert control.states(home)["notes"] == "denied"


def reading() -> dict[str, str]:
    return {"place": "home/Notes", "access": "read"}


def test_one_of_several_is_offered(home: world.World) -> None:
    found = offered(home, "bus")
    one = next(name for name, each in found.items() if "Two" not in str(each["scopes"]) and each["scopes"])
    control.done(home, "choose", APP, "bus", one)
    assert control.states(home)["bus"] == "partly"
    assert "denied: dbus bus=session talk=['org.example.Two']" in control.done(home, "show", APP)


def test_what_is_no_offer_is_refused(home: world.World) -> None:
    assert control.code(home, "choose", APP, "notes", "less-99") == "unknown-offer"
    assert control.code(home, "choose", APP, "camera") == "unknown-intent"
    assert control.code(home, "choose", APP, "net", "allow", "--for", "x") == "bad-duration"


def test_what_is_critical_is_named_twice(home: world.World) -> None:
    home.install(world.manifest(["/bin/true"], {"keys": {**NOTES, "place": "home/.ssh"}}, serial=3))
    assert control.code(home, "choose", APP, "keys", "allow") == "not-confirmed"
    control.done(home, "choose", APP, "keys", "allow", "--confirm", "keys")
    control.done(home, "choose", APP, "keys", "deny")
    asked = page(home, "keys")
    values = {"app": APP, "intent": "keys", "offer": "allow", "span": "session"}
    with pytest.raises(errors.IntentError) as caught:
        call(home, "change", **values, shown=asked["shown"])
    assert caught.value.code == "not-confirmed"
    call(home, "change", **values, shown=asked["shown"], sure=True)
    assert control.states(home) == {"keys": "allowed"}


def page(home: world.World, intent: str) -> Mapping[str, object]:
    offers = call(home, "app", app=APP)["offers"]
    assert isinstance(offers, dict)
    found = offers[intent]
    assert isinstance(found, dict)
    return found


def test_what_the_administrator_locked_is_not_offered(home: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "net", "--for", "forever")
    file = tmp_path / "decisions.json"
    file.write_text(control.done(home, "export"))
    with ruled.here(home):
        ruled.write(home, ruled.rule("network", "deny", reason="No network on exam machines."))
        asked = page(home, "net")
        assert asked["offers"] == []
        with pytest.raises(errors.IntentError):
            call(home, "change", app=APP, intent="net", offer="allow", span="session", shown=asked["shown"])
        for words in (("choose", APP, "net"), ("choose", APP, "net", "allow")):
            assert control.code(home, *words) == "locked-by-policy"
        found = control.data(home, "import", str(file), status=1)
        assert "No network on exam machines." in str(found)
        undone = control.data(home, "undo", "--dry-run")
        assert undone["changes"] == [], "what counts is the rule, before and after"
        control.done(home, "choose", APP, "notes", "allow")


def test_a_front_end_changes_only_what_it_showed(home: world.World) -> None:
    values = {"app": APP, "intent": "net", "offer": "allow", "span": "session"}
    before = page(home, "net")
    for wrong in ({"shown": "0" * 64}, {"shown": page(home, "notes")["shown"]}):
        with pytest.raises(errors.IntentError) as caught:
            call(home, "change", **values, **wrong)
        assert caught.value.code == "question-changed"
    control.done(home, "revoke", APP, "net")
    with pytest.raises(errors.IntentError) as caught:
        call(home, "change", **values, shown=before["shown"])
    assert caught.value.code == "question-changed", "somebody else decided meanwhile"
    for changed, code in (
        ({"span": "once"}, "not-on-offer"),
        ({"span": "8h"}, "not-on-offer"),
        ({"offer": "less-1"}, "unknown-offer"),
        ({"intent": "camera"}, "unknown-intent"),
        ({"app": 7}, "bad-message"),
    ):
        with pytest.raises(errors.IntentError) as caught:
            call(home, "change", **{**values, "shown": page(home, "net")["shown"], **changed})
        assert caught.value.code == code
    assert control.states(home)["net"] == "denied"
    call(home, "change", **values, shown=page(home, "net")["shown"])
    assert control.states(home)["net"] == "allowed"


def test_who_decides_meanwhile_is_not_overridden(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = page(home, "net")
    commit = record.commit_by

    def late(*given: object) -> object:
        monkeypatch.setattr(record, "commit_by", commit)
        control.done(home, "revoke", APP, "net")
        return commit(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(record, "commit_by", late)
    with pytest.raises(errors.IntentError) as caught:
        call(home, "change", app=APP, intent="net", offer="allow", span="session", shown=asked["shown"])
    assert caught.value.code == "question-changed"
    assert control.states(home)["net"] == "denied"


def test_the_methods_say_what_the_commands_say(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    assert call(home, "apps") == {**control.data(home, "list"), "waiting": []}
    assert call(home, "kinds") == control.data(home, "who")
    assert call(home, "who", kind="path") == control.data(home, "who", "path")
    shown = control.data(home, "show", APP)
    assert {key: value for key, value in call(home, "app", app=APP).items() if key in shown} == shown
    events = call(home, "history")["events"]
    assert isinstance(events, list) and events[0]["words"].startswith("allowed notes (path")
    assert call(home, "undo")["app"] == APP
    assert control.states(home)["notes"] == "open"
    with pytest.raises(errors.IntentError) as caught:
        call(home, "undo")
    assert caught.value.code == "nothing-to-undo"
    assert os.path.exists(home.home / "Notes")
