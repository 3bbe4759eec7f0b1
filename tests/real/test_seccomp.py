"""The filter in a real sandbox: each refusal beside a twin run without the filter, so that a refusal is the filter's.

The calls are made with arguments that no kernel accepts where the answer without the filter is then another errno.
"""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
from typing import Any

import pytest

from intents import seccomp
from tests.conftest import must_work

pytestmark = pytest.mark.real

PYTHON = "/usr/bin/python3"
X86_64 = os.uname().machine == "x86_64"

# Each case is (number on x86_64, number on aarch64, arguments, what the filter makes of it).
CASES = {
    "tiocsti": (16, 29, (-1, 0x5412, 0), "EPERM"),
    "tiocsti-high-bits": (16, 29, (-1, 0x1_0000_5412, 0), "EPERM"),
    "tioclinux": (16, 29, (-1, 0x541C, 0), "EPERM"),
    "tioclinux-high-bits": (16, 29, (-1, 0xFFFFFFFF_0000541C, 0), "EPERM"),
    "packet-socket": (41, 198, (17, 3, 0), "EAFNOSUPPORT"),
    "packet-socket-high-bits": (41, 198, (0x1_0000_0011, 3, 0), "EAFNOSUPPORT"),
    "vsock": (41, 198, (40, 1, 0), "EAFNOSUPPORT"),
    "packet-socketpair": (53, 199, (17, 0, 0, 0), "EAFNOSUPPORT"),
    "unshare-user": (272, 97, (0x10000000,), "EPERM"),
    "clone3": (435, 435, (0, 0), "ENOSYS"),
    "open_tree": (428, 428, (-1, 0, 0), "ENOSYS"),
    "mount_setattr": (442, 442, (-1, 0, 0, 0, 0), "ENOSYS"),
    "keyctl": (250, 219, (0x7FFF, 0, 0, 0, 0), "EPERM"),
    "add_key": (248, 217, (0, 0, 0, 0, 0), "EPERM"),
    "io_uring_setup": (425, 425, (1, 0), "EPERM"),
    "ptrace": (101, 117, (0x7FFF, 0, 0, 0), "EPERM"),
    "process_vm_readv": (310, 270, (-1, 0, 0, 0, 0, 0), "EPERM"),
    "pidfd_getfd": (438, 438, (-1, 0, 0), "EPERM"),
    "open_by_handle_at": (304, 265, (-1, 0, 0), "EPERM"),
    "name_to_handle_at": (303, 264, (-1, 0, 0, 0, 0), "EPERM"),
    "mount": (165, 40, (0, 0, 0, 0, 0), "EPERM"),
    "umount2": (166, 39, (0, 0), "EPERM"),
    "setns": (308, 268, (-1, 0), "EPERM"),
    "chroot": (161, 51, (0,), "EPERM"),
    "personality-no-randomize": (135, 92, (0x40000,), "EPERM"),
    "perf_event_open": (298, 241, (0, 0, -1, -1, 0), "EPERM"),
    "userfaultfd": (323, 282, (0xFFFF,), "EPERM"),
    "statmount": (457, 457, (0, 0, 0, 0), "EPERM"),
    "lsm_list_modules": (461, 461, (0, 0, 0), "EPERM"),
    "fchmod-setuid": (91, 52, (-1, 0o4755), "EPERM"),
    "fchmod-setgid-high-bits": (91, 52, (-1, 0x1_0000_05ED | 0o2000), "EPERM"),
    "fchmodat-setuid": (268, 53, (-1, 0, 0o4755), "EPERM"),
    "clone-new-user": (56, 220, (0x10000000 | 17, 0, 0, 0, 0), "EPERM"),
}
# The kernel itself says the same without the filter where it was built or told so; then the twin cannot differ.
SAME_WITHOUT = {
    "vsock",  # no vsock module
    "io_uring_setup",  # kernel.io_uring_disabled = 2
    "open_by_handle_at",  # kernels before 6.11 ask for the capability first
    "perf_event_open",  # kernel.perf_event_paranoid
    "userfaultfd",  # vm.unprivileged_userfaultfd = 0
    "statmount", "lsm_list_modules",  # kernels before 6.8 know neither, and the filter's answer is EPERM all the same
    "unshare-user", "clone-new-user",  # a limit on user namespaces
}  # fmt: skip

PROBE = """
import ctypes, errno, json, os, sys

libc = ctypes.CDLL(None, use_errno=True)
found = {}
for name, (number, arguments) in json.loads(sys.argv[1]).items():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        os.write(writer, errno.errorcode[ctypes.get_errno()].encode() if result == -1 else b"done")
        os._exit(0)
    os.close(writer)
    status = os.waitpid(child, 0)[1]
    found[name] = os.read(reader, 100).decode() or f"signal {os.WTERMSIG(status)}"
    os.close(reader)
print(json.dumps(found))
"""

OTHER_MODES = """
import ctypes, mmap, os, sys

def outcome(call):
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])

def through_the_32_bit_gate():
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000" "cd80" "c3"))  # mov eax, 20 (getpid); int 0x80; ret
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()

libc = ctypes.CDLL(None)
print(outcome(through_the_32_bit_gate), outcome(lambda: libc.syscall(0x40000000 | 39)))
"""

TYPE_AHEAD = """
import fcntl, os, select, sys, termios

controller, terminal = os.openpty()
child = os.fork()
if child == 0:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    try:
        for letter in b"x\\n":
            fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
    except OSError:
        pass
    typed = select.select([terminal], [], [], 0)[0]
    os._exit(1 if typed else 0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

ORDINARY = """
import concurrent.futures, ctypes, fcntl, multiprocessing, os, select, socket, subprocess, tempfile, termios

with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(len, ["a", "bb", "ccc"])) == 6
assert subprocess.run(["/bin/sh", "-c", "echo a | tr a b"], capture_output=True, check=True).stdout == b"b\\n"
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(abs, [-1, 2]) == [1, 2]
left, right = socket.socketpair()
left.send(b"x")
assert right.recv(1) == b"x"
for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK):
    socket.socket(family, socket.SOCK_DGRAM).close()
assert socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 80)
assert socket.if_nametoindex("lo") > 0
controller, terminal = os.openpty()
termios.tcgetattr(terminal)
fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
with select.epoll() as poll, tempfile.TemporaryFile() as file:
    poll.register(left)
    file.write(b"x")
os.close(os.pidfd_open(os.getpid()))
os.close(os.memfd_create("x"))
os.getrandom(8)
assert ctypes.CDLL(None).prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert ctypes.CDLL(None).personality(0) == 0
print("ordinary")
"""


def accounts() -> list[int]:
    """The current user and, when that is root, an ordinary one as well."""
    return [os.getuid()] + ([pwd.getpwnam("nobody").pw_uid] if os.getuid() == 0 else [])


def sandbox(uid: int, script: str, *arguments: str, filtered: bool) -> str:
    """What the script printed in a sandbox without capabilities, started as that account."""
    must_work(shutil.which("bwrap"), "bubblewrap")
    argv = ["bwrap", "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    argv += ["--tmpfs", "/tmp", "--clearenv"]
    account: dict[str, Any] = {}
    if uid != os.getuid():
        account = {"user": uid, "group": pwd.getpwuid(uid).pw_gid, "extra_groups": []}
    with tempfile.TemporaryFile() as program:
        program.write(seccomp.build(os.uname().machine))
        program.seek(0)
        argv += ["--seccomp", str(program.fileno())] if filtered else []
        argv += ["--", PYTHON, "-I", "-c", script, *arguments]
        done = subprocess.run(argv, pass_fds=[program.fileno()], cwd="/", capture_output=True, check=False, **account)
    assert done.returncode == 0, done.stderr
    return str(done.stdout, "utf-8").strip()


def probe(uid: int, *, filtered: bool) -> dict[str, str]:
    calls = {name: (row[0 if X86_64 else 1], row[2]) for name, row in CASES.items()}
    found: dict[str, str] = json.loads(sandbox(uid, PROBE, json.dumps(calls), filtered=filtered))
    return found


@pytest.mark.parametrize("uid", accounts())
def test_cve_2021_41133_each_call_is_refused_by_the_filter_and_not_by_the_kernel(uid: int) -> None:
    inside, twin = probe(uid, filtered=True), probe(uid, filtered=False)
    assert inside == {name: row[3] for name, row in CASES.items()}
    assert {name for name in CASES if inside[name] == twin[name]} <= SAME_WITHOUT, twin


@pytest.mark.skipif(not X86_64, reason="only x86-64 has other modes that every process can enter")
@pytest.mark.parametrize("uid", accounts())
def test_other_processor_modes_end_the_process(uid: int) -> None:
    sigsys = "31"
    assert sandbox(uid, OTHER_MODES, filtered=True).split() == [sigsys, sigsys]
    assert sigsys not in sandbox(uid, OTHER_MODES, filtered=False).split()


@pytest.mark.parametrize("uid", accounts())
def test_cve_2017_5226_nothing_can_be_typed_into_the_terminal(uid: int) -> None:
    assert sandbox(uid, TYPE_AHEAD, filtered=True) == "0"
    sysctl = pathlib.Path("/proc/sys/dev/tty/legacy_tiocsti")  # absent before Linux 6.2, which always typed
    live = not sysctl.exists() or sysctl.read_text().strip() == "1"
    assert sandbox(uid, TYPE_AHEAD, filtered=False) == ("1" if live else "0")


@pytest.mark.parametrize("uid", accounts())
def test_ordinary_programs_work(uid: int) -> None:
    assert sandbox(uid, ORDINARY, filtered=True) == "ordinary"
