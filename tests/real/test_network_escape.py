"""What an app, or a relay that it has taken over, could try to get out of its network (SPEC §10.6)."""

import contextlib
import os
import socket

import pytest

from broker import online
from tests.real import lively, networked, peers, world

pytestmark = pytest.mark.real

FEW = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""
FLOOD = """cd ~/.local/state; /usr/bin/python3 -I -S -c 'import _socket as s, resource, select
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
kept = []
for _ in range(300):
    kept.append(s.socket(s.AF_INET, s.SOCK_STREAM | s.SOCK_NONBLOCK)); kept[-1].connect_ex(("127.0.0.1", {port}))
open("flooded", "w").close(); select.select([], [], [])' >/dev/null 2>&1 &
"""


@pytest.mark.parametrize("protocol", ["", "/udp"])
def test_a_range_at_the_resolvers_port_leaves_the_resolver_its_own(protocol: str) -> None:
    with networked.home() as made:
        scope = {"kind": "network", "connect": [f"192.0.2.0/24:53{protocol}", "one.test:443"]}
        made.install(world.manifest(world.SHELL, {"net": scope}))
        made.decide()
        assert "one.test" in made.says("getent hosts one.test")


def test_an_app_that_dials_all_it_can_is_taken_its_servers_from() -> None:
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = deaf.getsockname()[1]
        for _ in range(4):  # whoever comes now waits
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        made = stack.enter_context(networked.home())
        made.offer({"net": {"kind": "network", "connect": [f"127.0.0.1:{port}"]}})
        made.decide()
        app = stack.enter_context(lively.running(made, removed=FEW))
        app.says(FLOOD.format(port=port))
        peers.eventually((app.state / "flooded").exists, "the flood")
        directory = app.instance.path.removesuffix(".json")
        for _ in range(5):
            assert online.say(directory, "state")[-1] == "end"
        assert online.say(directory, f"drop net 127.0.0.1 {port} tcp")[0].startswith("dropped ")
        assert os.path.exists(directory)
