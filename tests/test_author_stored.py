"""``intent-author`` and this machine: facts and stored decisions come from the real ``intent-run --describe``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker import history, journal, state
from intents import model, parse, sign
from tests.conftest import must_work

REPOSITORY = Path(__file__).parent.parent
MANIFEST = REPOSITORY / "manifests" / "io.github.Qalculate.qalc.toml"
NOW = model.Clock(wall=1_800_000_000, boottime=1, boot_id="b", session="")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Commands beside each other as they are installed, and state that is the test's own."""
    for name, module in (("intent-author", "intents.author"), ("intent-run", "broker.run")):
        start = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from {module} import main; sys.exit(main())"
        (tmp_path / name).write_text(f"#!{sys.executable}\n{start}\n")
        (tmp_path / name).chmod(0o755)
    own = {f"XDG_{name}_HOME": tmp_path / name.lower() for name in ("STATE", "DATA", "CONFIG")}
    for directory in own.values():
        directory.mkdir(mode=0o700)
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **{name: str(directory) for name, directory in own.items()}}


def author(tmp_path: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(
        [tmp_path / "intent-author", *words], env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def decide(environ: dict[str, str], name: str, granted: bool) -> None:
    """Store an answer about one intent of qalc, as a user of this machine would have given it."""
    manifest = parse.parse(MANIFEST.read_bytes(), file="m")
    intent = manifest.intent(name)
    assert intent is not None
    decision = model.Decision(
        intent_id=name,
        asked=intent.scope,
        granted=intent.scope if granted else None,
        life=model.Life(span=model.Lifespan.FOREVER),
        objects=(),
        source="command",
        at=NOW.wall,
    )
    places = state.places(environ, os.geteuid())
    state.ensure(places)
    lineage = sign.lineage(sign.parse_public_key(sign.REPOSITORY_KEY))
    with journal.Journal.open(places) as book:
        book.record(NOW, [history.decided(manifest.app.id, lineage, decision)])


def test_stored_decisions_are_explained(tmp_path: Path, environ: dict[str, str]) -> None:
    must_work(os.path.exists("/usr/bin/qalc"), "qalc")
    decide(environ, "rates", granted=False)
    decide(environ, "rates", granted=True)
    done = author(tmp_path, environ, "explain", "io.github.Qalculate.qalc", "--json")
    assert done.returncode == 0, done
    told = json.loads(done.stdout)
    groups = {group["group"]: group for group in told["groups"]}
    assert list(groups) == ["base", "rates", "settings"]
    servers = [scope["connect"] for scope in groups["rates"]["granted"]]
    assert ["www.ecb.europa.eu:443"] in servers and all(len(server) == 1 for server in servers)
    assert groups["rates"]["because"] == "you allowed it always"
    assert [(row["seq"], row["at"], row["span"]) for row in groups["rates"]["decisions"]] == [(2, NOW.wall, "forever")]
    rule = {"part": "companion", "words": ["connect rates tcp www.ecb.europa.eu 443 -"]}
    assert rule in groups["rates"]["options"]
    assert groups["settings"]["granted"] == [] and not groups["settings"]["options"]
    text = author(tmp_path, environ, "explain", "qalc").stdout
    assert "rates: you allowed it always\n  decision 2: allowed always, by command on 2027-01-" in text
    decide(environ, "rates", granted=False)
    told = json.loads(author(tmp_path, environ, "explain", "qalc", "--json").stdout)
    rates = next(group for group in told["groups"] if group["group"] == "rates")
    assert rates["granted"] == [] and rates["because"] == "you refused it always"
    assert [row["effect"] for row in rates["decisions"]] == ["deny"] and not rates["options"]


def test_compile_grants_nothing_unless_said(tmp_path: Path, environ: dict[str, str]) -> None:
    must_work(os.path.exists("/usr/bin/qalc"), "qalc")
    decide(environ, "rates", granted=True)
    rule = "connect rates tcp www.ecb.europa.eu 443 -"
    assert rule not in author(tmp_path, environ, "compile", "qalc").stdout.split("\n")
    assert rule in author(tmp_path, environ, "compile", "qalc", "--stored").stdout.split("\n")
    assert rule in author(tmp_path, environ, "compile", str(MANIFEST), "--grant", "rates").stdout.split("\n")


def test_what_intent_run_says_is_passed_on(tmp_path: Path, environ: dict[str, str]) -> None:
    done = author(tmp_path, environ, "compile", "org.example.Absent")
    assert done.returncode == 1
    assert "[manifest-not-found]" in done.stderr and "said why above" in done.stderr
    (tmp_path / "intent-run").unlink()
    done = author(tmp_path, environ, "compile", "qalc")
    assert done.returncode == 1
    assert "`intent-run`, which knows this machine, is not here" in done.stderr
