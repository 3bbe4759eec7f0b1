"""Every sentence of ours can be said in every language that is shipped, with the same values in it."""

import ast
import gettext
import pathlib
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ui import language, plain, wording
from intents import model, text
from tests import handshake
from tests.conftest import must_work

ROOT = pathlib.Path(__file__).parents[1]
LOCALE = ROOT / "broker" / "locale"
CODES = sorted(path.name for path in LOCALE.iterdir())
GERMAN = language.choose({"LANG": "de_DE.UTF-8"})


def templates() -> set[str]:
    """Every first argument of ``text.said`` and ``text.template`` in the sources."""
    found = set()
    for top in ("intents", "broker"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("text.said", "text.template"):
                    found |= {str(each.value) for each in node.args if isinstance(each, ast.Constant)}
    return found


def catalogue(code: str) -> dict[str, str]:
    """What the compiled catalogue of a language says."""
    with (LOCALE / code / "LC_MESSAGES" / "intents.mo").open("rb") as file:
        read = gettext.GNUTranslations(file)
    return {template: read.gettext(template) for template in templates()}


@pytest.mark.parametrize("code", CODES)
def test_every_sentence_is_translated_and_takes_the_same_values(code: str) -> None:
    for template, other in catalogue(code).items():
        if any(char.isalpha() for char in template.format_map(dict.fromkeys(text.fields(template), "1"))):
            assert other != template or template in SAME, template
        assert text.fields(other) == text.fields(template), template
        assert not [char for char in other if text.unshowable(char)], template
        assert unicodedata.normalize("NFC", other) == other


SAME = {"start"}  # the same word in that language


@pytest.mark.parametrize("code", CODES)
def test_the_compiled_catalogue_is_made_from_the_readable_one(code: str, tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("msgfmt"), "msgfmt of GNU gettext")
    source = LOCALE / code / "LC_MESSAGES" / "intents.po"
    subprocess.run(["msgfmt", "--check-format", "-o", tmp_path / "made.mo", source], check=True)
    with (tmp_path / "made.mo").open("rb") as file:
        made = gettext.GNUTranslations(file)
    assert {template: made.gettext(template) for template in templates()} == catalogue(code)


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LANG": "de"}, "de"),
        ({"LANG": "he_IL.UTF-8", "LC_ALL": "de_AT.UTF-8"}, "de"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "he_IL"}, "he"),
        ({"LANG": "fr_FR.UTF-8", "LANGUAGE": "fr:he:de"}, "he"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "C", "LANGUAGE": "de"}, "en"),
        ({"LANG": "../../de"}, "en"),
        ({"LANG": "/de"}, "en"),
        ({"LANG": "de/../he"}, "en"),
        ({"LANG": "\x1b[2J"}, "en"),
    ],
)
def test_the_language_is_that_of_the_locale(environ: dict[str, str], code: str) -> None:
    assert language.choose(environ).code == code


@pytest.mark.parametrize("content", [b"", b"\xde\x12\x04\x95", b"garbage", b"\xde\x12\x04\x95" + b"\xff" * 40])
def test_a_damaged_catalogue_is_passed_over(content: bytes, tmp_path: pathlib.Path) -> None:
    (tmp_path / "de" / "LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "de" / "LC_MESSAGES" / "intents.mo").write_bytes(content)
    assert language.choose({"LANG": "de_DE.UTF-8"}, str(tmp_path)).code == "en"


def test_only_sentences_of_ours_are_translated() -> None:
    assert GERMAN.say("camera") == "camera", "an app's own word"
    assert GERMAN.say(text.said("camera")) == "Kamera"
    used = text.said("It can use {devices} directly.", devices="camera")
    assert GERMAN.say(used) == "Die App kann camera unmittelbar benutzen."
    assert language.ENGLISH.say(text.said("camera")) == "camera"


@given(st.text(), st.text())
def test_values_stay_what_they_are_in_every_language(name: str, other: str) -> None:
    listed = text.said("{items} and {last}", items=text.joined([name], ", "), last=other)
    assert GERMAN.say(listed) == f"{name} und {other}"
    assert listed == f"{name} and {other}"


@given(st.text(), st.text())
def test_a_translation_that_takes_other_values_is_passed_over(name: str, other: str) -> None:
    plain = text.said("It can read everything in {path}.", path=name)
    found = text.translated(plain, lambda _: other)
    assert found == plain or text.fields(other) == {"path"}


@pytest.mark.parametrize("code", CODES)
def test_words_that_are_typed_mean_one_thing(code: str) -> None:
    spoken = language.choose({"LANG": code})
    shown = {word: spoken.say(said).lower() for word, said in plain.TYPED.items()}
    assert len(set(shown.values())) == len(shown)
    assert all(other == word or other not in shown for word, other in shown.items())
    assert all(words.isprintable() and words.strip() == words for words in shown.values())


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("width", [79, 39, 20])
def test_every_page_fits_and_an_app_is_quoted_as_it_speaks(code: str, width: int) -> None:
    spoken = language.choose({"LANG": code})
    for request in (handshake.request(), handshake.hostile()):
        page = wording.Page(width=width, spoken=spoken)
        asked = [wording.Choice(effect=model.Effect.DENY, span=model.Lifespan.FOREVER)] * len(request.questions)
        lines = wording.sheet(request, asked, 0, page)
        lines += tuple(line for each in request.questions for line in wording.critical(each, "kestrel", page))
        assert all(wording.cells(line.text) <= width for line in lines)
        shown = "".join(line.text.replace("│", "") for line in lines).replace(" ", "")
        for question in request.questions:
            assert wording.quote(question.reason).replace(" ", "")[:100] in shown


def test_what_runs_the_other_way_keeps_its_order() -> None:
    hebrew = language.choose({"LANG": "he_IL.UTF-8"})
    assert hebrew.right_to_left
    assert hebrew.ordered("כמה מזה: ~/Notes") == "כמה מזה: \u2066~/Notes\u2069"
    assert hebrew.ordered('אומר "Save it."') == 'אומר \u2066"Save it."\u2069'
    assert language.ENGLISH.ordered("~/Notes") == "~/Notes"
