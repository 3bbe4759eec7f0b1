"""The example of docs/services.md, as it stands there: its manifest, its units, its other ways (SPEC §5.9)."""

import configparser
import os
import pathlib
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import must_work
from tests.real import peers, reached, world

pytestmark = pytest.mark.real

PAGE = (world.ROOT / "docs" / "services.md").read_text()
APP = "org.example.Music"
DOOR = """
import os, socket
path = os.path.expanduser("~/music-door/web.sock")
with socket.socket(socket.AF_UNIX) as made:
    made.bind(path)
    made.listen()
    for _ in range(2):
        taken, _ = made.accept()
        taken.recv(1000)
        taken.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
        taken.close()
"""


def example(name: str) -> str:
    """The block that the page calls so."""
    found = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, name
    return found[1]


@pytest.fixture
def home() -> Iterator[world.World]:
    with world.world() as made:
        music = made.base / "music"
        music.mkdir()
        (music / "song").write_text("la la la")
        yield made


def manifest(home: world.World, port: int, side: str) -> str:
    """The page's, at a port and a place of the test's."""
    text = example("manifest").replace("/srv/music", str(home.base / "music")).replace("4533", str(port))
    return text.replace(f"port = {port}\n", f"port = {port}\n{side}\n")


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(example(name))
    return found


def give(home: world.World, text: str) -> None:
    home.install(text)
    home.decide(app_id=APP)


def test_the_service_serves_and_systemd_is_not_asked_for_more(home: world.World) -> None:
    words = shlex.split(unit("service")["Service"]["ExecStart"])
    assert words == ["/usr/bin/intent-run", APP]
    port = reached.free_port()
    give(home, manifest(home, port, ""))
    with reached.started(home, home.argv(APP), cwd=home.base / "music"):
        assert reached.reached(home, ("127.0.0.1", port), b"GET /song HTTP/1.0\r\n\r\n").endswith(b"la la la")


def test_a_socket_of_systemd_is_served_by_the_same_program(home: world.World) -> None:
    socket_unit = unit("socket")["Socket"]
    port = reached.free_port()
    give(home, manifest(home, port, "activation = true"))
    with socket.create_server(("127.0.0.1", 0)) as held:
        argv = reached.staged(home.argv(APP), [held], socket_unit["FileDescriptorName"])
        with reached.started(home, argv, cwd=home.base / "music", fds=[held.fileno()]):
            address = held.getsockname()
            assert reached.reached(home, address, b"GET /song HTTP/1.0\r\n\r\n").endswith(b"la la la")


def test_the_units_are_what_systemd_takes(tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("systemd-analyze"), "systemd-analyze")
    for name in ("service", "socket"):
        (tmp_path / f"music.{name}").write_text(example(name).replace("/usr/bin/intent-run", "/bin/true"))
    words = ["systemd-analyze", "--man=no", "verify", *map(str, tmp_path.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "music" in line]
    assert not complaints, done.stderr


def test_the_init_script_is_a_shell_script_that_starts_it() -> None:
    script = example("openrc") + '\necho "$supervisor $command $command_args"\n'
    done = subprocess.run(["/bin/sh", "-eu"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == f"supervise-daemon /usr/bin/intent-run {APP}\n"


def test_a_socket_of_its_own_is_at_the_place_that_the_page_names(home: world.World) -> None:
    directory = home.runtime / APP
    directory.mkdir()
    directory.chmod(0o2750)
    give(home, manifest(home, 4533, 'socket = "web.sock"'))
    with reached.started(home, home.argv(APP), cwd=home.base / "music"):
        path = str(directory / "web.sock")
        assert reached.reached(home, path, b"GET /song HTTP/1.0\r\n\r\n").endswith(b"la la la")
        assert os.stat(path).st_mode & 0o777 == 0o660


def test_an_app_with_a_socket_in_a_directory_of_both_needs_no_listen(home: world.World) -> None:
    must_work(shutil.which("curl"), "curl")
    head = world.manifest(world.PYTHON)
    home.install(head + example("shared"))
    home.decide()
    with reached.started(home, home.argv(world.APP, DOOR)):
        path = home.home / "music-door" / "web.sock"
        peers.eventually(path.exists, "the app's socket")
        words = ["curl", "-s", "--retry-connrefused", "--retry", "5", "--unix-socket", str(path), "http://localhost/"]
        assert subprocess.run(words, capture_output=True, check=True).stdout == b"hello"
