"""What a program needs to turn names into addresses, beside somebody who answers (SPEC §5.1, §5.2)."""

from intents import facts, sandbox

CERTIFICATES = ("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/ca-certificates", "/etc/pki", "/etc/crypto-policies")
TABLES = ("/etc/services", "/etc/protocols")
# What tells of the host's own resolver and names.
OWN = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf")
# Only files and the resolver itself: nss modules such as `resolve` or `mdns` would talk to host daemons.
NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
# Where the network companion answers inside, and the names that are the sandbox's own.
STUB = b"nameserver 127.0.0.53\n"
HOSTS = b"127.0.0.1 localhost\n::1 localhost\n"


def shown(host: facts.HostFacts, places: tuple[str, ...], because: str) -> tuple[sandbox.Op, ...]:
    """Those of the host's own files that are there."""
    return tuple(
        sandbox.Bind(source=entry.path, dest=entry.path, held=False, because=because)
        for entry in host.etc
        if entry.path in places and not host.leads_nowhere(entry)
    )


def stub(host: facts.HostFacts, because: str) -> tuple[sandbox.Op, ...]:
    """The files of a sandbox whose names the network companion answers."""
    return (
        *shown(host, (*CERTIFICATES, *TABLES), because),
        sandbox.File(dest="/etc/resolv.conf", content=STUB, because=because),
        sandbox.File(dest="/etc/hosts", content=HOSTS, because=because),
        sandbox.File(dest="/etc/nsswitch.conf", content=NSSWITCH, because=because),
    )
