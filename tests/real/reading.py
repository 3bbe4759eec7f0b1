"""Run by the distribution's Python: what a screen reader finds on the accessibility bus, and what it can do there.

``python3 reading.py ADDRESS`` prints, as JSON, each object of each program there: role, name, states, bus name and
path. ``python3 reading.py ADDRESS BUS PATH`` does the object's first action.
"""

import json
import sys

from gi.repository import Gio, GLib

ROOT = "/org/a11y/atspi/accessible/root"
FOCUSABLE, FOCUSED, SENSITIVE, CHECKED = 11, 12, 24, 4  # bits of AtspiStateType


def main() -> None:
    """Read or act."""
    flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
    bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], flags, None, None)

    def call(name, path, interface, method, *arguments):
        put = GLib.Variant(*arguments) if arguments else None
        done = bus.call_sync(name, path, f"org.a11y.atspi.{interface}", method, put, None, 0, 5000, None)
        return done.unpack()

    def value(name, path, interface, key):
        put = GLib.Variant("(ss)", (f"org.a11y.atspi.{interface}", key))
        done = bus.call_sync(name, path, "org.freedesktop.DBus.Properties", "Get", put, None, 0, 5000, None)
        return done.unpack()[0]

    def walk(name, path):
        low, high = call(name, path, "Accessible", "GetState")[0]
        bits = low | high << 32
        states = {"focusable": FOCUSABLE, "focused": FOCUSED, "sensitive": SENSITIVE, "checked": CHECKED}
        found = {
            "role": call(name, path, "Accessible", "GetRoleName")[0],
            "name": value(name, path, "Accessible", "Name"),
            "about": value(name, path, "Accessible", "Description"),
            "states": [word for word, bit in states.items() if bits >> bit & 1],
            "at": [name, path],
        }
        yield found
        for child, below in call(name, path, "Accessible", "GetChildren")[0]:
            yield from walk(child, below)

    if len(sys.argv) == 4:
        print(json.dumps(call(sys.argv[2], sys.argv[3], "Action", "DoAction", "(i)", (0,))))
        return
    found = []
    for name, path in call("org.a11y.atspi.Registry", ROOT, "Accessible", "GetChildren")[0]:
        found += walk(name, path)
    print(json.dumps(found))


main()
