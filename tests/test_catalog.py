"""Catalogs: which file a name means, and whose files count (SPEC §6.4)."""

import os
import pathlib
from collections.abc import Callable

import pytest

from broker import catalog, state
from intents import errors

MANIFEST = """spec = 1
[app]
id = "{id}"
name = "App"
version = "{version}"
serial = 1
command = ["{program}"]
interface = "{interface}"
aliases = ["calc"]
"""


def text(app_id: str, *, version: str = "1", interface: str = "terminal", program: str = "/usr/bin/env") -> str:
    return MANIFEST.format(id=app_id, version=version, interface=interface, program=program)


@pytest.fixture
def places(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> state.Places:
    """Three catalogs below a temporary directory; the package's stands in for a checkout, so no owner is asked for."""
    for name in ("admin", "package", "data/manifests"):
        (tmp_path / name).mkdir(parents=True, mode=0o755)
    kept = state.Places(
        home=str(tmp_path), state=str(tmp_path / "state"), data=str(tmp_path / "data"), config="", runtime=""
    )
    three = (
        catalog.Catalog(directory=str(tmp_path / "admin"), vouched=True),
        catalog.Catalog(directory=str(tmp_path / "package"), vouched=True),
        catalog.Catalog(directory=str(tmp_path / "data/manifests"), vouched=False),
    )
    monkeypatch.setattr(catalog, "catalogs", lambda _places: three)
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "data"))
    return kept


@pytest.fixture
def put(tmp_path: pathlib.Path) -> Callable[[str, str], pathlib.Path]:
    def write(where: str, content: str) -> pathlib.Path:
        path = tmp_path / where
        path.write_text(content)
        path.chmod(0o644)
        return path

    return write


Put = Callable[[str, str], pathlib.Path]


def test_the_first_catalog_that_has_an_id_decides(places: state.Places, put: Put) -> None:
    put("data/manifests/org.example.App.toml", text("org.example.App", version="user"))
    assert not catalog.find("org.example.App", places)[0].vouched
    put("package/org.example.App.toml", text("org.example.App", version="package"))
    assert b"package" in catalog.find("org.example.App", places)[0].body
    put("admin/org.example.App.toml", text("org.example.App", version="admin"))
    assert b"admin" in catalog.find("org.example.App", places)[0].body
    assert len(list(catalog.everything(places))) == 1


def test_a_users_file_claims_no_alias(places: state.Places, put: Put) -> None:
    put("data/manifests/org.example.App.toml", text("org.example.App"))
    with pytest.raises(errors.CatalogError) as unknown:
        catalog.find("calc", places)
    assert unknown.value.code == "manifest-not-found"
    put("package/org.example.Other.toml", text("org.example.Other"))
    assert [found.path.rpartition("/")[2] for found in catalog.find("calc", places)] == ["org.example.Other.toml"]


@pytest.mark.parametrize(
    ("typed", "wayland", "chosen"),
    [(True, True, "Window"), (True, False, "Typed"), (False, True, "Typed"), (False, False, "Typed")],
)
def test_an_alias_means_what_suits(places: state.Places, put: Put, typed: bool, wayland: bool, chosen: str) -> None:
    put("package/org.example.Typed.toml", text("org.example.Typed"))
    put("package/org.example.Window.toml", text("org.example.Window", interface="window"))
    put("package/org.example.Absent.toml", text("org.example.Absent", program="/usr/bin/not-there"))
    found = catalog.choose(catalog.find("calc", places), typed=typed, wayland=wayland)
    assert chosen in found.path


def test_an_absent_window_leaves_the_terminal_program(places: state.Places, put: Put) -> None:
    put("package/org.example.Typed.toml", text("org.example.Typed"))
    put("package/org.example.Window.toml", text("org.example.Window", interface="window", program="/usr/bin/not-there"))
    assert "Typed" in catalog.choose(catalog.find("calc", places), typed=True, wayland=True).path


@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_cve_2017_9780_a_file_that_others_can_write_is_refused(places: state.Places, put: Put, mode: int) -> None:
    put("data/manifests/org.example.App.toml", text("org.example.App")).chmod(mode)
    with pytest.raises(errors.CatalogError) as unsafe:
        catalog.find("org.example.App", places)
    assert unsafe.value.code == "unsafe-catalog"


def test_a_directory_that_others_can_write_is_refused(places: state.Places, put: Put, tmp_path: pathlib.Path) -> None:
    put("data/manifests/org.example.App.toml", text("org.example.App"))
    (tmp_path / "data/manifests").chmod(0o777)
    with pytest.raises(errors.CatalogError) as unsafe:
        catalog.find("org.example.App", places)
    assert unsafe.value.code == "unsafe-catalog"


def test_a_foreign_file_is_refused(places: state.Places, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in ("package", "data/manifests"):
        found = put(f"{where}/org.example.App.toml", text("org.example.App"))
        if os.geteuid() == 0:
            os.chown(found, 1, 1)
        else:  # whoever cannot give a file away is somebody else instead
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
            monkeypatch.setattr(catalog, "__file__", "/usr")
        with pytest.raises(errors.CatalogError) as unsafe:
            catalog.find("org.example.App", places)
        assert unsafe.value.code == "unsafe-catalog"
        found.unlink()


def test_what_everybody_can_write_in_a_checkout_is_refused(
    places: state.Places, put: Put, tmp_path: pathlib.Path
) -> None:
    found = put("package/org.example.App.toml", text("org.example.App"))
    for path, mode in ((found, 0o664), (tmp_path / "package", 0o775)):
        path.chmod(mode)  # a group that shares the manifests shares the program as well
        assert catalog.find("org.example.App", places)[0].vouched
        path.chmod(mode | 0o002)
        with pytest.raises(errors.CatalogError) as unsafe:
            catalog.find("org.example.App", places)
        assert unsafe.value.code == "unsafe-catalog"
        path.chmod(mode)


def test_what_the_user_has_is_in_no_aliass_way(places: state.Places, put: Put, tmp_path: pathlib.Path) -> None:
    put("package/org.example.App.toml", text("org.example.App"))
    for name in ("directory", "pipe"):
        unusable = tmp_path / "data" / "manifests" / f"org.example.{name}.toml"
        unusable.mkdir() if name == "directory" else os.mkfifo(unusable)
        assert len(catalog.find("calc", places)) == 1
        with pytest.raises(errors.CatalogError) as unreadable:
            catalog.find(f"org.example.{name}", places)
        assert unreadable.value.code == "unreadable"


def test_ghsa_qrwq_7qwx_q9rp_a_pipe_is_not_waited_for(places: state.Places, tmp_path: pathlib.Path) -> None:
    os.mkfifo(tmp_path / "data/manifests/org.example.App.toml", 0o644)
    with pytest.raises(errors.CatalogError) as unreadable:
        catalog.find("org.example.App", places)
    assert unreadable.value.code == "unreadable"


@pytest.mark.parametrize("name", ["..", "../x", "/nowhere/x.toml", "x.toml", "", "a\x1b[2J", "x" * 5000])
def test_no_name_finds_anything_else(places: state.Places, name: str) -> None:
    with pytest.raises(errors.CatalogError) as unknown:
        catalog.find(name, places)
    assert unknown.value.code in ("manifest-not-found", "unreadable")
    assert "\x1b" not in errors.render(unknown.value, "intent-run")


def test_a_catalogs_file_is_named_after_its_id(places: state.Places, put: Put) -> None:
    put("package/org.example.App.toml", text("org.example.Other"))
    (found,) = catalog.find("org.example.App", places)
    with pytest.raises(errors.CatalogError) as misnamed:
        catalog.check_id(found, catalog.manifest(found))
    assert misnamed.value.code == "unsafe-catalog"
