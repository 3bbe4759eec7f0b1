"""From bytes of a terminal to keys that a person pressed on purpose. Pure: time comes in as seconds of one clock.

A key may answer only if the screen had stood still before it, and if it came alone. What a terminal sends by itself
(reports, pastes) and what was typed ahead never gets through.
"""

import re

SETTLE = 0.8  # seconds a page stands before it can be answered
SILENCE = 0.1  # seconds without input before keys count again
ALONE = 0.02  # seconds after a key in which a second one makes both a paste; no hand is that fast
STUCK = 1.0  # seconds after which an unfinished report is given up

MOVES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[5~": "pageup",
    "\x1b[6~": "pagedown",
}
CLOSE = "close"  # ^C or ^D: the one key that needs no settled page, because it can only take away
ESCAPE = "escape"
_NOISE = ""
_CLOSING = ("\x03", "\x04")
# ECMA-48: CSI, then the strings OSC, DCS, SOS, PM and APC up to ST (xterm also ends OSC by BEL), then SS3, then the
# Linux console's function keys, then ESC with one character (an Alt key).
_SEQUENCE = re.compile(
    r"\x1b\[200~.*?\x1b\[201~|\x1b\[\[.|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_].*?(?:\x1b\\|\x07)|\x1bO.|\x1b[^\[\]PX^_O]",
    re.DOTALL,
)


class Keyboard:
    """What arrives at one prompt. Closed until ``settle`` is called, and again whenever rows move under the user."""

    def __init__(self) -> None:
        self._opens = float("inf")
        self._live = False
        self._last = float("-inf")
        self._partial = ""
        self._waiting = ""

    def settle(self, now: float, seconds: float = SETTLE) -> None:
        """The page was drawn for the first time, or its rows moved: nothing counts until it has stood ``seconds``."""
        self._opens, self._live, self._waiting = now + seconds, False, ""

    def live(self, now: float) -> bool:
        """Whether a key that comes now counts."""
        self._live = self._live or (now >= self._opens and now - self._last >= SILENCE)
        return self._live

    def feed(self, data: str, now: float) -> tuple[str, ...]:
        """The keys that take effect at once: moves, and ``CLOSE``. Any other key waits for ``due``."""
        live = self.live(now)
        self._last = now
        keys = self._split(data)
        if CLOSE in keys:
            return (CLOSE,)
        if not live:
            return ()
        if not self._partial and not self._waiting and all(key in MOVES.values() for key in keys):
            return tuple(keys)
        if len(keys) + bool(self._partial) + bool(self._waiting) > 1 or _NOISE in keys:
            self._burst(now)
        elif keys:
            self._waiting = keys[0]
        return ()

    def due(self, now: float) -> str:
        """The key that has been alone for long enough, or ""; ask again ``ALONE`` seconds after each ``feed``."""
        if self._partial and now - self._last >= (ALONE if self._partial == "\x1b" else STUCK):
            lone, self._partial = self._partial == "\x1b", ""
            if lone and self._live:
                self._waiting = ESCAPE
            else:
                self._burst(now)
        if not self._waiting or now - self._last < ALONE:
            return ""
        key, self._waiting = self._waiting, ""
        return key

    def _burst(self, now: float) -> None:
        self._live, self._waiting = False, ""
        self._last = now

    def _split(self, data: str) -> list[str]:
        keys, rest = [], self._partial + data
        self._partial = ""
        while rest:
            if rest[0] != "\x1b":
                keys.append(CLOSE if rest[0] in _CLOSING else _NOISE if "\x80" <= rest[0] <= "\x9f" else rest[0])
                rest = rest[1:]
            elif found := _SEQUENCE.match(rest):
                keys.append(MOVES.get(found[0], _NOISE))
                rest = rest[found.end() :]
            else:
                self._partial = rest
                break
        return keys
