"""A window manager for a display that shows one app: windows fill it, dialogs are centred, the newest has the keyboard.

Takes a connected X11 socket and speaks the core protocol (X Window System Protocol 11, "Requests", "Events"). Without
a window manager, no window of a nested server would ever get the keyboard.
"""

import struct
from typing import Protocol

_SUBSTRUCTURE = 1 << 20 | 1 << 19 | 1 << 17  # SubstructureRedirect, SubstructureNotify, StructureNotify
_UNMAP, _DESTROY, _MAP_REQUEST, _CONFIGURE, _CONFIGURE_REQUEST = 18, 17, 20, 22, 23
_NORMAL_HINTS, _TRANSIENT_FOR = 40, 68  # predefined atoms
_MAX_SIZE = 1 << 5  # ICCCM 4.1.2.3, PMaxSize
_GEOMETRY = 1 | 2 | 4 | 8  # x, y, width, height of ConfigureWindow


class Stream(Protocol):
    """What is needed of a connected socket."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


class WindowManager:
    """One display. Everything raises EOFError or OSError when the server is gone, struct.error for nonsense."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.sent = 0
        self.shown: list[int] = []  # in the order in which they were mapped
        self.waiting: list[bytes] = []  # events that came while a reply was awaited
        self.root, self.width, self.height = self._connect()
        self._request(2, 0, struct.pack("=III", self.root, 0x800, _SUBSTRUCTURE))

    def turn(self) -> None:
        """Take one message, and answer the events that came meanwhile. Raises EOFError when the server is gone."""
        message = self._message()
        self.waiting += [message] if message[0] > 1 else []
        while self.waiting:
            self._event(self.waiting.pop(0))

    def _connect(self) -> tuple[int, int, int]:
        self.stream.sendall(struct.pack("=BxHHHHxx", ord("l"), 11, 0, 0, 0))
        accepted, length = struct.unpack("=B5xH", self._read(8))
        body = self._read(4 * length)
        if accepted != 1:
            raise EOFError("the X server refused")
        vendor, formats = struct.unpack_from("=H", body, 16)[0], body[21]
        screen = 32 + (vendor + 3) // 4 * 4 + 8 * formats
        root, width, height = struct.unpack_from("=I16xHH", body, screen)
        return root, width, height

    def _event(self, event: bytes) -> None:
        code, window = event[0] & 0x7F, struct.unpack_from("=I", event, 8)[0]
        if code == _MAP_REQUEST:
            self._fit(window)
            self._request(8, 0, struct.pack("=I", window))
            self._forget(window)
            self.shown.append(window)
            self._focus()
        elif code in (_UNMAP, _DESTROY):
            self._forget(window)
            self._focus()
        elif code == _CONFIGURE_REQUEST:
            self._configure(window, event)
        elif code == _CONFIGURE and window == self.root:
            self.width, self.height = struct.unpack_from("=HH", event, 20)
            for each in self.shown:
                self._fit(each)

    def _forget(self, window: int) -> None:
        self.shown = [each for each in self.shown if each != window]

    def _focus(self) -> None:
        """The keyboard to the newest window; to whatever is under the pointer when there is none."""
        self._request(42, 1, struct.pack("=II", self.shown[-1] if self.shown else 1, 0))

    def _configure(self, window: int, event: bytes) -> None:
        """What an unmanaged window asks for it gets; a managed one keeps its place."""
        if window in self.shown:
            self._fit(window)
            return
        mask = struct.unpack_from("=H", event, 26)[0] & (_GEOMETRY | 16)
        fields = struct.unpack_from("=hhHHH", event, 16)
        values = [value & 0xFFFFFFFF for bit, value in enumerate(fields) if mask & 1 << bit]
        self._request(12, 0, struct.pack(f"=IHxx{len(values)}I", window, mask, *values))

    def _fit(self, window: int) -> None:
        """An app's window as large as the display and its own limits allow, a dialog as large as it is; centred."""
        width, height = self.width, self.height
        if self._property(window, _TRANSIENT_FOR, 1):
            width, height = self._size(window) or (width, height)
        hints = self._property(window, _NORMAL_HINTS, 18)
        if len(hints) >= 36 and struct.unpack_from("=I", hints)[0] & _MAX_SIZE:
            limits = struct.unpack_from("=II", hints, 28)
            width, height = min(width, limits[0] or width), min(height, limits[1] or height)
        width, height = min(width, self.width), min(height, self.height)
        place = (self.width - width) // 2, (self.height - height) // 2
        self._request(12, 0, struct.pack("=IHxxIIII", window, _GEOMETRY, *place, width, height))

    def _size(self, window: int) -> tuple[int, int] | None:
        reply = self._ask(14, 0, struct.pack("=I", window))
        return struct.unpack_from("=HH", reply, 16) if reply else None

    def _property(self, window: int, atom: int, longs: int) -> bytes:
        """A property's first bytes; empty when there is none."""
        reply = self._ask(20, 0, struct.pack("=IIIII", window, atom, 0, 0, longs))
        return reply[32:] if reply and reply[1] == 32 else b""

    def _ask(self, opcode: int, detail: int, body: bytes) -> bytes:
        """The reply to a request; empty for an error, which is what a window that is gone gives."""
        self._request(opcode, detail, body)
        while True:
            message = self._message()
            ours = struct.unpack_from("=H", message, 2)[0] == self.sent & 0xFFFF
            if message[0] == 1 and ours:
                return message
            if message[0] == 0 and ours:
                return b""
            if message[0] > 1:
                self.waiting.append(message)

    def _request(self, opcode: int, detail: int, body: bytes) -> None:
        self.sent += 1
        self.stream.sendall(struct.pack("=BBH", opcode, detail, 1 + len(body) // 4) + body)

    def _message(self) -> bytes:
        """One error, reply or event, whole."""
        head = self._read(32)
        generic = head[0] == 1 or head[0] & 0x7F == 35
        return head + self._read(4 * struct.unpack_from("=I", head, 4)[0]) if generic else head

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.stream.recv(size - len(data))
            if not piece:
                raise EOFError("the X server is gone")
            data += piece
        return data
