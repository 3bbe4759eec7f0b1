"""The bytes of a terminal that prompt_toolkit draws on, for a front-end that reads its keys itself."""

import codecs
import os
from collections.abc import Callable
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress


class Raw(Vt100Input):
    """The terminal's modes and readiness as prompt_toolkit wants them; the bytes go to ``arrived``, not to bindings."""

    def __init__(self, stream: TextIO, arrived: Callable[[str], None]) -> None:
        super().__init__(stream)
        self._arrived = arrived
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._gone = False

    def read_keys(self) -> list[KeyPress]:
        """Take what is there. A terminal that hung up reads as end of file or EIO (termios(3), ioctl_tty(2))."""
        try:
            data = os.read(self.fileno(), 4096)
        except OSError:
            data = b""
        if data:
            self._arrived(self._decoder.decode(data))
        else:
            self._gone = True
        return []

    def flush_keys(self) -> list[KeyPress]:
        """Nothing: no key waits here."""
        return []

    @property
    def closed(self) -> bool:
        """Whether the terminal went away."""
        return self._gone
