from __future__ import annotations

import re

import pytest
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from pilotage.xds.request_checks import FORGEABLE, access_check, bad_host, bad_path, forget_headers, host_check


def _hosts() -> re.Pattern[str]:
    (refused,) = host_check().headers
    assert refused.invert_match
    assert refused.treat_missing_header_as_empty  # so that a request without a host is refused, too
    return re.compile(refused.string_match.safe_regex.regex, re.ASCII)


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("shop", True),
        ("shop.", True),
        ("a_b-c.example.com:65535", True),
        ("10.0.0.1:0", True),
        ("[fe80::1]:8080", True),
        ("shop:", True),
        ("shop:59999", True),
        ("shop:60000", True),
        ("shop:65299", True),
        ("shop:65499", True),
        ("shop:65529", True),
        ("shop:65530", True),
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
    assert bool(_hosts().fullmatch(host)) is accepted


def test_a_refused_host_ends_every_request_with_status_400() -> None:
    abort = host_check().abort
    assert (abort.http_status, abort.percentage.numerator, abort.percentage.denominator) == (400, 100, 0)


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
        ("/a%", True),
        ("/a%4", True),
        ("/a%4g/b", True),
        ("/a%%41", True),
        ("/a%zz", True),
        ("/a;x%2fb", True),
        ("/a%3bx%5C", True),
        ("/a;x/%2fb", False),
        ("/%41%2f%c3", False),
    ],
)
def test_a_path_that_climbs_once_its_slashes_are_decoded_or_has_no_valid_encoding_is_refused(
    path: str, refused: bool
) -> None:
    (rule,) = access_check((), path=True).policies["access"].permissions
    regex = re.compile(rule.url_path.path.safe_regex.regex)
    assert bool(regex.fullmatch(path)) is refused
    reply = re.compile(bad_path().and_filter.filters[1].header_filter.header.string_match.safe_regex.regex)
    assert bool(reply.fullmatch(f"{path}?q=/..%2f%")) is refused


def test_the_reply_to_a_refused_host_has_the_conditions_of_the_refusal() -> None:
    flag, header = bad_host().or_filter.filters
    assert list(flag.response_flag_filter.flags) == ["FI"]
    (condition,) = host_check().headers
    assert header.header_filter.header.string_match == condition.string_match
    assert header.header_filter.header.invert_match


def test_a_reply_to_a_request_whose_headers_envoy_did_not_keep_is_not_about_its_host() -> None:
    _, header = bad_host().or_filter.filters
    assert not header.header_filter.header.treat_missing_header_as_empty


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("name", "removed", "removed_from_proxies"),
    [
        *((f"{name}x" if name.endswith("-") else name, True, False) for name in FORGEABLE),
        *((f"a{name}", False, False) for name in FORGEABLE),
        *((f"{name}x", False, False) for name in FORGEABLE if not name.endswith("-") and name != "forwarded"),
        ("x-envoy-original-dst-host", True, True),
        ("proxy", True, True),
        ("proxy-authorization", False, False),
        ("user-agent", False, False),
        ("x-request-id", False, False),
    ],
)
def test_headers_that_only_a_proxy_may_set_are_removed_from_others(
    name: str, removed: bool, removed_from_proxies: bool, trusted: bool
) -> None:
    mutations = header_mutation_pb2.HeaderMutation()
    assert forget_headers(trusted=trusted).typed_config.Unpack(mutations)
    (rule,) = mutations.mutations  # each further rule would cost every request as much
    matches = re.fullmatch(rule.remove_on_match.key_matcher.safe_regex.regex, name)
    assert bool(matches) is (removed_from_proxies if trusted else removed)


def test_no_header_is_listed_twice() -> None:
    assert len(set(FORGEABLE)) == len(FORGEABLE)


def test_a_path_that_is_refused_is_denied_to_everybody() -> None:
    rules = access_check((), path=True)
    assert rules.action == RBAC.DENY
    (policy,) = rules.policies.values()
    assert [it.any for it in policy.principals] == [True]


@pytest.mark.parametrize("path", [False, True])
def test_only_clients_of_the_networks_are_let_in(path: bool) -> None:
    rules = access_check(("10.0.0.0/8", "::1/128"), path=path)
    assert rules.action == RBAC.ALLOW
    (policy,) = rules.policies.values()
    assert [(it.remote_ip.address_prefix, it.remote_ip.prefix_len.value) for it in policy.principals] == [
        ("10.0.0.0", 8),
        ("::1", 128),
    ]
    (permission,) = policy.permissions
    refused = access_check((), path=True).policies["access"].permissions[0]
    assert permission.not_rule == refused if path else permission.any


def test_only_replies_with_status_403_are_those_to_a_refused_path() -> None:
    status, header = bad_path().and_filter.filters
    comparison = status.status_code_filter.comparison
    assert (comparison.op, comparison.value.default_value) == (comparison.EQ, 403)
    assert comparison.value.runtime_key == "pilotage.refused"
    assert header.header_filter.header.name == ":path"
    assert bad_host().or_filter.filters[1].header_filter.header.name == ":authority"
