"""Kind ``audio``: play and record sound (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import errors, facts, model, sandbox, scopes, text

KIND = "audio"
DOC = """Play and record sound through the PulseAudio protocol, which PipeWire speaks too. `uses` holds `playback`,
`record` or both. The app does not get the server's socket, through which it could do either and much more, but that of
a filter beside it: with `playback` it cannot listen, with `record` it cannot play, and it cannot change the server."""

PLAYBACK, RECORD = "playback", "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio(scopes.Words):
    """``uses``: playback, record."""

    KIND: ClassVar[str] = KIND
    KNOWN: ClassVar[tuple[str, ...]] = (PLAYBACK, RECORD)

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="pulse"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH if RECORD in self.words else model.Risk.LOW

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        if RECORD not in self.words:
            return model.Phrase(title=text.said("sound"), allows=text.said("It can play sound; it cannot listen."))
        if PLAYBACK in self.words:
            allows = text.said("It can play sound and listen through your microphone whenever it runs.")
        else:
            allows = text.said("It can listen through your microphone whenever it runs.")
        return model.Phrase(
            title=text.said("microphone"),
            allows=allows,
            notes=(text.said("It can listen to what your other programs play as well."),),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """A filter of the server's socket for these words. Raises HostError ``no-service``."""
        server = host.socket("pulse")
        if not server:
            raise errors.HostError("no-service", "no sound server answers here")
        runtime = f"/run/user/{host.account.uid}/pulse"
        words = ("spulse", f"={server}", "k", *(f"={word}" for word in self.words))
        return (
            sandbox.Companion(name="pulse", program="pulse_filter", arguments=words, because=because),
            sandbox.LaunchSocket(name="pulse", dest=f"{runtime}/native", because=because),
            # No memory is shared across the wall; and the socket makes the cookie needless that libpulse asks for.
            sandbox.File(dest=f"{runtime}/config", content=b"enable-shm = no\n", because=because),
            sandbox.Env(name="PULSE_SERVER", value=f"unix:{runtime}/native", because=because),
            sandbox.Env(name="PULSE_CLIENTCONFIG", value=f"{runtime}/config", because=because),
        )
