"""``intent-ctl why``: which line of an app's sandbox decides about one path, server, bus name or variable (SPEC §11.4).

The answer is read from the sandbox that a start now would launch. What would have to be granted is found by compiling
it again with each intent that is not granted, so that it holds for every kind.
"""

import dataclasses
import os
import pathlib
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from broker import journal, known, servers, views
from intents import catalogue, compiler, decide, errors, explain, facts, model, paths, risk, sandbox, sight, trace
from intents.kinds import env, path

SORTS = ("path", "host", "bus", "variable")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_BUS_NAME = re.compile(r":[0-9.]+|[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)+")
# First labels under which reverse names stand; a server's name hardly begins with one.
_REVERSED = re.compile(r"(ai|app|at|be|ca|ch|com|cz|de|dev|edu|es|eu|fr|in|io|it|jp|me|net|nl|org|pl|ru|se|uk|us)[.]")
_VERBS = {
    "see": "it can see whether {} runs",
    "talk": "it can use everything that {} offers",
    "own": "it can offer its own services as {}",
    "call": "it can call {}",
    "broadcast": "it can hear {}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one sandbox says. lines: what decides, as (its words, whose it is); source: the host object that is seen;
    access: ``read`` or ``write``, None for what is no path; never: why no grant of this sort can ever give it."""

    allowed: bool
    says: str
    lines: tuple[tuple[str, str], ...]
    source: str = ""
    access: str | None = None
    never: str = ""


def why(at: known.Here, name: str, asked: str, *, sort: str | None, write: bool) -> known.Report:
    """What decides about ``asked``, as a start now would have it; negative when the app does not get it.

    sort: one of ``SORTS``, else what ``asked`` looks like; write: ask about changing a path. Raises as ``known.find``
    and ``compile_sandbox`` do.
    """
    with journal.Journal.open(at.places) as book:
        found = known.find(at, book, name, changing=False)
    app, delta = found.settled()
    grant, host = explain.relaxed(decide.settle(delta)), app.host
    sort = sort or sort_of(asked)

    def ask(box: sandbox.Sandbox) -> Answer:
        if sort == "path":
            return _path(box, _absolute(asked, host), host, write=write)
        if sort == "host":
            return _host(box, asked)
        if sort == "bus":
            return _bus(box, asked)
        return _variable(box, asked.removeprefix("$"), at.environ.get(asked.removeprefix("$")))

    compiled = compiler.compile_sandbox(grant, host)
    answer = ask(compiled.sandbox)
    withheld = {intent: error.message for intent, error in compiled.withheld}
    could = {change.intent.id: (*change.granted, *change.free) for change in delta.changes}
    whole = {change.intent.id: (change.intent.scope,) for change in delta.changes}
    wider = () if answer.allowed else tuple(_wider(grant, host, lambda box: ask(box).allowed, could, withheld))
    locked = () if answer.allowed or wider else tuple(_wider(grant, host, lambda box: ask(box).allowed, whole, {}))
    grants = [{"intent": intent.id, "command": risk.grant_command(delta.vetted, [intent], host)} for intent in wider]
    data: dict[str, object] = {
        "app": found.app_id,
        "asked": asked,
        "sort": sort,
        "allowed": answer.allowed,
        "access": answer.access,
        "says": answer.says,
        "source": answer.source or None,
        "lines": [_line(found, grant, words, whose) for words, whose in answer.lines],
        "grants": grants,
        "locked": [row for intent in locked for row in _locked(delta.change(intent.id))],
        "withheld": [{"intent": intent, "message": said} for intent, said in withheld.items()],
        "never": answer.never if not answer.allowed and not grants and answer.never else None,
        "named": None,
    }
    where = _absolute(asked, host) if sort == "path" and not answer.allowed and not answer.never else ""
    if compiled.sandbox.named and os.path.isfile(where):
        option = "--write " if write else ""
        data["named"] = f"intent-run {option}{found.app_id} {shlex.quote(where)}"
    return known.Report(data=data, lines=tuple(_text(data)), negative=not answer.allowed)


def sort_of(asked: str) -> str:
    """What a word on the command line looks like: one of ``SORTS``."""
    if asked.startswith("$") or _VARIABLE.fullmatch(asked):
        return "variable"
    if "://" in asked:
        return "host"
    if asked.startswith(("/", "~", ".")) or asked.partition("/")[0] in paths.ROOTS:
        return "path"
    if asked.startswith(":"):
        return "host" if asked.startswith("::") else "bus"
    name = asked.removesuffix(".*")
    reverse = _BUS_NAME.fullmatch(name) and (name.lower() != name or _REVERSED.match(name))
    return "bus" if reverse else "host"


def _absolute(asked: str, host: facts.HostFacts) -> str:
    """The path that is meant: as a shell reads it, or a place as a manifest writes it. Raises UsageError."""
    if asked == "~" or asked.startswith("~/"):
        asked = host.account.home + asked[1:]
    elif asked.partition("/")[0] in paths.ROOTS and not os.path.lexists(asked):
        asked = paths.parse_place(asked).resolve(dict(host.directories)) or asked
    try:
        return os.path.abspath(asked)
    except OSError as error:
        message = f"`{paths.printable(asked)}` counts from a directory that is not there any more"
        raise errors.UsageError("usage", message) from error


def _path(box: sandbox.Sandbox, where: str, host: facts.HostFacts, *, write: bool) -> Answer:
    real = os.path.realpath(where)
    seen = sight.look(box, where, read_link)
    if seen.stands is not sight.Stands.HOST and real != where:
        elsewhere = sight.look(box, real, read_link)
        seen = elsewhere if elsewhere.source == real else seen
    line = seen.line.describe() if seen.line else "the empty root of the sandbox"
    never = _never(real, where, host, write=write)
    answer = Answer(allowed=False, says="", lines=((line, seen.because),), source=seen.source, access=None, never=never)
    if seen.stands is sight.Stands.NOTHING:
        return dataclasses.replace(answer, says="it does not see it")
    if seen.stands is sight.Stands.MADE:
        return dataclasses.replace(answer, says="it does not see yours: the sandbox has one of its own there")
    if seen.stands is sight.Stands.KERNEL:
        return _kernel(box, seen, answer, write=write)
    there, here = os.path.lexists(seen.source), os.path.lexists(where)
    if not there and not here:
        could = seen.writable and may(os.path.dirname(seen.source), os.W_OK)
        says = f"there is no such file, {'and it can make one' if could else 'which it would see'}"
        return dataclasses.replace(answer, allowed=write and could, says=says, access="write" if could else None)
    if here and os.path.realpath(seen.source) != real:
        return dataclasses.replace(answer, says="it does not see yours: the app has one of its own there")
    readable, writable = may(seen.source, os.R_OK), seen.writable and may(seen.source, os.W_OK)
    access = "write" if writable else "read" if readable else None
    kept = "" if readable else ", and the permissions of the file itself keep it from reading it"
    can = {"write": "it can read and change it", "read": "it can read it, and not change it", None: f"it sees it{kept}"}
    allowed = access == "write" if write else access is not None
    return dataclasses.replace(answer, allowed=allowed, says=can[access], access=access)


def _kernel(box: sandbox.Sandbox, seen: sight.Sight, answer: Answer, *, write: bool) -> Answer:
    """What the kernel shows in the sandbox's own /proc and /dev; a process there is one of its own."""
    number = seen.path.removeprefix("/proc/").partition("/")[0]
    if number.isdigit() and box.share("processes") is None:
        return dataclasses.replace(answer, says="it sees no processes but its own, which have numbers of their own")
    access = "write" if seen.writable else "read"
    says = "it sees what the kernel shows of the sandbox there"
    return dataclasses.replace(answer, allowed=seen.writable or not write, says=says, access=access)


def read_link(source: str) -> str:
    """The target of a link of this host, else empty: what ``sight.look`` asks."""
    try:
        return os.readlink(source)
    except OSError:
        return ""


def may(source: str, mode: int) -> bool:
    """Whether a process of this user without any capability may do that to a host object (os.R_OK, os.W_OK)."""
    if os.geteuid():
        return os.access(source, mode, effective_ids=True)
    # For uid 0 access(2) tells of capabilities, which the sandbox does not have.
    try:
        return _permits(source, mode) and all(_permits(each, os.X_OK) for each in pathlib.PurePath(source).parents)
    except OSError:
        return False


def _permits(source: str | pathlib.PurePath, mode: int) -> bool:
    info = os.stat(source)
    shift = 6 if info.st_uid == 0 else 3 if info.st_gid in (os.getegid(), *os.getgroups()) else 0
    return bool(stat.S_IMODE(info.st_mode) >> shift & mode)


def _never(real: str, where: str, host: facts.HostFacts, *, write: bool) -> str:
    if any(paths.inside(real, place) for place in ("/dev", "/sys")):
        return ""  # kinds of their own show parts of these
    try:
        path.refuse_path(real, where, host, write=write)
    except errors.RefusedError as error:
        return error.message
    return ""


def _host(box: sandbox.Sandbox, asked: str) -> Answer:
    said = servers.tell(box, servers.read(asked), read_link)
    return Answer(allowed=said.allowed, says=said.says, lines=said.lines)


def _bus(box: sandbox.Sandbox, name: str) -> Answer:
    sockets = sight.buses(box)
    if name == "org.freedesktop.DBus" and sockets:
        lines = tuple((socket.describe(), socket.because) for socket in sockets)
        return Answer(allowed=True, says="the filter answers for the bus itself, about what it may see", lines=lines)
    rules = sight.rules(box, name)
    if rules:
        said = dict.fromkeys(f"{_VERBS[rule.verb].format(rule.rule)} on the {rule.bus} bus" for rule in rules)
        lines = tuple((rule.describe(), rule.because) for rule in rules)
        return Answer(allowed=True, says="; ".join(said), lines=lines)
    why_not = next((why for held, why in catalogue.NEVER.items() if f"{name}.".startswith(f"{held}.")), "")
    never = f"`{paths.printable(name)}` cannot be granted: {why_not}" if why_not else ""
    none = "it has no bus" if not sockets else "no rule of its filter is about it"
    lines = tuple((socket.describe(), socket.because) for socket in sockets) or (("no bus", sandbox.BASE),)
    return Answer(allowed=False, says=none, lines=lines, never=never)


def _variable(box: sandbox.Sandbox, name: str, value: str | None) -> Answer:
    op = sight.variable(box, name)
    if isinstance(op, sandbox.Env):
        return Answer(allowed=True, says=f"the sandbox sets it to `{op.value}`", lines=((op.describe(), op.because),))
    if op is not None:
        now = "not set now" if value is None else "set now"
        return Answer(allowed=True, says=f"it is passed on as it is; it is {now}", lines=((op.describe(), op.because),))
    never = ""
    try:
        env.Env.check(name)
    except errors.ManifestError as error:
        never = error.message
    says = "it is not passed on"
    return Answer(allowed=False, says=says, lines=(("an environment of its own", sandbox.BASE),), never=never)


def _wider(
    grant: model.Grant,
    host: facts.HostFacts,
    enough: Callable[[sandbox.Sandbox], bool],
    given: Mapping[str, tuple[model.Scope, ...]],
    withheld: dict[str, str],
) -> Iterable[model.Intent]:
    """The intents that are not wholly granted and each of which would be enough if ``given`` were granted of it; adds
    those that cannot be given here to ``withheld``."""
    for verdict in grant.verdicts:
        if verdict.whole:
            continue
        whole = dataclasses.replace(verdict, granted=tuple(dict.fromkeys(given[verdict.intent.id])))
        verdicts = tuple(whole if each is verdict else each for each in grant.verdicts)
        compiled = compiler.compile_sandbox(dataclasses.replace(grant, verdicts=verdicts), host)
        withheld |= {intent: error.message for intent, error in compiled.withheld}
        if enough(compiled.sandbox):
            yield verdict.intent


def _locked(change: model.Change) -> Iterable[dict[str, object]]:
    if change.locks:
        yield {"intent": change.intent.id, "rules": [trace.rule_data(rule) for rule in change.locks]}


def _line(found: known.Known, grant: model.Grant, words: str, whose: str) -> dict[str, object]:
    """One deciding line as JSON: line, group, because, decisions, rules."""
    _, delta = found.settled()
    verdict = next((each for each in grant.verdicts if each.intent.id == whose), None)
    changes = [change for change in delta.changes if change.intent.id == whose]
    decided = [seq for change in changes for seq in change.decided_by]
    return {
        "line": words,
        "group": whose,
        "because": verdict.because if verdict else trace.base_sentence(grant.vetted.manifest.app),
        "decisions": [trace.decision_data(each) for each in found.live if each.seq in decided],
        "rules": [row for change in changes for row in trace.rules_data(change)],
    }


def _text(data: dict[str, object]) -> Iterable[str]:
    lines, grants, withheld, locked = data["lines"], data["grants"], data["withheld"], data["locked"]
    assert isinstance(lines, list) and isinstance(grants, list) and isinstance(withheld, list)
    assert isinstance(locked, list)
    yield f"{'yes' if data['allowed'] else 'no'}, {data['says']}."
    for row in lines:
        yield f"  decides   {row['line']}"
        yield f"            {row['group']}: {row['because']}"
        yield from (f"            {trace.rule_words(each)}" for each in row["rules"])
        yield from (f"            {trace.decision_words(each, views.day)}" for each in row["decisions"])
    if data["source"]:
        yield f"  here      {data['source']}"
    yield from (f"  to allow  {row['command']}" for row in grants)
    yield from (f"  locked    {row['intent']}: {trace.rule_words(each)}" for row in locked for each in row["rules"])
    if data["named"]:
        yield f"  this once {data['named']}"
    if data["allowed"] or grants or locked or data["named"]:
        return
    if data["never"]:
        yield f"  never     {data['never']}"
        return
    yield f"  to allow  no {'other ' if withheld else ''}intent of this app asks for it"
    yield from (f"  withheld  {row['intent']}: {row['message']}" for row in withheld)
