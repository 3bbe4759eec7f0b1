"""Kind ``display``: windows on a Wayland compositor, on a nested X11 server, or on the real one (SPEC §5.4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, sandbox

KIND = "display"
DOC = """Show windows. `protocol = "wayland"` gives the compositor's socket: how safe that is depends on what the
compositor offers every client, which is looked up and said. `protocol = "x11"` is for programs that know only X11: they
get an X server of their own inside one window (Xwayland, or Xephyr where the session itself is X11), and reach no other
program's windows. `protocol = "x11-host"` gives the real X11 display:
any X11 client can read every key and see every window, so it is always critical."""

WAYLAND = "wayland"
X11 = "x11"
X11_HOST = "x11-host"
NESTED = ("Xwayland", "Xephyr")  # the servers that show X11 windows in a window: on Wayland, on X11
_FIRST_NESTED = 77  # far from the numbers that real displays get

# Interfaces by which a plain client sees or acts beyond its own windows -> what that means.
PRIVILEGED = {
    "zwlr_screencopy_manager_v1": "see the whole screen",
    "ext_image_copy_capture_manager_v1": "see the whole screen",
    "zwlr_export_dmabuf_manager_v1": "see the whole screen",
    "org_kde_kwin_screenshot": "see the whole screen",
    "zkde_screencast_unstable_v1": "see the whole screen",
    "zwp_virtual_keyboard_manager_v1": "type into other windows",
    "org_kde_kwin_fake_input": "type into other windows",
    "zwlr_virtual_pointer_manager_v1": "click in other windows",
    "zwp_input_method_manager_v2": "read and change what you type",
    "zwp_input_method_v1": "read and change what you type",
    "zwlr_data_control_manager_v1": "read the clipboard at any time",
    "ext_data_control_manager_v1": "read the clipboard at any time",
    "zwlr_layer_shell_v1": "draw over other windows",
    "zwlr_foreign_toplevel_manager_v1": "see and close other windows",
    "org_kde_plasma_window_management": "see and close other windows",
    "ext_foreign_toplevel_list_v1": "see the titles of other windows",
    "ext_session_lock_manager_v1": "lock the screen",
    "zwlr_input_inhibit_manager_v1": "take the keyboard away from other windows",
    "zwlr_output_manager_v1": "change the monitors",
    "zwlr_gamma_control_manager_v1": "change the monitors' colours",
    "zwlr_output_power_manager_v1": "switch monitors off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """``protocol`` is ``wayland``, ``x11`` or ``x11-host``; none covers another."""

    protocol: str

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Display":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("protocol",), KIND)
        return cls(protocol=keys.choice(table, "protocol", (WAYLAND, X11, X11_HOST), KIND))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        return {"protocol": self.protocol}

    def covers(self, other: model.Scope) -> bool:
        return isinstance(other, Display) and other.protocol == self.protocol

    def meet(self, other: model.Scope) -> model.Scope | None:
        return self if self.covers(other) else None

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def needs(self) -> tuple[facts.Need, ...]:
        wayland, x11 = (facts.Need(what="display", name=name) for name in ("wayland", "x11"))
        if self.protocol == X11:
            return (wayland, x11, *(facts.Need(what="program", name=name) for name in NESTED))
        return (wayland if self.protocol == WAYLAND else x11,)

    def objects(self) -> tuple[str, ...]:
        """The display, for what `powers` says of it: the same answer is not one to a compositor that offers more."""
        return (WAYLAND,) if self.protocol == WAYLAND else ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        if self.protocol == X11_HOST or (self.protocol == WAYLAND and powers(host)):
            return model.Risk.CRITICAL
        return model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        if self.protocol == X11_HOST:
            return model.Phrase(
                title="X11 display",
                allows="It can read everything you type in any window, see your whole screen and act in your name.",
                notes=(
                    "X11 has no walls between programs: this equals no sandbox while you use this display.",
                    "With the whole network as well, it can reach the abstract sockets of your other programs.",
                ),
            )
        if self.protocol == X11:
            return model.Phrase(
                title="X11 windows in a window",
                allows="It can show its own windows inside one window; it cannot see or type into others.",
            )
        found = powers(host)
        if found:
            return model.Phrase(
                title="windows, no walls",
                allows=f"It can show windows, and this compositor also lets it {_listed(found)}.",
                notes=("The compositor offers this to every program and cannot tell a sandboxed one apart.",),
            )
        return model.Phrase(
            title="windows (Wayland)",
            allows="It can show its own windows; it cannot see or type into others.",
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket and the variables that lead to it.

        Raises HostError ``no-wayland``, ``no-x11`` or ``no-nested-x11``.
        """
        return {WAYLAND: _wayland, X11: _nested, X11_HOST: _x11}[self.protocol](host, because)


def powers(host: facts.HostFacts) -> tuple[str, ...]:
    """What the compositor lets a plain client do beyond its own windows, as verb phrases; empty without one."""
    found = host.wayland.globals if host.wayland else ()
    return tuple(dict.fromkeys(PRIVILEGED[name] for name in found if name in PRIVILEGED))


def _listed(items: tuple[str, ...]) -> str:
    shown = items if len(items) <= 4 else (*items[:3], f"do {len(items) - 3} more such things")
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " and " + shown[-1]


def _wayland(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    if host.wayland is None:
        raise errors.HostError(
            "no-wayland",
            "it shows its windows on Wayland, and no Wayland compositor answers here",
            hint="start it from a Wayland session (WAYLAND_DISPLAY and XDG_RUNTIME_DIR must be set)",
        )
    runtime = f"/run/user/{host.account.uid}"
    return (
        sandbox.Bind(source=host.wayland.socket, dest=f"{runtime}/wayland-0", because=because),
        sandbox.Env(name="WAYLAND_DISPLAY", value="wayland-0", because=because),
        sandbox.Env(name="XDG_SESSION_TYPE", value="wayland", because=because),
        sandbox.Pass(name="XDG_ACTIVATION_TOKEN", because=because),
    )


def _x11(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    if host.x11 is None:
        raise errors.HostError(
            "no-x11",
            "it shows its windows on X11, and no X11 display answers here",
            hint="start it from a session that has X11 or Xwayland (DISPLAY must be set)",
        )
    ops: list[sandbox.Op] = [
        sandbox.Bind(source=host.x11.socket, dest=f"/tmp/.X11-unix/X{host.x11.display}", because=because),
        sandbox.Env(name="DISPLAY", value=f":{host.x11.display}", because=because),
    ]
    if host.x11.authority:
        dest = f"/run/user/{host.account.uid}/Xauthority"
        ops.append(sandbox.Bind(source=host.x11.authority, dest=dest, because=because))
        ops.append(sandbox.Env(name="XAUTHORITY", value=dest, because=because))
    return tuple(ops)


def _nested(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    """A server of its own, drawn on the session's compositor or, without one, on its X11 display."""
    xwayland, xephyr = (host.program(name) for name in NESTED)
    if host.wayland and xwayland:
        server, upstream, authority = xwayland, host.wayland.socket, ""
    elif host.x11 and xephyr:
        server, upstream, authority = xephyr, host.x11.socket, host.x11.authority
    else:
        raise errors.HostError(
            "no-nested-x11",
            "it shows X11 windows, and nothing here can show them apart from those of other programs",
            hint="install Xwayland (on Wayland) or Xephyr (on X11), and start it from a session with a screen",
        )
    # The abstract socket of the same name must not exist: libxcb tries that one first.
    taken = {name.removeprefix("@/tmp/.X11-unix/X") for name in host.abstract_sockets}
    number = next(n for n in range(_FIRST_NESTED, 0xFFFF) if str(n) not in taken)
    words = (f"={host.bwrap}", f"={server}", f"={upstream}", f"={number}", f"={authority}", "c")
    return (
        sandbox.Companion(name="x11-server", program="x11_server", arguments=words, because=because),
        sandbox.LaunchSocket(name="x11", dest=f"/tmp/.X11-unix/X{number}", because=because),
        sandbox.Env(name="DISPLAY", value=f":{number}", because=because),
    )
