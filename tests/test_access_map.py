"""The map of what a command line gives access to, on which the comparison with Flatpak stands (tests/oracle)."""

import os
import pathlib

import pytest

from intents import seccomp
from tests.oracle import access

MACHINE = os.uname().machine
NAMES = access.Names(own={"/srv/own": "/mine"}, filtered=("/srv/sockets",), buses={"/srv/bus": "session"})
FILTER = access.Recorded(
    words=("xdg-dbus-proxy", "--fd=9", "unix:path=/a", "/srv/sockets/session", "--filter", "--talk=a.b.C"),
    held={},
    leads={},
)


def of(line: str, *proxies: access.Recorded) -> access.AccessMap:
    """The map of a command line, whose filter is that of the base."""
    held = {"c": seccomp.build(MACHINE)}
    return access.read(
        access.Recorded(words=(*line.split(), "--", "x"), held=held, leads={"b0": "/srv/fd"}), proxies, MACHINE, NAMES
    )


def said(ours: str, theirs: str) -> list[str]:
    return [str(excess) for excess in access.beyond(of(ours), of(theirs))]


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ("--ro-bind /srv/a /x", "--ro-bind /srv/a /y", []),
        ("--ro-bind /srv/a /x", "--bind /srv /srv", []),
        ("--bind /srv/a /x", "--ro-bind /srv /srv", ["path /srv/a: write, not read"]),
        ("--dev-bind /srv/a /x", "--bind /srv /srv", ["path /srv/a: device, not write"]),
        ("--ro-bind /srv /x", "--ro-bind /srv/a /srv/a", ["path /srv: read, not nothing"]),
        ("--ro-bind-fd b0 /x", "", ["path /srv/fd: read, not nothing"]),
        ("--ro-bind /srv/own/a /x", "--bind /mine /mine", []),
        ("--ro-bind /srv/sockets/session /x", "", []),
        # What covers a part of a mount takes that part away, and nothing else.
        ("--bind /srv /srv", "--bind /srv /srv --tmpfs /srv/a", ["path /srv/a: write, not nothing"]),
        ("--bind /srv /srv --tmpfs /srv/a", "--bind /srv /srv --tmpfs /srv/a/b", []),
        ("--bind /srv /x --tmpfs /x/a", "--bind /srv /y --ro-bind /srv/a /y/a", []),
        ("--bind /srv /srv", "--bind /srv /srv --ro-bind /srv/a /srv/a", ["path /srv/a: write, not read"]),
        ("--tmpfs /srv/a --bind /srv /srv", "--bind /srv /srv --tmpfs /srv/a", ["path /srv/a: write, not nothing"]),
        ("--bind /srv /srv --dir /srv/a", "--bind /srv /srv --tmpfs /srv/a", ["path /srv/a: write, not nothing"]),
        ("--bind /srv /srv --ro-bind-data c /srv/a", "--bind /srv /srv", ["file /srv/a: given, not nothing"]),
        ("--setenv A 1", "--setenv B 1", ["variable A: given, not nothing"]),
        ("", "--unshare-all", [f"namespace {name}: given, not nothing" for name in access.NAMESPACES]),
        ("--unshare-all", "", []),
        ("--unshare-all --share-net", "--unshare-all", ["namespace net: given, not nothing"]),
        ("", "--cap-drop ALL", ["namespace capabilities: given, not nothing"]),
        ("--cap-drop CAP_CHOWN", "--cap-drop ALL", ["namespace capabilities: given, not nothing"]),
        ("--seccomp c", "--seccomp c", []),
        ("--ro-bind /srv/bus /x", "--ro-bind /srv /srv", ["bus session own *: given, not nothing"]),
    ],
)  # fmt: skip
def test_what_one_command_line_gives_and_another_does_not(ours: str, theirs: str, found: list[str]) -> None:
    assert said(ours, theirs) == found


def test_an_option_that_is_not_known_is_no_map() -> None:
    with pytest.raises(ValueError, match="--overlay"):
        of("--overlay /a /b /c /d")


def test_a_link_counts_as_what_it_leads_to(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert said(f"--bind {tmp_path}/link /x", f"--bind {tmp_path}/real /y") == []


def test_what_is_tried_and_absent_is_not_there(tmp_path: pathlib.Path) -> None:
    assert said(f"--bind-try {tmp_path}/no /x", "") == []
    assert said(f"--bind-try {tmp_path} /x", "") == [f"path {tmp_path}: write, not nothing"]


def test_a_call_counts_where_both_filters_decide_otherwise() -> None:
    found = said("", "--seccomp c")
    assert f"call ioctl({0x5412:#x}): allow, not EPERM" in found
    assert said("--seccomp c", "") == []


def test_the_rules_of_a_bus_are_those_behind_its_socket() -> None:
    assert of("", FILTER).rules == {("session", "talk", "a.b.C")}
    open_one = access.Recorded(words=tuple(word for word in FILTER.words if word != "--filter"), held={}, leads={})
    assert ("session", "own", "*") in of("", open_one).rules


RULES = [
    (("talk", "a.b.C"), ("talk", "a.b.C"), True),
    (("own", "a.b.C"), ("talk", "a.b.C"), True),
    (("talk", "a.b.C"), ("own", "a.b.C"), False),
    (("see", "a.b.C"), ("call", "a.b.C=*"), False),
    (("talk", "a.b.C"), ("call", "a.b.C=*"), True),
    (("talk", "a.b.*"), ("talk", "a.b.C.D"), True),
    (("talk", "a.b.*"), ("talk", "a.b"), True),
    (("talk", "a.b.*"), ("talk", "a.bb"), False),
    (("talk", "a.b"), ("talk", "a.b.*"), False),
    (("call", "a.b.*=*"), ("call", "a.b.C=i.M@/p"), True),
    (("call", "a.b=i.*"), ("call", "a.b=i.M"), True),
    (("call", "a.b=i.*"), ("call", "a.b=i.j.M"), False),
    (("call", "a.b=i.M"), ("call", "a.b=*"), False),
    (("call", "a.b=*@/p/*"), ("call", "a.b=i.M@/p/q"), True),
    (("call", "a.b=*@/p/*"), ("call", "a.b=i.M@/pq"), False),
    (("call", "a.b=*@/p"), ("call", "a.b=*"), False),
    (("call", "a.b=*"), ("broadcast", "a.b=*"), False),
    (("broadcast", "a.b=@/p/*"), ("broadcast", "a.b=*@/p/q"), True),
    (("call", "a.b=*"), ("talk", "a.b"), False),
    (("own", "*"), ("own", "a.b"), True),
]


@pytest.mark.parametrize(("wide", "narrow", "yes"), RULES)
def test_when_one_rule_covers_another(wide: tuple[str, str], narrow: tuple[str, str], yes: bool) -> None:
    assert access.covers(wide, narrow) is yes
