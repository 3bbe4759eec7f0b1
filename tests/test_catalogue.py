"""Each row of the catalogue, by name: what it makes of a manifest, of a risk, and of the words on the sheet."""

import dataclasses
import pathlib
from collections.abc import Mapping

import pytest

from intents import catalogue, errors, facts, kinds, lint, model, parse, risk

HOST = facts.from_json((pathlib.Path(__file__).parent / "hosts" / "debian12-desktop.json").read_text("utf-8"))
OPEN = dataclasses.replace(HOST, abstract_sockets=(), landlock=7)
APP = """spec = 1
[app]
id = "org.example.Sheet"
name = "Sheet"
version = "1"
serial = 1
command = ["/usr/bin/sheet"]
interface = "terminal"
"""
NETWORK = {"kind": "network", "scope": "host"}
NAME = "org.example.Other"


def place(name: str, access: str) -> model.Scope:
    return kinds.from_data({"kind": "path", "place": f"home/{name}", "access": access})


def talk(name: str) -> str:
    """A manifest that asks for everything behind the name."""
    keys = f'kind = "dbus"\nbus = "session"\ntalk = ["{name}"]'
    return f'{APP}[intents.it]\n{keys}\nreason = "Show things."\noptional = true\nif_denied = "Less."\n'


@pytest.mark.parametrize("name", catalogue.READ)
def test_what_holds_secrets_is_critical_to_read_and_the_sheet_says_which(name: str) -> None:
    for where in (name, f"{name}/below"):
        scope = place(where, "read")
        assert scope.risk(HOST) is model.Risk.CRITICAL
        assert any(note == f"Beware: {catalogue.READ[name]}." for note in scope.phrase(HOST).notes), where
    assert place(f"{name}-other", "read").risk(HOST) is model.Risk.NORMAL


@pytest.mark.parametrize("name", catalogue.WRITE)
def test_what_starts_programs_is_critical_to_write_and_equals_no_sandbox(name: str) -> None:
    for where in (name, f"{name}/below"):
        scope = place(where, "write")
        assert scope.risk(HOST) is model.Risk.CRITICAL
        assert catalogue.no_sandbox(catalogue.WRITE[name]) in scope.phrase(HOST).notes
    assert not any("no sandbox" in note for note in place(name, "read").phrase(HOST).notes)


@pytest.mark.parametrize("name", catalogue.PROGRAMS)
def test_what_the_system_starts_is_critical_to_write(name: str) -> None:
    table = {"kind": "path", "place": f"{name}/some/where", "access": "write"}
    assert kinds.from_data(table).risk(HOST) is model.Risk.CRITICAL


@pytest.mark.parametrize("name", catalogue.NEVER)
def test_a_name_that_undoes_the_sandbox_is_refused_with_its_reason(name: str) -> None:
    for asked in (name, f"{name}.Below"):
        with pytest.raises(errors.ManifestError) as refused:
            parse.parse(talk(asked).encode(), file="m")
        assert refused.value.code == "forbidden-bus-name"
        assert catalogue.NEVER[name] in refused.value.message
        kind = catalogue.meant(asked)
        assert (f"kind `{kind}`" in refused.value.hint) == bool(kind)
    parse.parse(talk(f"{name}x.Other").encode(), file="m")


@pytest.mark.parametrize("name", catalogue.POWERFUL)
def test_a_powerful_name_is_said_to_be_one(name: str) -> None:
    manifest = parse.parse(talk(name).encode(), file="m")
    assert "powerful-name" in {finding.code for finding in lint.lint(manifest)}
    assert f"{name} {catalogue.POWERFUL[name]}." in manifest.intents[0].scope.phrase(HOST).notes


@pytest.mark.parametrize("name", [name for name in catalogue.MEANT if name not in catalogue.NEVER])
def test_a_name_that_means_a_kind_is_offered_as_that_kind(name: str) -> None:
    for asked in (name, f"{name}.Below"):
        manifest = parse.parse(talk(asked).encode(), file="m")
        (found,) = [finding for finding in lint.lint(manifest) if finding.code == "name-means-kind"]
        assert found.sentence == f"`{asked}` is what kind `{catalogue.MEANT[name]}` is for"
        notes = " ".join(manifest.intents[0].scope.phrase(HOST).notes)
        assert f"The kind {catalogue.MEANT[name]} gives what {asked} is asked for" in notes


def test_to_own_a_players_name_is_offered_as_a_kind() -> None:
    with pytest.raises(errors.ManifestError) as refused:
        parse.parse(talk(NAME).replace("talk", "own").replace(NAME, "org.mpris.MediaPlayer2.sheet").encode(), file="m")
    assert "media-control" in refused.value.hint


# row -> what has to be granted, besides the network or `nested-sandbox`
WITH: dict[str, Mapping[str, object]] = {
    "files": {"kind": "path", "place": "home/Documents", "access": "read"},
    "keys": {"kind": "path", "place": "home/.ssh", "access": "read"},
    "files-by-link": {"kind": "path", "place": "home/Documents", "access": "read"},
    "keys-by-link": {"kind": "path", "place": "home/.ssh", "access": "read"},
    "shown": {"kind": "screenshare"},
    "whereabouts": {"kind": "location"},
    "passwords": {"kind": "secrets"},
    "tokens": {"kind": "env", "names": ["API_TOKEN"]},
    "login": {"kind": "ssh-agent"},
    "signatures": {"kind": "gpg-agent"},
    "senses": {"kind": "camera"},
    "screen": {"kind": "display", "protocol": "x11-host"},
    "abstract": {"kind": "display", "protocol": "x11-host"},
    "processes": {"kind": "processes"},
    "kernel": {"kind": "gpu"},
}


CONNECT = {"kind": "network", "connect": ["www.example.org:443"]}
TOLD = [row for row in catalogue.COMBINATIONS if row.endswith("-told")]
WITH |= {row: WITH[row.removesuffix("-told")] for row in TOLD}
OTHER: dict[str, Mapping[str, object]] = {
    **dict.fromkeys(TOLD, CONNECT),
    "kernel": {"kind": "nested-sandbox"},
    "files-by-link": {"kind": "open-uri"},
    "keys-by-link": {"kind": "open-uri"},
}


@pytest.mark.parametrize("row", catalogue.COMBINATIONS)
def test_two_grants_that_are_more_than_their_sum_are_said_together(row: str) -> None:
    one = kinds.from_data(WITH[row])
    other = kinds.from_data(OTHER.get(row, NETWORK))
    for given, held in (([one, other], []), ([one], [other]), ([other], [one])):
        said = dict(risk.together(given, held, OPEN))
        assert set(said) == ({"screen", "abstract"} if WITH[row]["kind"] == "display" and row not in TOLD else {row})
        sentence = said[row]
        assert "{" not in catalogue.COMBINATIONS[row].says or one.phrase(OPEN).title in sentence
    assert not risk.together([one], [], OPEN)
    assert not risk.together([other], [], OPEN)
    assert not risk.together([], [one, other], OPEN)


def test_beside_the_network_links_are_no_news() -> None:
    asked = [place("Documents", "read"), kinds.from_data({"kind": "open-uri"}), kinds.from_data(NETWORK)]
    assert [name for name, _ in risk.together(asked, [], OPEN)] == ["files"]


def test_beside_the_whole_network_named_servers_are_no_news() -> None:
    files, named = place("Documents", "read"), kinds.from_data(CONNECT)
    assert [name for name, _ in risk.together([files, named], [], OPEN)] == ["files-told"]
    for scope in ("internet", "lan", "host"):
        wide = kinds.from_data({"kind": "network", "scope": scope})
        assert [name for name, _ in risk.together([files, named, wide], [], OPEN)] == ["files"]


def test_one_sentence_names_all_that_it_is_about() -> None:
    asked = [place("Documents", "read"), place("Music", "write"), kinds.from_data(NETWORK)]
    assert risk.together(asked, [], OPEN) == (
        ("files", "With the network as well, it can send your files anywhere: ~/Documents and ~/Music."),
    )


@pytest.mark.parametrize(
    "scope",
    [
        {"kind": "env", "names": ["EDITOR"]},
        {"kind": "display", "protocol": "wayland"},
        {"kind": "audio", "uses": ["playback"]},
    ],
)
def test_what_tells_nothing_is_not_said_to(scope: Mapping[str, object]) -> None:
    seen = dataclasses.replace(OPEN, wayland=None)
    assert not risk.together([kinds.from_data(scope), kinds.from_data(NETWORK)], [], seen)


def test_a_microphone_tells_what_it_hears() -> None:
    heard = kinds.from_data({"kind": "audio", "uses": ["record"]})
    ((name, sentence),) = risk.together([heard, kinds.from_data(NETWORK)], [], OPEN)
    assert (name, "microphone" in sentence) == ("senses", True)


def test_the_catalogue_names_kinds_that_exist() -> None:
    assert {*catalogue.TRAITS, *catalogue.MEANT.values()} <= set(kinds.KINDS)
    of_scopes = {"files", "keys", "tokens", "screen", "x11", "sends", "shares", "tells"}
    traits = {*catalogue.TRAITS.values(), *of_scopes}
    assert {trait for row in catalogue.COMBINATIONS.values() for trait in (row.one, row.other)} == traits
