"""Every word of the view of all permissions: a state becomes lines of text. Pure."""

from collections.abc import Callable, Iterable

from broker.ui import browse, wording

Day = Callable[[int], str]  # a moment (seconds since the epoch) in local time
_STATES = {"allowed": "allowed", "partly": "partly allowed", "denied": "denied", "open": "not decided"}
_SPANS = {"session": "this session", "until": "for 8 hours", "forever": "always", "once": "this once"}
_ROOM = 6  # columns before what belongs to a row


class _Sheet:
    """Lines on one page, as they are added."""

    def __init__(self, page: wording.Page) -> None:
        self._page = page
        self.lines: list[wording.Line] = []

    def say(self, words: str, voice: wording.Voice = wording.Voice.OURS, *, row: int = -1, indent: int = 0) -> None:
        """Our words."""
        lead = " " * indent
        self.lines += wording.flow(self._page, voice, words, lead, row=row)

    def claim(self, who: str, words: str, *, row: int = -1, indent: int = 0) -> None:
        """An app's words, quoted behind ours."""
        quoted = f"{who} {wording.quote(words)}"
        self.lines += wording.flow(self._page, wording.Voice.CLAIM, quoted, " " * indent, "  ", row=row)

    def row(self, words: str, index: int, cursor: int) -> None:
        """The heading of a row; a mark, not a colour, shows where the cursor is."""
        mark, hang = ("> ", " " * 4) if index == cursor else ("  ", "  ")  # a lead of blanks counts for the others
        self.lines += wording.flow(self._page, wording.Voice.CHOICE, words, mark, hang, row=index)

    def gap(self) -> None:
        self.say("")


def lines(state: browse.State, page: wording.Page, day: Day) -> tuple[wording.Line, ...]:
    """The page that is shown, however long."""
    sheet = _Sheet(page)
    if state.data is None and state.page.view is not browse.View.WORD:
        sheet.say("Reading…" if not page.ascii else "Reading...")
        return tuple(sheet.lines)
    _PAGES[state.page.view](state, sheet, day)
    return tuple(sheet.lines)


def footer(state: browse.State, page: wording.Page) -> tuple[wording.Line, ...]:
    """What can be pressed, and what just happened."""
    said = wording.say(state.notice, page, wording.Voice.WARNING) if state.notice else ()
    if state.searching:
        return (*said, *wording.say("Enter keeps what is found, Esc shows all again.", page),
                *wording.say(f"/{state.search}", page))  # fmt: skip
    ways = {
        browse.View.APPS: "Enter opens   Tab by permission   / search   u undo   h history   q leaves",
        browse.View.KINDS: "Enter opens   Tab by app   / search   u undo   h history   q leaves",
        browse.View.APP: "Enter changes   u undo   h history   q goes back",
        browse.View.KIND: "Enter changes   / search   u undo   q goes back",
        browse.View.INTENT: "space chooses   t how long   u undo   q goes back",
        browse.View.HISTORY: "u undoes what the cursor is on   / search   q goes back",
        browse.View.UNDO: "space undoes it   q leaves it as it is",
        browse.View.WORD: "Esc leaves it as it is.",
    }[state.page.view]
    typed = wording.say(f"> {state.typed}", page) if state.page.view is browse.View.WORD else ()
    found = wording.say(f"found with: {state.search}   q shows all", page) if state.search else ()
    return (*said, *found, *wording.say(ways, page), *typed)


def _apps(state: browse.State, sheet: _Sheet, day: Day) -> None:
    sheet.say("Permissions by app", wording.Voice.CHOICE)
    rows = state.rows
    if waiting := (state.data or {}).get("waiting"):
        sheet.say(f"Questions wait for an answer: {', '.join(waiting)}.", wording.Voice.WARNING)
    sheet.gap()
    for index, row in enumerate(rows):
        runs = "   running" if row["running"] else ""
        other = "" if row["current"] else "   of another publisher"
        sheet.row(f"{row['app']}{runs}{other}", index, state.page.cursor)
        if row["name"]:
            sheet.claim("app says its name is", row["name"], row=index, indent=_ROOM)
        sheet.say(_counts(row), row=index, indent=_ROOM)
        if row["trouble"]:
            sheet.say(row["trouble"]["message"], wording.Voice.WARNING, row=index, indent=_ROOM)
        if row["last_used"]:
            sheet.say(f"last started {day(row['last_used'])}", row=index, indent=_ROOM)
    if not rows:
        sheet.say("Nothing is decided yet: start an app with intent-run." if not state.search else "Nothing is found.")


def _counts(row: browse.Data) -> str:
    found = [f"{words}: {', '.join(row[state])}" for state, words in _STATES.items() if row[state]]
    return "   ".join(found) or "it asks for nothing"


def _kinds(state: browse.State, sheet: _Sheet, day: Day) -> None:
    sheet.say("Permissions by kind", wording.Voice.CHOICE)
    sheet.gap()
    for index, row in enumerate(state.rows):
        sheet.row(row["kind"], index, state.page.cursor)
        found = [f"{words}: {row[name]}" for name, words in _STATES.items() if row[name]]
        sheet.say(f"apps {', '.join(found)}", row=index, indent=_ROOM)
    if not state.rows:
        sheet.say("Nothing is decided yet." if not state.search else "Nothing is found.")


def _kind(state: browse.State, sheet: _Sheet, day: Day) -> None:
    sheet.say(f"Which apps have {state.page.kind}", wording.Voice.CHOICE)
    sheet.gap()
    for index, row in enumerate(state.rows):
        words = f"{row['app']}   {row['intent']}   {_STATES[row['state']]}{_held(row, day)}"
        sheet.row(words, index, state.page.cursor)
        if row["risk"]:
            sheet.say(_risk(row["risk"]), row=index, indent=_ROOM)
    if not state.rows:
        sheet.say("No app." if not state.search else "Nothing is found.")


def _app(state: browse.State, sheet: _Sheet, day: Day) -> None:
    data = state.data or {}
    sheet.say(data["app"], wording.Voice.CHOICE)
    if data["name"]:
        sheet.claim(f"app says its version is {wording.quote(data['version'])}, its name", data["name"], indent=2)
    trust = {
        "vouched": "Vouched for by the catalog it is installed in.",
        "pinned": "Signed by a key that you agreed to.",
        "first-use": "Signed by a key that you have not agreed to: what you allow agrees to it.",
    }
    sheet.say(trust.get(data["trust"], "Nobody stands for its manifest now."), indent=2)
    for running in data["running"]:
        sheet.say(f"It runs since {day(running['started'])} (pid {running['pid']}).", indent=2)
    if data["last_used"]:
        sheet.say(f"Last started {day(data['last_used'])}.", indent=2)
    for tried in (data["uses"] or {}).get("refused", []):
        sheet.claim("It tried, and did not get:", tried["what"], indent=2)
    for words in (data["uses"] or {}).get("network", []):
        sheet.say(f"It {words}.", indent=2)
    for key in ("trouble", "would_not_start"):
        if data[key]:
            sheet.say(f"{data[key]['message']}.", wording.Voice.WARNING, indent=2)
    sheet.gap()
    for index, row in enumerate(state.rows):
        held = ", locked by the administrator" if row["locked"] else _since(row, day)
        sheet.row(f"{row['intent']}   {_STATES[row['state']]}{held}", index, state.page.cursor)
        for words in row["allows"]:
            sheet.say(words if row["granted"] else f"If allowed: {words}", row=index, indent=_ROOM)
        needed = "optional" if row["optional"] else "needed to start"
        sheet.say(f"{_risk(row['risk'])}, {needed}", row=index, indent=_ROOM)
    if not state.rows:
        sheet.say("It asks for nothing.")
    for sentence in data["together"]:
        sheet.say(f"!! {sentence}", wording.Voice.WARNING)
    if data["unused"]:
        names = dict.fromkeys(each["intent"] for each in data["unused"])
        sheet.say(f"Decided, and not asked for now: {', '.join(names)}.")
    sheet.gap()
    sheet.say("Lately", wording.Voice.CHOICE)
    for event in data["recent"]:
        sheet.say(f"{day(event['at'])}  {event['words']}", indent=2)


def _intent(state: browse.State, sheet: _Sheet, day: Day) -> None:
    data = state.data or {}
    row = next((each for each in data["intents"] if each["intent"] == state.page.intent), None)
    sheet.say(f"{data['app']}: {state.page.intent}", wording.Voice.CHOICE)
    if row is None:
        sheet.say("It does not ask for that now.")
        return
    sheet.say(f"{_STATES[row['state']].capitalize()}{_since(row, day)}: {row['because']}.", indent=2)
    for words in (*row["allows"], *row["notes"]):
        sheet.say(words, indent=2)
    for rule in row["rules"]:
        kept = "has locked this" if rule["locked"] else "would have it so unless you say otherwise"
        sheet.claim(f"The administrator {kept}:", rule["reason"], indent=2)
    if row["withheld"]:
        sheet.say(f"Not given here: {row['withheld']}.", wording.Voice.WARNING, indent=2)
    if row["reason"]:
        sheet.claim("app says", row["reason"], indent=2)
    if row["if_denied"]:
        sheet.claim("if denied, app says", row["if_denied"], indent=2)
    if not row["optional"]:
        sheet.say("If denied, the app does not start.", indent=2)
    _used(data["uses"], state.page.intent, sheet, day)
    sheet.gap()
    for index, offer in enumerate(state.rows):
        mark = "(x)" if offer["chosen"] else "( )"
        verb = "deny" if not offer["scopes"] else "allow" if offer["offer"] == "allow" else "allow only"
        title = f" {offer['title']}" if offer["scopes"] else ""
        loud = f", {_risk(offer['risk'])}" if offer["scopes"] else ""
        sheet.row(f"{mark} {verb}{title}   {_SPANS[state.span(offer)]}{loud}", index, state.page.cursor)
        if offer["allows"]:
            sheet.say(offer["allows"], row=index, indent=_ROOM)


def _used(uses: browse.Data | None, intent: str, sheet: _Sheet, day: Day) -> None:
    """Which starts had an intent; what an app did with it is not known."""
    mine = next((each for each in (uses or {}).get("intents", []) if each["intent"] == intent), None)
    if mine is not None:
        sheet.say(f"{mine['starts']} of its starts had it, the last one on {day(mine['last'])}.", indent=2)
    elif uses and uses["starts"]:
        sheet.say(f"None of its {uses['starts']} starts had it.", indent=2)


def _history(state: browse.State, sheet: _Sheet, day: Day) -> None:
    sheet.say("What happened, newest first", wording.Voice.CHOICE)
    sheet.gap()
    for index, event in enumerate(state.rows):
        sheet.row(f"{event['seq']}   {day(event['at'])}   {event['app']}", index, state.page.cursor)
        sheet.say(event["words"], row=index, indent=_ROOM)
    if not state.rows:
        sheet.say("Nothing yet." if not state.search else "Nothing is found.")


def _undo(state: browse.State, sheet: _Sheet, day: Day) -> None:
    data = state.data or {}
    sheet.say(f"Undo for {data['app']}?", wording.Voice.CHOICE)
    for words in data["words"]:
        sheet.say(f"No longer counts: {words}.", indent=2)
    sheet.gap()
    for each in data["changes"]:
        loud = f" ({_risk(each['risk'])})" if each["more"] else ""
        voice = wording.Voice.WARNING if each["more"] else wording.Voice.OURS
        then, now = _STATES[each["before"]], _STATES[each["after"]]
        sheet.say(f"{each['intent']} is {then}, and would be {now}{loud}.", voice, indent=2)
    if not data["changes"]:
        sheet.say("For what the app asks for now it would change nothing.", indent=2)


def _word(state: browse.State, sheet: _Sheet, day: Day) -> None:
    sheet.say("STOP  CRITICAL risk", wording.Voice.WARNING)
    sheet.say(state.page.warning)
    sheet.say(f"To allow it, type the word  {state.word}  by hand. Nothing else allows it.", wording.Voice.WARNING)


def _since(row: browse.Data, day: Day) -> str:
    """How long the newest decision behind an intent holds, and since when."""
    decisions: Iterable[browse.Data] = row["decisions"]
    newest = next(iter(decisions), None)
    if newest is None or row["state"] == "open":
        return ""
    return _held({**newest, "since": newest["at"], "state": row["state"]}, day)


def _held(row: browse.Data, day: Day) -> str:
    if not row["span"] or row["state"] == "open":
        return ""
    until = f"until {day(row['until'])}" if row["until"] else _SPANS[row["span"]]
    return f" {until}" + (f", since {day(row['since'])}" if row["since"] else "")


def _risk(word: str) -> str:
    return f"{word.upper() if word in ('high', 'critical', 'forbidden') else word} risk"


_PAGES: dict[browse.View, Callable[[browse.State, _Sheet, Day], None]] = {
    browse.View.APPS: _apps,
    browse.View.KINDS: _kinds,
    browse.View.KIND: _kind,
    browse.View.APP: _app,
    browse.View.INTENT: _intent,
    browse.View.HISTORY: _history,
    browse.View.UNDO: _undo,
    browse.View.WORD: _word,
}
