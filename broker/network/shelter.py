"""What the dialer gives up before it reads the first word from the relay (SPEC §10.6).

It resolves names by this machine's own means, and with whatever modules nsswitch.conf(5) names, so that it keeps its
user and its mounts. It cannot change a file or start anything (seccomp(2)), and where the kernel has Landlock, it reads
what resolving needs and its own code, and nothing of the user's; it signals nobody, and no abstract socket answers it.
"""

import ctypes
import os

from broker import confine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
_NO_NEW_PRIVS = 38  # prctl(2)
_BIND_SERVICE = 1 << 10  # CAP_NET_BIND_SERVICE: capabilities(7)
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # landlock_create_ruleset(2) and the others: the same on every processor
# landlock(7): rights by the version that knows them, from the first
_RIGHTS = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF}
_READ_FILE, _READ_DIRECTORY, _REMOVE_FILE = 0x4, 0x8, 0x20
_SCOPED, _BOTH_SCOPES = 6, 3  # the version that has scopes: abstract sockets, signals
# Configuration, modules and their sockets' directories, of glibc, musl, systemd, nscd, sssd and avahi.
_NEEDED = (
    b"/etc", b"/usr/lib", b"/usr/lib64", b"/lib", b"/lib64", b"/nix/store", b"/gnu/store", b"/run/systemd/resolve",
    b"/run/systemd/machines", b"/run/systemd/userdb", b"/run/resolvconf", b"/run/NetworkManager", b"/run/connman",
    b"/run/nscd", b"/var/run/nscd", b"/run/avahi-daemon", b"/var/lib/sss", b"/var/lib/misc", b"/proc/sys/net",
)  # fmt: skip


def enter(calls: bytes, removing: bool, resolvers: str) -> None:
    """Give it up, before there are threads.

    calls: a seccomp program; removing: sockets of this launch, elsewhere, are removed at its end; resolvers: the path
    of resolv.conf(5), which may lead elsewhere. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "new privileges are not given up")
    confine.drop_capabilities(libc, _BIND_SERVICE)  # root's, for what listens on a low port later
    real = os.fsencode(os.path.dirname(os.path.realpath(resolvers)))
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = [os.fsencode(f"{ours}/{name}") for name in ("broker", "intents")]
    code.append(os.fsencode(os.path.dirname(os.__file__)))
    _restrict(libc, [*_NEEDED, *code, *([real] if real.count(b"/") > 1 else [])], removing)
    confine.load(libc, calls)


def _restrict(libc: ctypes.CDLL, readable: "Iterable[bytes]", removing: bool) -> None:
    """Read in these directories only, as far as this kernel can hold it. Raises OSError."""
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    handled = max(rights for since, rights in _RIGHTS.items() if since <= version)
    if removing:
        handled &= ~(_REMOVE_FILE | _READ_DIRECTORY)
    scopes = _BOTH_SCOPES if version >= _SCOPED else 0
    attributes = b"".join(each.to_bytes(8, "little") for each in (handled, 0, scopes))
    known = 24 if version >= _SCOPED else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE, attributes, ctypes.c_size_t(known), 0)
    _check(ruleset)
    try:
        rights = (handled & (_READ_FILE | _READ_DIRECTORY)).to_bytes(8, "little")
        for path in readable:
            try:
                handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                _check(libc.syscall(_ADD, ruleset, 1, rights + handle.to_bytes(4, "little"), 0))
            finally:
                os.close(handle)
        _check(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "the dialer could not be shut in")
