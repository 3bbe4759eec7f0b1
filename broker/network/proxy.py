"""Connections through the HTTP proxy that this machine's user has set (RFC 9110, 9.3.6), where one is set.

The environment is read as most programs read it: HTTP_PROXY for port 80, HTTPS_PROXY for every other, ALL_PROXY for
both, NO_PROXY for what is not sent there; in lower case first. A proxy resolves names by itself: what they lead to
there cannot be checked here.
"""

import _socket
import binascii

from broker.network import addresses, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Done = Callable[["_socket.socket | None", str], None]
HEAD = 16384  # bytes of a proxy's reply before the connection begins
PATIENCE = 20.0  # seconds until it replies
_PORT = 80
_HEX = frozenset(b"0123456789abcdefABCDEF")
_END = b"\r\n\r\n"


class Server:
    """A proxy. host: a name or an address; empty for one that is set and cannot be used: nothing is dialled then."""

    __slots__ = ("host", "login", "port")

    def __init__(self, url: bytes) -> None:
        """url: as it is in the environment."""
        scheme, found, rest = url.partition(b"://")
        if not found:
            scheme, rest = b"http", url
        self.login, self.port = b"", _PORT
        login, _, place = rest.partition(b"/")[0].rpartition(b"@")
        host, colon, port = place.rpartition(b":")
        if not colon or port.endswith(b"]"):
            host, port = place, b"%d" % _PORT
        self.host = host.strip(b"[]").lower()
        good = scheme.lower() == b"http" and port.isdigit() and 0 < int(port) < 65536
        if not good or set(self.host) - set(b"abcdefghijklmnopqrstuvwxyz0123456789-_.:"):
            self.host = b""
            return
        self.port = int(port)
        if login:
            self.login = binascii.b2a_base64(_decoded(login), newline=False)


def _decoded(text: bytes) -> bytes:
    """Percent-encoding undone: RFC 3986, 2.1."""
    first, *pieces = text.split(b"%")
    for piece in pieces:
        if len(piece) > 1 and _HEX.issuperset(piece[:2]):
            first += bytes([int(piece[:2], 16)]) + piece[2:]
        else:
            first += b"%" + piece
    return first


class Proxies:
    """What the environment says."""

    __slots__ = ("_direct", "_other", "_web")

    def __init__(self, environment: "Mapping[bytes, bytes]") -> None:
        """environment: that of whoever started the app."""

        def of(name: bytes) -> bytes:
            return environment.get(name, b"") or environment.get(name.upper(), b"")

        web, other = of(b"http_proxy") or of(b"all_proxy"), of(b"https_proxy") or of(b"all_proxy")
        self._web, self._other = (Server(url) if url else None for url in (web, other))
        self._direct = of(b"no_proxy").decode("ascii", "replace").lower().replace(",", " ").split()

    def of(self, host: str, port: int, address: bytes = b"") -> "Server | None":
        """The proxy that a connection goes through. address: packed, where the host is one.

        Local names and private addresses are not for a proxy, which is elsewhere.
        """
        server = self._web if port == 80 else self._other
        if server is None or any(_matches(entry, host, port, address) for entry in self._direct):
            return None
        if addresses.kind_of(address) != addresses.PUBLIC if address else addresses.is_local_name(host):
            return None
        return server


def _matches(entry: str, host: str, port: int, address: bytes) -> bool:
    """Whether an entry of NO_PROXY is about a host."""
    if entry == "*":
        return True
    if address:
        try:
            return addresses.holds(addresses.pack(entry.strip("[]")), address)
        except (OSError, ValueError):
            return False
    name, colon, only = entry.rpartition(":")
    if colon and only.isdigit():
        if int(only) != port:
            return False
        entry = name
    entry = entry.removeprefix("*").removeprefix(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))


class Tunnel:
    """Asks a proxy, to which a socket is connected, for a connection. Ends by calling ``done`` once."""

    __slots__ = ("_asked", "_done", "_loop", "_made", "_timer")

    def __init__(
        self, looping: loop.Loop, made: _socket.socket, server: Server, wanted: "tuple[str, int]", done: "Done"
    ) -> None:
        """made: is the tunnel's until done. wanted: host and port; the host's characters are checked already."""
        self._loop, self._made, self._done = looping, made, done
        place = b"%s:%d" % ((b"[%s]" if ":" in wanted[0] else b"%s") % wanted[0].encode("ascii"), wanted[1])
        login = b"Proxy-Authorization: Basic %s\r\n" % server.login if server.login else b""
        self._asked = b"CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (place, place, login)
        self._timer = looping.after(PATIENCE, lambda: self._end("unreachable"))
        looping.watch(made.fileno(), loop.READ | loop.WRITE | loop.EDGE, self._ready)

    def _ready(self, _events: int) -> None:
        try:
            if self._asked:
                self._asked = self._asked[self._made.send(self._asked, _socket.MSG_NOSIGNAL) :]
            # What follows the reply is the other side's already, so that only the reply is taken out.
            head = self._made.recv(HEAD, _socket.MSG_PEEK)
            size = head.find(_END) + len(_END)
            if size < len(_END):
                if not head or len(head) == HEAD:
                    self._end("unreachable")
                return
            while size:
                size -= len(self._made.recv(size))
        except BlockingIOError:
            return
        except OSError:
            self._end("unreachable")
            return
        words = head.split(b" ", 2)
        self._end("" if words[0].startswith(b"HTTP/1.") and words[1][:1] == b"2" else "refused")

    def cancel(self) -> None:
        """Give it up."""
        self._timer.cancel()
        self._loop.forget(self._made.fileno())
        self._made.close()

    def _end(self, reason: str) -> None:
        self._timer.cancel()
        self._loop.forget(self._made.fileno())
        if reason:
            self._made.close()
        self._done(None if reason else self._made, reason)
