"""Sandboxes of ours made wider by hand: what the comparison must find, or it finds nothing."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from intents import seccomp
from tests.oracle import access, ours, scenery

Edit = Callable[[ours.Records, scenery.Scenery], ours.Records]
AF_VSOCK = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """A widening of the sandbox for ``tokens``, and the excess that it is."""

    tokens: tuple[str, ...]
    edit: Edit
    found: str


def _words(change: Callable[[list[str]], Sequence[str]]) -> Edit:
    """The command line changed, up to its ``--``."""

    def edit(records: ours.Records, scene: scenery.Scenery) -> ours.Records:
        here = {"{home}": str(scene.world.home), "{runtime}": str(scene.world.runtime)}
        changed = change(list(records.sandbox.words[:-1]))
        for name, path in here.items():
            changed = [word.replace(name, path) for word in changed]
        return replace(records, sandbox=replace(records.sandbox, words=(*changed, "--")))

    return edit


def _more(*words: str) -> Edit:
    return _words(lambda before: [*before, *words])


def _without(*words: str) -> Edit:
    def cut(before: list[str]) -> list[str]:
        at = next(at for at in range(len(before)) if tuple(before[at : at + len(words)]) == words)
        return before[:at] + before[at + len(words) :]

    return _words(cut)


def _writable(records: ours.Records, scene: scenery.Scenery) -> ours.Records:
    """The mount that a grant to read gives, made one to write."""
    words, leads = list(records.sandbox.words), records.sandbox.leads
    (source,) = (number for number, path in leads.items() if path == f"{scene.world.home}/Projects")
    words[words.index(source) - 1] = "--bind-fd"
    return replace(records, sandbox=replace(records.sandbox, words=tuple(words)))


def _rule(bus: str, rule: str) -> Edit:
    words = ("xdg-dbus-proxy", "unix:path=/bus", f"{scenery.LAUNCH}/{bus}", "--filter", rule)
    more = access.Recorded(words=words, held={}, leads={})
    return lambda records, _: replace(records, proxies=(*records.proxies, more))


def _unfiltered(records: ours.Records, _: scenery.Scenery) -> ours.Records:
    def bare(proxy: access.Recorded) -> access.Recorded:
        return replace(proxy, words=tuple(word for word in proxy.words if word != "--filter"))

    return replace(records, proxies=tuple(bare(proxy) for proxy in records.proxies))


def _filter(**given: tuple[int, ...] | tuple[str, ...]) -> Edit:
    def edit(records: ours.Records, _: scenery.Scenery) -> ours.Records:
        program = seccomp.build(os.uname().machine, **given)  # type: ignore[arg-type]
        return replace(records, sandbox=replace(records.sandbox, held={**records.sandbox.held, "c": program}))

    return edit


_SPLIT = [f"--unshare-{name}" for name in ("pid", "net", "uts", "cgroup-try")]
_OPEN = (*seccomp.DEFAULT_FAMILIES, AF_VSOCK)

PLANTS = {
    "the home": Plant(tokens=(), edit=_more("--bind", "{home}", "{home}"), found="path ~: write, not nothing"),
    "a key": Plant(
        tokens=("--filesystem=xdg-documents",),
        edit=_more("--ro-bind", "{home}/.ssh/id_ed25519", "/tmp/key"),
        found="path ~/.ssh/id_ed25519: read, not nothing",
    ),
    "a change": Plant(
        tokens=("--filesystem=~/Projects:ro",),
        edit=_writable,
        found="path ~/Projects: write, not read",
    ),
    "what Flatpak hides": Plant(
        tokens=("--filesystem=home",),
        edit=_more("--bind", "{home}/.var", "{home}/.var"),
        found="path ~/.var/app: write, not nothing",
    ),
    "the settings of the system": Plant(
        tokens=("--share=network",), edit=_more("--ro-bind", "/etc", "/etc"), found="path /etc: read, not nothing"
    ),
    "the run directory": Plant(
        tokens=("--filesystem=host",), edit=_more("--bind", "/run", "/run"), found="path /run: write, not nothing"
    ),
    "an agent": Plant(
        tokens=("--socket=gpg-agent",),
        edit=_more("--ro-bind", "{runtime}/ssh-agent", "/run/agent"),
        found="path $XDG_RUNTIME_DIR/ssh-agent: read, not nothing",
    ),
    "a device": Plant(
        tokens=("--device=kvm",), edit=_more("--dev-bind", "/dev/dri", "/dev/dri"), found="path /dev/dri: device"
    ),
    "the network": Plant(tokens=("--share=ipc",), edit=_more("--share-net"), found="namespace net: given"),
    "shared memory": Plant(
        tokens=("--share=network",),
        edit=_words(lambda before: [*_SPLIT, *(word for word in before if word != "--unshare-all"), "--share-net"]),
        found="namespace ipc: given",
    ),
    "capabilities": Plant(tokens=(), edit=_without("--cap-drop", "ALL"), found="namespace capabilities: given"),
    "a variable": Plant(tokens=(), edit=_more("--setenv", "LD_PRELOAD", "x"), found="variable LD_PRELOAD: given"),
    "a rule": Plant(
        tokens=("--talk-name=org.example.Other",),
        edit=_rule("session", "--talk=org.freedesktop.systemd1"),
        found="bus session talk org.freedesktop.systemd1: given",
    ),
    "a wider rule": Plant(
        tokens=("--talk-name=org.example.Other",),
        edit=_rule("session", "--own=org.example.Other"),
        found="bus session own org.example.Other: given",
    ),
    "the other bus": Plant(
        tokens=("--talk-name=org.freedesktop.UDisks2",),
        edit=_rule("system", "--talk=org.freedesktop.UDisks2"),
        found="bus system talk org.freedesktop.UDisks2: given",
    ),
    "no bus filter": Plant(
        tokens=("--talk-name=org.example.Other",), edit=_unfiltered, found="bus session own *: given"
    ),
    "the bus itself": Plant(
        tokens=("--talk-name=org.example.Other",),
        edit=_more("--ro-bind", "{runtime}/bus", "/run/bus"),
        found="bus session own *: given",
    ),
    "calls": Plant(tokens=(), edit=_filter(features=("debugging",)), found="call 101: allow, not EPERM"),
    "a family of sockets": Plant(
        tokens=("--share=network",), edit=_filter(families=_OPEN), found=f"call socket({AF_VSOCK:#x}): allow"
    ),
    "no filter": Plant(tokens=(), edit=_without("--seccomp", "c"), found="call 165: allow, not EPERM"),
}  # fmt: skip
