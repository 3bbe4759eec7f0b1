"""Removing what an app kept: all of it, whatever it planted there, and nothing else."""

import os
import pathlib

import pytest

from broker import removal, state
from tests import scene

APP = "org.example.App"
LINEAGE = "0123456789abcdef"


@pytest.fixture
def places(tmp_path: pathlib.Path) -> state.Places:
    """Reserved places below a directory of the test."""
    found = scene.below(tmp_path)
    state.ensure(found)
    return found


def own(places: state.Places, name: str = f"{APP}-{LINEAGE}") -> pathlib.Path:
    """A directory below ``apps``, with a file in it."""
    made = pathlib.Path(places.data, "apps", name)
    (made / "config").mkdir(parents=True)
    (made / "config" / "settings").write_text("mine")
    return made


def left(places: state.Places) -> list[str]:
    """What there is below ``apps``."""
    return sorted(os.listdir(f"{places.data}/apps"))


def deep(directory: pathlib.Path, levels: int) -> None:
    """Directories within one another, further down than a path can say or a process hold open."""
    here = os.open(directory, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_all_lineages_go_and_no_other_app(places: state.Places) -> None:
    for name in (f"{APP}-{LINEAGE}", f"{APP}-{'f' * 16}"):
        own(places, name)
    others = [
        f"{APP}-{'a' * 16}-{LINEAGE}",  # the id of another app may end like a lineage
        f"{APP}-{LINEAGE}0",
        f"{APP}.Beta-{LINEAGE}",
        f"org.exampleXApp-{LINEAGE}",
        f"x{APP}-{LINEAGE}",
        f"{APP}-{LINEAGE.upper()}",
    ]
    for name in others:
        own(places, name)
    removed = removal.remove(places, APP)
    assert [os.path.basename(path) for path in removed] == sorted([f"{APP}-{LINEAGE}", f"{APP}-{'f' * 16}"])
    assert left(places) == sorted(others)
    assert removal.remove(places, APP) == ()


def test_cve_2026_34079_no_link_is_followed(places: state.Places, tmp_path: pathlib.Path) -> None:
    canary = tmp_path / "canary"
    (canary / "inside").mkdir(parents=True)
    (canary / "file").touch()
    canary.chmod(0o750)
    before = sorted(os.listdir(canary)), canary.stat().st_mode
    made = own(places)
    (made / "data").symlink_to(canary)
    (made / "config" / "nested").symlink_to(canary / "inside")
    (made / "config" / "up").symlink_to("../../../..")
    (made / "config" / "self").symlink_to(".")
    own(places, "elsewhere").rename(made / "state")
    (pathlib.Path(places.data, "apps") / f"{APP}-{'e' * 16}").symlink_to(canary)
    removal.remove(places, APP)
    assert left(places) == []
    assert (sorted(os.listdir(canary)), canary.stat().st_mode) == before


def test_no_depth_is_too_deep(places: state.Places) -> None:
    made = own(places)
    deep(made, 5000)
    removal.remove(places, APP)
    assert left(places) == []


def test_no_mode_and_no_name_is_in_the_way(places: state.Places) -> None:
    made = own(places)
    for name in ("1", "0", "-rf", "\n", "\udcff", "config2"):
        (made / name / "1").mkdir(parents=True)
        (made / name / "1" / "2").touch()
        (made / name / "1").chmod(0)
        (made / name).chmod(0)
    os.mkfifo(made / "config" / "pipe")
    (made / "config" / "settings").chmod(0)
    made.chmod(0)
    removal.remove(places, APP)
    assert left(places) == []


def test_what_was_interrupted_goes_with_the_next(places: state.Places, monkeypatch: pytest.MonkeyPatch) -> None:
    made = own(places)
    deep(made, 20)
    real, calls = os.rmdir, []

    def stops(path: str, *, dir_fd: int | None = None) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(5, "Input/output error")
        real(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", stops)
    with pytest.raises(Exception, match="cannot be removed: Input/output error") as caught:
        removal.remove(places, APP)
    assert getattr(caught.value, "code", "") == "unwritable-place"
    assert left(places) == [f".removed-{APP}"], "nothing half removed is left where the app would find it"
    own(places)
    removal.remove(places, APP)
    assert left(places) == []


def test_a_link_in_place_of_all_of_it_is_refused(places: state.Places, tmp_path: pathlib.Path) -> None:
    victim = tmp_path / "victim" / f"{APP}-{LINEAGE}"
    victim.mkdir(parents=True)
    os.rmdir(f"{places.data}/apps")
    os.symlink(victim.parent, f"{places.data}/apps")
    with pytest.raises(Exception, match="is not a directory, or is a link"):
        removal.remove(places, APP)
    assert victim.is_dir()


def test_what_is_too_deep_to_count_stops_no_counting(places: state.Places) -> None:
    made = own(places)
    deep(made, 3000)
    assert removal.measure(places, APP) == ((str(made), 1, 4),)
    removal.remove(places, APP)
    assert left(places) == []
