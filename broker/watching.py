"""Who answers questions as they come: a person at a terminal, or a script over the socket (SPEC §11.5)."""

from collections.abc import Callable, Iterator

from broker import client, known, news, pending, prompts, protocol, wire
from broker.ui import scripted, tty
from intents import errors

Told = tuple[dict[str, object], str]


def watch(here: Callable[[], known.Here], whom: Callable[[], prompts.Prompter | None]) -> Iterator[Told | None]:
    """Put every question in the queue, once for each thing that it asks, to ``whom``; what came of it, None while
    there is nothing new. Raises RefusedError ``no-way-to-ask`` where there is nobody, and as ``News`` does."""
    following = news.News(here)
    seen: set[str] = set()
    try:
        yield {"watching": True}, "Waiting for questions; Ctrl-C ends it."
        while True:
            for one in following.questions():
                if one.shown not in seen:
                    seen.add(one.shown)
                    yield _put(here(), one, whom())
            following.look()
            yield None
    finally:
        following.close()


def _put(at: known.Here, one: pending.Waiting, prompter: prompts.Prompter | None) -> Told:
    if prompter is None:
        raise errors.RefusedError("no-way-to-ask", "there is no terminal to ask on", hint="Use `intent-ctl answer`.")
    name = one.asked.question
    with tty.closing_when(lambda: not pending.stands(at, one)):
        given = prompter.ask(one.asked.request)
    data: dict[str, object] = {"question": name, "shown": one.shown}
    try:
        pending.answer(at, name, one.shown, given)
    except errors.RefusedError as error:
        return {**data, "answered": False, "error": errors.as_data(error)}, f"{error.message} [{error.code}]"
    app_id = one.asked.app.manifest.app.id
    if given is None:
        return {**data, "answered": False, "error": None}, f"Left open: intent-ctl pending {app_id}"
    return {**data, "answered": True, "error": None}, f"Answered: intent-ctl show {app_id}"


def replay(connection: client.Client, script: scripted.Scripted, patience: float) -> Iterator[Told]:
    """Answer the questions that come over the socket from a script, to its end; what was answered.

    patience: seconds until the next question has to be there. Raises DecisionError ``not-as-scripted``, MessageError,
    and whatever an answer is refused with.
    """
    connection.call("subscribe")
    while not script.finished:
        event = connection.event(patience)
        if event is None:
            raise errors.DecisionError("not-as-scripted", f"no question came within {patience:g} seconds")
        if event.get("event") != "question":
            continue
        question, shown = protocol.read_text(event, "question"), protocol.read_text(event, "shown")
        try:
            given = script.ask(wire.read_request(event.get("request")))
        except scripted.Mismatch as error:
            message = f"`{question}` is not what the script expects: {'; '.join(str(error).splitlines())}"
            raise errors.DecisionError("not-as-scripted", message) from error
        except ValueError as error:
            raise errors.MessageError("bad-message", "the event `question` has no request that can be read") from error
        answers = None if given is None else wire.answers_data(given)
        connection.call("answer", question=question, shown=shown, answers=answers)
        yield {"question": question, "shown": shown, "answers": answers}, f"{question}: answered as written"
