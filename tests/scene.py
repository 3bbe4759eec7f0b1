"""Reserved places for a test, and the crowd that meets in them."""

import os
from collections.abc import Callable
from pathlib import Path

from broker import state


def below(base: Path | str) -> state.Places:
    """Places below a directory of the test."""
    return state.Places(
        home=str(base),
        state=f"{base}/state/intents",
        data=f"{base}/data/intents",
        config=f"{base}/config/intents",
        runtime=f"{base}/run/intents",
    )


def crowd(work: Callable[[int], bytes], count: int = 32) -> list[bytes]:
    """What ``count`` processes that start together return, by number; each must end well."""
    gate_out, gate_in = os.pipe()
    outs, children = [], []
    for number in range(count):
        out, back = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(gate_in)
                os.read(gate_out, 1)  # ends when the parent opens the gate
                os.write(back, work(number))
                status = 0
            finally:
                os._exit(status)
        os.close(back)
        outs.append(out)
        children.append(child)
    os.close(gate_out)
    os.close(gate_in)
    answers = []
    for out in outs:
        with open(out, "rb") as file:
            answers.append(file.read())
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count
    return answers


def as_ordinary(work: Callable[[], bytes]) -> bytes:
    """What ``work`` returns in a process without root's powers over files; the caller's own rights otherwise."""

    def dropped(_: int) -> bytes:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        return work()

    return crowd(dropped, 1)[0]
