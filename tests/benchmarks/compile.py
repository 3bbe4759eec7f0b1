"""``python -m tests.benchmarks.compile``: what it costs to import, read and compile the permissions of real apps.

1,500 sets drawn from what Flathub's apps asked for, each imported, written and read again, granted in full and compiled
to a plan for a recorded machine, in several rounds. Then manifests of one kind with twice as many intents each time:
what one more intent costs must not grow with them. The clock is that of the process, so that other work does not
count; nothing passes or fails by it. What was measured: docs/performance.md.
"""

import argparse
import dataclasses
import gc
import json
import lzma
import pathlib
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intents import authoring, bwrap, compiler, decide, diff, explain, facts, flatpak, model, parse, trust

TESTS = pathlib.Path(__file__).parents[1]
CORPUS = TESTS / "corpora" / "flathub-finish-args.jsonl.xz"
HOST = TESTS / "hosts" / "debian12-desktop.json"
APP, PROGRAM = "org.example.App", "/usr/bin/app"
SETS, ROUNDS = 1500, 5
SIZES = (4, 8, 16, 32, 64)
NOW = model.Clock(wall=1, boottime=1, boot_id="", session="")
STAGES = ("import", "read", "decide", "compile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Milliseconds of each stage for one set, and how much came out."""

    stages: tuple[float, ...]
    intents: int
    plan: int  # bytes

    @property
    def total(self) -> float:
        """All stages together."""
        return sum(self.stages)


def once(tokens: Sequence[str], host: facts.HostFacts) -> Spent:
    """One set on its way from options of Flatpak to the bytes of a plan."""
    begin = time.process_time()
    found = flatpak.from_flatpak(APP, tokens)
    imported = time.process_time()
    body = authoring.imported(app_id=APP, name="App", program=PROGRAM, found=found).encode()
    manifest = parse.parse(body, file="manifest")
    read = time.process_time()
    seen = explain.assume(manifest, host)
    grant = granted(manifest, seen)
    decided = time.process_time()
    data = bwrap.plan_bytes(compiler.compile_sandbox(grant, seen).sandbox, seen, guards=(), settings={})
    end = time.process_time()
    stages = (imported - begin, read - imported, decided - read, end - decided)
    return Spent(stages=tuple(1000 * each for each in stages), intents=len(manifest.intents), plan=len(data))


def granted(manifest: model.Manifest, host: facts.HostFacts) -> model.Grant:
    """All that a manifest asks for, granted, so that what the machine lacks is left out."""
    intents = tuple(dataclasses.replace(intent, optional=True) for intent in manifest.intents)
    manifest = dataclasses.replace(manifest, intents=intents)
    vetted = trust.vet(manifest, None, vouched=True, pin=None, allow_unsigned=False)
    known = dict(host.directories)
    places = {place for intent in intents for place in intent.scope.objects()}
    objects = {place: f"{known.get(place.partition('/')[0], '')}/{place.partition('/')[2]}" for place in places}
    life = model.Life(span=model.Lifespan.FOREVER)
    answers = [
        decision
        for intent in intents
        for decision in decide.decisions(
            intent, intent.scope.parts(), model.Effect.ALLOW, life, objects, source="command", now=NOW
        )
    ]
    return decide.settle(diff.diff(vetted, (), NOW, objects, this_launch=answers))


def drawn(number: int) -> list[list[str]]:
    """That many different sets of real apps, always the same."""
    apps = [json.loads(line) for line in lzma.decompress(CORPUS.read_bytes()).splitlines()]
    every = sorted({tuple(tokens) for app in apps for tokens in app["sets"]})
    return [list(tokens) for tokens in random.Random(1).sample(every, number)]


def grown(size: int) -> list[str]:
    """Permissions that make that many intents, half of them places and half of them names."""
    half = range(size // 2)
    places, names = "--filesystem=/srv/d{}", "--talk-name=org.example.N{}"
    return [form.format(number) for form in (places, names) for number in half]


def by_stage(spent: Sequence[Spent]) -> dict[str, float]:
    """The median of each stage, and of all of them."""
    stages = {name: statistics.median(each.stages[at] for each in spent) for at, name in enumerate(STAGES)}
    return {**stages, "total": statistics.median(each.total for each in spent)}


def growth(sizes: Mapping[int, Mapping[str, float]], stage: str) -> float:
    """What the last doubling costs for each unit that the one before cost: 2 where one more always costs the same."""
    small, middle, large = (sizes[size][stage] for size in SIZES[-3:])
    return round((large - middle) / (middle - small), 2)


def measure(number: int, runs: int) -> dict[str, object]:
    """Everything, as one object: ratios by name, then milliseconds (medians of the rounds)."""
    host = facts.from_json(HOST.read_text("utf-8"))
    sets = drawn(number)
    gc.freeze()  # what the benchmark itself holds is no business of what it measures
    passes = [[once(tokens, host) for tokens in sets] for _ in range(runs + 1)][1:]
    totals = [[each.total for each in run] for run in passes]
    per_set = [statistics.median(spent) for spent in zip(*totals, strict=True)]
    stages = {
        name: statistics.median(sum(each.stages[at] for each in run) for run in passes)
        for at, name in enumerate(STAGES)
    }
    sizes = {size: by_stage([once(grown(size), host) for _ in range(8 * runs)]) for size in SIZES}
    least, most = SIZES[0], SIZES[-1]
    half = sum(per_set[: number // 2])
    return {
        **{f"{name}_growth": growth(sizes, name) for name in (*STAGES, "total")},
        "per_intent_most_vs_least": round((sizes[most]["total"] / most) / (sizes[least]["total"] / least), 2),
        "second_half_vs_first": round((sum(per_set) - half) / half, 2),
        "sets": number,
        "runs": runs,
        "intents": sum(each.intents for each in passes[0]),
        "total_ms": round(statistics.median(sum(run) for run in totals), 1),
        "stages_ms": {name: round(spent, 1) for name, spent in stages.items()},
        "per_set_ms": {
            "median": round(statistics.median(per_set), 2),
            "p90": round(sorted(per_set)[int(number * 0.9)], 2),
            "max": round(max(per_set), 2),
        },
        "plan_bytes": round(statistics.median(each.plan for each in passes[0])),
        "by_intents_ms": {str(size): round(spent["total"], 2) for size, spent in sizes.items()},
    }


def table(found: Mapping[str, object]) -> str:
    """``measure`` for people."""
    rows = []
    for name, value in found.items():
        told = "  ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else str(value)
        rows.append(f"{name:28}{told}")
    return "\n".join(rows)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compile", description="What compiling costs.")
    parser.add_argument("--json", action="store_true", help="one object with the ratios by name")
    parser.add_argument("-n", type=int, default=ROUNDS, metavar="RUNS", help=f"rounds ({ROUNDS})")
    parser.add_argument("--sets", type=int, default=SETS, help=f"how many sets ({SETS})")
    asked = parser.parse_args()
    found = measure(asked.sets, asked.n)
    print(json.dumps(found) if asked.json else table(found))


if __name__ == "__main__":
    main()
