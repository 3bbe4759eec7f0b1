"""Files named on the command line are there for one run, and nothing beside them (SPEC §9.7). Each also unprotected."""

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from tests.real import world

pytestmark = pytest.mark.real

# Reads each argument, then tries to change it and to make another file beside it.
USE = """
import os, sys
for name in sys.argv[1:]:
    for what, act in {
        "read": lambda: open(name).read(),
        "change": lambda: open(name, "a").write("+") and "yes",
        "beside": lambda: open(name + "~", "w").write("") or "yes",
    }.items():
        try:
            print(what, act(), end="; ")
        except OSError as error:
            print(what, error.errno, end="; ")
print(os.getcwd())
"""
# A start without one of the checks.
NO_RULES = "from broker import named\nnamed._Files._refused = lambda *_: ''\n"
NO_LINK_COUNT = "from broker import named\nnamed._Files._unfit = lambda *_: ''\n"
ANY_PLACE = "from broker import named\nnamed._Files._free = lambda *_: True\n"
# Somebody replaces the file by a link to a secret after it was judged and before it is opened.
EXCHANGE = """
import os
from broker import named
judge = named._Files._refused
def exchange(self, real, *rest):
    why = judge(self, real, *rest)
    os.rename(real, real + b".old")
    os.symlink({secret!r}, real)
    return why
named._Files._refused = exchange
"""
FOLLOW = "from broker import launch\nlaunch.walk = lambda path, make=False: os.open(path, os.O_PATH | os.O_CLOEXEC)\n"


@pytest.fixture
def here() -> Iterator[world.World]:
    with world.world() as made:
        for name, text in {"Docs/plan": "the plan", "Docs/other": "other", ".ssh/key": "a secret"}.items():
            (made.home / name).parent.mkdir(exist_ok=True)
            (made.home / name).write_text(text)
        yield made


def install(here: world.World, files: str = "read", **intents: dict[str, object]) -> None:
    here.install(world.manifest(world.PYTHON, intents, **({"files": files} if files else {})))
    here.decide()


def test_a_named_file_can_be_read_and_nothing_beside_it(here: world.World) -> None:
    install(here)
    done = here.start(USE, f"{here.home}/Docs/plan", f"{here.home}/Docs/other~")
    assert done.stdout.decode() == f"read the plan; change 30; beside 13; read 2; change 13; beside 13; {here.home}\n"
    assert done.stderr == b"intent-run: Example may read ~/Docs/plan for this run\n"
    home = here.says("import os; print(*sorted(os.listdir(os.path.expanduser('~'))))")
    assert home == ".cache .config .local\n"


def test_a_named_file_can_be_changed_where_that_is_said(here: world.World) -> None:
    install(here, "write")
    said = here.says(USE, "plan", cwd=here.home / "Docs")
    assert said == f"read the plan; change yes; beside 13; {here.home}/Docs\n"
    assert (here.home / "Docs/plan").read_text() == "the plan+"
    assert "change 30" in here.says(USE, "plan", cwd=here.home / "Docs", options=["--read"])


def test_the_user_says_it_for_an_app_that_takes_no_files(here: world.World) -> None:
    install(here, "")
    path = f"{here.home}/Docs/plan"
    done = here.start(USE, path)
    assert done.stdout.startswith(b"read 2;")
    hint = b"intent-run: Example does not get ~/Docs/plan: to give it for this run, use `intent-run --read`\n"
    assert done.stderr == hint
    assert here.says(USE, path, options=["--read"]).startswith("read the plan; change 30;")
    assert here.says(USE, path, options=["--write"]).startswith("read the plan; change yes;")
    assert here.start(USE, path).stdout.startswith(b"read 2;"), "it was for that run"
    assert here.start(USE, path, options=["--read", "--write"]).returncode == 2


def test_a_launcher_hands_over_uris_and_files_of_tmp(here: world.World) -> None:
    install(here)
    with tempfile.NamedTemporaryFile("w", dir="/tmp") as file:
        file.write("mail")
        file.flush()
        show = "import sys; print(open(sys.argv[1].removeprefix('file://')).read(), sys.argv[2])"
        assert here.says(show, f"file://{file.name}", "https://example.org") == "mail https://example.org\n"
        if os.geteuid() == 0:
            os.chown(file.name, 65534, 65534)
            done = here.start(show, file.name, "")
            assert done.returncode == 1 and b"belongs to somebody else" in done.stderr


def test_the_brokers_files_are_not_given(here: world.World) -> None:
    install(here)
    journal = f"{here.places.state}/broker.db"
    show = "import os, sys; print(os.path.exists(sys.argv[1]))"
    assert here.says(show, journal) == "False\n"
    assert here.says(show, journal, removed=NO_RULES) == "True\n"


def test_a_link_to_what_is_hidden_is_not_followed(here: world.World) -> None:
    install(here)
    (here.home / "Docs/picture").symlink_to("../.ssh/key")
    show = "import sys; print(open(sys.argv[1]).read())"
    assert here.start(show, f"{here.home}/Docs/picture").returncode == 1
    assert here.says(show, f"{here.home}/Docs/picture", removed=NO_RULES) == "a secret\n"
    assert here.says(show, f"{here.home}/.ssh/key") == "a secret\n", "the user has said so"


def test_a_second_name_of_a_secret_is_not_given(here: world.World) -> None:
    install(here)
    os.link(here.home / ".ssh/key", here.home / "Docs/picture")
    show = "import sys; print(open(sys.argv[1]).read())"
    assert here.start(show, f"{here.home}/Docs/picture").returncode == 1
    assert here.says(show, f"{here.home}/Docs/picture", removed=NO_LINK_COUNT) == "a secret\n"


def test_a_file_that_is_exchanged_for_a_link_is_not_given(here: world.World) -> None:
    install(here)
    path, secret = here.home / "Docs/plan", str(here.home / ".ssh/key")
    show = "import sys; print(open(sys.argv[1]).read())"
    done = here.start(show, str(path), removed=EXCHANGE.format(secret=secret))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"~/Docs/plan: it is not a regular file\n" in done.stderr
    pathlib.Path(f"{path}.old").rename(path)
    assert here.says(show, str(path), removed=EXCHANGE.format(secret=secret) + FOLLOW) == "a secret\n"


def test_nothing_is_mounted_below_what_the_app_can_write(here: world.World) -> None:
    """CVE-2026-87766: bubblewrap before 0.12 follows what is planted on the way to a mount point."""
    install(here)
    (here.home / ".config/app").mkdir(parents=True)
    (here.home / ".config/app/rc").write_text("settings")
    (here.home / "target").mkdir()
    assert here.start("pass").returncode == 0  # makes the app's own directories
    (here.own("config") / "app").symlink_to(here.home / "target")
    show = "import sys; print(sys.argv[1], open(sys.argv[1]).read())"
    path = f"{here.home}/.config/app/rc"
    assert here.says(show, path) == f"{here.home}/.granted/.config/app/rc settings\n"
    assert os.listdir(here.home / "target") == []
    done = here.start(show, path, removed=ANY_PLACE)
    assert done.returncode != 0 or ".granted" not in done.stdout.decode()


def test_no_plan_remembers_a_file(here: world.World) -> None:
    install(here)
    assert "the plan" in here.says(USE, f"{here.home}/Docs/plan")
    plans = pathlib.Path(here.places.state, "plans")
    stored = [plan.read_bytes() for plan in plans.iterdir()]
    assert len(stored) == 2
    assert not any(b"Docs" in plan for plan in stored)
