"""The relay carries bytes, sizes, signals and the end of an app between two terminals (SPEC §9.6)."""

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from tests.real import terminal

pytestmark = pytest.mark.real


@pytest.fixture(params=terminal.accounts())
def desk(request: pytest.FixtureRequest) -> Iterator[terminal.Desk]:
    with terminal.desk_of(request.param) as made:
        yield made


# -- how it ends


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 255", 255)]
)
def test_status_is_the_apps(desk: terminal.Desk, script: str, status: int) -> None:
    assert desk.open("boxed", "/bin/sh", "-c", script).wait() == status


def test_start_that_fails_says_one_line(desk: terminal.Desk) -> None:
    screen = desk.open("relay", "/no/such/bwrap")
    assert screen.wait() == 125
    assert screen.shown == (
        "intent-run: the sandbox did not start: No such file or directory; see `intent-ctl doctor`\r\n"
    )


def test_sigterm_reaches_the_app_and_is_the_status(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    script = 'trap "echo told; exit 3" TERM; echo up; while :; do sleep 0.05; done'
    screen.command(f"relay /bin/sh -c '{script}' &")
    screen.expect("up\r")
    screen.command("kill $!; wait $!; echo status=$?")
    screen.expect("told")
    screen.expect("status=3\r")
    screen.prompt()
    screen.command("boxed /bin/sh -c 'echo up; exec sleep 1000' &")
    screen.expect("up\r")
    screen.command("kill $!; wait $!; echo status=$?")
    screen.expect("status=143\r")
    screen.prompt()
    assert screen.modes() == modes


def test_sigterm_in_the_foreground_restores_the_modes(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed /bin/sh -c 'echo up; exec sleep 1000'; echo status=$?")
    screen.expect("up\r")
    assert screen.modes() != modes
    os.kill(screen.foreground(), signal.SIGTERM)
    screen.expect("status=143\r")
    screen.prompt()
    assert screen.modes() == modes


def test_sighup_ends_the_app_and_restores_the_modes(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command(f"boxed /bin/sh -c 'echo up; exec sleep {desk.mark}'; echo status=$?")
    screen.expect("up\r")
    screen.taken()
    os.kill(screen.foreground(), signal.SIGHUP)
    screen.expect("status=129\r")
    screen.prompt()
    assert screen.modes() == modes
    screen.until(lambda: not terminal.named(desk.mark), "the app survived")


def test_monitor_killed_ends_all_and_restores_the_modes(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command(f"boxed /bin/sh -c 'echo up; exec sleep {desk.mark}'; echo status=$?")
    screen.expect("up\r")
    relay = screen.foreground()
    monitor = terminal.child_of(relay)
    os.kill(monitor, signal.SIGKILL)
    screen.expect("status=137\r")
    assert screen.modes() == modes
    screen.until(lambda: not terminal.named(desk.mark), "the app survived")


def test_nothing_survives_sigkill_of_the_relay(desk: terminal.Desk) -> None:
    mark = desk.mark
    screen = desk.shell()
    screen.command(f"boxed /bin/sh -c 'trap \"\" HUP; echo up; exec sleep {mark}'")
    screen.expect("up\r")
    relay = screen.foreground()
    monitor = terminal.child_of(relay)
    screen.until(lambda: terminal.named(mark), "the app did not begin")
    os.kill(relay, signal.SIGKILL)
    screen.until(lambda: not terminal.named(mark), "the app survived")
    screen.until(lambda: terminal.over(monitor), "the monitor survived")


@pytest.mark.parametrize("command", ["boxed", "relay"])
def test_closing_the_window_ends_even_an_app_that_ignores_it(desk: terminal.Desk, command: str) -> None:
    mark = desk.mark
    screen = desk.open(command, "/bin/sh", "-c", f"trap '' HUP; echo up; exec sleep {mark}")
    screen.expect("up")
    screen.hang_up()
    assert screen.process.wait(terminal.PATIENCE) == 129
    assert desk.file("status") == "129"
    assert not terminal.named(mark)


@pytest.mark.parametrize("command", ["relay", "boxed"])
def test_closing_the_window_tells_the_app_first(desk: terminal.Desk, command: str) -> None:
    script = 'trap "echo told > $S/told; exit" HUP; echo up; while :; do sleep 0.05; done'
    screen = desk.open(command, "/bin/sh", "-c", script)
    screen.expect("up")
    screen.hang_up()
    assert screen.process.wait(terminal.PATIENCE) == 129
    assert desk.file("told") == "told\n"


def test_termination_reaches_the_app_in_the_sandbox(desk: terminal.Desk) -> None:
    script = 'trap "echo told > $S/told; exit 3" TERM; echo up; while :; do sleep 0.05; done'
    screen = desk.open("boxed", "/bin/sh", "-c", script)
    screen.expect("up")
    screen.process.terminate()
    assert screen.process.wait(terminal.PATIENCE) == 3
    assert desk.file("told") == "told\n"


def test_without_ptys_it_says_so(desk: terminal.Desk) -> None:
    screen = desk.open("bwrap", "--dev-bind", "/", "/", "--tmpfs", "/dev/pts", "relay", "true")
    assert screen.wait() == 1
    assert "HostError" in screen.shown and "there is no terminal for the app: " in screen.shown, "intent-run renders it"


# -- what the app holds


def test_only_terminals_are_replaced(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command('ls -l /proc/self/fd > "$S/own"; relay ls -l /proc/self/fd > "$S/app"')
    screen.prompt()
    screen.command('relay cat < "$S/own" > "$S/copy"')
    screen.prompt()
    outer, app = desk.file("own"), desk.file("app")
    assert desk.file("copy") == outer
    assert f"1 -> {desk.share}/app" in app
    assert re.findall(r"(\d+) -> ", app) == ["0", "1", "2", "3"], "3 is the directory that ls lists"
    own = re.search(r" 0 -> (/dev/pts/\d+)", outer)
    assert own and own[1] + "\n" not in app
    assert len(re.findall(r" [02] -> /dev/pts/\d+", app)) == 2


def test_two_terminals_are_refused(desk: terminal.Desk) -> None:
    other = desk.open("sleep", "1000")
    screen = desk.shell()
    device = os.readlink(f"/proc/{other.process.pid}/fd/0")
    screen.command(f"relay true 2> {device}; echo status=$?")
    screen.expect("status=1\r")
    other.expect("2 are two different terminals")


def test_dev_tty_names_one_terminal_with_the_others(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command("relay true 2> /dev/tty; echo status=$?")
    screen.expect("status=0\r")


def test_a_terminal_of_somebody_else_still_works(desk: terminal.Desk) -> None:
    """After `su` the device belongs to another account, and without a controlling terminal there is no /dev/tty."""
    screen = desk.open("setsid", "--wait", "boxed", "/bin/sh", "-c", "read x; echo got $x; exit 5", owned=False)
    screen.taken()
    screen.line("something")
    screen.expect("got something")
    assert screen.wait() == 5


# -- bytes and sizes


def test_nothing_of_a_mebibyte_is_lost(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/sh", "-c", "stty -opost; seq 1000000 | head -c 1048576")
    assert screen.wait() == 0
    expected = "\n".join(map(str, range(1, 170000)))[: 1 << 20]
    assert screen.shown == expected


def test_a_reader_that_pauses_loses_nothing(desk: terminal.Desk) -> None:
    """Nobody reads until all buffers are full and the app has to wait; R then neither drops nor spins."""
    screen = desk.open("relay", "/bin/sh", "-c", 'stty -opost; seq 40000; : > "$S/done"')
    screen.expect("1\n2\n")
    before, now = terminal.work(screen.process.pid), (0, "")
    while before != now:
        time.sleep(0.1)
        before, now = now, terminal.work(screen.process.pid)
    time.sleep(1)
    assert terminal.work(screen.process.pid)[0] - now[0] < 20, "R spins"
    assert not (desk.share / "done").exists()
    assert screen.wait() == 0
    assert screen.shown == "".join(f"{number}\n" for number in range(3, 40001))


def test_a_paste_of_a_mebibyte_is_kept(desk: terminal.Desk) -> None:
    text = "".join(f"{number:07d} {'x' * 90}\n" for number in range(10700))
    screen = desk.open("boxed", "/bin/sh", "-c", 'stty -echo; echo up; cat > "$S/paste"')
    screen.expect("up")
    screen.send(text + "\x04")
    assert screen.wait() == 0
    assert desk.file("paste") == text


def test_the_size_is_copied_and_followed(desk: terminal.Desk) -> None:
    script = 'trap "stty size" WINCH; stty size; while :; do sleep 0.05; done'
    screen = desk.open("boxed", "/bin/sh", "-c", script, size=(31, 97))
    screen.expect("31 97")
    screen.resize(17, 43)
    screen.expect("17 43")


def test_the_modes_are_the_users(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command('stty erase ^H intr ^G; stty -g > "$S/own"; boxed stty -g > "$S/app" 2>&1 < /dev/tty')
    screen.prompt()
    assert desk.file("own") == desk.file("app") != ""


def test_unusual_bytes_pass_both_ways(desk: terminal.Desk) -> None:
    screen = desk.open("boxed", "/bin/sh", "-c", 'stty raw -echo; echo up; head -c 256 | od -An -v -tu1')
    screen.expect("up")
    os.write(screen.master, bytes(range(256)))
    assert screen.wait() == 0
    assert screen.shown.split() == [str(number) for number in range(256)]
