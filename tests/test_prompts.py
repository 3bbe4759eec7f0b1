"""What is asked about which scopes, and what each key does to the sheet (SPEC §8.4)."""

import dataclasses
import typing
from collections.abc import Mapping

import pytest

from broker import prompts
from broker.ui import choices, keys, sheet
from intents import facts, model, sandbox
from tests import handshake

HOST = typing.cast(facts.HostFacts, "this machine")  # no scope here looks at it, but each is told about it


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """A scope that is a set of named things, each of which can be granted alone."""

    kind: str
    names: frozenset[str]
    level: model.Risk = model.Risk.NORMAL

    def data(self) -> Mapping[str, object]:
        return {"names": sorted(self.names)}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Things) and other.kind == self.kind and other.names <= self.names

    def meet(self, other: model.Scope) -> model.Scope | None:
        both = self.names & other.names if isinstance(other, Things) and other.kind == self.kind else frozenset()
        return dataclasses.replace(self, names=both) if both else None

    def parts(self) -> tuple[model.Scope, ...]:
        return tuple(dataclasses.replace(self, names=frozenset({name})) for name in sorted(self.names))

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk(self.level + 1) if len(self.names) > 1 else self.level

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        what = " and ".join(sorted(self.names))
        return model.Phrase(title=what, allows=f"It can use {what}.", notes=(f"Used on {host}.",))

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        return ()


def things(*names: str, kind: str = "dbus", level: model.Risk = model.Risk.NORMAL) -> Things:
    return Things(kind=kind, names=frozenset(names), level=level)


def change(scope: Things, *, open: tuple[Things, ...] | None = None, **rest: object) -> model.Change:
    """An intent's change; all of its scope is open unless said."""
    intent = model.Intent(id="-".join(sorted(scope.names)), scope=scope, optional=True, reason="r", if_denied="d")
    plain = model.Change(
        intent=intent, granted=(), denied=(), open=(scope,) if open is None else open, moved=(), decided_by=(), lives=()
    )
    return dataclasses.replace(plain, **rest)  # type: ignore[arg-type]


def ask(*changes: model.Change, trust: model.Trust = model.Trust.VOUCHED, session: bool = True) -> prompts.Request:
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/bin/true",), interface="window", aliases=(),
        packages=(),
    )  # fmt: skip
    manifest = model.Manifest(app=app, intents=tuple(each.intent for each in changes), digest="0")
    vetted = model.Vetted(manifest=manifest, trust=trust, lineage="0", fingerprint="SHA256:x")
    delta = model.Delta(vetted=vetted, changes=changes, withdrawn=())
    return prompts.request(delta, HOST, session_available=session, root=False)


def test_a_question_says_what_the_scope_says() -> None:
    question = ask(change(things("a", "b"))).questions[0]
    assert (question.title, question.allows) == ("a and b", "It can use a and b.")
    assert question.parts == ("It can use a.", "It can use b.")
    assert question.notes == ("Used on this machine.",)
    assert question.changed == ""


def test_only_what_is_open_is_asked_and_shown() -> None:
    partly = change(things("a", "b"), open=(things("b"),), granted=(things("a"),), decided_by=(1,))
    settled = change(things("c"), open=(), granted=(things("c"),), decided_by=(2,))
    request = ask(partly, settled)
    (question,) = request.questions
    assert (question.title, question.allows, question.parts) == ("b", "It can use b.", ())
    assert (question.changed, request.update, request.granted_before) == ("wider", True, ("c",))


def test_the_rest_is_as_risky_as_the_whole_it_completes() -> None:
    rest = change(things("a", "b"), open=(things("b"),), granted=(things("a"),), decided_by=(1,))
    assert ask(rest).questions[0].risk is model.Risk.HIGH
    denied = change(things("a", "b"), open=(things("b"),), denied=(things("a"),), decided_by=(1,))
    assert ask(denied).questions[0].risk is model.Risk.NORMAL


def test_new_beside_decided_and_moved_are_said() -> None:
    settled = change(things("c"), open=(), granted=(things("c"),), decided_by=(2,))
    moved = change(things("d"), moved=(("home/d", "/home/a/d", "/mnt/d"),))
    assert {q.title: q.changed for q in ask(settled, moved, change(things("n"))).questions} == {
        "d": "moved",
        "n": "new",
    }


@pytest.mark.parametrize("trust", model.Trust)
def test_a_publisher_nobody_knows_raises_every_risk(trust: model.Trust) -> None:
    levels = [ask(change(things("a", level=level)), trust=trust).questions[0].risk for level in model.Risk]
    raised = [1, 2, 3, 3, 4] if trust in (model.Trust.FIRST_USE, model.Trust.UNSIGNED) else [0, 1, 2, 3, 4]
    assert levels == raised


def test_what_is_more_than_its_sum_is_named_together() -> None:
    network, files = things("internet", kind="network"), things("letters", kind="secrets")
    assert "it can send your saved passwords anywhere" in ask(change(network), change(files)).together[0]
    held = change(network, open=(), granted=(network,), decided_by=(1,))
    assert ask(held, change(files)).together
    decided = change(files, open=(), granted=(files,), decided_by=(2,))
    assert not ask(held, decided, change(things("other"))).together
    assert not ask(change(files)).together and not ask(change(network)).together


def test_the_riskiest_comes_first() -> None:
    request = ask(*(change(things(risk.word, level=risk)) for risk in model.Risk))
    assert [question.title for question in request.questions] == ["forbidden", "critical", "high", "normal", "low"]


def test_nothing_unsigned_outlives_the_session() -> None:
    for session in (True, False):
        spans = ask(change(things("a")), trust=model.Trust.UNSIGNED, session=session).lifespans
        assert set(spans) <= {model.Lifespan.ONCE, model.Lifespan.SESSION}
    assert model.Lifespan.SESSION not in ask(change(things("a")), session=False).lifespans


@pytest.mark.parametrize("risk", model.Risk)
@pytest.mark.parametrize("trust", model.Trust)
@pytest.mark.parametrize("session", [True, False])
def test_default_lifespans_are_offered_and_critical_is_never_for_good(
    risk: model.Risk, trust: model.Trust, session: bool
) -> None:
    request = ask(change(things("a", level=risk)), trust=trust, session=session)
    (question,) = request.questions
    for effect in model.Effect:
        offered = prompts.spans(request, question, effect)
        assert prompts.default_span(request, question, effect) in offered
    if question.risk >= model.Risk.CRITICAL:
        assert model.Lifespan.FOREVER not in prompts.spans(request, question, model.Effect.ALLOW)
        assert prompts.default_span(request, question, model.Effect.ALLOW) is model.Lifespan.ONCE
    if question.risk is model.Risk.HIGH:
        assert prompts.default_span(request, question, model.Effect.ALLOW) is not model.Lifespan.FOREVER


# The sheet: state, key, next state.

READ = sheet.Seen(row=True, all=True)
UNREAD = sheet.Seen(row=False, all=False)


def pressed(request: prompts.Request, *pressing: str, seen: sheet.Seen = READ) -> sheet.State:
    state = sheet.start(request)
    for key in pressing:
        state = sheet.press(state, key, seen, lambda words: words[0])
    return state


@pytest.mark.parametrize("risk", model.Risk)
def test_only_low_risk_is_ticked_from_the_start(risk: model.Risk) -> None:
    request = handshake.request(handshake.question(risk=risk))
    assert sheet.start(request).row.ticked is (risk is model.Risk.LOW)


def test_what_moved_is_not_ticked_whatever_its_risk() -> None:
    moved = handshake.question(risk=model.Risk.LOW, changed="moved", moves="a was b, is now c")
    assert not sheet.start(handshake.request(moved)).row.ticked


@pytest.mark.parametrize("key", ["\r", "\n", "y", "Y", "a", "\t", "1"])
def test_enter_and_y_never_allow_or_answer(key: str) -> None:
    state = pressed(handshake.request(), key)
    assert not state.done and not state.row.ticked


def test_enter_opens_the_details_and_goes_back() -> None:
    assert pressed(handshake.request(), "\r").view is sheet.View.DETAILS
    assert pressed(handshake.request(), "\r", "s", "d", "m").view is sheet.View.DETAILS
    assert pressed(handshake.request(), "\r", "\r").view is sheet.View.LIST


def test_space_and_s_allow_what_is_ticked_and_deny_the_rest() -> None:
    answers = pressed(handshake.request(), " ", "s").answers
    assert answers is not None
    assert [(answer.intent_id, str(answer.effect), str(answer.span)) for answer in answers] == [
        ("rates", "allow", "session"),
        ("sheets", "deny", "forever"),
        ("window", "allow", "forever"),
    ]


def test_t_goes_through_what_is_offered() -> None:
    state, found = pressed(handshake.request(), " "), []
    for _ in range(4):
        state = sheet.press(state, "t", READ, lambda words: words[0])
        found.append(state.row.choice.span)
    assert found == [model.Lifespan.UNTIL, model.Lifespan.FOREVER, model.Lifespan.ONCE, model.Lifespan.SESSION]
    answers = pressed(handshake.request(), " ", "t", "s").answers
    assert answers is not None and answers[0].duration_seconds == 8 * 3600


def test_nothing_is_ticked_or_started_before_it_was_read() -> None:
    for key in ("s", "m", " "):
        state = pressed(handshake.request(), key, seen=UNREAD)
        assert not state.done and not state.row.ticked and state.notice
    assert pressed(handshake.request(), "d", seen=UNREAD).done


def test_m_ticks_what_is_required_and_nothing_else() -> None:
    state = pressed(handshake.request(), " ", "m")
    assert [row.ticked for row in state.rows] == [False, False, True]


def test_m_does_not_allow_what_is_critical() -> None:
    state = pressed(handshake.critical(), "m")
    assert not any(row.ticked for row in state.rows) and "X11" in state.notice


def test_d_denies_everything() -> None:
    answers = pressed(handshake.request(), " ", "d").answers
    assert answers is not None and {answer.effect for answer in answers} == {model.Effect.DENY}


@pytest.mark.parametrize("key", ["l", "q", keys.ESCAPE, keys.CLOSE])
def test_later_is_no_answer(key: str) -> None:
    state = pressed(handshake.request(), " ", key)
    assert state.done and state.answers is None


def test_start_without_what_is_required_is_pointed_out_not_stored() -> None:
    state = pressed(handshake.critical(), "s")
    assert not state.done and "does not start without X11" in state.notice


def test_what_is_critical_takes_the_whole_word() -> None:
    opened = pressed(handshake.critical(), " ")
    assert opened.view is sheet.View.WORD and not opened.row.ticked
    word = opened.word
    assert not pressed(handshake.critical(), " ", *word[:-1], "\r").row.ticked
    assert not pressed(handshake.critical(), " ", *word[:-1], "x", "\r", "y", " ").row.ticked
    assert pressed(handshake.critical(), " ", *word[:-1], "x", "\x7f", word[-1]).row.ticked
    assert pressed(handshake.critical(), " ", *word).row.choice.span is model.Lifespan.ONCE
    assert not pressed(handshake.critical(), " ", *word[:-1], keys.ESCAPE).row.ticked
    assert pressed(handshake.critical(), " ", *word, " ").row.ticked is False


def test_what_is_forbidden_cannot_be_ticked() -> None:
    state = pressed(handshake.request(handshake.question(risk=model.Risk.FORBIDDEN)), " ")
    assert not state.row.ticked and state.view is sheet.View.LIST and state.notice


# Less than is asked for.


def at(state: sheet.State) -> tuple[bool, prompts.Answer]:
    """Whether the row under the cursor is ticked, and the answer that it stands for."""
    return state.row.ticked, choices.answer(state.row)


def test_n_shows_what_can_be_given_from_the_least_to_all_of_it() -> None:
    state = pressed(handshake.less(), "n")
    assert state.view is sheet.View.LESS and not state.row.ticked
    assert [option.allows for option in state.row.options] == [
        "It can read everything in ~.",
        "It can read, change and delete everything in ~.",
    ]
    assert "all or nothing" in pressed(handshake.request(), "n").notice
    assert pressed(handshake.less(), "n", seen=UNREAD).view is sheet.View.LIST


@pytest.mark.parametrize("key", ["\r", "\n", "y", "a", "s", "m", "d", "l", keys.ESCAPE, "q", "9", "e"])
def test_only_a_number_or_space_gives_anything_there(key: str) -> None:
    state = pressed(handshake.less(), "n", key)
    assert not state.row.ticked and not state.done


def test_what_was_not_read_is_not_given() -> None:
    opened = pressed(handshake.less(), "n")
    state = sheet.press(opened, "1", UNREAD, lambda words: words[0])
    assert not state.row.ticked and state.view is sheet.View.LESS and state.notice


def test_less_of_a_critical_thing_that_is_critical_takes_a_word_of_its_own() -> None:
    opened = pressed(handshake.less(), "n", "1")
    assert opened.view is sheet.View.WORD and not opened.row.ticked
    reading = pressed(handshake.less(), "n", "1", *opened.word)
    assert reading.view is sheet.View.LESS
    ticked, answer = at(reading)
    assert ticked and answer.scopes == (handshake.place("home", "read"),) and answer.span is model.Lifespan.ONCE
    wider = sheet.press(reading, "2", READ, lambda words: words[1])
    assert wider.view is sheet.View.WORD and at(wider)[1].scopes == (handshake.place("home", "read"),)
    back = sheet.press(wider, keys.ESCAPE, READ, lambda words: words[1])
    assert back.view is sheet.View.LESS and at(back) == (ticked, answer)
    whole = pressed(handshake.less(), "n", "2", *opened.word)
    assert at(whole)[1].scopes is None
    assert at(sheet.press(whole, "1", READ, lambda words: words[1]))[1].scopes == answer.scopes  # less: no word


def test_a_folder_typed_by_hand_is_weighed_by_itself() -> None:
    typing = pressed(handshake.less(), "n", "e", *"~/Sheets")
    assert typing.view is sheet.View.PLACE and typing.typed == "~/Sheets"
    found = sheet.press(typing, "\r", READ, str)
    assert found.view is sheet.View.LESS and not found.row.ticked
    given = sheet.press(found, " ", READ, str)
    ticked, answer = at(given)
    assert ticked and answer.scopes == handshake.FOLDER.scopes
    assert answer.span is model.Lifespan.FOREVER and given.row.standing.risk is model.Risk.NORMAL
    assert prompts.together(given.request, given.given) == (
        "With the network as well, it can send your files anywhere: ~/Sheets.",
    )
    nothing = sheet.press(given, "0", READ, str)
    assert not nothing.row.ticked and nothing.row.standing == nothing.row.question


def test_a_folder_that_is_not_there_is_said_and_can_be_corrected() -> None:
    state = pressed(handshake.less(), "n", "e", *"~/Shoes\r")
    assert state.view is sheet.View.PLACE and state.notice == "There is no ~/Shoes."
    assert pressed(handshake.less(), "n", "e", *"~/x", keys.ESCAPE).view is sheet.View.LESS
    corrected = pressed(handshake.less(), "n", "e", *"~/Shoes\r", *["\x7f"] * 4, *"heets\r")
    assert corrected.view is sheet.View.LESS


def test_of_several_things_any_can_be_given() -> None:
    sound = dataclasses.replace(handshake.less(), questions=(handshake.SOUND,))
    assert [option.title for option in sheet.start(sound).row.options] == ["microphone", "sound", "microphone"]
    assert at(pressed(sound, "n", "2"))[1].scopes == (handshake.audio("playback"),)
    assert at(pressed(sound, "n", "2", "1"))[1].scopes is None  # both: all of it
    assert at(pressed(sound, "n", "3"))[1].scopes is None
    assert at(pressed(sound, "n", "3", "1"))[1].scopes == (handshake.audio("playback"),)
    assert not at(pressed(sound, "n", "2", "2"))[0]
    playing = pressed(sound, "n", "2")
    assert playing.row.standing.risk is model.Risk.LOW and playing.row.choice.span is model.Lifespan.FOREVER


def test_what_is_given_fits_the_request() -> None:
    word = pressed(handshake.less(), "n", "1").word
    for pressing in (["n", "1", *word], ["n", "e", *"~/Sheets\r", " "], ["n", "2", *word], []):
        state = pressed(handshake.less(), *pressing, "\r" if pressing else "s", "s")
        assert state.answers is not None
        assert prompts.fits(state.request, state.answers, lambda _: model.Risk.NORMAL)
    forever = [prompts.answer(handshake.HOME, model.Effect.ALLOW, model.Lifespan.FOREVER, handshake.FOLDER.scopes)]
    only = dataclasses.replace(handshake.less(), questions=(handshake.HOME,))
    assert prompts.fits(only, forever, lambda _: model.Risk.NORMAL)
    assert not prompts.fits(only, forever) and not prompts.fits(only, forever, lambda _: model.Risk.CRITICAL)
    none = [prompts.answer(handshake.HOME, model.Effect.ALLOW, model.Lifespan.ONCE, ())]
    assert not prompts.fits(only, none)


def test_an_app_that_asks_for_nothing_is_started_by_s_alone() -> None:
    nothing = dataclasses.replace(handshake.request(), questions=())
    assert pressed(nothing, "s").answers == ()
    assert pressed(nothing, "l").answers is None
    assert not pressed(nothing, " ", "t", "d", "m", "?", "\r").done


def test_no_word_begins_another_or_holds_only_keys() -> None:
    for word in sheet.WORDS:
        assert word.isascii() and word.islower() and len(word) >= 5
        assert not any(other != word and other.startswith(word) for other in sheet.WORDS)
