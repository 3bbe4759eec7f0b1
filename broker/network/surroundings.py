"""What an address is to this machine as it is now: looked at again whenever the kernel tells of a change."""

import select

from broker.network import addresses, hostside

_MOST_KINDS = 1024


class Surroundings:
    """This machine's own addresses and its neighbours', kept fresh."""

    __slots__ = ("_changes", "_kinds", "_near", "_own", "_poll", "_stale")

    def __init__(self) -> None:
        """Raises OSError."""
        self._changes = hostside.changes()
        self._poll = select.poll()
        self._poll.register(self._changes, select.POLLIN)
        self._own: list[addresses.Prefix] = []
        self._near: list[addresses.Prefix] = []
        self._kinds: dict[bytes, str] = {}  # what addresses were that were asked about since the last change
        self._stale = True

    def kind_of(self, address: bytes) -> str:
        """A word of ``addresses``; where the machine does not say what it is, no address is anybody's."""
        if self._poll.poll(0):  # more than it could hold counts as well
            hostside.drain(self._changes)
            self._stale = True
        try:
            if self._stale:
                self._own, self._near, _ = hostside.look()
                self._kinds.clear()
                self._stale = False
        except OSError:
            return addresses.UNSPECIFIED
        kind = self._kinds.get(address)
        if kind is None:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            kind = self._kinds[address] = addresses.kind_of(address, self._own, self._near)
        return kind

    def close(self) -> None:
        """Look no more."""
        self._changes.close()
