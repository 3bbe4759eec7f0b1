"""What surrounds the machine counts for its apps: the user's proxy, another resolver, and what a grant hands in."""

import array
import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.real import fake_internet, fake_servers, fake_zone, peers, test_network_table, world

pytestmark = pytest.mark.real

PROXY = "http://{}:{}".format(*fake_servers.PROXY)
CONNECT = {"network": {"kind": "network", "connect": ["www.allowed.test:80", "www.allowed.test:443"]}}
# Asks whom it is told to, one after the other.
ASKING = ["/bin/sh", "-c", 'while read -r url; do echo "$(curl -sSm5 "$url" 2>&1)"; done']
TAKING = """
import array, socket, sys
with socket.socket(socket.AF_UNIX) as stream:
    stream.connect(sys.argv[1])
    _, ((_, _, data), *_), _, _ = stream.recvmsg(1, socket.CMSG_SPACE(4))
    with socket.socket(fileno=array.array("i", data)[0]) as given:
        given.connect(("127.0.0.1", 8888))
        given.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(given.recv(4096).decode())
"""


@pytest.fixture(name="net")
def _net() -> Iterator[fake_internet.Internet]:
    with fake_internet.internet() as made:
        yield made


def test_the_users_proxy_is_what_is_dialled(net: fake_internet.Internet) -> None:
    tries = ["tls www.allowed.test 443 www.allowed.test", "tcp www.allowed.test 80", "tcp other.test 80"]
    with net.world() as here:
        here.install(world.manifest(world.PYTHON, CONNECT))
        here.decide()
        here.environ |= {"https_proxy": PROXY, "HTTP_PROXY": PROXY}
        mark = net.mark()
        found = test_network_table.attempts(here, tries)
        assert [result[0] for result in found] == ["+", "+", "-"], found
        came = net.since(mark)
    asked = sorted(line for line in came if " proxy " in line)
    assert asked == [f"internet proxy CONNECT www.allowed.test:{port} -" for port in (443, 80)]
    where = {line.split()[2] for line in came if line.split()[1] == "syn"}
    assert where == {"{}:{}".format(*fake_servers.PROXY)}


def test_another_resolver_counts_for_an_app_that_runs(net: fake_internet.Internet) -> None:
    with net.world() as here:
        here.install(world.manifest(ASKING, CONNECT))
        here.decide()
        pipe = subprocess.PIPE
        with subprocess.Popen(here.argv(world.APP), env=here.environ, cwd=here.base, stdin=pipe, stdout=pipe) as app:
            assert app.stdin and app.stdout

            def says() -> str:
                app.stdin.write(b"http://www.allowed.test/\n")  # type: ignore[union-attr]
                app.stdin.flush()  # type: ignore[union-attr]
                return app.stdout.readline().decode()  # type: ignore[union-attr]

            assert "asked www.allowed.test" in says()
            net.resolver(fake_zone.CAPTIVE_RESOLVER)
            peers.eventually(lambda: says().startswith(f"i am {fake_zone.CAPTIVE}:80 "), "the captive portal")
            net.resolver("192.0.2.77")  # which nobody has
            peers.eventually(lambda: "curl: " in says(), "nobody")
            net.resolver(fake_zone.RESOLVER)
            peers.eventually(lambda: "i am [2001:db8:51::10]:80 " in says() or "198.51.100.10:80" in says(), "the name")
            app.stdin.close()


def test_a_socket_comes_in_by_a_grant_alone(net: fake_internet.Internet) -> None:
    """A program outside may hand in a socket of its network, where the app was let talk to it; not otherwise."""
    with net.world() as here, contextlib.ExitStack() as closing:
        shared = here.home / "Shared"
        shared.mkdir()
        path = shared / "door"
        door = closing.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(str(path))
        door.listen()
        # A socket of the machine's network, made there and sent out to us.
        code = (
            "import array, socket, sys; out = socket.socket(fileno=1); made = socket.socket();"
            "out.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [made.fileno()]))])"
        )
        ours, theirs = socket.socketpair()
        with ours, theirs:
            subprocess.run(net.argv(["/usr/bin/python3", "-ISc", code]), stdout=theirs.fileno(), check=True)
            _, ((_, _, data), *_), _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        given = closing.enter_context(socket.socket(fileno=array.array("i", data)[0]))

        def hand() -> None:
            stream, _ = door.accept()
            with stream:
                stream.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [given.fileno()]))])

        threading.Thread(target=hand, daemon=True).start()
        here.install(world.manifest(world.PYTHON, {}))
        here.decide()
        assert b"FileNotFoundError" in here.start(TAKING, str(path)).stderr
        place = {"shared": {"kind": "path", "place": "home/Shared", "access": "write"}}
        here.install(world.manifest(world.PYTHON, place, serial=2))
        here.decide()
        assert "i am 127.0.0.1:8888" in here.says(TAKING, str(path))
