"""Advice for authors: what is valid in a manifest, and yet will be refused by careful users or help nobody (SPEC §3.4).

``lint`` takes a parsed manifest and returns findings; it looks at no machine and raises nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from intents import catalogue, model, paths, text, usual
from intents.kinds import dbus, display, dns, listen, network, path

# code -> (why it matters, what to write instead)
RULES = {
    "alias-of-a-program": (
        "Whoever types the alias means the program that is known by that name.",
        "Use an alias that is the app's own name.",
    ),
    "dns-of-its-servers": (
        "The names of the servers that an app may contact come with them.",
        "Remove the intent.",
    ),
    "dns-without-network": (
        "Server names are of no use without a network: nothing is given for this intent.",
        "Remove the intent, or add one of kind `network`.",
    ),
    "network-without-dns": (
        "Without names the app reaches servers only by their addresses, which is hardly what it means to do.",
        "Add an intent of kind `dns`, `scope = \"any\"`.",
    ),
    "network-beside-files": (
        "Together they let the app send those files anywhere; users are told so.",
        "Ask for the directory the app keeps its own files in, or do without one of the two.",
    ),
    "name-means-kind": (
        "The kind gives what the name is asked for; the name may give all that the program behind it offers.",
        "Ask for that kind instead.",
    ),
    "no-consequence": (
        "Users refuse what they see no loss in; a stated loss is how they decide.",
        "Add `if_denied`: what stops working, in one sentence.",
    ),
    "not-filled-in": (
        "Users are shown it as the app's own words.",
        "Write what the user gets, and what does not work without it.",
    ),
    "mixed-scripts": (
        "Look-alike letters of another script are how one app takes another's name; users are warned.",
        "Write the name in the letters of one script.",
    ),
    "powerful-name": (
        "Through this name an app reaches far beyond itself.",
        "Ask for the single method you need with `call`, or do without.",
    ),
    "program-out-of-sight": (
        "A sandbox shows the programs of the system, and nothing else that is not granted.",
        "Install the program below /usr, or ask to read its directory.",
    ),
    "reason-says-nothing": (
        "Users are told what the kind gives in our own words; the reason must say what the app does with it.",
        "Say what the user gets: \"Download exchange rates.\"",
    ),
    "required-risk": (
        "Users can only give this or not start the app at all, and careful ones will not start it.",
        "Write `optional = true` if the app starts without it, and say what is lost in `if_denied`.",
    ),
    "sensitive-place": (
        "It holds keys, passwords, history or files that other programs run; such a grant is critical.",
        "Ask for the one file the app needs, or keep the app's own data in its own directories.",
    ),
    "same-port": (
        "An app that connects out to the port on which it listens is usually meant to do one of the two.",
        "Ask for one of them, or tell in the reasons what each is for.",
    ),
    "shared-domain": (
        "Below this name everybody can have a server, and so can whoever wants the app's data.",
        "Name the servers.",
    ),
    "talk-not-call": (
        "All that the program behind the name offers is given, on all its names.",
        "List the methods: `call = [\"NAME=INTERFACE.METHOD@/PATH\"]`.",
    ),
    "two-readings": (
        "Whoever reviews or edits the manifest with another TOML reader sees something else than intents does.",
        "Write it in the plain form that `intent-author new` prints.",
    ),
    "unusual-for-category": (
        "Users are told that few programs of this category ask for it, and refuse what they do not expect.",
        "Say in the reason what the app does with it, or do without; or name the category that fits.",
    ),
    "wide-place": (
        "It holds far more than one app's files.",
        "Ask for one directory below it, such as `xdg-documents/Sheets`.",
    ),
    "whole-network": (
        "It includes this machine's own services and everything at home; users are told so, and many refuse.",
        "Name the servers with `connect`, or ask for `scope = \"internet\"`.",
    ),
    "window-without-display": (
        "The app says that it shows windows, and asks for no display to show them on.",
        "Add an intent of kind `display`, or write `interface = \"terminal\"`.",
    ),
    "x11-host": (
        "X11 lets every program read all keys and see all windows: the grant equals no sandbox.",
        "Use `protocol = \"wayland\"` where the program can, and `protocol = \"x11\"` where it cannot.",
    ),
}

# Programs that people and scripts start by name; an alias of theirs would stand in for them.
COMMON_PROGRAMS = {
    "apt", "bash", "bc", "cat", "cd", "chmod", "chown", "cp", "curl", "dash", "dd", "df", "dnf", "doas", "docker",
    "du", "echo", "emacs", "env", "find", "firefox", "git", "gpg", "grep", "htop", "kill", "less", "ln", "login",
    "ls", "make", "man", "mkdir", "more", "mount", "mv", "nano", "open", "pacman", "passwd", "perl", "pip", "pkexec",
    "podman", "ps", "python", "python3", "rm", "rmdir", "rsync", "scp", "sed", "sh", "sort", "ssh", "stat", "su",
    "sudo", "systemctl", "tail", "tar", "tee", "test", "top", "touch", "vi", "vim", "wget", "which", "who", "xargs",
    "xdg-open", "zsh",
}  # fmt: skip

# Domains below which whoever pays, or asks, gets a name: a small part of publicsuffix.org, for advice alone.
_SHARED = {
    "amazonaws.com", "appspot.com", "azureedge.net", "azurewebsites.net", "blogspot.com", "cloudfront.net",
    "cloudapp.net", "co.jp", "co.kr", "co.nz", "co.uk", "co.za", "com.au", "com.br", "com.cn", "com.mx", "com.tr",
    "dyndns.org", "duckdns.org", "fastly.net", "firebaseapp.com", "github.io", "gitlab.io", "googleapis.com",
    "herokuapp.com", "netlify.app", "ngrok.io", "onrender.com", "org.uk", "pages.dev", "vercel.app", "web.app",
    "windows.net", "workers.dev",
}  # fmt: skip
_WIDE_BELOW_HOME = ("", ".config", ".local", ".local/share", ".local/state", ".cache", ".var")
_WIDE_ABSOLUTE = ("/boot", "/home", "/media", "/mnt", "/opt", "/root", "/srv", "/var", "/var/lib", "/var/log")
_BASE = {"xdg-config": ".config", "xdg-data": ".local/share", "xdg-state": ".local/state", "xdg-cache": ".cache"}
# Words that may stand in a reason without saying anything beyond what the kind says.
_FILLER = {
    "a", "access", "accessing", "acquire", "all", "allow", "allows", "an", "and", "any", "app", "application", "be",
    "can", "connect", "connection", "for", "full", "give", "grant", "have", "host", "in", "intent", "internet", "is",
    "it", "its", "must", "need", "needed", "needs", "network", "networking", "of", "on", "permission", "permissions",
    "please", "program", "require", "required", "requires", "s", "so", "that", "the", "this", "to", "use", "used",
    "uses", "using", "want", "wants", "with", "work", "works",
}  # fmt: skip
_KIND_WORDS = {
    "network": {"online", "servers", "web"},
    "listen": {"listen", "port", "server", "incoming", "connections"},
    "dns": {"dns", "names", "name", "server", "resolve", "resolver"},
    "path": {"read", "write", "file", "files", "folder", "folders", "directory", "directories", "home", "documents"},
    "display": {"display", "wayland", "x11", "screen", "x"},
    "dbus": {"dbus", "bus", "d", "session", "system", "talk", "call"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One piece of advice. ``subject`` is the intent's id, or empty for the app; the rest are single sentences."""

    code: str
    subject: str
    sentence: str

    @property
    def why(self) -> str:
        """Why it matters."""
        return RULES[self.code][0]

    @property
    def instead(self) -> str:
        """What to write instead."""
        return RULES[self.code][1]


def lint(manifest: model.Manifest) -> tuple[Finding, ...]:
    """All findings: those about the app first, then intent by intent in the manifest's order."""
    found = [Finding(code=code, subject="", sentence=sentence) for code, sentence in _app(manifest)]
    for intent in manifest.intents:
        said = (*_words(intent), *_scope(intent, manifest))
        found += [Finding(code=code, subject=intent.id, sentence=sentence) for code, sentence in said]
    return tuple(found)


def _app(manifest: model.Manifest) -> Iterator[tuple[str, str]]:
    app = manifest.app
    if text.mixed(app.name):
        yield "mixed-scripts", f"`{app.name}` mixes {' and '.join(text.scripts(app.name)).lower()} letters"
    for alias in app.aliases:
        if alias in COMMON_PROGRAMS:
            yield "alias-of-a-program", f"the alias `{alias}` is the name of a well-known program"
    if app.interface == "window" and not any(isinstance(i.scope, display.Display) for i in manifest.intents):
        yield "window-without-display", f"`{app.id}` has `interface = \"window\"` and no display"
    program = app.command[0]
    shown = (i.scope.place for i in manifest.intents if isinstance(i.scope, path.Path))
    system = any(paths.inside(program, root) for root in paths.SYSTEM_ROOTS)
    if not system and not any(place.contains(paths.parse_place(program)) for place in shown):
        yield "program-out-of-sight", f"`{program}` lies where the sandbox shows nothing"


def _words(intent: model.Intent) -> Iterator[tuple[str, str]]:
    for key, said in (("reason", intent.reason), ("if_denied", intent.if_denied)):
        if said.startswith(text.UNWRITTEN):
            yield "not-filled-in", f"`{key}` of `{intent.id}` is still what the import wrote"
    words = "".join(char if char.isalnum() else " " for char in intent.reason.casefold()).split()
    if set(words) <= _FILLER | _KIND_WORDS.get(intent.scope.kind, set()):
        yield "reason-says-nothing", f"the reason of `{intent.id}` says no more than its kind: `{intent.reason}`"
    if intent.optional and not intent.if_denied:
        yield "no-consequence", f"`{intent.id}` is optional and does not say what is lost without it"


def _scope(intent: model.Intent, manifest: model.Manifest) -> Iterator[tuple[str, str]]:
    scope = intent.scope
    others = [type(other.scope) for other in manifest.intents]
    if usual.remark(manifest.app.category, scope):
        yield "unusual-for-category", f"`{intent.id}` is unusual for category `{manifest.app.category}`"
    risky = False
    wide = any(isinstance(it.scope, network.Network) and it.scope.scope in network.WIDE for it in manifest.intents)
    if isinstance(scope, network.Network):
        risky = scope.scope in network.WIDE
        yield from _network(intent.id, scope, manifest)
    if isinstance(scope, dns.Dns):
        if network.Network not in others:
            yield "dns-without-network", f"`{intent.id}` asks for server names, and no intent for a network"
        elif scope.scope == dns.GRANTED:
            yield "dns-of-its-servers", f"`{intent.id}` asks for names that come with the servers"
    if isinstance(scope, display.Display) and scope.protocol == display.X11_HOST:
        risky = True
        yield "x11-host", f"`{intent.id}` asks for the real X11 display"
    if isinstance(scope, path.Path):
        findings = list(_place(intent.id, scope, wide))
        risky = bool(findings) or scope.access != "read"
        yield from findings
    if isinstance(scope, dbus.Dbus):
        risky = any(rule.verb == "talk" for rule in scope.rules)
        yield from _rules(intent.id, scope)
    if risky and not intent.optional:
        yield "required-risk", f"`{intent.id}` asks for much, and the app does not start without it"


def _network(intent: str, scope: network.Network, manifest: model.Manifest) -> Iterator[tuple[str, str]]:
    scopes = [other.scope for other in manifest.intents]
    if scope.scope in network.WIDE and not any(isinstance(other, dns.Dns) for other in scopes):
        yield "network-without-dns", f"`{intent}` asks for the network, and no intent for server names"
    if scope.scope == network.HOST:
        yield "whole-network", f"`{intent}` asks for the host's own network"
    ports = {other.port for other in scopes if isinstance(other, listen.Listen)}
    for target in scope.targets:
        if target.host.removeprefix("*.") in _SHARED:
            yield "shared-domain", f"`{intent}` asks for `{target.text}`"
        if target.port in ports:
            yield "same-port", f"`{intent}` connects to port {target.port}, on which the app listens"


def _place(intent: str, scope: path.Path, connected: bool) -> Iterator[tuple[str, str]]:
    place = scope.place
    below = _below_home(place)
    if below in _WIDE_BELOW_HOME or place.text in (*_WIDE_ABSOLUTE, *paths.USER_DIRECTORIES, paths.REMOVABLE):
        yield "wide-place", f"`{intent}` asks for the whole of `{place.text}`"
        if connected:
            yield "network-beside-files", f"`{intent}` asks for `{place.text}` beside the whole network"
    rows = catalogue.READ if scope.access == "read" else {**catalogue.WRITE, **catalogue.READ}
    why = next((why for name, why in rows.items() if below and paths.inside(f"/{below}", f"/{name}")), "")
    why = catalogue.DAEMON if place.text in catalogue.DAEMON_SOCKETS else why
    if why:
        yield "sensitive-place", f"`{intent}` asks for `{place.text}`: {why}"


def _below_home(place: paths.Place) -> str | None:
    """The place's path relative to the home directory, where the text alone tells it."""
    if place.root == "home":
        return "/".join(place.parts)
    return "/".join((_BASE[place.root], *place.parts)) if place.root in _BASE else None


def _rules(intent: str, scope: dbus.Dbus) -> Iterator[tuple[str, str]]:
    for rule in scope.rules:
        if rule.verb in ("see", "own"):
            continue
        if kind := catalogue.meant(rule.name):
            yield "name-means-kind", f"`{rule.name}` is what kind `{kind}` is for"
        if rule.verb == "talk" or "=*" in rule.operand:
            yield "talk-not-call", f"`{intent}` asks for all of `{rule.name}`"
        if reach := catalogue.powerful(rule.name):
            yield "powerful-name", f"`{rule.name}` {reach}"
