"""Operations that several kinds share: a service's socket, device nodes, rules of a bus's filter (SPEC §5.6)."""

import fnmatch

from intents import errors, facts, sandbox


def socket_ops(
    host: facts.HostFacts, name: str, dest: str, variable: str, because: str, missing: str
) -> tuple[sandbox.Op, ...]:
    """A service's socket at ``dest``, and the variable that leads there (empty: none is needed).

    missing: the sentence for a host where it does not answer. Raises HostError ``no-service``.
    """
    source = host.socket(name)
    if not source:
        raise errors.HostError("no-service", missing)
    bind = sandbox.Bind(source=source, dest=dest, because=because)
    return (bind, sandbox.Env(name=variable, value=dest, because=because)) if variable else (bind,)


def device_ops(
    host: facts.HostFacts, patterns: tuple[str, ...], told: tuple[str, ...], because: str, missing: str
) -> tuple[sandbox.Op, ...]:
    """The usable nodes under ``patterns``, and the directories of /sys that tell of them.

    missing: the sentence for a host that has none. Raises HostError ``no-device``.
    """
    found = [node for node in host.nodes if node.usable and any(_named(node, pattern) for pattern in patterns)]
    if not found:
        raise errors.HostError("no-device", missing)
    return (*(sandbox.Device(dest=node.path, because=because) for node in found), *shown(host, told, because))


def _named(node: facts.Node, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (node.path, *node.names))


def shown(host: facts.HostFacts, places: tuple[str, ...], because: str) -> tuple[sandbox.Op, ...]:
    """Directories of /sys, read-only, those that exist here."""
    kinds = {place: fact.kind for place in places if (fact := host.path(place))}
    return tuple(
        sandbox.Bind(source=place, dest=place, held=False, because=because)
        for place, kind in kinds.items()
        if kind == "dir"
    )


# bus -> (its socket in the sandbox below the runtime directory or absolute, the variable that leads there, its name)
BUSES = {
    "session": ("bus", "DBUS_SESSION_BUS_ADDRESS", "session"),
    "system": ("/run/dbus/system_bus_socket", "DBUS_SYSTEM_BUS_ADDRESS", "system"),
    "a11y": ("at-spi-bus", "AT_SPI_BUS_ADDRESS", "accessibility"),
}


def bus_ops(
    host: facts.HostFacts, bus: str, rules: tuple[tuple[str, str], ...], because: str
) -> tuple[sandbox.Op, ...]:
    """The filtered socket of a bus with (verb, operand) rules. Raises HostError ``no-bus`` or ``proxy-missing``."""
    socket, variable, called = BUSES[bus]
    if host.bus(bus) is None:
        raise errors.HostError("no-bus", f"the {called} bus does not answer here")
    if not host.proxy:
        raise errors.HostError("proxy-missing", "xdg-dbus-proxy, which filters the bus, is not installed")
    dest = socket if socket.startswith("/") else f"/run/user/{host.account.uid}/{socket}"
    return (
        sandbox.LaunchSocket(name=bus, dest=dest, because=because),
        sandbox.Env(name=variable, value=f"unix:path={dest}", because=because),
        *(sandbox.BusRule(bus=bus, verb=verb, rule=rule, because=because) for verb, rule in rules),
    )
