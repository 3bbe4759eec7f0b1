"""intent-ctl: what it stores, what it refuses to store, and that it shows what a launch would do."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from broker import app as apps
from broker import history, journal, plans, state
from intents import model
from tests import control
from tests.conftest import must_work
from tests.control import APP, MANIFEST, NETWORK, NOTES, OTHER_KEY
from tests.real import world


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with an app whose publisher the user agreed to."""
    with control.home() as made:
        yield made


# grant


def test_what_is_granted_lasts_by_its_risk(home: world.World) -> None:
    out = control.done(home, "grant", APP, "net", "notes")
    assert "net is allowed for this session (HIGH risk)" in out and "It can contact any server" in out
    assert "notes is allowed always (normal risk)" in out
    stored = {each.intent_id: each for each in control.decisions(home)}
    assert {name: each.life.span for name, each in stored.items()} == {"net": "session", "notes": "forever"}
    assert {each.source for each in stored.values()} == {"command"}
    assert stored["notes"].places == (("home/Notes", str(home.home / "Notes")),)
    assert control.states(home) == {"net": "allowed", "notes": "allowed"}


@pytest.mark.parametrize(
    ("text", "span", "seconds"), [("forever", "forever", 0), ("30m", "until", 1800), ("2d", "until", 172800)]
)
def test_a_span_is_as_long_as_it_says(home: world.World, text: str, span: str, seconds: int) -> None:
    control.done(home, "grant", APP, "net", "--for", text)
    (decision,) = control.decisions(home)
    assert decision.life.span == span
    assert decision.life.until == (decision.at + seconds if seconds else 0)


@pytest.mark.parametrize("text", ["", "8", "h", "0h", "-1h", "8 h", "99999d", "٣h", "always"])
def test_what_is_no_span_is_refused(home: world.World, text: str) -> None:
    assert control.code(home, "grant", APP, "net", f"--for={text}") == "bad-duration"
    assert control.decisions(home) == []


def test_once_is_for_the_question_at_a_start(home: world.World) -> None:
    assert control.code(home, "grant", APP, "net", "--for", "once") == "lifespan-unavailable"


def test_a_session_needs_something_that_ends_with_it(home: world.World) -> None:
    home.environ["XDG_RUNTIME_DIR"] = ""
    assert control.code(home, "grant", APP, "net") == "lifespan-unavailable"
    control.done(home, "grant", APP, "net", "--for", "8h")


def test_an_unknown_intent_stores_nothing_of_the_others(home: world.World) -> None:
    assert control.code(home, "grant", APP, "notes", "camera") == "unknown-intent"
    assert control.decisions(home) == []


def test_what_is_critical_is_named_twice(home: world.World) -> None:
    write = {**NOTES, "place": "home/.ssh"}
    home.install(world.manifest(["/bin/true"], {"keys": write, "notes": NOTES}, serial=2))
    assert control.code(home, "grant", APP, "notes", "keys") == "not-confirmed"
    assert control.code(home, "grant", APP, "notes", "keys", "--confirm", "notes") == "not-confirmed"
    assert control.decisions(home) == []
    assert "--confirm keys" in control.run(home, "grant", APP, "keys")[2]
    control.done(home, "grant", APP, "keys", "--confirm", "keys", "--for", "forever")
    assert control.states(home) == {"keys": "allowed", "notes": "open"}


def test_what_no_answer_grants_is_not_stored(home: world.World) -> None:
    (home.home / "Notes").rmdir()
    (home.home / "Notes").symlink_to("/proc")
    assert control.code(home, "grant", APP, "notes") == "path-refused"
    assert control.decisions(home) == []


def test_what_this_host_cannot_give_now_is_stored_and_said(home: world.World) -> None:
    (home.home / "Notes").rmdir()
    assert "Not given for now" in control.done(home, "grant", APP, "notes")
    assert len(control.decisions(home)) == 1


def test_a_grant_to_somebody_new_pins_and_says_so(home: world.World) -> None:
    key = control.new_key()
    text = world.manifest(["/bin/true"], {"net": NETWORK}, app_id="org.example.New")
    control.publish(home, text, key, "org.example.New")
    assert control.code(home, "grant", "org.example.New", "net") == "not-confirmed", "a new publisher raises the risk"
    assert "org.example.New" not in control.done(home, "trust", "list")
    out = control.done(home, "grant", "org.example.New", "net", "--confirm", "net")
    assert f"From now on org.example.New belongs to {control.fingerprint(key)}." in out
    assert f"org.example.New  {control.fingerprint(key)}" in control.done(home, "trust", "list")


def test_plans_are_gone_before_a_decision_is_there(home: world.World) -> None:
    head = pathlib.Path(plans.head_file(home.places, APP))
    head.write_text("old")
    control.done(home, "grant", APP, "notes")
    assert not head.exists()
    head.mkdir()  # what cannot be removed
    assert control.code(home, "revoke", APP, "notes") == "journal-unwritable"
    assert [each.effect for each in control.decisions(home)] == ["allow"]


# revoke


def test_revoke_denies_for_good(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes", "--for", "forever")
    assert "denied always: net" in control.done(home, "revoke", APP, "net")
    assert control.states(home) == {"net": "denied", "notes": "allowed"}
    assert control.decisions(home)[-1].life.span == "forever"
    control.done(home, "revoke", APP)
    assert control.states(home) == {"net": "denied", "notes": "denied"}


def test_revoke_of_all_reaches_what_is_not_declared_now(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes", "--for", "forever")
    home.install(world.manifest(["/bin/true"], {"notes": NOTES}, serial=2))
    control.done(home, "revoke", APP)
    home.install(MANIFEST.replace("serial = 1", "serial = 3"))
    assert control.states(home) == {"net": "denied", "notes": "denied"}


def test_revoke_of_one_intent_leaves_what_it_does_not_name(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes", "--for", "forever")
    home.install(world.manifest(["/bin/true"], {"notes": NOTES}, serial=2))
    control.done(home, "revoke", APP, "notes")
    home.install(MANIFEST.replace("serial = 1", "serial = 3"))
    assert control.states(home) == {"net": "allowed", "notes": "denied"}
    assert control.code(home, "revoke", APP, "camera") == "unknown-intent"


# Without a manifest


def test_an_app_that_is_gone_is_still_in_the_users_hands(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes", "--for", "forever")
    shutil.rmtree(f"{home.places.data}/manifests")
    assert f"{APP}  (no manifest)" in control.done(home, "list")
    assert "net  allowed always, not asked for now: network scope=host" in control.done(home, "show", APP)
    assert control.code(home, "grant", APP, "net") == "manifest-not-found"
    assert control.code(home, "revoke", APP, "camera") == "unknown-intent"
    control.done(home, "revoke", APP, "net")
    row = control.data(home, "list")["apps"]
    assert isinstance(row, list) and (row[0]["allowed"], row[0]["denied"]) == (["notes"], ["net"])
    home.install(MANIFEST)
    assert control.states(home) == {"net": "denied", "notes": "allowed"}
    shutil.rmtree(f"{home.places.data}/manifests")
    assert "3 decisions no longer count" in control.done(home, "forget", APP)
    assert control.done(home, "list") == "Nothing is decided yet.\n"


def test_a_broken_manifest_hides_no_decision(home: world.World) -> None:
    control.done(home, "grant", APP, "net")
    pathlib.Path(home.places.data, "manifests", f"{APP}.toml").write_text("spec = 2\n")
    shown = control.data(home, "show", APP)
    assert isinstance(shown["trouble"], dict) and shown["trouble"]["code"] == "unknown-spec"
    control.done(home, "revoke", APP, "net")
    assert control.decisions(home)[-1].effect == "deny"
    assert control.code(home, "show", "org.example.Nothing") == "unknown-app"


# show, list, log


def test_show_says_what_the_launch_gives(home: world.World) -> None:
    bus = {"kind": "dbus", "bus": "session", "talk": ["org.example.One", "org.example.Two"]}
    home.install(world.manifest(["/bin/true"], {"net": NETWORK, "notes": NOTES, "bus": bus}, serial=2))
    now = state.clock(home.places)
    app = home.load()
    with journal.Journal.open(home.places) as book:
        parts = app.manifest.intents[2].scope.parts()
        for part, granted in zip(parts, (parts[0], None), strict=True):
            life = model.Life(span=model.Lifespan.FOREVER)
            decision = model.Decision(
                intent_id="bus", asked=part, granted=granted, life=life, objects=(), source="prompt"
            )
            book.record(now, [history.decided(APP, app.vet(book).lineage, decision)])
    control.done(home, "grant", APP, "notes")
    assert control.states(home) == {"net": "open", "notes": "allowed", "bus": "partly"}
    out = control.done(home, "show", APP)
    assert "notes  allowed always  (normal risk, optional)\n    It can read everything in" in out
    assert "net  not decided  (HIGH risk, optional)\n    if allowed: It can contact any server" in out
    assert "bus  partly allowed always" in out and "    denied: dbus bus=session talk=['org.example.Two']" in out
    (home.home / "Notes").rmdir()
    (home.home / "Notes").symlink_to(home.base)
    assert control.states(home)["notes"] == "open"
    assert f"home/Notes was {home.home}/Notes, is now {home.base}" in control.done(home, "show", APP)


def test_show_says_what_would_stop_a_start(home: world.World) -> None:
    home.install(MANIFEST.replace("optional = true", "optional = false", 1).replace("serial = 1", "serial = 2"))
    assert "It would not start: Example cannot work without `net`" in control.done(home, "show", APP)
    control.done(home, "grant", APP, "net", "notes")
    assert control.data(home, "show", APP)["would_not_start"] is None


def test_list_all_knows_every_manifest(home: world.World) -> None:
    pathlib.Path(home.places.data, "manifests", "org.example.Broken.toml").write_text("spec = 2\n")
    rows = control.data(home, "list", "--all")["apps"]
    assert isinstance(rows, list)
    found = {row["app"]: row for row in rows}
    assert found[APP]["open"] == ["net", "notes"]
    assert found["org.example.Broken"]["trouble"]["code"] == "unknown-spec"
    assert "calculator" in found["io.github.Qalculate.qalc"]["aliases"]
    assert control.data(home, "list") == {"apps": []}


def test_log_tells_what_happened(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "revoke", APP, "notes")
    events = control.data(home, "log", APP)["events"]
    assert isinstance(events, list)
    assert [event["what"] for event in events] == ["pin", "decision", "decision"]
    assert events == control.data(home, "log")["events"]
    last = control.done(home, "log", "--limit", "1")
    assert last.count("\n") == 1 and "denied notes (path access=read place=home/Notes), forever, by command" in last
    assert control.run(home, "log", "--limit", "0")[0] == 2


def test_nothing_stored_can_move_the_cursor(home: world.World) -> None:
    evil = "\x1b[2J\u202e\r"
    with journal.Journal.open(home.places) as book:
        body: dict[str, object] = {"intent": evil, "asked": {"kind": evil, evil: evil}, "granted": None, "source": evil}
        entry = history.Entry(what=history.What.DECISION, app=APP, lineage="0" * 16, body=body)
        book.record(state.clock(home.places), [entry])
    for words in (["log"], ["list"], ["show", APP], ["show", evil], ["grant", APP, evil]):
        _, out, err = control.run(home, *words)
        assert not {"\x1b", "\u202e", "\r"} & {*out, *err}, words
    assert "\\x1b[2J" in control.done(home, "log")


def test_an_alias_changes_one_app_only(home: world.World) -> None:
    must_work(shutil.which("qalc") and shutil.which("gnome-calculator"), "two calculators")
    assert control.code(home, "revoke", "calculator") == "alias-ambiguous"
    assert control.code(home, "forget", "calculator") == "alias-ambiguous"
    assert control.data(home, "show", "calculator")["app"] == "io.github.Qalculate.qalc"
    control.done(home, "revoke", "qalc", "rates")
    assert {each.intent_id for each in control.decisions(home, "io.github.Qalculate.qalc")} == {"rates"}


# Command line


def keys(document: object) -> set[str]:
    """Every key of a JSON document, at any depth."""
    if isinstance(document, list):
        return set().union(*map(keys, document))
    return set(document).union(*map(keys, document.values())) if isinstance(document, dict) else set()


def test_help_names_every_key_of_the_json(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    file = home.base / "decisions.json"
    file.write_text(control.done(home, "export"))
    commands = [
        ["list", "--all"], ["show", APP], ["grant", APP, "net"], ["revoke", APP, "net"], ["log"], ["ps"], ["show", APP],
        ["trust", "list"], ["trust", "show", APP], ["trust", "accept", APP, control.fingerprint(OTHER_KEY)], ["doctor"],
        ["trust", "rekey", APP], ["explain", APP], ["why", APP, "HOME"], ["reach", APP], ["forget", APP, "--data"],
        ["choose", APP, "net"], ["choose", APP, "net", "allow"],
        ["uses"], ["who"], ["who", "path"], ["undo"], ["verify-log"], ["export"], ["import", str(file), "--dry-run"],
    ]  # fmt: skip
    scopes = {"kind", "place", "access", "scope"}
    for words in commands:
        status, out, _ = control.run(home, *words, "--json")
        found = keys(json.loads(out))
        assert "error" not in found and status == (1 if words == ["doctor"] and status else 0)
        told = control.helped(*(word for word in words[:2] if word.replace("-", "").isalpha()))
        unnamed = found - set(re.findall(r"[a-z_]+", told[told.index("JSON: ") :])) - scopes
        assert words == ["log"] or not unnamed, words


@pytest.mark.parametrize("words", [[], ["frob"], ["grant", APP], ["list", "--al"], ["trust"], ["stop"]])
def test_a_wrong_command_line_is_status_2(home: world.World, words: list[str]) -> None:
    status, out, err = control.run(home, *words)
    assert (status, out) == (2, "") and "[usage]" in err
    status, out, err = control.run(home, *words, "--json")
    assert (status, err) == (2, "") and json.loads(out)["error"]["code"] == "usage"


@pytest.mark.parametrize("ending", ["| :", ">&-"])
def test_it_is_no_error_when_nobody_listens(home: world.World, ending: str) -> None:
    program = f"from broker import ctl, state; state._home = lambda _: {str(home.home)!r}; raise SystemExit(ctl.main())"
    line = f'"$0" -c "$1" list --all --json {ending}; echo "$?"'
    done = subprocess.run(
        ["/bin/sh", "-c", line, sys.executable, program],
        env={**home.environ, "PYTHONPATH": str(world.ROOT)},
        capture_output=True,
        timeout=world.LIMIT,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


def test_an_unusable_journal_is_said_and_can_be_set_aside(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    database = pathlib.Path(home.places.state, journal.DATABASE)
    database.unlink()
    assert control.code(home, "list") == "journal-missing"
    assert control.code(home, "grant", APP, "net") == "journal-missing"
    moved = control.data(home, "doctor", "--new-journal")["set_aside"]
    assert isinstance(moved, list) and moved
    assert control.done(home, "list") == "Nothing is decided yet.\n"


def test_the_launch_agrees_with_what_was_granted(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    with home.here(), journal.Journal.open(home.places) as book:
        app: apps.App = home.load()
        change = app.delta(book, state.clock(home.places)).changes[1]
    assert [scope.data() for scope in change.granted] == [{"place": "home/Notes", "access": "read"}]
