"""What an app might do to other programs from inside; each attempt also with the protection removed, where it works."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker import host
from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

SHELL, PYTHON, NETWORK = "org.example.Shell", "org.example.Python", "org.example.Network"
SHARED_PROCESSES = """
from intents import bwrap
bwrap.ALWAYS = ("--unshare-uts", "--unshare-user", "--disable-userns", "--unshare-net", "--cap-drop", "ALL")
"""
NESTED = """
from intents import bwrap
bwrap.ALWAYS = ("--unshare-all", "--unshare-user", "--unshare-user", "--cap-drop", "ALL")
"""


@pytest.fixture(scope="module")
def here() -> Iterator[world.World]:
    with world.world() as made:
        made.install(world.manifest(world.SHELL, app_id=SHELL))
        made.install(world.manifest(world.PYTHON, app_id=PYTHON))
        made.install(world.manifest(world.PYTHON, {"net": {"kind": "network", "scope": "host"}}, app_id=NETWORK))
        made.decide("net", app_id=NETWORK)
        yield made


@contextmanager
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A program of the same user outside."""
    argv = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_no_process_outside_is_seen_or_signalled(here: world.World) -> None:
    with victim() as other:
        script = f"ls /proc; kill -9 {other.pid}; kill -0 {other.pid} && echo seen"
        shown = here.start(script, name=SHELL).stdout.decode().split()
        assert str(other.pid) not in shown
        assert "seen" not in shown
        assert other.poll() is None
        assert len([entry for entry in shown if entry.isdigit()]) <= 3
        here.start(f"kill -9 {other.pid}", name=SHELL, removed=SHARED_PROCESSES)
        assert other.wait(world.LIMIT) == -signal.SIGKILL


TRACE = """
import ctypes, os, time
trace = ctypes.CDLL(None).ptrace
child = os.fork() or time.sleep(60)
print(trace(0x4206, {}, 0, 0), trace(0x4206, child, 0, 0), flush=True)  # PTRACE_SEIZE: ptrace(2)
os.kill(child, 9)
"""


def test_nothing_can_be_traced(here: world.World) -> None:
    """Neither outside, where the user namespace would forbid it as well, nor the app's own processes."""
    with victim() as other:
        code = TRACE.format(other.pid)
        assert here.says(code, name=PYTHON) == "-1 -1\n"
        assert here.says(code, name=PYTHON, removed=SHARED_PROCESSES + world.NO_FILTER) == "-1 0\n"


def test_everything_inside_can_be_killed_and_nothing_else(here: world.World) -> None:
    with victim() as other:
        here.start("kill -9 -1", name=SHELL)
        assert other.poll() is None


FAMILIES = """
import socket
for family in range(50):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind).close()
            print(family)
            break
        except OSError:
            pass
"""


def test_only_four_families_of_sockets_can_be_made(here: world.World) -> None:
    harmless = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    inside = {int(line) for line in here.says(FAMILIES, name=PYTHON).split()}
    assert inside == harmless
    without = {int(line) for line in here.says(FAMILIES, name=PYTHON, removed=world.NO_FILTER).split()}
    # The network namespace does not hold AF_VSOCK (40): only the filter does.
    outside = subprocess.run([sys.executable, "-c", FAMILIES], capture_output=True, check=True).stdout.decode().split()
    must_work("40" in outside, "AF_VSOCK in the kernel")
    assert socket.AF_VSOCK in without


@pytest.mark.parametrize("left", [NESTED, world.NO_FILTER], ids=["filter", "limit"])
def test_no_user_namespace_can_be_made_inside(here: world.World, left: str) -> None:
    script = "unshare --user true 2>&1; echo $?"
    assert here.says(script, name=SHELL).splitlines()[-1] == "1"
    # The system call filter and the limit of bubblewrap hold each alone; without both it works.
    assert here.says(script, name=SHELL, removed=left).splitlines()[-1] == "1"
    assert here.says(script, name=SHELL, removed=NESTED + world.NO_FILTER).splitlines()[-1] == "0"


ABSTRACT = """
import socket
with socket.socket(socket.AF_UNIX) as stream:
    print(stream.connect_ex({!r}))
"""


@contextmanager
def abstract_listener() -> Iterator[str]:
    name = f"\0intents-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen(8)
        yield name


def test_abstract_sockets_stay_closed_on_the_shared_network(here: world.World) -> None:
    must_work(host.landlock() >= 6, "Landlock scopes (Linux 6.12)")
    with abstract_listener() as name:
        code = ABSTRACT.format(name)
        assert here.says(code, name=NETWORK) == f"{errno.EPERM}\n"
        removed = "from broker import landlock\nlandlock.restrict = lambda *_: None"
        assert here.says(code, name=NETWORK, removed=removed) == "0\n"


def test_abstract_sockets_do_not_exist_without_the_network(here: world.World) -> None:
    with abstract_listener() as name:
        code = ABSTRACT.format(name)
        assert here.says(code, name=PYTHON) == f"{errno.ECONNREFUSED}\n"
        shared = 'from intents import bwrap\nbwrap.ALWAYS = ("--unshare-uts", *bwrap.ALWAYS[1:])'
        assert here.says(code, name=PYTHON, removed=shared) == "0\n"


def test_the_network_is_there_with_its_grant_alone(here: world.World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket\ns = socket.socket()\nprint(s.connect_ex(('127.0.0.1', {server.getsockname()[1]})))"
        assert here.says(code, name=PYTHON) != "0\n"
        assert here.says(code, name=NETWORK) == "0\n"


def test_no_kernel_setting_can_be_opened_for_writing(here: world.World) -> None:
    code = """
import os
for top, _, names in os.walk("/proc/sys"):
    for name in names:
        try:
            os.close(os.open(os.path.join(top, name), os.O_WRONLY))
            print(os.path.join(top, name))
        except OSError:
            pass
"""
    open_inside = here.says(code, name=PYTHON).split()
    # Limits of the sandbox's own queues, shared memory and processes: ipc_namespaces(7), pid_namespaces(7).
    own = ("fs/mqueue/", "kernel/msg", "kernel/sem", "kernel/shm", "kernel/auto_msgmni", "kernel/ns_last_pid",
           "kernel/pid_max")  # fmt: skip
    foreign = [name for name in open_inside if not name.removeprefix("/proc/sys/").startswith(own)]
    assert foreign == []
    if os.geteuid() == 0:
        assert open_inside == []
        removed = "from intents import bwrap\nbwrap._sealed = lambda mounts: ()"
        assert "/proc/sys/kernel/core_pattern\n" in here.says(code, name=PYTHON, removed=removed)


def test_no_capability_and_no_new_privilege(here: world.World) -> None:
    status = dict(line.split(":\t", 1) for line in here.says("cat /proc/self/status", name=SHELL).splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_nothing_of_the_environment_passes_but_what_is_listed(here: world.World) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "s3cret", "SSH_AUTH_SOCK": "/run/s3cret", "GITHUB_TOKEN": "s3cret"}
    script = "env; tr '\\0' '\\n' < /proc/1/environ; cat /proc/1/cmdline"
    assert "s3cret" not in here.says(script, name=SHELL, environ={**secrets, "TERM": "xterm"})
    assert "TERM=xterm" in here.says(script, name=SHELL, environ={"TERM": "xterm"})
    removed = """
import os
real = os.execve
os.execve = lambda path, argv, _: real(path, argv, os.environ)
"""
    assert "s3cret" in here.says(script, name=SHELL, environ=secrets, removed=removed)


def test_cve_2021_21261_bubblewrap_itself_has_no_environment(here: world.World) -> None:
    argv = here.argv(SHELL, "echo up; read line")
    with subprocess.Popen(
        argv, env={**here.environ, "SECRET": "s3cret"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=here.base
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        with open(f"/proc/{process.pid}/environ", "rb") as environ, open(f"/proc/{process.pid}/comm") as comm:
            assert comm.read() == "bwrap\n"
            assert environ.read() == b""
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(world.LIMIT) == 1  # what `read` says at the end of input


def test_the_console_is_not_the_users_terminal(here: world.World) -> None:
    outer, inner = os.openpty()
    try:
        script = "stat -c %t:%T /dev/console /proc/self/fd/1 2>/dev/null; tty"
        process = subprocess.Popen(
            here.argv(SHELL, script),
            env=here.environ,
            cwd=here.base,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: ctypes.CDLL(None).ioctl(0, 0x540E, 0),  # TIOCSCTTY: ioctl_tty(2)
        )
        device = os.fstat(inner).st_rdev
        os.close(inner)
        shown = b""
        while piece := _read(outer):
            shown += piece
        assert process.wait(world.LIMIT) == 0, shown
        users = f"{os.major(device):x}:{os.minor(device):x}"
        assert shown.strip(), "nothing was shown"
        lines = shown.decode().split()
        assert users not in lines or _other_devpts(here), lines
    finally:
        os.close(outer)


def _other_devpts(here: world.World) -> bool:
    """Terminal numbers repeat from one devpts to the next: inside there is another one, with nothing in it."""
    return here.says("ls /dev/pts", name=SHELL).split() == ["ptmx"]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except OSError:  # the last one on the other side is gone
        return b""


def test_the_sandbox_ends_with_whoever_ran_it(here: world.World) -> None:
    argv = here.argv(SHELL, "echo up; sleep 1000")
    with subprocess.Popen(
        argv, env=here.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=here.base
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.kill()
        # The app holds the other end of the pipe for as long as it lives.
        assert peers.ends(lambda: process.stdout and process.stdout.read()) == b""
