"""The handshake's text: golden pages, and strings that try to be something else (SPEC §8.4)."""

import dataclasses
import json
import os
import pathlib
import unicodedata

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as some

from broker import prompts, stopped
from broker.ui import ended, less, scripted, sheet, stop, wording
from intents import model
from tests import handshake

GOLDEN = pathlib.Path(__file__).parent / "golden" / "handshake"
WIDE = wording.Page(width=79)
PAGES = {
    "wide": WIDE,
    "narrow": wording.Page(width=39),
    "ascii": wording.Page(width=79, margin="| ", ascii=True),
    "plain": wording.Page(width=79, margin=""),
}
UPDATE = handshake.request(
    handshake.question(risk=model.Risk.CRITICAL, changed="new", notes=("Other programs are reachable too.",)),
    dataclasses.replace(handshake.SHEETS, changed="moved", moves="xdg-documents/Sheets was /home/a/S, is now /srv/S"),
    handshake.question("names", title="two names", parts=("It can call A.", "It can call B."), changed="wider"),
    update=True,
    as_root=True,
    trust=model.Trust.FIRST_USE,
    granted_before=("windows",),
    withdrawn=("printing",),
    together=("whole network and ~/Documents/Sheets together: it could send these files out.",),
)
UNSIGNED = handshake.request(trust=model.Trust.UNSIGNED, fingerprint="", lifespans=(model.Lifespan.ONCE,))
PINNED = handshake.request(trust=model.Trust.PINNED)
REQUESTS = {"first": handshake.request(), "update": UPDATE, "unsigned": UNSIGNED, "pinned": PINNED}
REQUESTS["less"] = handshake.less()


def text(lines: tuple[wording.Line, ...]) -> str:
    return "".join(f"{line.text}\n" for line in lines)


def whole(request: prompts.Request, page: wording.Page) -> tuple[wording.Line, ...]:
    """Every line that a front-end could show for a request."""
    choices = [row.choice for row in sheet.start(request).rows]
    lines = wording.sheet(request, choices, 0, page)
    answers = sheet.press(sheet.start(request), "d", sheet.Seen(row=True, all=True), str).answers
    for index, question in enumerate(request.questions):
        lines += wording.details(request, question, page) + wording.numbered(request, index, page)
        lines += wording.critical(question, "kestrel", page)
    for row in sheet.start(request).rows:
        if row.options:
            lines += less.options(row.question, row.options, row.taken, 1, page)
            lines += less.single(request.app_id, row.question, page)
            lines += less.keys(row.choice, page, elsewhere=True) + less.typing(page)
            lines += less.listed(row.question, row.options, page) + less.asked(row.question, page, elsewhere=True)
            lines += wording.body(prompts.narrowed(row.question, row.options[:1]), page)
    for said in (answers, None):
        lines += ended.summary(request, said, page)
    return lines + wording.keys(page) + wording.offer(("no", "once", "later"), page)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", REQUESTS)
def test_the_pages_are_as_reviewed(name: str, page: str) -> None:
    """INTENT_UPDATE=1 writes them anew; the difference is what a reviewer reads."""
    file = GOLDEN / f"{name}-{page}.txt"
    shown = text(whole(REQUESTS[name], PAGES[page]))
    if os.environ.get("INTENT_UPDATE") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, "utf-8")
    assert shown == file.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", handshake.REQUESTS)
def test_every_line_fits_and_is_visible(name: str, page: str) -> None:
    where = PAGES[page]
    for line in whole(handshake.REQUESTS[name](), where):
        assert wcwidth.wcswidth(line.text) in range(where.width + 1)
        assert line.text.startswith(where.margin.rstrip())
        assert not where.ascii or line.text.isascii()
        assert "│" not in line.text[len(where.margin) :]


def test_every_character_is_drawn_or_spelled_out() -> None:
    """No code point reaches the terminal that moves, hides, joins or reorders; none is wider than it was counted."""
    for number in range(0x110000):
        shown = wording.clean(f"a{chr(number)}")
        assert all(wcwidth.wcwidth(char) >= 0 for char in shown), hex(number)
        assert wording.cells(shown) >= max(wcwidth.wcswidth(shown), sum(map(wcwidth.wcwidth, shown))), hex(number)
        assert unicodedata.category(shown[1]) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"), hex(number)
        assert unicodedata.bidirectional(shown[1]) not in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI", "FSI"), hex(number)


@pytest.mark.parametrize("char", "\x1b\x07\x9b\u202e\u200b\u2066\ufeff\U000e0041\u00a0\u3000\u2028\u3164\ufe0f│▶\r\n\t")
def test_cve_2023_28101_what_deceives_is_spelled_out(char: str) -> None:
    assert wording.clean(f"a{char}b") == "a" + char.encode("unicode_escape").decode() + "b"


def test_a_flood_of_marks_stops_at_two() -> None:
    assert wording.clean("e" + "\u0301" * 4) == "e\u0301\u0301\\u0301\\u0301"
    assert wording.clean("\u0301") == "\\u0301"


def test_markup_of_the_screen_library_is_only_text() -> None:
    assert wording.quote("<ansigreen>ok</ansigreen> %s {0}") == '"<ansigreen>ok</ansigreen> %s {0}"'


@given(some.text())
def test_a_claim_cannot_leave_its_quotes(claim: str) -> None:
    shown = wording.quote(claim)
    inside = shown[1 : shown.rindex('"')]
    assert shown.startswith('"') and '"' not in inside.replace('\\"', "")


@given(some.text(), some.integers(20, 79))
def test_wrapping_loses_nothing_but_spaces(words: str, width: int) -> None:
    lines = wording.wrap(words, width)
    assert "".join(lines).replace(" ", "") == wording.clean(words).replace(" ", "")
    assert all(wording.cells(line) <= width for line in lines)


def test_a_long_reason_is_cut_and_counted() -> None:
    request = handshake.long_reason()
    shown = text(wording.body(request.questions[0], WIDE))
    assert "more characters)" in shown and len(shown.splitlines()) < 12


def test_the_letters_of_two_scripts_are_pointed_out() -> None:
    assert "different scripts" in text(wording.head(handshake.request(name="Cаlculator"), WIDE))  # the а is Cyrillic
    assert "different scripts" not in text(wording.head(handshake.request(), WIDE))


def test_a_title_cannot_pass_for_the_columns_before_it() -> None:
    title = "~/x  ALLOW always  low risk  optional"
    request = handshake.request(handshake.question(title=title))
    for page in PAGES.values():
        shown = " ".join(line.text[len(page.margin) :] for line in whole(request, page) if line.row == 0)
        assert shown.index("deny always") < shown.index("HIGH risk") < shown.index("ALLOW always")


@pytest.mark.parametrize("name", handshake.REQUESTS)
def test_the_summary_is_one_to_three_lines(name: str) -> None:
    request = handshake.REQUESTS[name]()
    rows = sheet.start(request).rows
    mixed = [prompts.answer(row.question, list(model.Effect)[number % 2], row.deny) for number, row in enumerate(rows)]
    for page in PAGES.values():
        for answers in (mixed, None):
            assert len(ended.summary(request, answers, page)) in (1, 2, 3)


def test_the_summary_says_what_was_given() -> None:
    state = sheet.start(handshake.less())
    for key in ("n", "e", *"~/Sheets\r", " ", "\r", "s"):
        state = sheet.press(state, key, sheet.Seen(row=True, all=True), str)
    lines = text(ended.summary(state.request, state.answers, dataclasses.replace(WIDE, margin=""), state.given))
    assert lines.splitlines() == [
        "allowed: ~/Sheets (always; Less than asked: It can read everything in ~/Sheets)",
        "denied: microphone (always), whole network (always)",
        "change it: intent-ctl show org.example.Calculator",
    ]


def test_a_recorded_script_answers_the_same_requests_again() -> None:
    first, update = handshake.request(), UPDATE
    said = {question.intent_id: {"effect": "deny", "span": "once"} for question in first.questions}
    recorder = scripted.Recorder(scripted.Scripted([{"answers": said}, {"answers": None}]))
    answers = [recorder.ask(first), recorder.ask(update)]
    again = scripted.Scripted.from_json(recorder.to_json())
    assert [again.ask(first), again.ask(update)] == answers
    assert again.finished


DENY = {"effect": "deny", "span": "once"}
ALL = dict.fromkeys(("rates", "sheets", "window"), DENY)
MISMATCHES: dict[str, tuple[dict[str, object], str]] = {
    "another app": ({"expect": {"app_id": "x"}, "answers": ALL}, "app_id: expected 'x'"),
    "other questions": ({"expect": {"questions": ["rates"]}, "answers": ALL}, "questions: expected"),
    "words not said": ({"expect": {"says": ["your camera"]}, "answers": ALL}, "nowhere said: 'your camera'"),
    "no answer to a wrong question": ({"expect": {"update": True}, "answers": None}, "update: expected True"),
    "one not answered": ({"answers": {"rates": DENY, "sheets": DENY}}, "not answered: window"),
    "one not asked": ({"answers": {**ALL, "camera": DENY}}, "answered but not asked: camera"),
    "a span not offered": (
        {"answers": {**ALL, "rates": {"effect": "allow", "span": "forever"}}},
        "rates: allow forever is not offered",
    ),
}


@pytest.mark.parametrize(("step", "complaint"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_script_that_does_not_fit_raises(step: dict[str, object], complaint: str) -> None:
    request = handshake.request(handshake.question(risk=model.Risk.CRITICAL), handshake.SHEETS, handshake.WINDOW)
    with pytest.raises(scripted.Mismatch, match=complaint):
        scripted.Scripted([json.loads(json.dumps(step))]).ask(request)


def test_a_script_that_is_over_raises() -> None:
    with pytest.raises(scripted.Mismatch, match="once more"):
        scripted.Scripted([]).ask(handshake.request())


CODES = ("key-changed", "serial-rollback", "serial-equivocation", "signature-missing", "unsigned")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("where", PAGES)
def test_trouble_with_a_publisher_is_said_and_not_asked(code: str, where: str) -> None:
    """What is trusted, what this is, that nothing happened, and commands; no key, no word to type."""
    signed = code not in ("signature-missing", "unsigned")
    pin = model.Pin(app_id="org.example.App", lineage="0" * 16, fingerprint="SHA256:old", serial=18, digest="", since=0)
    trouble = stopped.Stop(
        code=code, app_id="org.example.App", pin=pin if signed else None, decisions=3 if signed else 0,
        fingerprint="SHA256:new" if signed else "", serial=17, file=f"/x/{handshake.ESCAPES}.toml",
    )  # fmt: skip
    lines = stop.page(trouble, PAGES[where])
    said = " ".join(line.text.removeprefix(PAGES[where].margin).strip() for line in lines)
    assert "STOP  org.example.App is not started." in said
    assert "Nothing was started and nothing was changed." in said
    assert ("SHA256:old  since 1970-01-01, serial 18" in said) is signed and "serial 17" in said
    assert ("Your 3 decisions stay" in said) is signed
    command = "intent-ctl trust rekey org.example.App" if signed else "intent-run --unsigned org.example.App"
    assert command in said
    for line in lines:
        assert wcwidth.wcswidth(line.text) in range(PAGES[where].width + 1)
    assert not any(word in said.lower() for word in ("[y", "yes", "type the word", "press"))


def test_what_it_may_do_with_files_that_are_named_is_said() -> None:
    for files, said in (("read", "it may read each time."), ("write", "it may read and change each time."), ("", "")):
        lines = [line.text for line in wording.head(handshake.request(files=files), WIDE) if "Files that" in line.text]
        assert [line.endswith(said) for line in lines] == [True] * bool(said)
