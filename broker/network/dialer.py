"""Dials for the relay, in the host's network, what the rules allow and nothing else (SPEC §10.6)."""

import _socket
import select

from broker.network import rules

_LIMIT = 65536


def serve(relay: _socket.socket, ready: int, found: rules.Rules) -> int:
    """Serve until the relay is gone, or nobody reads the pipe of which ``ready`` is the writing end."""
    poll = select.poll()
    poll.register(ready, 0)
    poll.register(relay.fileno(), select.POLLIN)
    while True:
        events = dict(poll.poll())
        if ready in events:
            return 0
        data = relay.recv(_LIMIT)
        if not data:
            return 0
        verb, number, *words = data.decode("ascii", "replace").split(" ")
        if verb == "dial":
            _dial(relay, number, words, found)


def _dial(relay: _socket.socket, number: str, words: "list[str]", found: rules.Rules) -> None:
    protocol, host, port = words[0], words[1], int(words[2])
    if found.find(protocol, host, port) is None:
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
            except OSError:
                continue
            finally:
                made.close()
            return
    except OSError:
        pass
    relay.send(f"no {number} {reason}".encode())
