"""``intent-author``: write, check, sign and compile manifests (SPEC §11.3). The outer shell of the pure package.

Exit status: 0 fine, 1 findings or an error, 2 usage. Each command returns an ``Outcome``; only ``main`` prints.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from intents import authoring, errors, explain, facts, flatpak, kinds, lint, locate, model, parse, paths, sign, trace
from intents.flatpak import files

PROGRAM = "intent-author"
_PRIVATE_KEY = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_OPTIONS_HELP = "print one JSON object instead of text"
_COMPILE_KEYS = "{options, companions, missing, withheld, together}; each option is an array of words"
_EXPLAIN_KEYS = "as of `intent-ctl explain`"
_COMMAND_LINES = (trace.BUBBLEWRAP, trace.COMPANION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command found, for programs (``data``) and for people (``text``, and ``notes`` on standard error)."""

    data: Mapping[str, object]
    text: str
    notes: tuple[str, ...] = ()
    status: int = 0


def main(argv: list[str] | None = None) -> int:
    """The command line ``argv``, or the process's own; the exit status. Prints; SystemExit 2 on wrong usage."""
    options = parser().parse_args(argv)
    try:
        outcome = options.run(options)
    except errors.IntentError as error:
        told = json.dumps({"error": _error(error)}, indent=2, ensure_ascii=False)
        print(told if options.json else errors.render(error, PROGRAM), file=sys.stdout if options.json else sys.stderr)
        return 2 if isinstance(error, errors.UsageError) else 1
    except KeyboardInterrupt:
        return 130
    assert isinstance(outcome, Outcome)
    if options.json:
        print(json.dumps(outcome.data, indent=2, ensure_ascii=False))
    else:
        print(outcome.text, end="" if not outcome.text or outcome.text.endswith("\n") else "\n")
        for note in outcome.notes:
            print(f"{PROGRAM}: {note}", file=sys.stderr)
    return outcome.status


def parser() -> argparse.ArgumentParser:
    """What reads the command line."""
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Write, check, sign and compile intent manifests.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new = commands.add_parser("new", help="print a first manifest, with examples as comments")
    new.add_argument("id", metavar="ID", help="reverse-DNS app id, such as org.example.Sheet")
    new.add_argument("--command", required=True, help="absolute program path and fixed arguments, shell-quoted")
    new.add_argument("--name", help="what people call it; default: the last part of ID")
    new.add_argument("--interface", choices=parse.INTERFACES, default="window")
    new.add_argument("--write", metavar="FILE", help="write it there; an existing file is left alone")
    new.set_defaults(run=_new)

    bring = _import_parser(commands.add_parser("import", help="print a manifest of what an app may elsewhere"))

    check = commands.add_parser("lint", help="find errors, and what users will refuse")
    check.add_argument("files", metavar="FILE", nargs="+")
    check.set_defaults(run=_lint)

    seal = commands.add_parser("sign", help="write FILE.sig")
    seal.add_argument("files", metavar="FILE", nargs="+")
    seal.add_argument("--key", required=True, help="Ed25519 key file; a .pub for a key that ssh-agent holds")
    seal.set_defaults(run=_sign)

    verify = commands.add_parser("verify", help="check FILE against FILE.sig")
    verify.add_argument("files", metavar="FILE", nargs="+")
    verify.add_argument("--key", metavar="PUB", help="the public key (a .pub file) that must have signed it")
    verify.set_defaults(run=_verify)

    for name, run, text, keys in (
        ("compile", _compile, "print the exact bubblewrap command line, one option per line", _COMPILE_KEYS),
        ("explain", _explain, "say for each option which intent and which decision it is there for", _EXPLAIN_KEYS),
    ):
        command = commands.add_parser(name, help=text, epilog=f"JSON: {keys}")
        command.add_argument("app", metavar="APP|FILE")
        command.add_argument("--grant", metavar="INTENT", action="append", default=[], help="as if this were granted")
        command.add_argument("--grant-all", action="store_true", help="as if everything were granted")
        command.add_argument("--stored", action="store_true", help="what you have granted (the default of explain)")
        command.add_argument("--host", metavar="FACTS.json", help="another machine, from `intent-run --describe`")
        command.set_defaults(run=run)
    for command in (*commands.choices.values(), bring):
        command.add_argument("--json", action="store_true", help=_OPTIONS_HELP)
    return parser


def _import_parser(imports: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """The parser of ``import flatpak``, made below that of ``import``."""
    bring = imports.add_subparsers(required=True, metavar="FORMAT").add_parser("flatpak", help="of an app of Flatpak")
    bring.add_argument(
        "words", metavar="FILE|OPTION", nargs="*", help="metadata or a builder's manifest; or, after `--`, permissions"
    )
    bring.add_argument("--id", metavar="ID", help="the app's id; default: what FILE says")
    bring.add_argument("--name", help="what people call it; default: the last part of the id")
    bring.add_argument("--program", help="absolute path of the program; default: what FILE says, in /usr/bin")
    bring.add_argument("--write", metavar="FILE", help="write it there; an existing file is left alone")
    bring.set_defaults(run=_import)
    return bring


def _new(options: argparse.Namespace) -> Outcome:
    try:
        command = tuple(shlex.split(options.command))
    except ValueError as error:
        raise errors.UsageError("usage", f"`--command` cannot be split into words: {error}") from error
    name = options.name or options.id.rpartition(".")[2]
    body = authoring.new(app_id=options.id, name=name, command=command, interface=options.interface)
    parse.parse(body.encode(), file=options.write or "new")
    if options.write:
        _write(options.write, body.encode(), replace=False)
        return Outcome(data={"file": options.write, "manifest": body}, text=f"wrote {paths.printable(options.write)}")
    return Outcome(data={"file": None, "manifest": body}, text=body)


def _import(options: argparse.Namespace) -> Outcome:
    named = [word for word in options.words if not word.startswith("--")]
    if len(named) > 1:
        raise errors.UsageError("usage", f"`{paths.printable(named[1])}` is a second file, and one is read at a time")
    source = files.read(_read(named[0], limit=1 << 20), file=named[0]) if named else files.Source()
    app_id = options.id or source.app_id
    if not app_id:
        hint = "Add `--id ID`, or name a file that says it."
        raise errors.UsageError("usage", "nothing says whose permissions these are", hint=hint)
    tokens = (*source.tokens, *(word for word in options.words if word.startswith("--")))
    found = flatpak.from_flatpak(app_id, tokens)
    last = app_id.rpartition(".")[2]
    program = options.program or f"/usr/bin/{(found.command or source.command or last.lower()).rpartition('/')[2]}"
    body = authoring.imported(app_id=app_id, name=options.name or last, program=program, found=found)
    parse.parse(body.encode(), file=options.write or "import")
    if options.write:
        _write(options.write, body.encode(), replace=False)
    text = f"wrote {paths.printable(options.write)}" if options.write else body
    data = {"file": options.write, "manifest": body, "tokens": flatpak.as_data(found)}
    return Outcome(data=data, text=text, notes=flatpak.report(found))


def _lint(options: argparse.Namespace) -> Outcome:
    reports: list[dict[str, object]] = []
    lines: list[str] = []
    for file in options.files:
        report: dict[str, object] = {"file": file, "error": None, "findings": []}
        reports.append(report)
        try:
            found = _findings(file)
        except errors.IntentError as error:
            report["error"] = _error(error)
            lines += errors.render(error, PROGRAM).split("\n")
            continue
        report["findings"] = found
        for finding in found:
            lines.append(f"{paths.printable(file)}:{finding['line']}  {finding['subject']}  {finding['code']}")
            lines += [f"  {finding['sentence']}", f"  why: {finding['why']}", f"  instead: {finding['instead']}"]
    bad = any(report["error"] or report["findings"] for report in reports)
    return Outcome(data={"files": reports}, text="\n".join(lines), status=1 if bad else 0)


def _findings(file: str) -> list[dict[str, str | int]]:
    body = _read(file)
    found = list(lint.lint(parse.parse(body, file=file)))
    if not authoring.same_reading(body):
        found.append(lint.Finding(code="two-readings", subject="", sentence="tomllib and tomlkit read it differently"))
    rows = []
    for finding in found:
        where = ("intents", finding.subject) if finding.subject else ("app",)
        row: dict[str, str | int] = {"code": finding.code, "subject": ".".join(where)}
        row["line"] = locate.line(body.decode(), where)
        rows.append(row | {"sentence": finding.sentence, "why": finding.why, "instead": finding.instead})
    return rows


def _sign(options: argparse.Namespace) -> Outcome:
    signed = []
    for file in options.files:
        body = _read(file)
        app = parse.parse(body, file=file).app
        signature = _signature(body, options.key)
        key = sign.verify(body, signature)
        _write(f"{file}.sig", signature, replace=True)
        signed.append((file, app, key))
    return _signed(signed, "signed now")


def _signature(body: bytes, key_file: str) -> bytes:
    """Sign with an open private key file here; for every other key ``ssh-keygen`` knows how to ask."""
    key = _read(key_file)
    if key.startswith(_PRIVATE_KEY):
        try:
            return sign.sign(body, key, None)
        except errors.SignatureError as error:
            if error.code not in ("passphrase-mismatch", "key-unsupported"):
                raise
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", sign.NAMESPACE, "-f", key_file]
    try:
        made = subprocess.run(command, input=body, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        message, hint = "this key needs `ssh-keygen`, which is not here", "Install the OpenSSH client."
        raise errors.SignatureError("key-unsupported", message, hint=hint) from error
    if made.returncode:
        shown = paths.printable(key_file)
        raise errors.SignatureError("key-malformed", f"`ssh-keygen` did not sign with `{shown}` and said why above")
    return made.stdout


def _verify(options: argparse.Namespace) -> Outcome:
    wanted = sign.parse_public_key(_read(options.key).decode("utf-8", "replace")) if options.key else None
    signed = []
    for file in options.files:
        body, shown = _read(file), paths.printable(file)
        if not os.path.exists(f"{file}.sig"):
            raise errors.SignatureError("signature-missing", f"there is no `{shown}.sig`")
        try:
            key = sign.verify(body, _read(f"{file}.sig"))
        except errors.SignatureError as error:
            error.subject = f"{shown}.sig"
            raise
        if wanted not in (None, key):
            message = f"it is signed by {key.fingerprint}, not by the key in `{paths.printable(options.key)}`"
            hint = "Get the publisher's key again, or leave the file alone."
            raise errors.SignatureError("key-changed", message, subject=shown, hint=hint)
        signed.append((file, parse.parse(body, file=file).app, key))
    return _signed(signed, "signed")


def _signed(files: list[tuple[str, model.App, sign.PublicKey]], done: str) -> Outcome:
    rows = [
        {"file": file, "id": app.id, "serial": app.serial, "fingerprint": key.fingerprint, "key": key.text}
        for file, app, key in files
    ]
    lines = [
        f"{paths.printable(file)}: {app.id}, serial {app.serial}, {done} by {key.fingerprint}"
        for file, app, key in files
    ]
    public = any(key.text == sign.REPOSITORY_KEY for _, _, key in files)
    note = "this is the example key, with which everybody can sign: it counts as unsigned outside this checkout"
    return Outcome(data={"files": rows}, text="\n".join(lines), notes=(note,) if public else ())


def _compile(options: argparse.Namespace) -> Outcome:
    _, shown, _ = _explanation(options, stored=options.stored)
    found = {part: [option.words for option in shown.options if option.part == part] for part in _COMMAND_LINES}
    text = "\n\n".join("\n".join(map(trace.shown, rows)) for rows in found.values() if rows)
    data = {"options": found[trace.BUBBLEWRAP], "companions": found[trace.COMPANION]}
    return Outcome(data={**data, **_gaps(shown)}, text=text, notes=_gap_notes(shown))


def _explain(options: argparse.Namespace) -> Outcome:
    said = options.grant or options.grant_all or options.host
    manifest, shown, owners = _explanation(options, stored=options.stored or not said)
    groups = trace.tell(shown.options, owners, manifest.app)
    text = "\n".join(trace.lines(groups, _day))
    data = {"app": manifest.app.id, "groups": groups, **_gaps(shown)}
    return Outcome(data=data, text=text, notes=_gap_notes(shown))


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _explanation(
    options: argparse.Namespace, *, stored: bool
) -> tuple[model.Manifest, explain.Explanation, tuple[trace.Owner, ...]]:
    """The manifest, what would be started, and by what each intent is granted or not."""
    is_file = "/" in options.app or os.path.exists(options.app)
    described = _describe(options.app) if stored or not (is_file and options.host) else {}
    file = str(described.get("manifest", options.app))
    body = _read(file)
    manifest = parse.parse(body, file=file)
    key = sign.verify(body, _read(f"{file}.sig")) if os.path.exists(f"{file}.sig") else None
    if options.host:
        host = explain.assume(manifest, _facts(_read(options.host, limit=1 << 20), options.host))
    else:
        host = _facts(described, "intent-run --describe")
    every = tuple(intent.id for intent in manifest.intents) if options.grant_all else ()
    said = dict(explain.chosen(manifest, (*options.grant, *every)))
    option = "as if granted, by --grant-all" if options.grant_all else "as if granted, by --grant"
    why = dict.fromkeys((intent.id for intent in manifest.intents), "not granted") | dict.fromkeys(said, option)
    rows = described.get("granted", []) if stored else []
    decided = {row["intent"]: row for row in rows if row["intent"] not in said} if isinstance(rows, list) else {}
    for name, row in decided.items():
        said[name] = tuple(kinds.from_data(scope) for scope in row["scopes"])
        why[name] = row["because"]
    shown = explain.explain(manifest, key, host, said)
    owners = (
        trace.Owner(
            intent=verdict.intent.id,
            granted=verdict.granted,
            because=why[verdict.intent.id],
            decisions=tuple(decided.get(verdict.intent.id, {}).get("decisions", ())),
        )
        for verdict in shown.verdicts
    )
    return manifest, shown, tuple(owners)


def _describe(name: str) -> dict[str, object]:
    """What ``intent-run --describe`` says: it is the one that may look at this machine and at what is stored."""
    beside = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "intent-run")
    program = beside if os.access(beside, os.X_OK) else "intent-run"
    try:
        said = subprocess.run([program, "--describe", name], stdout=subprocess.PIPE, check=False)
    except OSError as error:
        hint = "Say which machine is meant with --host FACTS.json, or install intents completely."
        message = "`intent-run`, which knows this machine, is not here"
        raise errors.CatalogError("unreadable", message, hint=hint) from error
    if said.returncode:
        raise errors.CatalogError(
            "unreadable", f"`intent-run` cannot describe `{paths.printable(name)}` and said why above"
        )
    described = json.loads(said.stdout)
    assert isinstance(described, dict)
    return described


def _facts(recorded: object, file: str) -> facts.HostFacts:
    """The facts alone, or as the ``host`` part of what ``intent-run --describe`` prints."""
    try:
        data = json.loads(recorded) if isinstance(recorded, bytes) else recorded
        return facts.from_json(json.dumps(data.get("host", data) if isinstance(data, dict) else data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        message = f"`{paths.printable(file)}` does not hold the facts about a machine"
        raise errors.UsageError("usage", message, hint="`intent-run --describe APP` prints them.") from error


def _gaps(shown: explain.Explanation) -> dict[str, object]:
    withheld = [{"intent": name, **_error(error)} for name, error in shown.withheld]
    return {"missing": list(shown.missing), "withheld": withheld, "together": list(shown.together)}


def _gap_notes(shown: explain.Explanation) -> tuple[str, ...]:
    """What stands between these command lines and a start, and what they make possible together, one line each."""
    missing = [f"not granted, and the app does not start without it: {name}" for name in shown.missing]
    withheld = [f"withheld here: {name}: {error.message} [{error.code}]" for name, error in shown.withheld]
    return (*missing, *withheld, *(f"!! {sentence}" for sentence in shown.together))


def _error(error: errors.IntentError) -> dict[str, str | int]:
    """The error as data, without the status of ``intent-run``: this program's own is always 1."""
    return {key: value for key, value in errors.as_data(error).items() if key != "exit_status"}


def _read(file: str, limit: int = parse.MAX_BYTES) -> bytes:
    """The file, or so much of it that a limit is seen to be broken. Raises CatalogError ``unreadable``."""
    try:
        with open(file, "rb") as source:
            return source.read(limit + 1)
    except OSError as error:
        hint = "Name a file that exists." if isinstance(error, FileNotFoundError | IsADirectoryError) else ""
        message = f"`{paths.printable(file)}` cannot be read: {error.strerror}"
        raise errors.CatalogError("unreadable", message, hint=hint) from error


def _write(file: str, content: bytes, *, replace: bool) -> None:
    """All of the file or nothing of it. Raises CatalogError ``unreadable``."""
    partial = f"{file}.{os.getpid()}" if replace else file
    try:
        with open(partial, "xb") as target:
            target.write(content)
        os.replace(partial, file)
    except OSError as error:
        shown = paths.printable(file)
        hint = "Choose another name, or remove what is there."
        raise errors.CatalogError("unreadable", f"`{shown}` was not written: {error.strerror}", hint=hint) from error


if __name__ == "__main__":
    sys.exit(main())
