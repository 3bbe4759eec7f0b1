"""Asks in a window of its own, for starts without a terminal. Another process draws it (``window``).

That process has no policy: it gets the request as data over a socket and gives back answers, which count only if they
name what was put and are on offer (``client.put``). Whatever else it does is no answer.
"""

import configparser
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from broker import client, prompts, protocol
from broker.ui import gate, language, tty
from intents import errors

PATIENCE = 15.0  # seconds until the window is up; for the answer there is no limit
_PYTHON = "/usr/bin/python3"  # the one that the distribution's PyGObject is for
_ROOT = str(pathlib.Path(__file__).parents[2])
# Without site there are no .pth files, which run code; the directories that it names are where PyGObject is.
_BEGIN = (
    "import site, sys; sys.path[:0] = sys.argv[1:2]; sys.path += site.getsitepackages(); "
    "from broker.ui import window; sys.exit(window.main(*sys.argv[2:]))"
)
_LOOK = """
import site, sys
sys.path += site.getsitepackages()
try:
    import gi
except ImportError:
    sys.exit(print("python3-gi") or 1)
try:
    gi.require_version("Gtk", "4.0")
    from gi.repository import Gtk
except (ImportError, ValueError):
    sys.exit(print("gir1.2-gtk-4.0") or 1)
sys.exit(Gtk.init_check() is not True and (print("display") or 1))
"""
_NOWHERE = "/nonexistent"
_MOST = 1 << 16  # bytes of GTK's settings
_NEEDED = (
    *("WAYLAND_DISPLAY", "DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
    *("XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID", "LANG", "LANGUAGE"),
)


class _Closed(Exception):
    """A signal that ends us has come."""


class Dialog:
    """Asks in a window.

    environ: where the screen is; settle: seconds the window stands before input counts; helper: the command line of
    the process that draws it, which has its end of the socket as standard input.
    """

    def __init__(
        self, environ: Mapping[str, str], settle: float = gate.SETTLE, helper: Sequence[str] | None = None
    ) -> None:
        self._environ = environ
        self._helper = helper or command("ask", "dark" if _dark(environ) else "light", str(settle))
        self._up = False

    def ask(self, request: prompts.Request) -> tuple[prompts.Answer, ...] | None:
        """The answers; None when the user decided nothing, or the window went away or answered something else.

        For the main thread. Raises RefusedError ``no-way-to-ask`` when no window opened.
        """
        self._up = False
        answers = None
        try:
            with _closing(), _started(self._helper, self._environ) as stream:
                self._deadline = time.monotonic() + PATIENCE
                name = protocol.question_id(request.app_id, request.fingerprint)
                said = self._said(request)
                answers = client.put(stream, said, name, showing=self._showing, gone=self._late)
        except _Closed:
            return None
        except OSError:
            self._up = False
        if answers is None and not self._up:
            message = f"{request.name} was not started: the window that asks about it did not open"
            hint = "start it in a terminal; `intent-ctl doctor` may know why"
            raise errors.RefusedError("no-way-to-ask", message, hint=hint)
        return answers

    def _said(self, request: prompts.Request) -> prompts.Request:
        spoken, look = language.choose(self._environ), request.elsewhere
        said: prompts.Request = _in(spoken, request)
        return said if look is None else replace(said, elsewhere=lambda *named: _in(spoken, look(*named)))

    def _showing(self) -> None:
        self._up = True

    def _late(self) -> bool:
        return not self._up and time.monotonic() > self._deadline


def command(*words: str) -> list[str]:
    """The command line of the process that draws windows: isolated, with the distribution's Python."""
    return [_PYTHON, "-ISXutf8", "-c", _BEGIN, _ROOT, *words]


def missing(environ: Mapping[str, str]) -> str:
    """What stands in the way of a window here: ``display`` or what Debian calls a package; "" for nothing."""
    if not (environ.get("WAYLAND_DISPLAY") or environ.get("DISPLAY")):
        return "display"
    try:
        done = subprocess.run(
            [_PYTHON, "-ISXutf8", "-c", _LOOK],
            env=_environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "display"
    return "" if done.returncode == 0 else done.stdout.decode("ascii", "replace").strip() or "display"


def tell(environ: Mapping[str, str], message: str, hint: str) -> None:
    """Show why something did not start, and wait until it has been read. Shows nothing where no window opens."""
    helper = command("tell", "dark" if _dark(environ) else "light")
    with contextlib.suppress(OSError, errors.MessageError), _started(helper, environ) as stream:
        stream.sendall(protocol.event("failed", {"message": message, "hint": hint}))
        while stream.recv(4096):
            pass


def _in(spoken: language.Language, value: Any) -> Any:
    """A request, or a part of one, with our sentences as the user reads them: another process could not tell them
    from the words of others, and has no templates."""
    if isinstance(value, str):
        return spoken.say(value)
    if isinstance(value, tuple):
        return tuple(_in(spoken, each) for each in value)
    if isinstance(value, prompts.Request | prompts.Question | prompts.Narrowing | prompts.Settled):
        return replace(value, **{field.name: _in(spoken, getattr(value, field.name)) for field in fields(value)})
    return value


@contextlib.contextmanager
def _closing() -> Iterator[None]:
    """Let the signals that end a question raise _Closed in this block."""
    before = {number: signal.signal(number, _close) for number in tty.closing()}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action if action is not None else signal.SIG_DFL)


def _close(*_: object) -> None:
    raise _Closed


@contextlib.contextmanager
def _started(helper: Sequence[str], environ: Mapping[str, str]) -> Iterator[socket.socket]:
    """A helper and our end of its socket; it ends with the block. Raises OSError."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = subprocess.Popen(
                helper,
                env=_environment(environ),
                cwd="/",
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield ours
        finally:
            child.kill()
            child.wait()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a window needs to know, and no more.

    A style sheet, theme or font in the user's home decides what a window looks like, and an app may be allowed to write
    there: the helper has no home.
    """
    kept = {name: environ[name] for name in environ if name in _NEEDED or name.startswith("LC_")}
    if "DISPLAY" in kept and "HOME" in environ:
        kept.setdefault("XAUTHORITY", f"{environ['HOME']}/.Xauthority")
    homes = dict.fromkeys(("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"), _NOWHERE)
    # cairo needs no graphics driver, whose libraries look at much more of the environment.
    return kept | homes | {"PATH": "/usr/bin:/bin", "GSETTINGS_BACKEND": "memory", "GSK_RENDERER": "cairo"}


def _dark(environ: Mapping[str, str]) -> bool:
    """Whether the user's GTK settings ask for dark windows."""
    home = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    parser = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(OSError, configparser.Error, UnicodeDecodeError, ValueError):
        # An app may be allowed to write there: neither a pipe nor a file without end holds a question up.
        handle = os.open(f"{home}/gtk-4.0/settings.ini", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            parser.read_string(os.read(handle, _MOST).decode("utf-8"))
        finally:
            os.close(handle)
        return parser.getboolean("Settings", "gtk-application-prefer-dark-theme", fallback=False)
    return False
