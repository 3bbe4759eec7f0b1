"""The system call filter, by running its bytes: the builder is never believed about what it built."""

import os
import pathlib
import re
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import errors, seccomp
from tests.conftest import must_work
from tests.model import bpf

X86_64, AARCH64 = "x86_64", "aarch64"
MACHINES = (X86_64, AARCH64)
AUDIT = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
FOREIGN = {X86_64: {"i386": 0x40000003, "aarch64": 0xC00000B7}, AARCH64: {"arm": 0x40000028, "x86_64": 0xC000003E}}
X32_BIT = 0x40000000

# What must be refused, as (number on x86_64, number on aarch64): syscalls(2) and the kernel's tables, not the module's.
EPERM = {
    "syslog": (103, 116), "uselib": (134, None), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "modify_ldt": (154, None),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "get_mempolicy": (239, 236), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "set_mempolicy_home_node": (450, 450),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "statmount": (457, 457), "listmount": (458, 458),
    "perf_event_open": (298, 241), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "bpf": (321, 280), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "create_module": (174, None), "init_module": (175, 105),
    "delete_module": (176, 106), "finit_module": (313, 273), "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "lsm_get_self_attr": (459, 459), "lsm_set_self_attr": (460, 460), "lsm_list_modules": (461, 461),
}  # fmt: skip
ENOSYS = {
    "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435,
    "mount_setattr": 442, "open_tree_attr": 467,
}  # fmt: skip
GUARDED = {  # with every argument 0 these are allowed
    "ioctl": (16, 29), "socket": (41, 198), "socketpair": (53, 199), "clone": (56, 220), "personality": (135, 92),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
}  # fmt: skip
KNOWN = {X86_64: {*range(337), *range(424, 470)}, AARCH64: {*range(244), *range(260, 295), *range(424, 470)}}

# No example database: an ordinary user may run the suite from a checkout that is not theirs.
quiet = settings(deadline=None, database=None)
HIGH = st.integers(0, 2**32 - 1).map(lambda bits: bits << 32)
WORD = st.integers(0, 2**64 - 1)
NUMBERS = st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1))


def column(machine: str) -> int:
    return MACHINES.index(machine)


def expected(machine: str, number: int) -> str:
    """The verdict on a call of the machine's own ABI with every argument 0."""
    if number in {row[column(machine)] for row in EPERM.values()}:
        return "EPERM"
    return "ENOSYS" if number in ENOSYS.values() or number not in KNOWN[machine] else "allow"


def verdict(machine: str, number: int, *arguments: int, audit: int | None = None, program: bytes | None = None) -> str:
    loaded = bpf.load(program or seccomp.build(machine))
    return bpf.run(loaded, audit=audit or AUDIT[machine], number=number, arguments=arguments)


def guarded(machine: str, name: str, *arguments: int, program: bytes | None = None) -> str:
    number = GUARDED[name][column(machine)]
    assert number is not None
    return verdict(machine, number, *arguments, program=program)


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_has_the_verdict_of_the_table(machine: str) -> None:
    program = bpf.load(seccomp.build(machine))
    numbers = [*range(601), 2**15, X32_BIT - 1, 2**31, 2**31 + 41, 2**32 - 1]
    wrong = {
        number: (found, expected(machine, number))
        for number in numbers
        if (found := bpf.run(program, audit=AUDIT[machine], number=number)) != expected(machine, number)
    }
    assert not wrong


@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_of_another_architecture_kills(machine: str) -> None:
    program = bpf.load(seccomp.build(machine))
    for audit in (*FOREIGN[machine].values(), 0, 0xFFFFFFFF, AUDIT[machine] ^ 0x80000000):
        assert {bpf.run(program, audit=audit, number=number) for number in range(601)} == {"kill"}


def test_every_call_of_the_x32_abi_kills() -> None:
    program = bpf.load(seccomp.build(X86_64))
    for number in (*range(X32_BIT, X32_BIT + 601), 2**31 - 1):
        assert bpf.run(program, audit=AUDIT[X86_64], number=number) == "kill"


def test_arm64_has_no_second_abi_and_calls_those_numbers_unknown() -> None:
    assert verdict(AARCH64, X32_BIT) == "ENOSYS"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("machine", MACHINES)
def test_cve_2023_28100_ioctl_refuses_only_the_two_that_type_into_a_terminal(machine: str, high: int) -> None:
    found = {request: guarded(machine, "ioctl", 3, high | request) for request in range(0x5400, 0x5500)}
    assert {request for request, word in found.items() if word != "allow"} == {0x5412, 0x541C}
    assert found[0x5412] == found[0x541C] == "EPERM"
    assert guarded(machine, "ioctl", 0x5412, 0x5413, 0x5412) == "allow"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("machine", MACHINES)
def test_clone_refuses_every_new_namespace_and_nothing_else(machine: str, high: int) -> None:
    refused = {bit for bit in range(32) if guarded(machine, "clone", high | 1 << bit) == "EPERM"}
    # NEWNS 17, NEWCGROUP 25, NEWUTS 26, NEWIPC 27, NEWUSER 28, NEWPID 29, NEWNET 30 (clone(2))
    assert refused == {17, 25, 26, 27, 28, 29, 30}
    threads = 0x3D0F00  # what pthread_create(3) passes
    assert guarded(machine, "clone", high | threads) == "allow"
    assert guarded(machine, "clone", high | threads | 0x10000000) == "EPERM"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("machine", MACHINES)
def test_personality_allows_only_plain_linux(machine: str, high: int) -> None:
    personas = (0, 1, 7, 8, 9, 0x40000, 0x40008, 0x400000, 0x20000008, 0xFFFFFFFF)
    assert {p for p in personas if guarded(machine, "personality", high | p) == "allow"} == {0, 8}
    assert guarded(machine, "personality", high | 0x40000) == "EPERM"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize(("call", "at"), [("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2)])
@pytest.mark.parametrize("machine", MACHINES)
def test_no_mode_makes_a_file_run_as_its_owner(machine: str, call: str, at: int, high: int) -> None:
    if GUARDED[call][column(machine)] is None:
        return
    before = [0o6000] * at  # the arguments that are no mode
    refused = {mode for mode in range(0o10000) if guarded(machine, call, *before, high | mode) == "EPERM"}
    assert refused == {mode for mode in range(0o10000) if mode & 0o6000}
    assert guarded(machine, call, *before, high | 0o1777, 0o6000) == "allow"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("call", ["socket", "socketpair"])
@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_have_the_default_families_only(machine: str, call: str, high: int) -> None:
    found = {family: guarded(machine, call, high | family, 1) for family in (*range(64), 0xFFFFFFFF)}
    assert {family for family, word in found.items() if word == "allow"} == {0, 1, 2, 10, 16}
    assert set(found.values()) == {"allow", "EAFNOSUPPORT"}
    assert found[40] == "EAFNOSUPPORT"  # AF_VSOCK reaches the hypervisor past every network namespace


@given(families=st.lists(st.integers(0, 63), max_size=64).map(tuple), machine=st.sampled_from(MACHINES), high=HIGH)
@settings(quiet, max_examples=50)
def test_the_families_given_are_exactly_those_allowed(families: tuple[int, ...], machine: str, high: int) -> None:
    program = seccomp.build(machine, families=families)
    for call in ("socket", "socketpair"):
        allowed = {f for f in range(64) if guarded(machine, call, high | f, program=program) == "allow"}
        assert allowed == set(families)
    assert program == seccomp.build(machine, families=(*reversed(families), *families))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("feature", "family"), [("bluetooth", 31), ("can", 29)])
def test_a_granted_family_is_the_only_one_added(machine: str, feature: str, family: int) -> None:
    program = seccomp.build(machine, features=(feature,))
    found = {each for each in range(64) if guarded(machine, "socket", each, program=program) == "allow"}
    assert found == {0, 1, 2, 10, 16, family}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("feature", "given"), [("debugging", False), ("nested-sandbox", True)])
def test_namespaces_are_made_with_one_feature_only(machine: str, feature: str, given: bool) -> None:
    program = seccomp.build(machine, features=(feature,))
    arguments = [0x10000000, 0x10000000]  # CLONE_NEWUSER
    assert (guarded(machine, "clone", *arguments, program=program) == "allow") is given
    assert guarded(machine, "ioctl", 0, 0x5412, program=program) == "EPERM"  # TIOCSTI stays refused


@given(machine=st.sampled_from(MACHINES), number=NUMBERS, arguments=st.tuples(*[WORD] * 6), high=HIGH)
@quiet
def test_cve_2019_10063_high_halves_of_arguments_never_matter(
    machine: str, number: int, arguments: tuple[int, ...], high: int
) -> None:
    other = tuple(value & 0xFFFFFFFF | high for value in arguments)
    assert verdict(machine, number, *arguments) == verdict(machine, number, *other)


@given(
    families=st.lists(st.integers(0, 2**32 - 1), max_size=800).map(tuple),
    machine=st.sampled_from(MACHINES),
    audit=st.one_of(st.sampled_from([*AUDIT.values(), 0x40000003]), st.integers(0, 2**32 - 1)),
    number=NUMBERS,
    arguments=st.tuples(*[WORD] * 6),
)
@quiet
def test_every_program_is_one_the_kernel_takes_and_always_returns(
    families: tuple[int, ...], machine: str, audit: int, number: int, arguments: tuple[int, ...]
) -> None:
    program = bpf.load(seccomp.build(machine, families=families))
    assert len(program) < 4096
    assert bpf.run(program, audit=audit, number=number, arguments=arguments) in {
        "allow", "EPERM", "ENOSYS", "EAFNOSUPPORT", "kill",
    }  # fmt: skip
    if audit != AUDIT[machine]:
        assert bpf.run(program, audit=audit, number=number, arguments=arguments) == "kill"


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\0" * 7,
        struct.pack("<HBBI", bpf.LOAD_WORD, 0, 0, 0),  # falls off the end
        struct.pack("<HBBIHBBI", bpf.LOAD_WORD, 0, 0, 64, bpf.RETURN, 0, 0, 0),
        struct.pack("<HBBIHBBI", bpf.JUMP_EQUAL, 1, 0, 0, bpf.RETURN, 0, 0, 0),
        struct.pack("<HBBIHBBI", bpf.JUMP, 0, 0, 2**32 - 1, bpf.RETURN, 0, 0, 0),
        struct.pack("<HBBIHBBI", 0x99, 0, 0, 0, bpf.RETURN, 0, 0, 0),
    ],
)
def test_the_evaluator_refuses_what_the_kernel_refuses(program: bytes) -> None:
    with pytest.raises(ValueError):
        bpf.load(program)


def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    script = "import sys; from intents import seccomp; sys.stdout.buffer.write(seccomp.build(sys.argv[1]))"
    root = pathlib.Path(__file__).parents[1]
    for machine in MACHINES:
        for seed in ("1", "2"):
            env = {"PYTHONHASHSEED": seed, "PATH": os.environ["PATH"]}
            command = [sys.executable, "-c", script, machine]
            built = subprocess.run(command, cwd=root, env=env, capture_output=True, check=True).stdout
            assert built == seccomp.build(machine)


@pytest.mark.parametrize("machine", ["i686", "riscv64", "aarch64_be", "armv7l", ""])
def test_other_machines_are_refused_by_name(machine: str) -> None:
    for ask in (seccomp.build, seccomp.verdicts):
        with pytest.raises(errors.HostError, match=f"`{machine}`") as caught:
            ask(machine)
        assert caught.value.code == "seccomp-unsupported"


@pytest.mark.parametrize("machine", MACHINES)
def test_verdicts_say_what_the_bytes_do(machine: str) -> None:
    said = dict(seccomp.verdicts(machine))
    assert len(said) == len(seccomp.verdicts(machine))
    refused = {name: "EPERM" for name, row in EPERM.items() if row[column(machine)] is not None}
    refused |= dict.fromkeys(ENOSYS, "ENOSYS")
    plain = {name: word for name, word in said.items() if re.fullmatch(r"\w+", name)}
    assert {name: word for name, word in plain.items() if word != "allow"} == refused
    assert len(plain) == len(KNOWN[machine])
    modes = {
        f"{name}(S_ISUID, S_ISGID)": "EPERM"
        for name in ("chmod", "fchmod", "fchmodat", "fchmodat2")
        if GUARDED[name][column(machine)] is not None
    }
    assert {name: word for name, word in said.items() if name not in plain} == modes | {
        "clone(any CLONE_NEW* flag)": "EPERM",
        "ioctl(TIOCSTI, TIOCLINUX)": "EPERM",
        "personality(other than PER_LINUX, PER_LINUX32)": "EPERM",
        "socket(family that is not granted)": "EAFNOSUPPORT",
        "socketpair(family that is not granted)": "EAFNOSUPPORT",
        "every call that is not listed": "ENOSYS",
        "every call of another processor mode": "kill",
    }


def header_numbers(machine: str) -> dict[str, int]:
    """The calls that the kernel's header for programs on this machine names, or a skip."""
    places = {
        X86_64: ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
        AARCH64: ("/usr/include/asm-generic/unistd.h",),
    }
    found = [path for path in map(pathlib.Path, places[machine]) if path.is_file()]
    must_work(found, f"the kernel headers (linux-libc-dev) for {machine}")
    lines = re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$", found[0].read_text(), re.M)
    numbers = {name: int(number) for name, number in lines}
    if machine == X86_64:
        return numbers
    # The generic header also holds the calls of 32-bit machines (403 to 423), bounds, and one name of two machines.
    numbers["newfstatat"] = numbers.pop("fstatat", numbers.get("newfstatat", -1))
    bounds = {"syscalls", "arch_specific_syscall", "sync_file_range2"}
    return {name: number for name, number in numbers.items() if name not in bounds and not 403 <= number <= 423}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_numbers_are_those_of_the_kernel_headers(machine: str) -> None:
    theirs = header_numbers(machine)
    ours = {name: number for number, name in seccomp._MACHINES[machine].names.items()}
    assert len(theirs) > 280
    newest = max(ours.values())
    assert {name: number for name, number in theirs.items() if number <= newest and ours.get(name) != number} == {}
    added = {name: number for name, number in ours.items() if name not in theirs}
    assert all(number > max(theirs.values()) or name in {"uretprobe", "uprobe"} for name, number in added.items())
    table = EPERM | {name: (number, number) for name, number in ENOSYS.items()} | GUARDED
    for name, row in table.items():
        assert ours.get(name) == row[column(machine)], name


# What a companion may do (number on x86_64, number on aarch64): move bytes between Unix sockets, and have memory.
COMPANION = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "poll": (7, None), "mmap": (9, 222), "munmap": (11, 215),
    "fstat": (5, 80), "brk": (12, 214),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "mremap": (25, 216), "madvise": (28, 233), "getpid": (39, 172), "connect": (42, 203), "sendto": (44, 206),
    "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "getsockname": (51, 204),
    "getsockopt": (55, 209), "exit": (60, 93), "sigaltstack": (131, 132), "gettid": (186, 178), "futex": (202, 98),
    "restart_syscall": (219, 128), "clock_gettime": (228, 113), "exit_group": (231, 94), "ppoll": (271, 73),
    "accept4": (288, 242),
}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES)
def test_a_companion_may_do_this_and_nothing_else(machine: str) -> None:
    program = seccomp.companion(machine)
    allowed = {row[column(machine)] for row in COMPANION.values()} | {GUARDED["socket"][column(machine)]}
    for number in range(600):
        expected = "allow" if number in allowed else "ENOSYS"
        assert verdict(machine, number, 1, program=program) == expected, number
    for family in (0, 2, 10, 16):
        assert guarded(machine, "socket", family, program=program) == "EAFNOSUPPORT"
    for audit in FOREIGN[machine].values():
        assert verdict(machine, 0, audit=audit, program=program) == "kill"


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_dialer_starts_nothing_and_changes_no_file(machine: str, high: int) -> None:
    program = seccomp.dialer(machine)

    def said(numbers: tuple[int, int], *arguments: int) -> str:
        return verdict(machine, numbers[column(machine)], *arguments, program=program)

    for numbers in ((59, 221), (322, 281), (62, 129), (319, 279), (101, 117), (264, 38), (268, 53), (188, 5)):
        assert said(numbers) == "EPERM"  # execve, execveat, kill, memfd_create, ptrace, renameat, fchmodat, setxattr
    opened = {flags: said((257, 56), high, high, high | flags) for flags in (0, 0o2000000, 1, 2, 0o100, 0o1000)}
    assert list(opened.values()) == ["allow"] * 2 + ["EPERM"] * 4
    assert said((437, 437)) == said((435, 435)) == "ENOSYS"  # openat2, clone3
    assert (said((56, 220), high | 0x3D0F00), said((56, 220), high | 0x4111)) == ("allow", "EPERM")
    assert [said((41, 198), family) for family in (1, 2, 10, 16, 17, 40)] == ["allow"] * 4 + ["EAFNOSUPPORT"] * 2


@pytest.mark.parametrize("high", [0, 1 << 32, 0xFFFFFFFF << 32])
@pytest.mark.parametrize("machine", MACHINES)
def test_what_holds_tcp_to_ports_refuses_the_two_ways_round(machine: str, high: int) -> None:
    program = seccomp.held(machine)
    fast, numbers = high | 0x20000000, {"sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269)}
    for name, at in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        number = numbers[name][column(machine)]
        arguments = [fast if place == at else high for place in range(6)]
        assert verdict(machine, number, *arguments, program=program) == "EOPNOTSUPP"
        assert verdict(machine, number, *([high | 0xDFFFFFFF] * 6), program=program) == "allow"
    socket = GUARDED["socket"][column(machine)]
    assert socket is not None
    assert verdict(machine, socket, 2, 1, high | 262, program=program) == "EPROTONOSUPPORT"
    assert {verdict(machine, socket, 2, 1, protocol, program=program) for protocol in range(262)} == {"allow"}


@pytest.mark.parametrize("connects", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_relay_opens_no_connection_by_what_it_sends(machine: str, connects: bool) -> None:
    program = seccomp.relay(machine, connects=connects)
    for number, at in (((44, 206), 3), ((46, 211), 2)):
        call = number[column(machine)]
        assert verdict(machine, call, *[0x20000000 if place == at else 0 for place in range(6)], program=program) == (
            "EOPNOTSUPP"
        )
        assert verdict(machine, call, *([0xDFFFFFFF] * 6), program=program) == "allow"
    connect = (42, 203)[column(machine)]
    assert verdict(machine, connect, program=program) == ("allow" if connects else "ENOSYS")


def test_what_holds_tcp_to_ports_sees_nothing_in_memory() -> None:
    program = seccomp.held(X86_64)
    found = {call: verdict(X86_64, 102, call, audit=FOREIGN[X86_64]["i386"], program=program) for call in range(1, 21)}
    assert {call for call, word in found.items() if word != "allow"} == {1, 11, 16, 20}
    assert verdict(X86_64, 369, 3, 0, 0, 0x20000000, audit=FOREIGN[X86_64]["i386"], program=program) == "EOPNOTSUPP"
