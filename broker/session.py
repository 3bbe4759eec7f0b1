"""A cold start, from a name to the executor: the whole line of SPEC §2, in order."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping

from broker import answers, copies, history, journal, lapse, launch, plans, programs, prompts, runs, state
from broker import app as apps
from broker import policy as policies
from broker import stopped as stops
from broker.ui import tty
from intents import bwrap, compiler, decide, diff, errors, facts, model, plan, risk, rules

Say = Callable[[str], None]
_MOOT = {
    "question-gone": "its question was answered elsewhere meanwhile",
    "question-changed": "what it asks changed while it was asked",
}


def start(
    name: str,
    arguments: list[bytes],
    environ: Mapping[str, str],
    whom: Callable[[], prompts.Prompter | None],
    say: Say,
    *,
    typed: bool,
    unsigned: bool = False,
    files: str = "",
    insist: bool = False,
    halt: Callable[[stops.Stop], None] = lambda _: None,
) -> int:
    """Launch what ``name`` means; returns only on a terminal, with the app's exit status.

    whom: who can be asked, if anybody; called only when there is a question. say: takes one line for standard error.
    files: ``read`` or ``write``, where the user says what the app may do with files named on its command line. insist:
    the user wants to be asked now, though the question rests. halt: shows trouble with the publisher, before the error.
    Raises every kind of IntentError, and then nothing was started.
    """
    app = apps.load(name, environ, typed=typed, unsigned=unsigned, files=files)
    programs.check_bwrap(app.host.bwrap)
    state.ensure(app.places)
    now = state.clock(app.places)
    try:
        for line in lapse.notice(app, now):
            say(line)
        answered = _ask(app, now, whom, say, insist=insist)
    except errors.SignatureError as error:
        halt(stops.stop(app, error))
        raise
    if policies.load(environ).guards != app.policy.guards:
        raise errors.RefusedError("policy-changed", f"{app.manifest.app.name} was not started: the policy changed")
    # Who leaves `--unsigned`, `--read` or `--write` out must not get what was compiled with it.
    path = "" if unsigned or files else plans.file(app.places, name, typed=typed)
    return launch.execute(_compile(app, now, answered, path, say), arguments, say, wanted=files.encode())


def _ask(
    app: apps.App, now: model.Clock, whom: Callable[[], prompts.Prompter | None], say: Say, *, insist: bool
) -> tuple[model.Decision, ...]:
    """Hold the handshake if one is due; the decisions for this launch alone. Others that start the app wait here.

    Raises RefusedError ``handshake-abandoned``; then one more unanswered question is on record, and no decision.
    ``question-gone`` and ``question-changed``: somebody else answered meanwhile, and nothing is recorded.
    """
    if not _asks(app, now, insist=insist):
        return ()
    prompter = whom()
    if prompter is None and insist:
        message = f"there is no terminal to ask on for {app.manifest.app.name}"
        raise errors.RefusedError("no-way-to-ask", message, hint=f"`intent-ctl pending {app.manifest.app.id}`")
    if prompter is None:
        return ()
    with _turn(app, say), journal.Journal.open(app.places) as book:
        asked = answers.handshake(app, book, now, launching=True)
        if asked is None:  # whoever held the lock before got the answer
            return ()
        with tty.closing_when(lambda: not answers.stands(asked, book)):
            given = prompter.ask(asked.request)
        name = app.manifest.app.name
        try:
            if given is not None:
                return answers.keep(asked, given, source="prompt")
            answers.check(asked, book)
        except errors.RefusedError as error:
            message = f"{name} was not started: {_MOOT.get(error.code, error.message)}"
            raise errors.RefusedError(error.code, message, hint="Start it again.") from error
        answers.unanswered(asked)
        raise errors.RefusedError("handshake-abandoned", f"{name} was not started: its questions have no answer")


@contextlib.contextmanager
def _turn(app: apps.App, say: Say) -> Iterator[None]:
    """Hold the app's right to ask, and say so when somebody else has it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(state.lock(app.lock("ask"), wait=False))
        except errors.JournalError as error:
            if error.code != "journal-busy":
                raise
            say(f"waiting: another start of {app.manifest.app.name} is being answered")
            held.enter_context(state.lock(app.lock("ask")))
        yield


def _asks(app: apps.App, now: model.Clock, *, insist: bool) -> bool:
    """Whether there is something to ask. Raises RefusedError ``refused-by-policy``: nobody is asked in vain."""
    with journal.Journal.open(app.places) as book:
        delta = app.recalling(book).delta(book, now)
        if (refused := rules.refusal(delta)) is not None:
            raise refused
        return answers.due(delta) and (insist or not answers.rests_until(book, delta, now))


def _compile(app: apps.App, now: model.Clock, once: tuple[model.Decision, ...], path: str, say: Say) -> launch.Sections:
    """Settle, compile and, where every intent is decided for longer than this launch, keep the plan."""
    app_id = app.manifest.app.id
    with state.lock(app.lock("state")), journal.Journal.open(app.places) as book:
        app = app.recalling(book).seeing(decision.granted for decision in once if decision.granted is not None)
        delta = app.delta(book, now, once)
        _queue(book, delta, now, say)
        rest = answers.rests_until(book, delta, now)
        if delta.vetted.trust is model.Trust.FIRST_USE:
            raise _unknown_publisher(delta.vetted, rest)
        updated = _raise_serial(app, book, delta, now)
        grant = decide.settle(delta)
        _refuse_unasked(delta, grant, app.host, rest)
        compiled = compiler.compile_sandbox(grant, app.host)
        copies.bring(delta, {name for name, _ in compiled.withheld}, app.host, say)
        head = book.head(app_id, delta.vetted.lineage)
        guarded = (*app.guards, *_decision_guards(app, delta, now, head))
        data = bwrap.plan_bytes(compiled.sandbox, app.host, guards=guarded, settings=_settings(app, head))
        sections = plan.decode(data)
        if sections is None:
            message = f"what {app.manifest.app.name} is granted is more than a plan can hold: too many single files"
            raise errors.HostError("launch-failed", message, hint=f"intent-ctl show {app_id}")
        plans.mark(app.places, app_id, head)
        if path and decide.storable(delta) and not compiled.withheld:
            plans.write(app.places, path, app_id, head, data)
    for line in (*updated, *_notices(delta, compiled, app.host, rest)):
        say(line)
    return sections


def _queue(book: journal.Journal, delta: model.Delta, now: model.Clock, say: Say) -> None:
    """Leave what is still open for ``intent-ctl pending``; a start that would do without an answer does without it."""
    try:
        answers.queue(book, delta, now)
    except errors.JournalError as error:
        if error.code != "journal-unwritable":
            raise
        say(f"what it asks is not in the queue: {error.message}")


def _unknown_publisher(vetted: model.Vetted, rest: int) -> errors.SignatureError:
    app = vetted.manifest.app
    unanswered = f"; {_rests(rest)}" if rest else ""
    shown = f"`intent-run --ask {app.id}`" if rest else "start it once in a terminal"
    return errors.SignatureError(
        "publisher-unknown",
        f"{app.name} is signed by {vetted.fingerprint}, and nobody here has agreed to trust that key{unanswered}",
        hint=f"{shown}, or `intent-ctl trust accept {app.id} {vetted.fingerprint}`",
    )


def _rests(until: int) -> str:
    """What is to be said of a question that is not shown, and why."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(until))
    return f"its question was closed {answers.PATIENCE} times without an answer, and is not shown by itself until {day}"


def _raise_serial(app: apps.App, book: journal.Journal, delta: model.Delta, now: model.Clock) -> list[str]:
    """Remember that a newer manifest was seen; what it takes away by asking for less, in lines."""
    about, vetted = app.manifest.app, delta.vetted
    pin = book.pin(about.id)
    if pin is None or pin.lineage != vetted.lineage or about.serial <= pin.serial:
        return []
    plans.drop(app.places, about.id)  # those of older manifests, which may not be started any more
    book.record(now, [history.raised(app.pin(vetted, now))])
    gone, less = diff.taken(delta, book.decisions(about.id, vetted.lineage))
    said = {"no longer wants": gone, "now wants less of": less}
    titles = {words: dict.fromkeys(scope.phrase(app.host).title for scope in scopes) for words, scopes in said.items()}
    return [f"{about.name} {words} {', '.join(each)}: taken away" for words, each in titles.items() if each]


def _refuse_unasked(delta: model.Delta, grant: model.Grant, host: facts.HostFacts, rest: int) -> None:
    """A required intent that is still open: nobody could be asked. Raises RefusedError ``no-way-to-ask``."""
    open_ids = {change.intent.id for change in delta.questions}
    missing = [intent for intent in grant.missing_required if intent.id in open_ids]
    if missing:
        name, wanted = delta.vetted.manifest.app.name, ", ".join(f"`{intent.id}`" for intent in missing)
        message = f"{name} needs {wanted}, and {_rests(rest) if rest else 'there is no terminal to ask on'}"
        shown = [f"`intent-run --ask {delta.vetted.manifest.app.id}`"] if rest else []
        how = [*shown, f"`{_pending(delta)}`", f"or `{risk.grant_command(delta.vetted, missing, host)}`"]
        hint = ", ".join(how)
        raise errors.RefusedError("no-way-to-ask", message, hint=hint)


def _notices(delta: model.Delta, compiled: compiler.Compiled, host: facts.HostFacts, rest: int) -> list[str]:
    lines = [f"`{name}` is granted but not given: {error.message}" for name, error in compiled.withheld]
    unasked = [change.intent for change in delta.questions]
    if unasked:
        grant = f"`{_pending(delta)}`, or `{risk.grant_command(delta.vetted, unasked, host)}`"
        how = grant if delta.vetted.trust is not model.Trust.UNSIGNED else "start it in a terminal"
        names = ", ".join(intent.id for intent in unasked)
        lines.append(f"{delta.vetted.manifest.app.name} starts without {names}; to answer: {how}")
        lines += [f"{_rests(rest)}: intent-run --ask {delta.vetted.manifest.app.id}"] if rest else []
    return lines


def _pending(delta: model.Delta) -> str:
    """The command that shows what is open, and how to answer it."""
    return f"intent-ctl pending {delta.vetted.manifest.app.id}"


def _settings(app: apps.App, head: str) -> dict[str, str]:
    about = app.manifest.app
    where = {"run": runs.directory(app.places), "stamp": runs.stamp(app.places, about.id), "name": about.name}
    return {**where, "head": head, "head file": plans.head_file(app.places, about.id)}


def _decision_guards(app: apps.App, delta: model.Delta, now: model.Clock, head: str) -> list[tuple[str, str, str]]:
    """What the decisions depend on: the journal's head and identity, the session, the clock, where places lead."""
    info = os.stat(f"{app.places.state}/{journal.DATABASE}")
    made = [
        ("node", f"{app.places.state}/{journal.DATABASE}", f"{info.st_dev}:{info.st_ino}"),
        ("same", plans.head_file(app.places, app.manifest.app.id), head),
        ("used", runs.stamp(app.places, app.manifest.app.id), str(lapse.IDLE)),
    ]
    lives = [life for change in delta.changes for life in change.lives]
    if any(life.span is model.Lifespan.SESSION for life in lives):
        made.append(("same", f"{app.places.runtime}/session", f"{now.session}\n"))
    for life in lives:
        if life.span is model.Lifespan.UNTIL:
            same_boot = life.boot_id == now.boot_id
            made.append(("until", str(life.until), str(life.until_boottime) if same_boot else ""))
    return made
