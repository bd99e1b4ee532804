from __future__ import annotations

import re

import pytest
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from pilotage.xds.request_checks import FORGEABLE, bad_host, bad_path, forget_headers, host_check, path_check


def _hosts() -> tuple[re.Pattern[str], re.Pattern[str]]:
    allowed, too_high = host_check().rules.policies["refused"].permissions
    valid = allowed.not_rule.header.string_match.safe_regex.regex
    return re.compile(valid, re.ASCII), re.compile(too_high.header.string_match.safe_regex.regex, re.ASCII)


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("shop", True),
        ("shop.", True),
        ("a_b-c.example.com:65535", True),
        ("10.0.0.1:0", True),
        ("[fe80::1]:8080", True),
        ("shop:", True),
        ("shop:65536", False),
        ("shop:65999", False),
        ("shop:70000", False),
        ("shop:123456", False),
        ("shop@evil", False),
        ("shop,evil", False),
        ("a..b", False),
        (".shop", False),
        ("", False),
        ("*.shop", False),
        ("[shop]", False),
    ],
)
def test_a_host_is_a_name_or_an_address_with_a_port_that_exists(host: str, accepted: bool) -> None:
    valid, too_high = _hosts()
    assert (bool(valid.fullmatch(host)) and not too_high.fullmatch(host)) is accepted


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("/..%2fadmin", True),
        ("/a%2F%2e.%2Fb", True),
        ("/a%5c..", True),
        ("/..;/x", True),
        ("/a%2fb", False),
        ("/a%2f..b", False),
        ("/...%2fb", False),
        ("/a..%2fb", False),
    ],
)
def test_a_path_that_climbs_once_its_slashes_are_decoded_is_refused(path: str, refused: bool) -> None:
    (rule,) = path_check().rbac.rules.policies["refused"].permissions
    regex = re.compile(rule.url_path.path.safe_regex.regex)
    assert bool(regex.fullmatch(path)) is refused
    reply = re.compile(bad_path().and_filter.filters[1].header_filter.header.string_match.safe_regex.regex)
    assert bool(reply.fullmatch(f"{path}?q=/..%2f")) is refused


def test_the_reply_to_a_refused_host_has_the_conditions_of_the_refusal() -> None:
    invalid, too_high = (it.header_filter.header for it in bad_host().or_filter.filters)
    assert (invalid.invert_match, too_high.invert_match) == (True, False)
    assert [it.string_match.safe_regex.regex for it in (invalid, too_high)] == [it.pattern for it in _hosts()]


def test_trusted_proxies_lose_fewer_headers() -> None:
    counts = []
    for trusted in (True, False):
        mutations = header_mutation_pb2.HeaderMutation()
        assert forget_headers(trusted=trusted).typed_config.Unpack(mutations)
        counts.append(len(mutations.mutations))
    assert counts == [2, 2 + len(FORGEABLE)]
    assert len(set(FORGEABLE)) == len(FORGEABLE)


def removed(*, trusted: bool) -> tuple[set[str], set[str]]:
    """Return the headers that are removed: by name, and by prefix."""
    found = forget_headers(trusted=trusted)
    assert found.name == "envoy.http.early_header_mutation.header_mutation"
    mutations = header_mutation_pb2.HeaderMutation()
    found.typed_config.Unpack(mutations)
    prefixes = {it.remove_on_match.key_matcher.prefix for it in mutations.mutations if not it.remove}
    return {it.remove for it in mutations.mutations if it.remove}, prefixes


def test_clients_lose_every_header_that_only_proxies_and_auth_services_may_set() -> None:
    assert removed(trusted=True) == ({"proxy"}, {"x-envoy-"})
    names = """proxy forwarded x-rewrite-url x-scheme x-url-scheme front-end-https x-real-ip x-client-ip
        x-cluster-client-ip x-remote-ip x-remote-addr true-client-ip cf-visitor cf-ipcountry fastly-client-ip
        fly-client-ip x-azure-clientip x-remote-user x-remote-group x-proxy-user x-client-cert client-cert
        x-client-verify"""
    prefixes = """x-envoy- x-forwarded- x-original- cf-connecting- remote- x-auth-request- x-authentik- x-webauth-
        x-ssl- ssl-client- x-tls-client-"""
    assert removed(trusted=False) == (set(names.split()), set(prefixes.split()))


def test_what_is_refused_is_denied_to_everybody() -> None:
    for rules in (host_check().rules, path_check().rbac.rules):
        assert rules.action == RBAC.DENY
        (policy,) = rules.policies.values()
        assert [it.any for it in policy.principals] == [True]


def test_only_replies_with_status_403_are_those_to_a_refused_path() -> None:
    status, header = bad_path().and_filter.filters
    comparison = status.status_code_filter.comparison
    assert (comparison.op, comparison.value.default_value) == (comparison.EQ, 403)
    assert comparison.value.runtime_key == "pilotage.refused"
    assert header.header_filter.header.name == ":path"
    assert {it.header_filter.header.name for it in bad_host().or_filter.filters} == {":authority"}
