"""A user's world in one directory: a home, the broker's places, signed manifests, decisions; and intent-run in it.

``removed`` of ``start`` is Python that takes one protection away before intent-run begins: what a test says is
prevented must then happen, or the test would prove nothing.
"""

import json
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

from broker import app as apps
from broker import history, journal, plans, state
from intents import decide, model, parse, sign
from tests.conftest import must_work

ROOT = pathlib.Path(__file__).parents[2]
KEY = ROOT / "tests" / "keys" / "other"
APP = "org.example.App"
PYTHON = ["/usr/bin/python3", "-I", "-S", "-c"]
SHELL = ["/bin/sh", "-c"]
LIMIT = 30  # seconds until something that takes milliseconds counts as never
HOUR = 3600  # how long an answer with a deadline holds
MAIN = """
import sys
sys.path.insert(0, {root!r})
from broker import state
state._home = lambda euid: {home!r}
{removed}
from broker.run import main
sys.exit(main())
"""
# Without a protection nothing stored may be used, and nothing may be stored for a start that has it.
ALONE = """
from broker import plans, run
run._plan = lambda name: ""
plans.write = lambda *_: None
"""
NO_FILTER = """
from intents import seccomp
seccomp.build = lambda machine, **_given: (0x06).to_bytes(2, "little") + bytes(2) + 0x7FFF0000 .to_bytes(4, "little")
"""


def manifest(
    command: Sequence[str],
    intents: Mapping[str, Mapping[str, object]] | None = None,
    *,
    app_id: str = APP,
    interface: str = "terminal",
    serial: int = 1,
    **app: object,
) -> str:
    """A manifest of optional intents: id -> scope keys with ``kind``. ``app``: more keys of its first table."""
    lines = ["spec = 1", "[app]", f'id = "{app_id}"', 'name = "Example"', 'version = "1"', f"serial = {serial}"]
    lines += [f"command = {json.dumps(list(command))}", f'interface = "{interface}"']
    lines += [f"{key} = {json.dumps(value)}" for key, value in app.items()]
    for name, scope in (intents or {}).items():
        lines += [f"[intents.{name}]", 'reason = "To work."', "optional = true", 'if_denied = "Less works."']
        lines += [f"{key} = {json.dumps(value)}" for key, value in scope.items()]
    return "\n".join(lines) + "\n"


class World:
    """One home with everything below it. ``environ`` is what intent-run is started with."""

    def __init__(self, base: pathlib.Path) -> None:
        self.base, self.home, self.runtime = base, base / "home", base / "runtime"
        for directory in (self.home, self.runtime):
            directory.mkdir(mode=0o700)
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "XDG_STATE_HOME": f"{self.home}/.local/state",
            "XDG_DATA_HOME": f"{self.home}/.local/share",
            "XDG_CONFIG_HOME": f"{self.home}/.config",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "LANG": "C.UTF-8",
            "INTENT_UI": "tty",  # no window, whatever display a test has
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self.here():
            self.places = state.places(self.environ, os.geteuid())
            state.ensure(self.places)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let the broker's modules, in this process, take this home for the user's."""
        with mock.patch.object(state, "_home", lambda _euid: str(self.home)):
            yield

    def install(self, text: str) -> None:
        """Put a manifest into the user's catalog, signed, and agree to its publisher."""
        body = text.encode()
        signature = sign.sign(body, KEY.read_bytes(), None)
        found = parse.parse(body, file="manifest")
        path = pathlib.Path(self.places.data, "manifests", f"{found.app.id}.toml")
        path.write_bytes(body)
        pathlib.Path(f"{path}.sig").write_bytes(signature)
        for file in (path, pathlib.Path(f"{path}.sig")):
            file.chmod(0o600)
        with self.here():
            now = state.clock(self.places)
            app = self.load(found.app.id)
            with journal.Journal.open(self.places) as book:
                book.record(now, [history.pinned(app.pin(app.vet(book), now))])

    def load(self, app_id: str = APP) -> apps.App:
        """The app as the broker sees it now."""
        with self.here():
            return apps.load(app_id, self.environ, typed=False)

    def decide(
        self,
        *names: str,
        app_id: str = APP,
        effect: model.Effect = model.Effect.ALLOW,
        span: model.Lifespan = model.Lifespan.FOREVER,
    ) -> None:
        """Answer the app's intents of these ids, or all."""
        app = self.load(app_id)
        now = state.clock(self.places)
        with state.lock(app.lock("state")), journal.Journal.open(self.places) as book:
            vetted = app.vet(book)
            life = decide.life(span, now, seconds=HOUR, trust=vetted.trust)
            made = [
                decision
                for intent in app.manifest.intents
                if not names or intent.id in names
                for decision in decide.decisions(
                    intent, intent.scope.parts(), effect, life, app.objects, source="command", now=now
                )
            ]
            plans.drop(self.places, app_id)
            book.record(now, [history.decided(app_id, vetted.lineage, decision) for decision in made])

    def own(self, name: str, app_id: str = APP) -> pathlib.Path:
        """One of the app's own directories on the host: config, data, state or cache."""
        (found,) = pathlib.Path(self.places.data, "apps").glob(f"{app_id}-*")
        return found / name

    def argv(self, *words: str | bytes, removed: str = "") -> list[str | bytes]:
        """The command line of intent-run."""
        program = MAIN.format(root=str(ROOT), home=str(self.home), removed=removed and ALONE + removed)
        return [sys.executable, "-c", program, *words]

    def start(
        self,
        *words: str | bytes,
        removed: str = "",
        stdin: int | None = subprocess.DEVNULL,
        data: bytes | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: str | pathlib.Path | None = None,
        fds: Sequence[int] = (),
        name: str = APP,
        options: Sequence[str] = (),
        limit: float = LIMIT,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the app with arguments to its end, in a session of its own: with nobody to ask."""
        return subprocess.run(
            self.argv(*options, name, *words, removed=removed),
            env={**self.environ, **(environ or {})},
            cwd=cwd or self.base,
            stdin=None if data is not None else stdin,
            input=data,
            capture_output=True,
            pass_fds=tuple(fds),
            start_new_session=True,
            timeout=limit,
            check=False,
        )

    def says(self, *words: str | bytes, **how: object) -> str:
        """What the app prints; it must end well."""
        done = self.start(*words, **how)  # type: ignore[arg-type]
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout.decode()


@contextmanager
def world(above: str | None = None, make: Callable[[pathlib.Path], World] | None = None) -> Iterator[World]:
    """A world below the real home (nothing below /tmp can be granted) or ``above``; it is removed afterwards."""
    must_work(shutil.which("bwrap"), "bubblewrap")
    above = above or pwd.getpwuid(os.geteuid()).pw_dir
    base = pathlib.Path(os.path.realpath(tempfile.mkdtemp(prefix=".intents-test-", dir=above)))
    try:
        yield (make or World)(base)
    finally:
        shutil.rmtree(base, ignore_errors=True)
