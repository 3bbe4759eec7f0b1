"""The names of the fake internet, and how its resolver answers them (RFC 1035; RFC 6891 for EDNS)."""

import ipaddress
import struct

ALLOWED, ALLOWED6 = "198.51.100.10", "2001:db8:51::10"
WILD, CDN, OTHER, ECB, SSH = "198.51.100.11", "198.51.100.20", "198.51.100.30", "198.51.100.50", "198.51.100.22"
EVIL, EVIL6 = "203.0.113.20", "2001:db8:20::20"
CAPTIVE = "203.0.113.80"
BLOCK, BLOCK6 = "203.0.113.64", "2001:db8:77::1"  # what address and CIDR grants are about
LAN, LAN6, INNER = "192.168.77.10", "fd77::10", "10.11.12.13"
ME, ME6, ME_LAN = "192.0.2.2", "2001:db8:1::2", "192.168.77.2"
METADATA = "169.254.169.254"
RESOLVER, CAPTIVE_RESOLVER = "192.0.2.1", "192.0.2.53"
A, CNAME, SVCB, HTTPS, AAAA = 1, 5, 64, 65, 28
DAY = 86400

# name -> (seconds it may be remembered, what it leads to: addresses, or one other name)
ZONE: dict[str, tuple[int, tuple[str, ...]]] = {
    "www.allowed.test": (DAY, (ALLOWED, ALLOWED6)),
    "four.allowed.test": (60, (ALLOWED,)),
    "six.allowed.test": (60, (ALLOWED6,)),
    "time.allowed.test": (60, (ALLOWED,)),
    "wild.test": (60, (WILD,)),
    "a.wild.test": (60, (WILD,)),
    "deep.a.wild.test": (60, (WILD,)),
    "notwild.test": (60, (WILD,)),
    "cdn-allowed.test": (60, (CDN,)),
    "cdn-forbidden.test": (60, (CDN,)),
    "other.test": (60, (OTHER,)),
    "evil.test": (60, (EVIL, EVIL6)),
    "ssh.allowed.test": (60, (SSH,)),
    "www.ecb.europa.eu": (60, (ECB,)),
    "chain.allowed.test": (300, ("chain1.cdn.test",)),
    "chain1.cdn.test": (300, ("chain2.cdn.test",)),
    "chain2.cdn.test": (300, (ALLOWED,)),
    "chain-inside.test": (300, ("chain-home.test",)),
    "chain-home.test": (300, ("127.0.0.1",)),
    "circle.test": (300, ("circle2.test",)),
    "circle2.test": (300, ("circle.test",)),
    "xn--bcher-kva.test": (60, (ALLOWED,)),
    "nas.lan": (60, (LAN,)),
    "printer.local": (60, (LAN,)),
    "dead.test": (60, (ALLOWED,)),
    "mixed.test": (60, ("127.0.0.1", ALLOWED)),
    "to-loopback.test": (60, ("127.0.0.1",)),
    "to-loopback9.test": (60, ("127.9.9.9",)),
    "to-loopback6.test": (60, ("::1",)),
    "to-mapped.test": (60, ("::ffff:127.0.0.1",)),
    "to-mapped-lan.test": (60, (f"::ffff:{LAN}",)),
    "to-metadata.test": (60, (METADATA,)),
    "to-zero.test": (60, ("0.0.0.0",)),
    "to-zero6.test": (60, ("::",)),
    "to-multicast.test": (60, ("224.0.0.251",)),
    "to-broadcast.test": (60, ("255.255.255.255",)),
    "to-link6.test": (60, ("fe80::1",)),
    "to-site6.test": (60, (LAN6,)),
    "to-lan.test": (60, (LAN,)),
    "to-inner.test": (60, (INNER,)),
    "to-me.test": (60, (ME,)),
    "to-me6.test": (60, (ME6,)),
    "to-me-lan.test": (60, (ME_LAN,)),
    "to-nat64.test": (60, ("64:ff9b::7f00:1",)),
    "to-6to4.test": (60, ("2002:7f00:1::1",)),
    "to-made-up.test": (60, ("198.18.0.5",)),
}
FLIPS = ("flip.test", "flop.test")  # ALLOWED and 127.0.0.1 by turns, not to be remembered
SLOW, GARBAGE, CIRCULAR, BIG = "slow.test", "garbage.test", "circular.test", "big.test"
NAMES = (*ZONE, *FLIPS, SLOW, GARBAGE, CIRCULAR, BIG)


def question(data: bytes) -> tuple[str, int, int]:
    """Name (lower case), type and where the question ends. Raises ValueError."""
    labels, at = [], 12
    while at < len(data) and data[at]:
        if data[at] > 63:
            raise ValueError("no plain name")
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += data[at] + 1
    if at + 5 > len(data):
        raise ValueError("cut short")
    return ".".join(labels).lower(), struct.unpack_from(">H", data, at + 1)[0], at + 5


def ask(name: str, kind: int, *, number: int = 0x4242, edns: bool = False) -> bytes:
    """A query for ``name``; ``edns``: with an OPT record of 1232 bytes, as resolvers of our time send it."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split(".") if label)
    extra = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, edns) + labels + b"\0" + struct.pack(">HH", kind, 1) + extra


def addresses(data: bytes) -> tuple[int, list[str]]:
    """The code (0: good, 3: no such name) and the addresses of an answer with compressed owner names."""
    at = question(data)[2]
    found = []
    for _ in range(struct.unpack_from(">H", data, 6)[0]):
        while data[at] and data[at] < 0xC0:
            at += data[at] + 1
        at += 2 if data[at] else 1
        kind, _cls, _ttl, size = struct.unpack_from(">HHIH", data, at)
        at += 10 + size
        if kind in (A, AAAA):
            found.append(str(ipaddress.ip_address(data[at - size : at])))
    return data[3] & 15, found


def _name(text: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in text.split(".")) + b"\0"


def _record(owner: str, kind: int, ttl: int, data: bytes) -> bytes:
    return _name(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


class Resolver:
    """Answers queries from the zone; ``captive``: with one address, whatever is asked."""

    def __init__(self, *, captive: bool = False) -> None:
        self.captive, self.turns = captive, dict.fromkeys(FLIPS, 0)

    def answer(self, data: bytes, *, stream: bool) -> tuple[str, bytes | None]:
        """What was asked, in words, and the answer; None: keep silent."""
        try:
            name, kind, end = question(data)
        except ValueError:
            return f"? {data[:32].hex()}", None
        asked = f"{name} {kind}"
        if name == SLOW:
            return asked, None
        if name == GARBAGE:
            return asked, data[:2] + b"\xff" * 40
        if name == CIRCULAR:
            head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
            return asked, head + data[12:end] + b"\xc0" + bytes((end,)) * 12
        records, known = self._records(name, kind)
        if name == BIG:
            records = [_record(name, A, 1, ipaddress.ip_address(f"198.51.100.{last}").packed) for last in range(1, 255)]
        head = struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(records), 0, 0)
        made = data[:2] + head + data[12:end] + b"".join(records)
        if len(made) > 1232 and not stream:
            made = data[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + data[12:end]
        return asked, made

    def _records(self, name: str, kind: int) -> tuple[list[bytes], bool]:
        if self.captive:
            return ([_record(name, A, 1, ipaddress.ip_address(CAPTIVE).packed)] if kind == A else []), True
        if name in FLIPS and kind == A:
            self.turns[name] += 1
            now = ipaddress.ip_address((ALLOWED, "127.0.0.1")[self.turns[name] % 2])
            return [_record(name, A, 0, now.packed)], True
        found: list[bytes] = []
        for _ in range(8):
            ttl, led = ZONE.get(name, (0, ()))
            if not led or led[0] not in ZONE:
                break
            found.append(_record(name, CNAME, ttl, _name(led[0])))
            name = led[0]
        ttl, led = ZONE.get(name, (0, ()))
        for text in led:
            if text in ZONE:
                continue
            packed = ipaddress.ip_address(text).packed
            if kind == (A if len(packed) == 4 else AAAA):
                found.append(_record(name, kind, ttl, packed))
        return found, name in NAMES
