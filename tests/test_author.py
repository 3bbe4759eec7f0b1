"""``intent-author`` from inside: keys of every sort, sizes, and the manifests that are shipped."""

import json
import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from intents import author, authoring, errors, explain, facts, lint, parse, sign
from tests.conftest import must_work
from tests.vectors import generate_signature as forge

REPOSITORY = Path(__file__).parent.parent
KEYS = REPOSITORY / "tests" / "keys"
MANIFESTS = sorted((REPOSITORY / "manifests").glob("*.toml"))
DESKTOP = REPOSITORY / "tests" / "hosts" / "debian12-desktop.json"
BODY = authoring.new(app_id="org.example.Sheet", name="Sheet", command=("/usr/bin/sheet",), interface="window")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A valid manifest that nobody has signed."""
    path = tmp_path / "sheet.toml"
    path.write_text(BODY, "utf-8")
    return path


def keygen(directory: Path, kind: str, passphrase: str = "") -> Path:
    """A new key pair made by the real ssh-keygen."""
    must_work(shutil.which("ssh-keygen"), "ssh-keygen (package openssh-client)")
    path = directory / f"{kind}{'-locked' if passphrase else ''}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", path], check=True)
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An ssh-agent of the test's own."""
    must_work(shutil.which("ssh-agent"), "ssh-agent (package openssh-client)")
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert process.poll() is None, "ssh-agent ended"
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait()


def signer(manifest: Path) -> str:
    """The fingerprint of whoever signed the manifest."""
    return sign.verify(manifest.read_bytes(), Path(f"{manifest}.sig").read_bytes()).fingerprint


def fingerprint(key: Path) -> str:
    return sign.parse_public_key(Path(f"{key}.pub").read_text("utf-8")).fingerprint


def test_a_key_that_only_the_agent_has(manifest: Path, tmp_path: Path, agent: None) -> None:
    key = keygen(tmp_path, "ed25519")
    subprocess.run(["ssh-add", "-q", key], check=True)
    key.unlink()
    assert author.main(["sign", str(manifest), "--key", f"{key}.pub"]) == 0
    assert signer(manifest) == fingerprint(key)


def read_until(terminal: int, text: bytes) -> bytes:
    """What comes from a terminal until ``text`` does, or nobody is left to write, or a minute is over."""
    shown = b""
    while text not in shown and select.select([terminal], [], [], 60)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end of a terminal is closed
            break
    return shown


def test_a_locked_key_asks_on_the_terminal(manifest: Path, tmp_path: Path) -> None:
    key = keygen(tmp_path, "ed25519", "open sesame")
    start = "import sys; from intents.author import main; sys.exit(main())"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-c", start, "sign", str(manifest), "--key", str(key)])
    shown = read_until(terminal, b"passphrase")
    os.write(terminal, b"open sesame\n")
    shown += read_until(terminal, b"no such text")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, shown
    assert b"sesame" not in shown
    assert signer(manifest) == fingerprint(key)


def test_a_locked_key_without_a_terminal(manifest: Path, tmp_path: Path) -> None:
    key = keygen(tmp_path, "ed25519", "open sesame")
    start = "import sys; from intents.author import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", start, "sign", str(manifest), "--key", str(key)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        start_new_session=True,
        check=False,
    )
    assert (done.returncode, b"[key-malformed]" in done.stderr) == (1, True), done
    assert not Path(f"{manifest}.sig").exists()


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_key_of_another_type(kind: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = keygen(tmp_path, kind)
    assert author.main(["sign", str(manifest), "--key", str(key)]) == 1
    assert "[key-unsupported]" in capsys.readouterr().err
    assert not Path(f"{manifest}.sig").exists()


def test_a_security_key_signs_through_ssh_keygen(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no such key here: a stand-in prints the signature one would make, or one made without a touch."""
    tools = tmp_path / "tools"
    tools.mkdir()
    stand_in = tools / "ssh-keygen"
    wanted = f"-q -Y sign -n intent-manifest -f {KEYS}/other.pub"
    stand_in.write_text(f'#!/bin/sh\n[ "$*" = "{wanted}" ] && cat "$SIGNATURE"\n')
    stand_in.chmod(0o755)
    signature = tmp_path / "signature"
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("SIGNATURE", str(signature))
    signature.write_bytes(forge.armor(forge.token_blob(flags=0, body=BODY.encode())))
    assert author.main(["sign", str(manifest), "--key", f"{KEYS}/other.pub"]) == 1
    assert "[signature-unattended]" in capsys.readouterr().err
    assert not Path(f"{manifest}.sig").exists()
    signature.write_bytes(forge.armor(forge.token_blob(body=BODY.encode())))
    assert author.main(["sign", str(manifest), "--key", f"{KEYS}/other.pub"]) == 0
    assert Path(f"{manifest}.sig").read_bytes() == signature.read_bytes()


def test_ssh_keygen_that_fails_or_is_absent(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    must_work(shutil.which("ssh-keygen"), "ssh-keygen (package openssh-client)")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    lonely = tmp_path / "lonely.pub"
    shutil.copy(KEYS / "other.pub", lonely)
    assert author.main(["sign", str(manifest), "--key", str(lonely)]) == 1
    assert "[key-malformed]" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert author.main(["sign", str(manifest), "--key", str(lonely)]) == 1
    assert "Install the OpenSSH client." in capsys.readouterr().err


def test_what_is_written(manifest: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        assert author.main(["sign", str(manifest), "--key", str(KEYS / "other")]) == 0
        assert author.main(["sign", str(manifest), "--key", str(KEYS / "repository")]) == 0
    finally:
        os.umask(old_mask)
    assert sorted(path.name for path in manifest.parent.iterdir()) == ["sheet.toml", "sheet.toml.sig"]
    assert stat.S_IMODE(Path(f"{manifest}.sig").stat().st_mode) == 0o644
    assert signer(manifest) == fingerprint(KEYS / "repository")


def test_a_manifest_too_large_to_read_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (parse.MAX_BYTES + 5))
    assert author.main(["lint", str(large), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["files"][0]["error"]["code"] == "too-large"


def test_two_readings_are_a_finding(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert author.main(["lint", str(manifest)]) == 0
    monkeypatch.setattr(authoring, "same_reading", lambda body: False)
    assert author.main(["lint", str(manifest)]) == 1
    assert "two-readings" in capsys.readouterr().out


# What there is to say about each shipped manifest, on purpose: X11 is X11, and a terminal may be given a whole home.
SHIPPED = {
    "io.github.Qalculate.qalc": ["unusual-for-category"],
    "io.mpv.mpv": ["whole-network"],
    "net.sourceforge.galculator": [],
    "org.codeberg.dnkl.foot": ["wide-place", "network-beside-files", "whole-network"],
    "org.gnome.Calculator": ["unusual-for-category"],
    "org.gnome.Evince": [],
}


def test_the_shipped_manifests_are_these() -> None:
    assert [path.stem for path in MANIFESTS] == sorted(SHIPPED)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_shipped_manifest(path: Path) -> None:
    body = path.read_bytes()
    read = parse.parse(body, file=path.name)
    assert read.app.id == path.stem
    assert sign.verify(body, Path(f"{path}.sig").read_bytes()).text == sign.REPOSITORY_KEY
    assert authoring.same_reading(body)
    assert [finding.code for finding in lint.lint(read)] == SHIPPED[path.stem]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_nothing_is_there_that_was_not_granted(path: Path) -> None:
    """Every option belongs to the base or to a granted intent, and without grants all of them to the base."""
    read = parse.parse(path.read_bytes(), file=path.name)
    host = explain.assume(read, facts.from_json(DESKTOP.read_text("utf-8")))
    bare = explain.explain(read, None, host, {})
    assert {option.because for option in bare.options} == {"base"}
    assert bare.missing == tuple(intent.id for intent in read.intents if not intent.optional)
    for intent in read.intents:
        shown = explain.explain(read, None, host, explain.chosen(read, (intent.id,)))
        owners = {option.because for option in shown.options}
        assert owners <= {"base", intent.id}
        base = [option for option in shown.options if option.because == "base"]
        assert [option for option in base if option not in bare.options] == []


def test_the_same_rule_on_two_buses_has_two_owners() -> None:
    body = BODY.partition("\n# Ask for")[0]
    for bus in ("session", "system"):
        body += f'\n[intents.{bus}]\nkind = "dbus"\nbus = "{bus}"\nsee = ["org.example.One"]\nreason = "Look for it."\n'
    read = parse.parse(body.encode(), file="m")
    host = explain.assume(read, facts.from_json(DESKTOP.read_text("utf-8")))
    must_have = {bus.name for bus in host.buses}
    shown = explain.explain(read, None, host, explain.chosen(read, ("session", "system")))
    owners = [option.because for option in shown.options if option.words == ("--see=org.example.One",)]
    assert sorted(owners) == sorted(must_have) and len(owners) == 2


def test_an_intent_that_is_not_declared() -> None:
    read = parse.parse(BODY.encode(), file="m")
    with pytest.raises(errors.DecisionError) as caught:
        explain.chosen(read, ("wind\x1bow",))
    assert caught.value.code == "unknown-intent"
    assert "`wind\\x1bow`" in caught.value.message
