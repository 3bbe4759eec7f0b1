"""Whose manifest counts (SPEC §7): every vector, and the words of every refusal."""

import tomllib
from pathlib import Path

import pytest

from intents import errors, model, sign, trust

VECTORS = Path(__file__).parent / "vectors" / "trust"


def read_vector(path: Path) -> tuple[dict[str, str], dict[str, object]]:
    """The header and the payload of a vector."""
    head, payload = path.read_text("utf-8").split("\n\n", 1)
    pairs = (line.partition(":") for line in head.split("\n"))
    return {name: value.strip() for name, _, value in pairs}, tomllib.loads(payload)


def vet(payload: dict[str, object]) -> model.Vetted:
    """What ``trust.vet`` says about a payload."""
    match payload:
        case {"manifest": {"id": str(app_id), "serial": int(serial), "digest": str(digest)}}:
            app = model.App(
                id=app_id, name="Vector", version="1", serial=serial, command=("/usr/bin/true",),
                interface="terminal", aliases=(), packages=(),
            )  # fmt: skip
            manifest = model.Manifest(app=app, intents=(), digest=digest)
        case _:
            raise AssertionError("a vector without a manifest")
    found = payload.get("pin")
    key = payload.get("key")
    return trust.vet(
        manifest,
        sign.parse_public_key(key) if isinstance(key, str) else None,
        vouched=payload["vouched"] is True,
        pin=model.Pin(app_id=app_id, **found) if isinstance(found, dict) else None,
        allow_unsigned=payload["allow_unsigned"] is True,
    )


def vectors(directory: str) -> list[Path]:
    """The vectors of one directory, by name."""
    return sorted((VECTORS / directory).iterdir())


@pytest.mark.parametrize("path", vectors("valid"), ids=lambda path: path.name)
def test_valid(path: Path) -> None:
    header, payload = read_vector(path)
    assert header["expect"] == "success"
    vetted = vet(payload)
    assert (vetted.trust, vetted.lineage, vetted.fingerprint) == (
        header["trust"],
        header["lineage"],
        header["fingerprint"],
    )


@pytest.mark.parametrize("path", vectors("invalid"), ids=lambda path: path.name)
def test_invalid(path: Path) -> None:
    header, payload = read_vector(path)
    with pytest.raises(errors.SignatureError) as caught:
        vet(payload)
    assert caught.value.code == header["expect"]
    assert "org.example.Vector" in caught.value.message
    assert caught.value.exit_status == 126


def test_vectors_cover_every_outcome() -> None:
    headers = [read_vector(path)[0] for directory in ("valid", "invalid") for path in vectors(directory)]
    assert {header["trust"] for header in headers if "trust" in header} == {trust.value for trust in model.Trust}
    assert {header["expect"] for header in headers} == {
        "success", "signature-missing", "unsigned", "key-changed", "serial-rollback", "serial-equivocation",
    }  # fmt: skip


def test_a_changed_key_names_both_keys_and_since_when() -> None:
    _, payload = read_vector(VECTORS / "invalid" / "key_changed")
    with pytest.raises(errors.SignatureError) as caught:
        vet(payload)
    pin = payload["pin"]
    key = payload["key"]
    assert isinstance(pin, dict) and isinstance(key, str)
    assert pin["fingerprint"] in caught.value.message
    assert sign.parse_public_key(key).fingerprint in caught.value.message
    assert "2026-03-02" in caught.value.message
    assert "intent-ctl trust rekey org.example.Vector" in caught.value.hint


def test_a_lower_serial_names_both_serials() -> None:
    _, payload = read_vector(VECTORS / "invalid" / "serial_rollback")
    with pytest.raises(errors.SignatureError) as caught:
        vet(payload)
    assert "serial 4" in caught.value.message and "serial 5" in caught.value.message
    assert "intent-ctl trust rekey org.example.Vector" in caught.value.hint
