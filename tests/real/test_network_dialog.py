"""A window asks about what a running app tries: its answer is given to what waits (SPEC §8.9)."""

from collections.abc import Iterator

import pytest

from tests import control
from tests.control import APP
from tests.real import asked, desktop, networked
from tests.real.networked import fetches
from tests.real.test_network_on_use import trying

pytestmark = pytest.mark.real


@pytest.fixture
def screen() -> Iterator[desktop.Desktop]:
    with desktop.desktop("sway", "swaymsg", "wtype") as made:
        made.start_sway()
        yield made


@pytest.mark.parametrize(("keys", "state"), [(("Tab", "space", "alt+s"), "allowed"), (("alt+s",), "denied")])
def test_a_window_asks_while_the_app_waits(screen: desktop.Desktop, keys: tuple[str, ...], state: str) -> None:
    environ = {"INTENT_UI": "gtk", "WAYLAND_DISPLAY": f"{screen.place}/runtime/{screen.environ['WAYLAND_DISPLAY']}"}
    with networked.home() as home:
        home.offer({"net": home.scope("one.test"), "ask": home.scope("two.test", ask="on-use")})
        home.decide("net")
        with networked.running(home, environ=environ) as app:
            assert fetches(app, "one.test", home.port) and not screen.windows()
            with trying(app, "two.test", home.port) as fetch:
                desktop.until(lambda: asked.WINDOW in screen.windows(), "the question")
                screen.settled(asked.SEEN)
                press(screen, *keys)
                assert fetch.ends() is (state == "allowed")
            desktop.until(lambda: not screen.windows(), "its end")
            assert control.states(home)["ask"] == state
            assert fetches(app, "two.test", home.port) is (state == "allowed")
            assert control.data(home, "pending")["questions"] == []
            assert control.states(home)["net"] == "allowed"
        assert "tried two.test" in control.done(home, "uses", APP)


def press(screen: desktop.Desktop, *keys: str) -> None:
    """Press keys as the user would, once the window takes them."""
    words: list[str] = ["-s", "1500"]
    for key in keys:
        *held, last = key.split("+")
        for each in held:
            words += ["-M", each]
        words += ["-k", last, "-s", "100"]
        for each in held:
            words += ["-m", each]
    assert screen.run("/usr/bin/wtype", *words, "-s", "400").returncode == 0
