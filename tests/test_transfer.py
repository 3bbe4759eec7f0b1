"""``intent-ctl export`` and ``import``: the same answers elsewhere, and none that could not be given there."""

import json
import pathlib
from collections.abc import Iterator, Mapping

import pytest

from tests import control
from tests.control import APP, MANIFEST, NETWORK, NOTES
from tests.real import world

KEYS = {**NOTES, "place": "home/.ssh"}


@pytest.fixture
def home() -> Iterator[world.World]:
    with control.home() as made:
        yield made


@pytest.fixture
def other() -> Iterator[world.World]:
    """Another machine with the same app."""
    with control.home() as made:
        yield made


def written(home: world.World, tmp_path: pathlib.Path, *apps: str) -> str:
    file = tmp_path / "decisions.json"
    file.write_text(control.done(home, "export", *apps))
    return str(file)


def edited(file: str, **changes: object) -> str:
    """The file with other values in its first decision."""
    document = json.loads(pathlib.Path(file).read_text())
    document["apps"][0]["decisions"][0].update(changes)
    pathlib.Path(file).write_text(json.dumps(document))
    return file


def missed(home: world.World, file: str, *words: str) -> dict[str, str]:
    """Why what does not apply does not, for each intent."""
    found = control.data(home, "import", file, *words, status=1)
    assert isinstance(found["apps"], list)
    return {row["intent"]: row["why"] for app in found["apps"] for row in app["decisions"] if not row["applied"]}


def states(where: world.World) -> dict[str, str]:
    return control.states(where)


def test_what_was_decided_is_decided_there(home: world.World, other: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "grant", APP, "net", "--for", "9h")
    file = written(home, tmp_path)
    assert control.done(home, "export", "--json") == control.done(home, "export")
    out = control.done(other, "import", file, "--dry-run")
    assert "net was not decided, is allowed (HIGH risk)" in out and "Nothing is changed yet." in out
    assert states(other) == {"net": "open", "notes": "open"}
    control.done(other, "import", file)
    assert states(other) == {"net": "allowed", "notes": "allowed"}
    mine, theirs = ({each.intent_id: each for each in control.decisions(where)} for where in (home, other))
    assert theirs["net"].life.until == mine["net"].life.until
    assert dict(theirs["notes"].places) == {"home/Notes": f"{other.home}/Notes"}
    assert {each.source for each in theirs.values()} == {"import"}
    before = len(control.decisions(other))
    assert "it is decided that way already" in control.done(other, "import", file)
    assert len(control.decisions(other)) == before, "a second time changes nothing"
    control.done(other, "undo")
    assert states(other) == {"net": "open", "notes": "open"}, "an import is one act"


def test_a_denial_and_a_narrowing_stay_what_they_are(
    home: world.World, other: world.World, tmp_path: pathlib.Path
) -> None:
    control.done(home, "grant", APP, "notes", "net", "--for", "forever")
    control.done(home, "revoke", APP, "net")
    control.done(other, "grant", APP, "net", "--for", "forever")
    control.done(other, "import", written(home, tmp_path))
    assert states(other) == {"net": "denied", "notes": "allowed"}


def test_what_ends_with_the_session_does_not_travel(home: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "net")  # for this session
    control.done(home, "grant", APP, "notes")
    (app,) = json.loads(pathlib.Path(written(home, tmp_path)).read_text())["apps"]
    assert ([row["intent"] for row in app["decisions"]], app["left_out"]) == (["notes"], 1)
    control.done(home, "undo")
    assert json.loads(pathlib.Path(written(home, tmp_path, APP)).read_text())["apps"] == []
    assert control.code(home, "export", "org.example.Nothing") == "unknown-app"


def test_what_is_critical_is_named_again(home: world.World, other: world.World, tmp_path: pathlib.Path) -> None:
    text = world.manifest(["/bin/true"], {"keys": KEYS, "notes": NOTES}, serial=2)
    for where in (home, other):
        where.install(text)
    control.done(home, "grant", APP, "keys", "notes", "--confirm", "keys", "--for", "forever")
    file = written(home, tmp_path)
    for words in ((), ("--confirm", "keys"), ("--confirm", f"{APP}:notes")):
        assert control.code(other, "import", file, *words) == "not-confirmed"
        assert control.decisions(other) == [], "nothing of the rest either"
    assert f"--confirm {APP}:keys" in control.run(other, "import", file)[2]
    control.done(other, "import", file, "--dry-run")
    control.done(other, "import", file, "--confirm", f"{APP}:keys")
    assert states(other) == {"keys": "allowed", "notes": "allowed"}


def test_another_publisher_gets_nothing(home: world.World, other: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "notes")
    file = written(home, tmp_path)
    document = json.loads(pathlib.Path(file).read_text())
    document["apps"][0]["lineage"] = "0" * 16
    pathlib.Path(file).write_text(json.dumps(document))
    assert "another publisher's" in missed(other, file)["notes"]
    assert control.decisions(other) == []


def test_what_is_not_known_here_is_listed(home: world.World, other: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "notes", "net", "--for", "forever")
    file = written(home, tmp_path)
    other.install(world.manifest(["/bin/true"], {"net": NETWORK}, serial=2))
    assert missed(other, file) == {"notes": "the app does not ask for that here"}
    assert states(other) == {"net": "allowed"}, "and the rest applies"
    document = json.loads(pathlib.Path(file).read_text())
    document["apps"][0]["app"] = "org.example.Nothing"
    pathlib.Path(file).write_text(json.dumps(document))
    assert set(missed(other, file).values()) == {"nothing here is called `org.example.Nothing`"}
    assert "NOT applied: notes" in control.run(other, "import", file)[1]


ODD: list[tuple[Mapping[str, object], str]] = [
    ({"asked": {"kind": "telepathy"}}, "is not a kind"),
    ({"asked": {"kind": "path"}}, "needs"),
    ({"asked": "path"}, "not understood"),
    ({"asked": {"kind": []}}, "is not a kind"),
    ({"granted": {"kind": "path", "place": "home/Notes", "access": "write"}}, "grants more than was asked"),
    ({"granted": {"kind": "network", "scope": "host"}}, "grants more than was asked"),
    ({"span": "session"}, "not understood"),
    ({"span": "once"}, "not understood"),
    ({"span": "until", "until": 1}, "its time is over"),
    ({"span": "until", "until": None}, "its time is over"),
    ({"span": "until", "until": 10**40}, "its time is longer than any"),
    ({"only_if": "x"}, "not understood"),
    ({"intent": 7}, "not understood"),
]


@pytest.mark.parametrize(("changes", "why"), ODD)
def test_what_is_not_understood_gives_nothing(
    home: world.World, other: world.World, tmp_path: pathlib.Path, changes: Mapping[str, object], why: str
) -> None:
    control.done(home, "grant", APP, "notes")
    found = control.data(other, "import", edited(written(home, tmp_path), **changes), status=1)
    assert isinstance(found["apps"], list)
    ((row,),) = (app["decisions"] for app in found["apps"])
    assert row["applied"] is False and why in row["why"]
    assert control.decisions(other) == []


def test_what_no_answer_grants_is_not_imported(home: world.World, other: world.World, tmp_path: pathlib.Path) -> None:
    control.done(home, "grant", APP, "notes")
    (other.home / "Notes").rmdir()
    (other.home / "Notes").symlink_to("/proc")
    assert list(missed(other, written(home, tmp_path))) == ["notes"]
    assert control.decisions(other) == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"intents_export": 2, "apps": []}', '{"intents_export": 1, "apps": [{"app": 1}]}', "[" * 9999],
)
def test_what_is_no_export_is_refused(home: world.World, tmp_path: pathlib.Path, text: str) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    assert control.code(home, "import", str(file)) == "not-an-export"
    assert control.code(home, "import", f"{tmp_path}/nothing") == "unreadable"


def test_who_is_new_is_pinned_and_counts_one_level_higher(
    home: world.World, other: world.World, tmp_path: pathlib.Path
) -> None:
    control.done(home, "grant", APP, "net", "--for", "forever")
    file = written(home, tmp_path)
    new = tmp_path / "third"
    new.mkdir()
    with world.world() as third:
        control.publish(third, MANIFEST, control.OTHER_KEY)
        (third.home / "Notes").mkdir()
        assert control.code(third, "import", file) == "not-confirmed"
        assert f"belongs to {control.fingerprint(control.OTHER_KEY)}" in control.done(
            third, "import", file, "--confirm", f"{APP}:net"
        )
        assert APP in control.done(third, "trust", "list")
