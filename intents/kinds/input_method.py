"""Kind ``input-method``: IBus or Fcitx by their portals (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes, text

KIND = "input-method"
DOC = """Type by an input method that is not part of the compositor: IBus or Fcitx, through the objects that they keep
for sandboxed apps. On Wayland most compositors bring their own, for which no intent is needed."""

# Of each, what makes a context of typing and what such a context does, and says, itself.
_IBUS, _FCITX = "org.freedesktop.portal.IBus", "org.freedesktop.portal.Fcitx"
RULES = (
    ("call", f"{_IBUS}=org.freedesktop.IBus.Portal.*@/org/freedesktop/IBus"),
    ("call", f"{_IBUS}=org.freedesktop.IBus.InputContext.*@/org/freedesktop/IBus/*"),
    ("call", f"{_IBUS}=org.freedesktop.IBus.Service.*@/org/freedesktop/IBus/*"),
    ("call", f"{_IBUS}=org.freedesktop.DBus.Properties.*@/org/freedesktop/IBus/*"),
    ("broadcast", f"{_IBUS}=org.freedesktop.IBus.InputContext.*@/org/freedesktop/IBus/*"),
    ("call", f"{_FCITX}=org.fcitx.Fcitx.InputMethod1.*@/org/freedesktop/portal/inputmethod"),
    ("call", f"{_FCITX}=org.fcitx.Fcitx.InputContext1.*@/org/freedesktop/portal/inputcontext/*"),
    ("broadcast", f"{_FCITX}=org.fcitx.Fcitx.InputContext1.*@/org/freedesktop/portal/inputcontext/*"),
)
# By these the toolkits learn which one the user has.
_VARIABLES = ("GTK_IM_MODULE", "QT_IM_MODULE", "QT_IM_MODULES", "SDL_IM_MODULE", "GLFW_IM_MODULE", "XMODIFIERS")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMethod(scopes.Whole):
    """It has no keys."""

    KIND: ClassVar[str] = KIND

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="bus", name="session"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("input method"),
            allows=text.said(
                "It can be typed into by your input method, and ask it for the words that it proposes to you."
            ),
            notes=(text.said("What an input method has learned from your typing is among them."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The filter's rules and the variables. Raises HostError ``no-bus`` or ``proxy-missing``."""
        # Without it IBus looks for a socket of its own below the configuration home.
        portal = sandbox.Env(name="IBUS_USE_PORTAL", value="1", because=because)
        passed = (sandbox.Pass(name=name, because=because) for name in _VARIABLES)
        return (*reach.bus_ops(host, "session", RULES, because), portal, *passed)
