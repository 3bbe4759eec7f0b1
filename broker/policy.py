"""The administrator's policy as it stands on this machine: which files count, and the guards over them (SPEC §8.8).

A policy that cannot be read is never taken for none: everything that would depend on it fails.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from broker import guards, state
from intents import errors, model, paths, policy, rules
from intents.kinds import path

DIRECTORY = "/etc/intents/policy.d"
OWNER = 0  # besides whom nobody may be able to change it
MAX_FILES = 256
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Every rule, in the order of the files' names, and what a plan has to remember of where they come from.

    ignored: names in the directory that are not those of policy files.
    """

    rules: tuple[model.Rule, ...]
    guards: tuple[guards.Guard, ...]
    files: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def places(self, manifest: model.Manifest) -> tuple[path.Path, ...]:
        """The scopes whose places have to be looked at to tell what the rules mean for this app: by where they lead."""
        if not any(intent.scope.kind == path.KIND for intent in manifest.intents):
            return ()
        about = [rule.scope for rule in self.rules if rule.app in (rules.EVERY_APP, manifest.app.id)]
        return tuple(scope for scope in about if isinstance(scope, path.Path))


NONE = Policy(rules=(), guards=())


def load(environ: Mapping[str, str]) -> Policy:
    """The policy of this machine; without its directory there is none. Raises PolicyError."""
    # Made before the look: a file that comes or changes in between makes the plan stale.
    made = tuple(dict.fromkeys(guards.make(kind, DIRECTORY, environ) for kind in ("list", "file")))
    with _directory() as handle:
        if handle is None:
            return Policy(rules=(), guards=made)
        listed = sorted(os.listdir(handle))
        # As a shell means `*.toml`: what an editor keeps beside a file begins with a dot or ends otherwise.
        names = [name for name in listed if name.endswith(".toml") and not name.startswith(".")]
        if len(names) > MAX_FILES:
            raise _unsafe(DIRECTORY, f"holds {len(names)} files, more than {MAX_FILES}")
        found = [policy.read(_bytes(name, handle), file=f"{DIRECTORY}/{name}") for name in names]
    return Policy(
        rules=tuple(rule for read in found for rule in read),
        guards=made,
        files=tuple(f"{DIRECTORY}/{name}" for name in names),
        ignored=tuple(name for name in listed if name not in names),
    )


def read_file(where: str) -> tuple[model.Rule, ...]:
    """The rules of one file wherever it lies and whoever owns it, to check it. Raises PolicyError."""
    try:
        handle = os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unsafe(where, f"cannot be read: {error.strerror}") from error
    return policy.read(_content(where, handle, held=False), file=where)


@contextmanager
def _directory() -> Iterator[int | None]:
    """A descriptor of the directory, reached without following a link and held to its owners all the way; None where
    nothing is."""
    handle, at = os.open("/", _DIRECTORY), ""
    try:
        for step in ("", *DIRECTORY.strip("/").split("/")):
            if step:
                at = f"{at}/{step}"
                try:
                    below = os.open(step, _DIRECTORY, dir_fd=handle)
                except FileNotFoundError:
                    yield None
                    return
                except NotADirectoryError as error:  # what O_DIRECTORY with O_NOFOLLOW says of a link, too (open(2))
                    raise _unsafe(at, "is not a directory, or is a link") from error
                except OSError as error:
                    raise _unsafe(at, f"cannot be read: {error.strerror}") from error
                os.close(handle)
                handle = below
            _check(at or "/", os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _bytes(name: str, directory: int) -> bytes:
    where = f"{DIRECTORY}/{name}"
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        why = "is a link" if os.path.islink(where) else f"cannot be read: {error.strerror}"
        raise _unsafe(where, why) from error
    return _content(where, handle, held=True)


def _content(where: str, handle: int, *, held: bool) -> bytes:
    """What an open file holds, up to more than a policy may; held: to its owner as well. Closes the descriptor."""
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise _unsafe(where, "is not a regular file")
        if held:
            _check(where, info)
        with open(handle, "rb", closefd=False) as file:
            return file.read(policy.MAX_BYTES + 1)
    except OSError as error:
        raise _unsafe(where, f"cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)


def _check(where: str, info: os.stat_result) -> None:
    if info.st_uid not in {OWNER, *state.roots()}:
        raise _unsafe(where, f"belongs to user {info.st_uid}, not to root")
    if info.st_mode & _OTHERS_WRITE:
        raise _unsafe(where, f"can be written by others (mode {stat.S_IMODE(info.st_mode):04o})")


def _unsafe(where: str, why: str) -> errors.PolicyError:
    shown = paths.printable(where)
    return errors.PolicyError("unsafe-policy", f"`{shown}` {why}", subject=shown)
