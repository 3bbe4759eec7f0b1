"""Policy bytes to rules (SPEC §8.8): TOML 1.0 that holds ``[[rule]]`` tables and nothing else.

Deterministic and total: any bytes give rules or one PolicyError ``bad-policy`` whose subject says ``file:line  key``.
"""

import re
import tomllib
from collections.abc import Mapping
from typing import TypeVar

from intents import errors, kinds, locate, model, parse, paths, rules, text

MAX_BYTES = 1 << 16
MAX_RULES = 256
KEYS = ("app", "kind", "effect", "locked", "reason", "lineage", "publisher", "confirm")
_HEADER = re.compile(r"[ \t]*\[\[[ \t]*(?:rule|\"rule\"|'rule')[ \t]*\]\]")
_LINEAGE = re.compile(r"[0-9a-f]{16}", re.ASCII)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}", re.ASCII)
_T = TypeVar("_T")


def read(body: bytes, *, file: str) -> tuple[model.Rule, ...]:
    """The rules that ``body`` says, in its order; ``file`` is its name, as it is shown. Raises PolicyError."""
    return _Reader(body, paths.printable(file)).rules()


class _Reader:
    """One reading of one file: holds what errors need to say where."""

    def __init__(self, body: bytes, file: str) -> None:
        self._body = body
        self._file = file
        self._lines: list[str] = []
        self._starts: list[int] = []  # the lines (from 1) where the tables begin

    def rules(self) -> tuple[model.Rule, ...]:
        top = self._toml()
        for key in top:
            if key != "rule":
                line = locate.line("\n".join(self._lines), (key,))
                raise self._error(line, key, f"`{paths.printable(key[:80])}` is not a key of a policy: only `rule` is")
        tables = top.get("rule", [])
        self._starts = [number for number, line in enumerate(self._lines, 1) if _HEADER.match(line)]
        if not isinstance(tables, list) or len(tables) != len(self._starts):
            line = locate.line("\n".join(self._lines), ("rule",))
            raise self._error(line, "rule", "rules are tables that begin with `[[rule]]`, one by one")
        if len(tables) > MAX_RULES:
            raise self._error(1, "rule", f"the file has {len(tables)} rules, more than {MAX_RULES}")
        return tuple(self._rule(number, table) for number, table in enumerate(tables))

    def _toml(self) -> dict[str, object]:
        if len(self._body) > MAX_BYTES:
            raise self._error(1, "", f"the file has more than {MAX_BYTES} bytes")
        for line, content in enumerate(self._body.split(b"\n"), 1):
            if len(content) > parse.MAX_LINE:
                raise self._error(line, "", f"a line has {len(content)} bytes, more than {parse.MAX_LINE}")
        try:
            said = self._body.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self._body.count(b"\n", 0, error.start) + 1
            raise self._error(line, "", f"byte {error.start} does not belong to UTF-8") from error
        self._lines = said.split("\n")
        try:
            return tomllib.loads(said)
        except RecursionError as error:
            raise self._error(1, "", "the tables or arrays are nested too deeply") from error
        except ValueError as error:  # TOMLDecodeError, and int() on thousands of digits
            found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
            why, line = (found[1], int(found[2] or len(self._lines))) if found else ("too many digits", 1)
            raise self._error(line, "", f"the file is not TOML 1.0: {paths.printable(why)}") from error

    def _rule(self, number: int, table: Mapping[str, object]) -> model.Rule:
        app = self._get(number, table, "app", str)
        if app != rules.EVERY_APP and not parse.is_app_id(app):
            shown = paths.printable(app[:80])
            raise self._wrong(number, "app", f"`{shown}` is neither an app id nor `*`, which means every app")
        effect = self._effect(number, table)
        rule = model.Rule(
            file=self._file,
            line=self._starts[number],
            app=app,
            kind=self._kind(number, table),
            scope=self._scope(number, table),
            effect=effect,
            locked=self._get(number, table, "locked", bool),
            reason=self._reason(number, table),
            lineage=self._pattern(number, table, "lineage", _LINEAGE, "16 hexadecimal digits"),
            publisher=self._pattern(number, table, "publisher", _FINGERPRINT, "`SHA256:…` as `ssh-keygen -l` shows it"),
            confirm=self._get(number, table, "confirm", bool, False),
        )
        if rule.confirm and app == rules.EVERY_APP:
            raise self._wrong(number, "confirm", "what is critical is allowed to one app by its id, never to every app")
        return rule

    def _effect(self, number: int, table: Mapping[str, object]) -> model.Effect:
        word = self._get(number, table, "effect", str)
        if word not in [effect.value for effect in model.Effect]:
            raise self._wrong(number, "effect", f"`{paths.printable(word[:80])}` is neither `allow` nor `deny`")
        for key in ("lineage", "publisher", "confirm"):
            if word == model.Effect.DENY and key in table:
                raise self._wrong(number, key, f"`{key}` belongs to an allowance: a denial holds for every publisher")
        return model.Effect(word)

    def _kind(self, number: int, table: Mapping[str, object]) -> str:
        kind = self._get(number, table, "kind", str)
        if kind not in kinds.KINDS:
            raise self._wrong(number, "kind", f"`{paths.printable(kind[:80])}` is not a kind of intent")
        return kind

    def _scope(self, number: int, table: Mapping[str, object]) -> model.Scope | None:
        """The scope that the keys of the kind say; None without any, where the kind has some."""
        keys = {key: value for key, value in table.items() if key not in KEYS}
        if not keys:
            return None
        try:
            return kinds.read(str(table["kind"]), keys)
        except errors.ManifestError as error:
            raise self._wrong(number, parse.named(error.message, keys) or next(iter(keys)), error.message) from error

    def _reason(self, number: int, table: Mapping[str, object]) -> str:
        reason = self._get(number, table, "reason", str)
        if why := text.problem(reason, text.MAX_REASON):
            raise self._wrong(number, "reason", f"`reason` cannot be shown to people as it is: {why}")
        return reason

    def _pattern(
        self, number: int, table: Mapping[str, object], key: str, pattern: re.Pattern[str], form: str
    ) -> str:
        value = self._get(number, table, key, str, "")
        if key in table and not pattern.fullmatch(value):
            raise self._wrong(number, key, f"`{key}` must be {form}")
        return value

    def _get(
        self, number: int, table: Mapping[str, object], key: str, kind: type[_T], default: _T | None = None
    ) -> _T:
        if key not in table:
            if default is not None:
                return default
            raise self._wrong(number, key, f"a rule needs the key `{key}`")
        value = table[key]
        if not isinstance(value, kind):
            raise self._wrong(number, key, f"`{key}` must be {'a string' if kind is str else '`true` or `false`'}")
        return value

    def _wrong(self, number: int, key: str, message: str) -> errors.PolicyError:
        """The error at a key of the rule with this number, or where the rule begins."""
        first = self._starts[number]
        last = self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self._lines)
        within = locate.line("\n".join(self._lines[first - 1 : last]), ("rule", key))
        return self._error(first - 1 + within, f"rule.{locate.key_path((key,))}", message)

    def _error(self, line: int, key: str, message: str) -> errors.PolicyError:
        return errors.PolicyError("bad-policy", message, subject=f"{self._file}:{line}  {key}".rstrip())
