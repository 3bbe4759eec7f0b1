"""The pages stay true: generated ones are current, links lead somewhere, every code and section is held by a test."""

import importlib.util
import pathlib
import re

import pytest

from intents import errors

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "SPEC.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODES = sorted(code for family in errors.CATALOGUE.values() for code in family)
HERE = pathlib.Path(__file__)


def generator() -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.PAGES)


def sources(*folders: str) -> str:
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file() and path != HERE]
    return "\n".join(path.read_text("utf-8", "replace") for path in files if path.suffix != ".pyc")


@pytest.mark.parametrize("page", ["errors.md", "kinds.md", "system-calls.md", "cli.md", "comparison.md", "updates.md"])
def test_a_generated_page_is_current(page: str) -> None:
    write = generator()[page]
    assert callable(write)
    assert (ROOT / "docs" / page).read_text("utf-8") == write(), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: pathlib.Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_raised_and_tested(code: str) -> None:
    assert f'"{code}"' in sources("intents", "broker").replace(f'"{code}": (', ""), "nothing raises it"
    assert re.search(rf"(?<![\w-]){re.escape(code)}(?![\w-])", sources("tests")), "no test or vector names it"


def test_the_specification_is_short_and_its_sections_exist() -> None:
    text = (ROOT / "SPEC.md").read_text("utf-8")
    assert len(text.splitlines()) <= 900
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)", text, flags=re.MULTILINE))
    cited = set(re.findall(r"SPEC §(\d+(?:\.\d+)?)", sources("intents", "broker", "docs")))
    cited |= set(re.findall(r"^spec: §(\d+(?:\.\d+)?)", sources("tests/vectors"), flags=re.MULTILINE))
    assert cited <= sections


def test_every_part_of_the_language_has_vectors() -> None:
    cited = set(re.findall(r"^spec: §(\d+(?:\.\d+)?)", sources("tests/vectors"), flags=re.MULTILINE))
    assert {"3.1", "3.2", "3.3", "4", "5.1", "5.2", "5.3", "5.4", "5.5", "6", "7"} <= cited


def test_every_hole_of_others_has_its_test_and_every_test_its_row() -> None:
    """Those that are named after an identifier, in both directions."""
    page = (ROOT / "docs" / "holes.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    pattern = r"^def (test_(?:cve|ghsa|usn|flatpak|firejail)_[0-9a-z]\w+)\("
    there = set(re.findall(pattern, sources("tests"), flags=re.MULTILINE))
    assert named == {name for name in there if re.search(r"_\d", name)}
    for name in named:
        first = re.findall(r"(cve_\d+_\d+|ghsa_\w{4}_\w{4}_\w{4}|usn_\d+_\d|flatpak_[0-9a-f]{8}|firejail_\d+)", name)
        assert all(word.replace("_", "-").lower() in page.lower().replace(" ", "-") for word in first), name


def test_tests_that_pages_name_exist() -> None:
    named = {name for page in PAGES for name in re.findall(r"tests/[\w/]+\.py", page.read_text("utf-8"))}
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
