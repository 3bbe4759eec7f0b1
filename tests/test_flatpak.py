"""Flatpak's permissions as intents: each kind of token, negatives, limits, and all that Flathub ever asked for."""

import json
import lzma
import pathlib
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import authoring, errors, flatpak, kinds, model, parse
from tests.benchmarks import compile as compile_benchmark

APP = "org.example.App"
CORPUS = pathlib.Path(__file__).parent / "corpora" / "flathub-finish-args.jsonl.xz"


def manifest(found: flatpak.Imported, app_id: str = APP) -> model.Manifest:
    """What was found, written as a manifest and read by the parser that counts."""
    body = authoring.imported(app_id=app_id, name="App", program="/usr/bin/app", found=found)
    return parse.parse(body.encode(), file="imported")


def held(app_id: str, tokens: list[str]) -> flatpak.Imported:
    """The import, held to what is true of every one."""
    found = flatpak.from_flatpak(app_id, tokens)
    assert [note.token for note in found.notes] == tokens
    for note in found.notes:
        assert note.outcome in flatpak.OUTCOMES
        assert note.said
        # Why, and what to do instead.
        assert note.outcome is not flatpak.WARNED or ": " in note.said
    read = manifest(found, app_id)
    assert read.intents == found.intents
    names = {intent.id for intent in found.intents}
    # Every intent goes back to a token, and every token that names one names one that is there.
    assert {name for note in found.notes for name in note.intents} == names
    assert flatpak.from_flatpak(app_id, tokens * 2).intents == found.intents
    return found


def one(*tokens: str, app_id: str = APP) -> tuple[flatpak.rows.Outcome, list[dict[str, object]]]:
    """How the last token ends, and all scopes that are asked for."""
    found = held(app_id, list(tokens))
    return found.notes[-1].outcome, [kinds.to_data(intent.scope) for intent in found.intents]


EXACT, TIGHTER, WARNED = flatpak.EXACT, flatpak.TIGHTER, flatpak.WARNED
WAYLAND = {"kind": "display", "protocol": "wayland"}
X11 = {"kind": "display", "protocol": "x11"}
HOME = {"kind": "path", "place": "home", "access": "write"}
MEDIA = {"kind": "path", "place": "removable", "access": "write"}
TRAY, SECRETS, GPU = {"kind": "tray"}, {"kind": "secrets"}, {"kind": "gpu"}


def path(place: str, access: str = "write") -> dict[str, object]:
    return {"kind": "path", "place": place, "access": access}


def talk(name: str, bus: str = "session") -> dict[str, object]:
    return {"kind": "dbus", "bus": bus, "talk": [name]}


CASES: list[tuple[list[str], flatpak.rows.Outcome, list[dict[str, object]]]] = [
    # Words.
    (["--share=network"], EXACT, [{"kind": "network", "scope": "host"}, {"kind": "dns", "scope": "any"}]),
    (["--share=ipc"], TIGHTER, []),
    (["--socket=x11", "--share=ipc"], TIGHTER, [X11]),
    (["--socket=x11", "--socket=fallback-x11", "--socket=wayland", "--share=ipc"], TIGHTER, [WAYLAND]),
    (["--socket=wayland", "--socket=fallback-x11"], TIGHTER, [WAYLAND]),
    (["--socket=fallback-x11"], TIGHTER, [X11]),
    (["--socket=wayland", "--socket=x11"], TIGHTER, [WAYLAND, X11]),
    (["--socket=session-bus"], WARNED, []),
    (["--socket=pulseaudio"], TIGHTER, [{"kind": "audio", "uses": ["playback"]}]),
    (["--device=dri"], TIGHTER, [GPU]),
    (["--device=dri", "--device=all"], WARNED, [GPU, {"kind": "camera"}, {"kind": "input"}]),
    (["--device=kvm"], EXACT, [{"kind": "device", "nodes": ["/dev/kvm"]}]),
    (["--allow=bluetooth"], EXACT, [{"kind": "socket-family", "families": ["bluetooth"]}]),
    (["--allow=devel"], EXACT, [{"kind": "debugging"}]),
    (["--device=unheard-of"], WARNED, []),
    # What takes back, in order.
    (["--socket=x11", "--nosocket=x11"], EXACT, []),
    (["--nosocket=wayland", "--socket=wayland"], EXACT, [WAYLAND]),
    (["--filesystem=~/a", "--nofilesystem=~/a/"], EXACT, []),
    (["--filesystem=~/a", "--filesystem=!home/a"], EXACT, []),
    (["--filesystem=~/a", "--filesystem=host", "--nofilesystem=host:reset"], EXACT, [path("home/a")]),
    (["--nofilesystem=~/.ssh", "--filesystem=home"], WARNED, []),
    (["--nofilesystem=xdg-music", "--filesystem=host"], WARNED, []),
    (["--talk-name=org.example.B", "--no-talk-name=org.example.B"], EXACT, []),
    (["--env=A=b", "--unset-env=A"], EXACT, []),
    # File systems.
    (["--filesystem=home"], TIGHTER, [HOME]),
    (["--filesystem=~:ro"], TIGHTER, [path("home", "read")]),
    (["--filesystem=host"], TIGHTER, [HOME, MEDIA]),
    (["--filesystem=host:ro", "--filesystem=home"], TIGHTER, [path("removable", "read"), HOME]),
    (["--filesystem=/run/media:create"], TIGHTER, [MEDIA]),
    (["--filesystem=/run/media/x"], WARNED, []),
    (["--filesystem=/media/x:ro", "--filesystem=host"], WARNED, [
        path("/media/x", "read"), path("home", "read"), path("removable", "read")]),
    (["--filesystem=xdg-music:ro"], EXACT, [path("xdg-music", "read")]),
    (["--filesystem=xdg-music:create"], EXACT, [path("xdg-music", "create")]),
    (["--filesystem=home", "--filesystem=xdg-music:ro"], TIGHTER, [path("home", "read")]),
    (["--filesystem=xdg-music:ro", "--filesystem=home"], WARNED, [path("home", "read")]),
    (["--filesystem=~/a/b:ro", "--filesystem=~/a"], WARNED, [path("home/a", "read")]),
    (["--filesystem=xdg-config/a:ro", "--filesystem=home"], TIGHTER, [path("xdg-config/a", "read"), HOME]),
    (["--filesystem=/opt/a:ro", "--filesystem=host"], TIGHTER, [path("/opt/a", "read"), HOME, MEDIA]),
    (["--nofilesystem=xdg-documents", "--filesystem=home"], WARNED, []),
    (["--filesystem=home:ro", "--filesystem=xdg-music"], EXACT, [path("home", "read"), path("xdg-music")]),
    (["--filesystem=home", "--filesystem=~/Games"], EXACT, [HOME]),
    (["--filesystem=home", "--filesystem=~/.config/a"], EXACT, [HOME, path("xdg-config/a")]),
    (["--filesystem=home", "--filesystem=~/.local/bin"], EXACT, [HOME, path("home/.local/bin")]),
    (["--filesystem=~/.local/bin"], EXACT, [path("home/.local/bin")]),
    (["--filesystem=~/.local/share/a//b/./c/"], EXACT, [path("xdg-data/a/b/c")]),
    (["--filesystem=xdg-config"], WARNED, []),
    (["--filesystem=~/.config/dconf:ro"], TIGHTER, []),
    (["--filesystem=xdg-run/dconf"], TIGHTER, []),
    (["--filesystem=xdg-run/keyring"], TIGHTER, [SECRETS]),
    (["--filesystem=xdg-run/app/com.example.Other:create"], WARNED, []),
    (["--filesystem=~/Saved\\ Games/a\\:b"], EXACT, [path("home/Saved Games/a:b")]),
    (["--filesystem=/mnt/x:ro"], EXACT, [path("/mnt/x", "read")]),
    (["--filesystem=/usr/share/x:ro"], EXACT, []),
    (["--filesystem=/sys/class/leds"], TIGHTER, [{"kind": "system-info"}]),
    (["--filesystem=/var"], WARNED, []),
    (["--filesystem=/var:ro"], EXACT, [path("/var", "read")]),
    *((["--filesystem=" + refused], WARNED, []) for refused in (
        "/", "/tmp", "/run/docker.sock", "/dev", "/proc", "/etc/ssh", "/var/tmp", "/home", "~/../x",
        "foo", "xdg-run", "host-etc", "/sys/module", "~/\x07",
    )),
    # Names.
    (["--talk-name=org.freedesktop.Notifications"], TIGHTER, [{"kind": "notifications"}]),
    (["--talk-name=org.freedesktop.secrets"], EXACT, [SECRETS]),
    (["--talk-name=org.kde.StatusNotifierWatcher", "--own-name=org.kde.StatusNotifierItem-2-1"], TIGHTER, [TRAY]),
    (["--talk-name=ca.desrt.dconf"], TIGHTER, []),
    (["--talk-name=org.a11y.Bus", "--filesystem=xdg-run/at-spi"], TIGHTER, [{"kind": "accessibility"}]),
    (["--talk-name=org.fcitx.Fcitx", "--talk-name=org.freedesktop.portal.IBus.*"], TIGHTER, [{"kind": "input-method"}]),
    (["--talk-name=org.freedesktop.portal.OpenURI"], TIGHTER, [{"kind": "open-uri"}]),
    (["--talk-name=org.freedesktop.portal.FileChooser", "--talk-name=org.freedesktop.portal.Documents"], TIGHTER, [
        {"kind": "files"}]),
    (["--talk-name=org.freedesktop.portal.Desktop"], WARNED, []),
    (["--talk-name=org.freedesktop.portal.*"], WARNED, []),
    (["--talk-name=org.freedesktop.Flatpak"], WARNED, []),
    (["--talk-name=org.freedesktop.*"], WARNED, []),
    (["--talk-name=nonsense"], WARNED, []),
    (["--talk-name=org.example.B"], EXACT, [talk("org.example.B")]),
    (["--talk-name=org.example.B", "--talk-name=org.example.B.*"], EXACT, [talk("org.example.B.*")]),
    (["--see-name=org.example.B"], EXACT, [{"kind": "dbus", "bus": "session", "see": ["org.example.B"]}]),
    (["--system-talk-name=org.freedesktop.UPower"], EXACT, [talk("org.freedesktop.UPower", "system")]),
    (["--system-talk-name=org.freedesktop.login1"], TIGHTER, [{
        "kind": "dbus", "bus": "system",
        "call": ["org.freedesktop.login1=org.freedesktop.login1.Manager.Inhibit@/org/freedesktop/login1"],
        "broadcast": [f"org.freedesktop.login1=org.freedesktop.login1.Manager.{signal}@/org/freedesktop/login1"
                      for signal in ("PrepareForShutdown", "PrepareForSleep")]}]),
    (["--system-talk-name=org.freedesktop.login1.Manager"], WARNED, []),
    (["--talk-name=org.freedesktop.DBus"], EXACT, []),
    (["--system-own-name=org.example.B"], WARNED, []),
    ([f"--own-name={APP}"], EXACT, [{"kind": "dbus", "bus": "session", "own": [APP]}]),
    ([f"--own-name={APP}.*"], TIGHTER, [{"kind": "dbus", "bus": "session", "own": [APP]}]),
    (["--own-name=org.kde.*"], WARNED, []),
    (["--own-name=org.mpris.MediaPlayer2.a"], EXACT, [{"kind": "media-control", "player": "a"}]),
    (["--own-name=org.mpris.MediaPlayer2.*"], WARNED, []),
    # The rest.
    (["--env=LC_NUMERIC=C"], EXACT, []),
    (["--env=PATH=/app/bin:/usr/bin"], WARNED, []),
    (["--env=A=\x07"], WARNED, []),
    (["--persist=.local/share/a"], EXACT, []),
    (["--persist=.thing"], EXACT, [{"kind": "persist", "names": [".thing"]}]),
    (["--persist=.thing/a", "--persist=~/.thing/b/"], EXACT, [{"kind": "persist", "names": [".thing"]}]),
    (["--persist=.b", "--persist=a"], EXACT, [{"kind": "persist", "names": [".b", "a"]}]),
    (["--persist=."], WARNED, []),
    (["--persist=.local/lib"], WARNED, []),
    (["--persist=../a"], WARNED, []),
    (["--filesystem=home", "--persist=.thing"], EXACT, [HOME]),
    (["--filesystem=~/.thing", "--persist=.thing"], EXACT, [path("home/.thing")]),
    (["--filesystem=~/.thing/a", "--persist=.thing"], WARNED, [path("home/.thing/a")]),
    (["--allow=multiarch"], EXACT, [{"kind": "multiarch", "scope": "sockets"}]),
    (["--require-version=1.0.0"], EXACT, []),
    (["--metadata=X-DConf=migrate-path=/org/example/"], WARNED, []),
    (["--socket-if=x11:has-gpu"], WARNED, []),
    (["--unheard-of=1"], WARNED, []),
    (["--share"], WARNED, []),
    (["--share="], WARNED, []),
    ([""], WARNED, []),
]  # fmt: skip


@pytest.mark.parametrize(("tokens", "outcome", "scopes"), CASES, ids=lambda value: " ".join(map(str, value))[:60])
def test_a_token(tokens: list[str], outcome: flatpak.rows.Outcome, scopes: list[dict[str, object]]) -> None:
    assert one(*tokens) == (outcome, scopes)


def test_every_row_of_the_tables_can_be_asked_for_and_says_what_it_says() -> None:
    words, names, places, other = flatpak.words, flatpak.names, flatpak.places, flatpak.environment
    tables = [words.SHARES, words.SOCKETS, words.DEVICES, words.FEATURES, names.SESSION, names.SYSTEM]
    tables += [places.RUNTIME, places.SYSTEM, places.WORDS, other.OTHER]
    for row in (row for table in tables for row in table.values()):
        assert flatpak.rows.allowed(row, "") == row
        assert row.outcome is not WARNED or ": " in row.said


def test_variables_are_set_by_the_command() -> None:
    found = held(APP, ["--env=A=b c", "--env=EMPTY=", "--env=A=last"])
    assert found.environment == (("A", "last"), ("EMPTY", ""))
    assert manifest(found).app.command == ("/usr/bin/env", "A=last", "EMPTY=", "/usr/bin/app")


def test_a_manifest_that_is_full_says_what_did_not_fit() -> None:
    many = [f"--filesystem=/srv/{number}" for number in range(70)]
    found = held(APP, many)
    assert len(found.intents) == parse.MAX_INTENTS
    assert [note.outcome for note in found.notes] == [EXACT] * 64 + [WARNED] * 6
    wide = [f"--filesystem=/srv/{number}/{'x' * 200}/{'y' * 200}/{'z' * 200}" for number in range(64)]
    assert {note.outcome for note in held(APP, wide).notes} == {EXACT, WARNED}
    long = [f"--env=V{number}={'v' * 500}" for number in range(100)]
    assert {note.outcome for note in held(APP, long).notes} == {EXACT, WARNED}
    quoted = "/".join(['"' * 250] * 4)
    assert one(f"--filesystem=/srv/{quoted}") == (WARNED, [])
    kept = [f"--persist=d{number}{'x' * 200}" for number in range(20)]
    assert {note.outcome for note in held(APP, kept).notes} == {EXACT}
    unknown = [f"--unheard-of-{number}={'x' * 1000}" for number in range(500)]
    assert held(APP, unknown).intents == ()


LAWS = settings(deadline=None, database=None)
WORDS = st.sampled_from(
    ["--share=network", "--share=ipc", "--socket=x11", "--nosocket=x11", "--socket=fallback-x11", "--socket=wayland",
     "--device=all", "--device=dri", "--nodevice=all", "--allow=devel"],
)  # fmt: skip
PLACES = st.builds(
    lambda option, root, below, mode: f"--{option}={root}{below}{mode}",
    st.sampled_from(["filesystem", "filesystem", "nofilesystem", "persist"]),
    st.sampled_from(
        ["home", "~", "host", "xdg-music", "xdg-config", "xdg-run", "/mnt", "/var", "!home", ".", "~/.cache"]
    ),
    st.sampled_from(["", "/a", "/a/b", "/.local", "/.local/share/a", "/../a", "/\\:", "/é", "/e\u0301"]),
    st.sampled_from(["", ":ro", ":rw", ":create", ":reset", ":x"]),
)
NAMES = st.builds(
    lambda option, name: f"--{option}={name}",
    st.sampled_from(["talk-name", "own-name", "see-name", "no-talk-name", "system-talk-name", "system-own-name"]),
    st.sampled_from([APP, f"{APP}.*", "org.a.b", "org.a.b.*", "org.a.*", "org.freedesktop.Notifications",
                     "org.freedesktop.Flatpak", "org.mpris.MediaPlayer2.a", "org.mpris.MediaPlayer2.a.b", "x",
                     "org.gnome.SettingsDaemon.*", "org.gnome.SettingsDaemon.MediaKeys"]),
)  # fmt: skip
ANYTHING = st.text(alphabet=st.characters(), max_size=12)
TOKENS = st.lists(
    st.one_of(
        WORDS,
        PLACES,
        NAMES,
        ANYTHING,
        st.builds(lambda option, text: f"--{option}={text}", st.sampled_from(["env", "filesystem", "usb"]), ANYTHING),
        st.builds(lambda value: f"--env=A={value}", st.text(string.printable, max_size=20)),
    ),
    max_size=12,
)


@LAWS
@given(TOKENS)
def test_whatever_is_asked_for_becomes_a_manifest(tokens: list[str]) -> None:
    held(APP, tokens)


@LAWS
@given(TOKENS)
def test_what_takes_everything_back_leaves_nothing(tokens: list[str]) -> None:
    back = {"share": "unshare", "socket": "nosocket", "device": "nodevice", "allow": "disallow",
            "filesystem": "nofilesystem", "talk-name": "no-talk-name", "own-name": "no-talk-name",
            "see-name": "no-talk-name", "env": "unset-env", "system-talk-name": "system-no-talk-name",
            "system-own-name": "system-no-talk-name"}  # fmt: skip
    taken = []
    for token in tokens:
        option, _, value = token.removeprefix("--").partition("=")
        if option in back and value:
            taken.append(f"--{back[option]}={value.partition('=')[0] if option == 'env' else value}")
    left = {intent.scope.kind for intent in flatpak.from_flatpak(APP, [*tokens, *taken]).intents}
    assert left <= {"persist"}, "nothing takes a persistent directory back"


def test_all_that_flathub_asked_for_becomes_manifests_and_nothing_is_lost() -> None:
    apps = [json.loads(line) for line in lzma.decompress(CORPUS.read_bytes()).splitlines()]
    assert (len(apps), sum(len(app["sets"]) for app in apps)) == (1592, 3858)
    reserved = {"org.freedesktop.GstDebugViewer", "org.freedesktop.Tuhi", "org.freedesktop.fwupd"}
    seen = set()
    for app_id in reserved:
        with pytest.raises(errors.ManifestError, match="reserved name"):
            manifest(flatpak.from_flatpak(app_id, ()), app_id)
    for app in apps:
        for tokens in app["sets"]:
            whose = app["id"] if any(token.startswith("--own-name") for token in tokens) else ""
            if (whose, *tokens) not in seen:
                seen.add((whose, *tokens))
                held(APP if app["id"] in reserved else app["id"], tokens)


def test_the_benchmark_of_compiling_runs() -> None:
    found = compile_benchmark.measure(3, 1)
    assert found["sets"] == 3
    assert json.loads(json.dumps(found)) == found
    assert compile_benchmark.table(found).startswith("import_growth")
