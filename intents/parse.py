"""Manifest bytes to ``model.Manifest`` (SPEC §3): TOML 1.0 as ``tomllib`` reads it, then every rule of the language.

Deterministic and total: any bytes give a manifest or one ``errors.ManifestError`` whose subject says
``file:line  key.path``. What passes can be shown to a person and handed to the compiler as it is.
"""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import combinations
from typing import TypeVar

from intents import base, catalogue, errors, kinds, locate, model, paths, text, usual
from intents.kinds import network, settings

MAX_BYTES = 1 << 16
MAX_INTENTS = 64
MAX_LINE = 2048  # bytes; tomllib's time grows with the square of the parts of a dotted key: 64 KiB of them took 16 s
MAX_SERIAL = (1 << 63) - 1
MAX_APP_ID = 128
MAX_INTENT_ID = 32
MAX_PARTS = 256  # scopes that could each be granted alone; every pair of them is compared
MAX_KEY = 32  # characters of a scope's key or kind
MAX_ALIASES = 16
MAX_ALIAS = 32
MAX_WORDS = 64  # of a command
MAX_WORD = 1024  # characters
MAX_EXTRAS = 64
PACKAGE_MANAGERS = ("apk", "apt", "dnf", "pacman")
INTERFACES = ("terminal", "window")
FILES = ("read", "write")

BASE_KEYS = ("base", "libraries", "extras", "proc")
NAME_KEYS = ("id", "name", "version", "serial", "aliases", "category")
APP_KEYS = (*NAME_KEYS, "command", "interface", "packages", "files", *BASE_KEYS)
INTENT_KEYS = ("kind", "optional", "reason", "if_denied")
ASK = "ask"

# Names of the desktop's own parts: an app under one of them would be taken for it, by people and by bus policies.
RESERVED_IDS = (
    "ca.desrt.dconf",
    "com.canonical.Unity",
    "org.a11y",
    "org.bluez",
    "org.freedesktop",
    "org.gnome.keyring",
    "org.gnome.Mutter",
    "org.gnome.ScreenSaver",
    "org.gnome.SessionManager",
    "org.gnome.SettingsDaemon",
    "org.gnome.Shell",
    "org.gtk.vfs",
    "org.kde.kded",
    "org.kde.kglobalaccel",
    "org.kde.KWin",
    "org.kde.kwalletd",
    "org.kde.plasmashell",
    "org.kde.StatusNotifierWatcher",
    "org.mpris.MediaPlayer2",
)

# The D-Bus specification's well-known names ("Valid Names"), without labels that begin like an option.
_APP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*){2,}", re.ASCII)
_INTENT_ID = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_ALIAS = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,127}", re.ASCII)

_T = TypeVar("_T")
_WORDS: dict[type, str] = {
    str: "a string",
    bool: "`true` or `false`",
    int: "an integer",
    list: "an array of strings",
    dict: "a table",
}


def parse(body: bytes, *, file: str) -> model.Manifest:
    """The manifest that ``body`` says; ``file`` is its name in errors. Raises ManifestError."""
    return _Reader(body, file).manifest()


def is_app_id(word: str) -> bool:
    """Whether a manifest could have this id, reserved or not."""
    return len(word) <= MAX_APP_ID and _APP_ID.fullmatch(word) is not None


class _Reader:
    """One reading of one file: holds what errors need to say where."""

    def __init__(self, body: bytes, file: str) -> None:
        self._body = body
        self._file = paths.printable(file)
        self._text = ""

    def manifest(self) -> model.Manifest:
        top = self._toml()
        spec = self._get(top, (), "spec", int)
        if spec != 1:
            raise self._error("unknown-spec", "`spec` names a version that this program does not know", ("spec",))
        self._only(top, (), ("spec", "app", "intents"))
        app = self._app(self._get(top, (), "app", dict))
        intents = self._intents(self._get(top, (), "intents", dict, {}), app)
        return model.Manifest(app=app, intents=intents, digest=hashlib.sha256(self._body).hexdigest())

    def _toml(self) -> dict[str, object]:
        if len(self._body) > MAX_BYTES:
            raise self._error("too-large", f"the manifest has {len(self._body)} bytes, more than {MAX_BYTES}", ())
        try:
            self._text = self._body.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._body.count(b"\n", 0, error.start) + 1
            raise self._error("not-utf-8", f"byte {error.start} does not belong to UTF-8", (), line) from error
        for line, content in enumerate(self._body.split(b"\n"), 1):
            if len(content) > MAX_LINE:
                said = f"a line has {len(content)} bytes, more than {MAX_LINE}"
                raise self._error("too-large", said, (), line, "Break the line, or ask for less.")
        try:
            return tomllib.loads(self._text)
        except RecursionError as error:
            raise self._error("toml-syntax", "the tables or arrays are nested too deeply", ()) from error
        except ValueError as error:  # TOMLDecodeError, and int() on thousands of digits
            found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
            why, line = (found[1], int(found[2] or self._text.count("\n") + 1)) if found else ("too many digits", 1)
            raise self._error("toml-syntax", f"the file is not TOML 1.0: {paths.printable(why)}", (), line) from error

    def _app(self, table: dict[str, object]) -> model.App:
        where = ("app",)
        self._only(table, where, APP_KEYS)
        shown = self._get(table, where, "base", str, base.DESKTOP)
        strict = shown == base.STRICT
        libraries = self._get(table, where, "libraries", str, base.CLOSURE if strict else base.SYSTEM)
        return model.App(
            id=self._app_id(self._get(table, where, "id", str)),
            name=self._human(table, where, "name", text.MAX_NAME),
            version=self._human(table, where, "version", text.MAX_VERSION),
            serial=self._serial(self._get(table, where, "serial", int)),
            command=self._command(self._get(table, where, "command", list)),
            interface=self._choice("interface", self._get(table, where, "interface", str), INTERFACES),
            aliases=self._aliases(self._get(table, where, "aliases", list, [])),
            packages=self._packages(self._get(table, where, "packages", dict, {})),
            base=self._choice("base", shown, base.BASES),
            libraries=self._choice("libraries", libraries, base.LIBRARIES if strict else base.LIBRARIES[:1]),
            extras=self._extras(self._get(table, where, "extras", list, []), strict=strict),
            proc=self._proc(self._get(table, where, "proc", bool, True), shown),
            files=self._choice("files", self._get(table, where, "files", str), FILES) if "files" in table else "",
            category=self._category(self._get(table, where, "category", str, "")) if "category" in table else "",
        )

    def _app_id(self, value: str) -> str:
        where = ("app", "id")
        shown = paths.printable(value[:MAX_APP_ID])
        if not is_app_id(value):
            rule = f"three or more labels `[A-Za-z_][A-Za-z0-9_-]*`, dots between, {MAX_APP_ID} characters at most"
            raise self._error("bad-app-id", f"`{shown}` is not an app id: {rule}", where)
        folded = f"{value.casefold()}."
        for name in RESERVED_IDS:
            reserved = f"{name.casefold()}."
            if folded.startswith(reserved) or reserved.startswith(folded):
                said = f"`{shown}` lies under or above the reserved name `{name}`"
                raise self._error("reserved-app-id", said, where)
        return value

    def _serial(self, value: int) -> int:
        if not 0 < value <= MAX_SERIAL:
            raise self._error("bad-value", "`serial` must be greater than 0 and less than 2^63", ("app", "serial"))
        return value

    def _choice(self, key: str, value: str, values: tuple[str, ...]) -> str:
        if value not in values:
            only = f' with any base but `"{base.STRICT}"`' if key == "libraries" and len(values) == 1 else ""
            raise self._error("bad-value", f"`{key}` must be {_listed(values, 'or')}{only}", ("app", key))
        return value

    def _category(self, value: str) -> str:
        return self._choice("category", value, tuple(usual.CATEGORIES))

    def _extras(self, value: list[object], *, strict: bool) -> tuple[str, ...]:
        where = ("app", "extras")
        names = self._strings(value, where)
        if names and not strict:
            said = f'`extras` needs `base = "{base.STRICT}"`: the others show all there is'
            raise self._error("bad-value", said, where)
        if len(names) > MAX_EXTRAS or len(set(names)) != len(names):
            raise self._error("bad-value", f"`extras` must hold at most {MAX_EXTRAS} different names", where)
        for name in names:
            path = "/" in name
            if not name or len(name) > MAX_WORD or paths.printable(name) != name or (path and _bad_file(name)):
                rule = "the name of a library, or an absolute path as `command` begins with"
                shown = paths.printable(name[:80])
                raise self._error("bad-value", f"`{shown}` cannot be one of `extras`: it must be {rule}", where)
        return names

    def _proc(self, value: bool, shown: str) -> bool:
        if not value and shown == base.DESKTOP:
            raise self._error("bad-value", f'`proc = false` needs a base below `"{base.DESKTOP}"`', ("app", "proc"))
        return value

    def _command(self, value: list[object]) -> tuple[str, ...]:
        where = ("app", "command")
        words = self._strings(value, where)
        if not words or len(words) > MAX_WORDS:
            raise self._error("bad-command", f"`command` must hold 1 to {MAX_WORDS} strings", where)
        for number, word in enumerate(words, 1):
            if len(word) > MAX_WORD or paths.printable(word) != word:
                rule = f"is longer than {MAX_WORD} characters or holds one that cannot be shown"
                raise self._error("bad-command", f"string {number} of `command` {rule}", where)
        program = words[0]
        if _bad_file(program) == "form" or "=" in program:
            rule = "an absolute path without `//`, `.`, `..` and `=`"
            said = f"`{program[:80]}` is not a program: the first string must be {rule}"
            raise self._error("bad-command", said, where)
        if _bad_file(program):
            said = f"`{program[:80]}` lies where no program may be: under {_listed(paths.REFUSED_ROOTS, 'or')}"
            raise self._error("bad-command", said, where)
        return words

    def _aliases(self, value: list[object]) -> tuple[str, ...]:
        where = ("app", "aliases")
        names = self._strings(value, where)
        if len(names) > MAX_ALIASES or len(set(names)) != len(names):
            raise self._error("bad-value", f"`aliases` must hold at most {MAX_ALIASES} different names", where)
        for name in names:
            if len(name) > MAX_ALIAS or not _ALIAS.fullmatch(name):
                rule = f"`[a-z0-9][a-z0-9-]*`, at most {MAX_ALIAS} characters"
                shown = paths.printable(name[:MAX_ALIAS])
                raise self._error("bad-value", f"`{shown}` is not an alias: {rule}", where)
        return names

    def _packages(self, table: dict[str, object]) -> tuple[tuple[str, str], ...]:
        where = ("app", "packages")
        self._only(table, where, PACKAGE_MANAGERS)
        found = []
        for manager in table:
            name = self._get(table, where, manager, str)
            if not _PACKAGE.fullmatch(name):
                rule = "a letter or digit, then letters, digits and `+._-`"
                raise self._error("bad-value", f"`{manager}` must name one package: {rule}", (*where, manager))
            found.append((manager, name))
        return tuple(sorted(found))

    def _intents(self, table: dict[str, object], app: model.App) -> tuple[model.Intent, ...]:
        where = ("intents",)
        if len(table) > MAX_INTENTS:
            raise self._error("too-large", f"the manifest has {len(table)} intents, more than {MAX_INTENTS}", where)
        found = tuple(self._intent(name, self._get(table, where, name, dict), app) for name in table)
        parts = [(intent, part) for intent in found for part in intent.scope.parts()]
        if len(parts) > MAX_PARTS:
            said = f"the manifest asks for {len(parts)} single things, more than {MAX_PARTS}"
            raise self._error("too-large", said, where)
        for (first, mine), (second, other) in combinations(parts, 2):
            if first is not second and kinds.overlap(mine, other):
                said = f"`{first.id}` and `{second.id}` ask for the same thing, in whole or in part"
                raise self._error("overlapping-intents", said, (*where, second.id))
        return found

    def _intent(self, name: str, table: dict[str, object], app: model.App) -> model.Intent:
        where = ("intents", name)
        if len(name) > MAX_INTENT_ID or not _INTENT_ID.fullmatch(name):
            rule = f"`[a-z][a-z0-9-]*`, at most {MAX_INTENT_ID} characters"
            shown = paths.printable(name[:MAX_INTENT_ID])
            raise self._error("bad-intent-id", f"`{shown}` is not an intent id: {rule}", where)
        kind = self._get(table, where, "kind", str)
        keys = {key: value for key, value in table.items() if key not in (*INTENT_KEYS, ASK)}
        optional = self._get(table, where, "optional", bool, False)
        if kind == settings.KIND and not optional:
            said = "settings must be `optional`: to start without is one of the answers"
            raise self._error("bad-value", said, (*where, "kind"), hint="Add `optional = true`.")
        scope = self._scope(kind, keys, where, app)
        if ASK in table and (said := network.refusal(self._get(table, where, ASK, str), scope, optional=optional)):
            raise self._error("bad-value", said, (*where, ASK))
        return model.Intent(
            id=name,
            scope=scope,
            optional=optional,
            reason=self._human(table, where, "reason", text.MAX_REASON),
            if_denied=self._human(table, where, "if_denied", text.MAX_REASON) if "if_denied" in table else "",
            on_use=ASK in table,
        )

    def _scope(self, kind: str, keys: Mapping[str, object], where: tuple[str, ...], app: model.App) -> model.Scope:
        for key, value in keys.items():
            shown = f"`{paths.printable(key[:MAX_KEY])}`"
            if len(key) > MAX_KEY:
                raise self._error("unknown-key", f"{shown} begins a key that no kind has", (*where, key))
            if any(isinstance(item, str) and len(item) > MAX_WORD for item in _items(value)):
                raise self._error("bad-value", f"{shown} is longer than {MAX_WORD} characters", (*where, key))
        try:
            scope = kinds.read(kind[:MAX_KEY], keys)
        except errors.ManifestError as error:
            meant = named(error.message, keys)
            hint = error.hint
            if error.code == "unknown-key":
                hint = f"Every intent also has {_listed(INTENT_KEYS, 'and')}.{_did_you_mean(meant, INTENT_KEYS)}"
            key = "kind" if error.code == "unknown-kind" else meant
            raise self._error(error.code, error.message, (*where, key) if key else where, hint=hint) from error
        for name in _items(scope.data().get("own", [])):
            if name != app.id:
                said = f"`own` must be the app's own id, `{app.id}`, and nothing else"
                other = catalogue.meant(str(name))
                hint = f"Ask for kind `{other}` instead." if other else ""
                raise self._error("bad-bus-name", said, (*where, "own"), hint=hint)
        return scope

    def _human(self, table: dict[str, object], where: tuple[str, ...], key: str, cells: int) -> str:
        value = self._get(table, where, key, str)
        if why := text.problem(value, cells):
            raise self._error("bad-text", f"`{key}` cannot be shown to people as it is: {why}", (*where, key))
        return value

    def _strings(self, value: list[object], where: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if not isinstance(item, str):
                raise self._wrong_type(where, list, item)
        return tuple(str(item) for item in value)

    def _get(
        self, table: Mapping[str, object], where: tuple[str, ...], key: str, kind: type[_T], default: _T | None = None
    ) -> _T:
        """The value of ``key``, which must be of TOML type ``kind``; required where there is no ``default``."""
        if key not in table:
            if default is not None:
                return default
            owner = f"`{'.'.join(where)}`" if where else "the manifest"
            raise self._error("missing-key", f"{owner} needs the key `{key}`", (*where, key))
        value = table[key]
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise self._wrong_type((*where, key), kind, value)
        return value

    def _only(self, table: Mapping[str, object], where: tuple[str, ...], allowed: tuple[str, ...]) -> None:
        for key in table:
            if key not in allowed:
                shown = paths.printable(key[:MAX_WORD])
                owner = f"`{'.'.join(where)}`" if where else "a manifest"
                said = f"`{shown}` is not a key of {owner}: {_listed(allowed, 'or')}"
                hint = f"Remove it or correct its spelling.{_did_you_mean(key, allowed)}"
                raise self._error("unknown-key", said, (*where, key), hint=hint)

    def _wrong_type(self, where: tuple[str, ...], wanted: type, found: object) -> errors.ManifestError:
        name = paths.printable(where[-1][:MAX_WORD])
        return self._error("bad-type", f"`{name}` must be {_WORDS[wanted]}, not {_toml_type(found)}", where)

    def _error(
        self, code: str, message: str, where: tuple[str, ...], line: int = 0, hint: str = ""
    ) -> errors.ManifestError:
        at = line or locate.line(self._text, where)
        subject = f"{self._file}:{at}  {locate.key_path(where)}".rstrip()
        return errors.ManifestError(code, message, subject=subject, hint=hint)


def _bad_file(path: str) -> str:
    """What is wrong with the path of a program or library: its ``form``, its ``place``, or nothing."""
    steps = path.split("/")[1:]
    if not path.startswith("/") or not all(steps) or {".", ".."} & set(steps):
        return "form"
    refused = any(paths.inside(path, root) for root in paths.REFUSED_ROOTS)
    return "place" if refused and not path.startswith(f"{paths.CURRENT_SYSTEM}/") else ""


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def named(message: str, keys: Mapping[str, object]) -> str:
    """The scope key that a kind's message quotes first, by its name or by a value of it; or empty."""
    found = []
    for key, value in keys.items():
        for quoted in (key, *(item for item in _items(value) if isinstance(item, str))):
            place = message.find(f"`{paths.printable(quoted)}`")
            found += [(place, key)] if place >= 0 else []
    return min(found, default=(0, ""))[1]


def _did_you_mean(key: str, allowed: tuple[str, ...]) -> str:
    close = get_close_matches(key[:MAX_KEY], allowed, 1)
    return f" Did you mean `{close[0]}`?" if close else ""


def _listed(names: tuple[str, ...], last: str) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


def _toml_type(value: object) -> str:
    for kind, name in ((bool, "a boolean"), (str, "a string"), (int, "an integer"), (float, "a float")):
        if isinstance(value, kind):
            return name
    return "an array" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a date or time"
