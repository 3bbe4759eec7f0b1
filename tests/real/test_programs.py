"""Real programs with a file on their command line, as a shell or a click starts them: they show it, play it, save it,
and say nothing that they would not say without a sandbox (SPEC §9.7)."""

import contextlib
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tempfile
import wave
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import desktop
from tests.real.world import manifest

pytestmark = pytest.mark.real

EVINCE, MPV, EDITOR = "org.gnome.Evince", "io.mpv.mpv", "net.tsujan.featherpad"
RED, BLUE = (255, 0, 0), (0, 0, 255)
WINDOW = {"window": {"kind": "display", "protocol": "wayland"}}
# What differs from run to run: process numbers, times, and the lines of intent-run.
PASSING = re.compile(r"\(\S+:\d+\)|\d\d:\d\d:\d\d\.\d+|\[\d+\.\d+\]")


@pytest.fixture
def session() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "grim", "wtype") as made:
        made.start_sway()
        yield made


@pytest.fixture
def documents() -> Iterator[pathlib.Path]:
    """A directory in the home, which nothing is granted in; not hidden, so that the editor may save there."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("HOME", "/"), prefix="intents-test-") as made:
        (pathlib.Path(made) / "Documents").mkdir()
        yield pathlib.Path(made) / "Documents"


def start(session: desktop.Desktop, app: str, documents: pathlib.Path, *words: str) -> pathlib.Path:
    """Start the sandboxed app in that directory; the file that has its standard error."""
    said = session.place / "said"
    with said.open("wb") as file:
        session.spawn(*session.ours("broker.run", app, *words), cwd=documents, stderr=file)
    session.closing.callback(stop, session, app)
    return said


def stop(session: desktop.Desktop, app: str) -> None:
    session.run(*session.ours("broker.ctl", "stop", app, "--kill"))


def said_besides(session: desktop.Desktop, said: pathlib.Path, documents: pathlib.Path, *plain: str) -> list[str]:
    """The lines of a sandboxed program that the same one does not write when it is started without a sandbox."""
    usual = session.place / "plain"

    def besides() -> list[str]:
        known = PASSING.sub("", usual.read_text()).splitlines()
        lines = PASSING.sub("", said.read_text()).splitlines()
        if os.geteuid() == 0:  # its /proc is read-only, so that threads keep their names
            lines = [line for line in lines if "pthread_setname error" not in line]
        return [line for line in lines if line not in known and not line.startswith("intent-run: ")]

    with usual.open("wb") as file:
        child = session.spawn(*plain, cwd=documents, stderr=file)
    with contextlib.suppress(AssertionError):
        desktop.until(lambda: not besides(), "the same lines")
    child.terminate()
    child.wait(desktop.PATIENCE)
    return besides()


def document(page: bytes) -> bytes:
    """A PDF file of one page that is drawn by these operators (ISO 32000)."""
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(page), page),
    ]
    body, starts = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        starts.append(len(body))
        body += b"%d 0 obj %s endobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % start for start in starts)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    return body + head + table + b"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)


def test_evince_shows_the_document_it_is_given(session: desktop.Desktop, documents: pathlib.Path) -> None:
    must_work(shutil.which("evince", path="/usr/bin"), "evince")
    (documents / "page.pdf").write_bytes(document(b"1 0 0 rg 0 0 300 200 re f 0 0 1 rg 50 50 100 100 re f"))
    (documents / "other.pdf").write_bytes(b"")
    session.grant(EVINCE, "window", "--for", "session")
    said = start(session, EVINCE, documents, "page.pdf")
    desktop.until(lambda: (session.colour("270,320"), session.colour("600,320")) == (BLUE, RED), "the document")
    session.keep_screenshot("evince")
    assert f"Document Viewer may read ~/{documents.parent.name}/Documents/page.pdf for this run\n" in said.read_text()
    inside = pathlib.Path(f"/proc/{session.inside(EVINCE)}")
    assert os.listdir(inside / f"root/{documents}") == ["page.pdf"]
    assert inside.joinpath("cmdline").read_bytes() == b"/usr/bin/evince\0page.pdf\0"
    assert said_besides(session, said, documents, "/usr/bin/evince", "page.pdf") == []


def test_a_qt_editor_saves_into_the_file_it_is_given(session: desktop.Desktop, documents: pathlib.Path) -> None:
    must_work(shutil.which("featherpad", path="/usr/bin"), "featherpad")
    session.environ["QT_QPA_PLATFORM"] = "wayland"  # for the one without a sandbox
    note = documents / "note.txt"
    note.write_text("old\n")
    session.install(manifest(["/usr/bin/featherpad"], WINDOW, app_id=EDITOR, interface="window", files="write"))
    session.grant(EDITOR, "window", "--for", "session")
    said = start(session, EDITOR, documents, f"file://{note}")
    desktop.until(lambda: "featherpad" in session.windows(), "the editor's window")
    session.settled("0,0 800x85")
    session.type("new ")
    session.keep_screenshot("featherpad")
    session.run("/usr/bin/wtype", "-s", "500", "-M", "ctrl", "-k", "s", "-m", "ctrl")
    desktop.until(lambda: note.read_text() == "new old\n", "the note is saved")
    assert os.listdir(documents) == ["note.txt"]
    assert said_besides(session, said, documents, "/usr/bin/featherpad", "--standalone", str(note)) == []


def test_mpv_shows_a_video(session: desktop.Desktop, documents: pathlib.Path) -> None:
    must_work(shutil.which("mpv", path="/usr/bin"), "mpv")
    red = bytes([81]) * 64 * 48 + bytes([90]) * 32 * 24 + bytes([240]) * 32 * 24  # Y, U and V: ITU-R BT.601
    (documents / "clip.y4m").write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip C420\n" + 50 * (b"FRAME\n" + red))
    session.grant(MPV, "window", "--for", "session")
    words = ("--loop-file=inf", "--term-status-msg=", "clip.y4m")
    said = start(session, MPV, documents, *words)
    desktop.until(lambda: session.colour("400,300")[0] > 200 and session.colour("400,300")[1] < 60, "the video")
    session.keep_screenshot("mpv")
    assert said_besides(session, said, documents, "/usr/bin/mpv", *words) == []


@pytest.fixture
def sound(session: desktop.Desktop) -> Iterator[desktop.Desktop]:
    """A PulseAudio server whose only output is one that nobody hears."""
    for program in ("pulseaudio", "pactl", "parec", "mpv"):
        must_work(shutil.which(program, path="/usr/bin"), program)
    socket = session.place / "runtime" / "pulse" / "native"
    socket.parent.mkdir(mode=0o700)
    modules = ("module-null-sink sink_name=silent", f"module-native-protocol-unix socket={socket} auth-anonymous=1")
    loads = [word for module in modules for word in ("-L", module)]
    session.environ["PULSE_SERVER"] = f"unix:{socket}"
    session.spawn("/usr/bin/pulseaudio", "-n", "--exit-idle-time=-1", "--daemonize=no", "--use-pid-file=no", *loads)
    desktop.until(lambda: session.run("/usr/bin/pactl", "info").returncode == 0, "the sound server")
    yield session


def heard(session: desktop.Desktop) -> int:
    """How loud it gets on the silent output within half a second."""
    words = ("/usr/bin/timeout", "0.5", "/usr/bin/parec", "--device=silent.monitor", "--raw", "--latency-msec=50")
    done = subprocess.run(words, env=session.environ, capture_output=True, timeout=desktop.PATIENCE, check=False)
    count = len(done.stdout) // 2
    return max(struct.unpack(f"<{count}h", done.stdout[: 2 * count]), default=0)


def test_mpv_plays_where_that_is_granted_and_records_nothing(sound: desktop.Desktop, documents: pathlib.Path) -> None:
    with wave.open(str(documents / "tone.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(step / 20))) for step in range(44100)))
    # Without sound there is nothing to play: it would end, and its window with it.
    words = ("--idle=yes", "--loop-file=inf", "--force-window=yes", "--term-status-msg=", "tone.wav")
    sound.grant(MPV, "window", "--for", "session")
    start(sound, MPV, documents, *words)
    desktop.until(lambda: "mpv" in sound.windows(), "the player's window")
    assert sound.run("/usr/bin/pactl", "list", "short", "clients").stdout.count("mpv") == 0
    assert heard(sound) == 0
    stop(sound, MPV)
    desktop.until(lambda: "mpv" not in sound.windows(), "the player ends")
    done = sound.run(*sound.ours("broker.ctl", "grant", MPV, "sound", "--for", "session"))
    assert done.returncode == 0, done.stderr
    said = start(sound, MPV, documents, *words)
    desktop.until(lambda: sound.run("/usr/bin/pactl", "list", "short", "sink-inputs").stdout, "sound")
    desktop.until(lambda: heard(sound) > 5000, "a tone")
    assert sound.run("/usr/bin/pactl", "list", "short", "source-outputs").stdout == ""
    assert said_besides(sound, said, documents, "/usr/bin/mpv", *words) == []


@pytest.mark.parametrize(("app", "program"), [("org.gnome.Calculator", "gnome-calculator"), ("foot", "foot")])
def test_a_program_says_nothing_that_it_would_not_say_itself(
    session: desktop.Desktop, documents: pathlib.Path, app: str, program: str
) -> None:
    must_work(shutil.which(program, path="/usr/bin"), program)
    session.grant(app, "window", "--for", "session")
    said = start(session, app, documents)
    desktop.until(lambda: program in session.windows(), "its window")
    session.settled("0,0 800x600")
    assert said_besides(session, said, documents, f"/usr/bin/{program}") == []
