"""Kinds that lead to a service's socket, with the real service behind it: agents that hold keys, a print server."""

import http.server
import pathlib
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import ClassVar

import pytest

from broker import services
from tests.conftest import must_work
from tests.real import peers, world

pytestmark = pytest.mark.real

CONNECT = """
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
try:
    stream.connect(sys.argv[1].replace("UID", str(os.geteuid())) or os.environ["SSH_AUTH_SOCK"])
except (OSError, KeyError):
    sys.exit("nobody")
"""
# Which keys there are: SSH_AGENTC_REQUEST_IDENTITIES of the agent protocol, and Assuan's KEYINFO.
SSH = f"{CONNECT}\nstream.sendall(bytes([0, 0, 0, 1, 11])); print(stream.recv(4096))"
GPG = f"{CONNECT}\nstream.recv(4096); stream.sendall(b'GETINFO version\\n'); print(stream.recv(4096))"
PRINT = f"""{CONNECT}
stream.sendall(b"POST /printers/p HTTP/1.0\\r\\nContent-Type: application/ipp\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
print(stream.makefile("rb").read())
"""


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        yield made


@pytest.fixture
def short() -> Iterator[pathlib.Path]:
    """A directory whose sockets have short names, as sockets must."""
    with tempfile.TemporaryDirectory() as directory:
        yield pathlib.Path(directory)


def works(here: world.World, kind: str, asked: str, path: str, answer: bytes) -> None:
    """Without the grant nobody is there, with it the service answers."""
    here.install(world.manifest(world.PYTHON, {"it": {"kind": kind}}))
    refused = here.start(asked, path)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"nobody" in refused.stderr
    here.decide()
    assert answer in here.start(asked, path).stdout


def test_the_ssh_agent_lends_its_keys(here: world.World, short: pathlib.Path) -> None:
    must_work(shutil.which("ssh-agent") and shutil.which("ssh-add"), "ssh-agent")
    here.environ["SSH_AUTH_SOCK"] = f"{short}/agent"
    with peers.child(["ssh-agent", "-D", "-a", f"{short}/agent"], here.environ):
        peers.eventually((short / "agent").exists, "the agent")
        key = short / "key"
        made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "the users key", "-f", str(key)]
        for command in (made, ["ssh-add", "-q", str(key)]):
            subprocess.run(command, env=here.environ, check=True, capture_output=True)
        works(here, "ssh-agent", SSH, "", b"the users key")


def test_the_gnupg_agent_answers(here: world.World, short: pathlib.Path) -> None:
    must_work(shutil.which("gpg-agent") and shutil.which("gpg-connect-agent"), "gpg-agent")
    here.environ["GNUPGHOME"] = str(short)
    inside = "/run/user/UID/gnupg/S.gpg-agent"
    quiet = subprocess.DEVNULL
    start = ["gpg-agent", "--homedir", str(short), "--daemon"]  # it goes into the background when it listens
    subprocess.run(start, env=here.environ, stdin=quiet, stdout=quiet, stderr=quiet, check=True, timeout=world.LIMIT)
    try:
        works(here, "gpg-agent", GPG, inside, b"D 2.")
        for command in ("KILLAGENT", "GENKEY", "EXPORT_KEY 00", "DELETE_KEY 00"):
            assert b"Forbidden" in here.start(GPG.replace("GETINFO version", command), inside).stdout, command
        assert b"D 2." in here.start(GPG, inside).stdout
    finally:
        stop = ["gpg-connect-agent", "--homedir", str(short), "--no-autostart", "KILLAGENT", "/bye"]
        subprocess.run(stop, stdin=quiet, stdout=quiet, check=True, timeout=world.LIMIT)


class Printer(http.server.BaseHTTPRequestHandler):
    """Takes jobs and says so, as an IPP server does over HTTP."""

    jobs: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        self.jobs.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: it would be on the suite's own output."""


class Server(socketserver.UnixStreamServer):
    """On a Unix socket, where CUPS listens."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return super().get_request()[0], ("local", 0)


def test_a_job_reaches_the_print_server(here: world.World, short: pathlib.Path) -> None:
    here.environ["CUPS_SERVER"] = f"{short}/cups.sock"
    Printer.jobs.clear()
    with Server(f"{short}/cups.sock", Printer) as server:
        worker = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        worker.start()
        works(here, "printing", PRINT, "/run/cups/cups.sock", b"200 OK")
        server.shutdown()
        worker.join(peers.PATIENCE)
    assert Printer.jobs == [b"hello"]


def test_a_home_of_its_own_has_a_directory_of_its_own() -> None:
    """As `gpgconf --homedir /tmp/gm93a --list-dirs agent-socket` says it."""
    assert services._gpg_name("/tmp/gm93a") == "kawc987wcfhyuewzedjiq47c"
