"""What apps tried of the network, as the network companion tells it: read, kept, and said (SPEC §10.6).

Whatever is in the file comes from an app: it is data to be checked, and its names are raw text.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from broker import state
from intents import paths

NAME = "tries"  # as network.tries writes it
KEPT = 32  # of what was allowed, and as many of what was not: the history grows with every start
ALLOWED = "allowed"
MORE = "more"
_LIMIT = 1 << 20  # bytes of the file, which has a thousand lines at most
_PLAIN = re.compile(r"[a-zA-Z0-9_.:/*?\[\]-]{1,255}")
_SAID = {
    "not-granted": "not granted",
    "unresolved": "no such name outside",
    "address-refused": "it leads to an address that no name may lead to",
    "unreachable": "could not be reached",
    "refused": "refused outside",
    "busy": "too many at once",
    "asked": "you are asked about it",
    "sni": "cut: it greeted another server",
    MORE: "different things, not named here",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One thing that was tried. protocol: ``tcp``, ``udp``, ``dns`` (a name was looked up) or ``-``; verdict:
    ``allowed`` or why not; intent: whose rule it was, or ``-``; first, last: seconds since the epoch."""

    protocol: str
    host: str
    port: int
    verdict: str
    intent: str
    times: int
    first: int
    last: int

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What makes it one thing."""
        return self.protocol, self.host, self.port, self.verdict, self.intent

    def as_data(self) -> dict[str, object]:
        """protocol, host, port, verdict, intent, times, first, last."""
        return {
            "protocol": self.protocol,
            "host": self.host,
            "port": self.port,
            "verdict": self.verdict,
            "intent": self.intent,
            "times": self.times,
            "first": self.first,
            "last": self.last,
        }


def read(directory: str) -> tuple[Try, ...]:
    """What stands in the file of one launch, whose sockets are in ``directory``; lines that are none are left out."""
    data = state.read_private(f"{directory}/{NAME}", _LIMIT) or b""
    found: dict[tuple[str, str, int, str, str], Try] = {}
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # it is being written just now
            continue
        one = _made(*row) if isinstance(row, list) and len(row) == 8 else None
        if one is not None:
            found.setdefault(one.key, one)
    return tuple(found.values())


def from_data(rows: object) -> Iterator[Try]:
    """What an event of the history says was tried; what is none is left out."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict):
            names = ("protocol", "host", "port", "verdict", "intent", "times", "first", "last")
            one = _made(*(row.get(name) for name in names))
            if one is not None:
                yield one


def _made(*row: object) -> Try | None:
    match row:
        case (str(protocol), str(host), int(port), str(verdict), str(intent), int(times), int(first), int(last)):
            if all(map(_PLAIN.fullmatch, (protocol, host, verdict, intent))):
                return Try(
                    protocol=protocol,
                    host=host,
                    port=port,
                    verdict=verdict,
                    intent=intent,
                    times=times,
                    first=first,
                    last=last,
                )
    return None


def merged(tries: Iterable[Try]) -> tuple[Try, ...]:
    """The same with one of each, counted together; the newest first."""
    found: dict[tuple[str, str, int, str, str], Try] = {}
    for one in tries:
        known = found.get(one.key, one)
        found[one.key] = replace(
            one,
            times=one.times + (known.times if one.key in found else 0),
            first=min(one.first, known.first),
            last=max(one.last, known.last),
        )
    return tuple(sorted(found.values(), key=lambda one: (-one.last, one.key)))


def kept(tries: Sequence[Try]) -> tuple[Try, ...]:
    """What becomes part of the history: the most frequent, and one for how many times there was something else."""
    often = sorted((one for one in tries if one.verdict != MORE), key=lambda one: (-one.times, one.key))
    chosen: list[Try] = []
    rest = [one for one in tries if one.verdict == MORE]
    for allowed in (False, True):
        these = [one for one in often if (one.verdict == ALLOWED) is allowed]
        chosen += these[:KEPT]
        rest += these[KEPT:]
    more = [replace(one, protocol="-", host="-", port=0, verdict=MORE, intent="-") for one in rest]
    return (*merged(chosen), *merged(more))


def words(row: Mapping[str, object], now: float | None = None) -> str:
    """One of ``Try.as_data`` in a clause: ``tried www.example.org:443 12 times, last 10:03, not granted``."""
    times, last = row["times"], row["last"]
    assert isinstance(times, int) and isinstance(last, int)
    often = "once" if times == 1 else "twice" if times == 2 else f"{times} times"
    when = time.strftime("%H:%M" if _today(last, now) else "%Y-%m-%d %H:%M", time.localtime(last))
    if row["verdict"] == MORE:
        return f"tried {times} times something else, last {when}"
    verdict = str(row["verdict"])
    said = f"allowed by {row['intent']}" if verdict == ALLOWED else _SAID.get(verdict, paths.printable(verdict))
    return f"{'looked up' if row['protocol'] == 'dns' else 'tried'} {where(row)} {often}, last {when}, {said}"


def where(row: Mapping[str, object]) -> str:
    """The host and the port, as a manifest would write it."""
    host, port = paths.printable(str(row["host"])), row["port"]
    if row["protocol"] == "dns":
        return host
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port}{'/udp' if row['protocol'] == 'udp' else ''}"


def _today(moment: int, now: float | None) -> bool:
    day = time.localtime(time.time() if now is None else now)
    return time.localtime(moment)[:3] == day[:3]


def in_vain(tries: Sequence[Try]) -> tuple[Try, ...]:
    """Those that did not succeed."""
    return tuple(one for one in tries if one.verdict != ALLOWED)
