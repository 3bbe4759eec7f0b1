"""The Debian package: what is in it, and that its commands run from where it puts them."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import intents
from tests.conftest import must_work

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The package, built and taken apart below ``root``; its scripts in ``root/DEBIAN``."""
    must_work(shutil.which("dpkg-deb"), "dpkg-deb")
    made = tmp_path_factory.mktemp("package")
    environ = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([ROOT / ".ci" / "package", made], env=environ, check=True, stdout=subprocess.DEVNULL)
    (deb,) = made.glob("*.deb")
    assert deb.name == f"intent-run_{intents.VERSION}_all.deb"
    subprocess.run(["dpkg-deb", "-R", deb, made / "root"], check=True)
    return made / "root"


def test_everything_that_runs_is_in_it_and_nothing_else(unpacked: pathlib.Path) -> None:
    library = unpacked / "usr" / "lib" / "intents"
    ours = {str(path.relative_to(ROOT)) for top in ("intents", "broker") for path in (ROOT / top).rglob("*.py")}
    ours |= {str(path.relative_to(ROOT)) for path in (ROOT / "broker" / "locale").rglob("*.mo")}
    assert {str(path.relative_to(library)) for path in library.rglob("*") if path.is_file()} == ours
    there = {path.name for path in (unpacked / "usr" / "share" / "intents" / "manifests").iterdir()}
    assert there == {path.name for path in (ROOT / "manifests").iterdir()}
    assert not [path for path in unpacked.rglob("*") if path.is_file() and path.stat().st_mode & 0o022]


def test_its_commands_start_bare_and_run(unpacked: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("intent-run", "intent-ctl", "intent-author"):
        script = (unpacked / "usr" / "bin" / name).read_text()
        assert script.startswith("#!/usr/bin/python3 -ISXutf8\n")
        moved = tmp_path / name
        libraries = [path for path in sys.path if path.endswith("-packages")]
        moved.write_text(
            script.replace("/usr/lib/intents", str(unpacked / "usr" / "lib" / "intents")).replace(
                '"/usr/lib/python3/dist-packages"', ", ".join(map(repr, libraries))
            )
        )
        moved.chmod(0o755)
        done = subprocess.run([moved, "--help"], capture_output=True, text=True, check=True, cwd="/")
        assert done.stdout.startswith(f"usage: {name}")


def test_its_scripts_are_shell_and_name_what_it_needs(unpacked: pathlib.Path) -> None:
    for name in ("postinst", "prerm"):
        subprocess.run(["sh", "-n", unpacked / "DEBIAN" / name], check=True)
    control = (unpacked / "DEBIAN" / "control").read_text()
    for needed in ("bubblewrap", "xdg-dbus-proxy", "python3-cryptography", "python3-tomlkit", "python3-prompt-toolkit"):
        assert needed in control
