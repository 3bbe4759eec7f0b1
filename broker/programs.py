"""The system's own programs that intents stands on: where they are, whether they will do, how to install them.

Only root's programs count, in fixed directories: what the caller's PATH names may be anybody's (SPEC §9.2).
"""

import os
import re
import stat
import subprocess
import sys

from broker import state
from intents import errors, paths

SEARCH = ("/usr/bin", "/usr/local/bin", paths.CURRENT_PROGRAMS)
ADMIN = ("/usr/sbin", "/sbin")
TIMEOUT = 10.0  # seconds; these programs answer in milliseconds

# What bwrap.py uses and old ones lack. Probed because Debian 12's 0.8.0 has options of 0.10 and a version says nothing.
OPTIONS = (
    "--add-seccomp-fd",
    "--args",
    "--bind-fd",
    "--die-with-parent",
    "--disable-userns",
    "--json-status-fd",
    "--perms",
    "--ro-bind-data",
    "--ro-bind-fd",
    "--size",
    "--unshare-user",
)

# Knobs that forbid user namespaces: file, forbidding value, why, what turns it off. The first holds for root as well.
_KNOBS = (
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "the kernel is told to allow none (user.max_user_namespaces=0)",
        "sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "they are kept for root (kernel.unprivileged_userns_clone=0)",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor allows them only to programs with a profile (kernel.apparmor_restrict_unprivileged_userns=1)",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)

# Package manager -> what installs a package, and what replaces an installed one by the newest.
_COMMANDS = {
    "apt": ("apt-get install {}", "apt-get install --only-upgrade {}"),
    "dnf": ("dnf install {}", "dnf upgrade {}"),
    "pacman": ("pacman -S {}", "pacman -Syu {}"),
    "apk": ("apk add {}", "apk add --upgrade {}"),
}
_DISTRIBUTIONS = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "alpine": "apk",
}


def find(name: str, search: tuple[str, ...] = SEARCH) -> str:
    """The absolute path of root's program ``name``, or empty: a regular executable file that only root can change."""
    for directory in search:
        path = f"{directory}/{name}"
        try:
            found, holder = os.stat(path), os.stat(directory)
        except OSError:
            continue
        safe = {found.st_uid, holder.st_uid} <= state.roots() and not (found.st_mode | holder.st_mode) & 0o002
        if safe and not found.st_mode & 0o020 and stat.S_ISREG(found.st_mode) and os.access(path, os.X_OK):
            return path
    return ""


def code() -> tuple[str, ...]:
    """The canonical paths of this command, of its interpreter, and of the directories it takes modules from."""
    found = {os.path.realpath(file) for file in (sys.argv[0], sys.executable) if os.path.isabs(file)}
    found |= {os.path.realpath(entry) for entry in sys.path if os.path.isabs(entry) and os.path.isdir(entry)}
    return tuple(sorted(found))


def run(*argv: str) -> tuple[int, str]:
    """Run a program with nothing inherited; (exit status, what it said); -1 when it did not start or end."""
    try:
        done = subprocess.run(
            argv,
            env={"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failed:
        return -1, str(failed)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def check_bwrap(path: str) -> None:
    """Whether the bubblewrap at ``path`` (empty: none was found) can make the sandbox, by its behaviour.

    Raises HostError ``bwrap-missing``, ``bwrap-unsuitable`` (privileged, or without a needed option) or
    ``userns-forbidden``, with the cause and the command that ends it.
    """
    if not path or not os.path.exists(path):
        raise errors.HostError(
            "bwrap-missing",
            f"bubblewrap is not installed: there is no root-owned `bwrap` in {' or '.join(SEARCH[:2])}",
            hint=install("bubblewrap"),
        )
    if how := privileged(path):
        raise errors.HostError(
            "bwrap-unsuitable",
            f"`{path}` runs with more rights than yours ({how}), which intents does not build upon",
            hint=f"{sudo()}{'chmod u-s,g-s' if how == 'setuid' else 'setcap -r'} {path}",
        )
    if lacking := missing_options(path):
        raise errors.HostError(
            "bwrap-unsuitable",
            f"`{path}` is too old: it does not know {', '.join(lacking)}",
            hint=f"install bubblewrap 0.10 or newer, or Debian 12's: {install('bubblewrap')}",
        )
    status, said = run(path, "--unshare-all", "--unshare-user", "--disable-userns", "--ro-bind", "/", "/", "/bin/true")
    if status:
        raise _forbidden(path, said)


def privileged(path: str) -> str:
    """How starting ``path`` raises privileges: ``setuid`` (or setgid), ``file capabilities``, or empty."""
    if os.stat(path).st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "setuid"
    try:
        return "file capabilities" if os.getxattr(path, "security.capability") else ""
    except OSError:
        return ""


def missing_options(path: str) -> tuple[str, ...]:
    """Those of ``OPTIONS`` that ``path --help`` does not list."""
    listed = set(re.findall(r"^\s+(--[a-z0-9-]+)", run(path, "--help")[1], re.MULTILINE))
    return tuple(option for option in OPTIONS if option not in listed)


def _forbidden(path: str, said: str) -> errors.HostError:
    for file, value, why, command in _KNOBS if os.geteuid() else _KNOBS[:1]:
        if read_line(file) == value:
            return errors.HostError(
                "userns-forbidden",
                f"`{path}` may not make user namespaces here: {why}",
                hint=f"{sudo()}{command}",
            )
    first = said.strip().partition("\n")[0]
    return errors.HostError("userns-forbidden", f"`{path}` cannot make a sandbox here: {first or 'it gave no reason'}")


def read_line(path: str) -> str:
    """The first line of a small file of the kernel, stripped; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""


def package_manager(os_release: str = "/etc/os-release") -> str:
    """``apt``, ``dnf``, ``pacman`` or ``apk``, by os-release(5)'s ID and ID_LIKE; empty for any other system."""
    try:
        with open(os_release, encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 16).splitlines()
    except OSError:
        return ""
    values = dict(line.partition("=")[::2] for line in lines)
    ids = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").replace("'", "").split()
    return next((_DISTRIBUTIONS[name] for name in ids if name in _DISTRIBUTIONS), "")


def install(package: str) -> str:
    """The command that installs ``package`` here, with ``sudo`` for whoever is not root."""
    manager = package_manager()
    return sudo() + _COMMANDS[manager][0].format(package) if manager else f"install the package `{package}`"


def upgrade(package: str) -> str:
    """The command that brings an installed ``package`` up to date, as ``install`` gives it."""
    manager = package_manager()
    return sudo() + _COMMANDS[manager][1].format(package) if manager else f"upgrade the package `{package}`"


def sudo() -> str:
    """What a command for root begins with here: ``sudo`` and a space, or nothing."""
    return "sudo " if os.geteuid() else ""
