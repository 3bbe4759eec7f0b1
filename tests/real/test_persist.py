"""Directories in the home that are the app's own: kept, private, and no way to the user's (SPEC §5.6)."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.real import world

pytestmark = pytest.mark.real

FOLLOW = """
from broker import launch
import os
launch.walk = lambda path, make=False: os.open(path, os.O_PATH | os.O_CLOEXEC)
"""
GAMES: dict[str, object] = {"kind": "persist", "names": ["games", ".zoo"]}


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        for name in ("games", "secret"):
            (made.home / name).mkdir()
            (made.home / name / "file").write_text(f"this is {name}")
        yield made


def granted(here: world.World, **intents: dict[str, object]) -> None:
    here.install(world.manifest(world.SHELL, intents))
    here.decide()


def test_what_is_kept_is_there_the_next_time_and_is_not_the_users(here: world.World) -> None:
    here.install(world.manifest(world.SHELL, {"keep": GAMES}))
    save = "mkdir -p ~/games ~/.zoo; echo saved >~/games/mine; echo cat >~/.zoo/animal"
    look = "cat ~/games/mine ~/.zoo/animal; ls -A ~/games"
    here.says(save)
    assert here.start(look).stdout == b""
    here.decide()
    here.says(save)
    assert here.says(look) == "saved\ncat\nmine\n"
    assert [entry.name for entry in (here.home / "games").iterdir()] == ["file"]
    assert not (here.home / ".zoo").exists()
    stored = here.own("persist")
    assert (stored / "games" / "mine").read_text() == "saved\n"
    assert {path.stat().st_mode & 0o777 for path in (stored, stored / "games", stored / ".zoo")} == {0o700}


@pytest.mark.parametrize("component", ["", "persist", "persist/games"])
def test_cve_2024_42472_a_link_at_any_component_leads_nowhere(here: world.World, component: str) -> None:
    """CVE-2024-42472: a kept directory that the app exchanged for a link."""
    granted(here, keep=GAMES)
    here.says("true")
    own = here.own("persist").parent
    for name in ("games", ".zoo"):
        (here.home / "secret" / "persist" / name).mkdir(parents=True)
    place = own / component if component else own
    kept = {"": "persist/games", "persist": "games", "persist/games": ""}[component]
    target = {"": "secret", "persist": "secret/persist", "persist/games": "secret/persist/games"}[component]
    canary = here.home / target / kept / "canary"
    canary.parent.mkdir(parents=True, exist_ok=True)
    canary.write_text("host")
    place.rename(f"{place}.away")
    above = len(place.parent.relative_to(here.home).parts)
    for link in (str(here.home / target), "../" * above + target):
        place.symlink_to(link)
        refused = here.start("echo x >~/games/planted; cat ~/games/canary")
        assert (refused.returncode, refused.stdout) == (125, b"")
        assert b"[path-changed]" in refused.stderr
        assert not (canary.parent / "planted").exists()
        if component:  # with the app's whole directory elsewhere, its other parts are not there
            assert here.start("cat ~/games/canary", removed=FOLLOW).stdout == b"host"
        place.unlink()


def test_what_the_app_plants_in_it_changes_nothing_on_the_host(here: world.World) -> None:
    granted(here, keep=GAMES)
    secret = here.home / "secret"
    plant = f"""
        rm -rf ~/games/* ~/.zoo; rmdir ~/games; mv ~/games ~/elsewhere
        ln -s {secret} ~/games; ln -s {secret} ~/games/link; ln -s ../../../../../../../secret ~/games/relative
        ln -s /oldroot{secret} ~/games/evil; chmod 000 ~/games 2>/dev/null; true"""
    for script in (plant, "ls -la ~/games", plant, "true"):
        here.start(script)
        assert [entry.name for entry in secret.iterdir()] == ["file"]
    assert (here.home / "games" / "file").read_text() == "this is games"


@pytest.mark.parametrize("place", ["{home}/games", "{home}/games/deep", "{home}/link"])
def test_what_may_be_the_users_is_never_the_apps_own(here: world.World, place: str) -> None:
    """A path in other words is found on the machine, and it does not matter which of the two is granted."""
    (here.home / "games" / "deep").mkdir()
    (here.home / "link").symlink_to(here.home / "games")
    docs: dict[str, object] = {"kind": "path", "place": place.format(home=here.home), "access": "read"}
    here.install(world.manifest(world.SHELL, {"keep": GAMES, "docs": docs}))
    for names in (["keep"], ["docs"]):
        here.decide(*names)
        done = here.start("ls -A ~/games; echo x >~/games/planted")
        assert b"planted" not in done.stdout
        assert b"cannot be the app's own" in done.stderr
        assert not (here.home / "games" / "planted").exists()
    assert not pathlib.Path(here.own("config").parent / "persist").exists()
