"""Kind ``shared-memory``: memory that other programs share by name (SPEC §5.6)."""

from dataclasses import dataclass
from typing import ClassVar

from intents import facts, model, sandbox, scopes, text

KIND = "shared-memory"
DOC = """Share memory with programs outside. `uses` holds `files` (/dev/shm), `ipc` (System V memory, semaphores and
queues) or both. An app always has its own of each, so only programs that work together need this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory(scopes.Words):
    """``uses``: files, ipc."""

    KIND: ClassVar[str] = KIND
    KNOWN: ClassVar[tuple[str, ...]] = ("files", "ipc")

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        return model.Phrase(
            title=text.said("shared memory"),
            allows=text.said("It can read and change what your other programs keep in shared memory."),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        ops: list[sandbox.Op] = []
        if "files" in self.words:
            write = sandbox.Access.WRITE
            ops.append(sandbox.Bind(source="/dev/shm", dest="/dev/shm", access=write, held=False, because=because))
        if "ipc" in self.words:
            ops.append(sandbox.Share(namespace="ipc", because=because))
        return tuple(ops)
