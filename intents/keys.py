"""Reading the scope keys of one intent's table, with errors that name the key and what it may be (SPEC §3)."""

from collections.abc import Mapping

from intents import errors, paths


def only(keys: Mapping[str, object], allowed: tuple[str, ...], kind: str) -> None:
    """Refuse any key the kind does not have. Raises ManifestError ``unknown-key``."""
    for key in keys:
        if key not in allowed:
            known = ", ".join(f"`{name}`" for name in allowed)
            shown = paths.printable(key)
            raise errors.ManifestError("unknown-key", f"`{shown}` is not a key of kind `{kind}`: {known}")


def string(keys: Mapping[str, object], key: str, kind: str) -> str:
    """A required string. Raises ManifestError ``missing-key`` or ``bad-type``."""
    if key not in keys:
        raise errors.ManifestError("missing-key", f"kind `{kind}` needs the key `{key}`")
    value = keys[key]
    if not isinstance(value, str):
        raise errors.ManifestError("bad-type", f"`{key}` must be a string")
    return value


def choice(keys: Mapping[str, object], key: str, allowed: tuple[str, ...], kind: str) -> str:
    """A required string out of a closed list. Raises ManifestError also ``bad-value``."""
    value = string(keys, key, kind)
    if value not in allowed:
        known = " or ".join(f"`{name}`" for name in allowed)
        raise errors.ManifestError("bad-value", f"`{key}` is `{paths.printable(value)}`; it must be {known}")
    return value


def strings(keys: Mapping[str, object], key: str) -> tuple[str, ...]:
    """An optional array of distinct strings. Raises ManifestError ``bad-type`` or ``bad-value``."""
    value = keys.get(key, [])
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise errors.ManifestError("bad-type", f"`{key}` must be an array of strings")
    if len(set(value)) != len(value):
        raise errors.ManifestError("bad-value", f"`{key}` names the same thing twice")
    return tuple(str(item) for item in value)


def flag(keys: Mapping[str, object], key: str) -> bool:
    """An optional boolean, false by default. Raises ManifestError ``bad-type``."""
    value = keys.get(key, False)
    if not isinstance(value, bool):
        raise errors.ManifestError("bad-type", f"`{key}` must be `true` or `false`")
    return value
