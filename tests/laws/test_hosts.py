"""What is taken for a server: nothing but its one spelling, and no address in the clothes of a name (SPEC §5.1)."""

import socket

from hypothesis import given
from hypothesis import strategies as st

from intents import errors, hosts, kinds, model
from tests.laws import generate

LABELS = st.text(st.sampled_from("0127xafbz-"), min_size=1, max_size=6)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
ODD = st.text(st.sampled_from("0127xafzA.*:[]/-_%@ \u0430。"), max_size=24)
PORTS = st.sampled_from(["443", "0", "65535", "65536", "0443", "443/udp", "443/tcp", ""])
WIDE = ("internet", "lan", "host")
TEXTS = st.one_of(
    st.text(max_size=40),
    st.builds("{}:{}".format, st.one_of(NAMES, ODD), PORTS),
    st.builds("[{}]:{}".format, st.one_of(ODD, st.ip_addresses(v=6).map(str)), PORTS),
    st.builds("{}/{}:443".format, st.ip_addresses(v=4), st.integers(0, 33)),
)


def read(text: str) -> hosts.Target | None:
    try:
        return hosts.parse(text)
    except errors.ManifestError as error:
        assert error.code == "bad-host" and error.hint.endswith((".", "`"))
        return None


@given(TEXTS)
def test_what_is_accepted_has_one_spelling(text: str) -> None:
    found = read(text)
    assert found is None or (found.text == text and found.covers(found) and text.isascii() and text == text.lower())


@given(TEXTS)
def test_no_name_is_an_address_to_libc(text: str) -> None:
    found = read(text)
    if found is not None and found.network is None:
        try:
            socket.inet_aton(found.host)
        except OSError:
            return
        raise AssertionError(found.host)


@given(generate.SCOPES, generate.SCOPES, st.data())
def test_more_of_the_network_is_never_less_risky(one: model.Scope, two: model.Scope, data: st.DataObject) -> None:
    host = data.draw(generate.machines([]))
    wide = data.draw(st.sampled_from([one, *(kinds.from_data({"kind": "network", "scope": each}) for each in WIDE)]))
    for low in (two, wide.meet(two)):
        if low is not None and low.kind in ("network", "listen") and wide.covers(low):
            assert wide.risk(host) >= low.risk(host)
