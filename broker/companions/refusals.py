"""What a companion refused to an app: one line each in ``refused``, beside the sockets of the launch (SPEC §10.5).

Opened before the companion gives everything up. ``runs`` reads it when the instance has ended. Each thing is told once,
and few in all: the app decides how often it tries.
"""

import os

NAME = b"refused"
MOST = 32  # different things of one companion
LONGEST = 80  # bytes of one; what the app can choose of it is letters, digits and few signs
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.() ")


class Refusals:
    """The file of one companion; directory: of the launch's sockets."""

    def __init__(self, directory: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._handle = os.open(directory + b"/" + NAME, flags, 0o600)
        self._told: set[bytes] = set()

    def tell(self, what: bytes) -> None:
        """Remember it. A full disk loses it, and stops nothing."""
        line = bytes(char if char in _PLAIN else 63 for char in what[:LONGEST])
        if line in self._told or len(self._told) >= MOST:
            return
        self._told.add(line)
        try:
            os.write(self._handle, line + b"\n")
        except OSError:
            return
