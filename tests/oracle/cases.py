"""The sets of Flatpak permissions that are compared: every single one, and sets that real apps have had."""

import json
import lzma
import pathlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.oracle import scenery

CORPUS = pathlib.Path(__file__).parents[1] / "corpora" / "flathub-finish-args.jsonl.xz"
# Options of flatpak-run(1) that give or take something; the others are about the package.
PERMISSION = re.compile(
    r"--((un)?share|(no)?socket|(no)?device|allow|disallow|(no)?filesystem|env|unset-env|persist|(add|remove)-policy"
    r"|(own|talk|no-talk)-name|system-(own|talk|no-talk)-name)=.*"
)
_HOME = re.compile(r"--filesystem=(~|home|xdg-[a-z-]+)/([^:]+)(:ro|:rw)?")
_ROOTS = {
    "~": "", "home": "", "xdg-config": ".config", "xdg-data": ".local/share", "xdg-cache": ".cache",
    "xdg-documents": "Documents", "xdg-download": "Downloads", "xdg-pictures": "Pictures", "xdg-desktop": "Desktop",
    "xdg-videos": "Videos", "xdg-public-share": "Public", "xdg-templates": "Templates",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One set of options of flatpak-build-finish(1)."""

    name: str
    tokens: tuple[str, ...]

    @property
    def permissions(self) -> tuple[str, ...]:
        """What `flatpak run` takes of it, for the one app that is there."""
        return tuple(token for token in self.tokens if PERMISSION.fullmatch(token))


_SINGLE = """
    --share=network --share=ipc
    --socket=wayland --socket=x11 --socket=fallback-x11 --socket=pulseaudio --socket=session-bus --socket=system-bus
    --socket=ssh-auth --socket=pcsc --socket=cups --socket=gpg-agent
    --device=dri --device=kvm --device=shm --device=all --device=input --device=usb
    --allow=devel --allow=multiarch --allow=bluetooth --allow=canbus --allow=per-app-dev-shm
    --add-policy=example.key=value --env=COLOUR=blue --unset-env=LANG --persist=.thing --persist=.
    --talk-name=org.freedesktop.Notifications --talk-name=org.freedesktop.secrets --talk-name=org.gnome.keyring.*
    --talk-name=org.kde.StatusNotifierWatcher --talk-name=org.freedesktop.FileManager1 --talk-name=ca.desrt.dconf
    --talk-name=org.freedesktop.ScreenSaver --talk-name=org.gnome.SessionManager --talk-name=org.example.Other
    --talk-name=org.gnome.SettingsDaemon.MediaKeys --talk-name=com.canonical.AppMenu.Registrar
    --talk-name=org.freedesktop.PowerManagement --talk-name=org.freedesktop.Flatpak --talk-name=org.freedesktop.systemd1
    --talk-name=org.freedesktop.portal.Fcitx --talk-name=org.freedesktop.portal.IBus --talk-name=org.freedesktop.IBus
    --talk-name=org.freedesktop.portal.Desktop --talk-name=org.kde.kwalletd5 --talk-name=org.a11y.Bus
    --talk-name=org.example.Other.* --own-name=org.example.App --own-name=org.example.App.* --own-name=org.example.Else
    --own-name=org.mpris.MediaPlayer2.player --own-name=org.mpris.MediaPlayer2.player.*
    --own-name=org.kde.StatusNotifierItem-2-1 --own-name=org.kde.*
    --system-talk-name=org.freedesktop.UPower --system-talk-name=org.freedesktop.login1
    --system-talk-name=org.freedesktop.UDisks2.* --system-own-name=org.example.Service
    --filesystem=host --filesystem=host:ro --filesystem=host-os --filesystem=host-etc
    --filesystem=home --filesystem=home:ro --filesystem=~ --filesystem=xdg-desktop --filesystem=xdg-documents:ro
    --filesystem=xdg-download --filesystem=xdg-download/sub:create --filesystem=xdg-music --filesystem=xdg-pictures
    --filesystem=xdg-public-share --filesystem=xdg-templates --filesystem=xdg-videos --filesystem=xdg-documents/sub
    --filesystem=xdg-config/foo --filesystem=xdg-config/kdeglobals:ro --filesystem=xdg-config --filesystem=xdg-data
    --filesystem=xdg-data/foo:ro --filesystem=xdg-cache --filesystem=xdg-cache/foo --filesystem=xdg-run/foo.sock
    --filesystem=xdg-run/pipewire-0 --filesystem=xdg-run/gnupg:ro --filesystem=xdg-run/app/org.discord
    --filesystem=xdg-run/dconf --filesystem=xdg-run/gvfs --filesystem=xdg-run/keyring
    --filesystem=~/Projects/deep --filesystem=home/Projects/deep:ro --filesystem=~/absent --filesystem=~/made:create
    --filesystem=~/secret.txt:ro --filesystem=~/link --filesystem=~/etc-link --filesystem=~/.config/linked:ro
    --filesystem=~/.ssh:ro --filesystem=~/.bashrc --filesystem=~/.var/app --filesystem=~/.var/app/org.other.App
    --filesystem=~/.local/share/flatpak --filesystem=~/.config/autostart:create --filesystem=~/.local/bin
    --filesystem=/tmp --filesystem=/var/tmp --filesystem=/run --filesystem=/run/media --filesystem=/etc
    --filesystem=/usr/share --filesystem=/var/lib --filesystem=/var/log:ro --filesystem=/home --filesystem=/opt
    --filesystem=/srv:ro --filesystem=/media --filesystem=/sys --filesystem=/dev/shm --filesystem=/proc
"""
_TOGETHER = """
    --socket=fallback-x11 --socket=wayland
    --socket=x11 --share=ipc
    --socket=x11 --share=network
    --filesystem=home --nofilesystem=~/.ssh
    --filesystem=home --nofilesystem=home
    --filesystem=home --nofilesystem=xdg-documents
    --filesystem=home --filesystem=~/.config/foo
    --filesystem=home:ro --filesystem=xdg-download
    --filesystem=home --filesystem=xdg-download:ro
    --filesystem=host --filesystem=xdg-download:ro
    --filesystem=host --filesystem=home:ro
    --filesystem=host:ro --filesystem=home
    --filesystem=xdg-documents --filesystem=xdg-documents/sub:ro
    --filesystem=/srv --filesystem=/srv/data:ro
    --filesystem=home --persist=.thing
    --filesystem=host --filesystem=xdg-config/foo:ro
    --filesystem=host --filesystem=~/.var/app --filesystem=/var:ro
    --filesystem=~/.var/app --filesystem=xdg-data/foo:ro
    --filesystem=~/Projects --filesystem=~/Projects/deep:ro
    --filesystem=~/Projects:ro --filesystem=~/Projects/deep
    --share=network --unshare=network
    --socket=wayland --nosocket=wayland
    --device=all --nodevice=all
    --device=all --device=shm
    --allow=devel --disallow=devel
    --talk-name=org.example.Other --no-talk-name=org.example.Other
    --socket=session-bus --talk-name=org.example.Other
"""


def singles() -> tuple[Case, ...]:
    """Every permission alone, and those that mean something else together."""
    alone = tuple(Case(name=token, tokens=(token,)) for token in _SINGLE.split())
    rows = [line.split() for line in _TOGETHER.strip().splitlines()]
    return (Case(name="none", tokens=()), *alone, *(Case(name=" ".join(row), tokens=tuple(row)) for row in rows))


def drawn(count: int, seed: int) -> tuple[Case, ...]:
    """So many different sets of the corpus, each of one app at one time; the app's id is changed to that of ours."""
    sets: dict[tuple[str, ...], str] = {}
    for line in lzma.decompress(CORPUS.read_bytes()).decode().splitlines():
        app = json.loads(line)
        for tokens in app["sets"]:
            sets.setdefault(tuple(token.replace(app["id"], scenery.APP) for token in tokens), app["id"])
    chosen = random.Random(seed).sample(sorted(sets), min(count, len(sets)))
    return tuple(Case(name=f"{sets[tokens]} {number}", tokens=tokens) for number, tokens in enumerate(chosen))


def homely(cases: Iterable[Case]) -> tuple[str, ...]:
    """The places below the home that the sets name, so that they can be there."""
    found = [_HOME.fullmatch(token) for case in cases for token in case.tokens]
    known = [(match[1], match[2]) for match in found if match and match[1] in _ROOTS and ".." not in match[2]]
    return tuple(dict.fromkeys(f"{_ROOTS[root]}/{below}".strip("/") for root, below in known))
