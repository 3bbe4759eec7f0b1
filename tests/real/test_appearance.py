"""What makes a program fit on the first day: the user's fonts, settings that last, terminals, time, certificates."""

import os
import pathlib
import shutil
import ssl
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import world
from tests.real.world import World

pytestmark = pytest.mark.real

FONT = pathlib.Path("/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf")
SETTINGS = "[Settings]\ngtk-application-prefer-dark-theme=true\n"


@pytest.fixture
def here() -> Iterator[World]:
    with world.world() as made:
        yield made


def install(here: World, *command: str, interface: str = "window", **intents: dict[str, object]) -> None:
    here.install(world.manifest(command or world.SHELL, intents, interface=interface))
    here.decide()


def put(here: World, name: str, text: str) -> pathlib.Path:
    path = here.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_users_own_fonts_are_found(here: World) -> None:
    must_work(shutil.which("fc-list"), "fontconfig")
    must_work(FONT.exists(), "the DejaVu fonts")
    install(here, "/usr/bin/fc-list")
    for place in (".fonts", ".local/share/fonts/more"):
        (here.home / place).mkdir(parents=True)
        shutil.copy(FONT, here.home / place / "own.ttf")
    said = here.says()
    assert f"{here.home}/.fonts/own.ttf: " in said
    assert f"{here.home}/.local/share/fonts/more/own.ttf: " in said


def test_the_users_settings_of_gtk_count_until_the_app_has_its_own(here: World) -> None:
    install(here)
    settings = put(here, ".config/gtk-3.0/settings.ini", SETTINGS)
    put(here, ".config/gtk-3.0/bookmarks", f"file://{here.home}/Secret")
    done = here.start("cd ~/.config/gtk-3.0; ls; cat settings.ini; echo x 2>/dev/null >>settings.ini")
    assert done.stdout.decode() == f"settings.ini\n{SETTINGS}" and done.returncode != 0
    assert settings.read_text() == SETTINGS
    here.says("cd ~/.config/gtk-3.0; rm settings.ini; echo mine >settings.ini")
    assert here.says("cat ~/.config/gtk-3.0/settings.ini") == "mine\n"


def test_a_setting_survives_a_restart(here: World) -> None:
    must_work(shutil.which("gsettings"), "gsettings")
    schema = "org.gnome.desktop.interface"
    known = subprocess.run(["gsettings", "list-schemas"], capture_output=True, text=True, check=True).stdout.split()
    must_work(schema in known, "gsettings-desktop-schemas")
    install(here, "/usr/bin/gsettings")
    before = here.says("get", schema, "clock-format")
    assert before != "'12h'\n"
    done = here.start("set", schema, "clock-format", "12h")
    assert (done.returncode, done.stderr) == (0, b"")
    assert here.says("get", schema, "clock-format") == "'12h'\n"
    assert (here.own("config") / "glib-2.0/settings/keyfile").exists()
    assert not (here.home / ".config/dconf").exists() and not (here.home / ".config/glib-2.0").exists()


def test_a_terminal_that_only_the_user_knows_is_known(here: World) -> None:
    must_work(shutil.which("tic"), "ncurses")
    install(here, interface="terminal")
    source = put(here, "rare.ti", "rare|a rare one,\n\tcols#77,\n\tbel=^G,\n")
    subprocess.run(["tic", "-o", here.home / ".terminfo", source], check=True)
    for name in ("rare", "xterm", "linux"):
        done = here.start("infocmp >/dev/null && tput cols", environ={"TERM": name})
        assert done.returncode == 0, (name, done.stderr)
    shutil.rmtree(here.home / ".terminfo")
    assert here.start("infocmp", environ={"TERM": "rare"}).returncode != 0


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/St_Johns", ""])
def test_time_and_words_are_the_users(here: World, zone: str) -> None:
    install(here)
    environ = {"TZ": zone} if zone else {}
    outside = {**os.environ, **environ}
    outside = outside if zone else {name: value for name, value in outside.items() if name != "TZ"}
    wanted = subprocess.run(["date", "+%z %Z"], env=outside, capture_output=True, text=True, check=True).stdout
    assert here.says("date '+%z %Z'", environ=environ) == wanted
    assert here.says("echo $LANG-$LC_TIME", environ={"LC_TIME": "C.UTF-8"}) == "C.UTF-8-C.UTF-8\n"


def test_certificates_are_trusted_where_servers_have_names(here: World) -> None:
    trusted = ssl.create_default_context().cert_store_stats()["x509_ca"]
    must_work(trusted, "certificates of authorities")
    count = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    names = {"kind": "dns", "scope": "any"}
    here.install(world.manifest(world.PYTHON, {"net": {"kind": "network", "scope": "host"}, "names": names}))
    here.decide("net")
    assert here.says(count) == "0\n"
    here.decide()
    assert here.says(count) == f"{trusted}\n"
