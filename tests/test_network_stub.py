"""The resolver of a sandbox: whom it knows, how long it waits, and that nothing makes it grow (SPEC §10.6)."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.network import message, rules, stub

A, AAAA = message.A, message.AAAA


def ask(name: str, kind: int = A, number: int = 7, group: int = 1) -> bytes:
    told = b"".join(bytes([len(each)]) + each.encode() for each in name.split(".") if each)
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + told + b"\0" + struct.pack(">HH", kind, group)


class Scene:
    """A stub, what it sent to the dialer, and what it made the relay listen on."""

    def __init__(self, *told: str, six: bool = True) -> None:
        self.sent: list[bytes] = []
        self.listened: list[tuple[str, int, int]] = []
        self.full = False
        self.rules = rules.Rules([each.encode() for each in told])
        self.stub = stub.Stub(self.rules, self.listen, self.sent.append, six)
        self.replies: list[bytes] = []

    def listen(self, protocol: str, number: int, port: int) -> None:
        if self.full:
            raise OSError("too many open files")
        self.listened.append((protocol, number, port))

    def ask(self, name: str, kind: int = A, now: float = 100.0) -> bytes:
        """The reply, empty while there is none."""
        before = len(self.replies)
        self.stub.ask(ask(name, kind), now, self.replies.append)
        return b"".join(self.replies[before:])


def found(reply: bytes) -> list[bytes]:
    return message.addresses_in(reply) or []


GRANTED = (
    "connect web tcp www.example.org 443 -",
    "connect web tcp www.example.org 80 -",
    "connect all tcp *.example.net 443 -",
    "connect lan tcp 192.168.1.0/24 631 -",
)


def test_each_name_has_an_address_of_its_own_in_the_order_of_the_rules() -> None:
    scene = Scene(*GRANTED, "connect other tcp other.example 22 -")
    assert scene.stub.names() == [(2, "www.example.org"), (3, "other.example")]
    assert found(scene.ask("WWW.example.ORG")) == [bytes([198, 18, 0, 2])]
    assert found(scene.ask("other.example", AAAA)) == [bytes.fromhex("fd696e74656e") + bytes(9) + b"\3"]
    for family in (2, 10):
        assert stub.number_of(stub.made_up(family, 3)) == 3
    assert stub.number_of(bytes([198, 20, 0, 3])) == stub.number_of(bytes(16)) == 0


@pytest.mark.parametrize("kind", [5, 12, 15, 16, 33, 64, 65, 255])
def test_other_types_of_a_granted_name_are_empty(kind: int) -> None:
    reply = Scene(*GRANTED).ask("www.example.org", kind)
    assert message.code_of(reply) == message.OKAY and reply[6:8] == b"\0\0"


def test_a_sandbox_without_ipv6_gets_no_such_address() -> None:
    reply = Scene(*GRANTED, six=False).ask("www.example.org", AAAA)
    assert message.code_of(reply) == message.OKAY and found(reply) == []


@pytest.mark.parametrize(
    "name", ["example.org", "example.net", "notexample.net", "x.www.example.org", "localhost", "", "1.168.192"]
)
def test_what_is_not_granted_does_not_exist_and_nobody_is_asked(name: str) -> None:
    scene = Scene(*GRANTED)
    assert message.code_of(scene.ask(name)) == message.NO_SUCH_NAME
    assert [each.split()[0] for each in scene.sent] == [b"tried"]


def test_another_class_is_refused_and_garbage_complained_about() -> None:
    scene = Scene(*GRANTED)
    scene.stub.ask(ask("www.example.org", group=3), 1.0, scene.replies.append)
    scene.stub.ask(ask("www.example.org")[:-1], 1.0, scene.replies.append)
    scene.stub.ask(b"", 1.0, scene.replies.append)
    assert [message.code_of(each) for each in scene.replies] == [message.REFUSED, message.MALFORMED]


def test_any_name_below_a_wildcard_has_an_address_that_is_listened_on() -> None:
    scene = Scene(*GRANTED)
    first, again, second = (found(scene.ask(name)) for name in ("a.example.net", "a.example.net", "x.y.example.net"))
    assert first == again and first != second
    number = stub.number_of(first[0])
    assert scene.listened[0] == ("tcp", number, 443)
    target = scene.stub.target(number, 443, "tcp")
    assert target is not None and (target[0].intent, target[1]) == ("all", "a.example.net")
    assert scene.stub.target(number, 80, "tcp") is None and scene.stub.target(number, 443, "udp") is None


@pytest.mark.parametrize("number", [-1, 0, 1, 4, 1 << 17, 1 << 40])
def test_an_address_that_nobody_was_given_leads_nowhere(number: int) -> None:
    assert Scene(*GRANTED).stub.target(number, 443, "tcp") is None


def test_of_many_names_the_least_used_loses_its_address_and_not_too_soon() -> None:
    scene = Scene(*GRANTED)
    numbers = [stub.number_of(found(scene.ask(f"n{each}.example.net", now=100.0))[0]) for each in range(stub.POOL)]
    assert len(set(numbers)) == stub.POOL
    assert message.code_of(scene.ask("late.example.net", now=101.0)) == message.FAILED
    scene.ask("n0.example.net", now=105.0)
    taken = stub.number_of(found(scene.ask("late.example.net", now=112.0))[0])
    assert taken == numbers[1]
    target = scene.stub.target(taken, 443, "tcp")
    assert target is not None and target[1] == "late.example.net"
    assert len(scene.stub.names()) == stub.POOL + 1


def test_without_descriptors_a_new_name_fails_and_works_later() -> None:
    scene = Scene(*GRANTED)
    scene.full = True
    assert message.code_of(scene.ask("a.example.net")) == message.FAILED
    assert scene.stub.names() == [(2, "www.example.org")]
    scene.full = False
    assert found(scene.ask("a.example.net")) == [bytes([198, 18, 0, 3])]


def test_the_dialer_looks_up_what_is_about_to_be_dialled_once_a_second() -> None:
    scene = Scene(*GRANTED)
    for kind, now in ((A, 100.0), (AAAA, 100.0), (A, 100.5), (A, 101.0)):
        scene.ask("www.example.org", kind, now)
    assert scene.sent == [b"look www.example.org"] * 2


ASKING = ("connect web tcp www.example.org 443 ask", "connect web tcp *.example.net 443 ask")


def test_a_name_that_asks_waits_for_its_person_and_is_asked_about_once() -> None:
    scene = Scene(*ASKING)
    assert [scene.ask("www.example.org"), scene.ask("www.example.org", AAAA), scene.ask("b.example.net")] == [b""] * 3
    assert scene.sent == [b"may s1 www.example.org", b"may s2 b.example.net"]
    assert scene.rules.add("connect web tcp www.example.org 443 -")
    scene.stub.added(scene.rules.connects[-1])
    scene.stub.answered(b"ok s1")
    assert [len(found(each)) for each in scene.replies] == [1, 1]
    scene.stub.answered(b"no s2 not-granted")
    assert message.code_of(scene.replies[-1]) == message.NO_SUCH_NAME
    assert found(scene.ask("www.example.org")) != [] and scene.ask("b.example.net") == b""
    scene.rules.drop("web")
    assert message.code_of(scene.ask("www.example.org")) == message.NO_SUCH_NAME


def test_an_answer_without_its_rule_gives_nothing() -> None:
    scene = Scene(*ASKING)
    assert scene.ask("www.example.org") == b""
    scene.stub.answered(b"ok s1")
    assert found(scene.replies[-1]) == []


def test_a_rule_that_asks_beside_one_that_does_not_holds_nothing_here() -> None:
    assert found(Scene(*ASKING, "connect web tcp www.example.org 80 -").ask("www.example.org")) != []


def test_waiting_is_bounded_in_time_and_number() -> None:
    scene = Scene(*ASKING)
    for _ in range(stub.WAITING):
        assert scene.ask("www.example.org") == b""
    assert message.code_of(scene.ask("www.example.org")) == message.FAILED
    for each in range(stub.HELD - 1):
        assert scene.ask(f"n{each}.example.net") == b""
    assert message.code_of(scene.ask("more.example.net")) == message.FAILED
    before = len(scene.replies)
    assert scene.stub.tick(100.0 + stub.PATIENCE - 1) == 100.0 + stub.PATIENCE
    assert scene.stub.tick(100.0 + stub.PATIENCE) is None
    assert {message.code_of(each) for each in scene.replies[before:]} == {message.FAILED}
    assert len(scene.replies) - before == stub.WAITING + stub.HELD - 1
    scene.stub.answered(b"ok s1")  # too late, and of nobody's interest


def test_any_name_is_asked_of_the_host_where_that_is_granted() -> None:
    scene = Scene(*GRANTED, "resolve names any")
    assert scene.ask("elsewhere.example", 16) == b""
    verb, number, asked = scene.sent[0].split(b" ", 2)
    query = message.parse_query(asked)
    assert (verb, number) == (b"query", b"s1") and query is not None and query.name == "elsewhere.example"
    scene.stub.answered(b"answer s1 " + message.answer(query, message.OKAY))
    assert scene.replies == [message.answer(query, message.OKAY)]
    assert found(scene.ask("www.example.org")) == [bytes([198, 18, 0, 2])]


@pytest.mark.parametrize(
    "told", [b"no s1 unresolved", b"answer s1 ", b"answer s1 garbage", b"answer s1 " + ask("a.b"), b"ok s1"]
)
def test_what_is_no_answer_is_a_failure(told: bytes) -> None:
    scene = Scene("resolve names any")
    scene.ask("elsewhere.example")
    scene.stub.answered(told)
    assert [message.code_of(each) for each in scene.replies] == [message.FAILED]


def test_forwarding_is_bounded_and_some_names_and_types_never_are() -> None:
    scene = Scene("resolve names any")
    for name in ("localhost", "a.localhost", "x.onion", "printer.local", ""):
        assert message.code_of(scene.ask(name)) == message.NO_SUCH_NAME
    assert message.code_of(scene.ask("a.example", 252)) == message.NOT_IMPLEMENTED
    assert scene.sent == []
    for each in range(stub.FORWARDED):
        assert scene.ask(f"n{each}.example") == b""
    assert message.code_of(scene.ask("more.example")) == message.FAILED
    scene.stub.tick(100.0 + stub.UPSTREAM)
    assert len(scene.replies) == 6 + 1 + stub.FORWARDED
    assert scene.ask("more.example", now=120.0) == b""


def test_tries_are_counted_and_told_once_a_second() -> None:
    scene = Scene(*GRANTED)
    for _ in range(5):
        scene.ask("spy.example")
    assert scene.sent == [b"tried dns spy.example 53 not-granted 1"]
    assert scene.stub.tick(100.5) == 101.0
    assert scene.stub.tick(101.0) is None
    assert scene.sent[1:] == [b"tried dns spy.example 53 not-granted 4"]


def test_a_hundred_thousand_names_make_nothing_grow() -> None:
    scene = Scene(*GRANTED)
    for each in range(100_000):
        scene.stub.ask(ask(f"n{each}.example"), 100.0 + each / 50_000, lambda _reply: None)
    assert len(scene.sent) <= 3 * stub.TOLD
    for each in range(40):
        scene.stub.tick(200.0 + 2 * each)
    assert sum(int(told.split()[-1]) for told in scene.sent) == 100_000
    assert scene.stub.tick(400.0) is None


def test_a_rule_that_comes_later_counts_at_once() -> None:
    scene = Scene(*GRANTED)
    scene.ask("a.example.net")
    for line in ("connect new tcp new.example 22 -", "connect new tcp *.example.net 80 -"):
        (rule,) = rules.Rules([line.encode()]).connects
        scene.rules.connects.append(rule)
        scene.stub.added(rule)
    assert found(scene.ask("new.example")) == [bytes([198, 18, 0, 4])]
    assert scene.listened[1:] == [("tcp", 4, 22), ("tcp", 3, 80)]


def test_an_answer_is_remembered_for_a_moment_and_not_beyond_the_rules_that_it_was_given_by() -> None:
    scene = Scene(*GRANTED)
    query = ask("www.example.org")
    again = b"\x12\x34" + query[2:]
    assert scene.stub.again(query, 100.0) == b""
    scene.stub.ask(query, 100.0, scene.replies.append)
    assert scene.stub.again(again, 100.9) == b"\x12\x34" + scene.replies[0][2:]
    assert scene.stub.again(ask("www.example.org", AAAA), 100.9) == b""
    scene.rules.drop("web", "www.example.org", "80")
    assert scene.stub.again(again, 100.9) == b""
    scene.stub.ask(query, 100.9, scene.replies.append)
    assert scene.stub.again(query, 101.8) == scene.replies[1]
    assert scene.stub.again(query, 102.0) == b"", "the dialer is to be told now and then"
    scene.stub.ask(query, 102.0, scene.replies.append)
    scene.rules.drop("web")
    assert scene.stub.again(query, 102.1) == b""


def test_only_so_much_is_remembered_and_no_name_that_may_lose_its_address() -> None:
    scene = Scene(*GRANTED)
    for name in ("a.example.net", "no.example"):
        scene.stub.again(ask(name), 100.0)
        scene.stub.ask(ask(name), 100.0, scene.replies.append)
        assert scene.stub.again(ask(name), 100.1) == b""
    kinds = range(1, stub.SAID + 10)
    for kind in kinds:
        scene.stub.ask(ask("www.example.org", kind), 100.2, scene.replies.append)
    assert sum(bool(scene.stub.again(ask("www.example.org", kind), 100.3)) for kind in kinds) == stub.SAID


@given(st.lists(st.sampled_from(["www.example.org", "a.example.net", "b.example.net", "no.example"]), max_size=30))
def test_an_address_always_leads_back_to_the_name_that_was_asked(asked: list[str]) -> None:
    scene = Scene(*GRANTED)
    for name in asked:
        for address in found(scene.ask(name)):
            target = scene.stub.target(stub.number_of(address), 443, "tcp")
            assert target is not None and target[1] == name
