"""What this program would start bubblewrap with for a grant in full, read as Flatpak's command line is read."""

import dataclasses
import os
from collections.abc import Iterator, Sequence

from broker import host
from intents import bwrap, compiler, errors, model, plan
from tests.oracle import access, scenery

LINEAGE = scenery.KEY.rpartition("-")[2]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The command lines of one start, and what of the grant this machine could not give: (intent id, why)."""

    sandbox: access.Recorded
    proxies: tuple[access.Recorded, ...]
    withheld: tuple[tuple[str, errors.IntentError], ...]

    def map(self, names: access.Names) -> access.AccessMap:
        """What the app gets."""
        return access.read(self.sandbox, self.proxies, os.uname().machine, names)


def records(scene: scenery.Scenery, scopes: Sequence[model.Scope]) -> Records:
    """What an app is started with to which all of these scopes are granted, each with all its parts."""
    intents = tuple(
        model.Intent(id=f"i{number}", scope=scope, optional=True, reason="To work.", if_denied="Less works.")
        for number, scope in enumerate(scopes)
    )
    app = model.App(
        id=scenery.APP, name="App", version="1", serial=1, command=("/bin/sh",), interface="window", aliases=(),
        packages=(),
    )  # fmt: skip
    manifest = model.Manifest(app=app, intents=intents, digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage=LINEAGE, fingerprint="SHA256:x")
    given = tuple(model.Verdict(intent=each, granted=each.scope.parts(), because="") for each in intents)
    with scene.world.here():
        seen = host.look(manifest, scene.environ, scene.world.places).facts
    # On the stage of an ordinary user nothing belongs to root, so the broker trusts no program there.
    seen = dataclasses.replace(seen, bwrap="/usr/bin/bwrap", proxy="/usr/bin/xdg-dbus-proxy")
    done = compiler.compile_sandbox(model.Grant(vetted=vetted, verdicts=given), seen)
    sections = plan.decode(bwrap.plan_bytes(done.sandbox, seen, guards=(), settings={}))
    assert sections
    proxies = tuple(record for record in _companions(sections["companions"]) if _filters(record))
    return Records(sandbox=_sandbox(sections, scene), proxies=proxies, withheld=done.withheld)


def _filters(record: access.Recorded) -> bool:
    return any(word.endswith("xdg-dbus-proxy") for word in record.words)


def _text(tagged: bytes) -> str:
    """A word of the plan, with a place of its own for the sockets that are made at launch."""
    word = os.fsdecode(tagged)
    return f"{scenery.LAUNCH}/{word[1:]}" if word[:1] == "s" else word[1:]


def _sandbox(sections: dict[str, tuple[bytes, ...]], scene: scenery.Scenery) -> access.Recorded:
    """bubblewrap's command line, with the plan's own tags where the executor would put descriptors."""
    settings = dict(zip(sections["settings"][::2], sections["settings"][1::2], strict=True))
    words = [os.fsdecode(word) if word[:1] in b"bfc" else _text(word) for word in sections["args"]]
    passed = [os.fsdecode(name) for name in sections["passed"]]
    words += [word for name in passed if name in scene.environ for word in ("--setenv", name, scene.environ[name])]
    held = {f"f{number}": content for number, content in enumerate(sections["files"])}
    held["c"] = bytes.fromhex(settings[b"seccomp"].decode())
    leads = {f"b{number}": os.fsdecode(source) for number, source in enumerate(sections["binds"][::2])}
    return access.Recorded(words=(*words, "--"), held=held, leads=leads)


def _companions(section: tuple[bytes, ...]) -> Iterator[access.Recorded]:
    """The companions' command lines, with what they get by descriptor among their words."""
    rest = iter(section)
    for name in rest:
        next(rest)
        tagged = [next(rest) for _ in range(int(next(rest)))]
        words = [_text(word) for word in tagged if word[:1] in b"=s"]
        yield access.Recorded(words=(os.fsdecode(name), *words), held={}, leads={})
