"""Manifests are read by tomllib and written by tomlkit: where the two differ, nothing is read (SPEC §3.1)."""

import tomllib
from pathlib import Path

import pytest
import tomlkit
from tomlkit.exceptions import TOMLKitError

from intents import authoring, errors, parse

VECTORS = sorted((Path(__file__).parent / "vectors" / "manifest").glob("*valid/*"))
MANIFEST = """spec = 1
[app]
id = "org.example.Sheet"
name = {name}
version = "1"
serial = 1
command = ["/usr/bin/sheet"]
interface = "window"
packages = {packages}
"""
# TOML 1.1 constructs, which newer writers accept: each as (name, packages) of the manifest above.
TOML_1_1 = [
    (r'"\e[2K"', "{}"),
    (r'"\x41"', "{}"),
    ("07:32", "{}"),
    ('"a"', '{\napt = "a" }'),
    ('"a"', '{ apt = "a"\n}'),
    ('"a"', '{ apt = "a", }'),
    ('"a"', '{ apt = "a", # why\n dnf = "b" }'),
]
# TOML 1.0 constructs on which readers have differed before.
ODD = [
    "", "#", "a = nan", "a = -inf", "a = 1e5", "a = 1.0", "a = -0", "a = 0x1F", "a = 0o17", "a = 0b1", "a = 1_000",
    "a = 01", "a = +1", "a = 1__0", "a = 9223372036854775808", "a = true", "a = True", '"" = 1',
    '"\xe9" = 1\n"e\u0301" = 2', "a.b = 1\na.c = 2", "[a]\n[a]", "[a.b]\n[a]", "[a.b]\n[a]\nb.c = 1", "a = {}\n[a.b]",
    "[[a]]\n[a]", "[[a]]\n[[a]]", "a = [1, [2.0], 'x']", 'a = """\nx\\\n   y"""', "a = '''\nx'''", 'a = "\\u0000"',
    'a = "\\ud800"', 'a = "\u202e"', 'a = "\x7f"', "# \x01", "a = 1\r\nb = 2", "a = 1\rb = 2", "\ufeffa = 1",
    "a = 1979-05-27T07:32:00Z", "a = 1979-05-27 07:32:00.5+01:00", "a = 0000-01-01", "a = [1, # c\n]", "a = 1 b = 2",
    "a =", "= 1", "a = {b = 1, b = 2}", "a = {b.c = 1, b.d = 2}", "a = 1\na.b = 2", "[a]\nb = 1\n[a.c]\n[a.d]",
]  # fmt: skip


@pytest.mark.parametrize(("name", "packages"), TOML_1_1)
def test_toml_1_1_is_refused(name: str, packages: str) -> None:
    body = MANIFEST.format(name=name, packages=packages)
    with pytest.raises(errors.ManifestError) as caught:
        parse.parse(body.encode(), file="manifest")
    assert caught.value.code == "toml-syntax"
    try:
        tomlkit.parse(body)
    except TOMLKitError:
        assert authoring.same_reading(body.encode())
    else:
        assert not authoring.same_reading(body.encode())


@pytest.mark.parametrize("body", ODD)
def test_both_read_the_same(body: str) -> None:
    assert authoring.same_reading(body.encode())


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name)
def test_both_read_the_vectors(path: Path) -> None:
    body = path.read_bytes().split(b"\n\n", 1)[1]
    assert authoring.same_reading(body) or path.name.startswith("toml_1_1_")


@pytest.mark.parametrize(("one", "other"), [("1", "1.0"), ("1", "true"), ('"1"', "1"), ("[1]", "[1.0]")])
def test_a_difference_of_type_is_a_difference(one: str, other: str, monkeypatch: pytest.MonkeyPatch) -> None:
    different = tomlkit.parse(f"a = {other}")
    monkeypatch.setattr(tomlkit, "parse", lambda _: different)
    assert tomllib.loads(f"a = {one}")
    assert not authoring.same_reading(f"a = {one}".encode())


@pytest.mark.parametrize("interface", ["window", "terminal"])
def test_a_new_manifest_is_valid(interface: str) -> None:
    body = authoring.new(
        app_id="org.example.Sheet", name='Sheet "2"', command=("/usr/bin/sheet", "a\\b"), interface=interface
    ).encode()
    manifest = parse.parse(body, file="new")
    assert manifest.app.command == ("/usr/bin/sheet", "a\\b")
    assert manifest.app.name == 'Sheet "2"'
    assert [intent.id for intent in manifest.intents] == (["window"] if interface == "window" else [])
    assert authoring.same_reading(body)


def test_the_examples_of_a_new_manifest_are_valid() -> None:
    body = authoring.new(app_id="org.example.Sheet", name="Sheet", command=("/usr/bin/sheet",), interface="terminal")
    asked, _, examples = body.partition("refuse alone:\n#\n")
    active = "\n".join(line.removeprefix("#") for line in examples.split("\n"))
    manifest = parse.parse((asked + "\n" + active).encode(), file="new")
    assert [intent.scope.kind for intent in manifest.intents] == ["network", "path", "dbus"]
