"""The closed table of kinds of intent: one file per kind, all of one shape (``model.Scope``)."""

from collections.abc import Mapping

from intents import errors, model, paths
from intents.kinds import dbus, display, dns, network, path

KINDS: dict[str, type[network.Network | dns.Dns | path.Path | display.Display | dbus.Dbus]] = {
    network.KIND: network.Network,
    dns.KIND: dns.Dns,
    path.KIND: path.Path,
    display.KIND: display.Display,
    dbus.KIND: dbus.Dbus,
}
DOCS = {module.KIND: module.DOC for module in (network, dns, path, display, dbus)}


def read(kind: str, table: Mapping[str, object]) -> model.Scope:
    """The scope of kind ``kind`` that the keys of ``table`` say. Raises ManifestError, without a subject."""
    if kind not in KINDS:
        known = ", ".join(f"`{name}`" for name in KINDS)
        raise errors.ManifestError("unknown-kind", f"`{paths.printable(kind)}` is not a kind of intent: {known}")
    return KINDS[kind].read(table)


def to_data(scope: model.Scope) -> dict[str, object]:
    """The scope as one flat table, ``kind`` included; ``from_data`` reads it back."""
    return {"kind": scope.kind, **scope.data()}


def from_data(table: Mapping[str, object]) -> model.Scope:
    """Read what ``to_data`` wrote. Raises ManifestError."""
    keys = dict(table)
    return read(str(keys.pop("kind", "")), keys)
