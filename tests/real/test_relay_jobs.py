"""A sandboxed app is a job of the user's shell like any other: ^C, ^Z, fg, bg (SPEC §9.6)."""

import os
import re
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real import terminal

pytestmark = pytest.mark.real

LOOP = "while :; do sleep 0.05; done"


@pytest.fixture(params=terminal.accounts())
def desk(request: pytest.FixtureRequest) -> Iterator[terminal.Desk]:
    with terminal.desk_of(request.param) as made:
        yield made


# -- the keyboard's signals


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x1c", 131)])
def test_interrupt_ends_the_app(desk: terminal.Desk, key: str, status: int) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed /bin/sh -c 'ulimit -c 0; echo up; exec sleep 1000'; echo status=$?")
    screen.expect("up\r")
    screen.send(key)
    screen.expect(f"status={status}\r")
    screen.prompt()
    assert screen.modes() == modes


def test_an_app_may_handle_interrupt(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/sh", "-c", f"trap 'echo caught; exit 9' INT; echo up; {LOOP}")
    screen.expect("up\r")
    screen.send("\x03")
    screen.expect("caught")
    assert screen.wait() == 9


def test_interrupt_sent_by_hand_is_passed_on(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/sh", "-c", f"trap 'echo caught; exit 9' INT; echo up; {LOOP}")
    screen.expect("up\r")
    os.kill(screen.process.pid, signal.SIGINT)
    screen.expect("caught")
    assert screen.wait() == 9


# -- stop, bg, fg


@pytest.mark.parametrize("options", [(), ("-o", "emacs")])
def test_stop_and_continue(desk: terminal.Desk, options: tuple[str, ...]) -> None:
    screen = desk.shell(*options)
    if not options:
        modes = screen.modes()
    screen.line("boxed cat")
    screen.taken()
    screen.line("hello")
    screen.expect("hello\r\nhello\r")
    screen.send("\x1a")
    screen.expect("Stopped")
    screen.prompt()
    if not options:
        assert screen.modes() == modes
    screen.line("jobs")
    screen.expect("Stopped +boxed cat")
    screen.prompt()
    screen.line("fg")
    screen.taken()
    screen.line("again")
    screen.expect("again\r\nagain\r")
    screen.send("\x04")
    screen.prompt()
    if not options:
        assert screen.modes() == modes


def test_stop_twice_and_die_stopped(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command(f"boxed /bin/sh -c 'echo up; exec sleep {desk.mark}'")
    screen.expect("up\r")
    for _ in range(3):
        screen.send("\x1a")
        screen.expect("Stopped")
        screen.prompt()
        screen.resume()
        screen.taken()
    screen.send("\x1a")
    screen.prompt()
    screen.command("kill %1")
    screen.until(lambda: desk.file("status") == "143", "the job did not end")
    screen.until(lambda: not terminal.named(desk.mark), "the app survived")


def test_what_was_written_before_a_stop_is_shown(desk: terminal.Desk) -> None:
    """More than the user's terminal takes while nobody reads there, and less than both terminals take together."""
    screen = desk.shell()
    (desk.share / "app").write_text("echo up; read x; head -c 22000 /dev/zero | tr '\\0' y; kill -TSTP 0; echo back")
    screen.command("relay /bin/sh $S/app")
    screen.expect("up\r")
    screen.taken()
    app = terminal.child_of(terminal.child_of(screen.job()))
    screen.line("")
    deadline = time.monotonic() + terminal.PATIENCE
    while Path(f"/proc/{app}/stat").read_text().rpartition(") ")[2][0] != "T":
        assert time.monotonic() < deadline, "the app did not stop"
        time.sleep(0.01)
    assert len(re.findall("y", screen.prompt().partition("Stopped")[0])) == 22000
    screen.line("fg")
    screen.expect("back\r")


def test_stop_stops_the_script_that_started_it(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command("sh -c 'boxed cat; echo status=$?'")
    screen.taken()
    screen.send("\x1a")
    screen.expect("Stopped")
    screen.prompt()
    screen.resume()
    screen.taken()
    screen.send("\x04")
    screen.expect("status=0\r")


def test_size_changes_while_stopped_arrive(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command("boxed /bin/sh -c 'echo up; while read x; do stty size; done'")
    screen.expect("up\r")
    screen.send("\x1a")
    screen.prompt()
    screen.resize(13, 57)
    screen.line("fg")
    screen.expect("boxed.*\r\n")
    screen.line("")
    screen.expect("13 57\r")


def test_output_goes_on_in_the_background_and_the_shell_has_the_keys(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed /bin/sh -c 'echo up; while [ ! -e $S/go ]; do sleep 0.05; done; echo went; cat'")
    screen.expect("up\r")
    screen.send("\x1a")
    screen.prompt()
    screen.command("bg")
    screen.prompt()
    assert screen.modes() == modes
    screen.command("echo to the she''ll; touch $S/go")
    screen.expect("to the shell\r")
    screen.expect("went\r")
    assert screen.modes() == modes
    screen.command("jobs")
    screen.expect("Running +boxed")
    screen.line("fg")
    screen.expect("boxed.*\r\n")
    screen.taken()
    screen.line("to the app")
    screen.expect("to the app\r\nto the app\r")


def test_started_in_the_background_it_leaves_the_terminal_alone_until_fg(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("stty erase ^H")
    screen.prompt()
    changed = screen.modes()
    assert changed != modes
    screen.command("boxed /bin/sh -c 'echo up; read x; echo got $x; stty -a' &")
    screen.expect("up\r")
    screen.command("echo for the she''ll")
    screen.expect("for the shell\r")
    assert screen.modes() == changed
    screen.line("fg")
    screen.expect("boxed.*\r\n")
    screen.taken()
    screen.line("for the app")
    screen.expect("got for the app\r")
    screen.expect(r"erase = \^H")
    screen.prompt()
    assert screen.modes() == changed


def test_a_prompt_with_line_editing_does_not_leak_into_the_app(desk: terminal.Desk) -> None:
    """readline keeps the terminal raw while the shell waits; an app started in the background must not inherit that."""
    screen = desk.shell("-o", "emacs")
    script = "until [ -e $S/go ]; do sleep 0.05; done; stty -a > $S/modes"
    screen.line(f"boxed /bin/sh -c '{script}' < /dev/tty &")
    screen.prompt()
    screen.until(lambda: not screen.modes()[3] & termios.ICANON, "no line editing")
    (desk.share / "go").touch()
    screen.until(lambda: desk.file("modes").endswith("\n"))
    assert " icanon" in desk.file("modes")
    assert " echo " in desk.file("modes")


def test_what_follows_the_stop_key_is_not_for_the_app(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command("boxed /bin/sh -c 'echo up; exec cat > $S/keys'")
    screen.expect("up\r")
    screen.send("kept\n")
    screen.until(lambda: desk.file("keys") == "kept\n")
    screen.send("\x1asecret\n")
    screen.expect("Stopped")
    screen.prompt()
    screen.line("fg")
    screen.expect("boxed.*\r\n")
    screen.taken()
    screen.send("\x04")
    screen.prompt()
    assert desk.file("keys") == "kept\n"


def test_the_stop_key_is_a_byte_where_the_app_wants_it(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/sh", "-c", "stty -isig -icanon -echo; echo up; head -c 5 | od -An -c")
    screen.expect("up\r")
    screen.send("a\x1ab\x03c")
    screen.expect(r"a 032 +b 003 +c")


def test_stop_in_an_orphaned_job_is_no_trap(desk: terminal.Desk) -> None:
    """`foot intent-run app`: nobody could ever continue it, so it goes on at once."""
    screen = desk.open("boxed", "cat")
    screen.taken()
    screen.line("one")
    screen.expect("one\r\none\r")
    screen.send("\x1a")
    screen.expect(r"\^Z")
    while True:
        screen.line("two")
        screen.until(lambda: "two\r\n" in screen.shown)
        if screen.shown.count("two\r\n") > 1:
            break
        time.sleep(0.1)
    screen.send("\x04")
    assert screen.wait() == 0


def test_killed_with_sigstop_it_takes_the_terminal_back(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed cat")
    screen.taken()
    screen.line("one")
    screen.expect("one\r\none\r")
    os.kill(screen.foreground(), signal.SIGSTOP)
    screen.expect("Stopped")
    screen.prompt()
    screen.line("fg")
    screen.taken()
    screen.line("two")
    screen.expect("two\r\ntwo\r")
    screen.send("\x04")
    screen.prompt()
    assert screen.modes() == modes


def test_what_was_typed_before_the_start_arrives(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.send("boxed /bin/sh -c 'cat > $S/keys'\none\ntwo\n\x04")
    screen.expect("keys'\r\n")
    screen.prompt()
    assert desk.file("keys") == "one\ntwo\n"


# -- a shell inside


def test_job_control_works_inside(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/bash", "--norc", "--noprofile", "--noediting", "-i")
    screen.prompt()
    screen.command("cat")
    screen.line("one")
    screen.expect("one\r\none\r")
    screen.send("\x1a")
    screen.expect("Stopped")
    screen.prompt()
    screen.line("fg")
    screen.expect("cat\r\n")
    screen.line("two")
    screen.expect("two\r\ntwo\r")
    screen.send("\x03")
    screen.prompt()
    screen.command("echo status=$?")
    screen.expect("status=130")
    screen.prompt()
    screen.line("exit 4")
    assert screen.wait() == 4


def test_an_interrupt_sent_by_hand_reaches_the_job_inside(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/bash", "--norc", "--noprofile", "--noediting", "-i")
    screen.prompt()
    screen.command("cat")
    screen.line("one")
    screen.expect("one\r\none\r")
    os.kill(screen.process.pid, signal.SIGINT)
    screen.prompt()
    screen.command("echo status=$?")
    screen.expect("status=130")
