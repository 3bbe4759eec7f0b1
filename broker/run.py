"""``intent-run``: start an app inside what the user granted (SPEC §11.1).

The warm path is this module, ``launch`` and ``plan``: everything else is imported when there is no plan that holds.
"""

import os
import pwd
import sys

from broker import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from broker import prompts, stopped
    from intents import errors

USAGE = """usage: intent-run [--ask] [--unsigned] [--read | --write] APP [ARGUMENT ...]

Start APP, an app id, an alias or a manifest file, with the permissions you granted it and nothing else.
Everything after APP belongs to the app. An app that takes files gets those named there, for this run.

  --ask        ask what is open now, even where you closed the question three times and it rests for a week
  --read       let it read the files named on its command line, and no more, whatever its manifest says
  --write      let it read and change them
  --unsigned   start a manifest that nobody vouches for: nothing of it outlives the session
  --version    print the version and exit
  --help       print this and exit

See also: intent-ctl (what was granted), intent-author (manifests). Exit status: the app's own; 125 the broker
failed, 126 refused or nobody to ask, 127 manifest or program not found, 2 usage.
"""


FILES = frozenset({b"--read", b"--write"})


def main() -> int:
    """The command; its exit status, which is the app's own on a terminal. Elsewhere it becomes bubblewrap."""
    words = [os.fsencode(word) for word in sys.argv[1:]]
    options: set[bytes] = set()
    while words and words[0].startswith(b"--"):
        options.add(words.pop(0))
    known = {b"--ask", b"--unsigned", b"--describe", b"--host-facts", *FILES}
    if options & {b"--help", b"--version"}:
        return _tell(options)
    if not words or words[0].startswith(b"-") or options - known or options >= FILES:
        _say(USAGE)
        return 2
    name, arguments = os.fsdecode(words[0]), words[1:]
    if options <= FILES:
        sections = launch.read(_plan(name)) if _plan(name) else None
        # What a manifest says nothing of was not looked at when the plan was made.
        known_files = sections is not None and (not options or b"closed" in sections["named"])
        if sections is not None and known_files and launch.holds(sections["guards"]):
            return _guarded(lambda: _warm(sections, name, arguments, options))
    return _guarded(lambda: _cold(name, arguments, options))


def _plan(name: str) -> str:
    """Where the plan for ``name`` would be: SPEC §10.1 says the same of ``state.places`` and ``plans.file``."""
    if "/" in name or name.endswith(".toml") or os.getuid() != os.geteuid():
        return ""
    base = os.environ.get("XDG_STATE_HOME", "")
    if base:
        try:
            info = os.stat(base)
        except OSError:
            return ""
        if info.st_uid != os.geteuid() or info.st_mode & 0o022 or not base.startswith("/"):
            return ""
    else:
        try:
            base = pwd.getpwuid(os.geteuid()).pw_dir + "/.local/state"
        except KeyError:
            return ""
    return f"{base}/intents/plans/{name}.{'tty' if os.isatty(0) else 'pipe'}"


def _warm(sections: launch.Sections, name: str, arguments: "list[bytes]", options: "set[bytes]") -> int:
    """Launch by a plan whose guards hold; anew where a place is no longer what it was a moment ago."""
    try:
        return launch.execute(sections, arguments, _note, wanted=_wanted(options))
    except Exception as error:
        if getattr(error, "code", "") not in ("place-missing", "path-changed"):
            raise
    return _cold(name, arguments, options)


def _wanted(options: "set[bytes]") -> bytes:
    """What the user says of files on the command line: ``read``, ``write`` or nothing."""
    return b"".join(options & FILES)[2:]


def _guarded(work: "Callable[[], int]") -> int:
    """Run ``work``; an error of ours becomes its lines on standard error and its exit status."""
    try:
        return work()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from intents import errors, paths

        if isinstance(error, OSError):
            named = error.filename if isinstance(error.filename, (str, bytes)) else ""
            where = f" (`{paths.printable(os.fsdecode(named))}`)" if named else ""
            error = errors.HostError("launch-failed", f"the system refuses what it needs: {error.strerror}{where}")
        if not isinstance(error, errors.IntentError):
            raise
        _say(errors.render(error, "intent-run") + "\n")
        _show(error)
        return error.exit_status


def _show(error: "errors.IntentError") -> None:
    """Show in a window what nobody reads on standard error, where that can be done."""
    try:
        from broker.ui import choose

        choose.tell(os.environ, error)
    except OSError:
        return


def _say(text: str) -> None:
    """Write to standard error; to nobody where that is gone, because the exit status says as much."""
    if sys.stderr is None:  # closed by whoever started us: the number may be another file's by now
        return
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        return


def _note(line: str) -> None:
    _say(f"intent-run: {line}\n")


def _cold(name: str, arguments: "list[bytes]", options: "set[bytes]") -> int:
    import signal

    from broker import session

    # bubblewrap is tried before it is used, and waits for ever where the caller ignored this one.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if options & {b"--describe", b"--host-facts"}:
        from broker import describe, host

        look = describe.describe if b"--describe" in options else lambda program, environ: host.record(environ, program)
        sys.stdout.write(look(name, os.environ))
        return 0

    def whom() -> "prompts.Prompter | None":
        import secrets

        from broker.ui import choose  # most starts ask nothing

        return choose.choose(os.environ, secrets.choice)

    def halt(stop: "stopped.Stop") -> None:
        from broker.ui import choose

        choose.halt(os.environ, stop)

    return session.start(
        name,
        arguments,
        os.environ,
        whom,
        _note,
        typed=os.isatty(0),
        unsigned=b"--unsigned" in options,
        files=_wanted(options).decode(),
        insist=b"--ask" in options,
        halt=halt,
    )


def _tell(options: "set[bytes]") -> int:
    import intents

    sys.stdout.write(USAGE if b"--help" in options else f"intent-run {intents.VERSION}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
