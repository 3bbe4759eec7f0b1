"""Dials for the relay, in the host's network, what the rules allow and nothing else (SPEC §10.6)."""

import _socket
import select

from broker.network import control, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from broker.network import inbound
_LIMIT = 65536


def serve(
    relay: _socket.socket,
    ready: int,
    found: rules.Rules,
    desk: control.Desk,
    reached: "inbound.Inbound | None" = None,
) -> int:
    """Serve until the relay is gone, or nobody reads the pipe of which ``ready`` is the writing end."""
    parts = (desk, reached) if reached else (desk,)
    poll = select.poll()
    poll.register(ready, 0)
    for each in (relay, *parts):
        poll.register(each.fileno(), select.POLLIN)
    while True:
        waits = [wait for each in parts if (wait := each.patience()) >= 0]
        events = dict(poll.poll(min(waits, default=-1)))
        if ready in events:
            return 0
        for part in parts:
            part.turn()
        if relay.fileno() not in events:
            continue
        data = relay.recv(_LIMIT)
        if not data:
            return 0
        words = data.decode("ascii", "replace").split(" ")
        if words[0] == "dial":
            _dial(relay, words[1], words[2:], found, desk)
        elif not (reached and reached.heard(words)):
            desk.heard(words)


def _dial(relay: _socket.socket, number: str, words: "list[str]", found: rules.Rules, desk: control.Desk) -> None:
    protocol, host, port = words[0], words[1], int(words[2])
    rule = found.find(protocol, host, port)
    if rule is None:
        desk.tries.add(protocol, host, port, "not-granted")
        relay.send(f"no {number} not-granted".encode())
        return
    kind = _socket.SOCK_STREAM if protocol == "tcp" else _socket.SOCK_DGRAM
    reason = "unresolved"
    try:
        for family, _, _, _, address in _socket.getaddrinfo(host, port, 0, kind):
            reason = "unreachable"
            made = _socket.socket(family, kind | _socket.SOCK_CLOEXEC)
            try:
                made.settimeout(5)
                made.connect(address)
                made.setblocking(False)
                rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, made.fileno().to_bytes(4, "little"))]
                relay.sendmsg([f"ok {number}".encode()], rights)
                desk.tries.add(protocol, host, port, "allowed", rule.intent)
            except OSError:
                continue
            finally:
                made.close()
            return
    except OSError:
        pass
    desk.tries.add(protocol, host, port, reason, rule.intent)
    relay.send(f"no {number} {reason}".encode())
