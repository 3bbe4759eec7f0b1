"""The system call filter of every sandbox: a classic BPF program for ``bwrap --seccomp FD``.

In: the machine name and the socket families that are granted. Out: bytes, one ``struct sock_filter`` per eight
(linux/filter.h, seccomp(2)). The default is to allow, as the namespaces are the wall; the filter takes away the calls
that reach past it (the terminal, other processes, keyrings, new namespaces and mounts, setuid files) and the parts of
the kernel that ordinary programs do not need. A number this file does not know is answered as by an older kernel:
ENOSYS.
"""

import enum
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, syscalls

UNSPEC, UNIX, INET, INET6, NETLINK = 0, 1, 2, 10, 16
# Netlink because getaddrinfo(3) and if_nametoindex(3) ask it; it reaches the sandbox's own network namespace only.
DEFAULT_FAMILIES = (UNSPEC, UNIX, INET, INET6, NETLINK)


class Verdict(enum.StrEnum):
    """What the kernel does with a call: let it through, fail it with an errno, or end the process."""

    ALLOW = "allow"
    EPERM = "EPERM"
    ENOSYS = "ENOSYS"
    EAFNOSUPPORT = "EAFNOSUPPORT"
    EOPNOTSUPP = "EOPNOTSUPP"
    EPROTONOSUPPORT = "EPROTONOSUPPORT"
    KILL = "kill"


# SECCOMP_RET_* of linux/seccomp.h with the errno in the low half; the three numbers are the same on both machines.
_RETURN = {
    Verdict.ALLOW: 0x7FFF0000,
    Verdict.EPERM: 0x00050000 | 1,
    Verdict.ENOSYS: 0x00050000 | 38,
    Verdict.EAFNOSUPPORT: 0x00050000 | 97,
    Verdict.EOPNOTSUPP: 0x00050000 | 95,
    Verdict.EPROTONOSUPPORT: 0x00050000 | 93,
    Verdict.KILL: 0x80000000,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """A processor: its AUDIT_ARCH_* number (linux/audit.h), its calls by number, and refusals of calls only it has."""

    audit: int
    names: Mapping[int, str]
    refused: str
    foreign: tuple[int, int] | None = None  # first number and end of another ABI under the same audit number
    compat: "_Machine | None" = None  # the 32-bit processor whose programs the kernel runs as well


_I386 = _Machine(
    audit=0x40000003,
    names=syscalls.I386,
    refused="uselib modify_ldt create_module get_kernel_syms query_module umount vm86old vm86",
)
_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        names=syscalls.X86_64,
        refused="uselib modify_ldt create_module get_kernel_syms query_module",
        foreign=(0x40000000, 0x80000000),  # x32: __X32_SYSCALL_BIT of asm/unistd.h
        compat=_I386,
    ),
    "aarch64": _Machine(
        audit=0xC00000B7,
        names=syscalls.AARCH64,
        refused="",
        compat=_Machine(audit=0x40000028, names=syscalls.ARM, refused="uselib"),
    ),
}

_EPERM = """
    syslog acct quotactl quotactl_fd add_key keyctl request_key
    move_pages mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages
    unshare setns mount umount2 pivot_root chroot statmount listmount
    perf_event_open ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd
    io_uring_setup io_uring_enter io_uring_register bpf userfaultfd fanotify_init
    name_to_handle_at open_by_handle_at kexec_load kexec_file_load init_module finit_module delete_module
    lsm_get_self_attr lsm_set_self_attr lsm_list_modules
"""

# As from a kernel that is older than they are: libc then takes clone, whose flags a filter can see (those of clone3 lie
# in memory), and mount programs take mount, which is refused.
_ENOSYS = "clone3 open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guard:
    """A call decided by the low 32 bits of one argument, which are all the kernel looks at for each of these calls."""

    argument: int
    jump: int  # _JEQ: the argument is one of values; _JSET: it shares a bit with one of them
    values: tuple[int, ...]
    hit: Verdict
    miss: Verdict
    words: str


_LD, _JA, _JEQ, _JGE, _JSET, _RET = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _AUDIT, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; both machines are little-endian

_CLONE_NEW = 0x7E020000  # NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of linux/sched.h
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # both type into the terminal that started the app
_FIONBIO = 0x5421  # whether reading from a socket waits
_SYS_SOCKET, _SYS_SOCKETPAIR = 1, 8  # linux/net.h
_SYS_SENDS = (11, 16, 20)  # SYS_SENDTO, SYS_SENDMSG, SYS_SENDMMSG
_SENDS = {"sendto": 3, "sendmsg": 2, "sendmmsg": 3}  # call -> which argument is its flags
_MPTCP, _FASTOPEN = 262, 0x20000000  # IPPROTO_MPTCP of linux/in.h, MSG_FASTOPEN of linux/socket.h
_PER_LINUX, _PER_LINUX32 = 0, 8  # other personalities turn address randomisation and other hardening off
# In a granted directory such a file is for everybody outside, and runs as the user: an accomplice needs no more. Files
# that are made with these bits lose them when they are written to (write(2)), so only changing a mode is refused.
_S_ISUID, _S_ISGID = 0o4000, 0o2000
_CHMOD = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}  # call -> which argument is the mode


# What a companion needs that only moves bytes and descriptors between Unix sockets; the rest is the interpreter's own.
_COMPANION = """
    accept4 connect getsockname getsockopt poll ppoll recvmsg recvfrom sendmsg sendto close
    fstat read write brk mmap munmap mremap madvise futex clock_gettime
    rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall getpid gettid exit exit_group
"""
# ... and what moving the bytes of many connections takes besides
_RELAY = """
    bind listen shutdown setsockopt getpeername splice pipe2 fcntl select pselect6
    epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 newfstatat clock_nanosleep
"""
# What the dialer of the network must not, beside what no app may: start anything, change a file, end a process. Of the
# other calls nobody knows which a module of the resolver needs.
_DIALER = """
    execve execveat fork vfork kill tkill pidfd_send_signal memfd_create creat truncate mkdir mkdirat rmdir rename
    renameat renameat2 link linkat symlink symlinkat mknod mknodat chmod fchmod fchmodat fchmodat2 chown lchown
    fchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr setxattrat removexattr
    lremovexattr fremovexattr removexattrat
"""
_THREAD = 0x10000  # CLONE_THREAD
_CHANGES = 0o1103  # O_WRONLY, O_RDWR, O_CREAT and O_TRUNC: the same on both machines

# What a grant gives back: the feature -> calls that are then allowed, and socket families.
FEATURES = ("debugging", "nested-sandbox", "bluetooth", "can", "multiarch", "socketcall")
_DEBUGGING = "perf_event_open ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd personality"
_NESTED = "unshare setns mount umount umount2 pivot_root chroot clone"
_GIVEN = {"debugging": _DEBUGGING, "nested-sandbox": _NESTED, "socketcall": "socketcall"}
_FAMILIES = {"bluetooth": 31, "can": 29}  # AF_BLUETOOTH, AF_CAN of linux/socket.h


def _guards(families: tuple[int, ...]) -> dict[str, _Guard]:
    """The calls that are allowed for some arguments only, by name."""
    only_granted = _Guard(
        argument=0,
        jump=_JEQ,
        values=tuple(sorted(set(families))),
        hit=Verdict.ALLOW,
        miss=Verdict.EAFNOSUPPORT,
        words="family that is not granted",
    )
    return {
        "socket": only_granted,
        "socketpair": only_granted,
        # The old way of 32-bit x86 keeps the family in memory, where no filter can see it: no new socket that way.
        "socketcall": _Guard(
            argument=0,
            jump=_JEQ,
            values=(_SYS_SOCKET, _SYS_SOCKETPAIR),
            hit=Verdict.EAFNOSUPPORT,
            miss=Verdict.ALLOW,
            words="SYS_SOCKET, SYS_SOCKETPAIR",
        ),
        "clone": _Guard(
            argument=0,
            jump=_JSET,
            values=(_CLONE_NEW,),
            hit=Verdict.EPERM,
            miss=Verdict.ALLOW,
            words="any CLONE_NEW* flag",
        ),
        "ioctl": _Guard(
            argument=1,
            jump=_JEQ,
            values=(_TIOCSTI, _TIOCLINUX),
            hit=Verdict.EPERM,
            miss=Verdict.ALLOW,
            words="TIOCSTI, TIOCLINUX",
        ),
        "personality": _Guard(
            argument=0,
            jump=_JEQ,
            values=(_PER_LINUX, _PER_LINUX32),
            hit=Verdict.ALLOW,
            miss=Verdict.EPERM,
            words="other than PER_LINUX, PER_LINUX32",
        ),
        **{name: _mode(argument) for name, argument in _CHMOD.items()},
    }


def _mode(argument: int) -> _Guard:
    return _Guard(
        argument=argument,
        jump=_JSET,
        values=(_S_ISUID | _S_ISGID,),
        hit=Verdict.EPERM,
        miss=Verdict.ALLOW,
        words="S_ISUID, S_ISGID",
    )


def _machine(machine: str) -> _Machine:
    try:
        return _MACHINES[machine]
    except KeyError:
        message = f"there is no system call filter for the processor `{machine}`"
        raise errors.HostError("seccomp-unsupported", message) from None


def _rules(target: _Machine, families: tuple[int, ...], features: tuple[str, ...] = ()) -> dict[int, Verdict | _Guard]:
    """Every number the machine has, with what happens to it; what it does not have needs no refusal."""
    families = (*families, *(_FAMILIES[feature] for feature in features if feature in _FAMILIES))
    given = " ".join(_GIVEN.get(feature, "") for feature in features).split()
    numbers = {name: number for number, name in target.names.items()}
    rules: dict[int, Verdict | _Guard] = dict.fromkeys(target.names, Verdict.ALLOW)
    named: dict[str, Verdict | _Guard] = dict.fromkeys(f"{_EPERM} {target.refused}".split(), Verdict.EPERM)
    named |= dict.fromkeys(_ENOSYS.split(), Verdict.ENOSYS)
    named |= {**_guards(families), **dict.fromkeys(given, Verdict.ALLOW)}
    return rules | {numbers[name]: rule for name, rule in named.items() if name in numbers}


def _ranges(rules: dict[int, Verdict | _Guard], target: _Machine) -> list[tuple[int, Verdict | _Guard]]:
    """All 32-bit numbers as neighbouring ranges: the first number of each, and what happens to its numbers."""
    ranges: list[tuple[int, Verdict | _Guard]] = []
    for number in sorted({0, *rules, *(number + 1 for number in rules)}):
        rule = rules.get(number, Verdict.ENOSYS)
        if not ranges or ranges[-1][1] != rule:
            ranges.append((number, rule))
    if target.foreign:
        first, end = target.foreign
        ranges += [(first, Verdict.KILL), (end, Verdict.ENOSYS)]
    return ranges


def _op(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jt, jf, k)


def _ret(verdict: Verdict) -> bytes:
    return _op(_RET, _RETURN[verdict])


def _leaf(rule: Verdict | _Guard) -> list[bytes]:
    if isinstance(rule, Verdict):
        return [_ret(rule)]
    program = [_op(_LD, _ARGUMENTS + 8 * rule.argument)]
    for value in rule.values:
        program += [_op(rule.jump, value, 0, 1), _ret(rule.hit)]
    return [*program, _ret(rule.miss)]


def _tree(ranges: list[tuple[int, Verdict | _Guard]]) -> list[bytes]:
    """Halve the ranges until one is left. Conditional jumps skip one instruction, so that their 8 bits always do."""
    if len(ranges) == 1:
        return _leaf(ranges[0][1])
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle]), _tree(ranges[middle:])
    return [_op(_JGE, ranges[middle][0], 0, 1), _op(_JA, len(below)), *below, *above]


def build(machine: str, *, families: tuple[int, ...] = DEFAULT_FAMILIES, features: tuple[str, ...] = ()) -> bytes:
    """The program for `bwrap --seccomp`; the same input gives the same bytes.

    machine: as uname(2) says it, "x86_64" or "aarch64"; families: the AF_* numbers that socket(2) and socketpair(2) may
    use; features: words of ``FEATURES`` that are granted. Raises errors.HostError("seccomp-unsupported") for any other
    machine.
    """
    target = _machine(machine)
    accepted = [target, target.compat] if target.compat and "multiarch" in features else [target]
    return _program([(each, _rules(each, families, features)) for each in accepted])


def companion(machine: str) -> bytes:
    """The program that a companion of ours gives itself: it may talk on Unix sockets, and nothing else.

    No file can be opened and no program started. Raises errors.HostError("seccomp-unsupported") as build does.
    """
    return _only(_machine(machine), _COMPANION.split(), (UNIX,))


def relay(machine: str, *, connects: bool) -> bytes:
    """The program of the relay in a sandbox's network (SPEC §10.6): internet sockets, and moving bytes between them.

    connects: whether it connects to what listens in the sandbox; else it can only take connections. Raises
    errors.HostError("seccomp-unsupported") as build does.
    """
    calls = {*_COMPANION.split(), *_RELAY.split()} - (set() if connects else {"connect"})
    waits = _Guard(argument=1, jump=_JEQ, values=(_FIONBIO,), hit=Verdict.ALLOW, miss=Verdict.ENOSYS, words="FIONBIO")
    # Else what was connected and taken back could be connected anew without connect, and Landlock would not see it.
    sends = {name: _no_opening(argument) for name, argument in _SENDS.items() if name in calls}
    return _only(_machine(machine), sorted(calls), (INET, INET6), {"ioctl": waits, **sends})


def _no_opening(argument: int) -> _Guard:
    """A call whose flags, this argument, do not have the first packet open a connection."""
    refused, words = Verdict.EOPNOTSUPP, "MSG_FASTOPEN"
    return _Guard(argument=argument, jump=_JSET, values=(_FASTOPEN,), hit=refused, miss=Verdict.ALLOW, words=words)


def dialer(machine: str) -> bytes:
    """The program of the dialer, which resolves and connects in the host's network (SPEC §10.6): no file is changed, no
    program and no process started. Raises errors.HostError("seccomp-unsupported") as build does.
    """
    target = _machine(machine)
    words = "flags that change a file"
    opens = {
        name: _Guard(argument=at, jump=_JSET, values=(_CHANGES,), hit=Verdict.EPERM, miss=Verdict.ALLOW, words=words)
        for name, at in (("open", 1), ("openat", 2))
    }
    thread = _Guard(argument=0, jump=_JSET, values=(_THREAD,), hit=Verdict.ALLOW, miss=Verdict.EPERM, words="a process")
    own: dict[str, Verdict | _Guard] = dict.fromkeys(_DIALER.split(), Verdict.EPERM)
    own |= {**opens, "clone": thread, "openat2": Verdict.ENOSYS}
    rules = _rules(target, DEFAULT_FAMILIES)
    rules |= {number: own[name] for number, name in target.names.items() if name in own}
    return _program([(target, rules)])


def held(machine: str) -> bytes:
    """The program beside the other one that stops TCP from going round Landlock's ports (landlock(7)).

    Landlock looks at connect(2) of TCP alone: multipath TCP is another protocol to it, and a first packet that opens a
    connection is no connect. Raises errors.HostError("seccomp-unsupported") as build does.
    """
    protocol = _Guard(
        argument=2, jump=_JEQ, values=(_MPTCP,), hit=Verdict.EPROTONOSUPPORT, miss=Verdict.ALLOW, words="IPPROTO_MPTCP"
    )
    sends = {name: _no_opening(argument) for name, argument in _SENDS.items()}
    # Where flags and protocol lie in memory, no filter can see them.
    blind = _Guard(
        argument=0,
        jump=_JEQ,
        values=(_SYS_SOCKET, *_SYS_SENDS),
        hit=Verdict.ENOSYS,
        miss=Verdict.ALLOW,
        words="SYS_SOCKET, SYS_SENDTO, SYS_SENDMSG, SYS_SENDMMSG",
    )
    guarded = {"socket": protocol, "socketcall": blind, **sends}
    target = _machine(machine)
    return _program(
        [
            (each, {number: guarded.get(name, Verdict.ALLOW) for number, name in each.names.items()})
            for each in (target, target.compat)
            if each
        ]
    )


def _only(
    target: _Machine, calls: list[str], families: tuple[int, ...], guards: Mapping[str, _Guard] | None = None
) -> bytes:
    """The program that lets through these calls and no other; ``socket`` for the families, others as guarded."""
    guarded = {"socket": _guards(families)["socket"], **(guards or {})}
    rules: dict[int, Verdict | _Guard] = dict.fromkeys(target.names, Verdict.ENOSYS)
    rules |= dict.fromkeys((number for number, name in target.names.items() if name in calls), Verdict.ALLOW)
    rules |= {number: guarded[name] for number, name in target.names.items() if name in guarded}
    return _program([(target, rules)])


def _program(accepted: list[tuple[_Machine, dict[int, Verdict | _Guard]]]) -> bytes:
    program = [_op(_LD, _AUDIT)]
    for target, rules in accepted:
        calls = [_op(_LD, _NUMBER), *_tree(_ranges(rules, target))]
        program += [_op(_JEQ, target.audit, 1, 0), _op(_JA, len(calls)), *calls]
    return b"".join([*program, _ret(Verdict.KILL)])


def verdicts(machine: str, *, compat: bool = False) -> tuple[tuple[str, str], ...]:
    """What the filter does, for people: pairs of a call and "allow", "EPERM", "ENOSYS", "EAFNOSUPPORT" or "kill".

    A call that depends on an argument has two: `ioctl` is allowed, `ioctl(TIOCSTI, TIOCLINUX)` is not.
    compat: what it does with 32-bit programs where ``multiarch`` is granted. Raises errors.HostError as build does.
    """
    target = _machine(machine)
    target = target.compat if compat and target.compat else target
    pairs: list[tuple[str, str]] = []
    for number, rule in _rules(target, DEFAULT_FAMILIES).items():
        name = target.names[number]
        if isinstance(rule, Verdict):
            pairs.append((name, rule.value))
        else:
            refused = rule.miss if rule.hit is Verdict.ALLOW else rule.hit
            pairs += [(name, Verdict.ALLOW.value), (f"{name}({rule.words})", refused.value)]
    unknown = ("every call that is not listed", Verdict.ENOSYS.value)
    return (*pairs, unknown, ("every call of another processor mode", Verdict.KILL.value))
