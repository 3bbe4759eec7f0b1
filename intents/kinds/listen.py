"""Kind ``listen``: connections that come in, and none that go out (SPEC §5.9)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from intents import errors, facts, keys, model, paths, sandbox, text

KIND = "listen"
DOC = """Be reached from outside the sandbox. The app listens on `port` in a network of its own; the broker holds the
socket outside and brings each connection in, so the app gains no way out by it. `from` says who can connect:
`"loopback"`, programs of this machine, is the default; `"lan"` adds the local network, `"all"` everybody. Instead of
`from`, `socket = "place.sock"` is a Unix socket that the broker makes in a directory of the app's name below the
runtime directory, and `activation = true` is a socket that systemd holds, named by `FileDescriptorName=` after the
intent. With `proxy_protocol = true` each connection begins with a PROXY protocol header, version 2, that names the
client. An app that can listen on Unix sockets itself needs none of this: a `path` intent for a directory does."""

LOOPBACK, LAN, ALL = FROM = ("loopback", "lan", "all")
SOCKET, ACTIVATION = "socket", "activation"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """``side`` is loopback < lan < all, or socket, whose ``name`` counts, or activation; proxied: with a header."""

    port: int
    side: str
    name: str = ""
    proxied: bool = False

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Listen":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("port", "from", SOCKET, ACTIVATION, "proxy_protocol"), KIND)
        sides = [key for key in ("from", SOCKET, ACTIVATION) if key in table]
        if len(sides) > 1:
            said = f"`{sides[1]}` cannot stand beside `{sides[0]}`: one intent has one side outside"
            raise errors.ManifestError("bad-value", said, hint="Write an intent for each of them.")
        port, proxied = _port(table), keys.flag(table, "proxy_protocol")
        if SOCKET in table:
            return cls(port=port, side=SOCKET, name=_name(table), proxied=proxied)
        if ACTIVATION in table:
            if not keys.flag(table, ACTIVATION):
                raise errors.ManifestError("bad-value", "`activation` can only be `true`")
            return cls(port=port, side=ACTIVATION, proxied=proxied)
        side = keys.choice(table, "from", FROM, KIND) if "from" in table else LOOPBACK
        return cls(port=port, side=side, proxied=proxied)

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        side: dict[str, object] = {"from": self.side}
        if self.side == SOCKET:
            side = {SOCKET: self.name}
        if self.side == ACTIVATION:
            side = {ACTIVATION: True}
        return {"port": self.port, **side} | ({"proxy_protocol": True} if self.proxied else {})

    def covers(self, other: model.Scope) -> bool:
        """Who may come from further may come from here; sockets are each their own."""
        if not isinstance(other, Listen) or (self.port, self.proxied) != (other.port, other.proxied):
            return False
        if self.side in FROM and other.side in FROM:
            return FROM.index(other.side) <= FROM.index(self.side)
        return (self.side, self.name) == (other.side, other.name)

    def meet(self, other: model.Scope) -> model.Scope | None:
        return other if self.covers(other) else self if other.covers(self) else None

    def clash(self, other: "Listen") -> bool:
        """Whether two of them cannot both be had: connections to one port come in by one door."""
        return self.port == other.port or (self.side == other.side == SOCKET and self.name == other.name)

    def parts(self) -> tuple[model.Scope, ...]:
        return (self,)

    def narrower(self) -> tuple[model.Scope, ...]:
        less = reversed(FROM[: FROM.index(self.side)] if self.side in FROM else ())
        return tuple(Listen(port=self.port, side=side, proxied=self.proxied) for side in less)

    def needs(self) -> tuple[facts.Need, ...]:
        return ()

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        return model.Risk.NORMAL if self.side in (LOOPBACK, SOCKET) else model.Risk.HIGH

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        allows = {
            LOOPBACK: text.said("Programs of this machine can connect to it, at port {port}.", port=self.port),
            LAN: text.said(
                "Your local network, and programs of this machine, can connect to it, at port {port}.", port=self.port
            ),
            ALL: text.said("Whoever can reach this machine can connect to it, at port {port}.", port=self.port),
            SOCKET: text.said("Your programs can connect to it, by the socket {name}.", name=self.name),
            ACTIVATION: text.said("Whoever can connect to the socket that systemd holds for it can reach it."),
        }[self.side]
        notes = [text.said("It cannot contact anybody by this.")]
        if self.proxied:
            notes.append(text.said("It is told the address of each client."))
        return model.Phrase(title=text.said("incoming connections"), allows=allows, notes=tuple(notes))

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """Raises HostError ``no-runtime-directory`` where there is nowhere to make the socket."""
        side = f"{self.side}:{self.port}"
        if self.side == SOCKET:
            side = f"unix:{_directory(host)}/{sandbox.APP}/{self.name}"
        if self.side == ACTIVATION:
            side = f"systemd:{because}"
        rule = f"tcp {self.port} {side} {'proxy2' if self.proxied else '-'}"
        return (sandbox.NetworkRule(verb="listen", rule=rule, because=because),)


def _port(table: Mapping[str, object]) -> int:
    if "port" not in table:
        raise errors.ManifestError("missing-key", f"kind `{KIND}` needs the key `port`")
    port = table["port"]
    if not isinstance(port, int) or isinstance(port, bool):
        raise errors.ManifestError("bad-type", "`port` must be an integer")
    if not 0 < port < 65536:
        raise errors.ManifestError("bad-value", "`port` must be a number from 1 to 65535")
    return port


def _name(table: Mapping[str, object]) -> str:
    name = keys.string(table, SOCKET, KIND)
    if not _NAME.fullmatch(name):
        shown = paths.printable(name[:80])
        said = f"`{shown}` cannot be a `socket`: it must be one name, `[a-z0-9][a-z0-9._-]*`, at most 64 characters"
        raise errors.ManifestError("bad-value", said)
    return name


def _directory(host: facts.HostFacts) -> str:
    """Where sockets are made: what ends with the login, or, for root's services, with the boot."""
    found = host.runtime_dir or ("/run" if host.account.uid == 0 else "")
    if not found or not found.isascii() or " " in found or paths.printable(found) != found:
        raise errors.HostError("no-runtime-directory", "there is no runtime directory to make the app's socket in")
    return found
