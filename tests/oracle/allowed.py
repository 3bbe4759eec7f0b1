"""Where a sandbox of ours gives something that Flatpak's does not, on purpose: each with the reason.

docs/comparison.md lists them. Subjects are written with `~` for the home and `$XDG_RUNTIME_DIR` for the runtime
directory. No entry is about a namespace; ``tests/real/test_flatpak_oracle.py`` holds that none has become useless.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.oracle.access import Excess


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One difference: what it is for people, of which kind, for which subjects, how much, and why.

    subject: a regular expression for the whole; ours: empty for however much; until: the Flatpak from which on there is
    no such difference.
    """

    title: str
    what: str
    subject: str
    ours: str = "given"
    because: str
    until: tuple[int, ...] = ()

    def explains(self, excess: Excess) -> bool:
        same = self.what == excess.what and self.ours in ("", excess.ours)
        return same and re.fullmatch(self.subject, excess.subject) is not None


ALLOWED = (
    Allowed(
        title="the host's `/usr`, to be read",
        what="path",
        subject=r"/usr",
        ours="read",
        because="Flatpak shows the files of its runtime there; the programs of an ordinary system are its own.",
    ),
    Allowed(
        title="settings of the system in `/etc`, to be read: linker, fonts, locale, toolkits, terminals",
        what="path",
        subject=r"/etc/(alternatives|drirc|fonts|glvnd|gtk-[234]\.0|inputrc|ld-musl-\w+\.path|ld\.so\.(cache|conf|conf\.d)"
        r"|locale\.(alias|conf)|localtime|mime\.types|pango|terminfo|timezone|vulkan|xdg)",
        ours="read",
        because="Programs of the system read them before anything else, and none tells who the user is; Flatpak's"
        " runtime has its own copies.",
    ),
    Allowed(
        title="certificates and the names of ports, to be read, with `network` and `dns`",
        what="path",
        subject=r"/etc/(services|protocols|ssl/certs|ssl/openssl\.cnf|ca-certificates|pki|crypto-policies)",
        ours="read",
        because="They say which servers to believe; Flatpak's runtime has its own copies. Flatpak shows how names are"
        " resolved to every app, we only with the grant.",
    ),
    Allowed(
        title="files that the sandbox is made with: `nsswitch.conf`, the client settings of PulseAudio",
        what="file",
        subject=r"/etc/nsswitch\.conf|/run/user/\d+/pulse/config",
        because="Nothing of the host's is in them; Flatpak's stand elsewhere.",
    ),
    Allowed(
        title="variables that tell toolkits where they are",
        what="variable",
        subject=r"GSETTINGS_BACKEND|GTK_A11Y|NO_AT_BRIDGE|XDG_SESSION_TYPE|IBUS_USE_PORTAL",
        because="Their values are ours, not those of the environment.",
    ),
    Allowed(
        title="locale, time zone and terminal type, where `--unset-env` takes them away",
        what="variable",
        subject=r"L(ANG|ANGUAGE|C_[A-Z]+)|TERM|COLORTERM|NO_COLOR|TZ|XDG_CURRENT_DESKTOP",
        because="Unsetting is about how a program behaves; these variables tell nothing secret.",
    ),
    Allowed(
        title="the user's themes, terminals, settings of fonts and toolkits, and fonts and icons at their old places",
        what="path",
        subject=r"~/(\.fonts|\.icons|\.themes|\.terminfo|\.local/share/themes|\.config/fontconfig"
        r"|\.config/gtk-[34]\.0/(settings\.ini|gtk\.css))",
        ours="read",
        because="To be read, by apps with windows: a program that is unreadable in a sandbox is used without one"
        " (SPEC §9.2.3). Flatpak shows fonts and icons, and has themes installed once more.",
    ),
    Allowed(
        title="with all of ~/.var/app, files in the app's own part of it",
        what="path",
        subject=r"~/\.var/app/org\.example\.App/.*",
        ours="write",
        because="Flatpak mounts other grants over some of them.",
    ),
    Allowed(
        title="a directory of videos that user-dirs.dirs does not name",
        what="path",
        subject=r"~/Videos(/.*)?",
        ours="",
        because="Where user-dirs.dirs is silent, Flatpak gives nothing, we the directory of the usual name, which the"
        " prompt shows.",
    ),
    Allowed(
        title="`/dev/udmabuf` and `/dev/kfd`, with `gpu`",
        what="path",
        subject=r"/dev/(udmabuf|kfd)",
        ours="device",
        because="Newer Flatpaks give them with `dri` as well: udmabuf since 1.16.1, kfd since 1.18.",
        until=(1, 18),
    ),
    Allowed(
        title="personality(PER_LINUX32)",
        what="call",
        subject=r"(foreign )?personality\(0x8\)",
        ours="allow",
        because="It changes what uname(2) says and takes no protection off; Flatpak allows it to 32-bit runtimes.",
    ),
    Allowed(
        title="`org.freedesktop.secrets`, for a permission to use the GNOME keyring",
        what="bus",
        subject=r"session talk org\.freedesktop\.secrets",
        because="The keyring is the program that answers to this name, which is critical and asked for as such.",
    ),
    Allowed(
        title="registering a tray icon, for a permission to own the name of one",
        what="bus",
        subject=r"session (call|broadcast) org\.kde\.StatusNotifierWatcher=.*@/StatusNotifierWatcher",
        because="The name of an icon is good for nothing else.",
    ),
    Allowed(
        title="signals of both IBus and Fcitx to the app's own input, for a permission to use one of them",
        what="bus",
        subject=r"session broadcast org\.freedesktop\.portal\.(IBus|Fcitx)=org\.[\w.]+\.InputContext.*@/.*/\*",
        because="`input-method` is whichever is there; Flatpak lets every app call both, and hear what is sent to it"
        " alone.",
    ),
    Allowed(
        title="names below a media player's own",
        what="bus",
        subject=r"session own org\.mpris\.MediaPlayer2\.[^. ]+(\.[^. *]+)*\.\*",
        because="A player with several windows has one for each (MPRIS), and nobody else has them.",
    ),
)


def unexplained(found: Iterable[Excess]) -> tuple[Excess, ...]:
    """What no entry explains."""
    return tuple(excess for excess in found if not any(entry.explains(excess) for entry in ALLOWED))


def used(found: Iterable[Excess]) -> frozenset[int]:
    """The numbers of the entries that explain something."""
    listed = tuple(found)
    return frozenset(at for at, entry in enumerate(ALLOWED) if any(entry.explains(excess) for excess in listed))
