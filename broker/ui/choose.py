"""Which front-end asks here, if any."""

import os
from collections.abc import Mapping

from broker import prompts
from broker.ui import plain, sheet, tty

_COLUMNS, _ROWS = 40, 10  # the smallest screen that the sheet is readable on


def choose(environ: Mapping[str, str], pick: sheet.Pick) -> prompts.Prompter | None:
    """The sheet, the plain lines, or None where nobody can be asked: no controlling terminal, or not its foreground.

    environ: TERM, INTENT_UI (``plain``) and the locale count; pick: as ``secrets.choice``.
    """
    terminal = tty.open_ours()
    if terminal is None:
        return None
    columns, rows = tty.size(terminal)
    os.close(terminal)
    dumb = environ.get("TERM", "dumb") in ("", "dumb") or environ.get("INTENT_UI") == "plain"
    if dumb or columns < _COLUMNS or rows < _ROWS:
        return plain.Plain(environ, pick)
    from broker.ui import terminal as full_screen  # prompt_toolkit takes a while to import

    return full_screen.Terminal(environ, pick)
