"""What a runtime of Flatpak holds to run the probe: this machine's Python, and the files that it needs for that."""

import json
import os
import pathlib
import shutil
import subprocess

from broker import probe

PYTHON = "/usr/bin/python3"
# The files of all that the probe imports, and of what that is linked with.
LOADED = """
import ctypes, json, os, runpy, sys
runpy.run_path(sys.argv[1])
modules = [getattr(module, "__file__", None) for module in sys.modules.values()]
with open("/proc/self/maps") as maps:
    mapped = [line.split(None, 5)[5].strip() for line in maps if line.count("/")]
print(json.dumps([path for path in {*modules, *mapped} if path and os.path.isfile(path)]))
"""


def fill(root: pathlib.Path) -> None:
    """Put Python and its files below ``root``, each at the place that it has on this machine."""
    done = subprocess.run([PYTHON, "-I", "-S", "-c", LOADED, probe.__file__], capture_output=True, check=True)
    program = os.path.realpath(PYTHON)
    for path in json.loads(done.stdout):
        place = pathlib.Path(root, path.removeprefix("/").removeprefix("usr/"))
        if path == program or "/locale/" in path:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        place.chmod(0o755)
        _links(path, place)
        if place.name.startswith("ld-"):  # where the program names its linker: /lib64 or /lib
            for directory in ("lib", "lib64"):
                (root / directory).mkdir(exist_ok=True)
                shutil.copy(place, root / directory)
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy(program, root / "bin" / "python3")


def _links(path: str, place: pathlib.Path) -> None:
    """A library is looked for by its short name, which is a link to it."""
    if ".so" in path:
        for entry in os.scandir(os.path.dirname(path)):
            if entry.is_symlink() and os.path.realpath(entry.path) == path and not (place.parent / entry.name).exists():
                (place.parent / entry.name).symlink_to(place.name)
