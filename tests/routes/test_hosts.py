from __future__ import annotations

import pytest

from pilotage.routes.hosts import clean_domains, first_label, is_host, served_name
from pilotage.routes.schema import LoadBalance
from tests.support.gateway import route


@pytest.mark.parametrize("name", ["shop", "my_shop-2", "shop.example.com", "*.example.com", "SHOP", "xn--bcher-kva.de"])
def test_clients_can_request_these_names(name: str) -> None:
    assert is_host(name)


UNSERVABLE = """|shop.|.shop|a..b|*|*shop|a.*.b|münchen.de|\u017fhop|\u212aiosk|a b|a:80|__any__|__ANY__.com"""


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
