"""Directories to keep, as they are compiled: where they are stored, and when they are not given (SPEC §5.6)."""

import dataclasses

import pytest

from intents import compiler, errors, kinds, model, sandbox
from tests import test_compile
from tests.laws import generate
from tests.laws import test_compile as laws

KEEP = {"kind": "persist", "names": ["games"]}
HOST = test_compile.host()
STORED = f"{HOST.apps}/org.example.App-{'0' * 16}/persist/games"


def test_it_is_stored_out_of_the_apps_other_directories() -> None:
    box = test_compile.compiled(HOST, **KEEP).sandbox
    (bind,) = (mount for mount in box.mounts if mount.because == "it")
    assert bind == sandbox.Bind(
        source=STORED, dest=f"{test_compile.HOME}/games", access=sandbox.Access.WRITE, because="it"
    )
    assert sandbox.HostDirectory(path=STORED, because="it") in box.make


def test_what_is_not_signed_keeps_it_in_memory() -> None:
    vetted = generate.vetted([kinds.from_data(KEEP)], model.Trust.UNSIGNED)
    program = test_compile.at("/usr/bin/app", "file")
    seen = dataclasses.replace(HOST, paths=(program, *HOST.paths))
    box = compiler.compile_sandbox(laws.settled(vetted, [True]), seen).sandbox
    made = [mount for mount in box.mounts if mount.because == "i0"]
    assert made == [sandbox.Directory(dest=f"{test_compile.HOME}/games", because="i0")]
    assert not box.make


def test_what_the_base_shows_of_the_user_is_not_hidden_by_it() -> None:
    seen = test_compile.host(found=(test_compile.at(f"{test_compile.HOME}/.themes"),))
    kept = {"kind": "persist", "names": [".themes"]}
    with pytest.raises(errors.RefusedError) as refused:
        test_compile.compiled(seen, **kept)
    assert refused.value.code == "place-taken"
    box = test_compile.compiled(seen, optional=True, **kept).sandbox
    (bind,) = (mount for mount in box.mounts if mount.dest == f"{test_compile.HOME}/.themes")
    assert isinstance(bind, sandbox.Bind) and bind.source == f"{test_compile.HOME}/.themes"


def test_the_program_itself_is_not_hidden_by_it() -> None:
    program = f"{test_compile.HOME}/games/app"
    seen = test_compile.host(found=(test_compile.at(program, "file"),))
    with pytest.raises(errors.RefusedError) as refused:
        test_compile.compiled(seen, command=program, **KEEP)
    assert refused.value.code == "place-taken"
    box = test_compile.compiled(seen, command=program, optional=True, **KEEP).sandbox
    assert any(isinstance(mount, sandbox.Bind) and mount.dest == program for mount in box.mounts)
