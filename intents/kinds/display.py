"""Kind ``display``: windows on a Wayland compositor, on a nested X11 server, or on the real one (SPEC §5.4)."""

from collections.abc import Mapping
from dataclasses import dataclass

from intents import catalogue, errors, facts, keys, model, sandbox, text

KIND = "display"
DOC = """Show windows. `protocol = "wayland"` gives windows of the app's own, on every compositor: kept apart by the
compositor where it knows security contexts, and by a filter where it does not, so that the app cannot see the screen,
type into other windows or read the clipboard behind your back. `protocol = "x11"` is for programs that know only X11:
they get an X server of their own inside one window (Xwayland, or Xephyr where the session itself is X11), and reach no
other program's windows. `protocol = "x11-host"` gives the real X11 display:
any X11 client can read every key and see every window, so it is always critical."""

WAYLAND = "wayland"
X11 = "x11"
X11_HOST = "x11-host"
NESTED = ("Xwayland", "Xephyr")  # the servers that show X11 windows in a window: on Wayland, on X11
_FIRST_NESTED = 77  # far from the numbers that real displays get
CLIPBOARD = text.said("It can use the clipboard while it has the focus.")

# What a program needs for windows of its own, and no more. With each of these it sees and does only what belongs to
# its own surfaces, or what the compositor gives whoever has the focus (the clipboard, for one). Not here, besides what
# is below: what tells when the user is away, takes the compositor's own shortcuts, or hands out whole monitors;
# zxdg_importer, of use to portals only; and wl_fixes (``broker/companions/wayland_registry.py`` says why).
ORDINARY = (
    "wl_compositor", "wl_data_device_manager", "wl_drm", "wl_output", "wl_seat", "wl_shell", "wl_shm",
    "wl_subcompositor",
    "xdg_activation_v1", "xdg_system_bell_v1", "xdg_toplevel_drag_manager_v1", "xdg_toplevel_icon_manager_v1",
    "xdg_toplevel_tag_manager_v1", "xdg_wm_base", "xdg_wm_dialog_v1", "zxdg_decoration_manager_v1", "zxdg_exporter_v1",
    "zxdg_exporter_v2", "zxdg_output_manager_v1", "zxdg_shell_v6",
    "wp_alpha_modifier_v1", "wp_color_manager_v1", "wp_color_representation_manager_v1", "wp_commit_timing_manager_v1",
    "wp_content_type_manager_v1", "wp_cursor_shape_manager_v1", "wp_fifo_manager_v1",
    "wp_fractional_scale_manager_v1", "wp_linux_drm_syncobj_manager_v1", "wp_pointer_warp_v1", "wp_presentation",
    "wp_single_pixel_buffer_manager_v1", "wp_tearing_control_manager_v1", "wp_viewporter",
    "zwp_idle_inhibit_manager_v1", "zwp_input_timestamps_manager_v1", "zwp_linux_dmabuf_v1",
    "zwp_linux_explicit_synchronization_v1", "zwp_pointer_constraints_v1", "zwp_pointer_gestures_v1",
    "zwp_primary_selection_device_manager_v1", "zwp_relative_pointer_manager_v1", "zwp_tablet_manager_v1",
    "zwp_tablet_manager_v2", "zwp_text_input_manager_v1", "zwp_text_input_manager_v2", "zwp_text_input_manager_v3",
    "ext_background_effect_manager_v1", "gtk_primary_selection_device_manager", "gtk_shell1",
    "org_kde_kwin_appmenu_manager", "org_kde_kwin_blur_manager", "org_kde_kwin_contrast_manager",
    "org_kde_kwin_server_decoration_manager", "org_kde_kwin_server_decoration_palette_manager",
    "org_kde_kwin_shadow_manager", "org_kde_kwin_slide_manager",
)  # fmt: skip
# Interfaces by which a client sees or acts beyond its own windows -> what that means. A compositor that offers one of
# them to sandboxed programs does not keep them apart; no filter depends on this table.
PRIVILEGED = {
    "zwlr_screencopy_manager_v1": "see the whole screen",
    "ext_image_copy_capture_manager_v1": "see the whole screen",
    "zwlr_export_dmabuf_manager_v1": "see the whole screen",
    "ext_output_image_capture_source_manager_v1": "see the whole screen",
    "ext_foreign_toplevel_image_capture_source_manager_v1": "see other windows",
    "hyprland_toplevel_export_manager_v1": "see other windows",
    "zcosmic_screencopy_manager_v2": "see the whole screen",
    "weston_screenshooter": "see the whole screen",
    "weston_capture_v1": "see the whole screen",
    "org_kde_kwin_screenshot": "see the whole screen",
    "zkde_screencast_unstable_v1": "see the whole screen",
    "zwp_virtual_keyboard_manager_v1": "type into other windows",
    "org_kde_kwin_fake_input": "type into other windows",
    "zwlr_virtual_pointer_manager_v1": "click in other windows",
    "ext_transient_seat_manager_v1": "click in other windows",
    "hyprland_global_shortcuts_manager_v1": "take keys from other windows",
    "zwp_xwayland_keyboard_grab_manager_v1": "take keys from other windows",
    "zwp_input_method_manager_v2": "read and change what you type",
    "zwp_input_method_v1": "read and change what you type",
    "zwlr_data_control_manager_v1": "read the clipboard at any time",
    "ext_data_control_manager_v1": "read the clipboard at any time",
    "zwlr_layer_shell_v1": "draw over other windows",
    "org_kde_plasma_shell": "draw over other windows",
    "zwlr_foreign_toplevel_manager_v1": "see and close other windows",
    "org_kde_plasma_window_management": "see and close other windows",
    "ext_foreign_toplevel_list_v1": "see the titles of other windows",
    "ext_session_lock_manager_v1": "lock the screen",
    "zwlr_input_inhibit_manager_v1": "take the keyboard away from other windows",
    "zwlr_output_manager_v1": "change the monitors",
    "kde_output_management_v2": "change the monitors",
    "wp_drm_lease_device_v1": "take over monitors",
    "zwlr_gamma_control_manager_v1": "change the monitors' colours",
    "zwlr_output_power_manager_v1": "switch monitors off",
    "org_kde_kwin_dpms_manager": "switch monitors off",
    "wp_security_context_manager_v1": "pass for another sandboxed program",
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

    def narrower(self) -> tuple[model.Scope, ...]:
        return ()

    def needs(self) -> tuple[facts.Need, ...]:
        wayland, x11 = (facts.Need(what="display", name=name) for name in ("wayland", "x11"))
        if self.protocol == X11:
            return (wayland, x11, *(facts.Need(what="program", name=name) for name in NESTED))
        return (wayland if self.protocol == WAYLAND else x11,)

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.CRITICAL if self.protocol == X11_HOST else model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        if self.protocol == X11_HOST:
            return model.Phrase(
                title=text.said("X11 display"),
                allows=text.said(
                    "It can read everything you type in any window, see your whole screen and act in your name."
                ),
                notes=(catalogue.no_sandbox(text.said("X11 has no walls between programs")),),
            )
        if self.protocol == X11:
            return model.Phrase(
                title=text.said("X11 windows in a window"),
                allows=text.said("It can show its own windows inside one window; it cannot see or type into others."),
            )
        return model.Phrase(
            title=text.said("windows (Wayland)"),
            allows=text.said("It can show its own windows; it cannot see or type into others."),
            notes=(*((protection(host.wayland),) if host.wayland else ()), CLIPBOARD),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket and the variables that lead to it.

        Raises HostError ``no-wayland``, ``no-x11`` or ``no-nested-x11``.
        """
        return {WAYLAND: _wayland, X11: _nested, X11_HOST: _x11}[self.protocol](host, because)


def powers(names: tuple[str, ...]) -> tuple[str, ...]:
    """What a client to whom these interfaces are offered can do beyond its own windows, as verb phrases."""
    return tuple(dict.fromkeys(PRIVILEGED[name] for name in names if name in PRIVILEGED))


def in_context(found: facts.Wayland) -> bool:
    """Whether the compositor itself keeps sandboxed programs apart, as far as can be seen; else a filter has to."""
    return found.context is not None and not powers(found.context)


def protection(found: facts.Wayland) -> text.Said:
    """What keeps an app apart on this compositor, as a sentence."""
    if in_context(found):
        return text.said("The compositor keeps it apart (security context).")
    return text.said("A filter keeps it apart: this compositor does not.")


def _wayland(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    if host.wayland is None:
        raise errors.HostError(
            "no-wayland",
            "it shows its windows on Wayland, and no Wayland compositor answers here",
            hint="start it from a Wayland session (WAYLAND_DISPLAY and XDG_RUNTIME_DIR must be set)",
        )
    return (
        _apart(host.wayland, "wayland", because),
        sandbox.LaunchSocket(name="wayland", dest=f"/run/user/{host.account.uid}/wayland-0", because=because),
        sandbox.Env(name="WAYLAND_DISPLAY", value="wayland-0", because=because),
        sandbox.Env(name="XDG_SESSION_TYPE", value="wayland", because=because),
        sandbox.Pass(name="XDG_ACTIVATION_TOKEN", because=because),
        sandbox.Pass(name="DESKTOP_STARTUP_ID", because=because),
    )


def _apart(found: facts.Wayland, name: str, because: str) -> sandbox.Companion:
    """What makes the socket ``name`` of this launch, behind which the compositor is safe to reach for anybody."""
    program, own = "wayland_filter", ("k", *(f"={interface}" for interface in ORDINARY))
    if in_context(found):
        program, own = "wayland_context", ("a",)
    words = (f"s{name}", f"={found.socket}", *own)
    return sandbox.Companion(name=name, program=program, arguments=words, because=because)


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
        # The file itself opens other displays as well, and names a machine that has another name inside.
        words = (f"={host.x11.authority}", f"={host.x11.display}")
        ops += [
            sandbox.Companion(name="x11-authority", program="x11_authority", arguments=words, because=because),
            sandbox.LaunchFile(name="x11-authority", dest=dest, because=because),
            sandbox.Env(name="XAUTHORITY", value=dest, because=because),
        ]
    return tuple(ops)


def _nested(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    """A server of its own, drawn on the session's compositor or, without one, on its X11 display."""
    xwayland, xephyr = (host.program(name) for name in NESTED)
    beside: tuple[sandbox.Op, ...] = ()
    if host.wayland and xwayland:
        # The server is large and reads what the app sends: it gets no more of the compositor than an app.
        server, upstream, authority = xwayland, "sx11-compositor", ""
        beside = (_apart(host.wayland, "x11-compositor", because),)
    elif host.x11 and xephyr:
        server, upstream, authority = xephyr, f"={host.x11.socket}", host.x11.authority
    else:
        raise errors.HostError(
            "no-nested-x11",
            "it shows X11 windows, and nothing here can show them apart from those of other programs",
            hint="install Xwayland (on Wayland) or Xephyr (on X11), and start it from a session with a screen",
        )
    # The abstract socket of the same name must not exist: libxcb tries that one first.
    taken = {name.removeprefix("@/tmp/.X11-unix/X") for name in host.abstract_sockets}
    number = next(n for n in range(_FIRST_NESTED, 0xFFFF) if str(n) not in taken)
    words = (f"={host.bwrap}", f"={server}", upstream, f"={number}", f"={authority}", "c")
    return (
        *beside,
        sandbox.Companion(name="x11-server", program="x11_server", arguments=words, because=because),
        sandbox.LaunchSocket(name="x11", dest=f"/tmp/.X11-unix/X{number}", because=because),
        sandbox.Env(name="DISPLAY", value=f":{number}", because=because),
    )
