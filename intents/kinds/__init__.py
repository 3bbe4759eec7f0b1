"""The closed table of kinds of intent: one file per kind, all of one shape (``model.Scope``)."""

from collections.abc import Mapping
from typing import Protocol

from intents import errors, model, paths
from intents.kinds import (
    accessibility,
    audio,
    camera,
    dbus,
    debugging,
    device,
    display,
    dns,
    env,
    files,
    game_controllers,
    gpg_agent,
    gpu,
    input_method,
    listen,
    media_control,
    multiarch,
    named_files,
    nested_sandbox,
    network,
    notifications,
    path,
    persist,
    portal,
    printing,
    processes,
    secrets,
    settings,
    shared_memory,
    smartcard,
    socket_family,
    ssh_agent,
    system_info,
    tray,
    usb,
)


class Kind(Protocol):
    """What a kind's class offers besides its scopes."""

    def read(self, table: Mapping[str, object]) -> model.Scope:
        """The scope that the keys of an intent's table say. Raises ManifestError, without a subject."""


_MODULES: tuple[tuple[str, str, Kind], ...] = (
    (network.KIND, network.DOC, network.Network),
    (dns.KIND, dns.DOC, dns.Dns),
    (listen.KIND, listen.DOC, listen.Listen),
    (path.KIND, path.DOC, path.Path),
    *((kind.kind, kind.doc, kind) for kind in files.KINDS),
    (settings.KIND, settings.DOC, settings.Settings),
    (persist.KIND, persist.DOC, persist.Persist),
    (display.KIND, display.DOC, display.Display),
    (dbus.KIND, dbus.DOC, dbus.Dbus),
    (notifications.KIND, notifications.DOC, notifications.Notifications),
    (tray.KIND, tray.DOC, tray.Tray),
    (accessibility.KIND, accessibility.DOC, accessibility.Accessibility),
    (input_method.KIND, input_method.DOC, input_method.InputMethod),
    (media_control.KIND, media_control.DOC, media_control.MediaControl),
    *((kind.kind, kind.doc, kind) for kind in portal.KINDS),
    (secrets.KIND, secrets.DOC, secrets.Secrets),
    (audio.KIND, audio.DOC, audio.Audio),
    (camera.KIND, camera.DOC, camera.Camera),
    (gpu.KIND, gpu.DOC, gpu.Gpu),
    (game_controllers.KIND, game_controllers.DOC, game_controllers.GameControllers),
    (usb.KIND, usb.DOC, usb.Usb),
    (device.KIND, device.DOC, device.Device),
    (printing.KIND, printing.DOC, printing.Printing),
    (smartcard.KIND, smartcard.DOC, smartcard.Smartcard),
    (ssh_agent.KIND, ssh_agent.DOC, ssh_agent.SshAgent),
    (gpg_agent.KIND, gpg_agent.DOC, gpg_agent.GpgAgent),
    (env.KIND, env.DOC, env.Env),
    (shared_memory.KIND, shared_memory.DOC, shared_memory.SharedMemory),
    (processes.KIND, processes.DOC, processes.Processes),
    (system_info.KIND, system_info.DOC, system_info.SystemInfo),
    (debugging.KIND, debugging.DOC, debugging.Debugging),
    (nested_sandbox.KIND, nested_sandbox.DOC, nested_sandbox.NestedSandbox),
    (socket_family.KIND, socket_family.DOC, socket_family.SocketFamily),
    (multiarch.KIND, multiarch.DOC, multiarch.Multiarch),
)
KINDS = {kind: scope for kind, _, scope in _MODULES}
DOCS = {kind: doc for kind, doc, _ in _MODULES}


def read(kind: str, table: Mapping[str, object]) -> model.Scope:
    """The scope of kind ``kind`` that the keys of ``table`` say. Raises ManifestError, without a subject."""
    if kind not in KINDS:
        known = ", ".join(f"`{name}`" for name in KINDS)
        raise errors.ManifestError("unknown-kind", f"`{paths.printable(kind)}` is not a kind of intent: {known}")
    return KINDS[kind].read(table)


def overlap(one: model.Scope, other: model.Scope) -> bool:
    """Whether no manifest may ask for both: one gives what the other gives, or would stand in its place."""
    if _hosted(one, other) or _hosted(other, one):
        return True
    if isinstance(one, listen.Listen) and isinstance(other, listen.Listen):
        return one.clash(other)
    if one.kind == other.kind:
        return one.covers(other) or other.covers(one)
    pairs = ((one, other), (other, one))
    return any(
        isinstance(mine, persist.Persist | settings.Settings)
        and isinstance(theirs, path.Path)
        and bool(mine.clash(theirs.place))
        for mine, theirs in pairs
    )


def _hosted(one: model.Scope, other: model.Scope) -> bool:
    """Whether one is the host's own network, in which nothing stands between the app and what the other is about."""
    whole = isinstance(one, network.Network) and one.scope == network.HOST
    return whole and isinstance(other, network.Network | listen.Listen)


def to_data(scope: model.Scope) -> dict[str, object]:
    """The scope as one flat table, ``kind`` included; ``from_data`` reads it back."""
    return {"kind": scope.kind, **scope.data()}


def from_data(table: Mapping[str, object]) -> model.Scope:
    """Read what ``to_data`` wrote, also of what no manifest writes as an intent. Raises ManifestError."""
    keys = dict(table)
    kind = str(keys.pop("kind", ""))
    return named_files.NamedFiles.read(keys) if kind == named_files.KIND else read(kind, keys)
