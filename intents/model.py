"""The values that flow through intents, stage by stage; a stage takes only the previous stage's type (SPEC §2).

``bytes -> Vetted -> Delta -> Grant -> Sandbox -> plan -> execve``. All frozen; time and chance come in as parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from intents import facts, sandbox


class Effect(StrEnum):
    """What an answer says."""

    ALLOW = "allow"
    DENY = "deny"


class Lifespan(StrEnum):
    """How long an answer holds (SPEC §8.2)."""

    ONCE = "once"
    SESSION = "session"
    UNTIL = "until"
    FOREVER = "forever"


class Risk(IntEnum):
    """What a scope exposes, computed by us from scope and host, never declared (SPEC §8.4)."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3
    FORBIDDEN = 4

    @property
    def word(self) -> str:
        """The risk as people read it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Our own words about a scope: ``title`` names it (<= 24 characters), ``allows`` is one sentence on the effect.

    ``notes`` are true things that the user would not guess, one sentence each (declared but not enforced, for one).
    """

    title: str
    allows: str
    notes: tuple[str, ...] = ()


class Scope(Protocol):
    """What an intent asks for, in one kind's own terms. Each kind has one implementation in ``intents/kinds``.

    Scopes of one kind are partially ordered by ``covers``; scopes of different kinds never cover one another.
    """

    @property
    def kind(self) -> str:
        """The kind's name in a manifest."""

    def data(self) -> Mapping[str, object]:
        """The scope as the manifest keys that say it; ``kinds.read`` of it gives an equal scope."""

    def covers(self, other: "Scope") -> bool:
        """Whether everything ``other`` gives, this gives too. Reflexive and transitive."""

    def meet(self, other: "Scope") -> "Scope | None":
        """The widest scope that both cover; None when there is none."""

    def parts(self) -> tuple["Scope", ...]:
        """Scopes that together give exactly this one and can each be granted alone."""

    def needs(self) -> tuple[facts.Need, ...]:
        """What has to be looked at on a host before the three below can be asked about it."""

    def objects(self) -> tuple[str, ...]:
        """The places the scope names, whose canonical paths a decision remembers (SPEC §8.6)."""

    def narrower(self) -> tuple["Scope", ...]:
        """What makes sense to give instead, widest first: covered by this scope and not equal to it; often nothing."""

    def risk(self, host: facts.HostFacts) -> Risk:
        """What granting it on this host exposes."""

    def phrase(self, host: facts.HostFacts) -> Phrase:
        """What granting it on this host means, in our words."""

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """What granting it adds to the sandbox. Raises HostError or RefusedError when it cannot be given here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The ``[app]`` table of a manifest (SPEC §3.2)."""

    id: str
    name: str
    version: str
    serial: int
    command: tuple[str, ...]
    interface: str  # "window" or "terminal"
    aliases: tuple[str, ...]
    packages: tuple[tuple[str, str], ...]  # (package manager, package name), for the sentence about a missing program
    base: str = "desktop"  # or "service" or "strict"
    libraries: str = "system"  # or "closure"
    extras: tuple[str, ...] = ()  # names of libraries and paths of files that are shown with the closure
    proc: bool = True
    files: str = ""  # what it may do with files named on its command line: "read", "write", nothing (SPEC §9.7)
    category: str = ""  # one of ``usual.CATEGORIES``, or nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One ``[intents.<id>]`` table: what the app wants and what it claims about it.

    on_use: the user is asked when the app first tries, not at the start (SPEC §8.9).
    """

    id: str
    scope: Scope
    optional: bool
    reason: str
    if_denied: str
    on_use: bool = False


FILES = "app.files"  # the id under which ``[app] files`` is asked and answered; no intent can have it


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A parsed manifest; ``digest`` is the SHA-256 (hex) of its bytes."""

    app: App
    intents: tuple[Intent, ...]
    digest: str

    def intent(self, name: str) -> Intent | None:
        """The intent with that id."""
        return next((intent for intent in self.intents if intent.id == name), None)


class Trust(StrEnum):
    """Why a manifest's publisher counts (SPEC §7)."""

    VOUCHED = "vouched"  # it came from a root-owned catalog or the checkout
    PINNED = "pinned"  # the user agreed to this key before
    FIRST_USE = "first-use"  # a good signature by a key nobody has agreed to yet
    UNSIGNED = "unsigned"  # --unsigned: nothing of it outlives the session


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A remembered publisher: what the journal knows of one app id."""

    app_id: str
    lineage: str  # 16 hex digits of the root key, or of the manifest's digest when unsigned
    fingerprint: str  # SHA256:... as ssh-keygen shows it
    serial: int  # highest ever seen
    digest: str  # of the manifest that carried it
    since: int  # seconds since the epoch
    files: str = ""  # what its manifest said of files named at a start when the user agreed, and was told


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetted:
    """A manifest whose publisher is settled. Only ``trust.vet`` makes one."""

    manifest: Manifest
    trust: Trust
    lineage: str
    fingerprint: str  # empty when unsigned

    @property
    def key(self) -> str:
        """``<app id>-<lineage>``: the name of the app's own directory and lock."""
        return f"{self.manifest.app.id}-{self.lineage}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """One moment: seconds since the epoch, seconds of CLOCK_BOOTTIME, the boot id, the session token or empty."""

    wall: int
    boottime: int
    boot_id: str
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How long a decision holds, with what it takes to tell that it is over."""

    span: Lifespan
    session: str = ""  # the token, for SESSION
    until: int = 0  # seconds since the epoch, for UNTIL
    until_boottime: int = 0  # seconds of CLOCK_BOOTTIME on the boot below, for UNTIL
    boot_id: str = ""

    def live(self, now: Clock) -> bool:
        """Whether the decision still holds at ``now``; ONCE never does, it is over with the instance."""
        match self.span:
            case Lifespan.FOREVER:
                return True
            case Lifespan.SESSION:
                return bool(now.session) and self.session == now.session
            case Lifespan.UNTIL:
                other_boot = self.boot_id != now.boot_id
                return now.wall < self.until and (other_boot or now.boottime < self.until_boottime)
            case Lifespan.ONCE:
                return False


_IDENTITY = "inode "  # no place begins with it


def identity(place: str) -> str:
    """Under which name the identity of the directory at ``place`` stands beside its canonical path."""
    return _IDENTITY + place


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A stored answer: what was asked, what of it was granted, for how long (SPEC §8.1).

    granted: None for a denial; objects: (place, canonical path) for each place the scope names, as it was then, and
    (``identity(place)``, identity) where it was a directory that has one; lapsed: an allowance of what was not used for
    long, which does not count but is asked again.
    """

    intent_id: str
    asked: Scope
    granted: Scope | None
    life: Life
    objects: tuple[tuple[str, str], ...]
    source: str  # "prompt" or "command"
    at: int = 0  # seconds since the epoch
    seq: int = 0  # position in the journal; higher is newer
    lapsed: bool = False

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """(place, canonical path) of each place."""
        return tuple((place, path) for place, path in self.objects if not place.startswith(_IDENTITY))

    @property
    def effect(self) -> Effect:
        """Allow, also for a narrowed scope, or deny."""
        return Effect.DENY if self.granted is None else Effect.ALLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of the administrator's policy (SPEC §8.8).

    app: an app id or ``*``; scope: None for the whole kind; locked: the user cannot change it; reason: the
    administrator's words, raw; lineage and publisher: whose apps an allowance is for, empty for anybody's.
    """

    file: str
    line: int
    app: str
    kind: str
    scope: Scope | None
    effect: Effect
    locked: bool
    reason: str
    lineage: str = ""
    publisher: str = ""  # SHA256:... as ssh-keygen shows it
    confirm: bool = False  # an allowance of what is critical is meant

    @property
    def place(self) -> str:
        """Where the rule stands: ``file:line``."""
        return f"{self.file}:{self.line}"

    def covers(self, scope: Scope) -> bool:
        """Whether the rule speaks about all of ``scope``."""
        return scope.kind == self.kind and (self.scope is None or self.scope.covers(scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """That a rule decides about one part of an intent: what it gives of it, None for a denial of it or some of it."""

    rule: Rule
    part: Scope
    granted: Scope | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one declared intent stands against the stored decisions: only ``open`` is asked (SPEC §8.3).

    moved: places whose canonical path is not what the decision remembers, as (place, then, now); both are the same
    where another directory has come to the same path. lapsed: some of it is open because it was not used for long.
    free: what an answer of the user can decide about; it lacks what the policy has locked.
    """

    intent: Intent
    granted: tuple[Scope, ...]
    denied: tuple[Scope, ...]
    open: tuple[Scope, ...]
    moved: tuple[tuple[str, str, str], ...]
    decided_by: tuple[int, ...]  # seq of the decisions that count
    lives: tuple[Life, ...]  # of the same decisions
    held: tuple[Decision, ...] = ()  # those that give less than an open part asks for: a denial of the rest keeps them
    lapsed: bool = False
    free: tuple[Scope, ...] = ()
    rulings: tuple[Ruling, ...] = ()

    @property
    def locked(self) -> bool:
        """Whether no answer of the user decides about any of it."""
        return bool(self.locks) and not self.free and not self.decided_by

    @property
    def locks(self) -> tuple[Rule, ...]:
        """The rules because of which the user cannot decide about all of it."""
        return tuple(dict.fromkeys(ruling.rule for ruling in self.rulings if ruling.rule.locked))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Every declared intent against every live decision. Only ``diff.diff`` makes one.

    tried: ids of intents that the app has tried to use while they are open, so that they are asked now.
    """

    vetted: Vetted
    changes: tuple[Change, ...]
    withdrawn: tuple[Decision, ...]  # live decisions that no declared intent uses any more
    tried: tuple[str, ...] = ()

    def change(self, intent_id: str) -> Change:
        """The one of a declared intent. Raises KeyError."""
        return {change.intent.id: change for change in self.changes}[intent_id]

    @property
    def questions(self) -> tuple[Change, ...]:
        """The changes with something left to ask now."""
        return tuple(change for change in self.changes if change.open and change not in self.later)

    @property
    def later(self) -> tuple[Change, ...]:
        """The changes with something that is asked once the app tries to use it."""
        waiting = (change for change in self.changes if change.open and change.intent.on_use)
        return tuple(change for change in waiting if change.intent.id not in self.tried)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one intent gets at this launch, and why. on_use: what is not granted, and asked when the app tries it."""

    intent: Intent
    granted: tuple[Scope, ...]
    because: str  # one clause: "you allowed it for this session", "nobody was asked"
    on_use: tuple[Scope, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all of what the intent asked for is granted."""
        return all(any(scope.covers(part) for scope in self.granted) for part in self.intent.scope.parts())


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The settled set that is compiled. Only ``decide.settle`` makes one."""

    vetted: Vetted
    verdicts: tuple[Verdict, ...]

    @property
    def missing_required(self) -> tuple[Intent, ...]:
        """Intents the app cannot do without and that are not granted, even in part."""
        return tuple(v.intent for v in self.verdicts if not v.intent.optional and not v.granted)

    @property
    def files(self) -> str:
        """What the app may do with files named at its start: ``read``, ``write`` or nothing."""
        granted = [scope for verdict in self.verdicts if verdict.intent.id == FILES for scope in verdict.granted]
        return max((str(scope.data()["access"]) for scope in granted), default="")

    def scopes(self) -> tuple[tuple[str, Scope], ...]:
        """(intent id, scope) of everything granted."""
        return tuple((v.intent.id, scope) for v in self.verdicts for scope in v.granted)
