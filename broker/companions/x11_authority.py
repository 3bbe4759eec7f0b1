"""The companion that writes the authority file of the real X11 display for its app (Xauth(3)).

The user's own file opens other displays as well, such as those of machines that one is logged in to; and it names this
machine, which has another name inside.
"""

import os
import select

NAME = b"x11-authority"
MAX_BYTES = 1 << 20
_LOCAL, _WILD = b"\1\0", b"\xff\xff"  # FamilyLocal: the address is the machine's name; FamilyWild: any address


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Keep the file as long as the sandbox lives.

    arguments: the user's authority file, canonical; the display's number. Returns the exit status.
    """
    authority, number = arguments
    handle = os.open(authority, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    kept = entries(os.read(handle, MAX_BYTES), number, os.fsencode(os.uname().nodename))
    path = directory + b"/" + NAME
    written = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.write(written, kept)
    os.close(written)
    os.write(ready, b".")
    over = select.poll()
    over.register(ready, 0)  # POLLERR alone: nobody reads it any more
    over.poll()
    os.unlink(path)
    return 0


def entries(data: bytes, number: bytes, machine: bytes) -> bytes:
    """Of an authority file the entries for display ``number`` of this machine, for whatever it is called.

    An entry is a family and four strings with their lengths: address, number, name, data. What is none ends the file.
    """
    found, at = b"", 0
    while len(family := data[at : at + 2]) == 2:
        strings, at = _strings(data, at + 2)
        if len(strings) < 4:
            break
        address, display, *secret = strings
        if (family == _WILD or (family == _LOCAL and address == machine)) and display in (b"", number):
            parts = (b"", display, *secret)
            found += _WILD + b"".join(len(part).to_bytes(2, "big") + part for part in parts)
    return found


def _strings(data: bytes, at: int) -> "tuple[list[bytes], int]":
    """The four strings that begin at ``at``, fewer where the file ends, and where they end."""
    strings: list[bytes] = []
    while len(strings) < 4 and at + 2 <= len(data):
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        if end > len(data):
            break
        strings.append(data[at + 2 : end])
        at = end
    return strings, at
