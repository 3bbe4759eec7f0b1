"""The plan codec is canonical: whatever decodes, encodes to the same bytes (SPEC §10)."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from intents import plan

ITEM = st.binary(max_size=12).map(lambda item: item.replace(b"\0", b""))
PLANS = st.fixed_dictionaries({name: st.lists(ITEM, max_size=4).map(tuple) for name in plan.SECTIONS})
EMPTY: dict[str, tuple[bytes, ...]] = dict.fromkeys(plan.SECTIONS, ())


@given(PLANS)
@example({**EMPTY, "args": (b"",)})
@example({**EMPTY, "files": (b"a\nb", b"\n")})
def test_what_is_encoded_decodes_to_the_same(sections: dict[str, tuple[bytes, ...]]) -> None:
    assert plan.decode(plan.encode(sections)) == sections


@given(PLANS, st.integers(0, 400), st.integers(0, 255), st.sampled_from(["set", "cut", "insert", "drop"]))
def test_a_mutated_plan_is_refused_or_means_itself(
    sections: dict[str, tuple[bytes, ...]], at: int, value: int, how: str
) -> None:
    data = plan.encode(sections)
    at %= len(data)
    mutated = {
        "set": data[:at] + bytes([value]) + data[at + 1 :],
        "cut": data[:at],
        "insert": data[:at] + bytes([value]) + data[at:],
        "drop": data[:at] + data[at + 1 :],
    }[how]
    found = plan.decode(mutated)
    assert found is None or plan.encode(found) == mutated


@pytest.mark.parametrize("data", [b"", b"\n", b"intent-plan/1\n", plan.encode(EMPTY)[:-1], plan.encode(EMPTY) + b"x"])
def test_fragments_are_no_plan(data: bytes) -> None:
    assert plan.decode(data) is None


def test_a_plan_larger_than_the_limit_is_no_plan() -> None:
    assert plan.decode(plan.encode({**EMPTY, "files": (b"x" * plan.LIMIT,)})) is None


def test_an_item_with_a_nul_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="NUL"):
        plan.encode({**EMPTY, "command": (b"a\0b",)})
