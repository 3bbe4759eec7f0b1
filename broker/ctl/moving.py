"""Starting apps in their sandbox from where programs are started, and taking that back."""

from broker import moving, overrides
from broker.ctl import table

_INSTALLED = "{app, installed: [{what, path, of, left_out}]"
_REMOVED = "{app, removed: [{path, how, saved}]}; how is removed, restored, or kept where it was changed since: then"
_REMOVED += " saved is where that was put which stood there before"
_ALL = table.flag("--all", "and what `desktop` installs")

COMMANDS: tuple[table.Command, ...] = (
    (
        "wrap",
        "put a command of the same name first, so that typing it starts the sandbox",
        f"{_INSTALLED}, then}}; then is what has to be done so that a shell finds it",
        lambda o: moving.wrap(table.here(), o.app, everything=o.all),
        (table.APP, _ALL),
    ),
    (
        "unwrap",
        "take such a command away again",
        _REMOVED,
        lambda o: moving.remove(table.here(), o.app, moving.EVERYTHING if o.all else (overrides.COMMAND,)),
        (table.APP, _ALL),
    ),
)
DESKTOP: tuple[table.Command, ...] = (
    (
        "install",
        "let its launchers and its D-Bus services start the sandbox",
        f"{_INSTALLED}}}; what is launcher, service or marker, of the file that it stands before, left_out what of that"
        " one could start something else",
        lambda o: moving.install(table.here(), o.app),
        (table.APP,),
    ),
    (
        "remove",
        "put back what was there before",
        _REMOVED,
        lambda o: moving.remove(table.here(), o.app, moving.DESKTOP),
        (table.APP,),
    ),
    (
        "list",
        "list what is installed, commands too",
        "{overrides: [{app, what, path, status}]}; what is launcher, service, marker or command; status is installed,"
        " missing or changed",
        lambda o: moving.show(table.here()),
        (),
    ),
)
