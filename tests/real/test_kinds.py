"""Kinds of services, devices and the kernel: what a grant gives works inside, and without it does not (SPEC §5.6)."""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping

import pytest

from tests.real import world
from tests.real.world import World

pytestmark = pytest.mark.real

# Prints what comes back from the socket that it is given the path of.
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as stream:
    stream.connect(sys.argv[1])
    print("connected")
"""
# kind, the variable by which the service is found outside, the path inside
SERVICES = {
    "audio": ({"kind": "audio", "uses": ["playback"]}, "PULSE_SERVER", "/run/user/{uid}/pulse/native"),
    "printing": ({"kind": "printing"}, "CUPS_SERVER", "/run/cups/cups.sock"),
    "smartcard": ({"kind": "smartcard"}, "PCSCLITE_CSOCK_NAME", "/run/pcscd/pcscd.comm"),
    "ssh-agent": ({"kind": "ssh-agent"}, "SSH_AUTH_SOCK", "/run/user/{uid}/ssh-agent"),
    "gpg-agent": ({"kind": "gpg-agent"}, "GNUPGHOME", "/run/user/{uid}/gnupg/S.gpg-agent"),
}
# Python that prints "yes" where a call goes through.
CALLS = {
    "debugging": "print('yes' if libc.ptrace(0, 0, 0, 0) == 0 else 'no')",  # PTRACE_TRACEME
    "nested-sandbox": "print('yes' if libc.unshare(0x10000000) == 0 else 'no')",  # CLONE_NEWUSER
}
CALL = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "


@pytest.fixture
def here() -> Iterator[World]:
    with world.world() as made:
        yield made


def install(here: World, scope: Mapping[str, object], *command: str) -> None:
    here.install(world.manifest(command or world.PYTHON, {"it": scope}))


@contextlib.contextmanager
def service(name: str) -> Iterator[pathlib.Path]:
    """A directory with a socket of that name that takes connections and says nothing."""
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{directory}/{name}")
        listening.listen(64)
        yield pathlib.Path(directory)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_answers_inside_when_it_is_granted_and_not_before(here: World, name: str) -> None:
    scope, variable, inside = SERVICES[name]
    with service("S.gpg-agent.extra") as directory:
        here.environ[variable] = str(directory if name == "gpg-agent" else directory / "S.gpg-agent.extra")
        install(here, scope)
        words = (ASK, inside.format(uid=os.geteuid()))
        assert here.start(*words).returncode == 1
        here.decide()
        assert here.says(*words) == "connected\n"


def test_a_service_that_is_not_there_is_withheld_and_said(here: World) -> None:
    install(here, {"kind": "smartcard"})
    here.environ["PCSCLITE_CSOCK_NAME"] = f"{here.base}/nobody"
    here.decide()
    done = here.start("print('runs')")
    assert done.stdout == b"runs\n"
    assert b"no smart card service" in done.stderr  # no-service


def test_a_device_that_is_not_there_is_withheld_and_said(here: World) -> None:
    install(here, {"kind": "device", "nodes": ["/dev/nothing-here"]})
    here.decide()
    done = here.start("print('runs')")
    assert done.stdout == b"runs\n"
    assert b"/dev/nothing-here" in done.stderr  # no-device


def test_a_named_device_can_be_opened_when_it_is_granted(here: World) -> None:
    install(here, {"kind": "device", "nodes": ["/dev/fuse"]})
    asked = "import os; print(os.path.exists('/dev/fuse') and os.open('/dev/fuse', os.O_RDWR) > 0)"
    assert here.says(asked) == "False\n"
    here.decide()
    usable = os.access("/dev/fuse", os.R_OK | os.W_OK)  # what the user may not open is no use to the app either
    assert here.says(asked) == f"{usable}\n"


@pytest.mark.parametrize("kind", CALLS)
def test_a_group_of_calls_works_when_it_is_granted(here: World, kind: str) -> None:
    install(here, {"kind": kind})
    assert here.says(CALL + CALLS[kind]) == "no\n"
    here.decide()
    assert here.says(CALL + CALLS[kind]) == "yes\n"


def test_other_processes_are_seen_when_that_is_granted(here: World) -> None:
    install(here, {"kind": "processes"})
    seen = "import os; print(len([name for name in os.listdir('/proc') if name.isdigit()]))"
    alone = int(here.says(seen))
    assert alone <= 3
    here.decide()
    assert int(here.says(seen)) > alone
    out = f"import os; print(os.path.exists('/proc/{os.getpid()}/root/etc/shadow'))"
    assert here.says(out) == "False\n"  # to look through another process's root takes its own namespace


def test_what_sees_other_processes_cannot_end_them(here: World) -> None:
    install(here, {"kind": "processes"})
    here.decide()
    asked = f"""
import os
try:
    os.kill({os.getpid()}, 0)
    print("reached")
except PermissionError:
    print("refused")
"""
    assert here.says(asked) == ("refused\n" if here.load().host.landlock >= 6 else "reached\n")
    # The protection is what refuses: without it the signal arrives.
    assert here.says(asked, removed="from broker import landlock\nlandlock.restrict = lambda *_: None\n") == "reached\n"


def test_what_sees_other_processes_cannot_trace_them(here: World) -> None:
    """With tracing allowed among its own and namespaces to be made as well: a process outside is of another one."""
    kinds = ("processes", "debugging", "nested-sandbox")
    here.install(world.manifest(world.PYTHON, {kind: {"kind": kind} for kind in kinds}))
    here.decide()
    willing = CALL + "libc.prctl(0x59616d61, ctypes.c_ulong(-1)); print(flush=True); input()"  # PR_SET_PTRACER: anybody
    pipe = subprocess.PIPE
    with subprocess.Popen([*world.PYTHON, willing], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        asked = f"print(libc.ptrace(0x4206, {child.pid}, 0, 0), ctypes.get_errno())"  # PTRACE_SEIZE
        assert here.says(CALL + asked) == "-1 1\n"  # EPERM
        assert here.says(CALL + "libc.unshare(0x10000000); " + asked) == "-1 1\n"
        outside = subprocess.run([*world.PYTHON, CALL + asked], capture_output=True, check=True, text=True).stdout
        assert outside == "0 0\n"
        child.kill()


@pytest.mark.parametrize("use", ["files", "ipc"])
def test_shared_memory_is_shared_when_it_is_granted(here: World, use: str) -> None:
    install(here, {"kind": "shared-memory", "uses": [use]})
    if use == "ipc":
        asked, outside = "import os; print(os.readlink('/proc/self/ns/ipc'))", os.readlink("/proc/self/ns/ipc")
        assert here.says(asked) != f"{outside}\n"
        here.decide()
        assert here.says(asked) == f"{outside}\n"
        return
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        asked = f"import os; print(os.path.exists({file.name!r}))"
        assert here.says(asked) == "False\n"
        here.decide()
        assert here.says(asked) == "True\n"


def test_the_machines_hardware_is_told_when_that_is_granted(here: World) -> None:
    install(here, {"kind": "system-info"})
    asked = "import os; print(os.path.isdir('/sys/devices'))"
    assert here.says(asked) == "False\n"
    here.decide()
    assert here.says(asked) == "True\n"


def test_a_variable_is_passed_when_it_is_granted(here: World) -> None:
    install(here, {"kind": "env", "names": ["EDITOR"]})
    asked = "import os; print(os.environ.get('EDITOR'), os.environ.get('OTHER'))"
    here.environ |= {"EDITOR": "ed", "OTHER": "never"}
    assert here.says(asked) == "None None\n"
    here.decide()
    assert here.says(asked) == "ed None\n"
    assert here.says(asked, environ={"EDITOR": "vi"}) == "vi None\n"
