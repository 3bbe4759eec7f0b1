"""What is handed to an app at its start: descriptors, signals, arguments, status; and what must not come along."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from broker import launch
from tests.real import peers, world

pytestmark = pytest.mark.real

SHELL, PYTHON, GREP = "org.example.Shell", "org.example.Python", "org.example.Grep"
UNCHECKED = "from broker import launch\nlaunch.check_descriptors = lambda: None"
UNRESET = "from broker import launch\nlaunch._reset = lambda: None"


@pytest.fixture(scope="module")
def here() -> Iterator[world.World]:
    with world.world() as made:
        made.install(world.manifest(world.SHELL, app_id=SHELL))
        made.install(world.manifest(world.PYTHON, app_id=PYTHON))
        made.install(world.manifest(["/usr/bin/grep", "-E"], app_id=GREP))
        (made.base / "canary").write_text("host")
        yield made


@pytest.fixture
def directory(here: world.World) -> Iterator[int]:
    """A descriptor of a directory of the host, beside which a canary lies."""
    handle = os.open(here.home, os.O_RDONLY)
    yield handle
    os.close(handle)


def test_usn_8779_2_inherited_descriptors_are_closed(here: world.World, directory: int) -> None:
    script = f"cat /proc/self/fd/{directory}/../canary; ls /proc/self/fd | wc -l"
    assert here.says(script, name=SHELL, fds=[directory]).split() == ["4"]  # 0 to 2 and the one that lists them
    removed = "from broker import launch\nlaunch._forget_inherited = lambda _: None"
    assert here.says(script, name=SHELL, fds=[directory], removed=removed).startswith("host")


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_directory_as_standard_stream_is_refused(here: world.World, directory: int, stream: int) -> None:
    # Python itself does not start with a directory as standard input, but only because nobody asked it to.
    turned = f"import os\nos.dup2({directory}, {stream}, inheritable=True)\n"
    look = ["-q", "host", f"/proc/self/fd/{stream}/../canary"]
    refused = here.start(*look, name=GREP, fds=[directory], removed=turned)
    assert refused.returncode == 125
    assert stream == 2 or b"[unsafe-descriptor]" in refused.stderr
    assert here.start(*look, name=GREP, fds=[directory], removed=turned + UNCHECKED).returncode == 0


def test_an_internet_socket_as_standard_input_is_refused(here: world.World) -> None:
    code = "import socket; s = socket.socket(fileno=0); s.sendall(b'out'); print(s.recv(10))"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def start(removed: str) -> subprocess.CompletedProcess[bytes]:
            with socket.create_connection(server.getsockname()) as client:
                accepted, _ = server.accept()
                with accepted:
                    accepted.sendall(b"in")
                    return here.start(code, name=PYTHON, stdin=client.fileno(), removed=removed)

        refused = start("")
        assert (refused.returncode, refused.stdout) == (125, b"")
        assert b"[unsafe-descriptor]" in refused.stderr
        assert start(UNCHECKED).stdout == b"b'in'\n"


def test_a_unix_socket_as_standard_input_is_allowed(here: world.World) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"hello\n")
        assert here.says("read line; echo $line", name=SHELL, stdin=theirs.fileno()) == "hello\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_an_empty_one(here: world.World, closed: str) -> None:
    argv = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *here.argv(SHELL, "cat; ls /proc/self/fd >/tmp/x; exit 7")]
    done = subprocess.run(argv, env=here.environ, cwd=here.base, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 7


def test_data_passes_through_pipes_unchanged(here: world.World) -> None:
    data = bytes(range(256)) * 4096
    done = here.start("cat; echo error >&2", name=SHELL, data=data)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, b"error\n")


def test_every_exit_status_passes_through(here: world.World) -> None:
    assert here.start("exit 0", name=SHELL).returncode == 0
    sections = launch.read(f"{here.places.state}/plans/{SHELL}.pipe")
    assert sections is not None
    for status in range(0, 256, 1 if os.environ.get("INTENTS_CI") == "1" else 5):
        child = os.fork()
        if child == 0:
            try:
                os.close(0)
                launch.execute(sections, [b"exit %d" % status], lambda _line: None)
            finally:
                os._exit(250)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_death_by_a_signal_shows_as_a_shell_shows_it(here: world.World, number: signal.Signals) -> None:
    assert here.start(f"kill -{int(number)} $$", name=SHELL).returncode == 128 + number


def test_signals_are_at_their_defaults(here: world.World) -> None:
    def start(removed: str) -> str:
        done = subprocess.run(
            here.argv(GREP, "Sig(Ign|Blk)", "/proc/self/status", removed=removed),
            env=here.environ,
            cwd=here.base,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]),
            check=True,
        )
        return done.stdout.decode()

    assert {line.split()[1] for line in start("").splitlines()} == {"0" * 16}
    ignored, blocked = (int(line.split()[1], 16) for line in sorted(start(UNRESET).splitlines(), reverse=True))
    assert ignored & 1 << signal.SIGPIPE - 1
    assert blocked & 1 << signal.SIGUSR1 - 1


def test_a_caller_that_ignores_its_children_makes_nothing_hang(here: world.World) -> None:
    """bubblewrap 0.8 waits for ever for a child whose end it is never told of."""
    with subprocess.Popen(
        here.argv(SHELL, "exit 3"),
        env=here.environ,
        cwd=here.base,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    ) as process:
        assert peers.ends(process.wait) == 3


def test_cve_2020_17367_no_argument_is_read_by_anybody_but_the_app(here: world.World) -> None:
    hostile = ["--", "--share-net", "--bind", "/", "/host", "-c", "--args", "99", "=x", "b0", "", "a\nb", "--unsigned"]
    code = "import sys; print(sys.argv[1:])"
    assert here.says(code, *hostile, name=PYTHON) == f"{hostile}\n"


def test_arguments_may_be_long_and_no_text(here: world.World) -> None:
    long, raw = b"x" * 100_000, b"\xff\xfe"
    code = "import os, sys; print(len(sys.argv[1]), os.fsencode(sys.argv[2]))"
    assert here.says(code, long, raw, name=PYTHON) == f"100000 {raw!r}\n"


@pytest.mark.parametrize("words", [["--share-net", SHELL], ["--"], ["-x"], ["--bind=/"], [""]])
def test_cve_2024_32462_no_argument_is_an_option_of_bubblewrap(here: world.World, words: list[str]) -> None:
    name, *options = reversed(words)
    done = here.start("echo started", name=name, options=options)
    assert done.returncode in (2, 127)
    assert done.stdout == b""


def test_the_working_directory_may_be_gone(here: world.World) -> None:
    gone = here.base / "gone"
    gone.mkdir()
    argv = ["/bin/sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *here.argv(SHELL, "pwd")]
    done = subprocess.run(argv, env=here.environ, cwd=gone, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (0, f"{here.home}\n"), done.stderr


def test_the_apps_own_directory_may_be_the_working_directory(here: world.World) -> None:
    here.says("true", name=SHELL)
    assert here.says("pwd", name=SHELL, cwd=here.own("config", SHELL)) == f"{here.home}/.config\n"
