"""A terminal as an emulator makes it, with a program on it; and the commands that the relay's tests type there.

The relay is copied out of the checkout, so that an unprivileged account can start it wherever the checkout lies.
"""

import contextlib
import fcntl
import itertools
import os
import pwd
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import must_work

CHECKOUT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds until a test gives up; nothing passes or fails by being slower than that
PROMPT = "READY> "
_serial = itertools.count()

RELAY = """#!/usr/bin/python3 -IS
import os, signal, sys
sys.path.insert(0, {place!r})
from broker import relay

def start():
    if sys.argv[1] == "bwrap":  # what the executor does; env gives the app its signals back
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    os.execvp(sys.argv[1], sys.argv[1:])

status = relay.run(start)
open({share!r} + "/status", "w").write(str(status))
sys.exit(status)
"""
BWRAP = "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc --bind {share} {share}"
SCRIPTS = {
    "relay": RELAY,
    "boxed": "#!/bin/sh\nexec relay bwrap " + BWRAP + ' -- /usr/bin/env --default-signal=INT,QUIT,HUP,TERM "$@"\n',
    "bare": "#!/bin/sh\nexec bwrap " + BWRAP + ' -- "$@"\n',
    "bare-session": "#!/bin/sh\nexec bwrap --new-session " + BWRAP + ' -- "$@"\n',
}


def accounts() -> list[str]:
    """The accounts to test as: the own one and, for root, an ordinary one."""
    if os.geteuid() != 0:
        return [pwd.getpwuid(os.geteuid()).pw_name]
    names = {entry.pw_name for entry in pwd.getpwall()}
    return ["root", "tester" if "tester" in names else "nobody"]


@contextlib.contextmanager
def desk_of(account: str) -> "Iterator[Desk]":
    """A desk for one test."""
    must_work(shutil.which("bwrap"), "bubblewrap")
    made = Desk(account)
    try:
        yield made
    finally:
        made.close()


class Desk:
    """A directory of commands for one account, and the terminals opened there."""

    def __init__(self, account: str) -> None:
        self.account = pwd.getpwnam(account)
        self.place = Path(tempfile.mkdtemp(prefix="relay-"))
        self.mark = f"1000.{os.getpid()}{next(_serial):03d}"  # seconds to sleep, by which to find who sleeps
        self.place.chmod(0o755)
        self.share = self.place / "share"
        self.share.mkdir()
        os.chown(self.share, self.account.pw_uid, self.account.pw_gid)
        (self.place / "broker").mkdir()
        for name in ("__init__.py", "relay.py", "monitor.py", "user_terminal.py"):
            shutil.copy(CHECKOUT / "broker" / name, self.place / "broker" / name)
        shutil.copytree(CHECKOUT / "intents", self.place / "intents", ignore=shutil.ignore_patterns("__pycache__"))
        for name, text in SCRIPTS.items():
            script = self.place / name
            script.write_text(text.format(place=str(self.place), share=str(self.share)))
            script.chmod(0o755)
        for file in self.place.rglob("*"):
            if file != self.share:
                file.chmod(0o755)
        self.terminals: list[Terminal] = []

    def open(self, *command: str, size: tuple[int, int] = (24, 80), owned: bool = True) -> "Terminal":
        """A terminal on which ``command`` runs; owned: its device belongs to the account, as after a login."""
        environment = {
            "PATH": f"{self.place}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.share),
            "TERM": "xterm",
            "LANG": "C.UTF-8",
            "PS1": PROMPT,
            "S": str(self.share),
        }
        terminal = Terminal(command, self.account, environment, size, owned=owned)
        self.terminals.append(terminal)
        return terminal

    def shell(self, *options: str) -> "Terminal":
        """A terminal with an interactive bash that shows its prompt."""
        terminal = self.open("/bin/bash", "--norc", "--noprofile", *(options or ("--noediting",)), "-i")
        terminal.shell = terminal.process.pid
        terminal.expect(PROMPT)
        return terminal

    def file(self, name: str) -> str:
        """What a file in the shared directory holds; empty while there is none."""
        try:
            return (self.share / name).read_text()
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        for terminal in self.terminals:
            terminal.close()
        shutil.rmtree(self.place)


class Terminal:
    """The emulator's side: what is typed, what is shown, modes, size, and whose turn it is."""

    def __init__(
        self,
        command: Sequence[str],
        account: pwd.struct_passwd,
        environment: dict[str, str],
        size: tuple[int, int],
        *,
        owned: bool,
    ) -> None:
        self.master, slave = os.openpty()
        self.resize(*size)
        if owned:
            os.chown(os.ttyname(slave), account.pw_uid, -1)
        self.shown = ""
        self.shell = 0  # the process group of the interactive shell, if that is what runs here
        root = os.geteuid() == 0
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd="/",
            user=account.pw_uid if root else None,
            group=account.pw_gid if root else None,
            extra_groups=[] if root else None,
        )
        os.close(slave)
        os.set_blocking(self.master, False)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.master)

    def foreground(self) -> int:
        return os.tcgetpgrp(self.master)

    def taken(self) -> None:
        """Wait until the relay has the terminal: keys then reach it one by one."""
        canonical = termios.ICANON
        self.until(
            lambda: self.job() and not self.modes()[3] & canonical, "the relay did not take the terminal"
        )

    def job(self) -> int:
        """The process group that the shell has put into the foreground; 0 while that is the shell's own."""
        group = self.foreground()
        return group if group != self.shell else 0

    def resume(self) -> None:
        """Bring the stopped job to the foreground and wait until all of it runs."""
        self.command("fg")

        def runs() -> bool:
            job = self.job()
            states = [fields[0] for _, fields in processes() if fields[2] == str(job)]
            return bool(job and states) and "T" not in states

        self.until(runs, "the job does not run again")

    def send(self, text: str) -> None:
        """Type ``text``, reading along what is shown."""
        data = text.encode()
        deadline = time.monotonic() + PATIENCE
        while data:
            assert time.monotonic() < deadline, f"nobody takes what is typed; shown: {self.shown[-2000:]!r}"
            readable, writable, _ = select.select([self.master], [self.master], [], 1)
            if readable:
                self.read()
            if writable:
                data = data[os.write(self.master, data[:1024]) :]

    def line(self, text: str) -> None:
        """Type a line that nobody echoes now."""
        self.send(text + "\n")

    def command(self, text: str) -> None:
        """Type a line at a shell's prompt and skip its echo, so that only what it prints is expected."""
        self.line(text)
        self.expect(re.escape(text) + "\r\n")

    def read(self) -> bool:
        """Take in what is shown; whether anybody can still show more."""
        try:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def expect(self, pattern: str) -> "re.Match[str]":
        """Wait until ``pattern`` (a regular expression) is shown; forget everything up to its end."""
        self.until(lambda: re.search(pattern, self.shown), f"{pattern!r} was not shown")
        found = re.search(pattern, self.shown)
        assert found
        self.shown = self.shown[found.end() :]
        return found

    def prompt(self) -> str:
        """Wait for the shell's prompt; return what was shown before it."""
        self.until(lambda: PROMPT in self.shown, "the shell does not prompt")
        before, _, self.shown = self.shown.partition(PROMPT)
        return before

    def until(self, condition: Callable[[], object], complaint: str = "") -> None:
        """Wait until ``condition`` holds, reading along what is shown."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"{complaint}; shown: {self.shown[-2000:]!r}"
            if select.select([self.master], [], [], 0.02)[0] and not self.read():
                time.sleep(0.02)

    def wait(self) -> int:
        """The exit status of the command, once it has ended; negative for a signal."""

        self.until(lambda: self.process.poll() is not None, "the command did not end")
        while select.select([self.master], [], [], 0)[0] and self.read():
            pass
        return int(self.process.returncode)

    def hang_up(self) -> None:
        """Close the emulator's window."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        if self.master >= 0:
            self.hang_up()
        for process in session(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


def processes() -> Iterator[tuple[int, list[str]]]:
    """Each process: its id and the fields of /proc/PID/stat after the name (state, parent, group, session, …)."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                yield int(entry), Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue


def over(process: int) -> bool:
    """Whether a process has ended; one that nobody waits for is over, too."""
    return all(found != process or fields[0] == "Z" for found, fields in processes())


def session(leader: int) -> list[int]:
    """The processes of a session."""
    return [process for process, fields in processes() if fields[3] == str(leader)]


def named(mark: str) -> list[int]:
    """The processes, zombies excepted, that have ``mark`` as an argument."""
    found = []
    for process, fields in processes():
        try:
            arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if fields[0] != "Z" and mark.encode() in arguments and process != os.getpid():
            found.append(process)
    return found




def child_of(parent: int) -> int:
    """The one process that ``parent`` started."""
    return next(process for process, fields in processes() if fields[1] == str(parent))


def work(process: int) -> tuple[int, str]:
    """How much a process has done: clock ticks on the processor, and bytes read and written."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), Path(f"/proc/{process}/io").read_text()
