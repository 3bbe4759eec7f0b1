"""Files on the command line: whatever the arguments, those very files are given and nothing else (SPEC §9.7)."""

import dataclasses
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import launch, named
from intents import facts
from intents import named as rules
from tests.laws import generate
from tests.real import world
from tests.test_compile import host

MAKES = {b"=--dir": 1, b"=--perms": 1, b"=--ro-bind-fd": 2, b"=--bind-fd": 2}


class Home:
    """A home with all that can be named, and the plan of an app that reads ~/Notes and writes ~/Work."""

    def __init__(self, where: world.World, sections: launch.Sections) -> None:
        self.where, self.sections = where, sections

    def give(self, *words: str | bytes, wanted: str = "", cwd: str = "") -> "Given":
        said: list[str] = []
        before = os.getcwd()
        os.chdir(self.where.home / cwd)
        try:
            arguments = [os.fsencode(word) for word in words]
            sections, found = named.give(self.sections, arguments, wanted.encode(), launch.walk, said.append)
        finally:
            os.chdir(before)
        return Given(self, sections, found, said)


class Given:
    """What one command line gave. ``binds``: place inside -> (what is mounted there, whether to be changed)."""

    def __init__(self, home: Home, sections: launch.Sections, words: list[bytes], said: list[str]) -> None:
        self.words, self.said = [os.fsdecode(word) for word in words], said
        self.binds: dict[str, tuple[str, bool]] = {}
        self.made: list[str] = []
        self.others = {name: part for name, part in sections.items() if part != home.sections[name]}
        before, after = home.sections["args"], sections["args"]
        at = before.index(b"=--remount-ro")
        added = [*after[at : len(after) - len(before) + at]]
        self.directory = os.fsdecode(next(arg for arg in after[after.index(b"=--chdir") + 1 :]))[1:]
        while added:
            option, *operands = added[: 1 + MAKES[added[0]]]
            del added[: 1 + len(operands)]
            if option == b"=--dir":
                self.made.append(os.fsdecode(operands[0][1:]))
            elif option != b"=--perms":
                handle = int(operands[0][1:])
                assert stat.S_ISREG(os.fstat(handle).st_mode)
                place = os.fsdecode(operands[1][1:])
                assert place not in self.binds, "one place, one file"
                self.binds[place] = os.readlink(f"/proc/self/fd/{handle}"), option == b"=--bind-fd"
                os.close(handle)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with world.world() as where:
        at = where.home
        for directory in ("Docs/deep", "Notes", "Work", ".ssh", "Down", ".config/app"):
            (at / directory).mkdir(parents=True)
        for file in ("Docs/a", "Docs/deep/b c", "Notes/n", "Work/w", ".ssh/key", "Down/l\n\x1b[2J", "-o", "50%", ".rc"):
            (at / file).write_text(file)
        (at / ".config/app/rc").write_text("rc")
        os.link(at / ".ssh/key", at / "Down/hard")
        os.mkfifo(at / "Down/fifo")
        for name, target in {
            "Down/link": "../Docs/a", "Down/dir": "../Docs", "Down/hidden": "../.ssh/key", "Down/loop": "loop",
            "Down/journal": "../.local/state/intents/broker.db", "Work/planted": "../Docs/a", "Down/two": "link",
            "Down/up": "..", "Work/own": "w", "Down/notes": "../Notes/n",
        }.items():  # fmt: skip
            (at / name).symlink_to(target)
        places = {
            name.lower(): {"kind": "path", "place": f"home/{name}", "access": access}
            for name, access in (("Notes", "read"), ("Work", "write"))
        }
        where.install(world.manifest(["/bin/true"], places, files="read"))
        where.decide()
        assert where.start().returncode == 0
        sections = launch.read(f"{where.places.state}/plans/{world.APP}.pipe")
        assert sections is not None
        yield Home(where, sections)


def test_a_file_is_given_at_its_own_path_to_be_read(home: Home) -> None:
    path = f"{home.where.home}/Docs/deep/b c"
    found = home.give(path, "--view")
    assert found.binds == {path: (path, False)}
    assert found.words == [path, "--view"]
    assert found.said == ['Example may read "~/Docs/deep/b c" for this run']
    assert found.made == [f"{home.where.home}/Docs", f"{home.where.home}/Docs/deep"]
    assert found.others.keys() == {"args"}


def test_the_user_can_let_it_be_changed(home: Home) -> None:
    path = f"{home.where.home}/Docs/a"
    found = home.give(path, wanted="write")
    assert found.binds == {path: (path, True)}
    assert found.said == ["Example may read and change ~/Docs/a for this run"]


@pytest.mark.parametrize("word", ["a", "./a", "deep/../a", "../Docs/a"])
def test_a_relative_name_leads_to_its_file_from_the_same_directory(home: Home, word: str) -> None:
    found = home.give(word, cwd="Docs")
    assert [*found.binds] == [f"{home.where.home}/Docs/a"]
    assert found.words == [word]
    assert found.directory == f"{home.where.home}/Docs"
    assert f"{home.where.home}/Docs" in found.made


def test_where_the_directory_is_the_apps_own_the_name_becomes_absolute(home: Home) -> None:
    found = home.give("rc", "../../Docs/a", cwd=".config/app")
    at = str(home.where.home)
    assert found.words == [f"{at}/.granted/.config/app/rc", f"{at}/Docs/a"]
    assert found.binds[f"{at}/.granted/.config/app/rc"] == (f"{at}/.config/app/rc", False)


def test_what_a_grant_shows_is_left_alone(home: Home) -> None:
    at = str(home.where.home)
    for word in ("Notes/n", "Work/w", "Work/own", "Notes", "/usr/bin/env", "/dev/null", "/dev/stdin"):
        found = home.give(word if word.startswith("/") else f"{at}/{word}")
        assert (found.binds, found.said) == ({}, []), word
    assert home.give(f"{at}/Down/notes").words == [f"{at}/Notes/n"]
    # A grant to read is no grant to change; the mount is at the file that is there.
    assert home.give(f"{at}/Notes/n", wanted="write").binds == {f"{at}/Notes/n": (f"{at}/Notes/n", True)}
    assert home.give(f"{at}/Work/w", wanted="write").binds == {}
    os.link(f"{at}/Notes/n", f"{at}/Down/second")
    found = home.give(f"{at}/Notes/n", wanted="write")
    os.unlink(f"{at}/Down/second")
    assert found.binds == {} and found.said[0].startswith("Example may not change ~/Notes/n: it has another name")


def test_a_link_is_resolved_and_shown(home: Home) -> None:
    at = str(home.where.home)
    for word in ("Down/link", "Down/dir/a", "Down/two", "Down/up/Docs/a"):
        found = home.give(f"{at}/{word}")
        assert found.binds == {f"{at}/Docs/a": (f"{at}/Docs/a", False)}, word
        assert found.words == [f"{at}/Docs/a"]
        assert found.said == [f"Example may read ~/{word} → ~/Docs/a for this run"]


def test_a_link_of_somebody_else_is_not_followed_and_one_of_the_system_is(home: Home) -> None:
    at = str(home.where.home)
    found = home.give(f"/proc/self/root{at}/Docs/a")  # a link of the kernel's, to the root
    assert found.binds.keys() == {f"{at}/Docs/a"}
    if os.geteuid() == 0:
        os.chown(f"{at}/Down/link", 65534, 65534, follow_symlinks=False)
        try:
            found = home.give(f"{at}/Down/two")
        finally:
            os.chown(f"{at}/Down/link", 0, 0, follow_symlinks=False)
        assert (found.binds, ["somebody else may have made" in line for line in found.said]) == ({}, [True])


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("Docs", "a directory"),
        ("Down/up", "a directory"),
        ("Down/fifo", "not a regular file"),
        ("Down/hard", "another name"),
        ("Down/hidden", "link to a hidden file"),
        ("Down/journal", "belongs to the running system, or to intents"),
        ("Work/planted", "a link that the app"),
        (".local/state/intents/broker.db", "or to intents itself"),
        (".local/share/intents/manifests/org.example.App.toml", "or to intents itself"),
        ("/proc/1/status", "belongs to the running system"),
        ("/sys/kernel/uevent_seqnum", "belongs to the running system"),
        ("/etc/passwd", "something of its own"),
    ],
)
def test_what_is_not_given_is_said(home: Home, word: str, why: str) -> None:
    found = home.give(word if word.startswith("/") else f"{home.where.home}/{word}")
    assert found.binds == {}
    assert len(found.said) == 1 and why in found.said[0], found.said


def test_what_decides_which_programs_run_is_changed_only_on_the_users_word(home: Home) -> None:
    editor = dict(home.sections)
    at = editor["settings"].index(b"files") + 1
    editor["settings"] = (*editor["settings"][:at], b"write", *editor["settings"][at + 1 :])
    of_editor = Home(home.where, editor)
    hidden, plain = f"{home.where.home}/.rc", f"{home.where.home}/Docs/a"
    found = of_editor.give(hidden, plain)
    assert found.binds == {hidden: (hidden, False), plain: (plain, True)}
    assert any("may not change ~/.rc" in line and "--write" in line for line in found.said)
    assert of_editor.give(hidden, wanted="write").binds == {hidden: (hidden, True)}
    assert of_editor.give(plain, wanted="read").binds == {plain: (plain, False)}


def test_intents_itself_is_never_given_to_be_changed(home: Home) -> None:
    path = os.path.realpath(named.__file__)
    found = home.give(path, wanted="write")
    assert found.binds[path] == (path, False)
    assert any("run from it" in line for line in found.said)


def test_the_rules_follow_the_machine() -> None:
    """Media that are plugged in may be given although they lie below /run; no app changes what its closure is."""
    seen = host(code=("/opt/intents",))
    moved = (*(pair for pair in seen.directories if pair[0] != "removable"), ("removable", "/run/media/user"))
    needed = facts.Closure(entries=(facts.Entry(path="/lib/libapp.so.1", kind="file"),))
    found = rules.files("write", dataclasses.replace(seen, directories=moved, closure=needed))
    assert found is not None and found.access == "write"
    assert {("closed", "/run/"), ("open", "/run/media/user/"), ("own", "/tmp/")} <= {*found.rules}
    assert {path for word, path in found.rules if word == "kept"} == {"/opt/intents/", "/lib/libapp.so.1/"}
    assert rules.files("", seen) is None


def test_uris_are_read_and_written(home: Home) -> None:
    at = str(home.where.home)
    plain = f"file://{at}/Docs/deep/b%20c"
    assert home.give(plain).words == [plain]
    assert home.give(f"file://localhost{at}/Docs/a#page=2").binds.keys() == {f"{at}/Docs/a"}
    assert home.give(f"file://{at}/Down/link#page=2").words == [f"file://{at}/Docs/a#page=2"]
    unread = [f"{at}/Docs/a%00", f"{at}/Docs/%6", f"elsewhere{at}/Docs/a", "/%zz", ""]
    for none in (f"file://{rest}" for rest in unread):
        assert (home.give(none).binds, home.give(none).words) == ({}, [none])


def test_options_are_no_files_but_after_two_dashes(home: Home) -> None:
    assert home.give("-o", "--file=Docs/a", "-").binds == {}
    assert home.give("--", "-o").binds.keys() == {f"{home.where.home}/-o"}


def test_one_line_however_many_and_however_named(home: Home, tmp_path: pathlib.Path) -> None:
    many = home.where.home / "many"
    many.mkdir(exist_ok=True)
    names = [f"{many}/{number}" for number in range(named.LIMIT + 3)]
    for name in names:
        pathlib.Path(name).touch()
    found = home.give(*names, names[0])
    assert len(found.binds) == named.LIMIT
    assert len(found.said) == 2
    assert found.said[0].endswith("and 497 more for this run")
    assert "at most 500" in found.said[1]
    (line,) = home.give("Down/l\n\x1b[2J").said
    assert line == r'Example may read "~/Down/l\\n\\x1b[2J" for this run'


MOUNTED = """
import sys
sys.path.insert(0, {root!r})
from broker import launch, named
sections = launch.read({plan!r})
named.give(sections, [b"{directory}/file"], b"", launch.walk, print)
"""


def test_what_is_mounted_in_tmp_is_not_given(home: Home) -> None:
    plan = f"{home.where.places.state}/plans/{world.APP}.pipe"
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        pathlib.Path(directory, "file").write_text("text")
        assert home.give(f"{directory}/file").said == [f"Example may read {directory}/file for this run"]
        child = MOUNTED.format(root=str(world.ROOT), plan=plan, directory=directory)
        mount = 'mount -t tmpfs none "$1" && echo text >"$1/file" && exec "$2" -c "$3"'
        words = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh", directory, sys.executable, child]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "is mounted in a directory that everybody can write" in done.stdout


NAMES = st.sampled_from(
    ["Docs/a", "Docs/deep/b c", "Notes/n", "Work/w", "Work/planted", ".ssh/key", "Down/hard", "Down/fifo", "Down/link",
     "Down/dir/a", "Down/hidden", "Down/journal", "Down/loop", "Down/two", "-o", "50%", ".rc", ".config/app/rc", "Docs",
     ".local/state/intents/broker.db", ".local/share/intents/apps", "Down/l\n\x1b[2J", "", ".", "none"],
)  # fmt: skip
HERE = "HERE"
BEFORE = st.sampled_from(["", "./", "Down/../", "Down/up/", "//", "/proc/self/root", "/proc/self/cwd/", "../home/"])
SHAPES = st.sampled_from(
    ["{0}", "{1}{0}", "{2}/{0}", "{1}{2}/{0}", "file://{2}/{0}", "--file={2}/{0}", "{2}/{0}/", "--"],
)
ANYTHING = st.lists(st.sampled_from("/.~-%#?aDocs\n é\x1b"), max_size=8).map("".join)


def worded(name: str, shape: str, before: str) -> str:
    """An argument that names something, with HERE for the home."""
    quoted = urllib.parse.quote(name) if shape.startswith("file:") else name
    return shape.format(quoted, before, HERE)


WORDS = st.lists(st.one_of(st.builds(worded, NAMES, SHAPES, BEFORE), ANYTHING), max_size=5)


@settings(generate.MANY, max_examples=generate.EXAMPLES)
@given(WORDS, st.sampled_from(["", "read", "write"]), st.sampled_from(["", "Docs", "Down", ".ssh"]))
def test_no_argument_gives_more_than_the_files_that_are_named(
    home: Home, words: list[str], wanted: str, cwd: str
) -> None:
    at = str(home.where.home)
    asked = [word.replace(HERE, at) for word in words]
    found = home.give(*(word.encode() for word in asked), wanted=wanted, cwd=cwd)
    # What each argument can name, said a second time and by the library.
    able = [
        urllib.parse.unquote(word.removeprefix("file://")) if word.startswith("file://") else f"{at}/{cwd}/{word}"
        for word in asked
    ] + asked
    able = [word.replace("/proc/self/cwd", f"{at}/{cwd}") for word in able if word.startswith("/") and "\0" not in word]
    able = [os.path.realpath(word) for word in able]
    for place, (source, changed) in found.binds.items():
        assert source in able
        assert place in (source, source.replace(f"{at}/", f"{at}/.granted/"))
        assert not any(part in source for part in ("/intents/", "planted", "fifo", "hard"))
        assert wanted == "write" or not changed
        assert not place.startswith((f"{at}/Work/", f"{at}/.config/"))
        assert os.stat(source).st_nlink == 1
    assert all(place.startswith("/") and not place.startswith((f"{at}/Work", f"{at}/.config")) for place in found.made)
    # Each argument is as it was, or leads to a file that is there inside.
    assert len(found.words) == len(asked)
    for before, after in zip(asked, found.words, strict=True):
        inside = after == os.fsdecode(before.encode())
        where = urllib.parse.unquote(after.removeprefix("file://"))
        assert inside or where in found.binds or where.startswith((f"{at}/Notes", f"{at}/Work", at)), (before, after)
    assert all(line.isprintable() for line in found.said)
    assert len(found.said) <= 8
