"""Can what runs be changed here? Tried on a sandbox of our own: kernel, bubblewrap and what guards them must agree."""

import os
import subprocess
import tempfile
import time

from broker import inside, runs
from intents import bwrap

_DEST = "/tmp/live"  # in the sandbox, in memory
_WAITS = ("/bin/sh", "-c", "read line")


def probe(program: str, timeout: float = 5.0) -> str:
    """Why a running sandbox cannot be given something, kept from changing it and deprived of it; empty if it can.

    program: absolute path of a bubblewrap that makes sandboxes; timeout: seconds until it must have made one.
    """
    with tempfile.TemporaryDirectory() as directory:
        record = f"{directory}/1.json"
        options = (*bwrap.ALWAYS, "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--remount-ro", "/tmp", "--json-status-fd")
        with open(record, "xb", buffering=0) as told:
            os.fchmod(told.fileno(), 0o600)
            told.write(b'{"app": "", "lineage": "", "at": 0}\n')
            quiet = subprocess.DEVNULL
            argv = [program, *options, str(told.fileno()), "--", *_WAITS]
            pipe = subprocess.PIPE
            started = subprocess.Popen(
                argv, env={}, pass_fds=[told.fileno()], stdin=pipe, stdout=quiet, stderr=quiet, start_new_session=True
            )
        try:
            return _tried(record, directory, time.monotonic() + timeout)
        except OSError as error:
            return error.strerror or type(error).__name__
        finally:
            started.communicate()


def _tried(record: str, directory: str, deadline: float) -> str:
    while not ((found := runs.read(record)) and found.members()):
        if time.monotonic() > deadline:
            return "the sandbox did not start in time"
        time.sleep(0.01)
    with inside.door(found) as way:
        (tree,) = inside.trees([inside.Source(path=directory, write=True)])
        if isinstance(tree, OSError):
            raise tree
        try:
            holder = inside.holder(inside.table(way), _DEST)
            _all(inside.change(way, [inside.Give(tree=tree, dest=_DEST, holder=holder)]))
        finally:
            os.close(tree)
        given = next(mount for mount in inside.table(way) if mount.point == _DEST)
        _all(inside.change(way, [inside.Narrow(mount=given.number, point=_DEST)]))
        _all(inside.change(way, [inside.Take(mount=given.number, point=_DEST, holder=holder)]))
        left = [mount for mount in inside.table(way) if mount.point == _DEST]
    return "what was taken is still there" if left or not given.writable else ""


def _all(results: list[OSError | None]) -> None:
    for error in results:
        if error:
            raise error
