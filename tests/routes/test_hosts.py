from __future__ import annotations

import pytest

from pilotage.routes.hosts import caught_by, clean_domains, first_label, is_host, mistake_in, served_name
from pilotage.routes.schema import LoadBalance
from tests.support.gateway import route


@pytest.mark.parametrize(
    "name", ["shop", "my_shop-2", "shop.example.com", "*.example.com", "SHOP", "xn--bcher-kva.de", "*"]
)
def test_clients_can_request_these_names(name: str) -> None:
    assert is_host(name)


UNSERVABLE = """|shop.|.shop|a..b|**|*shop|a.*.b|münchen.de|\u017fhop|\u212aiosk|a b|a:80|~any~|~ANY~.com"""


@pytest.mark.parametrize("name", UNSERVABLE.split("|"))
def test_clients_cannot_request_these_names(name: str) -> None:
    assert not is_host(name)


def test_a_route_answers_under_its_alias_or_that_of_its_pool() -> None:
    assert served_name(route("app", 80)) == "app"
    assert served_name(route("app", 80, load_balance=LoadBalance(link="shop"))) == "shop"
    assert served_name(route("app", 80, scheme="tcp")) == ""
    assert served_name(route("app", 80, excluded=True)) == ""


def test_the_first_label_of_a_full_name_is_an_alias() -> None:
    assert [first_label(name) for name in ("shop.example.com", "shop", "*.example.com", "")] == ["shop", "", "", ""]


def test_domains_lose_dots_and_case_and_repetitions() -> None:
    assert clean_domains([".Example.com.", "example.com", " lan ", ""]) == ("example.com", "lan")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("https://url.example.com", "is a URL, not a host name", "write url.example.com"),
        ("https://", "is a URL, not a host name", "write a name such as shop or shop.example.com"),
        ("path.example.com/app", "has a path", "write path.example.com"),
        ("shop.example.com:8443", "has a port", "write shop.example.com; the label port sets the target's port"),
        ("host(`shop.example.com`)", "is a rule of another proxy", "write shop.example.com"),
        ("pathprefix(`/app`)", "is a rule of another proxy", "write a name such as shop or shop.example.com"),
        ("'shop'", "has quotes", "remove the quotes"),
        ("`shop`", "has quotes", "remove the quotes"),
        ("[a", "has a bracket, which does not belong in a list of names", "separate the names with commas: a, b"),
        ("b]", "has a bracket, which does not belong in a list of names", "separate the names with commas: a, b"),
        ("ä|ö", "'ä|ö' is not one name", "separate the names with commas: a, b"),
        ("https://bücher.example.com/x", "is a URL", "write xn--bcher-kva.example.com"),
        ("match:", "no client can request the host 'match:'", "write a name of letters"),
        ("a|b", "is not one name", "separate the names with commas: a, b"),
        ("a;b", "is not one name", "separate the names with commas: a, b"),
        (
            ".lead.example.com",
            "begins with a dot",
            "write lead.example.com, or *.lead.example.com for the names below it",
        ),
        ("shop.*.com", "has a wildcard in the wrong place", "write it as the first label alone: *.example.com"),
        ("${name}", "contains a variable that was not replaced", "set the variable, or write the name itself"),
        ("a b", "no client can request the host 'a b'", "write a name of letters, digits, dashes and dots"),
        ("~any~", "no client can request the host", "write a name of letters"),
        ("", "no client can request the host ''", "write a name of letters"),
    ],
)
def test_a_name_that_can_never_be_a_host_is_explained(name: str, message: str, hint: str) -> None:
    found = mistake_in(name)
    assert found is not None
    assert message in found[0]
    assert found[1].startswith(hint)


@pytest.mark.parametrize("name", UNSERVABLE.split("|"))
def test_whatever_cannot_be_requested_has_an_explanation(name: str) -> None:
    assert mistake_in(name) is not None


def test_a_name_that_clients_can_request_needs_no_explanation() -> None:
    assert [mistake_in(name) for name in ("shop", "*.example.com", "*")] == [None, None, None]


def test_wildcards_say_what_they_catch() -> None:
    assert caught_by("*") == "every host that no other route has"
    assert caught_by("*.lan") == "every host one label below lan, such as any.lan, that no other route has"
    assert caught_by("shop.lan") == ""


def test_domains_are_spelled_as_clients_request_them() -> None:
    assert clean_domains(["bücher.example.com"]) == ("xn--bcher-kva.example.com",)
