"""intent-ctl reach of an app with a network by name: what is granted is there, and nothing of what would be asked."""

from collections.abc import Iterator

import pytest

from broker import promises
from tests import control
from tests.control import APP
from tests.real import networked

pytestmark = pytest.mark.real


@pytest.fixture
def home() -> Iterator[networked.Home]:
    with networked.home() as made:
        intents = {"net": made.scope("one.test", "*.deep.test"), "ask": made.scope("two.test", ask="on-use")}
        made.offer(intents)
        yield made


def rows(home: networked.Home, status: int = 0) -> dict[str, dict[str, object]]:
    found = control.data(home, "reach", APP, status=status)["rows"]
    assert isinstance(found, list)
    return {row["row"]: row for row in found}


def test_what_is_granted_is_there_and_nothing_is_asked(home: networked.Home) -> None:
    assert not {name for name in rows(home) if name.startswith(("name-", "server-"))}
    home.decide("net")
    found = rows(home)
    server = f"server-one.test:{home.port}"
    assert {name for name in found if name.startswith(("name-", "server-"))} == {"name-one.test", server}
    assert found[server]["found"] is found["name-one.test"]["found"] is True
    assert found["route"]["found"] is found["loopback"]["found"] is False and found["interfaces"]["found"] == ["lo"]
    assert control.data(home, "pending")["questions"] == []


def test_a_name_that_is_not_there_is_a_difference(home: networked.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.decide("net")
    planted = ("x", "network", "look up no.test", ("resolves", "no.test"), True)
    monkeypatch.setattr(promises, "_servers", lambda case: [case.fixed(*planted)])
    assert rows(home, status=1)["x"]["agrees"] is False
