from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.xds.auth_services import ForwardAuth
from pilotage.xds.combining import Edits
from pilotage.xds.middlewares import Rate, route_policy


def test_middleware_and_option_names_ignore_case_and_underscores() -> None:
    read = route_policy({"ModifyRequest": {"setHeaders": {"A": 1}, "HIDE_HEADERS": "b, c"}, "SetXForwarded": None})
    assert read.request == Edits((("A", "1"),), (), ("b", "c"))
    assert read.forwarded == "set"
    assert read.problems == ()


def test_options_may_be_yaml_strings() -> None:
    read = route_policy({"response": {"set_headers": "A: 1\nB: two", "hide_headers": "- X\n- Y"}})
    assert read.answer == Edits((("A", "1"), ("B", "two")), (), ("X", "Y"))


def test_all_supported_middlewares_are_parsed() -> None:
    read = route_policy(
        {
            "cidr_whitelist": {"allow": "10.0.0.1, fd00::/8"},
            "rate_limit": {"average": "10", "period": "1m"},
            "forwardauth": None,
            "redirect_http": None,
            "request": {"add_prefix": "api/v1/", "set_headers": {"host": "x"}},
            "real_ip": {"header": "X-Forwarded-For", "from": ["10.0.0.0/8"]},
        }
    )
    assert read.problems == ()
    assert read.allow == ("10.0.0.1/32", "fd00::/8")
    assert read.rate == Rate(10, 10, 60.0)
    assert read.auth == ForwardAuth(
        "tinyauth", "/api/auth/traefik", ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
    )
    assert (read.redirect, read.prefix, read.host) == (True, "/api/v1/", "x")
    assert read.address_from == ("x-forwarded-for", ("10.0.0.0/8",))


@pytest.mark.parametrize(
    ("middlewares", "servable"),
    [
        ({"oidc": {"scope": "openid"}}, False),
        ({"oidc": {"issuer_url": "auth.example.com"}}, False),
        ({"crowdsec": {"route": "crowdsec"}}, False),
        ({"crowdsec": {"route": "10.0.0.1", "api_key": "k"}}, False),
        ({"crowdsec": {"route": "crowdsec", "api_key": "k", "port": 7422}}, True),
        ({"hcaptcha": {"site_key": "a"}}, False),
        ({"hcaptcha": {"site_key": "a b", "secret_key": "s"}}, False),
        ({"hcaptcha": {"site_key": "a", "secret_key": "s", "session_expiry": "1s"}}, False),
        ({"modify_html": {}}, True),
        ({"themed": {}}, True),
        ({"error_page": {"colour": 1}}, True),
        ({"cloudflare_real_ip": {"bypass": ["path /"]}}, True),
        ({"real_ip": {"from": "10.0.0.0/8", "recursive": True}}, True),
        ({"cidr_whitelist": {}}, False),
        ({"cidr_whitelist": {"allow": ["10.0.0.0/33"]}}, False),
        ({"cidr_whitelist": {"allow": ["10.0.0.0/8"], "status_code": 299}}, True),
        ({"cidr_whitelist": {"alow": ["10.0.0.0/8"], "allow": ["10.0.0.0/8"]}}, False),
        ({"rate_limit": {"average": 0}}, False),
        ({"rate_limit": {"average": 1, "period": "1ms"}}, False),
        ({"rate_limit": {"average": 1, "period": "soon"}}, False),
        ({"forwardauth": {"auth_endpoint": "/a b"}}, False),
        ({"forwardauth": {"headers": ["a b"]}}, False),
        ({"forwardauth": {"bypass": ["pth /"]}}, False),
        ({"request": {"set_headers": {"a b": "x"}}}, True),
        ({"request": {"set_headers": {"a": "x\ny"}}}, True),
        ({"request": {"set_headers": "just text"}}, True),
        ({"request": {"hide_headers": "Host"}}, True),
        ({"request": {"add_prefix": "/a?b"}}, True),
        ({"request": {"add_prefix": "/größe"}}, True),
        ({"request": {"set_headers": {"a": "x\x7fy"}}}, True),
        ({"request": {"set_headers": {"a": "%" * 9_000}}}, True),
        ({"request": {"set_headers": {"a" * 17_000: "x"}}}, True),
        ({"request": {"set_headers": {"Content-Length": 5}}}, True),
        ({"request": {"add_headers": {"Transfer-Encoding": "chunked"}}}, True),
        ({"request": {"set_headers": {"Host": "two words"}}}, True),
        ({"request": {"set_headers": {"Host": None}}}, True),
        ({"response": {"set_headers": {"Host": "x"}}}, True),
        ({"response": {"add_headers": {"connection": "close"}}}, True),
        ({"response": {"hide_headers": "host, server"}}, True),
        ({"forwardauth": {"headers": ["Host"]}}, False),
        ({"forwardauth": {"headers": ["content-length"]}}, False),
        ({"forwardauth": {"auth_endpoint": "/prüfen"}}, False),
        ({"response": {"colour": "red"}}, True),
    ],
    ids=str,
)
def test_unsupported_options_are_reported_and_fail_closed_if_they_restrict_access(
    middlewares: dict[str, Any], servable: bool
) -> None:
    read = route_policy(middlewares)
    assert read.servable is servable
    assert len(read.problems) == 1
    assert read.problems[0].path.startswith("middlewares.")
    if read.problems[0].message.endswith("not supported by pilotage's gateway"):
        assert read.problems[0].hint == "remove it"


def test_invalid_headers_do_not_affect_the_others() -> None:
    read = route_policy({"response": {"set_headers": {"Host": "x", "A": "1"}, "hide_headers": "Host, Server"}})
    assert read.answer == Edits((("A", "1"),), (), ("Server",))
    read = route_policy({"request": {"add_headers": {"Content-Length": "5", "B": "%" * 8_192}}})
    assert read.request == Edits((), (("B", "%" * 8_192),), ())


_options = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_names = st.sampled_from(
    "allow average burst period headers route auth_endpoint set_headers hide_headers add_prefix from".split()
)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(MIDDLEWARES)), st.none() | st.dictionaries(_names, _options, max_size=4), max_size=3
    )
)
def test_any_options_give_a_policy(middlewares: dict[str, Any]) -> None:
    route_policy(middlewares)


@pytest.mark.parametrize("option", ["set_headers", "add_headers"])
@pytest.mark.parametrize(
    "name", "Connection content-length Keep-Alive proxy-connection Transfer-Encoding Upgrade".split()
)
def test_a_framing_header_is_reported_and_not_set(name: str, option: str) -> None:
    for middleware in ("request", "response"):
        read = route_policy({middleware: {option: {name: "1", "B": "2"}}})
        (problem,) = read.problems
        assert (problem.message, problem.path) == (
            f"{name!r} is set by the gateway on every request and response",
            f"middlewares.{middleware}.{option}",
        )
        edits = read.request if middleware == "request" else read.answer
        assert edits == (Edits((("B", "2"),)) if option == "set_headers" else Edits((), (("B", "2"),)))
    read = route_policy({"forwardauth": {"headers": f"{name}, Remote-User"}})
    assert read.auth is not None
    assert read.auth.headers == ("Remote-User",)


def test_a_network_may_be_written_with_the_address_of_a_host_in_it() -> None:
    read = route_policy({"cidr_whitelist": {"allow": "10.1.2.3/8, fd00::1/8"}})
    assert (read.allow, read.problems) == (("10.0.0.0/8", "fd00::/8"), ())


def test_every_middleware_may_have_a_priority() -> None:
    supported: dict[str, dict[str, Any]] = {
        "request": {"set_headers": {"A": "1"}},
        "response": {"set_headers": {"A": "1"}},
        "set_x_forwarded": {},
        "hide_x_forwarded": {},
        "redirect_http": {},
        "cidr_whitelist": {"allow": "10.0.0.0/8"},
        "rate_limit": {"average": 5},
        "forwardauth": {"route": "auth"},
        "real_ip": {"from": "10.0.0.0/8"},
    }
    for name, options in supported.items():
        assert route_policy({name: {**options, "priority": 5}}) == route_policy({name: options})
        assert route_policy({name: {**options, "Priority": 5}}).problems == ()


@pytest.mark.parametrize(
    ("middlewares", "path", "hint"),
    [
        ({"request": {"set_headers": {"a": "%" * 9_000}}}, "request.set_headers", "keep it below 16 kB"),
        ({"request": {"add_headers": {"a": "x\ny"}}}, "request.add_headers", "keep it on one line"),
        ({"request": {"set_headers": {"a b": "x"}}}, "request.set_headers", ""),
        ({"request": {"set_headers": "just text"}}, "request.set_headers", ""),
        ({"request": {"set_headers": {"Upgrade": "x"}}}, "request.set_headers", "remove it"),
        ({"request": {"set_headers": {"Host": "a b"}}}, "request.set_headers", "write a name such as app.internal"),
        ({"request": {"hide_headers": "Host"}}, "request.hide_headers", "remove it"),
        ({"request": {"add_prefix": "/a?b"}}, "request.add_prefix", "percent-encode other characters, such as %20"),
        ({"response": {"add_headers": {"Host": "x"}}}, "response.add_headers", "remove it"),
        ({"cidr_whitelist": {"allow": "x"}}, "cidr_whitelist.allow", "write one such as 10.0.0.0/8"),
        ({"cidr_whitelist": {}}, "cidr_whitelist", "write allow: [10.0.0.0/8]"),
        ({"rate_limit": {"burst": 0}}, "rate_limit.burst", ""),
        ({"rate_limit": {"period": "1ms"}}, "rate_limit.period", ""),
        ({"forwardauth": {"auth_endpoint": "x"}}, "forwardauth.auth_endpoint", "write one such as /api/auth"),
        ({"forwardauth": {"headers": "Host"}}, "forwardauth.headers", "remove it"),
        ({"real_ip": {"from": "x"}}, "real_ip.from", "write one such as 10.0.0.0/8"),
        ({"response": {"hide_headesr": "x"}}, "response", "did you mean 'hide_headers'?"),
        ({"response": {"colour": "x"}}, "response", "remove it"),
    ],
    ids=str,
)
def test_a_problem_names_the_option_and_the_remedy(middlewares: dict[str, Any], path: str, hint: str) -> None:
    (problem,) = route_policy(middlewares).problems
    assert (problem.path, problem.hint) == (f"middlewares.{path}", hint)


@pytest.mark.parametrize(
    ("middlewares", "message", "hint"),
    [
        (
            {"redirect_http": {"bypass": ["pth /"]}},
            "'pth' is not a condition, so the middleware applies to every request",
            "did you mean 'path'?",
        ),
        ({"request": {"set_headers": "just text"}}, "expected lines such as 'Name: value'", ""),
        ({"request": {"set_headers": {"a b": "x"}}}, "'<hidden>' is not a valid header name", ""),
        (
            {"request": {"set_headers": {"A": "x\ny"}}},
            "the value of A is not a valid header value",
            "keep it on one line",
        ),
        (
            {"request": {"set_headers": {"A": "x" * 16_385}}},
            "a header value of 16385 bytes is too long for Envoy",
            "keep it below 16 kB",
        ),
        (
            {"request": {"set_headers": {"Host": "a b"}}},
            "the value of Host is not a host name",
            "write a name such as app.internal",
        ),
        ({"request": {"hide_headers": "Host"}}, "the Host header cannot be removed", "remove it"),
        ({"response": {"set_headers": {"Host": "x"}}}, "a response has no Host header", "remove it"),
        ({"cidr_whitelist": {}}, "'allow' needs at least one network", "write allow: [10.0.0.0/8]"),
        (
            {"cidr_whitelist": {"allow": "10.0.0.1", "message": "x" * 1_001}},
            "the message has more than 1,000 characters, so it is not used",
            "shorten it",
        ),
        ({"rate_limit": {"period": "999ms"}}, "the period is too short; it must be at least 1s", ""),
        ({"rate_limit": {"burst": "1000000000"}}, "'1000000000' is not a whole number from 1 to 999999999", ""),
        (
            {"forwardauth": {"headers": "Host"}},
            "the Host header cannot be taken from the auth service's response",
            "remove it",
        ),
    ],
    ids=str,
)
def test_a_problem_says_what_is_wrong(middlewares: dict[str, Any], message: str, hint: str) -> None:
    (problem,) = route_policy(middlewares).problems
    assert (problem.message, problem.hint) == (message, hint)


def test_limits_of_values_belong_to_what_is_accepted() -> None:
    read = route_policy(
        {
            "request": {"set_headers": {"A" * 16_384: "1", "B": "x" * 16_384, "C": "x\ty"}},
            "rate_limit": {"average": "999999999", "burst": 1, "period": "1s"},
            "cidr_whitelist": {"allow": "10.0.0.1", "status": "403", "status_code": 403},
        }
    )
    assert read.problems == ()
    assert read.request is not None
    assert [len(name) for name, _ in read.request.put] == [16_384, 1, 1]
    assert read.rate == Rate(999_999_999, 1, 1.0)


def test_options_have_defaults() -> None:
    assert route_policy({"rate_limit": None}).rate == Rate(1, 1, 1.0)
    assert route_policy({"rate_limit": {"average": 7}}).rate == Rate(7, 7, 1.0)
    assert route_policy({"real_ip": None}).address_from == ("x-real-ip", ())
    read = route_policy({"forwardauth": {"route": "AUTH", "headers": ["A", None, " "]}})
    assert read.problems == ()
    assert read.auth == ForwardAuth("auth", "/api/auth/traefik", ("A",))


@pytest.mark.parametrize(
    ("own", "listed", "message"),
    [
        ("cidr_whitelist", {"allow": "192.168.0.0/16"}, "no client can be in all lists of networks of this route"),
        ("rate_limit", {"average": 5}, "a route can have only one middleware of this kind"),
        ("forwardauth", {"route": "other"}, "a route can have only one middleware of this kind"),
    ],
)
def test_middlewares_that_contradict_each_other_close_the_route(own: str, listed: Any, message: str) -> None:
    first: dict[str, Any] = {
        "cidr_whitelist": {"allow": "10.0.0.0/8"},
        "rate_limit": {"average": 1},
        "forwardauth": None,
    }
    read = route_policy({own: first[own], f"x@file\n000\n{own}": listed})
    assert [problem.message for problem in read.problems] == [message]
    assert not read.servable


def test_the_order_follows_priorities_and_not_the_mapping() -> None:
    one = {"x@file\n000\nrequest": {"set_headers": {"A": "file"}, "add_prefix": "/in"}}
    for priority, value, prefix in ((9, "file", "/in/out/"), ("11", "own", "/out/in/")):
        own = {"request": {"set_headers": {"A": "own"}, "add_prefix": "out", "priority": priority}}
        for both in ({**one, **own}, {**own, **one}):
            read = route_policy(both)
            assert (read.request.put, read.prefix, read.problems) == ((("A", value),), prefix, ())
    (problem,) = route_policy({"request": {"priority": "first"}}).problems
    assert (problem.path, problem.message) == ("middlewares.request.priority", "'first' is not a whole number")


def test_lists_that_nothing_has_filled_in_close_the_route() -> None:
    read = route_policy({"lan@file": None})
    assert not read.servable
    assert read.problems[0].path == "middlewares.lan@file"
