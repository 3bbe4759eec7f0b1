"""``python -m tests.benchmarks.network``: what the name relay costs beside the direct path.

The same client asks the same server on the far side of a fake internet: directly, in a sandbox with the host's network,
in one that reaches this server by its name alone, and in one led to the internet by pasta where that is installed.
Interleaved rounds of one run. Nothing passes or fails by the clock. What was measured: docs/performance.md.
"""

import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks import launch
from tests.real import fake_internet, fake_zone, world

ROUNDS = 7
REQUESTS = 100  # of a round; twice as many questions are what an app may ask at once where it may ask for any name
SIZE = 256  # MiB of a round
MANY = 2000  # connections at a time
HOST, PORT = "four.allowed.test", 9000
RATIOS = {
    "throughput_ratio": ("throughput", "relay", "direct"),
    "throughput_vs_share_net": ("throughput", "relay", "share_net"),
    "throughput_vs_pasta": ("throughput", "relay", "pasta"),
    "latency_ratio": ("latency", "relay", "direct"),
    "latency_vs_share_net": ("latency", "relay", "share_net"),
    "latency_vs_pasta": ("latency", "relay", "pasta"),
}
DNS = {"kind": "dns", "scope": "any"}
APPS: dict[str, launch.Intents] = {
    "share_net": {"net": {"kind": "network", "scope": "host"}, "names": DNS},
    "relay": {"net": {"kind": "network", "connect": [f"{HOST}:{PORT}"]}},
    "pasta": {"net": {"kind": "network", "scope": "internet"}, "names": DNS},
}
# Answers each message with as much; one that begins with G with so many MiB, from a process of its own.
SERVER = """
import os, selectors, signal, socket, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ready = selectors.DefaultSelector()
listener = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=4096)
ready.register(listener, selectors.EVENT_READ)
piece = bytes(1 << 20)
print("ready", flush=True)
while True:
    for key, _ in ready.select():
        if key.fileobj is listener:
            peer = listener.accept()[0]
            ready.register(peer, selectors.EVENT_READ)
            continue
        try:
            data = key.fileobj.recv(4096)
        except OSError:
            data = b""
        if data[:1] == b"G" and os.fork() == 0:
            for _ in range(int(data[1:])):
                key.fileobj.sendall(piece)
            os._exit(0)
        if data[:1] in (b"", b"G"):
            ready.unregister(key.fileobj)
            key.fileobj.close()
        else:
            key.fileobj.send(data)
"""
CLIENT = """
import os, resource, socket, statistics, sys, time
what, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if what == "latency":
    taken = []
    for _ in range(count):
        begin = time.perf_counter()
        stream = socket.create_connection((host, port))
        stream.sendall(bytes(100))
        assert len(stream.recv(4096)) == 100
        taken.append(time.perf_counter() - begin)
        stream.close()
    print(statistics.median(taken) * 1000)
elif what == "throughput":
    stream, buffer, left = socket.create_connection((host, port)), bytearray(1 << 20), count << 20
    begin = time.perf_counter()
    stream.sendall(b"G%d" % count)
    while left:
        size = stream.recv_into(buffer)
        assert size
        left -= size
    print(count * 1.048576 / (time.perf_counter() - begin))
else:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    begin = time.perf_counter()
    streams = [socket.create_connection((host, port)) for _ in range(count)]
    for number, stream in enumerate(streams):
        stream.sendall(b"%d" % (number + 1))
    lost = sum(stream.recv(4096) != b"%d" % (number + 1) for number, stream in enumerate(streams))
    print(lost, time.perf_counter() - begin, flush=True)
    sys.stdin.read()
"""


class Bench:
    """A far server, and a client in each of the ways to it."""

    def __init__(self, net: fake_internet.Internet, here: fake_internet.World) -> None:
        self.net, self.world = net, here
        for name, intents in APPS.items():
            here.install(world.manifest(world.PYTHON, intents, app_id=f"org.example.{name.title().replace('_', '')}"))
            here.decide(app_id=f"org.example.{name.title().replace('_', '')}")

    def start(self, case: str, *words: str) -> "subprocess.Popen[str]":
        """The client, which says what it measured."""
        what, *count = words
        rest = (CLIENT, what, HOST, str(PORT), *count)
        app = f"org.example.{case.title().replace('_', '')}"
        argv = self.net.argv([*world.PYTHON, *rest]) if case == "direct" else self.world.argv(app, *rest)
        environ = None if case == "direct" else self.world.environ
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def number(self, case: str, *words: str) -> float:
        """What the client measured."""
        with self.start(case, *words) as process:
            out, err = process.communicate()
        assert process.returncode == 0, (case, words, err)
        return float(out)

    def works(self, case: str) -> bool:
        """Whether this way is to be had here."""
        with self.start(case, "latency", "1") as process:
            process.communicate()
        return process.returncode == 0

    def halves(self) -> dict[str, int]:
        """The pids of the dialer and the relay of the app that runs: forks of what was started in this home."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.world.home).encode() in (entry / "cmdline").read_bytes():
                    pid = int(entry.name)
                    found["dialer" if os.getsid(pid) == pid else "relay"] = pid
        return found

    def many(self) -> dict[str, object]:
        """What so many connections at a time cost, and how many of them were lost; before and while they are there."""
        memory: dict[str, object] = {}
        said: list[str] = []
        for name, count in (("idle", 0), ("many", MANY)):
            with self.start("relay", "many", str(count)) as process:
                assert process.stdout and process.stdin
                said = process.stdout.readline().split()
                assert said, process.communicate()[1]
                memory |= {f"{half}_{name}": pss(pid) for half, pid in self.halves().items()}
                process.stdin.close()
        return {"connections": MANY, "lost": int(said[0]), "seconds": round(float(said[1]), 2), "pss_mib": memory}


def pss(pid: int) -> float | None:
    """The proportional share of memory of a process in MiB; None where the kernel does not tell us (proc(5))."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return round(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """The fake internet with a fast server on its far side."""
    with fake_internet.internet(watch=False) as net, net.world() as here:
        argv = net.argv(["/usr/bin/python3", "-IS", "-c", SERVER, fake_zone.ALLOWED, str(PORT)], side="internet")
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout and server.stdout.readline() == "ready\n"
                yield Bench(net, here)
            finally:
                server.terminate()


def measure(made: Bench, rounds: int) -> dict[str, dict[str, list[float]]]:
    """MB/s and milliseconds of each round, by way."""
    cases = ["direct", *(case for case in APPS if made.works(case))]
    taken: dict[str, dict[str, list[float]]] = {"throughput": {}, "latency": {}}
    for _ in range(rounds):
        for case in cases:
            for what, count in (("throughput", SIZE), ("latency", REQUESTS)):
                taken[what].setdefault(case, []).append(made.number(case, what, str(count)))
        cases = [*cases[1:], cases[0]]
    return taken


def starts(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a start with named servers, and of the same one without any network."""
    with launch.bench() as made:
        found = launch.cases(made, "")
        return launch.measure({name: found[name] for name in ("warm", "warm_named")}, rounds)


def report(
    taken: Mapping[str, Mapping[str, Sequence[float]]], launches: Mapping[str, Sequence[float]], many: object
) -> dict[str, object]:
    """The ratios of medians, then the medians by way."""
    medians = {what: {case: statistics.median(found) for case, found in rows.items()} for what, rows in taken.items()}
    begun = {name: statistics.median(found) for name, found in launches.items()}
    ratios = {
        name: round(medians[what][ours] / medians[what][theirs], 2)
        for name, (what, ours, theirs) in RATIOS.items()
        if ours in medians[what] and theirs in medians[what]
    }
    return {
        **ratios,
        "launch_ratio": round(begun["warm_named"] / begun["warm"], 2),
        "runs": min(len(found) for rows in taken.values() for found in rows.values()),
        "median_mb_per_s": {case: round(found) for case, found in medians["throughput"].items()},
        "median_ms": {case: round(found, 3) for case, found in medians["latency"].items()},
        "launch_ms": {name: round(found, 2) for name, found in begun.items()},
        "many": many,
    }


def table(facts: Mapping[str, object]) -> str:
    """``report`` for people."""
    speeds, delays = facts["median_mb_per_s"], facts["median_ms"]
    rows = [f"{'way':12}{'MB/s':>9}{'ms':>9}"]
    for case in speeds:  # type: ignore[attr-defined]
        rows.append(f"{case:12}{speeds[case]:9}{delays[case]:9.3f}")  # type: ignore[index]
    names = [*(name for name in RATIOS if name in facts), "launch_ratio"]
    rows += ["", *(f"{name:26}{facts[name]:6.2f}" for name in names), "", str(facts["launch_ms"]), str(facts["many"])]
    return "\n".join(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.network", description="What the relay costs.")
    parser.add_argument("--json", action="store_true", help="one object with the ratios by name")
    parser.add_argument("-n", type=int, default=ROUNDS, metavar="RUNS", help=f"rounds ({ROUNDS})")
    asked = parser.parse_args()
    ctypes.CDLL(None).prctl(launch.SUBREAPER, 1, 0, 0, 0)
    launches = starts(5 * asked.n)
    with bench() as made:
        facts = report(measure(made, asked.n), launches, made.many())
    print(json.dumps(facts) if asked.json else table(facts))


if __name__ == "__main__":
    main()
