"""What an address is to this machine as it is now: looked at again whenever the kernel tells of a change."""

from broker.network import addresses, hostside


class Surroundings:
    """This machine's own addresses and its neighbours', kept fresh."""

    __slots__ = ("_changes", "_near", "_own", "_stale")

    def __init__(self) -> None:
        """Raises OSError."""
        self._changes = hostside.changes()
        self._own: list[addresses.Prefix] = []
        self._near: list[addresses.Prefix] = []
        self._stale = True

    def kind_of(self, address: bytes) -> str:
        """A word of ``addresses``; where the machine does not say what it is, no address is anybody's."""
        if self._told():
            self._stale = True
        try:
            if self._stale:
                self._own, self._near, _ = hostside.look()
                self._stale = False
        except OSError:
            return addresses.UNSPECIFIED
        return addresses.kind_of(address, self._own, self._near)

    def _told(self) -> bool:
        try:
            self._changes.recv(1)
        except BlockingIOError:
            return False
        except OSError:  # more than it could hold
            pass
        hostside.drain(self._changes)
        return True

    def close(self) -> None:
        """Look no more."""
        self._changes.close()
