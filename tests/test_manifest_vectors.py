"""Every manifest vector gives its verdict at its place (SPEC §3–§5), and the vectors cover what can go wrong."""

import sys
from pathlib import Path

import pytest

from intents import errors, kinds, locate, model, parse, paths

VECTORS = Path(__file__).parent / "vectors" / "manifest"
ALL = sorted(VECTORS.glob("*valid/*"))


def read_vector(path: Path) -> tuple[dict[str, str], bytes]:
    """The header of a vector and the manifest below it."""
    head, payload = path.read_bytes().split(b"\n\n", 1)
    return dict(line.split(": ", 1) for line in head.decode().split("\n")), payload


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_vector(path: Path) -> None:
    header, body = read_vector(path)
    assert (header["expect"] == "success") == (path.parent.name == "valid")
    try:
        parse.parse(body, file="manifest")
    except errors.ManifestError as error:
        assert error.code == header["expect"]
        assert error.subject == f"manifest:{header['at']}"
        assert_presentable(error)
    else:
        assert header["expect"] == "success"


def assert_presentable(error: errors.ManifestError) -> None:
    """One sentence, nothing that moves a cursor, a next step."""
    shown = errors.render(error, "intent-author").split("\n")
    assert len(shown) == 3
    assert all(paths.printable(line) == line for line in shown)
    assert error.hint.endswith((".", "?"))


def test_every_code_has_a_vector() -> None:
    found = {read_vector(path)[0]["expect"] for path in ALL}
    assert found == {"success", *errors.CATALOGUE["ManifestError"]}


def test_every_kind_is_read_and_written_back() -> None:
    seen: set[str] = set()
    for path in sorted(VECTORS.glob("valid/*")):
        for intent in parse.parse(read_vector(path)[1], file="manifest").intents:
            seen.add(intent.scope.kind)
            assert kinds.from_data(kinds.to_data(intent.scope)) == intent.scope
    assert seen == set(kinds.KINDS)


def test_what_is_read() -> None:
    manifest = parse.parse(read_vector(VECTORS / "valid" / "intent_optional")[1], file="manifest")
    assert manifest.app.id == "org.example.Sheet"
    assert manifest.app.serial == 7
    assert manifest.app.command == ("/usr/bin/sheet",)
    rates = manifest.intent("rates")
    assert rates == model.Intent(
        id="rates",
        scope=kinds.read("network", {"scope": "host"}),
        optional=True,
        reason="Download exchange rates.",
        if_denied="Rates stay as they were.",
    )
    required = parse.parse(read_vector(VECTORS / "valid" / "intent_required")[1], file="manifest").intents[0]
    assert (required.optional, required.if_denied) == (False, "")


def test_spelling_is_corrected() -> None:
    def hint(name: str) -> str:
        with pytest.raises(errors.ManifestError) as caught:
            parse.parse(read_vector(VECTORS / "invalid" / name)[1], file="manifest")
        return caught.value.hint

    assert "Did you mean `aliases`?" in hint("app_unknown_key")
    assert "Did you mean `if_denied`?" in hint("intent_unknown_key")


def test_a_file_name_cannot_speak() -> None:
    with pytest.raises(errors.ManifestError) as caught:
        parse.parse(b"", file="a\x1b[2K\u202eb")
    assert caught.value.subject == "a\\x1b[2K\\u202eb:1  spec"


def test_the_line_of_a_key() -> None:
    text = '# id = 1\n[app]\nid = "x"\n\n[ intents . "a-b" ]\nkind = "x"\n[intents.c]\nplace.x = 1\n'
    assert locate.line(text, ("app", "id")) == 3
    assert locate.line(text, ("intents", "a-b", "kind")) == 6
    assert locate.line(text, ("intents", "a-b", "reason")) == 5
    assert locate.line(text, ("intents", "c", "place", "x")) == 8
    assert locate.line(text, ("absent",)) == 1


def test_a_python_that_reads_only_short_numbers() -> None:
    """PYTHONINTMAXSTRDIGITS may be as low as 640, which fits in a line; Python then raises no TOML error."""
    body = b"spec = 1\n[app]\nserial = " + b"9" * 1000
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(errors.ManifestError) as caught:
            parse.parse(body, file="manifest")
    finally:
        sys.set_int_max_str_digits(before)
    assert caught.value.code == "toml-syntax"
