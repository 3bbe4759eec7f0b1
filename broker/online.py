"""The network of a running instance: which servers it reaches now, and taking or giving one (SPEC §10.6, §11.7).

Its network companion does it, asked over the socket ``network`` of the launch; what is told is what that answered.
"""

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from broker import beside, runs
from intents import sandbox

NAME = "network"  # as network.control makes it
PATIENCE = 5.0  # seconds for an answer
_LIMIT = 1 << 20
_UPLINK = ("pasta", "passt")  # what leads to the internet, as the kernel calls its process
_SILENT = "its network companion does not answer: what it reaches stays until it ends"

Target = tuple[str, str, str]  # protocol, host and port


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server that was taken or given. connections: how many to it were closed."""

    intent: str
    server: str
    granted: bool
    connections: int = 0

    def as_data(self) -> dict[str, object]:
        """intent, server, granted, connections."""
        return {
            "intent": self.intent,
            "server": self.server,
            "granted": self.granted,
            "connections": self.connections,
        }

    def words(self) -> str:
        """What became of it, in one clause."""
        if self.granted:
            return f"{self.intent}: {self.server}: reached from now on"
        closed = f"{self.connections} connection{'' if self.connections == 1 else 's'} closed"
        return f"{self.intent}: {self.server}: not reached any more, {closed if self.connections else 'none was open'}"


Later = tuple[str, str]  # an intent, and why something of it waits or stays


def say(directory: str, line: str) -> list[str]:
    """What the network companion of a launch answers to a request, by lines. Raises OSError, where there is none."""
    above = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
            made.settimeout(PATIENCE)
            made.connect(f"/proc/self/fd/{above}/{NAME}")  # whose own path may be too long for an address
            made.sendall(f"{line}\n".encode())
            said = b""
            while (piece := made.recv(65536)) and len(said) < _LIMIT:
                said += piece
    finally:
        os.close(above)
    return said.decode("ascii", "replace").splitlines()


def rules(instance: runs.Instance) -> tuple[tuple[str, Target, bool], ...]:
    """The rules about servers that count in an instance now: (intent, target, whether it has to be asked about).

    Raises OSError where it has no network companion, or a silent one.
    """
    found = []
    lines = say(_directory(instance), "state")
    if lines[-1:] != ["end"]:
        raise TimeoutError(_SILENT)
    for line in lines:
        match line.split(" "):
            case ["rule", "connect", intent, protocol, host, port, flags]:
                found.append((intent, (protocol, host, port), "ask" in flags.split(",")))
    return tuple(found)


def take(
    instance: runs.Instance,
    ids: Collection[str],
    whole: sandbox.Sandbox | None,
    left: sandbox.Sandbox | None,
) -> tuple[tuple[Server, ...], tuple[Later, ...]]:
    """Take from an instance the servers that the intents gave it, but for what a start would give it now.

    whole: the sandbox with all of these intents; left: the one that a start would have now.
    """
    try:
        now = rules(instance)
    except (FileNotFoundError, ConnectionRefusedError):  # it never had a network, or has none any more
        return (), ()
    except OSError:
        mine = sorted({rule.because for rule in _network(whole) if rule.because in ids})
        return (), tuple((intent, _SILENT) for intent in mine)
    asked = {target(rule) for rule in _connects(whole) if rule.because in ids}
    kept = {target(rule): rule for rule in _connects(left)}
    made: list[Server] = []
    later: list[Later] = []
    running = {there for _, there, asks in now if not asks}
    for rule in _connects(left):
        if rule.because in ids and target(rule) not in running and sandbox.ASK not in rule.flags:
            made += _add(instance, rule, later)
    for intent, there, asks in now:
        if (intent in ids or there in asked) and (there not in kept or _asks(kept[there]) is not asks):
            made += _drop(instance, intent, there, later, quiet=asks)
    for rule in _network(whole):
        if rule.because in ids and rule.verb != "connect" and rule not in _network(left):
            made += _narrow(instance, rule, later)
    note(instance, made)
    return tuple(made), tuple(later)


def give(instance: runs.Instance, ids: Collection[str], box: sandbox.Sandbox) -> tuple[tuple[Server, ...], set[str]]:
    """Let an instance reach the servers that the intents give; those intents whose every server it reaches then.

    box: the sandbox that it would have with them.
    """
    wanted = [rule for rule in box.network if rule.because in ids]
    mine = {rule.because for rule in wanted}
    try:
        now = {there for _, there, asks in rules(instance) if not asks}
    except OSError:
        return (), set()
    made: list[Server] = []
    failed: list[Later] = []
    for rule in wanted:
        if rule.verb != "connect":
            failed.append((rule.because, ""))
        elif sandbox.ASK not in rule.flags and target(rule) not in now:
            made += _add(instance, rule, failed)
    note(instance, made)
    return tuple(made), mine - {intent for intent, _ in failed}


def note(instance: runs.Instance, made: Iterable[Server]) -> None:
    """Put on the instance's record what it reaches since its start, and what not any more. Raises OSError."""
    runs.note_servers(instance, [(each.intent, each.server, each.granted) for each in made])


def _directory(instance: runs.Instance) -> str:
    return instance.path.removesuffix(".json")


def _network(box: sandbox.Sandbox | None) -> tuple[sandbox.NetworkRule, ...]:
    return box.network if box else ()


def _connects(box: sandbox.Sandbox | None) -> Iterator[sandbox.NetworkRule]:
    return (rule for rule in _network(box) if rule.verb == "connect")


def target(rule: sandbox.NetworkRule) -> Target:
    """The server that a rule to connect is about."""
    protocol, host, port = rule.rule.split(" ")
    return protocol, host, port


def _asks(rule: sandbox.NetworkRule) -> bool:
    return sandbox.ASK in rule.flags


def server(there: Target) -> str:
    """A target as a manifest writes it."""
    protocol, host, port = there
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}{'/udp' if protocol == 'udp' else ''}"


def _add(instance: runs.Instance, rule: sandbox.NetworkRule, failed: list[Later]) -> Iterator[Server]:
    shown = server(target(rule))
    if _said(instance, f"rule {rule.words}") == ["ruled"]:
        yield Server(intent=rule.because, server=shown, granted=True)
    else:
        failed.append((rule.because, f"{shown}: at its next start"))


def _drop(
    instance: runs.Instance, intent: str, there: Target, later: list[Later], *, quiet: bool
) -> Iterator[Server]:
    """quiet: nothing was reached by that rule, which only was to be asked about."""
    protocol, host, port = there
    match _said(instance, f"drop {intent} {host} {port} {protocol}"):
        case ["dropped", str(count)] if count.isdecimal():
            if not quiet:
                yield Server(intent=intent, server=server(there), granted=False, connections=int(count))
        case _:
            later.append((intent, f"{server(there)}: {_SILENT}"))


def _narrow(instance: runs.Instance, rule: sandbox.NetworkRule, later: list[Later]) -> Iterator[Server]:
    """Take the internet, the answers about any name, or the way in."""
    said = _said(instance, f"drop {rule.because}")
    done = said[:1] == ["dropped"]
    if rule.verb == "internet":
        done = beside.end(instance, _UPLINK) and done
    if done and rule.verb == "listen":
        port = f"port {rule.rule.split(' ')[1]}"
        yield Server(intent=rule.because, server=port, granted=False, connections=int(said[1]))
    elif done:
        yield Server(intent=rule.because, server=_WIDE.get(rule.verb, rule.verb), granted=False)
    else:
        later.append((rule.because, _SILENT))


_WIDE = {"internet": "the internet", "resolve": "any name"}


def _said(instance: runs.Instance, line: str) -> list[str]:
    try:
        lines = say(_directory(instance), line)
    except OSError:
        return []
    return lines[0].split(" ") if lines else []
