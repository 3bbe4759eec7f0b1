"""The resolver of a sandbox: gives each granted name an address of its own that leads to the relay (SPEC §10.6)."""

import _socket
import _struct

from broker.network import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Stub:
    """Names and the addresses that were made up for them."""

    def __init__(self, found: rules.Rules, listen: "Callable[[str, int, int], None]") -> None:
        """listen: makes the relay listen for a rule's protocol and port at the n-th made-up address."""
        self._rules = found
        self._numbers: dict[str, int] = {}
        self._names: list[str] = ["", ""]
        for rule in found.connects:
            if rule.prefix is None and rule.host[:2] != "*." and rule.host not in self._numbers:
                self._number(rule.host)
        self._listen = listen

    def _number(self, name: str) -> int:
        self._numbers[name] = len(self._names)
        self._names.append(name)
        return len(self._names) - 1

    def names(self) -> "list[tuple[int, str]]":
        """(number, name) of what has an address."""
        return list(enumerate(self._names))[2:]

    def target(self, number: int, port: int, protocol: str) -> "tuple[rules.Connect, str] | None":
        """The rule and the name that the n-th made-up address stands for."""
        if not 2 <= number < len(self._names):
            return None
        rule = self._rules.find(protocol, self._names[number], port)
        return (rule, self._names[number]) if rule else None

    def ask(self, data: bytes, now: float, reply: "Callable[[bytes], object]") -> None:
        """Answer one query."""
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii").lower())
            at += data[at] + 1
        name, kind = ".".join(labels), int.from_bytes(data[at + 1 : at + 3], "big")
        head, question = data[:2], data[12 : at + 5]
        if not any(self._rules.of_name(name)):
            reply(head + _struct.pack(">HHHHH", 0x8183, 1, 0, 0, 0) + question)
            return
        number = self._numbers.get(name) or self._number(name)
        record = b""
        if kind == 1:
            record = _struct.pack(">HHHIH", 0xC00C, 1, 1, 1, 4) + made_up(_socket.AF_INET, number)
        if kind == 28:
            record = _struct.pack(">HHHIH", 0xC00C, 28, 1, 1, 16) + made_up(_socket.AF_INET6, number)
        reply(head + _struct.pack(">HHHHH", 0x8180, 1, 1 if record else 0, 0, 0) + question + record)


def made_up(family: int, number: int) -> bytes:
    """The n-th made-up address, packed."""
    if family == _socket.AF_INET:
        return (0xC6120000 + number).to_bytes(4, "big")
    return bytes.fromhex("fd696e74656e0000000000000000")[:12] + number.to_bytes(4, "big")


def number_of(address: bytes) -> int:
    """Which made-up address a packed one is; 0 for any other."""
    if len(address) == 4:
        number = int.from_bytes(address, "big") - 0xC6120000
        return number if 0 < number < 1 << 17 else 0
    return int.from_bytes(address[12:], "big") if address[:12] == made_up(_socket.AF_INET6, 0)[:12] else 0
