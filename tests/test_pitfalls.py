"""How people were deceived by questions elsewhere: the same, tried on texts and decisions here (docs/prompts.md)."""

import dataclasses
import itertools
import pathlib
import pwd
import unicodedata

import pyte
import pytest
from hypothesis import given

from broker import state
from broker.ui import sheet, wording
from intents import diff, errors, kinds, model, parse, sandbox
from intents.kinds import path
from tests import handshake
from tests.laws import generate

# Where a manifest's author writes text, with what stands there, and a line for each.
FIELDS = {
    "id": '"org.example.Sheet"',
    "name": '"Sheet"',
    "version": '"2.1"',
    "command": '["/usr/bin/sheet"]',
    "aliases": '["sheet"]',
    "packages": '{ apt = "sheet" }',
    "reason": '"To send rates."',
    "if_denied": '"Rates stay."',
    "place": '"home/sheets"',
}
CONTROLS = [chr(number) for number in (*range(0x20), *range(0x7F, 0xA0))]
STRINGS = ("\x1b[1A\x1b[2K", "\x1b]0;owned\x07", "\x1b]8;;http://x\x1b\\", "\x1b]52;c;eA==\x07", "\x9b2K")
# One of each category of Unicode that is not letters, figures or ordinary signs, and others that deceive.
DECEPTIVE = (
    "\u202e\u2066\u200f\u200b\u200d\ufeff\u2060\u00ad\U000e0041\ue000\U000f0000\U000e01ef\ufe0f\u3164\u2800\u115f"
    "\u00a0\u3000\u2003\u2028\u2029\uffff\ufdd0\U0010ffff\u061c\U0001343f"
)


def manifest(field: str, text: str) -> bytes:
    """A manifest with ``text`` inside one field, as TOML escapes it."""
    escaped = "".join(f"\\U{ord(char):08x}" for char in text)
    values = {**FIELDS, field: FIELDS[field].replace("heet", f"he{escaped}et").replace('"2.1', f'"2.{escaped}1')}
    if field in ("reason", "if_denied"):
        values[field] = f'"Rates {escaped} stay."'
    if field == "place":
        values[field] = f'"home/she{escaped}ets"'
    lines = [f"{key} = {values[key]}" for key in FIELDS if key not in ("reason", "if_denied", "place")]
    asked = [f"{key} = {values[key]}" for key in ("place", "reason", "if_denied")]
    head = ["spec = 1", "[app]", *lines, "serial = 7", 'interface = "terminal"']
    body = ["[intents.sheets]", 'kind = "path"', 'access = "read"', "optional = true", *asked]
    return ("\n".join((*head, *body)) + "\n").encode()


def test_the_manifest_is_good_without_the_trick() -> None:
    for field in FIELDS:
        assert parse.parse(manifest(field, "x" if field not in ("version",) else "1"), file="m").app.id


@pytest.mark.parametrize("field", FIELDS)
def test_cve_2023_28446_no_field_takes_what_moves_the_cursor(field: str) -> None:
    for trick in (*CONTROLS, *STRINGS):
        with pytest.raises(errors.ManifestError):
            parse.parse(manifest(field, trick), file="m")


@pytest.mark.parametrize("field", FIELDS)
def test_cve_2021_42574_no_field_takes_what_reorders_or_hides(field: str) -> None:
    """File names may hold odd spaces and selectors; these are spelled out wherever they are shown."""
    for trick in DECEPTIVE:
        try:
            parse.parse(manifest(field, trick), file="m")
        except errors.ManifestError:
            continue
        assert field in ("command", "place"), hex(ord(trick))
        assert unicodedata.category(trick) in ("Zs", "Mn", "Lo", "So"), hex(ord(trick))
        assert wording.clean(trick) == trick.encode("unicode_escape").decode(), hex(ord(trick))


def test_cve_2023_28446_on_a_terminal_every_trick_is_only_letters() -> None:
    """Texts that came past the manifest's own rules: cell for cell what was meant, and nothing above it is touched."""
    tricks = [*CONTROLS, *STRINGS, *DECEPTIVE]
    chars = [chr(number) for number in range(0x110000) if unicodedata.category(chr(number)) not in ("Cs", "Lo", "So")]
    by_category = {unicodedata.category(char): char for char in chars}
    page = wording.Page(width=79, margin="| ", ascii=True)
    for trick in (*tricks, *by_category.values()):
        question = handshake.question(
            title=f"a{trick}b", allows=f"It can{trick} read.", notes=(f"n{trick}",), reason=f"r{trick}", if_denied=trick
        )
        request = handshake.request(question, name=f"N{trick}", version=trick)
        choices = [row.choice for row in sheet.start(request).rows]
        lines = [line.text for line in wording.sheet(request, choices, 0, page)]
        screen = pyte.Screen(80, 60)
        pyte.Stream(screen).feed("ABOVE\r\n" + "\r\n".join(lines))
        assert [line.rstrip() for line in screen.display][: len(lines) + 1] == ["ABOVE", *map(str.rstrip, lines)], trick


@given(generate.PATHS)
def test_cve_2024_27936_the_path_that_is_shown_is_the_path_that_is_bound(scope: model.Scope) -> None:
    assert isinstance(scope, path.Path)
    roots = {"home": "/home/u", "xdg-documents": "/home/u/Documents", "xdg-config": "/home/u/.config"}
    where = scope.place.resolve(roots) or "/"
    tree = {"/home": "dir", "/home/u": "dir"}
    for above in reversed(list(itertools.accumulate(where.strip("/").split("/"), "{}/{}".format))):
        tree.setdefault(f"/{above}", "dir")
    host = generate.host(
        tree, "/home/u", 1000, "/run/user/1000", {**roots, "xdg-data": "/home/u/.local/share"}, (), {where}, 7, None
    )
    try:
        ops = scope.ops(host, "")
    except errors.IntentError:
        return
    sources = {op.source for op in ops if isinstance(op, sandbox.Bind)}
    title = scope.phrase(host).title
    shown = title[1:-1].replace('\\"', '"').replace("\\\\", "\\") if title.startswith('"') else title
    real = "/home/u" + shown[1:] if shown == "~" or shown.startswith("~/") else shown
    assert sources <= {real} or real == "/home/u"  # of a home, each of its children


def test_cve_2020_9934_the_environment_does_not_say_where_the_home_is() -> None:
    """Nor the search path, the language or the linker's variables: the user database does (getpwuid(3))."""
    root = pwd.getpwuid(0)
    evil = {"HOME": "/tmp/evil", "USER": "evil", "LOGNAME": "evil", "PYTHONPATH": "/tmp/evil", "LD_PRELOAD": "/x.so"}
    places = state.places(evil, 0)
    assert places.home == root.pw_dir and "evil" not in repr(places)


def decided(scope: model.Scope, granted: model.Scope | None, intent_id: str = "any") -> model.Decision:
    return model.Decision(
        intent_id=intent_id,
        asked=scope,
        granted=granted,
        life=model.Life(span=model.Lifespan.FOREVER),
        source="prompt",
        objects=tuple((place, generate.where(place)) for place in scope.objects()),
        seq=1,
    )


def test_group_escalation_what_is_allowed_gives_nothing_beside_it() -> None:
    """Of one kind, of one intent, once or for good: only what was allowed."""
    play, record = handshake.audio("playback"), handshake.audio("record")
    both = generate.vetted([handshake.audio("playback", "record")])
    (change,) = diff.diff(both, [decided(play, play)], generate.NOW, {}).changes
    assert (change.granted, change.open) == ((play,), (record,))
    first, second = diff.diff(generate.vetted([play, record]), [decided(play, play)], generate.NOW, {}).changes
    assert (first.granted, first.open, second.granted, second.open) == ((play,), (), (), (record,))


def test_custom_permission_squatting_another_kind_under_the_same_id_is_asked() -> None:
    sound, camera = handshake.audio("playback"), kinds.from_data({"kind": "camera"})
    vetted = generate.vetted([camera])
    delta = diff.diff(vetted, [decided(sound, sound, "i0")], generate.NOW, {})
    (change,) = delta.changes
    assert change.intent.id == "i0" and change.open == (camera,) and not change.granted
    assert [decision.asked for decision in delta.withdrawn] == [sound]
    with pytest.raises(errors.ManifestError):
        kinds.read("camera.plus", {})


def test_the_newest_answer_counts_and_nothing_is_in_conflict() -> None:
    """All orders of three answers about one thing: the last one holds, and there is nothing to ask."""
    read, write = handshake.place("home/a", "read"), handshake.place("home/a", "write")
    where = {place: generate.where(place) for place in write.objects()}
    for answers in itertools.product((None, read, write), repeat=3):
        stored = [dataclasses.replace(decided(write, granted), seq=seq) for seq, granted in enumerate(answers, 1)]
        (change,) = diff.diff(generate.vetted([write]), stored, generate.NOW, where).changes
        assert not change.open
        assert change.granted == (() if answers[-1] is None else (answers[-1],))


ROOT = pathlib.Path(__file__).parents[1]


def test_every_way_a_question_deceived_elsewhere_has_its_row_and_every_row_its_test() -> None:
    rows = [line for line in (ROOT / "docs" / "prompts.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    numbers = [line.split("|")[1].strip() for line in rows if line.split("|")[1].strip().isdigit()]
    assert numbers == [str(number) for number in range(1, 39)]
    there = "\n".join(file.read_text("utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for line in rows:
        for name in [word for word in line.split("`") if word.startswith("test_") and " " not in word]:
            assert f"def {name}(" in there, name
        for name in [word for word in line.split("`") if word.startswith("vectors/")]:
            assert (ROOT / "tests" / "vectors" / "manifest" / "invalid" / name.removeprefix("vectors/")).is_file(), name
