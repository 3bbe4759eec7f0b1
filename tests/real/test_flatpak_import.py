"""The two ways into the import meet: options, and the metadata that a real Flatpak writes for the same options."""

import json
import lzma
import pathlib
import random
import re
import shutil
import subprocess

import pytest

from intents import flatpak
from intents.flatpak import files
from tests.conftest import must_work

pytestmark = pytest.mark.real

APP = "org.example.App"
CORPUS = pathlib.Path(__file__).parents[1] / "corpora" / "flathub-finish-args.jsonl.xz"
SETS = 60
# Newer than the oldest Flatpak that is tried, or about the package.
LEFT_OUT = re.compile(r"--(device=(input|usb)|usb|extension|metadata|require-version|command)\b.*")
ODD = [
    ["--filesystem=~/Saved\\ Games/a\\:b;c:ro", "--nofilesystem=xdg-music", "--filesystem=host", "--unset-env=TZ"],
    ["--filesystem=home", "--nofilesystem=host:reset", "--filesystem=/srv//a/./b/:create", "--env=A=b;c\\d  e"],
    ["--socket=x11", "--nosocket=x11", "--socket=fallback-x11", "--nodevice=all", "--disallow=devel", "--persist=.a"],
    ["--own-name=org.a.B", "--no-talk-name=org.a.B", "--talk-name=org.a.C.*", "--system-own-name=org.a.D"],
]


def finished(directory: pathlib.Path, tokens: list[str]) -> bytes:
    """The metadata that ``flatpak build-finish`` writes; empty where it refuses the options."""
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("files", "var"):
        (directory / name).mkdir(parents=True)
    about = f"[Application]\nname={APP}\nruntime=org.example.P/x86_64/1\nsdk=org.example.S/x86_64/1\n"
    (directory / "metadata").write_text(about)
    command = ["flatpak", "build-finish", "--command=app", str(directory), *tokens]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return (directory / "metadata").read_bytes() if done.returncode == 0 else b""


def test_metadata_means_what_the_options_mean(tmp_path: pathlib.Path) -> None:
    must_work(shutil.which("flatpak"), "flatpak")
    apps = [json.loads(line) for line in lzma.decompress(CORPUS.read_bytes()).splitlines()]
    drawn = random.Random(7).sample([tokens for app in apps for tokens in app["sets"]], SETS)
    refused = 0
    for tokens in (*ODD, *drawn):
        kept = [token for token in tokens if not LEFT_OUT.fullmatch(token)]
        body = finished(tmp_path / "app", kept)
        refused += not body
        if body:
            source = files.read(body, file="metadata")
            assert (source.app_id, source.command) == (APP, "app")
            meant, read = flatpak.from_flatpak(APP, kept), flatpak.from_flatpak(APP, source.tokens)
            assert {intent.scope for intent in read.intents} == {intent.scope for intent in meant.intents}
            assert set(read.environment) == set(meant.environment)
            lost = [{note.said for note in each.notes if note.outcome is flatpak.WARNED} for each in (meant, read)]
            assert lost[0] == lost[1]
    assert refused <= SETS // 10
