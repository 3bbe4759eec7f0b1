"""Asks the user about what a running app tries, for its network companion (SPEC §8.9, ``network.asking``).

A process of its own, begun with the first question. It puts the question where questions are answered: into the queue,
from which ``intent-ctl watch``, every front-end of ``intent-ctl serve`` and ``intent-ctl answer`` take it, and, where
there is a screen, into a window. The app's terminal is the app's. What is decided, whoever decides it and whenever, is
told to the companion as long as the app runs. Nothing that goes wrong here gives anything.
"""

import os
import select
import socket
import time
from collections.abc import Iterable, Iterator

from broker import answers, journal, known, online, runs, state
from broker import app as apps
from broker.ui import choose, tty
from intents import errors, model, sandbox

LOOK = 0.25  # seconds between two looks at what was decided, at first
LATER = 2.0  # ... and once nobody waits for it any more
PATIENT = 60.0  # seconds until then
SHOWN = 600.0  # seconds that a window stays
AGAIN = 60.0  # seconds until what was closed without an answer is shown again
_LIMIT = 4096


class Gone(Exception):
    """The app has ended."""


def main(handle: str, directory: str) -> int:
    """The process: ``handle``, the socket to the companion; ``directory``, of the launch's sockets."""
    with socket.socket(fileno=int(handle)) as connection:
        asker = Asker(connection, directory)
        try:
            asker.run()
        except Gone:
            return 0
        except errors.IntentError:  # the companion refuses what is asked of nobody
            return 1
    return 0


class Asker:
    """What one running app has tried and nobody has decided."""

    def __init__(self, connection: socket.socket, directory: str) -> None:
        self._connection, self._directory = connection, directory
        self._tried: set[str] = set()  # what waits for a decision
        self._told: set[str] = set()  # lines that the companion has had
        self._asked = 0.0  # when something was tried last
        self._closed = -AGAIN  # when a window was closed without an answer

    def run(self) -> None:
        """Serve until the app has ended. Raises Gone, IntentError."""
        self._hear(None)
        instance = runs.read(f"{self._directory}.json")
        if instance is None:
            raise Gone
        with journal.Journal.open(self._at().places) as book:
            seen = max((event.seq for event in book.events(limit=1)), default=0)
            asked = True
            while True:
                if asked:
                    self._look(book, instance)
                    self._put(book, instance)
                events = book.events(after=seen)
                if events:
                    seen = events[-1].seq
                    self._look(book, instance)
                patient = time.monotonic() - self._asked < PATIENT
                asked = self._hear(LOOK if patient else LATER if self._tried else None)

    def _hear(self, seconds: float | None) -> bool:
        """Take what the companion says; False where it says nothing for so long. Raises Gone."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return False
        words = self._connection.recv(_LIMIT).decode("ascii", "replace").split(" ")
        if words == [""]:
            raise Gone
        if words[0] == "ask" and len(words) == 3:
            self._tried.add(words[1])
            self._asked = time.monotonic()
        return True

    def _at(self) -> known.Here:
        return known.here(os.environ, typed=False)

    def _say(self, line: str) -> None:
        try:
            self._connection.send(line.encode("ascii"))
        except OSError as error:
            raise Gone from error

    def _app(self, book: journal.Journal, instance: runs.Instance) -> tuple[apps.App, model.Delta]:
        """The app as it is now, for the publisher that it was started for. Raises IntentError."""
        at = self._at()
        app = apps.load(instance.app_id, at.environ, typed=False).recalling(book)
        delta = app.delta(book, at.now)
        if (app.manifest.app.id, delta.vetted.lineage) != (instance.app_id, instance.lineage):
            raise errors.RefusedError("question-gone", f"{instance.app_id} is another app now")
        return app, delta

    def _look(self, book: journal.Journal, instance: runs.Instance) -> None:
        """Tell the companion what was decided, and put what was not into the queue."""
        try:
            app, delta = self._app(book, instance)
            for change in delta.changes:
                if change.intent.id in self._tried:
                    self._tell(app, change, instance)
            answers.queue_tried(book, delta, self._tried, self._at().now)
        except errors.IntentError:
            for intent in self._tried:
                self._say(f"later {intent}")

    def _tell(self, app: apps.App, change: model.Change, instance: runs.Instance) -> None:
        """What is granted of an intent becomes a rule; what is not, and nothing is left to decide, none."""
        intent = change.intent
        given = {target: rule for rule in _rules(app, intent, change.granted) if (target := online.target(rule))}
        opened = {online.target(rule) for rule in _rules(app, intent, change.open)}
        made = []
        for target, rule in given.items():
            if rule.words not in self._told:
                self._told.add(rule.words)
                self._say(f"rule {rule.words}")
                made.append(online.Server(intent=intent.id, server=online.server(target), granted=True))
        for rule in _rules(app, intent, (intent.scope,)):
            protocol, host, port = target = online.target(rule)
            line = f"drop {intent.id} {host} {port} {protocol}"
            if target not in given and target not in opened and line not in self._told:
                self._told.add(line)
                self._say(line)
        online.note(instance, made)
        if not opened:
            self._tried.discard(intent.id)

    def _put(self, book: journal.Journal, instance: runs.Instance) -> None:
        """Ask in a window, where there is one to ask in; whoever else answers is as good."""
        prompter = choose.window(os.environ) if self._tried else None
        if prompter is None or time.monotonic() < self._closed + AGAIN:
            return
        try:
            app, delta = self._app(book, instance)
            now = self._at().now
            with state.lock(app.lock("ask"), wait=False):
                asked = answers.handshake(app, book, now, launching=False)
                if asked is None or answers.rests_until(book, delta, now):
                    return
                over = time.monotonic() + SHOWN

                def moot() -> bool:
                    return self._ended() or time.monotonic() > over or not answers.stands(asked, book)

                with tty.closing_when(moot):
                    given = prompter.ask(asked.request)
                if given is not None:
                    answers.keep(asked, given, source="prompt")
                elif not moot():
                    self._closed = time.monotonic()
                    answers.unanswered(asked)
        except errors.IntentError:  # somebody else asks, or answered: the queue has it
            return
        finally:
            self._look(book, instance)
        for intent in self._tried:
            self._say(f"later {intent}")

    def _ended(self) -> bool:
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


def _rules(app: apps.App, intent: model.Intent, scopes: Iterable[model.Scope]) -> Iterator[sandbox.NetworkRule]:
    """What these scopes give, as rules about servers."""
    for scope in scopes:
        for op in scope.ops(app.host, intent.id):
            if isinstance(op, sandbox.NetworkRule) and op.verb == "connect":
                yield op
