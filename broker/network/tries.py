"""What an app tried of the network, how often and what became of it: ``tries``, beside the sockets of the launch.

One line for each distinct thing, a JSON list (SPEC §10.6); ``runs`` reads it, while the app runs and when it has ended.
The app decides how often it tries, so the file is written again at most once a second, and less often the longer it is.
"""

import os
import time

NAME = b"tries"
MOST = 500  # distinct things that were allowed, and as many that were not: a flood of either hides none of the other
MORE = "more"  # the verdict of what there was no room for
_LONGEST = 255  # of a name
_RATE = 16384  # bytes a second
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/*[]")
ALLOWED = "allowed"
VERDICTS = frozenset(
    (ALLOWED, "not-granted", "unresolved", "address-refused", "unreachable", "refused", "busy", "sni", "asked", MORE)
)


class Tries:
    """The tries of one launch."""

    __slots__ = ("_changed", "_found", "_handle", "_many", "_next")

    def __init__(self, directory: bytes) -> None:
        """directory: of the launch's sockets. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(directory + b"/" + NAME, flags, 0o600)
        self._found: dict[tuple[str, str, int, str, str], list[int]] = {}
        self._many = [0, 0]  # distinct ones: not allowed, allowed
        self._changed = False
        self._next = 0.0

    def add(self, protocol: str, host: str, port: int, verdict: str, intent: str = "-", *, times: int = 1) -> None:
        """One more try, or several; what there is no room for is counted together."""
        if verdict not in VERDICTS:
            return
        said = protocol if protocol in ("tcp", "udp", "dns") else "-"
        key = said, _plain(host), port & 0xFFFF, verdict, _plain(intent)
        now = int(time.time())
        found = self._found.get(key)
        if found is None:
            allowed = verdict == ALLOWED
            if self._many[allowed] >= MOST:
                key = "-", "-", 0, MORE, "-"
                found = self._found.get(key)
            else:
                self._many[allowed] += 1
        if found is None:
            self._found[key] = [times, now, now]
        else:
            found[0] += times
            found[2] = now
        self._changed = True

    def patience(self) -> int:
        """Milliseconds until ``flush`` has something to do; -1 where there is nothing to write."""
        return max(0, int((self._next - time.monotonic()) * 1000) + 1) if self._changed else -1

    def flush(self, *, end: bool = False) -> None:
        """Write what is new, if it is time for it; end: whatever the time. A full disk loses it, and stops nothing."""
        now = time.monotonic()
        if not self._changed or (now < self._next and not end):
            return
        text = self.text().encode()
        self._changed = False
        self._next = now + max(1.0, len(text) / _RATE)
        try:
            os.pwrite(self._handle, text, 0)
            os.ftruncate(self._handle, len(text))
        except OSError:
            return

    def text(self) -> str:
        """protocol, host, port, verdict, intent, how often, and when first and last (seconds since the epoch)."""
        return "".join(
            f'["{protocol}", "{host}", {port}, "{verdict}", "{intent}", {count}, {first}, {last}]\n'
            for (protocol, host, port, verdict, intent), (count, first, last) in self._found.items()
        )

    def close(self) -> None:
        """Write what is left."""
        self.flush(end=True)
        os.close(self._handle)


def _plain(word: str) -> str:
    """What the app can choose of a line stays one word of it."""
    if len(word) <= _LONGEST and _PLAIN.issuperset(word):
        return word
    return "".join(char if char in _PLAIN else "?" for char in word[:_LONGEST])
