"""What an app could do to the shell if it held the user's terminal, and cannot do through the relay (SPEC §9.6).

Every attack is run twice: by an app behind the relay, and by the same app in the same sandbox without it, where it has
to succeed. That shows that the attack works on this kernel and that the test would see it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import terminal

pytestmark = pytest.mark.real

TYPE = """
import fcntl, termios
for name in ("/dev/tty", 0, 1, 2):
    try:
        file = open(name, "rb", buffering=0, closefd=isinstance(name, str))
        for byte in b"echo inj''ected >> $S/injected\\n":
            fcntl.ioctl(file, termios.TIOCSTI, bytes([byte]))
    except OSError as error:
        print(name, error)
"""
SEIZE = """
import os, signal, time
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setpgid(0, 0)
share = os.environ["S"]
for descriptor in (0, 1, 2, os.open("/dev/tty", os.O_RDWR)):
    os.tcsetpgrp(descriptor, os.getpgid(0))
open(share + "/seized", "w").close()
time.sleep(1000)
"""
# Ignores what would stop it, and has left the session, so that no rule of job control holds it back.
READ = """
import os, signal
signal.signal(signal.SIGTSTP, signal.SIG_IGN)
signal.signal(signal.SIGTTIN, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
share = os.environ["S"]
if os.fork() == 0:
    os.setsid()
    descriptor = 0
    open(share + "/reads", "w").close()
    while line := os.read(descriptor, 1):
        with open(share + "/stolen", "ab") as stolen:
            stolen.write(line)
else:
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    while True:
        signal.pause()
"""


@pytest.fixture(params=terminal.accounts())
def desk(request: pytest.FixtureRequest) -> Iterator[terminal.Desk]:
    with terminal.desk_of(request.param) as made:
        for name, program in (("type", TYPE), ("seize", SEIZE), ("read", READ)):
            (made.share / name).write_text(program)
        yield made


@pytest.mark.parametrize(("command", "succeeds"), [("bare", True), ("boxed", False)])
def test_typing_at_the_shell(desk: terminal.Desk, command: str, succeeds: bool) -> None:
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text().strip() != "1" and succeeds:
        pytest.skip("this kernel has no TIOCSTI for anybody")
    screen = desk.shell()
    screen.command(f"{command} python3 $S/type")
    screen.prompt()
    screen.command("echo th''en")
    screen.expect("then\r")
    screen.prompt()
    assert bool(desk.file("injected")) is succeeds


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "background"])
@pytest.mark.parametrize(("command", "succeeds"), [("bare-session", True), ("boxed", False)])
def test_reading_what_is_typed_at_the_shell(desk: terminal.Desk, command: str, succeeds: bool, stopped: bool) -> None:
    screen = desk.shell()
    screen.command(f"{command} python3 $S/read" + ("" if stopped else " &"))
    screen.until(lambda: (desk.share / "reads").exists(), "the app does not run")
    if stopped:
        screen.until(screen.job)
        if command == "boxed":
            screen.taken()
        screen.send("\x1a")
    screen.prompt()
    for number in range(500 if succeeds else 20):  # the shell and a thief compete for each line
        screen.line(f"secret{number}")
        answer = f"secret{number}: command not found"
        screen.until(lambda answer=answer: answer in screen.shown or desk.file("stolen"))  # type: ignore[misc]
        if desk.file("stolen"):
            break
    assert bool(desk.file("stolen")) is succeeds


@pytest.mark.parametrize(("command", "succeeds"), [("bare", True), ("boxed", False)])
def test_taking_the_foreground(desk: terminal.Desk, command: str, succeeds: bool) -> None:
    screen = desk.shell()
    screen.command(f"{command} python3 $S/seize &")
    screen.until(lambda: (desk.share / "seized").exists(), "the app does not run")
    assert (screen.foreground() != screen.shell) is succeeds


@pytest.mark.parametrize(("command", "succeeds"), [("bare", True), ("boxed", False)])
def test_changing_the_modes_from_the_background(desk: terminal.Desk, command: str, succeeds: bool) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command(f"{command} /bin/sh -c 'trap \"\" TTOU; stty -echo -icanon -opost < /dev/tty; : > $S/set' &")
    screen.until(lambda: (desk.share / "set").exists(), "the app does not run")
    assert (screen.modes() != modes) is succeeds


@pytest.mark.parametrize(("command", "same"), [("bare", True), ("boxed", False)])
def test_dev_tty_is_the_apps_own(desk: terminal.Desk, command: str, same: bool) -> None:
    """The terminal behind a descriptor, whatever path it was opened by (TIOCGDEV)."""
    program = "import fcntl; print(fcntl.ioctl(open('/dev/tty'), 0x80045432, bytes(4)).hex())"
    screen = desk.shell()
    screen.command(f'python3 -c "{program}" > $S/outer')
    screen.prompt()
    screen.command(f'{command} python3 -c "{program}" > $S/inner')
    screen.prompt()
    assert desk.file("outer") != "" != desk.file("inner")
    assert (desk.file("outer") == desk.file("inner")) is same


def test_no_process_behind_the_relay_has_the_users_terminal(desk: terminal.Desk) -> None:
    screen = desk.shell()
    device = os.readlink(f"/proc/{screen.shell}/fd/0")
    screen.command("boxed /bin/sh -c 'echo up; exec sleep 1000'")
    screen.expect("up\r")
    screen.taken()
    relay = screen.foreground()
    monitor = terminal.child_of(relay)
    behind = terminal.session(monitor)
    assert len(behind) >= 3, "monitor, bwrap, its init and the app"
    for process in behind:
        held = {os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()}
        assert not held & {device, "/dev/tty", "/dev/ptmx"}, process
        if process != monitor:
            pipes = {name for name in held if name.startswith("pipe:")}
            assert not pipes & {os.readlink(entry) for entry in Path(f"/proc/{monitor}/fd").iterdir()}
