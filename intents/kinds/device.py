"""Kind ``device``: named nodes below /dev (SPEC §5.6)."""

import re
from dataclasses import dataclass
from typing import ClassVar

from intents import catalogue, errors, facts, model, paths, reach, sandbox, scopes, text

KIND = "device"
DOC = """Use named device nodes: `nodes = ["/dev/kvm", "/dev/ttyUSB0"]`. Where a kind of its own exists (`gpu`,
`camera`, `input`, `usb`, `shared-memory`), ask for that. Memory, terminals and what is typed cannot be named."""

_NODE = re.compile(r"/dev/[A-Za-z0-9_+:.-]+(/[A-Za-z0-9_+:.-]+)*")
# Through these an app leaves the sandbox or reads what is typed elsewhere.
_NEVER = re.compile(
    r"/dev/(mem|kmem|port|kmsg|tty[0-9]*|pts|ptmx|console|fd|std(in|out|err)|core|shm|mqueue|hugepages|uinput|input"
    r"|vcs[au]?[0-9]*|fb[0-9]+|snapshot|nvram|cpu|vhost.*|rfkill)(/.*)?"
)
_MODEST = ("/dev/kvm", "/dev/ntsync", "/dev/udmabuf", "/dev/rtc", "/dev/hpet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(scopes.Words):
    """``nodes``: absolute paths below /dev."""

    KIND: ClassVar[str] = KIND
    KEY: ClassVar[str] = "nodes"

    @classmethod
    def check(cls, word: str) -> None:
        parts = word.split("/")
        if not _NODE.fullmatch(word) or "." in parts or ".." in parts or len(word) > paths.MAX_COMPONENT:
            raise errors.ManifestError("bad-value", f"`{paths.printable(word[:80])}` is not the name of a device node")
        if _NEVER.fullmatch(word):
            raise errors.ManifestError("bad-value", f"`{word}` cannot be granted: it leads out of the sandbox")

    def needs(self) -> tuple[facts.Need, ...]:
        return tuple(facts.Need(what="nodes", name=word) for word in self.words)

    def risk(self, host: facts.HostFacts) -> model.Risk:
        disks = {node.path for node in host.nodes if node.kind == "block"}
        if disks & set(self.words):
            return model.Risk.CRITICAL
        return model.Risk.NORMAL if set(self.words) <= set(_MODEST) else model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        title = (
            self.words[0]
            if len(self.words) == 1 and len(self.words[0]) <= 24
            else text.said("{count} devices", count=len(self.words))
        )
        disk = self.risk(host) is model.Risk.CRITICAL
        notes = (
            (catalogue.no_sandbox(text.said("every file on a disk can be reached through its device")),) if disk else ()
        )
        return model.Phrase(
            title=title,
            allows=text.said("It can use {devices} directly.", devices=scopes.listed(self.words)),
            notes=notes,
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """The nodes. Raises HostError ``no-device``."""
        named = [reach.device_ops(host, (word,), (), because, f"`{word}` is not here") for word in self.words]
        return tuple(op for ops in named for op in ops)
