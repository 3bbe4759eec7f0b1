"""What is remarked on as unusual for a category, and what is not (SPEC §3.2, §8.4)."""

import dataclasses
import pathlib

import pytest

from broker import prompts
from intents import kinds, lint, model, parse, text, usual
from tests import handshake
from tests.laws import generate

ROOT = pathlib.Path(__file__).parents[1]
NETWORK = kinds.from_data({"kind": "network", "scope": "host"})
FEW = "Unusual: few calculators ask for this."


@pytest.mark.parametrize("name", usual.CATEGORIES)
def test_each_category_is_said_and_reasoned_and_wants_what_is_watched(name: str) -> None:
    row = usual.CATEGORIES[name]
    assert isinstance(row.many, text.Said) and row.many.endswith("s") and len(row.why) > 15
    assert row.wants <= usual.WATCHED


def test_what_is_watched_is_a_kind_or_more_of_one() -> None:
    more = {usual.MICROPHONE, usual.REAL_X11, usual.FILES_CHANGED}
    assert usual.WATCHED - more <= set(kinds.KINDS)


@pytest.mark.parametrize(
    ("category", "table", "said"),
    [
        ("calculator", {"kind": "network", "scope": "host"}, True),
        ("browser", {"kind": "network", "scope": "host"}, False),
        ("", {"kind": "network", "scope": "host"}, False),
        ("calculator", {"kind": "display", "protocol": "wayland"}, False),
        ("browser", {"kind": "display", "protocol": "x11-host"}, True),
        ("player", {"kind": "audio", "uses": ["playback"]}, False),
        ("player", {"kind": "audio", "uses": ["record"]}, True),
        ("chat", {"kind": "audio", "uses": ["record", "playback"]}, False),
        ("viewer", {"kind": "path", "place": "xdg-documents", "access": "read"}, False),
        ("viewer", {"kind": "path", "place": "xdg-documents", "access": "write"}, True),
        ("game", {"kind": "secrets"}, True),
    ],
)
def test_what_few_ask_for_is_remarked_on(category: str, table: dict[str, object], said: bool) -> None:
    assert bool(usual.remark(category, kinds.from_data(table))) is said


def asked(category: str, scope: model.Scope) -> prompts.Request:
    vetted = generate.vetted([scope])
    app = dataclasses.replace(vetted.manifest.app, category=category)
    manifest = dataclasses.replace(vetted.manifest, app=app)
    known = dataclasses.replace(vetted, manifest=manifest)
    intent = manifest.intents[0]
    change = model.Change(
        intent=intent, granted=(), denied=(), open=intent.scope.parts(), moved=(), decided_by=(), lives=()
    )
    delta = model.Delta(vetted=known, changes=(change,), withdrawn=())
    tree = {"/home/u": "dir"}
    host = generate.host(tree, "/home/u", 1000, "/run/user/1000", {"xdg-data": "/home/u/d"}, (), set(), 7, None)
    return prompts.request(delta, host, session_available=True, root=False)


def test_the_question_says_it_and_the_app_is_named_by_it() -> None:
    request = asked("calculator", NETWORK)
    assert request.category == "calculators" and request.questions[0].unusual == FEW
    assert not asked("", NETWORK).questions[0].unusual and not asked("browser", NETWORK).questions[0].unusual


def test_no_category_changes_a_risk() -> None:
    risks = {asked(name, NETWORK).questions[0].risk for name in ("", *usual.CATEGORIES)}
    assert len(risks) == 1


def test_less_than_asked_is_remarked_on_by_itself() -> None:
    request = asked("player", handshake.audio("playback", "record"))
    (question,) = request.questions
    assert question.unusual
    assert {each.scopes[0]: bool(each.unusual) for each in question.narrower} == {
        handshake.audio("playback"): False,
        handshake.audio("record"): True,
    }
    playing = [each for each in question.narrower if not each.unusual]
    assert not prompts.narrowed(question, playing).unusual


def test_each_manifest_of_ours_has_a_category_that_explains_what_it_asks() -> None:
    for file in sorted((ROOT / "manifests").glob("*.toml")):
        manifest = parse.parse(file.read_bytes(), file=file.name)
        assert manifest.app.category in usual.CATEGORIES
        found = [finding.subject for finding in lint.lint(manifest) if finding.code == "unusual-for-category"]
        assert found == (["rates"] if manifest.intent("rates") else [])
