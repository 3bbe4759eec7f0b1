"""Files an app was not given: planted links, exchanged directories, the broker's own places. Each also unprotected."""

import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.real import world

pytestmark = pytest.mark.real

SHELL = "org.example.Shell"
# An executor that goes by names instead of walking without following links.
FOLLOW = """
from broker import launch
import os
launch.walk = lambda path, make=False: os.open(path, os.O_PATH | os.O_CLOEXEC)
"""


def access(place: str, how: str = "write") -> dict[str, object]:
    return {"kind": "path", "place": place, "access": how}


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        for name in ("Documents", "secret"):
            (made.home / name).mkdir()
            (made.home / name / "file").write_text(f"this is {name}")
        yield made


def granted(here: world.World, **intents: dict[str, object]) -> None:
    here.install(world.manifest(world.SHELL, intents))
    here.decide()


def untouched(directory: pathlib.Path) -> bool:
    return [entry.name for entry in directory.iterdir()] == ["file"]


def test_only_what_is_granted_is_there(here: world.World) -> None:
    granted(here, docs=access("home/Documents", "read"))
    assert here.says("ls -A ~").split() == [".cache", ".config", ".local", "Documents"]
    assert here.says("cat ~/Documents/file; echo x 2>/dev/null >~/Documents/file || echo no") == "this is Documentsno\n"
    everywhere = "find / -path /usr -prune -o -path /proc -prune -o -path /dev -prune -o -type f -print 2>/dev/null"
    found = here.says(f"{everywhere} | grep -v ^/etc")
    assert found == f"{here.home}/Documents/file\n"


@pytest.mark.parametrize("place", ["home/--ro-bind", "home/a=b", "home/b0", "home/-x/--", "home/a b"])
def test_a_place_is_never_an_option(here: world.World, place: str) -> None:
    directory = here.home / place.removeprefix("home/")
    directory.mkdir(parents=True)
    (directory / "file").write_text("shown")
    granted(here, odd=access(place))
    assert here.says(f"cat './{place.removeprefix('home/')}/file'") == "shown"


def test_a_granted_place_that_became_a_link_is_asked_again(here: world.World) -> None:
    granted(here, docs=access("home/Documents"))
    assert here.says("cat ~/Documents/file") == "this is Documents"
    assert here.says("cat ~/Documents/file") == "this is Documents"  # by the stored plan
    (here.home / "Documents").rename(here.home / "old")
    (here.home / "Documents").symlink_to("secret")
    done = here.start("cat ~/Documents/file ~/secret/file")
    assert done.stdout == b""
    assert b"starts without docs" in done.stderr
    removed = "from intents import diff\ndiff._moved = lambda decision, objects: ()"
    assert here.start("cat ~/Documents/file", removed=removed).stdout == b"this is secret"


SWAP = """
from broker import launch
import os
start = launch.execute
def execute(*words, **named):
    os.rename({old!r}, {old!r} + ".old")
    os.symlink({new!r}, {old!r})
    return start(*words, **named)
launch.execute = execute
"""


@pytest.mark.parametrize("swapped", ["Documents", "Documents/deep"])
def test_cve_2026_34078_a_directory_exchanged_before_launch_is_refused(here: world.World, swapped: str) -> None:
    for top in ("Documents", "secret"):
        (here.home / top / "deep" / "est").mkdir(parents=True)
        (here.home / top / "deep" / "est" / "file").write_text(f"this is {top}")
    granted(here, docs=access("home/Documents/deep/est"))
    old, new = here.home / swapped, here.home / swapped.replace("Documents", "secret")
    swap = SWAP.format(old=str(old), new=str(new))
    refused = here.start("cat ~/Documents/deep/est/file", removed=swap)
    assert (refused.returncode, refused.stdout) == (125, b"")
    assert b"[path-changed]" in refused.stderr
    old.unlink()
    old.with_name(f"{old.name}.old").rename(old)
    assert here.start("cat ~/Documents/deep/est/file", removed=FOLLOW + swap).stdout == b"this is secret"


@pytest.mark.parametrize("name", ["config", "data"])
def test_ghsa_8688_9x26_hhxj_an_own_directory_replaced_by_a_link_leads_nowhere(here: world.World, name: str) -> None:
    granted(here)
    assert here.says("true") == ""
    own = here.own(name)
    inside = {"config": ".config", "data": ".local/share"}[name]
    for target in (str(here.home / "secret"), "../" * 5 + "secret"):
        own.rmdir() if not own.is_symlink() else own.unlink()
        own.symlink_to(target)
        refused = here.start(f"echo x >~/{inside}/planted; cat ~/{inside}/file")
        assert (refused.returncode, refused.stdout) == (125, b"")
        assert b"[path-changed]" in refused.stderr
        assert untouched(here.home / "secret")
    assert here.start(f"cat ~/{inside}/file", removed=FOLLOW).stdout == b"this is secret"


def test_cve_2026_87766_and_ghsa_99wv_m8rp_g58x_planted_links_change_nothing_on_the_host(here: world.World) -> None:
    """CVE-2026-87766: bubblewrap before 0.12 makes mount points through links, which it resolves on the host."""
    granted(here, docs=access("home/Documents"), deep=access("xdg-config/kde/globals", "create"))
    secret = here.home / "secret"
    plant = f"""
        for top in ~/.config ~/.local/share ~/.local/state ~/.cache ~/Documents; do
            rm -rf $top/kde $top/evil
            ln -s /oldroot{secret} $top/evil
            ln -s {secret} $top/kde
            ln -s ../../../../../../../secret $top/relative
        done"""
    here.says(plant)
    for script in ("true", plant, "ls -R ~ >/dev/null"):
        here.start(script)
        assert untouched(secret)
    # The link to a grant below ~/.config is made by us, in the app's own directory: by name, it would go astray.
    removed = """
from broker import launch
import os
def link(directory, below, target):
    os.makedirs(os.path.dirname(directory + b"/" + below), exist_ok=True)
    os.symlink(target, directory + b"/" + below)
launch.link = link
"""
    here.start("true", removed=removed)
    assert not untouched(secret)


def test_the_attack_on_mount_points_works_where_they_lie_below_writable_directories(here: world.World) -> None:
    """What the layout of mounts avoids: the same links, and a sandbox with a mount point below a writable bind."""
    documents, secret = here.home / "Documents", here.home / "secret"
    (documents / "evil").symlink_to(f"/oldroot{secret}")
    said = subprocess.run(["bwrap", "--version"], capture_output=True, check=True).stdout.decode()
    argv = ["bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--bind", str(documents), "/d"]
    subprocess.run([*argv, "--tmpfs", "/d/evil/planted", "/usr/bin/true"], capture_output=True, check=False)
    version = tuple(int(number) for number in re.findall(r"\d+", said)[:2])
    assert untouched(secret) == (version >= (0, 12))


def test_a_grant_below_config_is_reached_by_its_usual_name(here: world.World) -> None:
    (here.home / ".config" / "kdeglobals").write_text("colours")
    granted(here, kde=access("xdg-config/kdeglobals", "read"))
    assert here.says("cat ~/.config/kdeglobals") == "colours"
    assert here.says("readlink ~/.config/kdeglobals") == f"{here.home}/.granted/.config/kdeglobals\n"
    assert here.says("echo x 2>/dev/null >~/.config/kdeglobals || echo no") == "no\n"
    # What the app keeps under that name itself stays its own, and the host's stays the host's.
    here.says("rm ~/.config/kdeglobals; echo mine >~/.config/kdeglobals")
    assert here.says("cat ~/.config/kdeglobals ~/.granted/.config/kdeglobals") == "mine\ncolours"
    assert (here.home / ".config" / "kdeglobals").read_text() == "colours"


RESERVED = "find / -path /usr -prune -o -path /proc -prune -o -name canary -print 2>/dev/null; true"


def canaries(here: world.World) -> list[pathlib.Path]:
    """A file in each place of the broker."""
    found = [pathlib.Path(place, "canary") for place in (here.places.state, here.places.data, here.places.config)]
    found += [pathlib.Path(here.places.data, "manifests", "canary"), pathlib.Path(here.places.runtime, "canary")]
    for path in found:
        path.write_text("reserved")
        path.chmod(0o600)
    return found


@pytest.mark.parametrize("how", ["read", "write"])
def test_firejail_7154_the_brokers_places_are_nowhere_under_a_grant_of_the_home(here: world.World, how: str) -> None:
    planted = canaries(here)
    granted(here, all=access("home", how))
    assert here.says("cat ~/Documents/file") == "this is Documents"
    assert here.says(RESERVED) == ""
    tricks = """
        mv ~/.local ~/moved; mkdir -p ~/.local/state/intents ~/.local/share/intents/manifests ~/.config/intents
        echo x >~/.local/state/intents/broker.db; ln -s ~/.local/state ~/Documents/state; rm -rf ~/.local
        mv ~/Documents ~/.local/share/intents; mv ~/.config ~/elsewhere; true"""
    before = sorted(os.listdir(here.places.data)), sorted(os.listdir(f"{here.places.data}/manifests"))
    here.start(tricks)
    assert before == (sorted(os.listdir(here.places.data)), sorted(os.listdir(f"{here.places.data}/manifests")))
    assert [path.read_text() for path in planted] == ["reserved"] * len(planted)
    assert here.says(RESERVED) == ""
    removed = """
from intents import sandbox
from intents.kinds import path
whole = lambda self, fact, host, because: (sandbox.Bind(source=fact.real, dest="/mnt", because=because),)
path.Path._children = whole
"""
    assert "/mnt/.local/state/intents/canary" in here.says(RESERVED, removed=removed)


@pytest.mark.parametrize("how", ["read", "write"])
@pytest.mark.parametrize("place", ["home/.local", "home/.local/state", "home/.config/intents", "above", "link"])
def test_no_place_that_holds_the_brokers_files_is_given(here: world.World, place: str, how: str) -> None:
    canaries(here)
    (here.home / "link").symlink_to(".local/state/intents")
    named = {"above": str(here.base), "link": "home/link"}.get(place, place)
    granted(here, it=access(named, how))
    done = here.start(RESERVED)
    assert (done.returncode, done.stdout) == (0, b"")
    # What lies above the home may be read; the home in it is the sandbox's own, and other places are masked.
    assert (b"`it` is granted but not given" in done.stderr) == ((place, how) != ("above", "read"))
    if how == "read":  # a writable one above the home would not even compile
        removed = "from intents.kinds import path\npath.refuse_path = path._masked = lambda *_, **__: ()"
        assert "canary" in here.says(RESERVED, removed=removed)


def test_a_users_directory_that_leads_to_the_brokers_is_refused(here: world.World) -> None:
    canaries(here)
    config = here.home / ".config" / "user-dirs.dirs"
    config.write_text('XDG_DOCUMENTS_DIR="$HOME/.local/share/intents"\n')
    granted(here, docs=access("xdg-documents", "read"))
    done = here.start(RESERVED)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"belongs to intents itself" in done.stderr


def test_names_that_are_no_text_do_not_stop_a_launch(here: world.World) -> None:
    os.mkdir(os.fsencode(here.home) + b"/\xff\n\xfe")
    granted(here, all=access("home", "read"))
    assert "\\377" in here.says("ls -b ~")


def test_the_broker_keeps_running_beside_what_it_made_before(here: world.World) -> None:
    """`create` makes the directory once, below the home and with mode 0700; a link in its place is not followed."""
    granted(here, new=access("home/New/er", "create"))
    here.says("echo x >~/New/er/file")
    assert (here.home / "New" / "er" / "file").read_text() == "x\n"
    assert (here.home / "New" / "er").stat().st_mode & 0o777 == 0o700
    shutil.rmtree(here.home / "New")
    (here.home / "New").symlink_to("secret")
    assert b"starts without new" in here.start("echo x >~/New/er/file").stderr
    assert untouched(here.home / "secret")
