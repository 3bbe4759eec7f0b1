"""The network companion: what an app reaches of the network, by name, and what reaches the app (SPEC §10.6).

Two processes. The *dialer* stays in the host's network and does what the rules allow, each time checked by itself. The
*relay* lives in the sandbox's network, where it takes what the app sends, and can reach nothing but the dialer.
"""

import _socket
import os

from broker.network import dialer, namespace, relay, rules, wall

LIMIT = 65536  # bytes of one message between the two


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Arguments: the descriptors of ``companions._open_door``, the relay's system call filter in hexadecimal, rules.

    Ready as soon as the dialer has what it needs of the host. The app begins when the relay is done, and not at all
    where it fails.
    """
    info, begin, told, loud = (int(word) for word in arguments[0].split(b" "))
    found = rules.Rules(arguments[2:])
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    if os.fork() == 0:
        ours.close()
        status = 1
        try:
            status = _relay(theirs, found, bytes.fromhex(arguments[1].decode()), directory, (info, begin, told, loud))
        finally:
            os._exit(status)
    theirs.close()
    for handle in (info, begin, told, loud):
        if handle >= 0:
            os.close(handle)
    os.write(ready, b".")
    return dialer.serve(ours, ready, found)


def _relay(
    dialing: _socket.socket, found: rules.Rules, calls: bytes, directory: bytes, handles: "tuple[int, int, int, int]"
) -> int:
    """Enter the sandbox's network, make what listens there, give up the rest, let the app begin, and serve it."""
    info, begin, told, loud = handles
    pid = 0
    try:
        said = namespace.read_info(info)
        if told >= 0:
            os.write(told, said)
        pid = namespace.first_process(said)
        serving = relay.prepare(found, dialing, wall.enter(pid))
        wall.close(directory, calls)
    except Exception as error:  # whatever it is: an app without its relay is an app with less than was promised
        os.write(loud, f"intent-run: the app's network could not be made ready ({error})\n".encode())
        if pid:
            os.kill(pid, 9)
        return 1
    os.write(begin, b".")
    for handle in (info, begin, loud, told):
        if handle >= 0:
            os.close(handle)
    serving.run()
    return 0
