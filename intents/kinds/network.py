"""Kind ``network``: named servers, the internet, the local network, or the host's own network whole (SPEC §5.1)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intents import errors, facts, hosts, keys, model, resolving, sandbox, scopes, text

KIND = "network"
DOC = """Reach other machines. Ask for the servers that the app talks to: `connect = ["www.ecb.europa.eu:443",
"*.example.org:443", "192.168.1.0/24:631", "[2001:db8::1]:22", "time.example.org:123/udp"]`. The app has a network of
its own in which these names have addresses and nothing else does. `*.example.org` is every name below it, not itself.
`sni = true` holds encrypted connections to the name that was asked for. With `ask = "on-use"` the user is asked when
the app first tries, rather than at its start; such an intent is `optional`.

Or a whole: `scope = "internet"` is every server outside the local network and outside this machine, `"lan"` the local
network as well. `scope = "host"` is the host's own network, with the services of this machine; `ports = [443]` limits
the TCP ports it may connect to. Without this intent the app has a network of its own with nobody else in it."""

CONNECT, INTERNET, LAN, HOST = "connect", "internet", "lan", "host"
WIDE = (INTERNET, LAN, HOST)
ON_USE = "on-use"

# Landlock ABI 6 (Linux 6.12) can close abstract sockets, which the network namespace would otherwise have closed.
LANDLOCK_SCOPES = 6
LANDLOCK_PORTS = 4  # ABI 4 (Linux 6.7) can limit TCP connections to ports
X11_ABSTRACT = "@/tmp/.X11-unix/X"
TUN = "/dev/net/tun"
TOOLS = (("pasta", "passt"), ("nft", "nftables"))  # program, and the package that has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """``scope`` is connect < internet < lan < host.

    targets, sorted, and sni belong to connect; ports, sorted and empty for all, to host.
    """

    scope: str
    targets: tuple[hosts.Target, ...] = ()
    sni: bool = False
    ports: tuple[int, ...] = ()

    @classmethod
    def read(cls, table: Mapping[str, object]) -> "Network":
        """The scope keys of the intent's table. Raises ManifestError."""
        keys.only(table, ("connect", "scope", "sni", "ports"), KIND)
        if "connect" in table:
            return _named(table)
        if "scope" not in table:
            raise errors.ManifestError("missing-key", "kind `network` needs the key `connect` or `scope`")
        scope = keys.choice(table, "scope", WIDE, KIND)
        if "sni" in table:
            raise errors.ManifestError("bad-value", "`sni` belongs to `connect`: it compares names that stand there")
        if "ports" in table and scope != HOST:
            raise errors.ManifestError("bad-value", '`ports` belongs to `scope = "host"`')
        return cls(scope=scope, ports=_ports(table))

    @property
    def kind(self) -> str:
        return KIND

    def data(self) -> Mapping[str, object]:
        if self.scope != CONNECT:
            return {"scope": self.scope} | ({"ports": list(self.ports)} if self.ports else {})
        return {CONNECT: [target.text for target in self.targets]} | ({"sni": True} if self.sni else {})

    def covers(self, other: model.Scope) -> bool:
        """The host's network limited to ports covers nothing but less of itself: UDP stays open in it, LAN and all."""
        if not isinstance(other, Network):
            return False
        match self.scope:
            case "host":
                return not self.ports or (other.scope == HOST and bool(other.ports) and {*other.ports} <= {*self.ports})
            case "lan":
                return other.scope != HOST and not any(target.own for target in other.targets)
            case "internet":
                near = any(target.local or target.own for target in other.targets)
                return other.scope == INTERNET or (other.scope == CONNECT and not near)
            case _:
                return other.scope == CONNECT and (other.sni or not self.sni) and _all(self.targets, other.targets)

    def meet(self, other: model.Scope) -> model.Scope | None:
        if not isinstance(other, Network):
            return None
        if self.covers(other) or other.covers(self):
            return other if self.covers(other) else self
        if self.scope == other.scope == HOST:
            both = tuple(port for port in self.ports if port in other.ports)
            return Network(scope=HOST, ports=both) if both else None
        if CONNECT not in (self.scope, other.scope) or HOST in (self.scope, other.scope):
            return None
        if self.scope != CONNECT or other.scope != CONNECT:  # of named servers what the whole covers
            named, whole = (self, other) if self.scope == CONNECT else (other, self)
            inside = (t for t in named.targets if whole.covers(Network(scope=CONNECT, targets=(t,), sni=named.sni)))
            return _connect(inside, named.sni)
        met = [one.meet(two) for one in self.targets for two in other.targets]
        return _connect(filter(None, met), self.sni or other.sni)

    def touches(self, other: "Network") -> bool:
        """Whether it gives something of the other: where no scope says what, too, as of the host's network by ports."""
        if self.scope != HOST or other.scope == HOST or not self.ports:
            return self.meet(other) is not None
        open_to = (target.protocol == hosts.UDP or target.port in self.ports for target in other.targets)
        return other.scope != CONNECT or any(open_to)

    def parts(self) -> tuple[model.Scope, ...]:
        if len(self.targets) < 2:
            return (self,)
        return tuple(Network(scope=CONNECT, targets=(target,), sni=self.sni) for target in self.targets)

    def narrower(self) -> tuple[model.Scope, ...]:
        if self.scope == LAN:
            return (Network(scope=INTERNET),)
        return self.parts() if len(self.targets) > 1 else ()

    def needs(self) -> tuple[facts.Need, ...]:
        if self.scope not in (INTERNET, LAN):
            return ()
        programs = (facts.Need(what="program", name=name) for name, _ in TOOLS)
        return (*programs, facts.Need(what="nodes", name=TUN))

    def objects(self) -> tuple[str, ...]:
        return ()

    def risk(self, host: facts.HostFacts) -> model.Risk:
        if self.scope == HOST:
            return model.Risk.CRITICAL if _display_reachable(host) else model.Risk.HIGH
        if self.scope == LAN or any(target.own for target in self.targets):
            return model.Risk.HIGH
        return model.Risk.NORMAL

    def phrase(self, host: facts.HostFacts) -> model.Phrase:
        match self.scope:
            case "connect":
                return self._servers()
            case "internet":
                return model.Phrase(
                    title=text.said("internet"),
                    allows=text.said("It can contact any server outside your local network and this machine."),
                )
            case "lan":
                return model.Phrase(
                    title=text.said("internet and LAN"),
                    allows=text.said("It can contact any server and every device of your local network."),
                    notes=(text.said("Printers, routers and disks there often trust whoever can reach them."),),
                )
        return self._whole(host)

    def _servers(self) -> model.Phrase:
        first = self.targets[0].host
        # Of a name that is too long, its end says whose it is.
        short = first if len(first) <= 24 else f"…{first[-23:]}"
        title = text.said("named servers") if len(self.targets) > 1 else short
        notes = [text.said("It can look up the addresses of these names, and of no others.")]
        if all(target.network is not None for target in self.targets):
            notes = [text.said("It can look up no names.")]
        if any(target.own for target in self.targets):
            notes.append(text.said("What listens there is a program of this machine, which may trust whoever comes."))
        if self.sni:
            notes.append(text.said("Connections that do not begin with the encrypted greeting to that name are cut."))
        return model.Phrase(
            title=title,
            allows=text.said("By this it can contact {servers}, nothing else.", servers=_shown(self.targets)),
            notes=tuple(notes),
        )

    def _whole(self, host: facts.HostFacts) -> model.Phrase:
        notes = [
            text.said("This includes programs of this machine that wait for connections, such as a local database.")
        ]
        if _display_reachable(host):
            notes.append(
                text.said("This kernel cannot close X11's abstract socket: the app could read your screen and keys.")
            )
        elif host.landlock < LANDLOCK_SCOPES and host.abstract_sockets:
            notes.append(
                text.said("This kernel cannot close abstract sockets: the app can reach those of your other programs.")
            )
        if self.ports:
            ports = scopes.listed(tuple(str(port) for port in self.ports))
            notes.append(text.said("Only TCP is held to these ports; UDP is not."))
            return model.Phrase(
                title=text.said("whole network, by port"),
                allows=text.said(
                    "It can contact any server and this machine's own services at port {ports}.", ports=ports
                ),
                notes=tuple(notes),
            )
        return model.Phrase(
            title=text.said("whole network"),
            allows=text.said("It can contact any server, your local network and this machine's own services."),
            notes=tuple(notes),
        )

    def ops(self, host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
        """Raises HostError ``no-uplink`` or ``no-port-limit`` where this machine cannot give it."""
        if self.scope == HOST:
            if self.ports and host.landlock < LANDLOCK_PORTS:
                said = "this kernel cannot hold an app on the host's network to the ports that it asks for"
                raise errors.HostError("no-port-limit", said)
            return (sandbox.Share(namespace="network", because=because, ports=self.ports),)
        if self.scope == CONNECT:
            rules = [
                sandbox.NetworkRule(
                    verb="connect",
                    rule=f"{target.protocol} {target.host} {target.port}",
                    because=because,
                    flags=("sni",) if self.sni else (),
                )
                for target in self.targets
            ]
            return (*rules, *resolving.stub(host, because))
        _refuse_unconnected(host)
        return (sandbox.NetworkRule(verb="internet", rule=self.scope, because=because), *resolving.stub(host, because))


def refusal(when: str, scope: model.Scope, *, optional: bool) -> str:
    """Why an intent with this scope cannot be asked ``when`` its key ``ask`` says; empty where it can (SPEC §8.9)."""
    if when != ON_USE:
        return f"`ask` can only be `{ON_USE}`: what does not say so is asked before the app starts"
    if not isinstance(scope, Network) or scope.scope != CONNECT:
        return f"`ask` belongs to kind `{KIND}` with `connect`: nothing else can wait for an answer"
    return "" if optional else "what is asked on use must be `optional`: the app starts without it"


def _named(table: Mapping[str, object]) -> Network:
    for key in ("scope", "ports"):
        if key in table:
            raise errors.ManifestError("bad-value", f"`{key}` cannot stand beside `connect`, which says all of it")
    texts = keys.strings(table, CONNECT)
    if not texts:
        raise errors.ManifestError("bad-value", "`connect` must name one server at least")
    targets = tuple(sorted(hosts.parse(each) for each in texts))
    for one in targets:
        for other in targets:
            if one != other and one.covers(other):
                said = f"`{one.text}` in `connect` holds `{other.text}` already"
                raise errors.ManifestError("bad-value", said, hint=f"Remove `{other.text}`.")
    sni = keys.flag(table, "sni")
    udp = next((target.text for target in targets if target.protocol == hosts.UDP), "")
    unnamed = next((target.text for target in targets if target.network is not None), "")
    if sni and (udp or unnamed):
        said = f"`sni` compares names in TCP connections, which `{udp or unnamed}` has none of"
        raise errors.ManifestError("bad-value", said, hint="Ask for it in an intent of its own, without `sni`.")
    return Network(scope=CONNECT, targets=targets, sni=sni)


def _ports(table: Mapping[str, object]) -> tuple[int, ...]:
    found = table.get("ports")
    if found is None:
        return ()
    if not isinstance(found, list | tuple) or not all(isinstance(port, int) and port is not True for port in found):
        raise errors.ManifestError("bad-type", "`ports` must be an array of integers")
    if not found or len(set(found)) != len(found) or not all(0 < port < 65536 for port in found):
        raise errors.ManifestError("bad-value", "`ports` must hold different numbers from 1 to 65535, one at least")
    return tuple(sorted(found))


def _connect(targets: Iterable[hosts.Target], sni: bool) -> Network | None:
    """Those targets that no other of them covers; None without any."""
    every = set(targets)
    widest = tuple(sorted(one for one in every if not any(other != one and other.covers(one) for other in every)))
    return Network(scope=CONNECT, targets=widest, sni=sni) if widest else None


def _all(mine: tuple[hosts.Target, ...], theirs: tuple[hosts.Target, ...]) -> bool:
    return all(any(one.covers(other) for one in mine) for other in theirs)


def _shown(targets: tuple[hosts.Target, ...]) -> text.Said:
    """The servers as a sentence names them, those of one port together."""
    doors = dict.fromkeys((target.port, target.protocol) for target in targets)
    said = []
    for port, protocol in sorted(doors):
        there = [target.host for target in targets if (target.port, target.protocol) == (port, protocol)]
        names = tuple(text.said("all below {name}", name=host[2:]) if host[:2] == "*." else host for host in there)
        where = text.said("port {port}", port=port)
        if protocol == hosts.UDP:
            where = text.said("port {port} (UDP)", port=port)
        servers = scopes.listed(names)
        if len(names) == 1:
            said.append(text.said("{server}, {where}", server=servers, where=where))
        else:
            said.append(text.said("{servers} at {where}", servers=servers, where=where))
    return text.joined(said, "; ")


def _refuse_unconnected(host: facts.HostFacts) -> None:
    for program, package in TOOLS:
        if not host.program(program):
            said = f"`{program}`, which the internet without the rest of the network takes, is not installed"
            raise errors.HostError("no-uplink", said, hint=f"Install the package `{package}`.")
    if not any(node.path == TUN and node.usable for node in host.nodes):
        said = f"`{TUN}`, which the internet without the rest of the network takes, is not yours to use"
        raise errors.HostError("no-uplink", said, hint="Load the kernel module `tun`, and let everybody use it (0666).")


def _display_reachable(host: facts.HostFacts) -> bool:
    open_display = any(name.startswith(X11_ABSTRACT) for name in host.abstract_sockets)
    return open_display and host.landlock < LANDLOCK_SCOPES
