from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.config.load import read_config
from pilotage.core.addresses import is_address
from pilotage.policy import NO_POLICY, Claimant, Policy
from pilotage.policy.target_addresses import (
    Reach,
    address_kind,
    hint_for,
    is_ordinary,
    is_target_glob,
    leads_here,
    matches_target,
    parse_address,
    same_host,
    special_kind,
    spellings,
)
from tests.support.examples import more_examples

if TYPE_CHECKING:
    from pathlib import Path

WHO = Claimant(engine="local", project="shop", service="web", image="nginx:1")


def nowhere(_: str) -> bool:
    return False


# ---- spellings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0" * 14 + "17700000001", "127.0.0.1"),  # the system accepts any number of zeros
        ("127.0.0." + "0" * 40 + "1", "127.0.0.1"),
        ("0x" + "0" * 40 + "7f000001", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("localhost", "127.0.0.1"),
        ("LOCALHOST.", "127.0.0.1"),
        ("api.localhost", "127.0.0.1"),
        ("ip6-localhost", "127.0.0.1"),
        ("\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54", "127.0.0.1"),  # full-width letters
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("10.0.0.2", "10.0.0.2"),
    ],
)
def test_every_spelling_of_an_address_is_that_address(host: str, address: str) -> None:
    assert str(parse_address(host)) == address


@pytest.mark.parametrize(
    "host", ["db", "db.internal", "4294967296", "9" * 5000, "1.2.3.4.5", "256.1.1.1", "1..2", "", "08.1", "x.1"]
)
def test_other_texts_are_names(host: str) -> None:
    assert parse_address(host) is None
    assert special_kind(host) == ""


@more_examples(3)
@given(st.integers(0, 2**32 - 1), st.data())
def test_what_the_system_reads_as_an_address_is_read_as_the_same_one(number: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, 4))
    heads = [number >> 8 * (3 - place) & 0xFF for place in range(parts - 1)]
    values = [*heads, number & (1 << 8 * (5 - parts)) - 1]
    text = ".".join(data.draw(st.sampled_from([str(v), hex(v), f"0{v:o}"])) for v in values)
    assert str(parse_address(text)) == socket.inet_ntoa(socket.inet_aton(text))


@more_examples(3)
@given(st.ip_addresses(v=4))
def test_no_address_that_needs_a_rule_counts_as_ordinary(address: ipaddress.IPv4Address) -> None:
    assert is_ordinary(str(address)) == (address_kind(address) == "")
    assert is_address(str(address))


EMBEDDINGS = ["::ffff:{}", "::{}", "64:ff9b::{}", "64:ff9b:1::{}", "::ffff:0:{}", "fd00::5efe:{}", "fe80::200:5efe:{}"]


@more_examples(3)
@given(
    st.sampled_from(["127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255"]), st.data()
)
def test_an_ipv6_address_that_stands_for_a_special_one_is_special(inner: str, data: st.DataObject) -> None:
    six_to_four = ipaddress.IPv6Address(0x2002 << 112 | int(ipaddress.IPv4Address(inner)) << 80 | 1)
    teredo = ipaddress.IPv6Address(0x20010000 << 96 | (int(ipaddress.IPv4Address(inner)) ^ 0xFFFFFFFF))
    texts = [form.format(inner) for form in EMBEDDINGS] + [str(six_to_four), str(teredo)]
    text = data.draw(st.sampled_from(texts))
    assert special_kind(text) != "", text
    if text.startswith(("::ffff", "64:")):
        assert special_kind(text) == special_kind(inner)


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("::1", "loopback"),
        ("::", "unspecified"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::2", "unspecified"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("239.1.1.1", "multicast"),
        ("ff02::1", "multicast"),
        ("255.255.255.255", "multicast"),
        ("100.100.100.200", "metadata"),
        ("168.63.129.16", "metadata"),
        ("fd00:ec2::254", "metadata"),
        ("10.0.0.1", ""),
        ("192.168.1.1", ""),
        ("100.64.0.1", ""),
        ("1.1.1.1", ""),
        ("223.255.255.254", ""),
        ("fd00::2", ""),
        ("2001:db8::7f00:1", ""),
        ("::ffff:10.0.0.1", ""),
    ],
)
def test_kinds_of_addresses(host: str, kind: str) -> None:
    assert special_kind(host) == kind


def test_the_same_host_in_two_spellings_is_one() -> None:
    assert same_host("10.0.0.1", "::ffff:10.0.0.1")
    assert same_host("NAS.lan.", "nas.lan")
    assert not same_host("nas.lan", "10.0.0.1")
    assert [str(it) for it in spellings(ipaddress.ip_address("2002:7f00:1::"))] == ["2002:7f00:1::", "127.0.0.1"]


# ---- globs of rules ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "host", "port", "found"),
    [
        ("*", "nas.lan", 80, True),
        ("*", "10.0.0.1", 80, True),
        ("*", "127.0.0.1", 80, False),
        ("*", "169.254.169.254", 80, False),
        ("*:443", "nas.lan", 80, False),
        ("*.internal", "db.internal", 5432, True),
        ("*.internal:5432", "db.internal", 5433, False),
        ("*.internal:5432-5440", "DB.internal.", 5433, True),
        ("nas.lan", "10.0.0.1", 80, False),
        ("10.0.0.0/8", "10.9.9.9", 80, True),
        ("10.0.0.0/8:80", "::ffff:10.9.9.9", 80, True),
        ("10.0.0.0/8", "11.0.0.1", 80, False),
        ("10.1.2.3/8", "10.9.9.9", 80, True),
        ("10.1.2.3/8:80", "10.9.9.9", 80, True),
        ("nas.lan:80", "nas.lan", 79, False),
        ("nas.lan:80", "nas.lan", 81, False),
        ("0.0.0.0/0", "10.0.0.1", 80, True),
        ("0.0.0.0/0", "127.0.0.1", 80, False),  # a broad network does not open loopback
        ("127.0.0.1:9000", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "localhost", 9000, True),
        ("127.0.0.1:9000", "::ffff:7f00:1", 9000, True),
        ("127.0.0.1:9000", "127.0.0.1", 9001, False),
        ("127.0.0.0/8", "127.7.7.7", 1, True),
        ("localhost:9000", "127.0.0.1", 9000, True),
        ("localhost:9000", "::1", 9000, True),
        ("localhost", "127.0.0.2", 9000, False),
        ("[::1]:9000", "::1", 9000, True),
        ("::1", "::1", 9000, True),
        ("fd00::/8", "fd00::1", 1, True),
        ("[fd00::/8]:443", "fd00::1", 443, True),
        ("169.254.169.254:80", "169.254.169.254", 80, True),
        ("no:good", "no", 1, False),
    ],
)
def test_globs_of_targets(glob: str, host: str, port: int, found: bool) -> None:
    assert matches_target(glob, host, port) is found


@pytest.mark.parametrize("glob", ["*", "a.b:1", "10.0.0.0/8:1-2", "::1", "[::1]:1", "fd00::/8"])
def test_texts_that_are_globs(glob: str) -> None:
    assert is_target_glob(glob)


@pytest.mark.parametrize("glob", ["", ":80", "a:b", "a:2-1", "a:70000", "a/b", "[x]:1", "10.0.0.0/99", "a b"])
def test_texts_that_are_none(glob: str) -> None:
    assert not is_target_glob(glob)


# ---- what belongs to a container ---------------------------------------------------------------------------------


def test_an_own_address_is_own_in_any_spelling() -> None:
    reach = Reach(WHO, ("10.0.0.2", "nas.lan"))
    assert reach.owns("::ffff:10.0.0.2", nowhere)
    assert reach.owns("NAS.lan", nowhere)
    assert not reach.owns("127.0.0.1", nowhere)
    assert hash(reach) == hash(Reach(Claimant(), ("10.0.0.2", "nas.lan")))


def test_a_port_published_everywhere_is_own_on_loopback_and_on_all_addresses_of_this_machine() -> None:
    reach = Reach(WHO, (), this_host=frozenset({4}))
    assert reach.owns("localhost", nowhere)
    assert reach.owns("192.168.1.5", "192.168.1.5".__eq__)
    assert not reach.owns("192.168.1.6", "192.168.1.5".__eq__)
    assert not reach.owns("0.0.0.0", nowhere)
    assert not reach.owns("nas.lan", nowhere)


@pytest.mark.parametrize(
    ("host", "versions"),
    [
        ("127.0.0.1", {4}),
        ("localhost", {4}),
        ("::ffff:127.0.0.1", {4}),
        ("64:ff9b::7f00:1", {4}),
        ("::1", {6}),
        ("[::1]", {6}),
        ("2001:db8::5", {6}),
        ("2001:db8::6", set()),
        ("::", set()),
    ],
)
def test_a_port_published_for_one_ip_version_is_not_own_in_the_other(host: str, versions: set[int]) -> None:
    own = {it for it in (4, 6) if Reach(WHO, (), frozenset({it})).owns(host, "2001:db8::5".__eq__)}
    assert own == versions


def test_connections_to_loopback_and_to_no_address_end_here() -> None:
    assert leads_here("::", nowhere)
    assert leads_here("127.8.8.8", nowhere)
    assert leads_here("::ffff:192.168.1.5", "192.168.1.5".__eq__)
    assert not leads_here("nas.lan", nowhere)


# ---- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f000001", "::", "169.254.169.254", "fe80::1", "224.0.0.1"]
)
def test_special_addresses_need_a_rule_and_the_problem_prints_it(host: str, tmp_path: Path) -> None:
    refused = NO_POLICY.may_reach(WHO, host, 9000)
    assert not refused.allowed
    assert refused.hint == hint_for(WHO, host, 9000)
    lines = refused.hint.partition("add to the configuration: ")[2]
    policy = read_config(lines, file="pilotage.yml", folder=tmp_path, env={}).policy
    assert policy.may_reach(WHO, host, 9000).allowed
    assert not policy.may_reach(WHO, host, 9001).allowed
    assert not policy.may_reach(Claimant(engine="local", project="other", service="web"), host, 9000).allowed


def test_own_targets_and_other_machines_need_none() -> None:
    assert NO_POLICY.may_reach(WHO, "127.0.0.1", 9000, own=True).allowed
    assert NO_POLICY.may_reach(WHO, "192.168.1.9", 9000).allowed
    assert NO_POLICY.may_reach(WHO, "nas.lan", 9000).allowed


def test_own_forbids_other_machines() -> None:
    policy = Policy(targets="own")
    refused = policy.may_reach(WHO, "nas.lan", 80)
    assert "gateway.targets is own" in refused.reason
    assert 'targets: ["nas.lan:80"]' in refused.hint
    assert policy.may_reach(WHO, "10.0.0.1", 80, own=True).allowed


def test_names_that_are_not_plain_are_not_written_into_a_rule() -> None:
    hint = hint_for(Claimant(engine="local", image='x"]}, {targets: ["*'), "127.0.0.1", 80)
    assert "policy: [" not in hint


def test_a_container_without_a_service_is_named_by_its_image() -> None:
    who = Claimant(engine="local", project="shop", image="acme/web:1")
    rule = 'remove the host label, or add to the configuration: policy: [{who: {engine: "local", image: "acme/web:1"}, '
    assert hint_for(who, "10.0.0.1", 80) == rule + 'may: {targets: ["10.0.0.1:80"]}}]'
    assert hint_for(who, "fd00::1", 80) == rule + 'may: {targets: ["[fd00::1]:80"]}}]'
    assert hint_for(who, "nas.lan", 80) == rule + 'may: {targets: ["nas.lan:80"]}}]'


@pytest.mark.parametrize(
    ("host", "what"),
    [
        ("127.0.0.1", "a loopback address, which is only for services on this machine"),
        ("0.0.0.0", "not the address of a particular machine"),
        ("169.254.1.1", "a link-local address, where cloud metadata services listen"),
        ("224.0.0.1", "a multicast or broadcast address"),
        ("100.100.100.200", "the address of a cloud's metadata service"),
    ],
)
def test_a_refused_address_is_explained(host: str, what: str) -> None:
    reason = NO_POLICY.may_reach(WHO, host, 80).reason
    assert reason == f"a container's route may not point to {host}:80, because it is {what}"


def test_without_a_plain_name_the_hint_is_general() -> None:
    general = "remove the host label, or allow the target with a rule of the policy"
    assert hint_for(Claimant(engine="local", image="a b"), "127.0.0.1", 80) == general
    assert hint_for(Claimant(engine="local", image="a" * 201), "127.0.0.1", 80) == general
    assert hint_for(Claimant(engine="local", image="a" * 200), "127.0.0.1", 80) != general
