"""Files of Flatpak as tokens: ``metadata`` (flatpak-metadata(5)) and builder's manifests (flatpak-manifest(5)).

``read`` is pure. A manifest is JSON, with comments as flatpak-builder allows them, or YAML, of which just a plain list
`finish-args` is understood: what is not sure to be read rightly is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from intents import errors, paths

# Options that give and that take back, for the lists of the group `[Context]`.
_LISTS = {
    "shared": ("--share", "--unshare"),
    "sockets": ("--socket", "--nosocket"),
    "devices": ("--device", "--nodevice"),
    "features": ("--allow", "--disallow"),
    "filesystems": ("--filesystem", "--nofilesystem"),
    "persistent": ("--persist", ""),
    "unset-environment": ("--unset-env", ""),
}
_BUSES = {"Session Bus Policy": "", "System Bus Policy": "system-"}
_POLICIES = {"see": "see-name", "talk": "talk-name", "own": "own-name", "none": "no-talk-name"}
_USB = {"enumerable-devices": "--usb", "hidden-devices": "--nousb"}
_PACKAGE = {"Application", "Runtime", "Build", "ExtensionOf", "ExtraData", "Instance"}  # nothing that is permitted
MAX_TOKENS = 1000
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r"}
_JSON = re.compile(r'("(?:[^"\\]|\\.)*")|/\*.*?\*/|//[^\n]*', re.DOTALL)
_ITEM = re.compile(r"( *)- +(\S.*)")
_TOP = re.compile(r"(id|app-id|command|finish-args):(?: +(.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a file says: the app's id and command, empty where it does not, and its permissions as options."""

    app_id: str = ""
    command: str = ""
    tokens: tuple[str, ...] = ()


def read(body: bytes, *, file: str) -> Source:
    """The permissions in a file of that name. Raises CatalogError ``not-flatpak``."""
    shown = paths.printable(file)
    try:
        source = _source_of(body.decode("utf-8"))
        if len(source.tokens) > MAX_TOKENS:
            raise ValueError(f"it asks for more than {MAX_TOKENS} things")
        return source
    except (ValueError, RecursionError) as error:
        message = f"`{shown}` cannot be read as Flatpak's: {paths.printable(str(error))}"
        raise errors.CatalogError("not-flatpak", message, subject=shown) from error


def _source_of(text: str) -> Source:
    lines = [(number, line.rstrip()) for number, line in enumerate(text.split("\n"), 1)]
    first = next((line for _, line in lines if line and not line.startswith("#")), "")
    if first.startswith("["):
        return _metadata(lines)
    return _json(text) if first.lstrip().startswith(("{", "/")) else _yaml(lines)


def _metadata(lines: list[tuple[int, str]]) -> Source:
    group, about, tokens = "", {"name": "", "command": ""}, list[str]()
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if not line.endswith("]") or line == "[]":
                raise ValueError(f"line {number} is not the name of a group")
            group = line[1:-1]
            tokens += [f"--extension={group.removeprefix('Extension ')}"] if group.startswith("Extension ") else []
            continue
        key, found, value = (part.strip() for part in line.partition("="))
        if not found or not key or not group:
            raise ValueError(f"line {number} is not KEY=VALUE in a group")
        if group == "Application" and key in about:
            about[key] = _text(value)
        tokens += _tokens(group, key, value)
    tokens.sort(key=lambda token: token.startswith("--unset-env="))  # Flatpak reads them last
    return Source(app_id=about["name"], command=about["command"], tokens=tuple(tokens))


def _tokens(group: str, key: str, value: str) -> Iterator[str]:
    """The options that one line of ``metadata`` stands for; one that nothing understands for what is not known."""
    if group == "Context" and key in _LISTS:
        yield from (_word(*_LISTS[key], word) for word in _split(value))
    elif group in _BUSES and value in _POLICIES:
        name = f"{_BUSES[group]}{_POLICIES[value]}"
        yield f"--{name}={key}"
    elif group == "Environment":
        yield f"--env={key}={_text(value)}"
    elif group == "USB Devices" and key in _USB:
        yield from (f"{_USB[key]}={word}" for word in _split(value))
    elif group.startswith("Policy "):
        yield from (f"--add-policy={group.removeprefix('Policy ')}.{key}={word}" for word in _split(value))
    elif group.startswith("X-"):
        yield f"--metadata={group}={key}={_text(value)}"
    elif group not in _PACKAGE and not group.startswith("Extension "):
        yield f"[{group}] {key}={value}"


def _word(give: str, take: str, word: str) -> str:
    if word.startswith("if:"):
        return f"{give}-if={word.removeprefix('if:')}"
    return f"{take}={word[1:]}" if word.startswith("!") and take else f"{give}={word}"


def _split(value: str) -> list[str]:
    """A list of the key file format: `;` ends an item, `\\;` is one of its characters."""
    return [_text(item) for item in re.findall(r"((?:[^;\\]|\\.)+);?", value)]


def _text(value: str) -> str:
    """A value of the key file format (Desktop Entry Specification, "Possible value types"); `\\:` is Flatpak's own."""
    return re.sub(r"\\([sntr\\;])", lambda found: _ESCAPES.get(found[1], found[1]), value)


def _json(text: str) -> Source:
    data = json.loads(_JSON.sub(lambda found: found[1] or " ", text))
    if not isinstance(data, dict):
        raise ValueError("it is no table")
    tokens = data.get("finish-args", [])
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("`finish-args` is no list of texts")
    return _source(data, tuple(tokens))


def _source(data: Mapping[str, object], tokens: tuple[str, ...]) -> Source:
    said = {key: data.get(key, "") for key in ("id", "app-id", "command")}
    if not all(isinstance(value, str) for value in said.values()):
        raise ValueError("`id` or `command` is no text")
    if not any(said[key] for key in ("id", "app-id")) and "finish-args" not in data:
        raise ValueError("it has neither `id` nor `finish-args`")
    return Source(app_id=str(said["id"] or said["app-id"]), command=str(said["command"]), tokens=tokens)


def _yaml(lines: list[tuple[int, str]]) -> Source:
    data: dict[str, object] = {}
    tokens: list[str] = []
    inside, depth = False, -1
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if inside and (item := _ITEM.fullmatch(line)) and depth in (-1, len(item[1])):
            depth = len(item[1])
            tokens.append(_scalar(item[2], number))
            continue
        if inside and line.startswith((" ", "-")):
            raise ValueError(f"line {number} belongs to `finish-args` and is not one more item of it")
        inside = False
        if not (top := _TOP.fullmatch(line)):
            continue
        key, value = top[1], (top[2] or "").partition("#")[0].strip() if top[1] == "finish-args" else top[2] or ""
        if key in data:
            raise ValueError(f"line {number} says `{key}` again")
        if key == "finish-args" and value:
            raise ValueError(f"`finish-args` in line {number} is not a plain list: one `- --OPTION` in each line")
        inside, depth = key == "finish-args", -1
        data[key] = "" if inside else _scalar(value, number)
    return _source(data, tuple(tokens))


def _scalar(said: str, number: int) -> str:
    """A plain or quoted text in one line, without escapes (YAML 1.2 §7.3)."""
    if found := re.fullmatch(r"'((?:[^']|'')*)'(?: +#.*)?|\"([^\"\\]*)\"(?: +#.*)?", said):
        return (found[1] or "").replace("''", "'") or found[2] or ""
    plain = re.sub(r" +#.*", "", said)
    if not plain or plain[0] in "[]{}&*!|>'\"%@`#," or ": " in plain or plain.endswith(":") or plain.startswith("- "):
        raise ValueError(f"line {number} holds YAML that is not read here")
    return plain
