"""``python -m tests.benchmarks.wayland``: what the Wayland filter costs beside the compositor's own socket.

One client, the smallest there can be, on a headless compositor: alternately on its socket and through the filter, in
interleaved rounds of one run. Nothing passes or fails by the clock. What was measured: docs/performance.md.
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

from broker import launch
from broker.companions import start, wait
from broker.companions import wayland_wire as wire
from intents import seccomp
from intents.kinds import display
from tests.real import desktop

ROUNDS = 9
TRIPS = 1000
FRAMES = 300  # unpaced ones of a round
SECONDS = 2.0  # of paced ones
REQUESTS = 20000
WIDTH, HEIGHT = 1920, 1080
TICK = os.sysconf("SC_CLK_TCK")
RATIOS = {
    "roundtrip_ratio": "roundtrips_per_second",
    "request_ratio": "requests_per_second",
    "frame_ratio": "frames_per_second",
    "paced_frame_ratio": "paced_frames_per_second",
}


class Client:
    """A window of 1080 lines, and two buffers for it."""

    def __init__(self, path: str) -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.connect(path)
        self._held = b""
        self._free: list[int] = []
        self._last = wire.DISPLAY
        registry = self._new()
        self.stream.sendall(wire.message(wire.DISPLAY, wire.GET_REGISTRY, registry))
        said = [body for target, opcode, body in self._until_synced() if (target, opcode) == (registry, wire.GLOBAL)]
        names = {wire.text(body, 4)[0]: wire.number(body, 0) for body in said}

        def bind(interface: bytes) -> int:
            new = self._new()
            self.stream.sendall(wire.message(registry, wire.BIND, names[interface], interface, 1, new))
            return new

        self.surface = self._window(bind(b"wl_compositor"), bind(b"xdg_wm_base"))
        self.buffers = self._buffers(bind(b"wl_shm"))

    def _window(self, compositor: int, shell: int) -> int:
        surface, role, toplevel = self._new(), self._new(), self._new()
        self.stream.sendall(
            wire.message(compositor, 0, surface)
            + wire.message(shell, 2, role, surface)
            + wire.message(role, 1, toplevel)
            + wire.message(surface, 6)
        )
        serial = 0
        while not serial:
            found = [body for target, opcode, body in self._until_synced() if (target, opcode) == (role, 0)]
            serial = wire.number(found[-1], 0) if found else 0
        self.stream.sendall(wire.message(role, 4, serial))
        return surface

    def _buffers(self, shm: int) -> list[int]:
        size, pool = WIDTH * HEIGHT * 4, self._new()
        handle = os.memfd_create("frames")
        os.truncate(handle, 2 * size)
        socket.send_fds(self.stream, [wire.message(shm, 0, pool, 2 * size)], [handle])
        os.close(handle)
        made = [self._new(), self._new()]
        for at, buffer in enumerate(made):
            self.stream.sendall(wire.message(pool, 0, buffer, at * size, WIDTH, HEIGHT, WIDTH * 4, 1))
        return made

    def _new(self) -> int:
        """A free object id; a new one is the number after the last one."""
        if self._free:
            return self._free.pop()
        self._last += 1
        return self._last

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            while found := wire.first(self._held):
                target, opcode, body, self._held = found
                if (target, opcode) == (wire.DISPLAY, wire.ERROR):
                    raise AssertionError(wire.text(body, 8)[0])
                if (target, opcode) == (wire.DISPLAY, 1):
                    self._free.append(wire.number(body, 0))
                yield target, opcode, body
            data = self.stream.recv(1 << 16)
            assert data, "the compositor went away"
            self._held += data

    def _until(self, callback: int) -> Iterator[tuple[int, int, bytes]]:
        for target, opcode, body in self._messages():
            if target == callback:
                return
            yield target, opcode, body

    def _until_synced(self) -> list[tuple[int, int, bytes]]:
        callback = self._new()
        self.stream.sendall(wire.message(wire.DISPLAY, wire.SYNC, callback))
        return list(self._until(callback))

    def trips(self, count: int) -> None:
        """So many questions, each after the answer to the one before."""
        for _ in range(count):
            self._until_synced()

    def requests(self, count: int) -> None:
        """So many requests that need no answer, and one that does."""
        few = wire.message(self.surface, 2, 0, 0, 1, 1) * 100
        for _ in range(count // 100):
            self.stream.sendall(few)
        self._until_synced()

    def _frame(self, number: int) -> bytes:
        buffer = self.buffers[number % 2]
        damage = wire.message(self.surface, 2, 0, 0, WIDTH, HEIGHT)
        return wire.message(self.surface, 1, buffer, 0, 0) + damage

    def frames(self, count: int) -> None:
        """So many frames, as fast as the compositor takes them."""
        for number in range(count):
            self.stream.sendall(self._frame(number) + wire.message(self.surface, 6))
            self._until_synced()

    def paced(self, seconds: float) -> int:
        """Frames at the compositor's own pace; how many there were."""
        number, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            callback = self._new()
            asked = wire.message(self.surface, 3, callback) + wire.message(self.surface, 6)
            self.stream.sendall(self._frame(number) + asked)
            for _ in self._until(callback):
                pass
            number += 1
        return number


@contextlib.contextmanager
def filtered(compositor: str, place: pathlib.Path) -> Iterator[tuple[str, int]]:
    """A filter of the compositor: its socket and its pid."""
    place.mkdir(mode=0o700)
    calls = seccomp.companion(os.uname().machine).hex()
    arguments = ("swayland", f"={compositor}", f"={calls}", *(f"={name}" for name in display.ORDINARY))
    section = tuple(each.encode() for each in ("wayland", "wayland_filter", str(len(arguments)), *arguments))
    pids, ready = start(section, os.fsencode(place), launch._memory)
    wait(section, pids, ready)
    try:
        yield f"{place}/wayland", pids[0]
    finally:
        os.close(ready)
        os.waitpid(pids[0], 0)


def seconds(what: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    what()
    return time.perf_counter() - begin


def spent(pid: int) -> float:
    """Seconds of processor time of a process (proc_pid_stat(5))."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid: int) -> int:
    """KiB that would be free without the process: its own pages, and its share of those it has with others."""
    rows = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))


def measure(direct: str, through: str, pid: int) -> dict[str, object]:
    """The ratios, filter to direct, then medians by name and case, and what the filter itself takes."""
    idle = memory(pid)
    clients = {"direct": Client(direct), "filter": Client(through)}
    rates: dict[str, dict[str, list[float]]] = {name: {case: [] for case in clients} for name in RATIOS.values()}
    paced_time = paced_spent = 0.0
    for number in range(ROUNDS):
        for case in sorted(clients, reverse=bool(number % 2)):
            client = clients[case]
            rates["roundtrips_per_second"][case].append(TRIPS / seconds(lambda c=client: c.trips(TRIPS)))  # type: ignore[misc]
            took = seconds(lambda c=client: c.requests(REQUESTS))  # type: ignore[misc]
            rates["requests_per_second"][case].append(REQUESTS / took)
            rates["frames_per_second"][case].append(FRAMES / seconds(lambda c=client: c.frames(FRAMES)))  # type: ignore[misc]
            before, begin = spent(pid), time.perf_counter()
            shown = client.paced(SECONDS)
            took = time.perf_counter() - begin
            rates["paced_frames_per_second"][case].append(shown / took)
            if case == "filter":
                paced_time += took
                paced_spent += spent(pid) - before
    medians = {name: {case: statistics.median(each) for case, each in found.items()} for name, found in rates.items()}
    return {
        **{ratio: round(medians[name]["filter"] / medians[name]["direct"], 3) for ratio, name in RATIOS.items()},
        "rounds": ROUNDS,
        "medians": {name: {case: round(rate, 1) for case, rate in each.items()} for name, each in medians.items()},
        "filter_cpu_percent_paced": round(100 * paced_spent / paced_time, 2),
        "filter_idle_kib": idle,
        "filter_busy_kib": memory(pid),
    }


def table(facts: Mapping[str, object]) -> str:
    """``measure`` for people."""
    medians = facts["medians"]
    assert isinstance(medians, dict)
    rows = [f"{'':26}{'direct':>10}{'filter':>10}{'ratio':>8}"]
    for ratio, name in RATIOS.items():
        rows.append(f"{name:26}{medians[name]['direct']:10.0f}{medians[name]['filter']:10.0f}{facts[ratio]:8.2f}")
    others = ("filter_cpu_percent_paced", "filter_idle_kib", "filter_busy_kib")
    return "\n".join([*rows, "", *(f"{name:26}{facts[name]:>10}" for name in others)])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.wayland", description="What the filter costs.")
    parser.add_argument("--json", action="store_true", help="one object with the ratios by name")
    asked = parser.parse_args()
    with desktop.desktop("sway") as session:
        session.start_sway()
        direct = f"{session.environ['XDG_RUNTIME_DIR']}/{session.environ['WAYLAND_DISPLAY']}"
        with filtered(direct, session.place / "filter") as (through, pid):
            facts = measure(direct, through, pid)
    print(json.dumps(facts) if asked.json else table(facts))


if __name__ == "__main__":
    main()
