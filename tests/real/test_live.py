"""Permissions of a running app, given and taken without a restart; what stays open is said."""

import json
from collections.abc import Iterator

import pytest

from broker import host, inside, live, mounts, runs
from intents import sandbox
from tests import control
from tests.control import APP
from tests.real import lively, peers, world

pytestmark = pytest.mark.real


def access(place: str, how: str = "read") -> dict[str, object]:
    return {"kind": "path", "place": place, "access": how}


INTENTS = {
    "docs": access("home/Documents", "write"),
    "pics": access("home/Pictures"),
    "colours": access("xdg-config/colours"),
    "new": access("home/New/er", "create"),
    "letter": access("home/letter"),
    "net": control.NETWORK,
}
FILES = ("docs", "pics", "colours", "new", "letter")
CONFIRMED = [word for intent in (*FILES, "net") for word in ("--confirm", intent)]


@pytest.fixture
def home() -> Iterator[world.World]:
    with world.world() as made:
        for name in ("Documents", "Pictures", ".config/colours"):
            (made.home / name).mkdir(parents=True)
            (made.home / name / "file").write_text(f"this is {name}")
        (made.home / "letter").write_text("dear")
        made.install(world.manifest(world.SHELL, INTENTS, interface="window"))
        yield made


def now(home: world.World, *words: str, status: int = 0) -> dict[str, list[dict[str, object]]]:
    """``grant`` or ``revoke`` with ``--now``: what became of the one instance."""
    (row,) = control.data(home, words[0], APP, *words[1:], "--now", status=status)["now"]  # type: ignore[misc]
    assert isinstance(row, dict)
    return row


def grant(home: world.World, *intents: str, status: int = 0) -> dict[str, list[dict[str, object]]]:
    return now(home, "grant", *intents, "--for", "forever", *CONFIRMED, status=status)


def places(row: dict[str, list[dict[str, object]]], home: world.World) -> dict[str, tuple[object, object]]:
    """Each place that changed, below the home, with how it was and is."""
    return {
        str(each["place"]).removeprefix(f"{home.home}/"): (each["before"], each["after"]) for each in row["changed"]
    }


def test_a_grant_appears_and_a_revocation_is_gone_at_once(home: world.World) -> None:
    table = mounts.read()
    with lively.running(home) as app:
        documents, pictures = home.home / "Documents", home.home / "Pictures"
        assert app.reaches(documents) == app.reaches(pictures) == (False, False)
        changed = places(grant(home, "docs", "pics"), home)
        assert changed == {"Documents": (None, "write"), "Pictures": (None, "read")}
        assert app.reaches(documents) == (True, True) and app.reaches(pictures) == (True, False)
        assert app.says("cat ~/Documents/file ~/Pictures/file") == "this is Documentsthis is Pictures"
        app.says("echo x >~/Documents/new; echo x >~/Pictures/new")
        assert (documents / "new").exists() and not (pictures / "new").exists()
        row = now(home, "revoke", "docs")
        assert places(row, home) == {"Documents": ("write", None)} and row["open"] == row["later"] == []
        assert app.reaches(documents) == (False, False) and app.reaches(pictures) == (True, False)
        assert "No such file" in app.says("ls ~/Documents")
        assert (documents / "file").read_text() == "this is Documents"
    assert mounts.read() == table, "nothing is mounted here"


def test_the_same_is_mounted_as_at_a_start(home: world.World) -> None:
    """Revoked and granted again is the same view, and granted while it runs the same as granted before."""
    with lively.running(home) as app:
        bare = app.mounts()
        grant(home, *FILES)
        given = app.mounts()
        for intent in FILES:
            now(home, "revoke", intent)
            grant(home, intent)
            assert app.mounts() == given, intent
        now(home, "revoke", *FILES)
        assert app.mounts() == bare
        grant(home, *FILES)
    with lively.running(home) as app:
        assert app.mounts() == given
        assert app.says("cat ~/.config/colours/file ~/letter; readlink ~/.config/colours").startswith(
            f"this is .config/coloursdear{home.home}/.granted/.config/colours"
        )
        now(home, "revoke", *FILES)
        assert app.mounts() == bare


def test_what_is_given_live_is_no_more_than_at_a_start(home: world.World) -> None:
    with lively.running(home) as app:
        grant(home, "docs", "new", "colours")
        assert app.says("cat ~/.config/colours/file; readlink ~/.config/colours") == (
            f"this is .config/colours{home.home}/.granted/.config/colours\n"
        )
        assert (home.home / "New" / "er").stat().st_mode & 0o777 == 0o700
        options = {row[2]: row[3] for row in app.mounts()}
        assert {"nosuid", "nodev"} <= set(options[f"{home.home}/Documents"].split(","))
        assert app.says("umount ~/Documents 2>/dev/null && echo out").strip() == ""


def test_what_stays_open_is_counted_and_named(home: world.World) -> None:
    home.decide("docs")
    with lively.running(home) as app:
        hold = """exec 5<~/Documents/file 6>>~/Documents/out; cd ~/Documents
            /usr/bin/python3 -I -S -c 'import mmap, time
f = open("file", "rb"); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); f.close()
open("up", "w").close(); time.sleep(99)
' 5<&- 6>&- &"""
        app.says(hold)
        peers.eventually((home.home / "Documents" / "up").exists, "the mapping")
        row = now(home, "revoke", "docs")
        found = {(held["sort"], str(held["place"]).removeprefix(f"{home.home}/")) for held in row["open"]}
        assert {("file", "Documents/file"), ("file", "Documents/out"), ("mapping", "Documents/file")} <= found
        assert ("working-directory", "Documents") in found
        writable = {held["place"] for held in row["open"] if held["sort"] == "file" and held["writable"]}
        assert writable == {f"{home.home}/Documents/out"}
        app.says("echo late >&6")
        assert (home.home / "Documents" / "out").read_text() == "late\n", "what is said to stay open does"
        said = control.done(home, "revoke", APP, "docs", "--now")
        assert "docs" in said


def test_another_grant_that_gives_less_is_what_remains(home: world.World) -> None:
    (home.home / "link").symlink_to("Documents")
    intents = {"docs": access("home/Documents", "write"), "link": access("home/link")}
    home.install(world.manifest(world.SHELL, intents, interface="window", serial=2))
    home.decide()
    documents = home.home / "Documents"
    with lively.running(home) as app:
        assert app.reaches(documents) == (True, True)
        assert places(now(home, "revoke", "docs"), home) == {"Documents": ("write", "read")}
        assert app.reaches(documents) == (True, False)
        assert places(grant(home, "docs"), home) == {"Documents": ("read", "write")}
        assert app.reaches(documents) == (True, True)
        app.says("exec 6>>~/Documents/out")  # mount_setattr(2) cannot narrow while this is open: EBUSY
        row = now(home, "revoke", "docs")
        assert places(row, home) == {"Documents": ("write", "read")}
        assert {held["place"] for held in row["open"]} == {f"{documents}/out"}
        assert app.reaches(documents) == (True, False)
        app.says("echo late >&6; echo x >~/Documents/new")
        assert (documents / "out").read_text() == "late\n" and not (documents / "new").exists()


def test_what_cannot_be_taken_is_said_and_the_app_ended_if_asked(home: world.World) -> None:
    home.decide("net", "docs")
    with lively.running(home) as app:
        row = now(home, "revoke", "net", status=1)
        assert row["later"] == [{"intent": "net", "why": "the host's own network stays until it ends"}]
        status, said, _ = control.run(home, "revoke", APP, "net", "--now")
        assert status == 1 and f"intent-ctl stop {app.instance.pid}" in said
        (row,) = control.data(home, "revoke", APP, "docs", "--stop")["now"]  # type: ignore[misc]
        assert row["stopped"] is False and app.again(), "nothing of docs stays, so it need not end"
        (row,) = control.data(home, "revoke", APP, "net", "--stop")["now"]  # type: ignore[misc]
        assert row["stopped"] is True and app.instance.members() == ()


def test_what_cannot_be_given_waits_for_the_next_start(home: world.World) -> None:
    with lively.running(home) as app:
        row = grant(home, "net", "docs")
        assert [each["intent"] for each in row["later"]] == ["net"]
        assert str(row["later"][0]["why"]).endswith("at its next start")
        assert app.reaches(home.home / "Documents") == (True, True)
        assert control.states(home)["net"] == "allowed"


def test_ps_and_show_tell_what_is_mounted_and_not_what_was_granted(home: world.World) -> None:
    home.decide("docs")
    with lively.running(home) as app:
        (row,) = control.data(home, "ps")["instances"]  # type: ignore[misc]
        assert (row["given"], row["drift"]) == (["docs"], [])
        control.done(home, "revoke", APP, "docs")
        (row,) = control.data(home, "ps")["instances"]  # type: ignore[misc]
        assert row["drift"] == [], "denied, and still there: that is the truth"
        now(home, "revoke", "docs")
        grant(home, "pics")
        (row,) = control.data(home, "show", APP)["running"]  # type: ignore[misc]
        drift = {(each["intent"], each["before"], each["after"]) for each in row["drift"]}
        assert drift == {("docs", "write", None), ("pics", None, "read")}
        said = control.done(home, "ps")
        assert "docs: ~/Documents: gone from it" in said
        assert "pics: ~/Pictures: there now, to be read" in said
        assert app.again().given == ("docs",)


def test_every_instance_is_changed_and_no_other_app(home: world.World) -> None:
    home.decide("docs")
    other = world.manifest(world.SHELL, {"docs": INTENTS["docs"]}, app_id="org.example.Other", interface="window")
    home.install(other)
    home.decide(app_id="org.example.Other")
    with (
        lively.running(home) as one,
        lively.running(home) as two,
        lively.running(home, app_id="org.example.Other") as three,
    ):
        rows = control.data(home, "revoke", APP, "docs", "--now")["now"]
        assert isinstance(rows, list) and {row["pid"] for row in rows} == {one.instance.pid, two.instance.pid}
        reached = [app.reaches(home.home / "Documents")[0] for app in (one, three)]
        assert reached == [False, True]


def test_what_was_given_by_an_older_manifest_is_taken(home: world.World) -> None:
    """The record knows what the app was started with; the manifest may ask for something else by now."""
    home.decide("docs")
    with lively.running(home) as app:
        newer = {"docs": access("home/Pictures"), "pics": access("home/Music")}
        home.install(world.manifest(world.SHELL, newer, interface="window", serial=2))
        row = now(home, "revoke", "docs")
        assert places(row, home) == {"Documents": ("write", None)}
        assert app.reaches(home.home / "Documents") == (False, False)


def test_a_reserved_place_below_a_live_grant_stays_hidden(home: world.World, monkeypatch: pytest.MonkeyPatch) -> None:
    wide, canary = home.base / "wide", home.base / "wide" / "reserved" / "canary"
    canary.parent.mkdir(parents=True)
    canary.write_text("reserved")
    (wide / "file").write_text("shown")
    monkeypatch.setattr(host, "RESERVED", (*host.RESERVED, str(canary.parent)))
    start = f"from broker import host\nhost.RESERVED = {host.RESERVED!r}"
    home.install(world.manifest(world.SHELL, {"wide": access(str(wide))}, interface="window", serial=2))
    with lively.running(home, removed=start) as app:
        control.done(home, "grant", APP, "wide", "--now", "--for", "forever", "--confirm", "wide")
        given = app.mounts()
        assert app.says(f"cat {wide}/file; ls -A {wide}/reserved 2>&1; cat {canary} 2>/dev/null").startswith("shown")
        assert app.reaches(canary) == (False, False)
    with lively.running(home, removed=start) as app:
        assert app.mounts() == given
    monkeypatch.setattr(live, "_wanted", lambda op, _box: live._Wanted(piece=_piece(op)))
    with lively.running(home, removed=start) as app:
        now(home, "revoke", "wide")
        control.done(home, "grant", APP, "wide", "--now", "--confirm", "wide")
        assert app.reaches(canary)[0], "without its masks it is seen"


def _piece(op: sandbox.Bind) -> runs.Piece:
    return runs.Piece(intent=op.because, dest=op.dest, source=op.source, how=op.access.value, since=True)


def test_what_stood_on_a_place_that_is_taken_comes_back_with_its_masks(
    home: world.World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, inner = home.base / "wide", home.base / "wide" / "inner"
    canary = inner / "reserved" / "canary"
    canary.parent.mkdir(parents=True)
    for file in (canary, inner / "file", wide / "file"):
        file.write_text("shown")
    monkeypatch.setattr(host, "RESERVED", (*host.RESERVED, str(canary.parent)))
    start = f"from broker import host\nhost.RESERVED = {host.RESERVED!r}"
    (home.home / "link").symlink_to(inner)
    intents = {"wide": access(str(wide)), "inner": access("home/link")}
    home.install(world.manifest(world.SHELL, intents, interface="window", serial=2))
    home.decide()
    with lively.running(home, removed=start) as app:
        assert app.reaches(wide / "file") == app.reaches(inner / "file") == (True, False)
        now(home, "revoke", "wide")
        assert app.reaches(wide / "file") == (False, False)
        assert app.reaches(inner / "file") == (True, False), "another grant gives that"
        assert app.reaches(canary) == (False, False)
        given = app.mounts()
    with lively.running(home, removed=start) as app:
        assert app.mounts() == given


def test_names_are_taken_and_what_that_is_worth_is_said(home: world.World) -> None:
    intents = {"net": control.NETWORK, "names": {"kind": "dns", "scope": "any"}}
    home.install(world.manifest(world.SHELL, intents, interface="window", serial=2))
    home.decide()
    with lively.running(home) as app:
        row = now(home, "revoke", "names", status=1)
        assert "/etc/resolv.conf" in {each["place"] for each in row["changed"]}
        assert row["later"] == [{"intent": "names", "why": "with the whole network it can ask a name server itself"}]
        assert app.reaches("/etc/resolv.conf") == (False, False)


def test_the_record_of_another_sandbox_opens_no_door(home: world.World) -> None:
    home.decide("docs")
    with lively.running(home) as app:
        for name, _ in app.instance.namespaces:
            wrong = tuple((each, inode + (each == name)) for each, inode in app.instance.namespaces)
            fake = runs.Instance(**{**_fields(app.instance), "namespaces": wrong})
            with pytest.raises(ProcessLookupError), inside.door(fake):
                pass
            assert live.drift(fake) is None
        gone = runs.Instance(**{**_fields(app.instance), "first": 1 << 22})
        with pytest.raises(FileNotFoundError), inside.door(gone):
            pass


def _fields(instance: runs.Instance) -> dict[str, object]:
    return {name: getattr(instance, name) for name in runs.Instance.__dataclass_fields__}


def test_json_of_both_commands_has_the_documented_keys(home: world.World) -> None:
    home.decide("docs")
    assert control.data(home, "revoke", APP, "docs")["now"] is None
    assert control.data(home, "grant", APP, "docs", *CONFIRMED)["now"] is None
    with lively.running(home):
        row = now(home, "revoke", "docs")
        assert set(row) == {"pid", "sandbox_pid", "changed", "closed", "also", "open", "later", "servers", "stopped"}
        json.dumps(row)


def test_what_an_update_named_otherwise_is_taken_all_the_same(home: world.World) -> None:
    """The intents of the update have the names that its author likes; what was given is what is taken."""
    home.decide("docs", "pics", "net")
    with lively.running(home) as app:
        assert app.reaches(home.home / "Documents") == (True, True)
        swapped = {"papers": INTENTS["docs"], "docs": INTENTS["pics"], "web": INTENTS["net"]}
        home.install(world.manifest(world.SHELL, swapped, interface="window", serial=2))
        row = now(home, "revoke", "papers", "web", status=1)
        assert places(row, home) == {"Documents": ("write", None)}
        assert app.reaches(home.home / "Documents") == (False, False)
        assert app.reaches(home.home / "Pictures") == (True, False), "the rest stays"
        assert {each["intent"] for each in row["later"]} == {"web"}, "it keeps the network, and that is said"


def test_what_is_still_reached_through_more_is_said(home: world.World) -> None:
    (home.home / "Documents" / "deep").mkdir()
    home.decide("docs")
    with lively.running(home) as app:
        less = {"deep": access("home/Documents/deep", "write")}
        home.install(world.manifest(world.SHELL, less, interface="window", serial=2))
        row = now(home, "revoke", "deep", status=1)
        assert app.reaches(home.home / "Documents" / "deep") == (True, True)
        assert [each["intent"] for each in row["later"]] == ["deep"]
