"""A real Flatpak with one app in it, made offline from files of this machine, and what it starts bubblewrap with."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from tests.oracle import access, scenery
from tests.oracle import runtime as contents

APP = scenery.APP
RUNTIME = "org.example.Platform"
LIMIT = 60  # seconds until something that takes milliseconds counts as never
QUIET = ("--no-documents-portal", "--no-a11y-bus")  # Flatpak then gives less, which is the harder comparison
RECORDER = pathlib.Path(__file__).with_name("recorder.py")
# Permissions that a version lacks: since when, and what it then gives (flatpak's NEWS and common/flatpak-run.c).
NEWER = {
    "--device=input": ((1, 15, 11), ("--dev-bind", "/dev/input", "/dev/input")),
    "--device=usb": ((1, 15, 11), ("--dev-bind", "/dev/bus/usb", "/dev/bus/usb")),
}
_NUMBERED = re.compile(r"(/\.flatpak/)[0-9]+|(session|system)-bus-proxy-[A-Za-z0-9]{6}")  # of one start alone


class Flatpak:
    """An installation of its own below a directory of the scenery. Needs both buses: installing asks one of them.

    probing: whether its runtime holds Python, so that the probe can be run in it.
    """

    def __init__(self, scene: scenery.Scenery, *, probing: bool = False) -> None:
        self.scene, self.base = scene, scene.world.base / "flatpak"
        base = self.base
        for name in ("etc", "run", "triggers", "captures"):
            (base / name).mkdir(parents=True)
        self.environ = {
            **scene.environ,
            "FLATPAK_USER_DIR": f"{base}/user",
            "FLATPAK_SYSTEM_DIR": f"{base}/system",
            "FLATPAK_SYSTEM_CACHE_DIR": f"{base}/cache",
            "FLATPAK_CONFIG_DIR": f"{base}/etc",
            "FLATPAK_RUN_DIR": f"{base}/run",
            "FLATPAK_TRIGGERSDIR": f"{base}/triggers",
        }
        self.version = tuple(int(part) for part in self._do("flatpak", "--version").split()[-1].split("."))
        self._install(probing)
        runtime = scene.world.runtime
        self.names = access.Names(
            filtered=(f"{runtime}/.dbus-proxy",),
            buses=scene.names.buses,
        )

    def _do(self, *words: str, **environ: str) -> str:
        done = subprocess.run(
            words, env={**self.environ, **environ}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words[:2], done.stdout, done.stderr)
        return done.stdout

    def _install(self, probing: bool) -> None:
        """A runtime of nearly nothing, and an app of one file, in a repository of their own."""
        base, arch = self.base, self._do("flatpak", "--default-arch").strip()
        # 1.14 cannot begin a build where no system installation exists: an empty one, as ostree-init(1) makes it.
        for name in ("objects", "tmp", "state", "extensions", "refs/heads", "refs/mirrors", "refs/remotes"):
            (base / "system" / "repo" / name).mkdir(parents=True)
        (base / "system" / "repo" / "config").write_text("[core]\nrepo_version=1\nmode=bare-user-only\n")
        runtime = base / "runtime"
        (runtime / "usr" / "bin").mkdir(parents=True)
        (runtime / "usr" / "etc").mkdir()
        (runtime / "files").mkdir()
        names = "".join(f"{key}={RUNTIME}/{arch}/stable\n" for key in ("runtime", "sdk"))
        (runtime / "metadata").write_text(f"[Runtime]\nname={RUNTIME}\n{names}")
        (runtime / "usr" / "etc" / "ld.so.conf").write_text("/usr/lib\n")  # an empty one would be made a cache for
        if probing:
            contents.fill(runtime / "usr")
        self._publish(runtime, "--runtime")
        self._do("flatpak", "--user", "remote-add", "--no-gpg-verify", "here", f"file://{base}/repo")
        self._do("flatpak", "--user", "install", "-y", "--noninteractive", "here", f"{RUNTIME}//stable")
        app = base / "app"
        self._do("flatpak", "build-init", str(app), APP, RUNTIME, RUNTIME, "stable")
        (app / "files" / "bin").mkdir(exist_ok=True)
        (app / "files" / "bin" / "app").write_text("#!/bin/sh\n")
        (app / "files" / "bin" / "app").chmod(0o755)
        self._do("flatpak", "build-finish", "--command=app", str(app))
        self._publish(app)
        self._do("flatpak", "--user", "install", "-y", "--noninteractive", "here", f"{APP}//stable")

    def _publish(self, directory: pathlib.Path, *options: str) -> None:
        quick = ("--no-update-summary", "--disable-sandbox")
        self._do("flatpak", "build-export", *quick, *options, f"{self.base}/repo", str(directory), "stable")
        self._do("flatpak", "build-update-repo", f"{self.base}/repo")

    def run(self, tokens: Sequence[str], *words: str) -> str:
        """What a program of the runtime prints in a sandbox with these permissions."""
        return self._do("flatpak", "run", *QUIET, *tokens, f"--command={words[0]}", APP, *words[1:])

    def records(self, tokens: Sequence[str]) -> list[access.Recorded]:
        """All command lines of bubblewrap that `flatpak run` with these permissions makes."""
        with tempfile.TemporaryDirectory(dir=self.base / "captures") as directory:
            recorder = pathlib.Path(directory, "bwrap")
            recorder.write_text(f"#!/usr/bin/python3 -IS\n{RECORDER.read_text('utf-8')}")
            recorder.chmod(0o700)
            self._do("flatpak", "run", *QUIET, *tokens, APP, FLATPAK_BWRAP=str(recorder))
            return [_recorded(path) for path in sorted(pathlib.Path(directory).glob("*.json"))]

    def map(self, tokens: Sequence[str]) -> access.AccessMap:
        """What an app with these permissions gets."""
        missing = [token for token in tokens if token in NEWER and self.version < NEWER[token][0]]
        records = self.records([token for token in tokens if token not in missing])
        proxies = [record for record in records if any(word.endswith("xdg-dbus-proxy") for word in record.words)]
        (sandbox,) = (record for record in records if "--info-fd" in record.words)
        added = tuple(word for token in missing for word in NEWER[token][1])
        end = sandbox.words.index("--")
        sandbox = dataclasses.replace(sandbox, words=(*sandbox.words[:end], *added, *sandbox.words[end:]))
        found = access.read(sandbox, proxies, os.uname().machine, self.names)
        # It does not name them, because bubblewrap gives an ordinary user none (bwrap(1), `--cap-drop`).
        return dataclasses.replace(found, shares=found.shares - {"capabilities"})


def _recorded(path: pathlib.Path) -> access.Recorded:
    found: Mapping[str, object] = json.loads(path.read_text("utf-8"))
    words, held, leads = found["words"], found["held"], found["leads"]
    assert isinstance(words, list) and isinstance(held, dict) and isinstance(leads, dict)
    return access.Recorded(
        words=tuple(_NUMBERED.sub(r"\1\2", word) for word in words),
        held={number: bytes.fromhex(content) for number, content in held.items()},
        leads=leads,
    )
