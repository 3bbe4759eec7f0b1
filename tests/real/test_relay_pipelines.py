"""A sandboxed app in a pipeline shares the terminal with the programs beside it (SPEC §9.6)."""

import shutil
import termios
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import terminal

pytestmark = pytest.mark.real


@pytest.fixture(params=terminal.accounts())
def desk(request: pytest.FixtureRequest) -> Iterator[terminal.Desk]:
    with terminal.desk_of(request.param) as made:
        yield made


def test_a_pipeline_leaves_the_terminal_alone(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    script = "echo asked >&2; until [ -e $S/go ]; do sleep 0.05; done; echo one"
    screen.command(f"boxed /bin/sh -c '{script}' | (read a < /dev/tty; cat; echo a=$a)")
    screen.expect("asked\r")
    assert screen.modes() == modes
    screen.line("answer")
    (desk.share / "go").touch()
    screen.expect("one\r\na=answer\r")
    screen.prompt()
    assert screen.modes() == modes


def test_a_pipeline_ends_with_its_reader(desk: terminal.Desk) -> None:
    screen = desk.shell()
    screen.command("boxed yes | head -n 2; echo ${PIPESTATUS[@]}")
    screen.expect("y\r\ny\r\n141 0\r")


def test_keys_go_to_whoever_reads_them(desk: terminal.Desk) -> None:
    """Standard input of the app is a pipe: what is typed belongs to the first program of the line."""
    screen = desk.shell()
    screen.command("sh -c 'echo up >&2; read x; echo $x' | boxed sed s/^/app:/")
    screen.expect("up\r")
    screen.line("typed")
    screen.expect("app:typed\r")
    screen.prompt()


@pytest.mark.parametrize("line", ["boxed /bin/sh -c '{}' | cat", "x=$(boxed /bin/sh -c '{}'); echo $x"])
def test_an_app_in_a_pipeline_may_ask(desk: terminal.Desk, line: str) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command(line.format("echo up >&2; read x; echo got $x"))
    screen.expect("up\r")
    screen.line("typed")
    screen.expect("got typed\r")
    screen.prompt()
    assert screen.modes() == modes


def test_an_app_in_a_pipeline_may_take_single_keys(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    script = "stty -icanon -echo min 1; echo up >&2; head -c 1; stty icanon echo"
    screen.command(f"boxed /bin/sh -c '{script}' | od -An -c")
    screen.expect("up\r")
    screen.send("k")
    screen.expect(" k\r")
    screen.prompt()
    assert screen.modes() == modes


def test_an_app_in_a_pipeline_may_turn_signals_into_keys(desk: terminal.Desk) -> None:
    screen = desk.shell()
    script = "echo up >&2; read x; stty -isig -icanon -echo; head -c 1; stty sane"
    screen.command(f"boxed /bin/sh -c '{script}' | od -An -tu1")
    screen.expect("up\r")
    screen.taken()
    assert screen.modes()[3] & termios.ISIG
    screen.line("x")
    screen.until(lambda: not screen.modes()[3] & termios.ISIG, "the keys still signal")
    screen.send("\x03")
    screen.expect(" 3\r")


def test_a_pager_at_the_end_of_a_pipe(desk: terminal.Desk) -> None:
    must_work(shutil.which("less"), "less")
    screen = desk.shell()
    modes = screen.modes()
    screen.command("seq 500 | boxed less")
    screen.expect(r"\n23\r+\n")
    screen.send(" ")
    screen.expect(r"\n46\r+\n")
    screen.send("q")
    screen.prompt()
    assert screen.modes() == modes


def test_a_calculator_with_a_log(desk: terminal.Desk) -> None:
    must_work(shutil.which("qalc"), "qalc")
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed env HOME=$S qalc -t | tee $S/log")
    screen.line("6*7")
    screen.expect(r"\n *(\x1b\[[0-9;]*m)*42")
    screen.send("\x04")
    screen.prompt()
    assert screen.modes() == modes
    assert "42" in desk.file("log")


@pytest.mark.parametrize("line", ["boxed {} | cat", "sleep 1000 | boxed {}"])
@pytest.mark.parametrize("reads", [False, True])
def test_interrupt_ends_a_whole_pipeline(desk: terminal.Desk, line: str, reads: bool) -> None:
    screen = desk.shell()
    modes = screen.modes()
    question = "read x < /dev/tty; " if reads else ""
    screen.command(line.format(f"/bin/sh -c 'echo up >&2; {question}exec sleep {desk.mark}'"))
    screen.expect("up\r")
    if reads:
        screen.taken()
        screen.line("x")
    screen.until(lambda: terminal.named(desk.mark))
    screen.send("\x03")
    screen.prompt()
    assert screen.modes() == modes
    screen.until(lambda: not terminal.named(desk.mark))


def test_stop_stops_a_whole_pipeline(desk: terminal.Desk) -> None:
    screen = desk.shell()
    modes = screen.modes()
    screen.command("boxed /bin/sh -c 'echo up >&2; read x; echo got $x' | cat")
    screen.expect("up\r")
    for _ in range(2):
        screen.send("\x1a")
        screen.expect("Stopped")
        screen.prompt()
        assert screen.modes() == modes
        screen.resume()
    screen.line("typed")
    screen.expect("got typed\r")
    screen.prompt()
    assert screen.modes() == modes


def test_modes_that_another_program_set_later_stay(desk: terminal.Desk) -> None:
    screen = desk.shell()
    script = "echo up >&2; read x; until [ -e $S/go ]; do sleep 0.05; done"
    screen.command(f"boxed /bin/sh -c '{script}' | (cat; stty -a < /dev/tty > $S/modes; stty sane < /dev/tty)")
    screen.expect("up\r")
    screen.taken()
    screen.line("x")
    screen.expect("x\r")
    changed = screen.modes()
    changed[6] = [*changed[6][: termios.VERASE], b"#", *changed[6][termios.VERASE + 1 :]]
    termios.tcsetattr(screen.master, termios.TCSANOW, changed)
    (desk.share / "go").touch()
    screen.prompt()
    assert "erase = #" in desk.file("modes")
    assert "-icanon" in desk.file("modes")


def test_a_job_of_a_script_without_job_control_takes_no_keys(desk: terminal.Desk) -> None:
    """`app &` in a script stays in the foreground group; its standard input is /dev/null."""
    screen = desk.shell()
    (desk.share / "app").write_text("echo up; exec sleep 1000")
    screen.command("sh -c 'boxed sh $S/app & read x; echo got $x; kill $!'")
    screen.expect("up\r")
    screen.line("typed")
    screen.expect("got typed\r")
    screen.prompt()
