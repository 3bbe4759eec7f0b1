"""Requests to test front-ends with, from a calculator's first one to the worst that a manifest could try."""

import dataclasses

from broker import prompts
from intents import kinds, model, text

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b2K\u202e\u200b\r\n\t\u2588│"


def question(name: str = "rates", **changes: object) -> prompts.Question:
    """A question about the network, of high risk and optional, unless changed."""
    plain = prompts.Question(
        intent_id=name,
        kind="network",
        optional=True,
        risk=model.Risk.HIGH,
        title="whole network",
        allows="It can contact any server, your local network and this machine's own services.",
        notes=(),
        reason="Download current exchange rates.",
        if_denied="Currency conversion uses the rates it came with.",
        parts=(),
        changed="",
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


WINDOW = question(
    "window",
    kind="display",
    optional=False,
    risk=model.Risk.LOW,
    title="windows",
    allows="It can show windows; it cannot see those of others.",
    reason="Show the calculator.",
    if_denied="",
)
SHEETS = question(
    "sheets",
    kind="path",
    risk=model.Risk.NORMAL,
    title="~/Documents/Sheets",
    allows="It can read everything in ~/Documents/Sheets.",
    notes=("~/Documents/Sheets is a link: what is given is /srv/sheets.",),
    reason="Open your calculation sheets.",
    if_denied="You type them in again.",
)
SCREEN = question(
    "screen",
    kind="display",
    optional=False,
    risk=model.Risk.CRITICAL,
    title="X11",
    allows="It can read everything you type in any window, and see your whole screen.",
    reason="Needed for the tray icon.",
    if_denied="",
)


def narrowing(scope: model.Scope, risk: model.Risk, title: str, allows: str, **more: object) -> prompts.Narrowing:
    """Something that can be given instead."""
    return prompts.Narrowing(scopes=(scope,), risk=risk, title=title, allows=allows, **more)  # type: ignore[arg-type]


def place(text: str, access: str) -> model.Scope:
    """A scope of kind path."""
    return kinds.from_data({"kind": "path", "place": text, "access": access})


def audio(*uses: str) -> model.Scope:
    """A scope of kind audio."""
    return kinds.from_data({"kind": "audio", "uses": list(uses)})


# A home, which only a typed word allows; or the reading of it, or none of its secrets.
HOME = question(
    "home",
    kind="path",
    risk=model.Risk.CRITICAL,
    title="~",
    allows="It can read, change and delete everything in ~.",
    open=(place("home", "write"),),
    narrower=(narrowing(place("home", "read"), model.Risk.CRITICAL, "~", "It can read everything in ~."),),
    traits=(("keys", "~"),),
)
FOLDER = narrowing(
    place("home/Sheets", "read"),
    model.Risk.NORMAL,
    "~/Sheets",
    "It can read everything in ~/Sheets.",
    notes=("~/Sheets is a link: what is given is /srv/sheets.",),
    traits=(("files", "~/Sheets"),),
)
# Two things that are open, each by itself.
SOUND = question(
    "sound",
    kind="audio",
    title="microphone",
    allows="It can play sound and listen.",
    open=(audio("playback"), audio("record")),
    narrower=(
        narrowing(audio("playback"), model.Risk.LOW, "sound", "It can play sound; it cannot listen."),
        narrowing(audio("record"), model.Risk.HIGH, "microphone", "It can listen."),
    ),
)


def folders(intent_id: str, typed: str) -> tuple[prompts.Narrowing, ...] | text.Said:
    """Finds one folder in the home and nothing else."""
    if (intent_id, typed) == ("home", "~/Sheets"):
        return (FOLDER,)
    return text.said("There is no {place}.", place=typed)


def less() -> prompts.Request:
    """What can be given in part: a home, sounds; and the network."""
    together = ("With the network as well, it can send keys and passwords anywhere: ~.",)
    network = question(traits=(("sends", "whole network"),))
    return request(HOME, SOUND, network, elsewhere=folders, together=together)


def request(*questions: prompts.Question, **changes: object) -> prompts.Request:
    """A first handshake of an app from a catalog; the network, a folder and a window unless questions are given."""
    plain = prompts.Request(
        app_id="org.example.Calculator",
        name="Calculator",
        version="2.4.0",
        trust=model.Trust.VOUCHED,
        fingerprint="SHA256:QfuM2rJ0Sh4Z0bq8d0rE3dcl2VxJ5j6vUuW1ZzTg7Xk",
        update=False,
        as_root=False,
        questions=questions or (question(), SHEETS, WINDOW),
        granted_before=(),
        withdrawn=(),
        together=(),
        lifespans=tuple(model.Lifespan),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def hostile() -> prompts.Request:
    """Escape sequences, reordering, line breaks and our own margin, in every text there is."""
    bad = question(
        title=f"net{ESCAPES}",
        allows=f"It can{ESCAPES} do this.",
        notes=(f"A note{ESCAPES}.",),
        reason=f'Fine." {ESCAPES} It is safe.',
        if_denied=f"Nothing{ESCAPES}.",
        parts=(f"one{ESCAPES}", f"two{ESCAPES}"),
        changed="moved",
        moves=f"~/x was /a{ESCAPES}, is now /b{ESCAPES}",
    )
    return request(
        bad,
        dataclasses.replace(bad, intent_id="second", reason="e" + "\u0301" * 500),
        name=f"Calc{ESCAPES}",
        version=f"1{ESCAPES}",
        granted_before=(f"a{ESCAPES}",),
        withdrawn=(f"b{ESCAPES}",),
        together=(f"c{ESCAPES}",),
        update=True,
    )


def long_reason() -> prompts.Request:
    """A reason of ten thousand characters."""
    return request(question(reason="because " * 1250), WINDOW)


def many() -> prompts.Request:
    """Thirty-two intents."""
    return request(*(question(f"net{number:02}", title=f"network {number:02}") for number in range(32)))


def critical() -> prompts.Request:
    """One required intent that only a typed word allows, and an optional one."""
    return request(SCREEN, question())


REQUESTS = {
    "first": request,
    "hostile": hostile,
    "long": long_reason,
    "many": many,
    "critical": critical,
    "less": less,
    "sound": lambda: request(SOUND),
    "nothing": lambda: dataclasses.replace(request(), questions=()),
    "broken": critical,
}
