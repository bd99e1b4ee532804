"""Regexes for Envoy, tried in Python on bytes, as Envoy does. Envoy itself: test_rule_routes."""

from __future__ import annotations

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.rules import Pattern, parse_condition
from pilotage.xds.rule_patterns import (
    LONGEST_REGEX,
    canonical_path,
    cookie_regex,
    header_regex,
    host_regex,
    is_nullable,
    network_regex,
    path_regex,
    prefix_regex,
    query_regex,
    rewritten_path_regex,
)


def pattern(text: str) -> Pattern:
    ((check,),) = parse_condition(f"host {text}")
    assert check.pattern is not None
    return check.pattern


def found(regex: str, value: str) -> bool:
    return re.fullmatch(regex.encode(), value.encode()) is not None


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("/a", ["/a", "/a/", "//a", "/%61?x", "/%2Fa", "/%2f.%2fa"], ["/ab", "/a/b", "/", "/A", "/a%3f"]),
        ("'/a b!'", ["/a%20b!", "/a%20b%21"], ["/a+b!"]),
        ("/é", ["/é", "/%c3%A9"], ["/e"]),
        ("glob(/a/*)", ["/a/", "/a/b/c?d", "/a/%20"], ["/a", "/b?/a/"]),
        ("glob(*.css)", ["/x.css", "/x%2ecss?v"], ["/x?y.css"]),
        ("glob(/?)", ["/x", "/%20", "/é", "/%C3%A9"], ["/", "/ab"]),
        ("regex(^/v[0-9]+$)", ["/v1", "/v%31?x"], ["/v", "/v1/", "/x/v1"]),
        ("regex([^a]$)", ["/b", "/%62?a", "/%C3%A9"], ["/a"]),
        (
            "/admin/x",
            ["/admin;a/x;b=/", "/%3b/admin%3Bq/x?;", "/.%3b/admin//;/x;"],
            ["/admin/;x", "/adm;in/x", "/admin/y;/x"],
        ),
        ("glob(/a/*.css)", ["/a/x.css;v", "/a/;y/x.css?b"], ["/a/x;y.css", "/a/x%3B.css", "/a;/x;/.cs"]),
        ("regex(^/a.b$)", ["/a;x/b", "/axb;x"], ["/a;b", "/a;xb"]),
        ("regex((?i)ADMIN)", ["/x/admin/y", "/%41dmin"], ["/adm?in"]),
    ],
)
def test_paths_match_whatever_their_encoding(text: str, yes: list[str], no: list[str]) -> None:
    regex = path_regex(pattern(text))
    assert [value for value in yes if not found(regex, value)] == []
    assert [value for value in no if found(regex, value)] == []


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("/z/b", ["/a/b", "/a/b/?x"], ["/z/b", "/ab"]),
        ("/z", ["/a", "/a/"], ["/a/b"]),
        ("glob(/z*)", ["/a", "/axy"], []),
        ("regex(^/z/[0-9]$)", ["/a/1"], ["/a/x", "/z/1"]),
        ("regex(b)", ["/ab", "/a/b"], ["/a", "/b"]),
        ("/other", [], ["/a", "/other", "/aother"]),
    ],
)
def test_paths_match_after_a_rewrite(text: str, yes: list[str], no: list[str]) -> None:
    regex = rewritten_path_regex(pattern(text), "/a", "/z")
    assert [value for value in yes if not found(regex, value)] == []
    assert [value for value in no if found(regex, value)] == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a//b/./c", "/a/b/c"), ("/a/../b", "/b"), ("/a/b/", "/a/b/"), ("/a/.", "/a/"), ("//", "/"), ("/..", "/")],
)
def test_a_path_has_one_form(path: str, expected: str) -> None:
    assert canonical_path(path) == expected


def test_a_pattern_that_needs_parameters_of_a_path_is_refused() -> None:
    for text in ("'/a;b'", "glob(/a;*)", "regex(;jsessionid)", "regex(a|(b;)+)"):
        with pytest.raises(ValueError, match="';' never matches"):
            path_regex(pattern(text))
    with pytest.raises(ValueError, match="';' never matches"):
        rewritten_path_regex(pattern("/a"), "/b", "/a;b")


def test_queries_match_by_name_and_decoded_value() -> None:
    exists, value = query_regex("a b", None), query_regex("k", pattern("'x y'"))
    assert all(found(exists, it) for it in ("/?a+b", "/?a%20b=1", "/p?z&a+b=&c"))
    assert not any(found(exists, it) for it in ("/", "/a+b", "/?xa+b", "/?z=a+b"))
    assert all(found(value, it) for it in ("/?k=x+y", "/?a=1&%6b=x%20y&b"))
    assert not any(found(value, it) for it in ("/?k=x+yz", "/?ak=x+y", "/?k"))
    assert found(query_regex("k", pattern("glob(*)")), "/?k")
    assert found(query_regex("k", pattern("regex(^a)")), "/?k=ab")
    with pytest.raises(ValueError, match="at the ends"):
        query_regex("k", pattern("regex(x|^a)"))


def test_cookies_match_by_name_and_value() -> None:
    regex = cookie_regex("sid", pattern("regex(^a.*z$)"))
    assert all(found(regex, it) for it in ("sid=az", 'x=1; sid="abz"; y=2', "x=1;sid=az"))
    assert not any(found(regex, it) for it in ("xsid=az", "sid=a; x=z", "sid=azy"))
    assert found(cookie_regex("sid", None), "a=b; sid=")


def test_headers_match_as_a_whole_or_as_items_of_a_list() -> None:
    exact, regex = header_regex("X", pattern("b")), header_regex("X", pattern("regex(^b$)"))
    for it in (exact, regex):
        assert all(found(it, value) for value in ("b", "a, b", "a,b,c"))
        assert not any(found(it, value) for value in ("B", "ab", "a b"))
    assert found(header_regex("Connection", pattern("Upgrade")), "keep-alive, upgrade")


def test_hosts_ignore_case_port_and_final_dot() -> None:
    regex = host_regex(pattern("app.example"))
    assert all(found(regex, it) for it in ("app.example", "App.Example:443", "app.example."))
    assert not found(regex, "app.example.org")
    assert found(host_regex(pattern("glob(*.example)")), "a.b.example:80")
    assert found(host_regex(pattern("regex(example$)")), "x.example:80")
    assert not found(host_regex(pattern("app:80")), "app:81")


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES, st.integers(0, 128), ADDRESSES)
def test_networks_match_their_addresses(base: object, length: int, address: object) -> None:
    assert isinstance(base, ipaddress.IPv4Address | ipaddress.IPv6Address)
    assert isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    network = ipaddress.ip_network(f"{base}/{length % (base.max_prefixlen + 1)}", strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None:
        written = f"{address.version}:{int(address):0{address.max_prefixlen // 4}x}"
        inside = network.version == address.version and address in network
        assert found(network_regex(str(network)), written) is inside
        first = network.network_address
        assert found(network_regex(str(network)), f"{first.version}:{int(first):0{first.max_prefixlen // 4}x}")


def test_mapped_networks_are_those_of_ipv4() -> None:
    assert network_regex("::ffff:10.0.0.0/104") == network_regex("10.0.0.0/8") == "4:0a[0-9a-f]{6}"


def test_patterns_that_are_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        path_regex(pattern("glob(/" + "é?" * 400 + ")"))
    with pytest.raises(ValueError, match="outside ASCII"):
        path_regex(pattern("regex([à-ǿ])"))
    assert len(path_regex(pattern("/" + "a/" * 70))) < LONGEST_REGEX
    assert is_nullable(pattern("glob(*)"))
    assert not is_nullable(pattern("a"))
    assert found(prefix_regex("/a/"), "/%61%2F")
