"""Whose manifests count."""

import argparse

from broker import publishers
from broker.ctl import table


def _serial(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` is not a serial")
    return int(text)


COMMANDS: tuple[table.Command, ...] = (
    (
        "list",
        "list the publishers you agreed to",
        f"{{pins: [{table.PIN}]}}",
        lambda o: publishers.list_pins(table.here()),
        (),
    ),
    (
        "show",
        "show who publishes an app",
        f"{{app, pin: {table.PIN}, manifest: {{path, fingerprint, serial}}, trust, lineage, trouble: {table.ERROR}}}",
        lambda o: publishers.show(table.here(), o.app),
        (table.APP,),
    ),
    (
        "accept",
        "agree to the key of an app before it is started",
        "{app, lineage, fingerprint, changed}",
        lambda o: publishers.accept(table.here(), o.app, o.fingerprint),
        (table.APP, ("fingerprint", {"metavar": "FINGERPRINT", "help": "SHA256:… as ssh-keygen -l shows it"})),
    ),
    (
        "rekey",
        "agree to another key, or an older manifest, of the same publisher",
        "{app, changes, decisions, applied}; changes holds what: [then, now]",
        lambda o: publishers.rekey(table.here(), o.app, o.fingerprint, o.serial),
        (
            table.APP,
            ("--fingerprint", {"metavar": "FINGERPRINT", "help": "the new key, in full; without it, only look"}),
            ("--serial", {"metavar": "N", "type": _serial, "help": "the manifest's, if not above the last one"}),
        ),
    ),
)
