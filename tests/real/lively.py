"""An app that runs and does what it is told, one command after the other: what the tests of live changes share."""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from broker import probe, runs
from tests.real import peers, world

# Each command is a file in the app's own state directory, and so is what it printed.
SERVE = """at=~/.local/state
while :; do
  if [ -f $at/ask ]; then mv $at/ask $at/asked; . $at/asked >$at/told.new 2>&1; mv $at/told.new $at/told; fi
  sleep 0.01
done"""
PROBE = """/usr/bin/python3 -I -S -c "$(cat ~/.local/state/probe.py)" """


class App:
    """One running instance, ready to be asked."""

    def __init__(self, home: world.World, started: subprocess.Popen[bytes], app_id: str) -> None:
        self.home, self.started, self.app_id = home, started, app_id
        self.instance = peers.eventually(self._ready, "the sandbox")
        self.state = home.own("state", app_id)

    def _ready(self) -> runs.Instance | None:
        found = (each for each in runs.instances(self.home.places) if each.pid == self.started.pid)
        return next((each for each in found if each.first and each.members()), None)

    def again(self) -> runs.Instance:
        """The record as it is now."""
        return next(each for each in runs.instances(self.home.places) if each.pid == self.started.pid)

    def says(self, command: str) -> str:
        """What a shell command prints inside."""
        (self.state / "asking").write_text(command + "\n")
        (self.state / "asking").rename(self.state / "ask")
        peers.eventually((self.state / "told").exists, "an answer")
        answer = (self.state / "told").read_text()
        (self.state / "told").unlink()
        return answer

    def reaches(self, path: str | pathlib.Path) -> tuple[bool, bool]:
        """Whether the probe that looks around in sandboxes can read and write there."""
        (self.state / "probe.py").write_text(pathlib.Path(probe.__file__).read_text())
        said = self.says(f"""{PROBE} '[["read", "{path}"], ["write", "{path}"]]'""")
        read, write = (line.endswith(", true]") for line in said.splitlines())
        return read, write

    def mounts(self) -> set[tuple[str, ...]]:
        """What is mounted in it, without the numbers that differ from one sandbox to the next (proc(5))."""
        text = pathlib.Path(f"/proc/{self.instance.first}/mountinfo").read_text()
        devices: dict[str, str] = {}
        rows = set()
        for line in text.splitlines():
            words = line.split()
            end = words.index("-")
            ours = words[end + 1] in ("tmpfs", "proc", "devpts", "mqueue")
            device = devices.setdefault(words[2], "own") if ours else words[2]
            root = "a file" if words[3].startswith("/bindfile") else words[3]  # bubblewrap gives each a name by chance
            rows.add((device, root, words[4], words[5], words[end + 1]))
        return rows


@contextmanager
def running(
    home: world.World,
    script: str = SERVE,
    *,
    environ: Mapping[str, str] | None = None,
    app_id: str = world.APP,
    removed: str = "",
) -> Iterator[App]:
    """The app, started with a shell script that stays."""
    quiet = subprocess.DEVNULL
    argv, env = home.argv(app_id, script, removed=removed), {**home.environ, **(environ or {})}
    started = subprocess.Popen(argv, env=env, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    found = None
    try:
        found = App(home, started, app_id)
        yield found
    finally:
        for pid in (found.instance.first if found else 0, started.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL) if pid else None
        started.wait(peers.PATIENCE)
        deadline = time.monotonic() + peers.PATIENCE
        while found and found.instance.members() and time.monotonic() < deadline:
            time.sleep(0.01)
