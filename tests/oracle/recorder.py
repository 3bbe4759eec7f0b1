"""Stands in for bubblewrap when Flatpak starts it: writes down what it was given, and ends (or becomes the real one).

Flatpak starts it with an empty environment, so all it knows is the directory it lies in. There it leaves one JSON file
per call: the arguments with every ``--args FD`` read out, where the descriptors among them lead, and what they hold.
"""

import itertools
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(sys.argv[0]))
HOLDING = ("--file", "--bind-data", "--ro-bind-data", "--seccomp", "--add-seccomp-fd")
LEADING = ("--bind-fd", "--ro-bind-fd")


def content(number: str) -> bytes:
    """All that a descriptor holds, without moving its offset."""
    with open(f"/proc/self/fd/{number}", "rb") as file:
        return file.read()


def listed(number: str) -> list[str]:
    return [os.fsdecode(word) for word in content(number).split(b"\0")[:-1]]


def expanded(words: list[str]) -> list[str]:
    """The words, with ``--args FD`` of bubblewrap and ``--args=FD`` of xdg-dbus-proxy read out."""
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--args":
            found += expanded(listed(next(rest)))
        elif word.startswith("--args="):
            found += expanded(listed(word.partition("=")[2]))
        else:
            found.append(word)
    return found


def main() -> None:
    words = expanded(sys.argv[1:])
    pairs = list(itertools.pairwise(words))
    held = {number: content(number).hex() for option, number in pairs if option in HOLDING}
    leads = {number: os.readlink(f"/proc/self/fd/{number}") for option, number in pairs if option in LEADING}
    partial = f"{HERE}/{os.getpid()}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        json.dump({"words": words, "held": held, "leads": leads}, file)
    os.rename(partial, f"{HERE}/{os.getpid()}.json")
    if os.path.exists(f"{HERE}/real"):
        os.execv(os.readlink(f"{HERE}/real"), ["bwrap", *sys.argv[1:]])
    for word in words:
        if word.startswith("--fd="):  # xdg-dbus-proxy says so when it listens, and Flatpak waits for it
            os.write(int(word.partition("=")[2]), b"x")


main()
