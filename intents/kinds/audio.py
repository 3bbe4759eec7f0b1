"""Kind ``audio``: play and record sound (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, reach, sandbox, scopes

KIND = "audio"
DOC = """Play and record sound through the PulseAudio protocol, which PipeWire speaks too. `uses` holds `playback`,
`record` or both. Neither server can tell the two apart for a client on its socket: whoever may play may record, the
risk says so, and users are told. Ask for `playback` alone all the same if that is what the app does."""

PLAYBACK, RECORD = "playback", "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio(scopes.Words):
    """``uses``: playback, record."""

    KIND: ClassVar[str] = KIND
    KNOWN: ClassVar[tuple[str, ...]] = (PLAYBACK, RECORD)

    def needs(self) -> tuple[facts.Need, ...]:
        return (facts.Need(what="socket", name="pulse"),)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        if RECORD in self.words:
            done = "play sound and listen" if PLAYBACK in self.words else "listen"
            return model.Phrase(title="microphone", allows=f"It can {done} through your microphone whenever it runs.")
        return model.Phrase(
            title="sound, microphone too",
            allows="It can play sound, and could listen through your microphone.",
            notes=("It asks to play only, but the sound server here cannot tell playing from recording.",),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The socket, the same for both words. Raises HostError ``no-service``."""
        runtime = f"/run/user/{host.account.uid}/pulse"
        found = reach.socket_ops(host, "pulse", f"{runtime}/native", "", because, "no sound server answers here")
        # Its memory cannot be shared across the wall, and libpulse asks for a cookie that the socket makes needless.
        configured = sandbox.File(dest=f"{runtime}/config", content=b"enable-shm = no\n", because=because)
        return (
            *found,
            configured,
            sandbox.Env(name="PULSE_SERVER", value=f"unix:{runtime}/native", because=because),
            sandbox.Env(name="PULSE_CLIENTCONFIG", value=f"{runtime}/config", because=because),
        )
