"""The permission histories of Flathub's apps as updates of one app each, with a user who answers by chance (SPEC §8.3).

Every version is imported as a manifest, what is open is asked and answered, and on goes the next. Checked at each step:
what is asked is exactly the difference to all that was asked before; the standings are those of the reference model;
nothing is granted that was not asked for and allowed. ``python -m tests.replay [SEED]`` replays all and prints counts.
"""

import functools
import json
import lzma
import pathlib
import random
import statistics
import sys
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from broker import answers, prompts
from intents import decide, diff, facts, flatpak, model, risk
from tests.laws import generate
from tests.model import decide as reference

ROOT = pathlib.Path(__file__).parent
CORPUS = ROOT / "corpora" / "flathub-finish-args.jsonl.xz"
SEED = 20_261_124
# What `flatpak update` shows as new permissions, and asks one yes or no about (flatpak-cli-transaction.c).
SHOWN = (
    *("share", "socket", "device", "filesystem", "allow"),
    *("talk-name", "own-name", "system-talk-name", "system-own-name"),
)
FORMS = ("allow", "deny", "narrow", "some")
SPANS = (model.Lifespan.FOREVER, model.Lifespan.FOREVER, model.Lifespan.UNTIL, model.Lifespan.SESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """One app: its id, and for each version its intents and what Flatpak shows of it."""

    app_id: str
    versions: tuple[tuple[tuple[model.Intent, ...], frozenset[str]], ...]


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a user of one app saw over its whole history. first: at the first start; later: in updates.

    acts: intents that need an act of their own to be allowed; listed: those of low risk; sheets: handshakes; silent:
    updates without one, unlike Flatpak's in ``unlike`` of them. prompts and lines: yes-or-no questions of Flatpak, and
    the permissions that they lump together.
    """

    app_id: str
    first: int = 0
    later: int = 0
    listed: int = 0
    sheets: int = 0
    updates: int = 0
    silent: int = 0
    unlike: int = 0
    prompts: int = 0
    lines: int = 0

    @property
    def acts(self) -> int:
        return self.first + self.later


def histories(every: int = 1) -> Iterator[History]:
    """Every app of the corpus, or every so-manieth."""
    for line in lzma.decompress(CORPUS.read_bytes()).splitlines()[::every]:
        app = json.loads(line)
        versions = [(flatpak.from_flatpak(app["id"], tokens).intents, _shown(tokens)) for tokens in app["sets"]]
        yield History(app_id=app["id"], versions=tuple(versions))


def _shown(tokens: Iterable[str]) -> frozenset[str]:
    return frozenset(token for token in tokens if token[2:].partition("=")[0] in SHOWN)


@functools.cache
def machine() -> facts.HostFacts:
    """A desktop on which risks are judged."""
    return facts.from_json((ROOT / "hosts" / "debian12-desktop.json").read_text("utf-8"))


class User:
    """One app's user: what was asked, what was answered, what is stored. checked: against the model, at every step."""

    def __init__(self, history: History, seed: int, *, checked: bool) -> None:
        self.history, self.checked = history, checked
        self.chance = random.Random(f"{seed} {history.app_id}")
        self.stored: tuple[model.Decision, ...] = ()
        self.asked: list[model.Scope] = []
        self.allowed: list[model.Scope] = []
        self.counts = Counts(app_id=history.app_id)

    def replay(self) -> Counts:
        """Go through all versions. Raises AssertionError where a law does not hold."""
        shown: frozenset[str] = frozenset()
        for at, (intents, tokens) in enumerate(self.history.versions):
            delta = self._look(intents)
            if self.checked:
                self._check(delta)
            self._count(delta, first=at == 0)
            self.counts.updates += at > 0
            self.counts.unlike += at > 0 and bool(tokens - shown) and not delta.questions
            if at == 0 or tokens - shown:
                self.counts.prompts += 1
                self.counts.lines += len(tokens - shown)
            shown = tokens
            self._answer(delta)
            if self.checked:
                assert not self._look(intents).questions, "asked twice"
                self._within(self._look(intents))
        return self.counts

    def _look(self, intents: Sequence[model.Intent]) -> model.Delta:
        app = model.App(
            id=self.history.app_id, name="App", version="1", serial=1, command=("/usr/bin/app",), interface="window",
            aliases=(), packages=(),
        )  # fmt: skip
        manifest = model.Manifest(app=app, intents=tuple(intents), digest="0" * 64)
        vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
        self.objects = generate.there([*(each.scope for each in intents), *(each.asked for each in self.stored)])
        return diff.diff(vetted, self.stored, generate.NOW, self.objects)

    def _check(self, delta: model.Delta) -> None:
        """The difference to what was ever asked, and the reference model's standings."""
        newest = list(reversed(self.stored))
        for change in delta.changes:
            parts = change.intent.scope.parts()
            new = tuple(part for part in parts if not any(asked.covers(part) for asked in self.asked))
            assert change.open == new, (self.history.app_id, change.intent.id)
            near = [each for each in newest if each.asked.kind == change.intent.scope.kind]
            stands = {part: reference.stands(part, near, self.objects) for part in parts}
            assert {part for part in parts if stands[part].open} == set(new)
            assert set(change.denied) == {part for part in parts if stands[part].denied}
            assert set(change.granted) == set().union(*(stands[part].granted for part in parts))
        self._within(delta)

    def _within(self, delta: model.Delta) -> None:
        """Nothing beyond what is asked for and was allowed."""
        for verdict in decide.settle(delta).verdicts:
            for scope in verdict.granted:
                assert verdict.intent.scope.covers(scope)
                assert any(allowed.covers(scope) for allowed in self.allowed)

    def _count(self, delta: model.Delta, *, first: bool) -> None:
        risks = [risk.of(change.open, machine(), model.Trust.PINNED) for change in delta.questions]
        acts = sum(each > model.Risk.LOW for each in risks)
        self.counts.first += acts if first else 0
        self.counts.later += 0 if first else acts
        self.counts.listed += len(risks) - acts
        self.counts.sheets += bool(risks)
        self.counts.silent += not first and not risks

    def _answer(self, delta: model.Delta) -> None:
        """Answer all that is open, as the session does, and store it."""
        given = {change.intent.id: self._choose(change) for change in delta.questions}
        app = types.SimpleNamespace(objects=self.objects)
        request = cast("prompts.Request", None)
        asked = answers.Handshake(
            app=cast("Any", app), now=generate.NOW, delta=delta, request=request, launching=True
        )
        stored, once = answers._decisions(asked, list(given.values()), "prompt")
        assert not once
        for change in delta.questions:
            self.asked += change.open
            answer = given[change.intent.id]
            if answer.effect is model.Effect.ALLOW:
                self.allowed += change.open if answer.scopes is None else answer.scopes
        self.stored = generate.numbered([*self.stored, *stored])

    def _choose(self, change: model.Change) -> prompts.Answer:
        form = self.chance.choice(FORMS)
        scopes: tuple[model.Scope, ...] | None = None
        if form == "narrow":
            less = [scope for part in change.open for scope in part.narrower()]
            scopes = (self.chance.choice(less),) if less else None
        elif form == "some":
            scopes = tuple(self.chance.sample(change.open, self.chance.randint(0, len(change.open))))
        span = self.chance.choice(SPANS)
        return prompts.Answer(
            intent_id=change.intent.id,
            effect=model.Effect.DENY if form == "deny" else model.Effect.ALLOW,
            span=span,
            duration_seconds=8 * 3600 if span is model.Lifespan.UNTIL else 0,
            scopes=scopes,
        )


def replay(found: Iterable[History], seed: int, *, checked: bool = True) -> list[Counts]:
    """What the users of these apps saw; those that ask for nothing are left out."""
    counts = [User(history, seed, checked=checked).replay() for history in found]
    return [each for each in counts if each.sheets or each.prompts]


def spread(values: Sequence[int]) -> tuple[float, float, float]:
    """Median, mean, and what nine of ten are not above."""
    return statistics.median(values), statistics.fmean(values), sorted(values)[max(0, -(-len(values) * 9 // 10) - 1)]


def main() -> int:
    """Replay everything, checked."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else SEED
    counts = replay(histories(), seed)
    for name in ("acts", "first", "later", "listed", "sheets", "updates", "silent", "prompts", "lines"):
        median, mean, most = spread([getattr(each, name) for each in counts])
        total = sum(getattr(each, name) for each in counts)
        print(f"{name:8} total {total:6}  median {median:4.0f}  mean {mean:5.2f}  90 % {most:3.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
