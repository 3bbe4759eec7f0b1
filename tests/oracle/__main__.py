"""`python -m tests.oracle [--sets N] [--seed N] [--json] [-- TOKEN ...]`: what ours gives that Flatpak does not.

With tokens, for that one set; else for every single permission, and for N sets of real apps. With --json also for
sandboxes with a widening planted in them. Starts itself again on the stage, where every device has a stand-in.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from intents import flatpak as importer
from tests.oracle import access, allowed, cases, flatpak, ours, planted, scenery

ON_STAGE = "INTENTS_ORACLE_ON_STAGE"
AT_ONCE = 2  # Flatpaks that run at the same time


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One set compared. ``gave``: whether the set added anything to theirs, and to ours; ``used``: allowed entries."""

    name: str
    excess: tuple[str, ...]
    withheld: tuple[str, ...] = ()
    gave: tuple[bool, bool] = (False, False)
    used: tuple[int, ...] = ()


class Comparison:
    """A scenery with a Flatpak in it, and what both give to an app without permissions."""

    def __init__(self, scene: scenery.Scenery) -> None:
        self.scene, self.theirs = scene, flatpak.Flatpak(scene)
        self.bare = self.theirs.map(()), self.records(()).map(scene.names)

    def records(self, tokens: Sequence[str]) -> ours.Records:
        """Ours for the intents that these permissions become, all granted."""
        found = importer.from_flatpak(scenery.APP, tokens)
        made = ours.records(self.scene, [intent.scope for intent in found.intents])
        variables = [word for name, value in found.environment for word in ("--setenv", name, value)]
        return dataclasses.replace(
            made, sandbox=dataclasses.replace(made.sandbox, words=(*variables, *made.sandbox.words))
        )

    def excess(self, our: access.AccessMap, their: access.AccessMap) -> tuple[access.Excess, ...]:
        """What ours gives beyond theirs, without the names of this one world."""
        return tuple(self._nameless(excess) for excess in access.beyond(our, their))

    def _nameless(self, excess: access.Excess) -> access.Excess:
        world = self.scene.world
        subject = excess.subject.replace(str(world.home), "~").replace(str(world.runtime), "$XDG_RUNTIME_DIR")
        return dataclasses.replace(excess, subject=subject)

    def sets(self, sets: Sequence[cases.Case]) -> Iterator[Result]:
        """Each set with both, in their order."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for case, their in zip(sets, pool.map(lambda each: self.theirs.map(each.permissions), sets), strict=True):
                made = self.records(case.tokens)
                our = made.map(self.scene.names)
                found = self.excess(our, their)
                yield Result(
                    name=case.name,
                    excess=_said(found),
                    withheld=tuple(f"{name}: {error}" for name, error in made.withheld),
                    gave=(bool(access.beyond(their, self.bare[0])), bool(access.beyond(our, self.bare[1]))),
                    used=tuple(sorted(allowed.used(found))),
                )

    def planted(self) -> Iterator[Result]:
        """Each widening, against what Flatpak gives for the same permissions."""
        for name, plant in planted.PLANTS.items():
            wider = plant.edit(self.records(plant.tokens), self.scene).map(self.scene.names)
            yield Result(name=name, excess=_said(self.excess(wider, self.theirs.map(plant.tokens))))


def _said(found: Iterable[access.Excess]) -> tuple[str, ...]:
    return tuple(str(excess) for excess in allowed.unexplained(found))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--sets", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("tokens", nargs="*")
    asked = parser.parse_args(words)
    single = [cases.Case(name=" ".join(asked.tokens), tokens=tuple(asked.tokens))] if asked.tokens else cases.singles()
    sets = [*single, *cases.drawn(asked.sets, asked.seed)]
    with scenery.scenery(staged=True) as scene:
        for below in cases.homely(sets):
            with contextlib.suppress(FileExistsError, NotADirectoryError):
                (scene.world.home / below).mkdir(parents=True)
        compared = Comparison(scene)
        if not asked.json:
            return _print(compared.sets(sets))
        print(json.dumps({
            "version": compared.theirs.version,
            "sets": [dataclasses.asdict(result) for result in compared.sets(sets)],
            "planted": [dataclasses.asdict(result) for result in compared.planted()],
        }))  # fmt: skip
    return 0


def _print(results: Iterable[Result]) -> int:
    wider = 0
    for result in results:
        wider += bool(result.excess)
        print(result.name, "" if all(result.gave) else f"(gave theirs, ours: {result.gave})", *result.withheld)
        for excess in result.excess:
            print("   ", excess)
    return min(wider, 1)


if __name__ == "__main__":
    if os.environ.get(ON_STAGE):
        sys.exit(main(sys.argv[1:]))
    os.environ[ON_STAGE] = "1"
    os.chdir(pathlib.Path(__file__).parents[2])
    os.execvp("bwrap", [*scenery.stage(), sys.executable, "-m", "tests.oracle", *sys.argv[1:]])
