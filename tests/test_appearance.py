"""What the base shows of how the user has made things look, and what it does not (SPEC §9.2.3)."""

import dataclasses

import pytest

from intents import appearance, compiler, facts, model, sandbox
from tests.test_compile import HOME, at, host

FONTS = f"{HOME}/.local/share/fonts"
SETTINGS = f"{HOME}/.config/gtk-3.0/settings.ini"


def box(seen: facts.HostFacts, **changed: object) -> sandbox.Sandbox:
    """The sandbox without any grant."""
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app",), interface="window",
        aliases=(), packages=(),
    )  # fmt: skip
    manifest = model.Manifest(app=dataclasses.replace(app, **changed), intents=(), digest="0" * 64)  # type: ignore[arg-type]
    vetted = model.Vetted(manifest=manifest, trust=model.Trust.PINNED, lineage="0" * 16, fingerprint="SHA256:x")
    return compiler.compile_sandbox(model.Grant(vetted=vetted, verdicts=()), seen).sandbox


def of_home(made: sandbox.Sandbox) -> dict[str, str]:
    """What of the user's home is shown: place inside -> what it is; never to be changed."""
    binds = [op for op in made.mounts if isinstance(op, sandbox.Bind) and op.source.startswith(f"{HOME}/")]
    found = {op.dest: op.source for op in binds if "/intents/apps/" not in op.source}
    assert all(op.access is sandbox.Access.READ and op.held for op in binds if op.dest in found)
    return found


def test_each_is_shown_where_programs_look_for_it() -> None:
    seen = host(found=(at(f"{HOME}/.fonts"), at(FONTS), at(SETTINGS, "file")))
    made = box(seen)
    assert of_home(made) == {
        f"{HOME}/.fonts": f"{HOME}/.fonts",
        f"{HOME}/.granted/.local/share/fonts": FONTS,
        f"{HOME}/.granted/.config/gtk-3.0/settings.ini": SETTINGS,
    }
    assert {(link.directory, link.below, link.target) for link in made.links} == {
        ("data", "fonts", f"{HOME}/.granted/.local/share/fonts"),
        ("config", "gtk-3.0/settings.ini", f"{HOME}/.granted/.config/gtk-3.0/settings.ini"),
    }


@pytest.mark.parametrize(
    "fact",
    [
        at(FONTS, real=f"{HOME}/Documents"),
        at(FONTS, "absent"),
        at(FONTS, "other"),
        dataclasses.replace(at(FONTS), owner=0),
        at(f"{HOME}/.config/gtk-3.0"),
        at(f"{HOME}/.config/dconf"),
    ],
)
def test_nothing_else_is(fact: facts.PathFact) -> None:
    assert of_home(box(host(found=(fact,)))) == {}


def test_what_is_kept_elsewhere_shows_at_the_usual_place_unless_nothing_there_may_be_shown() -> None:
    seen = host(found=(at("/data/share/fonts"),))
    moved = tuple((root, "/data/share" if root == "xdg-data" else place) for root, place in seen.directories)
    (bind,) = [op for op in box(dataclasses.replace(seen, directories=moved)).mounts if op.dest.endswith("/fonts")][:1]
    assert isinstance(bind, sandbox.Bind) and bind.source == "/etc/fonts"
    made = box(dataclasses.replace(seen, directories=moved))
    assert [op.dest for op in made.mounts if getattr(op, "source", "") == "/data/share/fonts"] == [
        f"{HOME}/.granted/.local/share/fonts"
    ]
    seen = host(found=(at("/run/share/fonts"),))
    moved = tuple((root, "/run/share" if root == "xdg-data" else place) for root, place in seen.directories)
    assert not box(dataclasses.replace(seen, directories=moved)).links


def test_a_program_without_windows_has_its_terminals_alone() -> None:
    seen = host(found=(at(f"{HOME}/.fonts"), at(f"{HOME}/.terminfo")))
    made = box(seen, interface="terminal")
    assert of_home(made) == {f"{HOME}/.terminfo": f"{HOME}/.terminfo"}
    assert "XCURSOR_THEME" not in {op.name for op in made.passed}
    assert "XCURSOR_THEME" in {op.name for op in box(seen).passed}
    assert of_home(box(seen, interface="terminal", base="service")) == {}


def test_nothing_that_is_looked_at_is_more_than_looks() -> None:
    app = model.App(
        id="org.example.App", name="App", version="1", serial=1, command=("/usr/bin/app",), interface="window",
        aliases=(), packages=(),
    )  # fmt: skip
    words = {place.split("/")[1].removeprefix(".") for place in appearance.places(app)}
    assert words == {"fonts", "icons", "themes", "terminfo", "fontconfig", "gtk-3.0", "gtk-4.0"}
