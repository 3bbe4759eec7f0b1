"""Every policy vector gives its verdict at its line (SPEC §8.8), whatever bytes it is given rules or one error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intents import errors, paths, policy

VECTORS = Path(__file__).parent / "vectors" / "policy"
ALL = sorted(VECTORS.glob("*valid/*"))


def read_vector(path: Path) -> tuple[dict[str, str], bytes]:
    """The header of a vector and the policy below it."""
    head, payload = path.read_bytes().split(b"\n\n", 1)
    return dict(line.split(": ", 1) for line in head.decode().split("\n")), payload


@pytest.mark.parametrize("path", ALL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_vector(path: Path) -> None:
    header, body = read_vector(path)
    assert (header["expect"] == "success") == (path.parent.name == "valid")
    try:
        found = policy.read(body, file="a.toml")
    except errors.PolicyError as error:
        assert error.code == header["expect"]
        assert error.subject == f"a.toml:{header['at']}"
        assert_presentable(error)
    else:
        assert header["expect"] == "success"
        assert [rule.line for rule in found] == [at for at, line in enumerate(body.split(b"\n"), 1) if b"[[" in line]


def assert_presentable(error: errors.PolicyError) -> None:
    """One sentence, nothing that moves a cursor, a next step."""
    shown = errors.render(error, "intent-run").split("\n")
    assert len(shown) == 3
    assert all(paths.printable(line) == line for line in shown)


def test_a_rule_says_what_its_file_says() -> None:
    (rule,) = policy.read(read_vector(VECTORS / "valid" / "deny_scope")[1], file="/etc/a\x1b.toml")
    assert (rule.place, rule.app, rule.locked) == ("/etc/a\\x1b.toml:1", "org.example.Editor", True)
    assert rule.scope is not None
    assert rule.scope.data() == {"place": "xdg-documents", "access": "write"}
    (whole,) = policy.read(read_vector(VECTORS / "valid" / "deny_kind")[1], file="a")
    assert whole.scope is None and whole.covers(policy.kinds.read("network", {"scope": "host"}))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: f"[[rule]]\n{text}".encode())))
def test_whatever_is_read_gives_rules_or_one_error(body: bytes) -> None:
    try:
        policy.read(body, file="a")
    except errors.PolicyError as error:
        assert_presentable(error)
