"""Every finding has a manifest that has it and one, little different, that has not."""

import pytest

from intents import lint, parse

APP = """spec = 1
[app]
id = "org.example.Sheet"
name = "Sheet"
version = "1"
serial = 1
command = ["/usr/bin/sheet"]
interface = "terminal"
"""
NETWORK = 'kind = "network"\nscope = "internet"\n'
SERVER = 'kind = "network"\nconnect = ["www.example.org:443"]\n'
DNS = 'kind = "dns"\nscope = "any"\n'


def intent(name: str, keys: str, reason: str = "Download rates.", optional: bool = True) -> str:
    rest = 'optional = true\nif_denied = "Rates stay."\n' if optional else ""
    return f'[intents.{name}]\n{keys}reason = "{reason}"\n{rest}'


def place(name: str, access: str = "read", optional: bool = True) -> str:
    return intent("place", f'kind = "path"\nplace = "{name}"\naccess = "{access}"\n', optional=optional)


def bus(rule: str, optional: bool = True) -> str:
    return intent("bus", f'kind = "dbus"\nbus = "session"\n{rule}\n', optional=optional)


def codes(body: str) -> set[str]:
    return {finding.code for finding in lint.lint(parse.parse(body.encode(), file="m"))}


NET = intent("net", NETWORK) + intent("names", DNS)
BELOW = 'kind = "network"\nconnect = ["*.{}:443"]\n'
CASES = [
    ("alias-of-a-program", APP + 'aliases = ["sudo"]\n', APP + 'aliases = ["sheet"]\n'),
    ("mixed-scripts", APP.replace('"Sheet"', '"Shееt"'), APP),
    ("window-without-display", APP.replace('"terminal"', '"window"'), APP),
    ("program-out-of-sight", APP.replace("/usr/bin/", "/opt/sheet/"), APP),
    (
        "program-out-of-sight",
        APP.replace("/usr/bin/", "/opt/sheet/") + place("/opt/other"),
        APP.replace("/usr/bin/", "/opt/sheet/") + place("/opt/sheet"),
    ),
    ("dns-without-network", APP + intent("names", DNS), APP + NET),
    ("network-without-dns", APP + intent("net", NETWORK), APP + NET),
    ("network-without-dns", APP + intent("net", NETWORK), APP + intent("net", SERVER)),
    (
        "dns-of-its-servers",
        APP + intent("net", SERVER) + intent("names", DNS.replace("any", "granted")),
        APP + intent("net", SERVER) + intent("names", DNS),
    ),
    ("whole-network", APP + intent("net", NETWORK.replace("internet", "host")), APP + NET),
    ("shared-domain", APP + intent("net", BELOW.format("co.uk")), APP + intent("net", BELOW.format("example.co.uk"))),
    (
        "same-port",
        APP + intent("net", SERVER) + intent("in", 'kind = "listen"\nport = 443\n'),
        APP + intent("net", SERVER) + intent("in", 'kind = "listen"\nport = 8443\n'),
    ),
    ("reason-says-nothing", APP + NET.replace("Download rates.", "Needs access to the Internet!"), APP + NET),
    ("not-filled-in", APP + NET.replace("Download rates.", "To be written: what the user gets from this."), APP + NET),
    ("not-filled-in", APP + NET.replace("Rates stay.", "To be written: what does not work without it."), APP + NET),
    ("no-consequence", APP + NET.replace('if_denied = "Rates stay."\n', ""), APP + NET),
    ("required-risk", APP + intent("net", NETWORK, optional=False) + intent("names", DNS), APP + NET),
    ("required-risk", APP + intent("net", NETWORK, optional=False), APP + intent("net", SERVER, optional=False)),
    ("required-risk", APP + place("home/a", "write", False), APP + place("home/a", "read", False)),
    ("required-risk", APP + place("xdg-documents", "read", False), APP + place("xdg-documents", "read")),
    ("required-risk", APP + bus('talk = ["org.example.B"]', False), APP + bus('talk = ["org.example.B"]')),
    (
        "unusual-for-category",
        APP + 'category = "calculator"\n' + NET,
        APP + 'category = "player"\n' + NET,
    ),
    ("x11-host", APP + intent("x", 'kind = "display"\nprotocol = "x11-host"\n'), APP),
    ("wide-place", APP + place("home"), APP + place("home/a")),
    ("wide-place", APP + place("home/.local/share"), APP + place("home/.local/share/a")),
    ("wide-place", APP + place("/var/lib"), APP + place("/var/lib/a")),
    ("network-beside-files", APP + NET + place("xdg-documents"), APP + NET + place("xdg-documents/a")),
    (
        "network-beside-files",
        APP + NET + place("xdg-documents"),
        APP + intent("net", SERVER) + place("xdg-documents"),
    ),
    ("sensitive-place", APP + place("home/.ssh/config"), APP + place("home/.sshx")),
    ("sensitive-place", APP + place("xdg-config/autostart/a", "write"), APP + place("xdg-config/autostart/a")),
    ("sensitive-place", APP + place("xdg-data/keyrings"), APP + place("xdg-data/keys")),
    (
        "name-means-kind",
        APP + bus('call = ["org.freedesktop.Notifications=a.b.C"]'),
        APP + bus('see = ["org.freedesktop.Notifications"]'),
    ),
    ("talk-not-call", APP + bus('talk = ["org.example.B"]'), APP + bus('call = ["org.example.B=a.b.C@/d"]')),
    ("talk-not-call", APP + bus('call = ["org.example.B=*"]'), APP + bus('call = ["org.example.B=a.b.C"]')),
    ("powerful-name", APP + bus('call = ["org.libvirt=a.b.C"]'), APP + bus('see = ["org.libvirt"]')),
    ("powerful-name", APP + bus('talk = ["org.gtk.vfs.Daemon"]'), APP + bus('talk = ["org.gtk.vfsx.Daemon"]')),
]


@pytest.mark.parametrize(("code", "bad", "good"), CASES)
def test_finding(code: str, bad: str, good: str) -> None:
    assert code in codes(bad)
    assert code not in codes(good)


def test_every_rule_is_tested() -> None:
    of_the_bytes = {"two-readings"}  # tests/test_author.py
    assert {code for code, _, _ in CASES} == set(lint.RULES) - of_the_bytes


def test_nothing_to_say_about_a_careful_manifest() -> None:
    assert codes(APP + 'aliases = ["sheet"]\n' + NET + place("xdg-documents/Sheets", "create")) == set()


def test_order_and_words() -> None:
    found = lint.lint(parse.parse((APP + 'aliases = ["ls", "sudo"]\n' + intent("net", NETWORK)).encode(), file="m"))
    assert [(finding.code, finding.subject) for finding in found] == [
        ("alias-of-a-program", ""),
        ("alias-of-a-program", ""),
        ("network-without-dns", "net"),
    ]
    assert all(finding.sentence and finding.why.endswith(".") and finding.instead.endswith(".") for finding in found)
