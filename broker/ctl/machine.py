"""What runs, and what this machine can enforce."""

import os

from broker import commands, doctor, journal, known, views
from broker.ctl import table


def _doctor(options: table.Options) -> known.Report:
    if options.new_journal:
        moved = journal.start_over(table.here().places)
        lines = [f"set aside: {path}" for path in moved] or ["There was no journal."]
        return known.Report(data={"set_aside": list(moved)}, lines=tuple(lines))
    findings = doctor.examine(os.environ)
    return known.Report(
        data={"findings": doctor.as_data(findings)},
        lines=tuple(doctor.render(findings).split("\n")),
        negative=any(found.status == doctor.MISSING for found in findings),
    )


COMMANDS: tuple[table.Command, ...] = (
    ("ps", "list what runs", f"{{instances: {table.STATE}}}", lambda o: views.ps(table.here()), ()),
    (
        "stop",
        "ask running apps to end",
        f"{{stopped: {table.RUNNING}}}",
        lambda o: commands.stop(table.here(), o.app, kill=o.kill),
        (
            ("app", {"metavar": "APP|PID", "help": "every instance of an app, or the one with this number"}),
            table.flag("--kill", "end the whole sandbox at once"),
        ),
    ),
    (
        "doctor",
        "say what this machine can enforce",
        "{findings: [{name, status, sentence, fix}]}, or {set_aside}",
        _doctor,
        (table.flag("--new-journal", "set a journal aside that cannot be used, and begin an empty one"),),
    ),
)
