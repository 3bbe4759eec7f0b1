"""``intent-ctl who``: every app that has a kind of permission, and none that has not."""

import pathlib
import shutil
from collections.abc import Iterator

import pytest

from tests import control
from tests.control import APP, NOTES
from tests.real import world

OTHER = "org.example.Other"


@pytest.fixture
def home() -> Iterator[world.World]:
    """A world with two apps: one asks for the network and a directory, the other for two directories."""
    with control.home() as made:
        text = world.manifest(["/bin/true"], {"notes": NOTES, "more": {**NOTES, "place": "home/More"}}, app_id=OTHER)
        made.install(text)
        yield made


def told(home: world.World, *words: str) -> dict[tuple[str, str], str]:
    rows = control.data(home, "who", *words)["apps"]
    assert isinstance(rows, list)
    return {(row["app"], row["intent"]): row["state"] for row in rows}


def test_who_has_a_kind(home: world.World) -> None:
    control.done(home, "grant", APP, "notes")
    control.done(home, "revoke", OTHER, "notes")
    assert told(home, "path") == {(APP, "notes"): "allowed", (OTHER, "notes"): "denied", (OTHER, "more"): "open"}
    assert told(home, "network") == {(APP, "net"): "open"}
    assert told(home, "camera") == {}
    out = control.done(home, "who", "path")
    assert f"{APP}  notes  allowed always  normal risk\n    path access=read place=home/Notes\n" in out
    assert out.index(APP) < out.index(OTHER), "those that have it come first"


def test_an_intent_is_found_by_its_id(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "--for", "2h")
    assert told(home, "net") == {(APP, "net"): "allowed"}
    assert "net  allowed until " in control.done(home, "who", "net")
    assert control.code(home, "who", "nothing") == "unknown-intent"


def test_all_of_the_catalogs(home: world.World) -> None:
    assert told(home, "network") == {}
    found = told(home, "network", "--all")
    assert (APP, "net") in found and len(found) > 1
    pathlib.Path(home.places.data, "manifests", "org.example.Broken.toml").write_text("spec = 2\n")
    assert told(home, "network", "--all") == found


def test_kinds_are_counted(home: world.World) -> None:
    assert control.done(home, "who") == "Nothing is decided yet.\n"
    control.done(home, "grant", OTHER, "notes")
    control.done(home, "revoke", APP)
    assert control.data(home, "who")["kinds"] == [
        {"kind": "network", "allowed": 0, "partly": 0, "denied": 1, "open": 0},
        {"kind": "path", "allowed": 1, "partly": 0, "denied": 1, "open": 1},
    ]
    assert control.done(home, "who") == "network  denied: 1\npath  allowed: 1  denied: 1  open: 1\n"


def test_an_app_that_is_gone_still_has_what_it_has(home: world.World) -> None:
    control.done(home, "grant", APP, "net", "notes")
    control.done(home, "revoke", APP, "notes")
    shutil.rmtree(f"{home.places.data}/manifests")
    assert told(home, "network") == {(APP, "net"): "allowed"}
    assert told(home, "path") == {(APP, "notes"): "denied"}
