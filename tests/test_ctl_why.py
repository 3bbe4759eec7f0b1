"""intent-ctl explain and why: that they show the sandbox a start now would get, and what would change it."""

import json
import os
import pathlib
from collections.abc import Iterator

import pytest

from broker import journal, state, why
from intents import bwrap, compiler, decide
from tests import control
from tests.control import APP
from tests.real import world

INTENTS: dict[str, dict[str, object]] = {
    "net": {"kind": "network", "scope": "host"},
    "names": {"kind": "dns", "scope": "any"},
    "notes": {"kind": "path", "place": "home/Notes", "access": "read"},
    "keys": {"kind": "path", "place": "home/.ssh", "access": "write"},
    "conf": {"kind": "path", "place": "home/.config/kdeglobals", "access": "read"},
    "editor": {"kind": "env", "names": ["EDITOR"]},
    "fuse": {"kind": "device", "nodes": ["/dev/fuse"]},
    "tell": {"kind": "notifications"},
}


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with files that the app's intents are about."""
    with control.home() as made:
        for name in (".ssh", ".config", "Notes"):
            (made.home / name).mkdir(exist_ok=True)
        for name in (".ssh/id", ".config/kdeglobals", "Notes/one"):
            (made.home / name).write_text("content")
        made.environ |= {"EDITOR": "vi", "SECRET": "of the user"}
        made.install(world.manifest(["/bin/true"], INTENTS, serial=2))
        yield made


def asked(home: world.World, *words: str, allowed: bool) -> dict[str, object]:
    """The answer of ``why``, whose exit status is the answer."""
    return control.data(home, "why", APP, *words, status=0 if allowed else 1)


def grant(home: world.World, *names: str) -> None:
    control.done(home, "grant", APP, *names, "--for", "forever", *(f"--confirm={name}" for name in names))


def commands(answer: dict[str, object]) -> list[str]:
    found = answer["grants"]
    assert isinstance(found, list)
    return [row["command"] for row in found]


def test_explain_shows_the_launch_group_by_group(home: world.World) -> None:
    grant(home, "net", "notes")
    told = control.data(home, "explain", APP)
    assert isinstance(told["groups"], list)
    groups = {group["group"]: group for group in told["groups"]}
    assert list(groups) == ["base", *INTENTS]
    assert {"part": "bubblewrap", "words": ["--share-net"]} in groups["net"]["options"]
    assert [row["source"] for row in groups["notes"]["decisions"]] == ["command"]
    assert [group["group"] for group in told["groups"] if not group["options"]] == [
        name for name in INTENTS if name not in ("net", "notes")
    ]
    app = home.load()
    with journal.Journal.open(home.places) as book:
        box = compiler.compile_sandbox(decide.settle(app.delta(book, state.clock(home.places))), app.host).sandbox
    launched = sorted(list(words) for _, words in bwrap.arguments(box, app.host))
    options = [option for group in told["groups"] for option in group["options"]]
    assert sorted(option["words"] for option in options if option["part"] == "bubblewrap") == launched
    text = control.done(home, "explain", APP)
    assert "\nnet: you allowed it always\n  decision " in text and "\n  --share-net\n" in text
    assert "\nkeys: nobody has answered yet\n" in text


def test_explain_says_what_stops_a_start(home: world.World) -> None:
    home.install(world.manifest(["/bin/true"], INTENTS, serial=3).replace("optional = true", "optional = false", 1))
    assert control.data(home, "explain", APP)["missing"] == ["net"]
    assert "does not start without it: net" in control.done(home, "explain", APP)
    grant(home, "tell")
    withheld = control.data(home, "explain", APP)["withheld"]
    assert isinstance(withheld, list) and withheld[0]["intent"] == "tell" and withheld[0]["code"] == "no-bus"


def test_a_path_names_its_grant_and_then_its_line(home: world.World) -> None:
    where = str(home.home / "Notes" / "one")
    before = asked(home, where, allowed=False)
    assert commands(before) == [f"intent-ctl grant {APP} notes"] and before["access"] is None
    grant(home, "notes")
    after = asked(home, where, allowed=True)
    assert (after["access"], after["source"]) == ("read", where)
    assert isinstance(after["lines"], list)
    assert after["lines"][0]["group"] == "notes" and after["lines"][0]["decisions"][0]["source"] == "command"
    assert asked(home, "home/Notes", allowed=True)["access"] == "read"
    assert asked(home, where, "--write", allowed=False)["grants"] == []
    text = control.run(home, "why", APP, where)[1]
    assert text.startswith("yes, it can read it, and not change it.\n  decides   read ")


def test_a_file_that_is_not_there_can_be_made_or_not(home: world.World) -> None:
    grant(home, "keys", "notes")
    assert asked(home, "home/.ssh/new", "--write", allowed=True)["access"] == "write"
    assert "can make one" in str(asked(home, "home/.ssh/new", allowed=False)["says"])
    assert asked(home, "home/Notes/new", "--write", allowed=False)["access"] is None
    (home.home / ".ssh").chmod(0o500)
    asked(home, "home/.ssh/new", "--write", allowed=False)


def test_the_command_it_names_is_enough(home: world.World) -> None:
    questions = [
        [str(home.home / ".ssh" / "id"), "--write"], ["home/.config/kdeglobals"], ["www.example.org:443"], ["10.1.2.3"],
        ["localhost"], ["EDITOR"], ["$EDITOR"],
    ]  # fmt: skip
    questions += [["/dev/fuse"]] if os.path.exists("/dev/fuse") else []
    for question in questions:
        (command,) = commands(asked(home, *question, allowed=False))
        control.done(home, *command.split()[1:], "--for", "forever")
        asked(home, *question, allowed=True)
        control.done(home, "forget", APP)


def test_a_grant_among_the_apps_own_files_is_found_by_its_own_name(home: world.World) -> None:
    grant(home, "conf")
    answer = asked(home, str(home.home / ".config" / "kdeglobals"), allowed=True)
    assert answer["source"] == str(home.home / ".config" / "kdeglobals")
    assert ".granted" in str(answer["lines"])


def test_what_the_app_has_of_its_own_is_not_yours(home: world.World) -> None:
    (home.home / ".config" / "own").write_text("of the user")
    for where in ("home/.config/own", "/etc/passwd", "/tmp"):
        assert "it does not see yours" in str(asked(home, where, allowed=False)["says"]), where
    start = home.start()
    assert start.returncode == 0
    home.own("config").joinpath("mine").write_text("of the app")
    assert asked(home, "home/.config/mine", allowed=True)["source"] == str(home.own("config") / "mine")
    home.own("config").joinpath("own").write_text("of the app")
    asked(home, "home/.config/own", allowed=False)


def test_a_file_can_be_named_where_the_app_takes_files(home: world.World) -> None:
    file = home.home / "Pictures of it"
    file.write_text("content")
    assert asked(home, str(file), allowed=False)["named"] is None
    home.install(world.manifest(["/bin/cat"], INTENTS, serial=3, files="read"))
    assert asked(home, str(file), allowed=False)["named"] is None, "an update takes nothing by itself"
    control.done(home, "grant", APP, "app.files")
    command = str(asked(home, str(file), allowed=False)["named"])
    assert command == f"intent-run {APP} '{file}'"
    assert home.says(str(file)) == "content"
    assert asked(home, str(home.home), allowed=False)["named"] is None, "directories are not given so"
    assert asked(home, f"{home.places.state}/broker.db", allowed=False)["named"] is None
    out = control.run(home, "why", APP, str(file), "--write")[1]
    assert f"this once intent-run --write {APP} '{file}'" in out


def test_a_link_is_followed_as_the_app_would_follow_it(home: world.World) -> None:
    (home.home / "Notes" / "out").symlink_to(home.home / ".ssh" / "id")
    (home.home / "Notes" / "again").symlink_to("one")
    (home.home / "way").symlink_to("Notes")
    grant(home, "notes")
    assert commands(asked(home, "home/Notes/out", allowed=False)) == [f"intent-ctl grant {APP} keys --confirm keys"]
    assert asked(home, "home/Notes/again", allowed=True)["source"] == str(home.home / "Notes" / "one")
    assert asked(home, "home/way/one", allowed=True)["source"] == str(home.home / "Notes" / "one")


def test_the_files_own_permissions_count(home: world.World) -> None:
    grant(home, "notes")
    (home.home / "Notes" / "one").chmod(0o000)
    assert "permissions of the file itself" in str(asked(home, "home/Notes/one", allowed=False)["says"])
    (home.home / "Notes" / "closed").mkdir(mode=0o000)
    assert not why.may(str(home.home / "Notes" / "closed" / "in"), os.R_OK)


def test_what_no_answer_grants_is_said(home: world.World) -> None:
    home.install(world.manifest(["/bin/true"], {"all": {**INTENTS["notes"], "place": "home"}}, serial=3))
    grant(home, "all")
    asked(home, "home/Notes/one", allowed=True)
    answer = asked(home, f"{home.places.state}/broker.db", allowed=False)
    assert "belongs to intents itself" in str(answer["never"]) and answer["grants"] == []
    assert "belongs to the running system" in str(asked(home, "/run/dbus", allowed=False)["never"])
    assert "starts programs outside" in str(asked(home, "org.freedesktop.systemd1", allowed=False)["never"])
    assert "loads code" in str(asked(home, "LD_PRELOAD", allowed=False)["never"])
    assert asked(home, "SECRET", allowed=False)["never"] is None
    assert "no intent of this app asks for it" in control.run(home, "why", APP, "SECRET")[1]


def test_the_network_says_how_names_are_looked_up(home: world.World) -> None:
    assert "no network" in str(asked(home, "www.example.org", allowed=False)["says"])
    grant(home, "names")
    asked(home, "www.example.org", allowed=False)
    grant(home, "net")
    if os.path.exists("/etc/resolv.conf"):
        assert "can look the name up" in str(asked(home, "https://www.example.org/x", allowed=True)["says"])
    control.done(home, "revoke", APP, "names")
    assert "can ask a name server itself" in str(asked(home, "www.example.org", allowed=True)["says"])
    assert "listens on this machine" in str(asked(home, "[::1]:80", allowed=True)["says"])


def test_the_environment(home: world.World) -> None:
    grant(home, "editor")
    assert "set now" in str(asked(home, "EDITOR", allowed=True)["says"])
    del home.environ["EDITOR"]
    assert "not set now" in str(asked(home, "EDITOR", allowed=True)["says"])
    assert str(home.home) in str(asked(home, "HOME", allowed=True)["says"])


def test_an_intent_that_cannot_be_given_here_is_not_passed_over(home: world.World) -> None:
    answer = asked(home, "org.freedesktop.Notifications", allowed=False)
    assert answer["withheld"] == [{"intent": "tell", "message": "the session bus does not answer here"}]
    out = control.run(home, "why", APP, "org.freedesktop.Notifications")[1]
    assert "no other intent of this app asks for it\n  withheld  tell: the session bus" in out


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("/etc/passwd", "path"), ("~/x", "path"), ("./x", "path"), ("home/x", "path"), ("xdg-documents/x", "path"),
        ("/dev/fuse", "path"), ("HOME", "variable"), ("$http_proxy", "variable"), ("localhost", "host"),
        ("www.example.org", "host"), ("192.0.2.1", "host"), ("::1", "host"), ("example.com:80", "host"),
        ("https://example.com/", "host"), ("org.example.Service", "bus"), ("ca.desrt.dconf", "bus"),
        ("org.example.*", "bus"), (":1.5", "bus"),
    ],
)  # fmt: skip
def test_what_a_word_looks_like(text: str, sort: str) -> None:
    assert why.sort_of(text) == sort


def test_it_can_be_told_what_is_meant(home: world.World) -> None:
    assert asked(home, "org.example.net", "--as", "host", allowed=False)["sort"] == "host"
    assert control.run(home, "why", APP, "x", "--as", "thing")[0] == 2
    assert control.code(home, "why", "org.example.Nothing", "/tmp") == "unknown-app"


def test_nothing_is_left_and_nothing_started(home: world.World) -> None:
    def everything() -> list[str]:
        left = (str(path) for path in home.base.rglob("*"))
        return sorted(path for path in left if not path.endswith(("-shm", "-wal")))

    control.data(home, "list")
    before, log = everything(), control.data(home, "log")
    control.data(home, "explain", APP)
    asked(home, "home/Notes", allowed=False)
    assert everything() == before and control.data(home, "log") == log


def test_odd_questions_are_answered(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("/x\udcff", "/" + "x" * 5000, "/" + "x/" * 3000, "", "/", "//", "~", "$", ":", ".", "[", "://"):
        status, _, err = control.run(home, "why", APP, word)
        assert (status in (0, 1), err) == (True, ""), word
    gone = home.base / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status, _, err = control.run(home, "why", APP, "./x")
    assert status == 2 and "[usage]" in err


def test_nothing_that_was_asked_moves_the_cursor(home: world.World) -> None:
    evil = "/x\x1b[2J\u202e"
    pathlib.Path(f"{home.home}/Notes/\x1b[2J").write_text("")
    grant(home, "notes")
    for word in (evil, "home/Notes/\x1b[2J", f"${evil}", f"org.x.{evil}"):
        _, out, err = control.run(home, "why", APP, word)
        assert not {"\x1b", "\u202e"} & {*out, *err}, word
    assert json.loads(control.run(home, "why", APP, evil, "--json")[1])["asked"] == evil


SERVERS: dict[str, dict[str, object]] = {
    "net": {"kind": "network", "connect": ["www.example.org:443", "*.deep.example:80", "192.168.1.0/24:631"]},
    "later": {"kind": "network", "connect": ["asked.example:22"], "ask": "on-use"},
    "more": {"kind": "network", "connect": ["more.example:443", "time.example:123/udp"]},
}


@pytest.mark.parametrize(
    ("server", "allowed", "says", "intent"),
    [
        ("www.example.org", True, "looks the name up and reaches it at port 443", ""),
        ("WWW.example.org.:443", True, "reaches it at port 443", ""),
        ("https://www.example.org/page", True, "port 443", ""),
        ("http://www.example.org/page", False, "reaches it at port 443 alone", ""),
        ("a.b.deep.example:80", True, "port 80", ""),
        ("deep.example:80", False, "there is no such name", ""),
        ("192.168.1.7:631", True, "reaches it at port 631", ""),
        ("192.168.2.7:631", False, "no way to that address", ""),
        ("[2001:db8::1]:443", False, "no way to that address", ""),
        ("asked.example:22", False, "you are asked when it first tries port 22", "later"),
        ("more.example", False, "there is no such name", "more"),
        ("time.example:123/udp", False, "there is no such name", "more"),
        ("127.0.0.1:631", False, "there it finds itself", ""),
        ("evil.example", False, "there is no such name", ""),
    ],
)
def test_a_server_is_reached_by_a_rule_about_it(
    home: world.World, server: str, allowed: bool, says: str, intent: str
) -> None:
    home.install(world.manifest(["/bin/true"], SERVERS, serial=3))
    grant(home, "net")
    told = asked(home, server, "--as", "host", allowed=allowed)
    assert says in str(told["says"])
    assert [row["intent"] for row in told["grants"]] == ([intent] if intent else [])  # type: ignore[attr-defined]
    if intent:
        grant(home, intent)
        asked(home, server, "--as", "host", allowed=True)
