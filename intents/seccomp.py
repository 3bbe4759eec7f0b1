"""The system call filter of every sandbox: a classic BPF program for ``bwrap --seccomp FD``.

In: the machine name and the socket families that are granted. Out: bytes, one ``struct sock_filter`` per eight
(linux/filter.h, seccomp(2)). The default is to allow, as the namespaces are the wall; the filter takes away the calls
that reach past it (the terminal, other processes, keyrings, new namespaces and mounts, setuid files) and the parts of
the kernel that ordinary programs do not need. A number this file does not know is answered as by an older kernel:
ENOSYS.
"""

import enum
import struct
from dataclasses import dataclass

from intents import errors

UNSPEC, UNIX, INET, INET6, NETLINK = 0, 1, 2, 10, 16
# Netlink because getaddrinfo(3) and if_nametoindex(3) ask it; it reaches the sandbox's own network namespace only.
DEFAULT_FAMILIES = (UNSPEC, UNIX, INET, INET6, NETLINK)


class Verdict(enum.StrEnum):
    """What the kernel does with a call: let it through, fail it with an errno, or end the process."""

    ALLOW = "allow"
    EPERM = "EPERM"
    ENOSYS = "ENOSYS"
    EAFNOSUPPORT = "EAFNOSUPPORT"
    KILL = "kill"


# SECCOMP_RET_* of linux/seccomp.h with the errno in the low half; the three numbers are the same on both machines.
_RETURN = {
    Verdict.ALLOW: 0x7FFF0000,
    Verdict.EPERM: 0x00050000 | 1,
    Verdict.ENOSYS: 0x00050000 | 38,
    Verdict.EAFNOSUPPORT: 0x00050000 | 97,
    Verdict.KILL: 0x80000000,
}

# Names in the order of their numbers, by first number. Numbers from 424 on are the same on every machine.
_COMMON = {
    424: """
        pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen fsconfig
        fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2 process_madvise epoll_pwait2
        mount_setattr quotactl_fd landlock_create_ruleset landlock_add_rule landlock_restrict_self memfd_secret
        process_mrelease futex_waitv set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake
        futex_wait futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal
        setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr
    """,
}  # file_setattr is 469, the newest call of Linux 6.18.

# uretprobe and uprobe are made by the kernel's own trampolines: to refuse them would crash what the host traces.
_X86_64 = {
    0: """
        read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask
        rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield mremap msync mincore
        madvise shmget shmat shmctl dup dup2 pause nanosleep getitimer alarm setitimer getpid sendfile socket
        connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen getsockname getpeername socketpair
        setsockopt getsockopt clone fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget
        msgsnd msgrcv msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename
        mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown umask gettimeofday
        getrlimit getrusage sysinfo times ptrace getuid syslog getgid setuid setgid geteuid getegid setpgid
        getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid getresuid setresgid getresgid
        getpgid setfsuid setfsgid getsid capget capset rt_sigpending rt_sigtimedwait rt_sigqueueinfo
        rt_sigsuspend sigaltstack utime mknod uselib personality ustat statfs fstatfs sysfs getpriority
        setpriority sched_setparam sched_getparam sched_setscheduler sched_getscheduler sched_get_priority_max
        sched_get_priority_min sched_rr_get_interval mlock munlock mlockall munlockall vhangup modify_ldt
        pivot_root _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2
        swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module delete_module
        get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall tuxcall security gettid
        readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr
        removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity sched_getaffinity
        set_thread_area io_setup io_destroy io_getevents io_submit io_cancel get_thread_area lookup_dcookie
        epoll_create epoll_ctl_old epoll_wait_old remap_file_pages getdents64 set_tid_address restart_syscall
        semtimedop fadvise64 timer_create timer_settime timer_gettime timer_getoverrun timer_delete
        clock_settime clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes
        vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
        mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set ioprio_get inotify_init
        inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat fchownat futimesat newfstatat
        unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare set_robust_list
        get_robust_list splice tee sync_file_range vmsplice move_pages utimensat epoll_pwait signalfd
        timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2
        epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg
        fanotify_init fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg
        setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr renameat2
        seccomp getrandom memfd_create kexec_file_load bpf execveat userfaultfd membarrier mlock2
        copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq uretprobe
        uprobe
    """,
}

_AARCH64 = {
    0: """
        io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr lgetxattr
        fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr getcwd lookup_dcookie
        eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl inotify_init1 inotify_add_watch
        inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat mkdirat unlinkat symlinkat linkat renameat
        umount2 mount pivot_root nfsservctl statfs fstatfs truncate ftruncate fallocate faccessat chdir fchdir
        chroot fchmod fchmodat fchownat fchown openat close vhangup pipe2 quotactl getdents64 lseek read write
        readv writev pread64 pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice tee
        readlinkat newfstatat fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime
        timerfd_gettime utimensat acct capget capset personality exit exit_group waitid set_tid_address unshare
        futex set_robust_list get_robust_list nanosleep getitimer setitimer kexec_load init_module delete_module
        timer_create timer_gettime timer_getoverrun timer_settime timer_delete clock_settime clock_gettime
        clock_getres clock_nanosleep syslog ptrace sched_setparam sched_setscheduler sched_getscheduler
        sched_getparam sched_setaffinity sched_getaffinity sched_yield sched_get_priority_max
        sched_get_priority_min sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack rt_sigsuspend
        rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn setpriority
        getpriority reboot setregid setgid setreuid setuid setresuid getresuid setresgid getresgid setfsuid
        setfsgid times setpgid getpgid getsid setsid getgroups setgroups uname sethostname setdomainname
        getrlimit setrlimit getrusage umask prctl getcpu gettimeofday settimeofday adjtimex getpid getppid
        getuid geteuid getgid getegid gettid sysinfo mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify
        mq_getsetattr msgget msgctl msgrcv msgsnd semget semctl semtimedop semop shmget shmctl shmat shmdt
        socket socketpair bind listen accept connect getsockname getpeername sendto recvfrom setsockopt
        getsockopt shutdown sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl clone execve
        mmap fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore madvise
        remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages move_pages rt_tgsigqueueinfo
        perf_event_open accept4 recvmmsg
    """,
    260: """
        wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at clock_adjtime syncfs
        setns sendmmsg process_vm_readv process_vm_writev kcmp finit_module sched_setattr sched_getattr
        renameat2 seccomp getrandom memfd_create bpf execveat userfaultfd membarrier mlock2 copy_file_range
        preadv2 pwritev2 pkey_mprotect pkey_alloc pkey_free statx io_pgetevents rseq kexec_file_load
    """,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """A processor: its AUDIT_ARCH_* number (linux/audit.h), its calls by number, and refusals of calls only it has."""

    audit: int
    names: dict[int, str]
    refused: str
    foreign: tuple[int, int] | None  # first number and end of another ABI under the same audit number


def _numbered(*runs: dict[int, str]) -> dict[int, str]:
    return {first + i: name for run in runs for first, text in run.items() for i, name in enumerate(text.split())}


_MACHINES = {
    "x86_64": _Machine(
        audit=0xC000003E,
        names=_numbered(_X86_64, _COMMON),
        refused="uselib modify_ldt create_module get_kernel_syms query_module",
        foreign=(0x40000000, 0x80000000),  # x32: __X32_SYSCALL_BIT of asm/unistd.h
    ),
    "aarch64": _Machine(audit=0xC00000B7, names=_numbered(_AARCH64, _COMMON), refused="", foreign=None),
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
_PER_LINUX, _PER_LINUX32 = 0, 8  # other personalities turn address randomisation and other hardening off
# In a granted directory such a file is for everybody outside, and runs as the user: an accomplice needs no more. Files
# that are made with these bits lose them when they are written to (write(2)), so only changing a mode is refused.
_S_ISUID, _S_ISGID = 0o4000, 0o2000
_CHMOD = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}  # call -> which argument is the mode


# What a grant gives back: the feature -> calls that are then allowed, and socket families.
FEATURES = ("debugging", "nested-sandbox", "bluetooth", "can")
_DEBUGGING = "perf_event_open ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd personality"
_NESTED = "unshare setns mount umount2 pivot_root chroot clone"
_GIVEN = {"debugging": _DEBUGGING, "nested-sandbox": _NESTED}
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
    """Every number the machine has, with what happens to it."""
    families = (*families, *(_FAMILIES[feature] for feature in features if feature in _FAMILIES))
    given = " ".join(_GIVEN.get(feature, "") for feature in features).split()
    numbers = {name: number for number, name in target.names.items()}
    rules: dict[int, Verdict | _Guard] = dict.fromkeys(target.names, Verdict.ALLOW)
    rules |= {numbers[name]: Verdict.EPERM for name in f"{_EPERM} {target.refused}".split()}
    rules |= {numbers[name]: Verdict.ENOSYS for name in _ENOSYS.split()}
    rules |= {numbers[name]: guard for name, guard in _guards(families).items() if name in numbers}
    return rules | {numbers[name]: Verdict.ALLOW for name in given}


def _ranges(rules: dict[int, Verdict | _Guard], target: _Machine) -> list[tuple[int, Verdict | _Guard]]:
    """All 32-bit numbers as neighbouring ranges: the first number of each, and what happens to its numbers."""
    ranges: list[tuple[int, Verdict | _Guard]] = []
    for number in range(max(rules) + 2):
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
    prologue = [_op(_LD, _AUDIT), _op(_JEQ, target.audit, 1, 0), _ret(Verdict.KILL), _op(_LD, _NUMBER)]
    return b"".join(prologue + _tree(_ranges(_rules(target, families, features), target)))


def verdicts(machine: str) -> tuple[tuple[str, str], ...]:
    """What the filter does, for people: pairs of a call and "allow", "EPERM", "ENOSYS", "EAFNOSUPPORT" or "kill".

    A call that depends on an argument has two: `ioctl` is allowed, `ioctl(TIOCSTI, TIOCLINUX)` is not.
    Raises errors.HostError("seccomp-unsupported") as build does.
    """
    target = _machine(machine)
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
