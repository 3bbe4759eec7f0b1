"""intent-ctl trust: a key counts when its whole name was given, and what it takes over is said before."""

from collections.abc import Iterator

import pytest

from broker import history, journal, state
from intents import model
from tests import control
from tests.control import APP, MANIFEST, OTHER_KEY, REPOSITORY_KEY
from tests.real import world


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with an app whose publisher the user agreed to."""
    with control.home() as made:
        yield made


def test_accept_wants_the_whole_key(home: world.World) -> None:
    key = control.new_key()
    control.publish(home, world.manifest(["/bin/true"], app_id="org.example.New"), key, "org.example.New")
    right = control.fingerprint(key)
    for wrong in (right[:-1], right.lower(), right + "=", "SHA256:", ""):
        assert control.code(home, "trust", "accept", "org.example.New", wrong) == "wrong-publisher"
    assert control.data(home, "trust", "show", "org.example.New")["pin"] is None
    assert "from now on" in control.done(home, "trust", "accept", "org.example.New", right)
    assert "as before" in control.done(home, "trust", "accept", "org.example.New", right)
    assert control.data(home, "trust", "show", "org.example.New")["trust"] == "pinned"


def test_another_key_is_agreed_to_only_by_its_name(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    key = control.new_key()
    control.publish(home, MANIFEST.replace("serial = 1", "serial = 2"), key)
    for words in (["grant", APP, "net"], ["trust", "accept", APP, control.fingerprint(key)]):
        assert control.code(home, *words) == "key-changed"
    before = control.data(home, "trust", "list")
    looked = control.data(home, "trust", "rekey", APP)
    assert looked["applied"] is False and looked["decisions"] == 1
    assert looked["changes"] == {"fingerprint": [control.fingerprint(OTHER_KEY), control.fingerprint(key)]}
    assert f"--fingerprint {control.fingerprint(key)}" in control.done(home, "trust", "rekey", APP)
    wrong = control.fingerprint(OTHER_KEY)
    assert control.code(home, "trust", "rekey", APP, "--fingerprint", wrong) == "wrong-publisher"
    assert control.data(home, "trust", "rekey", APP, "--serial", "2")["applied"] is False
    assert control.data(home, "trust", "list") == before
    control.done(home, "trust", "rekey", APP, "--fingerprint", control.fingerprint(key))
    assert control.states(home) == {"net": "open", "notes": "allowed"}, "the same publisher: its decisions stay"
    assert "needs no other key" in control.done(home, "trust", "rekey", APP)


def test_an_older_manifest_is_agreed_to_only_by_its_serial(home: world.World) -> None:
    home.install(MANIFEST.replace("serial = 1", "serial = 5"))
    control.publish(home, MANIFEST, OTHER_KEY)
    assert control.code(home, "grant", APP, "notes") == "serial-rollback"
    same = control.fingerprint(OTHER_KEY)
    assert control.data(home, "trust", "rekey", APP, "--fingerprint", same)["applied"] is False
    assert control.code(home, "trust", "rekey", APP, "--serial", "5") == "wrong-publisher"
    assert control.data(home, "trust", "rekey", APP, "--serial", "1")["applied"] is True
    control.done(home, "grant", APP, "notes")


def test_another_key_and_an_older_manifest_are_both_named(home: world.World) -> None:
    home.install(MANIFEST.replace("serial = 1", "serial = 5"))
    key = control.new_key()
    control.publish(home, MANIFEST, key)
    assert control.data(home, "trust", "rekey", APP, "--fingerprint", control.fingerprint(key))["applied"] is False
    assert control.data(home, "trust", "rekey", APP, "--serial", "1")["applied"] is False
    options = ("--serial", "1", "--fingerprint", control.fingerprint(key))
    assert control.data(home, "trust", "rekey", APP, *options)["applied"] is True


def test_a_key_inherits_nothing_from_a_catalog(home: world.World) -> None:
    app = home.load()
    now = state.clock(home.places)
    with journal.Journal.open(home.places) as book:
        nobody = model.Pin(app_id=APP, lineage="0" * 16, fingerprint="", serial=0, digest="", since=now.wall)
        life = model.Life(span=model.Lifespan.FOREVER)
        scope = app.manifest.intents[0].scope
        decision = model.Decision(intent_id="net", asked=scope, granted=scope, life=life, objects=(), source="prompt")
        book.record(now, [history.rekeyed(nobody), history.decided(APP, "0" * 16, decision)])
    assert control.code(home, "grant", APP, "notes") == "key-changed"
    control.done(home, "trust", "rekey", APP, "--fingerprint", control.fingerprint(OTHER_KEY))
    assert control.states(home) == {"net": "open", "notes": "open"}


@pytest.mark.parametrize(("key", "expected"), [(None, "signature-missing"), (REPOSITORY_KEY, "unsigned")])
def test_what_nobody_signed_cannot_be_agreed_to(home: world.World, key: bytes | None, expected: str) -> None:
    control.publish(home, MANIFEST.replace("serial = 1", "serial = 2"), key)
    accept = ["trust", "accept", APP, control.fingerprint(REPOSITORY_KEY)]
    for words in (["grant", APP, "net"], ["trust", "rekey", APP], accept):
        assert control.code(home, *words) == expected
    assert "trouble" in control.done(home, "trust", "show", APP)
