"""The network companion: what an app reaches of the network, by name, and what reaches the app (SPEC §10.6).

Two processes. The *dialer* stays in the host's network and does what the rules allow, each time checked by itself. The
*relay* lives in the sandbox's network, where it takes what the app sends, and can reach nothing but the dialer.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import os
import select

from broker.network import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from broker.network import asking, control, dialer, inbound
LIMIT = 65536  # bytes of one message between the two
_HERE = b"here"  # the first one: the dialer has what it needs


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Arguments: the descriptors of ``companions._open_door``, the system call filters of both in hexadecimal, rules.

    Ready at once, so that bubblewrap makes the sandbox while each of the two loads what it needs, which takes as long.
    The app begins when both are done, and not at all where one fails.
    """
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)  # which splice(2) sends where the other side has gone
    info, begin, told, loud, *listening = (int(word) for word in arguments[0].split(b" "))
    found = rules.Rules(arguments[3:])
    asker = _asker(found, directory)
    warden, telling = _warden(found, directory, ready)
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    if os.fork() == 0:
        ours.close()
        if asker:
            asker.close()
        status = 1
        try:
            for handle in [*listening[1::2], *([telling.fileno()] if telling else [])]:
                os.close(handle)
            calls = bytes.fromhex(arguments[1].decode())
            status = _relay(theirs, found, calls, directory, (info, begin, told, loud), warden)
        finally:
            os._exit(status)
    theirs.close()
    if warden:
        warden.close()
    for handle in (info, begin, told, loud):
        if handle >= 0:
            os.close(handle)
    os.write(ready, b".")
    calls = bytes.fromhex(arguments[2].decode())
    return _dialer(ours, found, calls, directory, (ready, *listening), asker, telling)


def _dialer(
    ours: _socket.socket,
    found: rules.Rules,
    calls: bytes,
    directory: bytes,
    handles: "tuple[int, ...]",
    asker: "_socket.socket | None",
    telling: "_socket.socket | None",
) -> int:
    """Do for the relay what has to be done in the host's network. handles: the ready pipe, and what listens."""
    from broker.network import connecting, control, dialer, forward, loop, shelter

    ready, *listening = handles
    connecting.most = connecting.ceiling()
    dialing = dialer.Dialer(ours, found, loop.Loop(), os.environb)

    def tell(line: bytes) -> None:
        dialing.send(line)
        if telling and line[:5] == b"drop ":
            try:
                telling.send(line)
            except OSError:  # there is no way out any more
                return

    desk = control.Desk(directory, found, tell)
    reached = _reached(found, ours, listening)
    asks = _asks(asker, found, desk, dialing)
    try:
        shelter.enter(calls, any(rule.where == "unix" for rule in found.listens), forward.RESOLVERS)
        dialing.send(_HERE)
        return dialing.serve(ready, desk, reached, asks)
    finally:
        desk.close()
        if asks:
            asks.close()
        if reached:
            reached.close()


def _asker(found: rules.Rules, directory: bytes) -> "_socket.socket | None":
    """Who asks the user, where something may have to be asked about."""
    if not found.asks:
        return None
    from broker.network import asking

    return asking.start(directory)


def _asks(
    asker: "_socket.socket | None", found: rules.Rules, desk: "control.Desk", dialing: "dialer.Dialer"
) -> "asking.Asking | None":
    if asker is None:
        return None
    from broker.network import asking

    return asking.Asking(asker, found, desk, dialing.refuse)


def _reached(found: rules.Rules, relay: _socket.socket, listening: "list[int]") -> "inbound.Inbound | None":
    """What takes connections from outside, where the app may be reached."""
    if not found.listens:
        return None
    from broker.network import inbound

    return inbound.Inbound(found, relay, listening)


def _warden(
    found: rules.Rules, directory: bytes, ready: int
) -> "tuple[_socket.socket, _socket.socket] | tuple[None, None]":
    """Who leads an app to the internet, where it was granted that: the relay's socket to it, and the dialer's."""
    if not found.internet:
        return None, None
    from broker.network import uplink

    return uplink.watch(found, directory, ready)


def _guard(pid: int) -> int:
    """Have the sandbox ended if this process ends before it has written a byte to what is returned.

    bubblewrap takes the end of the pipe at which it waits for a byte as one; while the guard is there, it has none.
    """
    heard, well = os.pipe()
    if os.fork():
        os.close(heard)
        return well
    try:
        os.close(well)
        sandbox = os.pidfd_open(pid)
        if not os.read(heard, 1):
            _signal.pidfd_send_signal(sandbox, _signal.SIGKILL)
    finally:
        os._exit(0)


def _relay(
    dialing: _socket.socket,
    found: rules.Rules,
    calls: bytes,
    directory: bytes,
    handles: "tuple[int, int, int, int]",
    warden: "_socket.socket | None",
) -> int:
    """Enter the sandbox's network, make what listens there, give up the rest, let the app begin, and serve it."""
    from broker.network import namespace, relay, wall

    info, begin, told, loud = handles
    try:
        said = namespace.read_info(info)
        if told >= 0:
            os.write(told, said)
        pid = namespace.first_process(said)
        well = _guard(pid)
        six = wall.enter(pid)
        if warden:
            from broker.network import uplink

            uplink.join(warden, pid, found.tools["nft"])
            found.connects = uplink.relayed(found)
        serving = relay.prepare(found, dialing, six)
        select.select([dialing], [], [])
        if dialing.recv(LIMIT) != _HERE:
            raise OSError("its other half has ended")
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # nobody can wait for the guard then
        wall.close(directory, calls, [rule.inside for rule in found.listens])
    except Exception as error:  # whatever it is: an app without its relay is an app with less than was promised
        os.write(loud, f"intent-run: the app's network could not be made ready ({error})\n".encode())
        return 1
    os.write(begin, b".")
    os.write(well, b".")
    for handle in (info, begin, loud, told, well):
        if handle >= 0:
            os.close(handle)
    serving.run()
    return 0
