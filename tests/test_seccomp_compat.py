"""The filter where 32-bit programs are granted: a second table in the same bytes, and nothing lost of the first."""

import pathlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intents import seccomp
from tests.conftest import must_work
from tests.model import bpf

X86_64, AARCH64 = "x86_64", "aarch64"
MACHINES = (X86_64, AARCH64)
NATIVE = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
COMPAT = {X86_64: 0x40000003, AARCH64: 0x40000028}  # AUDIT_ARCH_I386, AUDIT_ARCH_ARM
# Numbers of arch/x86/entry/syscalls/syscall_32.tbl and arch/arm/tools/syscall.tbl: (i386, arm), not the module's.
EPERM = {
    "mount": (21, 21), "umount": (22, None), "ptrace": (26, 26), "acct": (51, 51), "umount2": (52, 52),
    "chroot": (61, 61), "uselib": (86, 86), "syslog": (103, 103), "vm86old": (113, None), "modify_ldt": (123, None),
    "create_module": (127, None), "init_module": (128, 128), "delete_module": (129, 129),
    "get_kernel_syms": (130, None), "quotactl": (131, 131), "vm86": (166, None), "query_module": (167, None),
    "pivot_root": (217, 218), "mbind": (274, 319), "get_mempolicy": (275, 320), "set_mempolicy": (276, 321),
    "kexec_load": (283, 347), "add_key": (286, 309), "request_key": (287, 310), "keyctl": (288, 311),
    "migrate_pages": (294, 400), "unshare": (310, 337), "move_pages": (317, 344), "perf_event_open": (336, 364),
    "fanotify_init": (338, 367), "name_to_handle_at": (341, 370), "open_by_handle_at": (342, 371),
    "setns": (346, 375), "process_vm_readv": (347, 376), "process_vm_writev": (348, 377), "kcmp": (349, 378),
    "finit_module": (350, 379), "bpf": (357, 386), "userfaultfd": (374, 388), "kexec_file_load": (None, 401),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "pidfd_getfd": (438, 438), "quotactl_fd": (443, 443), "set_mempolicy_home_node": (450, 450),
    "statmount": (457, 457), "listmount": (458, 458), "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460), "lsm_list_modules": (461, 461),
}  # fmt: skip
ENOSYS = {428, 429, 430, 431, 432, 433, 435, 442, 467}
I386_GAPS = {222, 223, 251, 285}
ARM_GAPS = {
    7, 13, 17, 18, 22, 25, 27, 28, 30, 31, 32, 35, 44, 48, 53, 56, 58, 59, 68, 69, 76, 82, 84, 89, 90, 98, 101, 102,
    109, 110, 112, 113, 117, 123, 127, 130, 137, 166, 167, 188, 189, 222, 223, 254, 255, 402, 415,
}  # fmt: skip
KNOWN = {
    X86_64: {*range(387), *range(393, 415), *range(416, 470)} - I386_GAPS,
    AARCH64: {*range(415), *range(416, 470), *range(0xF0001, 0xF0007)} - ARM_GAPS,
}
SOCKET = {X86_64: 359, AARCH64: 281}
SOCKETPAIR = {X86_64: 360, AARCH64: 288}
SOCKETCALL = 102  # i386 only
quiet = settings(deadline=None, database=None, max_examples=200)


def verdict(machine: str, number: int, *arguments: int, features: tuple[str, ...] = ("multiarch",)) -> str:
    program = bpf.load(seccomp.build(machine, features=features))
    return bpf.run(program, audit=COMPAT[machine], number=number, arguments=arguments)


def expected(machine: str, number: int) -> str:
    if number in {row[MACHINES.index(machine)] for row in EPERM.values()}:
        return "EPERM"
    return "ENOSYS" if number in ENOSYS or number not in KNOWN[machine] else "allow"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_has_the_verdict_of_the_table(machine: str) -> None:
    program = bpf.load(seccomp.build(machine, features=("multiarch",)))
    numbers = [*range(601), *range(0xEFFF0, 0xF0020), 2**30, 2**30 + 1, 2**31, 2**32 - 1]
    found = {number: bpf.run(program, audit=COMPAT[machine], number=number) for number in numbers}
    assert {n: (word, expected(machine, n)) for n, word in found.items() if word != expected(machine, n)} == {}


@pytest.mark.parametrize("features", [(), ("debugging",), ("nested-sandbox", "can")])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_machines_own_programs_are_judged_as_before(machine: str, features: tuple[str, ...]) -> None:
    before = bpf.load(seccomp.build(machine, features=features))
    after = bpf.load(seccomp.build(machine, features=(*features, "multiarch", "socketcall")))
    for number in (*range(601), 2**30, 2**30 + 41, 2**31, 2**32 - 1):
        for arguments in ((), (0x10000000,), (17, 0x5412), (40, 0o4000, 0o4000)):
            how = {"audit": NATIVE[machine], "number": number, "arguments": arguments}
            assert bpf.run(after, **how) == bpf.run(before, **how), (number, arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("machine", MACHINES)
def test_only_the_one_32_bit_architecture_is_added(machine: str) -> None:
    program = bpf.load(seccomp.build(machine, features=("multiarch",)))
    for audit in ({*NATIVE.values(), *COMPAT.values(), 0, 2**32 - 1}) - {NATIVE[machine], COMPAT[machine]}:
        assert {bpf.run(program, audit=audit, number=number) for number in range(601)} == {"kill"}
    if machine == X86_64:
        assert bpf.run(program, audit=NATIVE[machine], number=0x40000000 | 41) == "kill"  # x32


@pytest.mark.parametrize("machine", MACHINES)
def test_without_the_grant_every_32_bit_call_kills(machine: str) -> None:
    for features in ((), ("socketcall",), ("debugging", "nested-sandbox", "bluetooth", "can")):
        assert {verdict(machine, number, features=features) for number in range(601)} == {"kill"}


@pytest.mark.parametrize("features", [("multiarch",), ("multiarch", "bluetooth"), ("can", "multiarch", "debugging")])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_of_families_is_not_lost(machine: str, features: tuple[str, ...]) -> None:
    """Flatpak up to 1.19.0 had none on x86-64 as soon as 32-bit programs were allowed."""
    given_families = {"bluetooth": 31, "can": 29}
    wanted = {0, 1, 2, 10, 16, *(number for name, number in given_families.items() if name in features)}
    for number in (SOCKET[machine], SOCKETPAIR[machine]):
        found = {family: verdict(machine, number, family, 1, features=features) for family in range(64)}
        assert {family for family, word in found.items() if word == "allow"} == wanted
        assert set(found.values()) == {"allow", "EAFNOSUPPORT"}
    native = bpf.load(seccomp.build(machine, features=features))
    number = {X86_64: 41, AARCH64: 198}[machine]
    words = {f: bpf.run(native, audit=NATIVE[machine], number=number, arguments=(f,)) for f in range(64)}
    assert {family for family, word in words.items() if word == "allow"} == wanted


def test_no_socket_is_opened_where_its_family_cannot_be_seen() -> None:
    found = {call: verdict(X86_64, SOCKETCALL, call) for call in range(24)}
    assert {call for call, word in found.items() if word == "EAFNOSUPPORT"} == {1, 8}  # socket, socketpair
    assert set(found.values()) == {"allow", "EAFNOSUPPORT"}
    assert verdict(X86_64, SOCKETCALL, 1, features=("multiarch", "socketcall")) == "allow"
    assert verdict(AARCH64, SOCKETCALL, 1) == "ENOSYS"  # arm never had it


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_are_judged_as_for_the_machines_own(machine: str) -> None:
    row = MACHINES.index(machine)
    ioctl, clone, personality, chmod, fchmod = 54, 120, 136, 15, 94
    assert verdict(machine, ioctl, 0, 0x5412) == verdict(machine, ioctl, 0, 0x541C) == "EPERM"
    assert verdict(machine, ioctl, 0, 0x5413) == "allow"
    refused = {bit for bit in range(32) if verdict(machine, clone, 1 << bit) == "EPERM"}
    assert refused == {17, 25, 26, 27, 28, 29, 30}
    assert verdict(machine, clone, 1 << 28, features=("multiarch", "nested-sandbox")) == "allow"
    assert verdict(machine, personality, 0x40000) == "EPERM"
    assert verdict(machine, personality, 8) == "allow"
    for call, before in ((chmod, 1), (fchmod, 1), ((306, 333)[row], 2), (452, 2)):
        assert verdict(machine, call, *[0] * before, 0o4755) == "EPERM"
        assert verdict(machine, call, *[0] * before, 0o755) == "allow"


@given(
    machine=st.sampled_from(MACHINES),
    audit=st.one_of(st.sampled_from([*NATIVE.values(), *COMPAT.values()]), st.integers(0, 2**32 - 1)),
    number=st.one_of(st.integers(0, 600), st.integers(0, 2**32 - 1)),
    arguments=st.tuples(*[st.integers(0, 2**64 - 1)] * 6),
    features=st.lists(st.sampled_from(seccomp.FEATURES), unique=True).map(tuple),
)
@quiet
def test_every_program_is_one_the_kernel_takes_and_always_returns(
    machine: str, audit: int, number: int, arguments: tuple[int, ...], features: tuple[str, ...]
) -> None:
    program = bpf.load(seccomp.build(machine, features=features))
    word = bpf.run(program, audit=audit, number=number, arguments=arguments)
    accepted = {NATIVE[machine], *([COMPAT[machine]] if "multiarch" in features else [])}
    assert word in ({"allow", "EPERM", "ENOSYS", "EAFNOSUPPORT", "kill"} if audit in accepted else {"kill"})


def test_the_numbers_are_those_of_the_kernel_headers() -> None:
    places = ("/usr/include/x86_64-linux-gnu/asm/unistd_32.h", "/usr/include/asm/unistd_32.h")
    found = [path for path in map(pathlib.Path, places) if path.is_file()]
    must_work(found or None, "the kernel headers (linux-libc-dev) for i386")
    lines = re.findall(r"^#define __NR_(\w+)\s+(\d+)\s*$", found[0].read_text(), re.M)
    theirs = {name: int(number) for name, number in lines}
    compat = seccomp._MACHINES[X86_64].compat
    assert compat and len(theirs) > 400
    ours = {name: number for number, name in compat.names.items()}
    assert {name: number for name, number in theirs.items() if ours.get(name, number) != number} == {}
    assert {name for name in theirs if name not in ours and theirs[name] < 470} == set()
    for name, row in EPERM.items():
        assert ours.get(name) == row[0], name


@pytest.mark.parametrize("machine", MACHINES)
def test_verdicts_say_what_the_bytes_do(machine: str) -> None:
    said = {name: word for name, word in seccomp.verdicts(machine, compat=True) if re.fullmatch(r"\w+", name)}
    assert {name for name, word in said.items() if word == "EPERM"} == {
        name for name, row in EPERM.items() if row[MACHINES.index(machine)] is not None
    }
    assert len(said) == len(KNOWN[machine])
