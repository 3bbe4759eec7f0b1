"""Sound through a filter: playing without listening, listening without playing, and never the server (SPEC §5.6)."""

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests import control
from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

PLAY = "head -c {} /dev/zero | pacat --raw --latency-msec=20 --stream-name=inside"
RECORD = "parec --raw --latency-msec=20 --stream-name=inside | head -c 100 | wc -c"
# A filter that is none.
OPEN = """
from broker.companions import pulse_filter
pulse_filter.Judge.asks = lambda self, packet: (packet, b"")
"""


@pytest.fixture(scope="module")
def here() -> Iterator[world.World]:
    """A world with a real sound server, whose one sink nobody hears and whose one microphone is silent."""
    must_work(shutil.which("pulseaudio"), "pulseaudio, a sound server")
    must_work(shutil.which("xdg-dbus-proxy"), "xdg-dbus-proxy")
    with world.world() as made:
        modules = ["module-null-sink sink_name=quiet", "module-native-protocol-unix"]
        server = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        server += [word for module in modules for word in ("-L", module)]
        socket = made.runtime / "pulse" / "native"
        with peers.child(server, made.environ):
            peers.eventually(socket.exists, "the sound server")
            for name, uses in APPS.items():
                made.install(world.manifest(world.SHELL, {"it": {"kind": "audio", "uses": uses}}, app_id=name))
                made.decide(app_id=name)
            made.install(world.manifest(world.SHELL, {"it": {"kind": "audio", "uses": ["playback"]}}))
            yield made


APPS = {
    "org.example.Player": ["playback"],
    "org.example.Recorder": ["record"],
    "org.example.Both": ["playback", "record"],
}
PLAYER, RECORDER, BOTH = APPS


def pactl(here: world.World, *words: str) -> str:
    """What the server tells a program outside."""
    env = {**here.environ, "PULSE_SERVER": f"unix:{here.runtime}/pulse/native"}
    return subprocess.run(["pactl", *words], env=env, capture_output=True, check=True, text=True).stdout


@pytest.mark.parametrize(("app", "plays"), [(PLAYER, True), (BOTH, True), (RECORDER, False), (world.APP, False)])
def test_only_who_may_play_is_heard(here: world.World, app: str, plays: bool) -> None:
    if not plays:
        assert here.start(PLAY.format(20_000), name=app).returncode != 0
        return
    assert "inside" not in pactl(here, "list", "sink-inputs")
    with peers.child([os.fsdecode(word) for word in here.argv(app, PLAY.format("10G"))], here.environ):
        peers.eventually(lambda: "inside" in pactl(here, "list", "sink-inputs"), "the stream")
    peers.eventually(lambda: "inside" not in pactl(here, "list", "sink-inputs"), "its end")


@pytest.mark.parametrize(("app", "listens"), [(RECORDER, True), (BOTH, True), (PLAYER, False), (world.APP, False)])
def test_only_who_may_listen_hears(here: world.World, app: str, listens: bool) -> None:
    assert here.says(RECORD, name=app).strip() == ("100" if listens else "0")
    if app == PLAYER:
        assert here.says(RECORD, name=app, removed=OPEN).strip() == "100"


def test_what_was_tried_and_refused_is_remembered(here: world.World) -> None:
    """Tried by an app that may not, and by one that may; each once, however often it tries."""
    for app in (PLAYER, RECORDER):
        here.start(f"{RECORD}; {RECORD}", name=app)
    told = {app: control.data(here, "uses", app)["apps"] for app in (PLAYER, RECORDER)}
    refused = {app: [each["what"] for each in rows[0]["refused"]] for app, rows in told.items()}  # type: ignore[index]
    assert "audio record" in refused[PLAYER] and len(refused[PLAYER]) == len(set(refused[PLAYER]))
    assert "audio record" not in refused[RECORDER]
    assert "tried and did not get: audio record" in control.done(here, "uses", PLAYER)


def test_the_server_cannot_be_changed(here: world.World) -> None:
    """module-ladspa-sink loads any library that the app names into the server: code as the user, outside."""
    change = f"pactl load-module module-pipe-sink file={here.base}/made"
    refused = here.start(change, name=BOTH)
    assert refused.returncode != 0
    assert b"Access denied" in refused.stderr
    assert not (here.base / "made").exists()
    for command in ("exit", "set-default-sink quiet", "set-sink-volume quiet 5%", "suspend-sink quiet 1"):
        assert here.start(f"pactl {command}", name=BOTH).returncode != 0, command
    assert "100%" in pactl(here, "get-sink-volume", "quiet")
    here.start(change, name=BOTH, removed=OPEN)
    assert (here.base / "made").exists()


def test_the_machine_is_not_named(here: world.World) -> None:
    assert "Host Name: sandbox\n" in here.says("pactl info", name=BOTH)
    assert f"Host Name: {os.uname().nodename}\n" in pactl(here, "info")


def test_nothing_of_other_programs_streams(here: world.World) -> None:
    env = {**here.environ, "PULSE_SERVER": f"unix:{here.runtime}/pulse/native"}
    with peers.child(["pacat", "--raw", "--stream-name=private", "/dev/zero"], env):
        peers.eventually(lambda: "private" in pactl(here, "list", "sink-inputs"), "the stream")
        number = pactl(here, "list", "short", "sink-inputs").split()[0]
        assert "private" not in here.start("pactl list; pactl list sink-inputs", name=BOTH).stdout.decode()
        assert here.start(f"pactl set-sink-input-volume {number} 5%", name=BOTH).returncode != 0
        assert here.start(f"pactl kill-sink-input {number}", name=BOTH).returncode != 0
        assert "private" in pactl(here, "list", "sink-inputs")


def test_the_servers_own_socket_is_not_there(here: world.World) -> None:
    found = "find / -path /proc -prune -o -path /usr -prune -o -path /etc -prune -o -exec test -S {} \\; -print; true"
    assert here.says(found, name=BOTH) == f"/run/user/{os.geteuid()}/pulse/native\n"
    assert here.says(found) == ""
