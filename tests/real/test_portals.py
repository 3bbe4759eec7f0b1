"""The desktop's own portals, their GTK dialogs and their documents: a sandboxed program gets what the user picks and
nothing else, and the portals know which app it is (SPEC §5.7, §9.8)."""

import contextlib
import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from intents import sign
from intents.kinds import portal
from tests.conftest import must_work
from tests.real import desktop
from tests.real.world import ALONE, KEY, manifest

pytestmark = pytest.mark.real

LINEAGE = sign.lineage(sign.parse_public_key(KEY.with_suffix(".pub").read_text()))
SERVICES = (
    "org.freedesktop.portal.Desktop",
    "org.freedesktop.portal.Documents",
    "org.freedesktop.impl.portal.PermissionStore",
    "org.freedesktop.impl.portal.desktop.gtk",
)
ENTRY = "175,0 620x90"  # of the dialog, on a screen of 800x600
WINDOW = {"kind": "display", "protocol": "wayland"}
TELL = """
import os, sys
def tell(path):
    print("path", path, file=sys.stderr)
    print("read", open(path).read(), file=sys.stderr)
    print("beside", os.path.exists(sys.argv[1]), os.listdir(os.path.dirname(path)), file=sys.stderr)
    print("done", file=sys.stderr, flush=True)
    os._exit(0)
"""
GTK = """
import gi
gi.require_version("Gtk", sys.argv[2])
from gi.repository import GLib, Gtk
Gtk.init() if sys.argv[2] == "4.0" else None
window = Gtk.Window()
window.present()
picker = Gtk.FileChooserNative.new("Pick a file", window, Gtk.FileChooserAction.OPEN, "_Open", "_Cancel")
picker.connect("response", lambda *_: tell(picker.get_file().get_path()))
picker.show()
GLib.MainLoop().run()
"""
QT = """
from PyQt5.QtWidgets import QApplication, QFileDialog
app = QApplication(sys.argv)
tell(QFileDialog.getOpenFileName(None, "Pick a file")[0])
"""
# Calls methods, of which each is four words; prints what each returns, or the error.
ASK = """
import sys
from gi.repository import Gio, GLib
bus = Gio.bus_get_sync(Gio.BusType.SESSION)
for name, path, method, given in zip(*[iter(sys.argv[1:])] * 4):
    interface, _, member = method.rpartition(".")
    try:
        print(bus.call_sync(name, path, interface, member, GLib.Variant.parse(None, given), None, 0, 5000, None))
    except GLib.Error as error:
        print(error.message)
"""
DESKTOP = ("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop")
DOCUMENTS = ("org.freedesktop.portal.Documents", "/org/freedesktop/portal/documents")
CALLS = (
    (*DESKTOP, "org.freedesktop.portal.OpenURI.OpenURI", "('', 'mailto:nobody', @a{sv} {})"),
    (*DESKTOP, "org.freedesktop.portal.Settings.ReadAll", "(@as ['org.freedesktop.appearance'],)"),
    (*DESKTOP, "org.freedesktop.portal.FileChooser.OpenFile", "('', '', @a{sv} {})"),
    (*DOCUMENTS, "org.freedesktop.portal.Documents.GetMountPoint", "()"),
)


@pytest.fixture(scope="module")
def session() -> Iterator[desktop.Desktop]:
    must_work(os.access("/dev/fuse", os.R_OK | os.W_OK), "/dev/fuse, which every user may open on a desktop")
    for file in ("/usr/libexec/xdg-desktop-portal", "/usr/libexec/xdg-desktop-portal-gtk", "/usr/bin/fusermount3"):
        must_work(os.path.exists(file), file)
    with desktop.desktop("sway", "swaymsg", "grim", "wtype", "dbus-daemon", "xdg-dbus-proxy") as made:
        made.environ |= {"XDG_CURRENT_DESKTOP": "GNOME", "GDK_BACKEND": "wayland", "NO_AT_BRIDGE": "1"}
        made.start_sway()
        made.start_bus(*SERVICES)
        made.closing.callback(unmount, made.place / "runtime" / "doc")
        yield made


def unmount(documents: pathlib.Path) -> None:
    """In case the document portal did not end by itself."""
    subprocess.run(["/usr/bin/fusermount3", "-uzq", documents], check=False)


@pytest.fixture
def picked() -> Iterator[pathlib.Path]:
    """A file of the user's, below the home, in which nothing is granted."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("HOME", "/"), prefix="intents-test-") as made:
        file = pathlib.Path(made) / "picked.txt"
        file.write_text("what was picked\n")
        (pathlib.Path(made) / "other.txt").write_text("what was not\n")
        yield file


def install(session: desktop.Desktop, name: str, *kinds: str) -> str:
    """An app of a publisher that nobody vouches for, with a window and these kinds; its id."""
    app = f"org.example.Pick-er.{name}"
    intents = {"window": WINDOW, **{kind: {"kind": kind} for kind in kinds}}
    session.install(manifest(["/usr/bin/python3", "-c"], intents, app_id=app, interface="window"))
    session.grant(app, "window", *kinds, "--for", "session")
    return app


def known(app: str) -> str:
    """As portals know it: by its publisher as well, and they take no dash before the last label."""
    return f"{app.replace('-', '_')}.k{LINEAGE}"


def start(session: desktop.Desktop, app: str, *words: str, removed: str = "") -> pathlib.Path:
    """Start the app; the file that has its standard error."""
    said = session.place / app
    argv = session.ours("broker.run", app, *words)
    argv[2] = argv[2].replace("; from", f"\n{ALONE if removed else ''}{removed}\nfrom", 1)
    with said.open("wb") as file:
        session.spawn(*argv, stderr=file)
    session.closing.callback(stop, session, app)
    return said


def stop(session: desktop.Desktop, app: str) -> None:
    session.run(*session.ours("broker.ctl", "stop", app, "--kill"))


def pick(session: desktop.Desktop, picked: pathlib.Path, shot: str) -> None:
    """Type the file's name into the dialog, which is a program outside, and open it."""
    desktop.until(lambda: "xdg-desktop-portal-gtk" in session.windows(), "the dialog")
    session.settled(ENTRY)
    session.type(str(picked))
    session.settled(ENTRY)
    session.keep_screenshot(shot)
    session.click(752, 23)


def told(session: desktop.Desktop, *calls: tuple[str, ...], app: str = "") -> list[str]:
    """What each method of a service returns to the app, or to a program outside."""
    words = (ASK, *(word for call in calls for word in call))
    done = session.run(*(session.ours("broker.run", app) if app else ["/usr/bin/python3", "-c"]), *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("toolkit", ["gtk3", "gtk4", "qt5"])
def test_a_picked_file_can_be_read_and_its_neighbour_cannot(
    session: desktop.Desktop, picked: pathlib.Path, toolkit: str
) -> None:
    app = install(session, toolkit, "files", "appearance")
    script, version = {"gtk3": (GTK, "3.0"), "gtk4": (GTK, "4.0"), "qt5": (QT, "")}[toolkit]
    said = start(session, app, TELL + script, str(picked), version)
    pick(session, picked, f"portal-{toolkit}")
    desktop.until(lambda: "done" in said.read_text(), "the program has read the file")
    lines = said.read_text().splitlines()
    documents = session.place / "runtime" / "doc"
    path = pathlib.Path(next(line for line in lines if line.startswith("path")).removeprefix("path "))
    assert (path.parent.parent, path.name) == (documents, "picked.txt")
    assert "read what was picked" in lines
    assert "beside False ['picked.txt']" in lines
    # The portals have it under the app's name, and under no other.
    about = (*DOCUMENTS, "org.freedesktop.portal.Documents.Info", f"('{path.parent.name}',)")
    assert known(app) in told(session, about)[0]
    assert os.listdir(documents / "by-app" / known(app)) == [path.parent.name]


def test_without_the_identity_portals_take_it_for_a_program_outside(
    session: desktop.Desktop, picked: pathlib.Path
) -> None:
    """Then they give it the file's own path, as to any program of the user, where there is nothing for it."""
    app = install(session, "unknown", "files", "appearance")
    removed = """
from intents import identity
real = identity.around_proxy
identity.around_proxy = lambda *given: tuple(word.replace("/.flatpak-info", "/elsewhere") for word in real(*given))
"""
    said = start(session, app, TELL + GTK, str(picked), "3.0", removed=removed)
    pick(session, picked, "portal-unidentified")
    desktop.until(lambda: "Error" in said.read_text(), "it cannot read the file")
    assert f"path {picked}" in said.read_text()
    stop(session, app)
    assert not os.listdir(session.place / "runtime" / "doc" / "by-app" / known(app))


@pytest.mark.parametrize("kind", ["open-uri", "appearance"])
def test_a_portal_answers_when_it_is_granted_and_is_refused_when_not(session: desktop.Desktop, kind: str) -> None:
    app = install(session, kind, kind)
    opened, settings, chosen, mounted = told(session, *CALLS, app=app)
    answers = {"open-uri": opened, "appearance": settings}
    assert "AccessDenied" not in answers.pop(kind)
    assert all("AccessDenied" in answer for answer in (*answers.values(), chosen))
    assert "ServiceUnknown" in mounted


@pytest.mark.parametrize("half", [0, 1])
def test_every_portal_is_reached_with_its_kind_and_with_no_other(session: desktop.Desktop, half: int) -> None:
    """Each method without its arguments, which the portals complain of, if they have the portal; nothing is asked."""
    methods: dict[str, set[str]] = {}
    for kind in portal.KINDS:
        for interface, names in kind.interfaces:
            for name in names:
                called = f"org.freedesktop.portal.{interface}.{name.replace('*', 'AnyOfThem')}"
                methods.setdefault(called, set()).add(kind.kind)
    granted = sorted(kind.kind for kind in portal.KINDS if kind.interfaces)[half::2]
    app = install(session, f"half-{half}", *granted)
    answers = told(session, *((*DESKTOP, method, "()") for method in methods), app=app)
    passed = {method for method, answer in zip(methods, answers, strict=True) if "Error.AccessDenied" not in answer}
    assert passed == {method for method, needed in methods.items() if needed & set(granted)}


BROWSER = """[Desktop Entry]
Type=Application
Name=Browser
Exec=/bin/sh -c 'echo "$1" >"{opened}"' sh %u
MimeType=x-scheme-handler/https;
"""


def test_a_link_opens_in_the_users_own_browser(session: desktop.Desktop) -> None:
    """By what toolkits call, which finds the identity and asks the portal; without the grant nothing opens."""
    opened = session.place / "opened"
    applications = session.place / "data" / "applications"
    applications.mkdir(exist_ok=True)
    (applications / "browser.desktop").write_text(BROWSER.format(opened=opened))
    (session.place / "config" / "mimeapps.list").write_text(
        "[Default Applications]\nx-scheme-handler/https=browser.desktop\n"
    )
    open_it = "import sys\nfrom gi.repository import Gio\nGio.AppInfo.launch_default_for_uri(sys.argv[1], None)\n"
    for kind, expected in (("appearance", False), ("open-uri", True)):
        app = install(session, f"link-{kind}", kind)
        done = session.run(*session.ours("broker.run", app, open_it, f"https://example.org/{kind}"))
        if expected:
            assert done.returncode == 0, done.stderr
            desktop.until(opened.exists, "the browser")
            assert opened.read_text() == f"https://example.org/{kind}\n"
        else:
            assert done.returncode != 0 and not opened.exists()


def test_the_proxy_sees_its_sockets_and_the_identity_alone(session: desktop.Desktop) -> None:
    app = install(session, "looking", "appearance")
    said = start(session, app, "import sys, time; print('up', file=sys.stderr, flush=True); time.sleep(600)")
    desktop.until(lambda: "up" in said.read_text(), "the app")
    running = json.loads(session.run(*session.ours("broker.ctl", "ps", "--json")).stdout)["instances"]
    run = next(each for each in running if each["app"] == app)
    proxy = next(pid for pid in descendants(run["pid"]) if command(pid) == "xdg-dbus-proxy")
    root = pathlib.Path(f"/proc/{proxy}/root")
    assert f"name={known(app)}\n" in (root / ".flatpak-info").read_text()
    shown = {str(file.relative_to(root)).partition("/")[0] for file in root.iterdir()}
    assert shown <= {".flatpak-info", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "var"}
    assert not (root / os.environ.get("HOME", "/root").lstrip("/")).exists()
    for namespace in ("mnt", "net", "pid", "user", "ipc", "uts"):
        assert os.stat(f"/proc/{proxy}/ns/{namespace}").st_ino != os.stat(f"/proc/self/ns/{namespace}").st_ino
    # What the portals learn of the sandbox is there as long as it is, and goes with it.
    instance = next((session.place / "runtime" / ".flatpak").glob(f"intents-{run['pid']}-*"))
    assert json.loads((instance / "bwrapinfo.json").read_text())["child-pid"] == run["sandbox_pid"]
    assert f"instance-id={instance.name}\n" in (root / ".flatpak-info").read_text()
    stop(session, app)
    desktop.until(lambda: command(proxy) != "xdg-dbus-proxy", "the end of the proxy")
    session.run(*session.ours("broker.ctl", "ps"))
    assert not [*instance.parent.iterdir()], "of this one and of those before"


def descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as children:
        for child in map(int, children.read().split()):
            yield child
            yield from descendants(child)


def command(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
