"""The tutorial's walk, keystroke by keystroke, in a terminal window: what its pictures show is what happens.

INTENTS_SHOTS=DIRECTORY keeps the pictures that docs/images has with fewer colours.
"""

import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Iterator

import pyte
import pytest

from intents import sign
from tests.real import desktop, world

pytestmark = pytest.mark.real

APP = "org.example.Sheets"
TUTORIAL = (desktop.ROOT / "docs" / "tutorial.md").read_text("utf-8")
FIRST, NEW = re.findall(r"^```toml\n(.*?)^```$", TUTORIAL, flags=re.DOTALL | re.MULTILINE)[:2]
SECOND = FIRST.replace("1.0", "1.1").replace("serial = 1", "serial = 2") + "\n" + NEW
SCRIPT = """#!{python}
import sys
sys.path[:0] = [{root!r}]
sys.path += {libraries!r}
from broker import state
state._home = lambda euid: {home!r}
from {module} import main
sys.exit(main())
"""
WHOLE = "0,0 800x600"
MODULES = {"intent-run": "broker.run", "intent-ctl": "broker.ctl"}


class Walk:
    """A user at a terminal window of a desktop; ``home`` is hers."""

    def __init__(self, session: desktop.Desktop, home: pathlib.Path) -> None:
        self.session, self.home = session, home
        session.environ |= {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin", "PS1": "$ ", "TERM": "foot"}
        libraries = [path for path in sys.path if path.endswith("-packages")]
        for name, module in MODULES.items():
            script = home / "bin" / name
            script.parent.mkdir(exist_ok=True)
            words = {"python": sys.executable, "root": str(desktop.ROOT), "libraries": libraries, "home": str(home)}
            script.write_text(SCRIPT.format(module=module, **words))
            script.chmod(0o755)
        (home / "Sheets").mkdir()
        (home / "Sheets" / "budget.ods").write_text("1 2 3\n")

    def publish(self, text: str) -> None:
        """Put the author's manifest, signed, where the user's catalog is."""
        body = text.encode()
        directory = self.session.place / "data" / "intents" / "manifests"
        directory.mkdir(parents=True, exist_ok=True)
        signature = sign.sign(body, world.KEY.read_bytes(), None)
        for suffix, content in (("toml", body), ("toml.sig", signature)):
            (directory / f"{APP}.{suffix}").write_bytes(content)
            (directory / f"{APP}.{suffix}").chmod(0o600)

    def open(self) -> None:
        """A terminal window with a shell in it; what it shows is read along by an emulator."""
        self.session.environ["HISTFILE"] = "/dev/null"
        shell = "sleep 1; stty size > ~/size; PS1='$ ' exec /bin/bash --norc --noprofile -i"
        words = ["--override=colors.background=ffffff", "--override=colors.foreground=000000"]
        words.append("--font=monospace:size=12")
        log = self.home / "log"
        self.session.spawn("/usr/bin/foot", *words, "--maximized", "/usr/bin/script", "-qfc", shell, str(log))
        desktop.until(lambda: log.exists() and "$ " in log.read_text(), "the terminal")
        rows, columns = map(int, (self.home / "size").read_text().split())
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.log, self.fed = log, log.read_bytes().index(b"\n") + 1  # after the line that script(1) begins with

    def shows(self, words: str) -> bool:
        """Whether the words stand on the screen, however the lines are broken."""
        data = self.log.read_bytes()
        self.stream.feed(data[self.fed :])
        self.fed = len(data)
        return words.replace(" ", "") in "".join(self.screen.display).replace("│", "").replace(" ", "")

    def see(self, words: str, shot: str = "") -> None:
        """Wait until the words stand on the screen and keys count, and keep a picture."""
        try:
            desktop.until(lambda: self.shows(words) and not self.shows("Keys count in a moment"), words)
        except AssertionError as error:
            raise AssertionError("\n".join(self.screen.display)) from error
        if shot:
            self.session.settled(WHOLE)
            self.session.keep_screenshot(shot)

    def type(self, words: str) -> None:
        """Type."""
        self.session.type(words)

    def said(self, *words: str) -> str:
        """What one of the commands prints outside the window."""
        done = self.session.run(str(self.home / "bin" / "intent-ctl"), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def walk() -> Iterator[Walk]:
    above = os.path.expanduser("~")
    with (
        desktop.desktop("sway", "swaymsg", "grim", "wtype", "foot") as session,
        tempfile.TemporaryDirectory(prefix=".intents-walk-", dir=above) as home,
    ):
        session.start_bus()
        session.start_sway()
        yield Walk(session, pathlib.Path(home))


def test_the_walk(walk: Walk) -> None:
    walk.publish(FIRST)
    walk.open()
    walk.type(f"intent-run {APP}\n")
    walk.see("START with what is ticked", "question")
    walk.type("j")
    walk.see("> [ ] deny always CRITICAL risk optional ~/Sheets")
    walk.type("n")
    walk.see("How much of this may it have", "less")
    walk.type("1\n")
    walk.see("START", "narrowed")
    walk.type("s")
    walk.see("bash-5.2")
    walk.type("cat ~/Sheets/budget.ods; echo x > ~/Sheets/x; cat < /dev/tcp/192.0.2.1/80\n")
    walk.see("unreachable", "started")
    assert not (walk.home / "Sheets" / "x").exists()

    said = walk.said("revoke", APP, "sheets", "--now")
    assert said.splitlines()[0] in TUTORIAL
    assert "gone from it" in said
    walk.type("clear; ls ~/Sheets\n")
    walk.see("No such file or directory", "revoked")
    assert walk.said("undo").splitlines()[0] in TUTORIAL
    walk.type("exit\n")
    walk.see("exit exit $")

    walk.publish(SECOND)
    walk.type(f"clear; intent-run {APP}\n")
    walk.see("START with what is ticked", "update")
    walk.type("s")
    walk.see("bash-5.2")
    walk.type("cat ~/Sheets/budget.ods; exit\n")
    walk.see("1 2 3")
    assert (walk.home / "Sheets" / "budget.ods").read_text() == "1 2 3\n"
    assert "allowed less of sheets (path access=read place=home/Sheets), session, by prompt" in walk.said("log", APP)
    walk.type("clear; intent-ctl\n")
    walk.see("Sheets", "settings")
