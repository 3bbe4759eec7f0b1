"""Which front-end asks here, if any."""

import os
from collections.abc import Mapping

from broker import prompts, stopped
from broker.ui import dialog, language, plain, sheet, stop, tty, wording
from intents import errors

_NARROWEST = 20
_COLUMNS, _ROWS = 40, 10  # the smallest screen that the sheet is readable on
# What a desktop tells a program that it starts from a menu or an icon.
_LAUNCHED = ("GIO_LAUNCHED_DESKTOP_FILE_PID", "XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID")


def choose(environ: Mapping[str, str], pick: sheet.Pick) -> prompts.Prompter | None:
    """The sheet or the plain lines on the controlling terminal, else a window, else None: nobody can be asked.

    environ: TERM, INTENT_UI (``plain``, ``tty``, ``gtk`` or ``none``), the locale and the display count; pick: as
    ``secrets.choice``. A terminal whose foreground is not ours is none, and neither is a console behind a display.
    """
    wish = environ.get("INTENT_UI", "")
    terminal = tty.open_ours() if wish not in ("none", "gtk") else None
    if terminal is not None:
        hidden = wish not in ("tty", "plain") and tty.is_console(terminal) and not dialog.missing(environ)
        columns, rows = tty.size(terminal)
        os.close(terminal)
        if not hidden:
            return _on_terminal(environ, pick, plainly=columns < _COLUMNS or rows < _ROWS)
    if wish in ("none", "tty", "plain") or dialog.missing(environ):
        return None
    return dialog.Dialog(environ)


def window(environ: Mapping[str, str]) -> prompts.Prompter | None:
    """A window, where there is a screen and the user wants no other way to be asked: never the terminal."""
    if environ.get("INTENT_UI", "") in ("none", "tty", "plain") or dialog.missing(environ):
        return None
    return dialog.Dialog(environ)


def halt(environ: Mapping[str, str], trouble: stopped.Stop) -> None:
    """Show trouble with a publisher on the controlling terminal; where there is none, the error has to do."""
    terminal = tty.open_ours() if environ.get("INTENT_UI", "") not in ("none", "gtk") else None
    if terminal is None:
        return
    try:
        columns, _ = tty.size(terminal)
        width = max(_NARROWEST, min(columns - 1, wording.WIDEST))
        page = wording.Page(width=width, margin="", ascii=not tty.unicode(environ), spoken=language.choose(environ))
        tty.write(terminal, "".join(f"{line.text}\n" for line in stop.page(trouble, page)))
    except OSError:  # hung up: the error goes where it can
        return
    finally:
        os.close(terminal)


def tell(environ: Mapping[str, str], error: errors.IntentError) -> None:
    """Show why a start from a desktop failed, where nobody sees standard error, and wait until it was read."""
    launched = environ.get("INTENT_UI") == "gtk" or any(environ.get(name) for name in _LAUNCHED)
    known = error.code == "handshake-abandoned"  # by whoever closed the window
    if not launched or known or os.isatty(2) or dialog.missing(environ):
        return
    dialog.tell(environ, f"{error.message[:1].upper()}{error.message[1:]}.", error.hint)


def _on_terminal(environ: Mapping[str, str], pick: sheet.Pick, *, plainly: bool) -> prompts.Prompter:
    if plainly or environ.get("TERM", "dumb") in ("", "dumb") or environ.get("INTENT_UI") == "plain":
        return plain.Plain(environ, pick)
    from broker.ui import terminal as full_screen  # prompt_toolkit takes a while to import

    return full_screen.Terminal(environ, pick)
