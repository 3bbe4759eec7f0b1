"""House rules that a program can check, each with a planted fault that shows the check biting."""

import ast
import os
import pathlib
import re
import sys
import tomllib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAX_LINES, MAX_FUNCTION = 400, 50
PACKAGES = ("intents", "broker")
PRODUCED = {"__pycache__", "build", "node_modules"}  # what tools leave behind; names with a dot in front as well
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "stuff"}
SKIPPING = {"skip", "skipif", "importorskip", "xfail", "skipTest", "SkipTest"}
SKIPS = {
    "tests/real/test_attacks_more.py": "what only root can set up is tried when the suite runs as root",
    "tests/conftest.py": "must_work itself",
    "tests/real/test_relay_attacks.py": "a kernel without TIOCSTI has no attack to show",
    "tests/real/test_seccomp.py": "other processors have no such modes to enter",
}
SYSTEM = {"dev", "etc", "home", "lib", "media", "mnt", "opt", "root", "run", "srv", "tmp", "usr", "var"}


def files() -> Iterator[pathlib.Path]:
    """Every file of the project, and nothing that a tool made."""
    for directory, subdirectories, names in os.walk(ROOT):
        hidden = {name for name in subdirectories if name.startswith(".") or name.endswith(".egg-info")}
        subdirectories[:] = sorted(set(subdirectories) - PRODUCED - hidden | {".ci"} & set(subdirectories))
        yield from (pathlib.Path(directory, name) for name in sorted(names))


FILES = [path for path in files() if path.is_file()]
MODULES = [path for path in FILES if path.suffix == ".py"]


def name_of(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def faults(name: str, source: str) -> list[str]:
    """What is wrong with the Python file ``name`` (relative to the checkout) of this source, as sentences."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["it does not say what it is"]
    if source.count("\n") > MAX_LINES:
        found.append(f"more than {MAX_LINES} lines")
    if VAGUE & set(re.split(r"[/._]", name)):
        found.append("its name says nothing")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION:
                found.append(f"{node.name}() has more than {MAX_FUNCTION} lines")
        elif isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            found.append(f"imports everything from {node.module}")
    if name.startswith("tests/"):
        return found + faults_of_test(name, tree)
    return found + faults_of_product(name, tree)


def faults_of_product(name: str, tree: ast.Module) -> list[str]:
    """Rules for ``intents`` and ``broker``: public things say what they are, values are frozen, names qualified."""
    found: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                found.append(f"{node.name} does not say what it is")
            for decorator in map(ast.unparse, node.decorator_list):
                frozen = all(f"{word}=True" in decorator for word in ("frozen", "slots", "kw_only"))
                if "dataclass" in decorator and name.startswith("intents/") and not frozen:
                    found.append(f"{node.name} is not frozen, slots, kw_only")
    for inner in ast.walk(tree):
        if isinstance(inner, ast.ImportFrom) and (inner.module or "").split(".")[0] in PACKAGES:
            here = ROOT / str(inner.module).replace(".", "/")
            for alias in inner.names:
                if not (here / f"{alias.name}.py").exists() and not (here / alias.name).is_dir():
                    found.append(f"imports the name {alias.name} instead of its module {inner.module}")
    return found


def faults_of_test(name: str, tree: ast.Module) -> list[str]:
    """Rules for the tests: what is missing is the business of ``must_work``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in SKIPPING and name not in SKIPS:
            found.append(f"line {node.lineno}: a skip that CI does not notice; use must_work")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_python_files_keep_the_rules(path: pathlib.Path) -> None:
    assert faults(name_of(path), path.read_text("utf-8")) == []


PLANTED = {
    "a long file": ("intents/a.py", '"""A."""\n' + "\n" * MAX_LINES),
    "a long function": ("tests/a.py", '"""A."""\ndef f():\n' + "    pass\n" * MAX_FUNCTION),
    "a file without a word": ("tests/a.py", "import os\n"),
    "a name without a meaning": ("broker/utils.py", '"""A."""\n'),
    "an unexplained function": ("broker/a.py", '"""A."""\ndef f():\n    pass\n'),
    "a mutable value": ("intents/a.py", '"""A."""\n@dataclass(slots=True)\nclass A:\n    """A."""\n'),
    "an unqualified name": ("broker/a.py", '"""A."""\nfrom intents.errors import ManifestError\n'),
    "everything": ("tests/a.py", '"""A."""\nfrom os import *\n'),
    "a silent skip": ("tests/a.py", '"""A."""\n@pytest.mark.skipif(True, reason="")\ndef test_a():\n    pass\n'),
    "a skip inside": ("tests/a.py", '"""A."""\ndef test_a():\n    pytest.skip("no")\n'),
}


@pytest.mark.parametrize(("name", "source"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found(name: str, source: str) -> None:
    assert faults(name, source) != []


def test_scripts_stay_small() -> None:
    scripts = [ROOT / "bootstrap", *sorted((ROOT / ".ci").iterdir())]
    # What a script only hands on, such as the table of programs, is no script.
    said = {name_of(path): re.sub(r"<<'END'\n.*?\nEND\n", "\n", path.read_text(), flags=re.S) for path in scripts}
    assert said["bootstrap"]
    assert [name for name, text in said.items() if len(text.splitlines()) >= 120] == []


def test_every_package_is_installed() -> None:
    inits = [path for path in MODULES if path.name == "__init__.py" and name_of(path).startswith(PACKAGES)]
    packages = {name_of(path.parent).replace("/", ".") for path in inits}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(project["tool"]["setuptools"]["packages"]) == packages | {"broker.manifests"}  # data, no module


def machine() -> set[str]:
    """Words of the machine this runs on: where the checkout and the interpreter are, where packages come from."""
    words = {str(path) for path in (ROOT, pathlib.Path(sys.prefix)) if len(path.parts) > 2 and path.parts[1] != "usr"}
    if ROOT.parts[1] not in SYSTEM:
        words.add(f"/{ROOT.parts[1]}/")
    settings = [value for name, value in os.environ.items() if name.startswith("PIP_")]
    for pattern in ("etc/pip.conf", "etc/apt/sources.list", "etc/apt/sources.list.d/*"):
        settings += [path.read_text("utf-8", "replace") for path in pathlib.Path("/").glob(pattern) if path.is_file()]
    text = "\n".join(settings)
    words |= set(re.findall(r"https?://(?:[^/@\s]*@)?([\w-]+\.[\w.-]+)", text))
    return words | set(re.findall(r"(?<![\w.])/(?:opt|srv|mnt)/[\w-]+", text))


def strangers(text: str, words: set[str]) -> list[str]:
    """The words of a machine that a text of the project holds."""
    return sorted(word for word in words if re.search(rf"(?<![\w.-]){re.escape(word)}(?:(?<=/)|(?![\w-]))", text))


def test_the_repository_speaks_of_the_project_alone() -> None:
    words = machine()
    found = {name_of(path): strangers(path.read_text("utf-8", "ignore"), words) for path in FILES}
    assert {name: what for name, what in found.items() if what} == {}


def test_a_word_of_the_machine_is_found_and_a_similar_one_is_not() -> None:
    words = {"/srv/build/", "packages.example", "/opt/python"}
    assert strangers("/srv/build/tree https://packages.example/simple `/opt/python`", words) == sorted(words)
    assert strangers("/usr/srv/build/ mypackages.example packages.example-two /opt/python3 /srv/builder", words) == []


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
    assert [name_of(path) for path in FILES if later.search(path.read_text("utf-8", "ignore"))] == []
