"""Companions: the processes that live beside a sandbox, start before it and end with it (SPEC §10.5).

Takes a plan's ``companions`` section: records of a name, a program, how many arguments, and so many tagged arguments. A
program with a path is started; one without is a module of this package, run in a fork of the executor: its
``main(arguments, directory, ready)`` gets the directory of this launch's sockets and returns an exit status.

Every companion writes one byte to the ready pipe when it can be used, and ends when nobody reads that pipe any more
(poll(2): POLLERR), which bubblewrap does as long as the sandbox lives (bwrap(1), ``--sync-fd``). One of ours may end
before that, with status 0, where nothing has to remain.
"""

import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator, Sequence

PATIENCE_MS = 10_000  # for all of them together: a launch that hangs tells nobody why
_NETWORK = b"network"
Record = tuple[bytes, bytes, list[bytes]]


def empty(directory: bytes) -> None:
    """Remove what an earlier process of our number left in the directory of its launch."""
    for name in os.listdir(directory):
        os.unlink(directory + b"/" + name)


def start(
    section: "tuple[bytes, ...]", directory: bytes, memory: "Callable[[bytes], int]", told: int = -1
) -> "tuple[list[int], int, list[bytes]]":
    """Start all companions, each in a session of its own, without waiting for them.

    directory: exists and is empty; memory: makes an inheritable descriptor that holds bytes; told: an inheritable one
    for what bubblewrap tells of the sandbox. Returns their pids, in the section's order, the reading end of the ready
    pipe, and bubblewrap's options about them, whose descriptors are inheritable. Raises HostError ``companion-failed``.
    """
    ready, beside = os.pipe()
    os.set_inheritable(beside, True)
    pids: list[int] = []
    door: tuple[int, int] | tuple[()] = ()
    for name, program, tagged in _records(section):
        if program == _NETWORK:
            door = _open_door([_text(arg, directory) for arg in tagged], directory, beside, told, pids)
            continue
        if program[:1] != b"/":
            pids.append(_fork(program.decode(), [_text(arg, directory) for arg in tagged], directory, beside))
            continue
        arguments, opened = _arguments(tagged, directory, beside, memory)
        pids.append(_spawn(name, program, arguments))
        for handle in opened:
            os.close(handle)
    os.close(beside)
    options = [b"--sync-fd", b"%d" % ready]
    if door:
        options += [b"--info-fd", b"%d" % door[0], b"--block-fd", b"%d" % door[1]]
    elif told >= 0:
        options += [b"--info-fd", b"%d" % told]
    for handle in (ready, *door):
        os.set_inheritable(handle, True)
    return pids, ready, options


def _open_door(words: "list[bytes]", directory: bytes, beside: int, told: int, pids: "list[int]") -> "tuple[int, int]":
    """Start the companion that enters the sandbox's network, between what bubblewrap tells of it and lets it begin.

    Returns bubblewrap's ends: what it tells goes into the first and, by the companion, on to ``told``; it waits until
    something can be read from the second (bwrap(1), ``--info-fd``, ``--block-fd``).
    """
    opened = _listen(words)
    info, telling = os.pipe()
    waiting, begin = os.pipe()
    loud = os.dup(2)
    handles = [info, begin, told, loud, *(made.fileno() for _, made in opened)]
    numbers = [info, begin, told, loud, *(each for index, made in opened for each in (index, made.fileno()))]
    first = b" ".join(b"%d" % number for number in numbers)
    pids.append(_fork(_NETWORK.decode(), [first, *words], directory, beside, [each for each in handles if each >= 0]))
    for handle in (info, begin, loud):
        os.close(handle)
    for _, made in opened:
        made.close()
    return telling, waiting


def _listen(words: "list[bytes]") -> "list[tuple[int, _socket.socket]]":
    """What listens in the host's network for the app, with the numbers of its rules. Raises HostError."""
    listens = [word for word in words if word[:7] == b"listen "]
    if not listens:
        return []
    from broker.network import listeners, rules

    return listeners.make(rules.Rules(listens).listens)


def wait(section: "tuple[bytes, ...]", pids: "list[int]", ready: int) -> None:
    """Wait until every companion is ready. Raises HostError ``companion-failed`` when one ends or all take too long."""
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    handles = {os.pidfd_open(pid): program for pid, (_, program, _) in zip(pids, _records(section), strict=True)}
    for handle in handles:
        poll.register(handle, select.POLLIN)
    try:
        missing = len(pids)
        while missing:
            seen = {handle for handle, _ in poll.poll(PATIENCE_MS)}
            if not seen:
                raise failed(b", ".join(handles.values()), f"not ready within {PATIENCE_MS // 1000} seconds")
            for handle in seen & handles.keys():
                if handles[handle][:1] == b"/" or not _well(handle):
                    raise failed(handles[handle], "it ended before it was ready")
                poll.unregister(handle)
            if ready in seen:
                missing -= len(os.read(ready, missing))
    finally:
        for handle in handles:
            os.close(handle)


def _well(handle: int) -> bool:
    """Whether the process of a pidfd, which is over, ended with status 0."""
    found = os.waitid(os.P_PIDFD, handle, os.WEXITED)
    return found is not None and (found.si_code, found.si_status) == (os.CLD_EXITED, 0)


def _records(section: "tuple[bytes, ...]") -> "Iterator[Record]":
    at = 0
    while at < len(section):
        name, program, count = section[at : at + 3]
        yield name, program, list(section[at + 3 : at + 3 + int(count)])
        at += 3 + int(count)


def _text(arg: bytes, directory: bytes) -> bytes:
    """A literal or a path in ``directory``."""
    return arg[1:] if arg[:1] == b"=" else directory + b"/" + arg[1:]


def _arguments(
    tagged: "list[bytes]", directory: bytes, beside: int, memory: "Callable[[bytes], int]"
) -> "tuple[list[bytes], list[int]]":
    """The words of a command line, and the descriptors opened for it."""
    words: list[bytes] = []
    opened: list[int] = []
    rest = iter(tagged)
    for arg in rest:
        tag, text = arg[:1], arg[1:]
        if tag == b"w":
            words.append(text + b"%d" % beside)
        elif tag == b"l":
            count, _, prefix = text.partition(b" ")
            listed = [_text(next(rest), directory) for _ in range(int(count))]
            opened.append(memory(b"\0".join([*listed, b""])))
            words.append(prefix + b"%d" % opened[-1])
        else:
            words.append(_text(arg, directory))
    return words, opened


def _spawn(name: bytes, program: bytes, arguments: "list[bytes]") -> int:
    silent = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    try:
        return os.posix_spawn(program, [name, *arguments], {}, file_actions=silent, setsid=True)
    except OSError as error:
        raise failed(program, str(error.strerror)) from error


def _fork(module: str, arguments: "list[bytes]", directory: bytes, beside: int, kept: "Sequence[int]" = ()) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        lowest = 3
        for handle in sorted([beside, *kept]):
            os.closerange(lowest, handle)  # with the ready pipe's other end here, it would never tell of the end
            lowest = handle + 1
        os.closerange(lowest, os.sysconf("SC_OPEN_MAX"))
        status = _main(module)(arguments, directory, beside)
    finally:
        os._exit(status)


def _main(module: str) -> "Callable[[list[bytes], bytes, int], int]":
    """What runs in the fork: one import for each, so that the whole of it can be read here."""
    if module == "network":
        from broker import network

        return network.main
    if module == "pulse_filter":
        from broker.companions import pulse_filter

        return pulse_filter.main
    if module == "x11_server":
        from broker.companions import x11_server

        return x11_server.main
    if module == "wayland_context":
        from broker.companions import wayland_context

        return wayland_context.main
    if module == "wayland_filter":
        from broker.companions import wayland_filter

        return wayland_filter.main
    if module == "x11_authority":
        from broker.companions import x11_authority

        return x11_authority.main
    raise LookupError(module)


def failed(program: bytes, reason: str) -> Exception:
    """The error that says which companion did not start, and why."""
    from intents import errors

    return errors.HostError("companion-failed", f"`{program.decode()}`, which works beside the app, failed: {reason}")
