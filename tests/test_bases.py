"""Bases, closures and places for media as they compile on recorded machines (SPEC §5.3, §9.2)."""

import dataclasses
import os
import pathlib
import pwd
import re
from collections.abc import Iterator

import pytest

from broker import host as hosts
from intents import base, bwrap, compiler, errors, facts, model, paths, plan, sandbox, sight
from intents.kinds import path
from tests import machine
from tests.real import peers
from tests.test_compile import HOME, READ, WRITE, at, compiled, host


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pathlib.Path]:
    yield from machine.account(tmp_path, monkeypatch)


MEDIA = "/run/media/user"


def plugged(*names: str) -> facts.HostFacts:
    """A machine on which media of these names are mounted."""
    seen = host(found=(at(MEDIA, entries=tuple((name, "dir") for name in names)), *(at(f"{MEDIA}/{n}") for n in names)))
    return dataclasses.replace(seen, directories=(*seen.directories, ("removable", MEDIA)))


def test_media_are_given_one_by_one() -> None:
    box = compiled(plugged("STICK", "CAMERA"), **{**READ, "place": "removable"}).sandbox
    given = [(op.dest, op.access) for op in box.mounts if isinstance(op, sandbox.Bind) and op.because == "it"]
    assert given == [(f"{MEDIA}/CAMERA", sandbox.Access.READ), (f"{MEDIA}/STICK", sandbox.Access.READ)]
    box = compiled(plugged("STICK", "CAMERA"), **{**WRITE, "place": "removable/STICK"}).sandbox
    given = [(op.dest, op.access) for op in box.mounts if isinstance(op, sandbox.Bind) and op.because == "it"]
    assert given == [(f"{MEDIA}/STICK", sandbox.Access.WRITE)]
    assert not [op for op in compiled(plugged(), **{**READ, "place": "removable"}).sandbox.ops if op.because == "it"]
    phrase = path.Path.read({"place": "removable", "access": "read"}).phrase(plugged("STICK"))
    assert phrase.allows == f"It can read everything on the media that are mounted in {MEDIA}."
    for access in ("read", "write"):
        assert path.Path.read({"place": "removable", "access": access}).risk(plugged()) is model.Risk.HIGH


def test_nothing_else_of_the_running_system_is_a_medium() -> None:
    astray = at(f"{HOME}/link", real="/run/media/other/STICK")
    shown = dataclasses.replace(plugged("proc"), kernel=(f"{MEDIA}/proc",))
    for seen, place in (
        (dataclasses.replace(plugged(), paths=(*plugged().paths, astray)), "home/link"),
        (host(found=(at(f"{HOME}/link", real=f"{MEDIA}/STICK"),)), "home/link"),  # nobody has mounted anything
        (shown, "removable/proc"),
    ):
        with pytest.raises(errors.RefusedError) as refused:
            compiled(seen, **{**READ, "place": place})
        assert refused.value.code == "path-refused"
    assert not [op for op in compiled(shown, **{**READ, "place": "removable"}).sandbox.ops if op.because == "it"]
    with pytest.raises(errors.HostError) as missing:
        compiled(host(), **{**READ, "place": "removable"})
    assert missing.value.code == "place-missing"


def test_media_are_where_root_has_made_a_place_for_them(
    home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    first, second = tmp_path / "run", tmp_path / "media"
    monkeypatch.setattr(hosts, "MEDIA", (str(first), str(second)))
    looked = machine.look()
    assert looked.facts.directory("removable") is None
    (second / user / "STICK").mkdir(parents=True)
    assert not machine.hold(looked)
    owned = os.geteuid() == 0
    looked = machine.look(machine.wants("removable"), machine.wants("removable/STICK"))
    assert looked.facts.directory("removable") == (f"{second}/{user}" if owned else None)
    if owned:  # by a user's directory there, any user could lead anywhere
        assert machine.fact(looked, second / user).entries == (("STICK", "dir"),)
        (second / user / "CAMERA").mkdir()
        assert not machine.hold(looked)
        os.chown(second / user, peers.NOBODY, -1)
        assert machine.look().facts.directory("removable") is None
    first.mkdir()
    (first / user).symlink_to(second / user)
    assert machine.look().facts.directory("removable") != f"{first}/{user}"


def strict(closure: facts.Closure, *found: facts.PathFact, **app: object) -> sandbox.Sandbox:
    """A program on the strict base, with what else is granted to be read."""
    seen = dataclasses.replace(host(found=found), closure=closure)
    intents = tuple(
        model.Intent(id=f"i{number}", scope=path.Path(place=paths.parse_place(fact.path), access="read"),
                     optional=True, reason="r", if_denied="d")
        for number, fact in enumerate(found)
    )  # fmt: skip
    keys = {"base": "strict", "libraries": "closure", **app}
    made = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app",), interface="window",
        aliases=(), packages=(), **keys,
    )  # fmt: skip
    manifest = model.Manifest(app=made, intents=intents, digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    verdicts = tuple(model.Verdict(intent=each, granted=(each.scope,), because="") for each in intents)
    return compiler.compile_sandbox(model.Grant(vetted=vetted, verdicts=verdicts), seen).sandbox


APP = facts.Entry(path="/usr/bin/app", kind="file")


@pytest.mark.parametrize(
    ("lack", "code", "system_too"),
    [
        (facts.Lack(name="liba.so", of="/usr/bin/app", why=facts.ABSENT), "library-missing", False),
        (facts.Lack(name="liba.so", of="/usr/bin/app", why=facts.OTHER_PROCESSOR), "library-missing", False),
        (facts.Lack(name="/usr/bin/app", of="/usr/bin/app", why=facts.OTHER_PROCESSOR), "program-unsuitable", True),
        (facts.Lack(name="/usr/bin/app", of="/usr/bin/app", why=facts.NO_PROGRAM), "program-unsuitable", True),
        (facts.Lack(name="/lib/ld-musl.so.1", of="/usr/bin/app", why=facts.NO_PROGRAM), "program-unsuitable", True),
    ],
)
def test_a_program_that_cannot_run_is_not_started(lack: facts.Lack, code: str, *, system_too: bool) -> None:
    closure = facts.Closure(entries=(APP,), lacks=(lack,))
    with pytest.raises(errors.HostError) as refused:
        strict(closure)
    assert (refused.value.code, refused.value.exit_status) == (code, 127)
    if system_too:  # there the linker itself looks for libraries
        with pytest.raises(errors.HostError):
            strict(closure, libraries="system")
    else:
        assert strict(closure, libraries="system")


def test_a_library_elsewhere_has_to_be_granted() -> None:
    closure = facts.Closure(entries=(APP,), outside=("/opt/app/lib/liba.so",))
    with pytest.raises(errors.HostError) as refused:
        strict(closure)
    assert refused.value.code == "library-missing" and "/opt/app/lib/liba.so" in refused.value.message
    assert strict(closure, at("/opt/app"))


def test_the_bases_of_one_machine() -> None:
    """One closure as golden rows: what is there, at which place, and nothing else of the host."""
    link = facts.Entry(path="/lib64", kind="link", target="usr/lib64")
    library = facts.Entry(path="/usr/lib64/ld.so", kind="file")
    box = strict(facts.Closure(entries=(link, APP, library)), proc=False)
    shown = {op.describe() for op in box.mounts if not op.dest.startswith(HOME)}
    assert shown == {
        "link /lib64 -> usr/lib64", "read /usr/bin/app", "read /usr/lib64/ld.so", "link /proc/self/exe -> /usr/bin/app",
        "own dev at /dev", "empty directory /tmp", "empty directory /run/user/1000",
        "file /etc/passwd (72 bytes, written by intents)", "file /etc/group (30 bytes, written by intents)",
        "file /etc/nsswitch.conf (40 bytes, written by intents)",
    }  # fmt: skip
    assert [env.name for env in box.env] == ["HOME", "LOGNAME", "PATH", "USER", "XDG_RUNTIME_DIR"]
    assert [passed.name for passed in box.passed] == ["TERM", "COLORTERM", "NO_COLOR"]


def test_signals_are_given_back_only_where_env_is_shown() -> None:
    def signals(box: sandbox.Sandbox) -> bytes:
        sections = plan.decode(bwrap.plan_bytes(box, host(), guards=(), settings={}))
        assert sections is not None
        names = sections["settings"]
        return dict(zip(names[::2], names[1::2], strict=True))[b"signals"]

    env = facts.Entry(path="/usr/bin/env", kind="file")
    assert signals(strict(facts.Closure(entries=(APP,)))) == b"0"
    assert signals(strict(facts.Closure(entries=(APP, env)))) == b"1"
    assert signals(compiled(host(), optional=True, granted=False, kind="dns", scope="any").sandbox) == b"1"


RECORDED = {file.stem: file for file in sorted((pathlib.Path(__file__).parent / "hosts").glob("*.json"))}
GOLDEN = pathlib.Path(__file__).parent / "golden" / "hosts"
BASES = {
    "strict": {"base": "strict", "libraries": "closure", "proc": False},
    "strict, libraries of the system": {"base": "strict"},
    "service": {"base": "service"},
    "desktop": {},
}


def recorded(name: str) -> tuple[facts.HostFacts, str]:
    """A machine and the program that is on it."""
    seen = facts.from_json(RECORDED[name].read_text("utf-8"))
    (program,) = [fact.path for fact in seen.paths if fact.kind == "file" and fact.path.endswith("/bash")]
    return seen, program


def everywhere(seen: facts.HostFacts, program: str, **app: object) -> sandbox.Sandbox:
    """The program with documents, media and, by the name it has everywhere else, a directory of the home."""
    places = [("d", "xdg-documents"), ("m", "removable"), ("p", "/home/user/Projects")]
    intents = tuple(
        model.Intent(id=name, scope=path.Path(place=paths.parse_place(place), access="read"), optional=True,
                     reason="r", if_denied="d")
        for name, place in places
    )  # fmt: skip
    made = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=(program,),
        aliases=(), packages=(), **{"interface": "terminal", **app},
    )  # fmt: skip
    manifest = model.Manifest(app=made, intents=intents, digest="0" * 64)
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    verdicts = tuple(model.Verdict(intent=each, granted=(each.scope,), because="") for each in intents)
    return compiler.compile_sandbox(model.Grant(vetted=vetted, verdicts=verdicts), seen).sandbox


WRITTEN = [name for name in RECORDED if not name.startswith("debian")]


@pytest.mark.parametrize("name", WRITTEN)
def test_each_distribution_has_its_bases(name: str) -> None:
    """Golden: a change to a base is a change to these pages. INTENT_UPDATE=1 writes them."""
    seen, program = recorded(name)
    lines = []
    for title, app in BASES.items():
        box = everywhere(seen, program, **app)
        lines += [f"## {title}", "", *(f"{op.because:<4}  {op.describe()}" for op in (*box.mounts, *box.env)), ""]
    page = GOLDEN / f"{name}.txt"
    if os.environ.get("INTENT_UPDATE") == "1":
        page.write_text("\n".join(lines), "utf-8")
    assert "\n".join(lines) == page.read_text("utf-8")


def led(place: str, links: dict[str, str]) -> str:
    """Where a path leads on the host, over these links."""
    done, rest = "", place.split("/")[1:]
    while rest:
        part, *rest = rest
        here = f"{done}/{part}" if part != ".." else done.rpartition("/")[0]
        target = links.get(here, "")
        done = here if not target else "" if target.startswith("/") else done
        rest = [*filter(None, target.split("/")), *rest]
    return done


@pytest.mark.parametrize("title", BASES)
@pytest.mark.parametrize("name", WRITTEN)
def test_the_program_and_its_libraries_are_found_by_every_name(name: str, title: str) -> None:
    seen, program = recorded(name)
    assert seen.closure is not None
    box = everywhere(seen, program, **BASES[title])
    links = {entry.path: entry.target for entry in seen.closure.entries if entry.kind == "link"}
    files = {entry.path for entry in seen.closure.entries if entry.kind == "file"}
    for place in (program, *files, *(link for link in links if led(link, links) in files)):
        found = sight.look(box, place, lambda source: links.get(source, ""))
        assert (found.stands, found.source) == (sight.Stands.HOST, led(place, links)), place
        assert not found.writable
    documents = dict(seen.directories)["xdg-documents"]
    assert sight.look(box, documents).source == documents
    if name == "fedora-ostree":
        assert sight.look(box, "/home/user/Projects").source == "/var/home/user/Projects"


def columns() -> list[str]:
    """The text of each base's column of SPEC's table, with what stands to its left."""
    spec = (pathlib.Path(__file__).parents[1] / "SPEC.md").read_text("utf-8")
    table = spec.partition("#### 9.2.1")[2].partition("#### 9.2.2")[0]
    rows = [line.split("|")[2:5] for line in table.splitlines() if line.startswith("| ")]
    texts = [" ".join(row[at] for row in rows) for at in range(3)]
    return [" ".join(texts[: at + 1]) for at in range(3)]


def test_nothing_is_in_a_base_that_the_specification_does_not_name() -> None:
    etc = tuple(facts.Entry(path=name, kind="file") for name in hosts.ETC)
    always = {"HOME", "USER", "LOGNAME", "PATH", "XDG_RUNTIME_DIR"}  # the list above the table
    made = {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"}
    for name, text in zip(base.BASES, columns(), strict=True):
        named = {word.replace("*", ".*") for word in re.findall(r"`([^`]+)`", text)}

        def said(what: str, words: frozenset[str] = frozenset(named)) -> bool:
            return any(re.fullmatch(word, what) for word in words)

        seen = dataclasses.replace(host(), etc=etc, closure=facts.Closure(entries=(APP,)))
        box = everywhere(seen, "/usr/bin/app", base=name, interface="window")
        shown = {op.dest for op in box.mounts if op.dest.startswith("/etc/")} - made
        assert [path for path in shown if not said(path.removeprefix("/etc/"))] == [], name
        assert [env.name for env in box.env if env.name not in always and not said(env.name)] == [], name
        passed = [op.name for op in box.passed if not said(op.name)]
        assert name == base.DESKTOP or passed == [], name  # what it takes of the user's looks has a section of its own
