"""Flatpak as oracle: what it starts bubblewrap with, for the same permissions on the same machine, bounds what we do.

Every single permission and sets of real apps are given to a real `flatpak run`, imported as intents, granted in full,
and compiled; ours must be within Flatpak's but for what ``tests/oracle/allowed.py`` lists (docs/comparison.md).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conftest import must_work
from tests.oracle import allowed, cases, planted
from tests.real import world

pytestmark = pytest.mark.real

SETS = int(os.environ.get("INTENTS_ORACLE_SETS") or 300)
PATIENCE = 600  # seconds; it takes some twenty
NEEDED = ("flatpak", "bwrap", "xdg-dbus-proxy", "dbus-daemon")
SINGLES = [case.name for case in cases.singles()]


@pytest.fixture(scope="module")
def compared() -> Mapping[str, Any]:
    """All comparisons, made once: `sets` by name, `planted` by name, `version` of Flatpak."""
    for program in NEEDED:
        must_work(shutil.which(program), program)
    argv = [sys.executable, "-m", "tests.oracle", "--json", "--sets", str(SETS)]
    done = subprocess.run(argv, cwd=world.ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    return {**found, **{part: {each["name"]: each for each in found[part]} for part in ("sets", "planted")}}


@pytest.mark.parametrize("name", SINGLES)
def test_a_permission_gives_no_more_than_with_flatpak(compared: Mapping[str, Any], name: str) -> None:
    assert compared["sets"][name]["excess"] == []


def test_real_apps_get_no_more_than_with_flatpak(compared: Mapping[str, Any]) -> None:
    drawn = [each for name, each in compared["sets"].items() if name not in SINGLES]
    assert len(drawn) >= SETS
    assert {each["name"]: each["excess"] for each in drawn if each["excess"]} == {}
    # And both give something for nearly all, or there would be nothing to compare.
    assert sum(all(each["gave"]) for each in drawn) > 0.95 * len(drawn)


def test_most_permissions_give_something_with_both(compared: Mapping[str, Any]) -> None:
    gave = [compared["sets"][name]["gave"] for name in SINGLES]
    assert sum(theirs for theirs, _ in gave) > 0.8 * len(gave)
    assert sum(our for _, our in gave) > 0.6 * len(gave)


@pytest.mark.parametrize("name", planted.PLANTS)
def test_a_planted_widening_is_found(compared: Mapping[str, Any], name: str) -> None:
    found = compared["planted"][name]["excess"]
    assert [said for said in found if said.startswith(planted.PLANTS[name].found)], found


def test_every_difference_that_is_allowed_exists(compared: Mapping[str, Any]) -> None:
    used = {number for each in compared["sets"].values() for number in each["used"]}
    version = tuple(compared["version"])
    past = {at for at, entry in enumerate(allowed.ALLOWED) if entry.until and version >= entry.until}
    assert {entry.subject for at, entry in enumerate(allowed.ALLOWED) if at not in used | past} == set()


def test_what_is_allowed_is_about_no_namespace_and_no_socket_of_the_user() -> None:
    assert {entry.what for entry in allowed.ALLOWED} == {"path", "file", "variable", "bus", "call"}
    assert [entry for entry in allowed.ALLOWED if "XDG_RUNTIME_DIR" in entry.subject] == []
    assert all(entry.because.endswith(".") for entry in allowed.ALLOWED)
