"""A Wayland socket behind which the compositor itself keeps a sandboxed client in bounds (SPEC §5.4).

Speaks wp_security_context_manager_v1 (wayland-protocols, staging/security-context): the compositor gets our listening
socket and, with it, whose clients will come. No process remains beside the sandbox.
"""

import _socket
import os
import sys

from broker.companions import wayland_wire as wire

ENGINE = b"org.intents"
MANAGER = "wp_security_context_manager_v1"
BACKLOG = 128  # as libwayland's
PATIENCE = 5.0  # seconds for each answer of a compositor on a busy machine
_REGISTRY, _FIRST, _MANAGER, _CONTEXT, _SECOND = 2, 3, 4, 5, 6  # object ids of our choice
_CREATE_LISTENER = 1  # request of the manager
_ENGINE_NAME, _APP_ID, _INSTANCE_ID, _COMMIT = 1, 2, 3, 4  # requests of the context


def main(arguments: "list[bytes]", directory: bytes, ready: int) -> int:
    """Arguments: the socket to make, the compositor's, the app's id."""
    made, compositor, app = arguments
    make(made, compositor, app, os.path.basename(directory), ready)
    os.write(ready, b".")
    return 0


def make(path: bytes, compositor: bytes, app: bytes, instance: bytes, close: int) -> None:
    """Make a socket at ``path`` whose clients the compositor takes for sandboxed ones of ``app``.

    close: the writing end of a pipe; when nobody reads it any more the compositor takes no more clients. Raises OSError
    or ValueError when the compositor does not agree; then nobody listens.
    """
    listener, stream = _unix(), _unix()
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
        stream.settimeout(PATIENCE)
        stream.connect(compositor)
        stream.sendall(wire.message(wire.DISPLAY, wire.GET_REGISTRY, _REGISTRY) + _sync(_FIRST))
        asked = [
            wire.message(_REGISTRY, wire.BIND, _manager(stream), MANAGER.encode(), 1, _MANAGER),
            wire.message(_MANAGER, _CREATE_LISTENER, _CONTEXT),
            wire.message(_CONTEXT, _ENGINE_NAME, ENGINE),
            wire.message(_CONTEXT, _APP_ID, app),
            wire.message(_CONTEXT, _INSTANCE_ID, instance),
            wire.message(_CONTEXT, _COMMIT),
            _sync(_SECOND),
        ]
        rights = b"".join(each.to_bytes(4, sys.byteorder) for each in (listener.fileno(), close))
        stream.sendmsg([b"".join(asked)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        for target, opcode, _ in wire.answers(stream.recv, _SECOND):
            if (target, opcode) == (wire.DISPLAY, wire.ERROR):
                raise ValueError("the compositor refuses a security context")
    finally:
        listener.close()  # the compositor's copy is the one that counts
        stream.close()


def _unix() -> _socket.socket:
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)


def _sync(callback: int) -> bytes:
    return wire.message(wire.DISPLAY, wire.SYNC, callback)


def _manager(stream: _socket.socket) -> int:
    """The number that the compositor has for the manager."""
    found = 0
    for target, opcode, body in wire.answers(stream.recv, _FIRST):
        if (target, opcode) == (_REGISTRY, wire.GLOBAL) and wire.global_(body)[1] == MANAGER:
            found = wire.global_(body)[0]
    if not found:
        raise ValueError("the compositor offers no security context")
    return found
