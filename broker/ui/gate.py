"""When input in a window counts. Pure: time comes in as seconds of one clock.

A window can appear, or come to the front, under a hand that means another one. So nothing counts before it has had the
focus, and stood still, for a while; and whoever goes on typing into it shows that they have not looked.
"""

SETTLE = 0.6  # seconds a window has the focus, and its page stands still, before it can be answered
SILENCE = 0.1  # seconds without input before input counts


class Gate:
    """The input of one window. Shut until ``settle`` is called."""

    def __init__(self, seconds: float = SETTLE) -> None:
        self._seconds = seconds
        self._opens = float("inf")
        self._last = float("-inf")
        self._live = False

    def shut(self) -> None:
        """The window lost the focus, or is not on the screen."""
        self._opens, self._live = float("inf"), False

    def settle(self, now: float) -> None:
        """The window got the focus, changed its size or shows another page: it has to stand still anew."""
        self._opens, self._live = now + self._seconds, False

    def live(self, now: float) -> bool:
        """Whether input that comes now counts."""
        self._live = self._live or (now >= self._opens and now - self._last >= SILENCE)
        return self._live

    def take(self, now: float) -> bool:
        """Input has come: whether it counts."""
        counts = self.live(now)
        self._last = now
        return counts
