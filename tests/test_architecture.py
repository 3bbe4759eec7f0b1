"""The layering rule, checked with ``ast`` alone: every import points down, the core is pure, the launch path bare."""

import ast
import pathlib
import sys
import tomllib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# Lowest row first. A module may import only from lower rows of its own package; modules of one row stand apart.
LAYERS = {
    "intents": (
        "errors plan syscalls text nft",
        "paths elf catalogue",
        "keys locate linker desktop_entry hosts",
        "sandbox facts",
        "model",
        "scopes reach resolving",
        "portals",
        (
            "kinds.accessibility kinds.network kinds.dns kinds.path kinds.display kinds.dbus kinds.audio kinds.camera "
            "kinds.debugging kinds.device kinds.env kinds.files kinds.game_controllers kinds.gpg_agent kinds.gpu "
            "kinds.input_method kinds.listen kinds.media_control kinds.multiarch kinds.named_files "
            "kinds.nested_sandbox kinds.notifications kinds.persist kinds.portal kinds.printing "
            "kinds.processes kinds.secrets kinds.shared_memory kinds.smartcard kinds.socket_family "
            "kinds.ssh_agent kinds.system_info kinds.tray kinds.usb"
        ),
        "kinds.settings",  # what is given in place is what a path gives
        "kinds",
        "appearance usual",
        "sign seccomp base named identity",
        "trust parse risk",
        "rules",
        "diff policy",
        "flatpak.permission",
        "flatpak.rows",
        "flatpak.words flatpak.names flatpak.places flatpak.environment flatpak.files",
        "compiler decide flatpak",
        "bwrap",
        "trace sight",
        "authoring lint explain",
        "author",
    ),
    "broker": (
        "confine",
        "landlock",
        "network.rules network.netlink network.namespace network.addresses network.hello network.message "
        "network.hostside network.tries network.paths network.loop",
        "network.nearby",
        "network.stub network.uplink network.control network.listeners network.inward network.surroundings "
        "network.lookup network.connecting network.shelter network.post",
        "network.inbound network.forward network.proxy network.asking",
        "network.turns",
        "network.flows network.dialing",
        "network.connections network.datagrams network.listening network.resolver",
        "network.dialer network.relay network.wall",
        "network",
        "companions.x11_windows companions.x11_authority companions.wayland_wire companions.refusals",
        "companions.wayland_registry companions.wayland_context companions.pulse_filter",
        "companions.x11_server companions.wayland_filter",
        "monitor user_terminal companions identity probe shell_probe",
        "relay named",
        "launch",
        "state stored",
        "wayland bus closure guards history programs tried userdirs mounts overrides",
        "displays objects launchers",
        "services",
        "journal catalog host plans doctor_proxy acts policy copies",
        "prompts app runs",
        "inside holding beside",
        "online",
        "live doctor_live",
        "record known removal wire elsewhere stopped complete",
        "running",
        "protocol",
        "client",
        "answers lapse",
        "ui.language",
        "ui.wording ui.keys ui.tty ui.gate ui.raw",
        "ui.screen",
        "ui.choices ui.less ui.ended ui.stop",
        "ui.sheet",
        "ui.widgets ui.browse",
        "ui.frame ui.browse_words",
        "ui.terminal ui.plain ui.scripted ui.dialog ui.window ui.browser",
        "ui.choose",
        "ui",
        "session asker",
        "views doctor describe servers",
        "moving",
        "commands publishers explain why log pending rulings verify who uses",
        "news",
        "server watching",
        "promises",
        "reach undo change",
        "transfer overview",
        "ctl.table",
        "ctl.across ctl.apps ctl.machine ctl.moving ctl.past ctl.policy ctl.queue ctl.shell ctl.trust",
        "run ctl",
        "ctl.__main__",
    ),
}
RANK = {f"{top}.{name}": rank for top, rows in LAYERS.items() for rank, row in enumerate(rows) for name in row.split()}
EMPTY = {"intents", "broker", "broker.ui"}  # packages whose __init__ runs on every launch, or has nothing to say
EFFECTS = {
    *("os", "io", "pathlib", "shutil", "tempfile", "subprocess", "socket", "select", "ctypes"),
    *("time", "random", "secrets", "sqlite3", "logging"),
}
EFFECTFUL_CALLS = {"open", "print", "input", "breakpoint", "exit", "quit"}
IMPURE = {"intents.author"}  # the outer shell of the pure package: its command line
ONLY_IN = {
    "prompt_toolkit": {"broker.ui.screen", "broker.ui.raw"},
    "tomlkit": {"intents.authoring"},
    "cryptography": {"intents.sign"},
    "gi": {"broker.ui.window", "broker.ui.frame", "broker.ui.widgets"},
    "sqlite3": {"broker.journal", "broker.verify"},
}
ONLY_INSIDE_FUNCTIONS = {"cryptography"}  # dear to import, and most launches verify nothing
# The warm launch path: what each module may import when it is loaded, and what inside a function ("*": the cold path).
_BARE_STDLIB = {"os", "sys", "_signal", "fcntl", "termios", "select"}
_NETWORK = {"_socket", "_struct", "_thread", "ctypes", "errno", "fcntl", "os", "select", "time"}
_NETWORK |= {"_heapq", "_queue", "binascii"}
BARE: dict[str, tuple[set[str], set[str]]] = {
    "intents.errors": (set(), set()),
    "intents.plan": (set(), set()),
    "intents.nft": (set(), set()),
    "broker.monitor": (_BARE_STDLIB, set()),
    "broker.user_terminal": (_BARE_STDLIB, set()),
    "broker.relay": (_BARE_STDLIB | {"broker.monitor", "broker.user_terminal"}, {"intents.errors"}),
    "broker.companions": (
        _BARE_STDLIB,
        {
            "intents.errors",
            *("broker.companions.pulse_filter", "broker.companions.x11_server", "broker.companions.x11_authority"),
            *("broker.companions.wayland_context", "broker.companions.wayland_filter", "broker.network"),
            *("broker.network.listeners", "broker.network.rules"),
        },
    ),
    # In the fork of a companion, and only where there is a network.
    "broker.network": (
        _NETWORK | {"_signal", "broker.network.rules"},
        {f"broker.network.{name}" for name in ("asking", "control", "dialer", "forward", "inbound", "loop")}
        | {f"broker.network.{name}" for name in ("connecting", "shelter", "uplink")}
        | {f"broker.network.{name}" for name in ("namespace", "relay", "wall")},
    ),
    **{
        f"broker.network.{name}": (_NETWORK, set())
        for name in ("addresses", "hello", "hostside", "loop", "message", "tries")
    },
    **{
        f"broker.network.{name}": (_NETWORK | {f"broker.network.{below}" for below in needed.split()}, set())
        for name, needed in {
            "post": "loop",
            "lookup": "loop",
            "surroundings": "addresses hostside",
            "proxy": "addresses loop",
            "forward": "addresses connecting loop message",
            "dialer": "addresses connecting control forward lookup loop post proxy rules surroundings",
        }.items()
    },
    "broker.network.connecting": (_NETWORK | {"broker.network.loop"}, {"resource"}),
    "broker.network.control": (_NETWORK | {"broker.network.rules", "broker.network.tries"}, set()),
    "broker.network.asking": (_NETWORK | {"sys", "broker.network.control", "broker.network.rules"}, set()),
    "broker.network.paths": (_NETWORK, set()),
    "broker.network.shelter": (_NETWORK | {"broker.confine"}, set()),
    "broker.network.nearby": (_NETWORK | {"broker.network.addresses", "broker.network.hostside"}, set()),
    "broker.network.listeners": (_NETWORK | {"broker.network.nearby", "broker.network.paths"}, {"intents.errors"}),
    "broker.network.inbound": (
        _NETWORK | {"resource"} | {f"broker.network.{name}" for name in ("hostside", "listeners", "nearby", "paths")},
        set(),
    ),
    "broker.network.inward": (_NETWORK | {"time"}, set()),
    "broker.network.namespace": (_NETWORK, set()),
    "broker.network.netlink": (_NETWORK, set()),
    "broker.network.relay": (
        _NETWORK
        | {f"broker.network.{name}" for name in ("rules", "turns", "stub", "flows", "dialing")}
        | {f"broker.network.{name}" for name in ("connections", "datagrams", "listening", "resolver")},
        {"resource", "broker.network.inward", "broker.network.netlink"},
    ),
    "broker.network.turns": (_NETWORK | {"time"}, set()),
    "broker.network.flows": (_NETWORK | {"broker.network.turns"}, set()),
    "broker.network.dialing": (_NETWORK | {"broker.network.turns"}, set()),
    "broker.network.connections": (
        _NETWORK | {f"broker.network.{name}" for name in ("rules", "hello", "turns", "flows", "dialing")},
        set(),
    ),
    "broker.network.datagrams": (
        _NETWORK | {f"broker.network.{name}" for name in ("rules", "turns", "flows", "dialing")},
        set(),
    ),
    "broker.network.listening": (_NETWORK | {"broker.network.flows", "broker.network.turns"}, set()),
    "broker.network.resolver": (_NETWORK | {"broker.network.turns", "broker.network.stub"}, set()),
    "broker.network.rules": (_NETWORK, set()),
    "broker.network.stub": (_NETWORK | {"broker.network.message", "broker.network.rules"}, set()),
    "broker.network.uplink": (
        _NETWORK | {"_signal", "intents.nft", "broker.network.addresses", "broker.network.hostside"},
        set(),
    ),
    "broker.network.wall": (
        _NETWORK | {"broker.confine", "broker.landlock", "broker.network.namespace", "broker.network.netlink"},
        set(),
    ),
    "broker.companions.pulse_filter": (
        {"_socket", "os", "select"},
        {"broker.confine", "broker.companions.refusals"},
    ),
    "broker.companions.refusals": ({"os"}, set()),
    "broker.companions.x11_authority": ({"os", "select"}, set()),
    "broker.confine": ({"ctypes", "os"}, set()),
    "broker.companions.wayland_wire": ({"sys"}, set()),
    "broker.companions.wayland_registry": ({"broker.companions.wayland_wire"}, set()),
    "broker.companions.wayland_context": ({"_socket", "os", "sys", "broker.companions.wayland_wire"}, set()),
    "broker.companions.wayland_filter": (
        {
            *("_socket", "os", "select", "sys"),
            *("broker.companions.wayland_registry", "broker.companions.wayland_wire"),
        },
        {"broker.confine", "broker.companions.refusals"},
    ),
    "broker.named": (_BARE_STDLIB | {"intents.plan"}, set()),
    "broker.identity": (_BARE_STDLIB, {"intents.errors"}),
    "broker.launch": (
        _BARE_STDLIB | {"intents.plan"},
        {"_socket", "ctypes", "time", "broker.companions", "broker.identity", "broker.named", "broker.relay"}
        | {"broker.network.listeners", "intents.errors", "broker.landlock"},
    ),
    "broker.landlock": ({"ctypes", "os"}, {"broker.confine"}),
    "broker.run": (_BARE_STDLIB | {"pwd", "intents.plan", "broker.launch"}, {"*"}),
}
TYPING = "TYPE_CHECKING"
FILES = sorted(path for top in LAYERS for path in (ROOT / top).rglob("*.py"))


def name_of(path: pathlib.Path) -> str:
    """The dotted module name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def walk(node: ast.AST, function: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Every node below ``node`` with the outermost function around it: "" for none, TYPING for what never runs."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, ast.If) and ast.unparse(child.test) == TYPING:
            inside = TYPING
        elif not inside and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = child.name
        yield child, inside
        yield from walk(child, inside)


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Every imported module with the function it is imported in, as ``walk`` names it."""
    for node, function in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "." * node.level, function
            for alias in node.names if node.module else ():
                full = f"{node.module}.{alias.name}"
                yield (str(node.module) if node.module in RANK and full not in RANK else full), function


def fault_of_import(me: str, target: str, function: str) -> str:
    """What is wrong with ``me`` importing ``target`` inside ``function`` ("" = at module level); "" if nothing is."""
    top = target.partition(".")[0]
    if not top:
        return "imports are absolute"
    if me in BARE and function != TYPING:
        loaded, late = BARE[me]
        if target not in loaded and not (function and late & {target, "*"}):
            return f"the launch path stays bare but imports {target}"
    if me not in ONLY_IN.get(top, {me}):
        return f"{top} belongs to {', '.join(sorted(ONLY_IN[top]))}"
    if top in ONLY_INSIDE_FUNCTIONS and not function:
        return f"{top} is imported inside functions only"
    if top in LAYERS:
        if me.startswith("intents") and top == "broker":
            return f"intents never imports {target}"
        if target not in RANK and target not in EMPTY:
            return f"{target} is not a module with a layer"
        if me.partition(".")[0] == top and RANK.get(target, -1) >= RANK[me]:
            return f"{target} is not below {me}"
        return ""
    if me.startswith("intents") and me not in IMPURE and top in EFFECTS:
        return f"the core is pure but imports {target}"
    if top not in sys.stdlib_module_names and top not in ONLY_IN:
        return f"{top} is neither ours, nor the standard library's, nor a declared dependency"
    return ""


def faults_of_calls(me: str, tree: ast.Module) -> Iterator[str]:
    """Effects without an import: printing and exiting are for main(), and nothing is imported by a computed name."""
    for node, function in walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in {"__import__", "exec", "eval", "importlib.import_module"}:
                yield f"{name}() hides what is imported or run"
            if name in {"print", "sys.exit", "exit", "quit"} and function not in {"", "main"}:
                yield f"{name}() outside main()"
            elif me.startswith("intents") and me not in IMPURE and name in EFFECTFUL_CALLS:
                yield f"the core is pure but calls {name}()"
        elif isinstance(node, ast.Raise) and "SystemExit" in ast.unparse(node) and function != "main":
            yield "SystemExit outside main()"


def faults(me: str, source: str) -> list[str]:
    """Everything that is wrong with the module ``me`` of this source, as sentences; empty when it keeps the rules."""
    tree = ast.parse(source)
    found = list(imports(tree))
    if me in EMPTY:
        return [f"{me}/__init__.py runs on every launch and imports nothing"] if found else []
    if me not in RANK:
        return [f"give the new module {me} a row in LAYERS"]
    return [*filter(None, (fault_of_import(me, *each) for each in found)), *faults_of_calls(me, tree)]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_import_points_down(path: pathlib.Path) -> None:
    assert faults(name_of(path), path.read_text("utf-8")) == []


PLANTED = {
    "an effect in the core": ("intents.compiler", "import os"),
    "an effect in the core, late": ("intents.decide", "def now():\n    from time import time\n    return time()"),
    "an effect without an import": ("intents.parse", "def read(path):\n    return open(path).read()"),
    "the world below the core": ("intents.decide", "from broker import journal"),
    "an import upwards": ("intents.model", "from intents import parse"),
    "an import sideways": ("intents.kinds.path", "from intents.kinds import dbus"),
    "an import upwards in broker": ("broker.catalog", "from broker.session import start"),
    "a front-end that knows another": ("broker.ui.plain", "from broker.ui import terminal"),
    "an import upwards for its types": ("intents.model", "if TYPE_CHECKING:\n    from intents import parse"),
    "a relative import": ("intents.model", "from . import paths"),
    "a relative import of a name": ("intents.model", "from .paths import Place"),
    "a screen library far from the screen": ("broker.session", "def ask():\n    import prompt_toolkit.layout"),
    "an editor far from the author": ("intents.lint", "import tomlkit"),
    "cryptography at start": ("intents.sign", "from cryptography.exceptions import InvalidSignature"),
    "cryptography elsewhere": ("broker.catalog", "def f():\n    import cryptography"),
    "a second database": ("broker.catalog", "import sqlite3"),
    "a foreign package": ("broker.host", "import requests"),
    "a fat executor": ("broker.launch", "import json"),
    "a fat entry point": ("broker.run", "import argparse"),
    "the cold path at start": ("broker.run", "from broker import session"),
    "a plan that imports": ("intents.plan", "import struct"),
    "errors that import": ("intents.errors", "from dataclasses import dataclass"),
    "a package that imports": ("intents", "import dataclasses"),
    "a new module": ("broker.surprise", ""),
    "a module that is not there": ("broker.session", "from broker.surprise import thing"),
    "a computed import": ("broker.session", "def f(name):\n    return __import__(name)"),
    "printing deep inside": ("broker.session", "def start():\n    print('hello')"),
    "exiting deep inside": ("broker.commands", "import sys\ndef grant():\n    sys.exit(1)"),
    "exiting by hand": ("broker.commands", "def grant():\n    raise SystemExit(1)"),
}


@pytest.mark.parametrize(("me", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(me: str, source: str) -> None:
    assert faults(me, source) != []


def test_the_cold_path_may_be_imported_late_and_main_may_print() -> None:
    source = "import sys\ndef main():\n    from broker import session\n    print(session)\n    sys.exit(0)"
    assert faults("broker.run", source) == []


def test_no_rule_names_a_module_without_a_layer() -> None:
    named = set(BARE) | IMPURE | set().union(*ONLY_IN.values())
    assert named <= set(RANK)


def test_the_import_linter_holds_the_same_layers() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    for contract in linter["contracts"]:
        for container in contract.get("containers", ()):
            top, _, inner = container.partition(".")
            prefix = f"{inner}." if inner else ""
            rows = ([name.removeprefix(prefix) for name in row.split() if prefix in name] for row in LAYERS[top])
            ours = [{name for name in row if "." not in name and name != inner} for row in rows][::-1]
            theirs = [set(row.replace("(", "").replace(")", "").split(" | ")) for row in contract["layers"]]
            assert [row for row in ours if row] == theirs, contract["name"]
