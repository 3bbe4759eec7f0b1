"""intent-ctl in a world of its own: what it prints and returns, in this process."""

import io
import json
import os
import pathlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from broker import ctl, journal
from intents import model, sign
from tests.real import world

APP = world.APP
NETWORK = {"kind": "network", "scope": "host"}
NOTES = {"kind": "path", "place": "home/Notes", "access": "read"}
MANIFEST = world.manifest(["/bin/true"], {"net": NETWORK, "notes": NOTES})
REPOSITORY_KEY = (world.ROOT / "tests" / "keys" / "repository").read_bytes()
OTHER_KEY = world.KEY.read_bytes()


@contextmanager
def home() -> Iterator[world.World]:
    """A world where nothing was decided, with an app whose publisher the user agreed to."""
    with world.world() as made:
        (made.home / "Notes").mkdir()
        made.install(MANIFEST)
        yield made


def new_key() -> bytes:
    """A private key that nobody has seen before."""
    return ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def fingerprint(private_key: bytes) -> str:
    """How a key is shown."""
    return sign.verify(b"x", sign.sign(b"x", private_key, None)).fingerprint


def run(where: world.World, *words: str) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of ``intent-ctl WORDS``."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with (
        where.here(),
        mock.patch.dict(os.environ, where.environ, clear=True),
        mock.patch.object(sys, "argv", ["intent-ctl", *words]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        status = ctl.main()
    out.seek(0)
    return status, out.read(), err.getvalue()


def helped(*words: str) -> str:
    """The help of a command."""
    out = io.StringIO()
    with mock.patch.object(sys, "argv", ["intent-ctl", *words, "--help"]), redirect_stdout(out), suppress(SystemExit):
        ctl.main()
    return out.getvalue()


def done(where: world.World, *words: str) -> str:
    """What it prints when it succeeds, with nothing on standard error."""
    status, out, err = run(where, *words)
    assert (status, err) == (0, ""), (status, out, err)
    return out


def data(where: world.World, *words: str, status: int = 0) -> dict[str, object]:
    """The one JSON document that it prints, with nothing on standard error."""
    found, out, err = run(where, *words, "--json")
    assert (found, err) == (status, ""), (found, out, err)
    document = json.loads(out)
    assert isinstance(document, dict)
    return document


def code(where: world.World, *words: str) -> str:
    """The code of the error that it ends with, the same for people and in JSON."""
    error = data(where, *words, status=1)["error"]
    assert isinstance(error, dict)
    status, out, err = run(where, *words)
    assert (status, out) == (1, "") and f"[{error['code']}]" in err and "  next: " in err
    return str(error["code"])


def states(where: world.World, app: str = APP) -> dict[str, str]:
    """Each intent's state, as ``show`` says it."""
    intents = data(where, "show", app)["intents"]
    assert isinstance(intents, list)
    return {intent["intent"]: intent["state"] for intent in intents}


def publish(where: world.World, text: str, private_key: bytes | None, app_id: str = APP) -> None:
    """Put a manifest into the user's catalog, signed by a key or by none; nobody agrees to it."""
    path = pathlib.Path(where.places.data, "manifests", f"{app_id}.toml")
    body = text.encode()
    files = {path: body, path.with_name(f"{path.name}.sig"): sign.sign(body, private_key, None) if private_key else b""}
    for file, content in files.items():
        file.unlink(missing_ok=True)
        if content:
            file.write_bytes(content)
            file.chmod(0o600)


def decisions(where: world.World, app_id: str = APP) -> list[model.Decision]:
    """Every stored decision of the app, oldest first."""
    with journal.Journal.open(where.places) as book:
        return [found for app, lineage in book.apps() if app == app_id for found in book.decisions(app, lineage)]
