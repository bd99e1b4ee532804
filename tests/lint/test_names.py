from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage.lint.names import ClaimedNames
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import LoadBalance
from tests.support.gateway import route

if TYPE_CHECKING:
    from pilotage import Route


def pooled(alias: str, link: str = "shop") -> Route:
    return route(alias, 80, load_balance=LoadBalance(link=link))


def said(*services: tuple[str, Route], domains: tuple[str, ...] = ()) -> list[str]:
    names = ClaimedNames(domains)
    return [problem.message for service, each in services for problem in names.add(service, [each])]


def test_a_service_may_claim_many_names() -> None:
    assert said(("web", route("shop", 80)), ("web", route("shop.a.com", 80)), ("web", pooled("x", "y"))) == []


def test_an_alias_of_two_services_is_reported_once() -> None:
    assert said(("a", route("shop", 80)), ("b", route("shop", 80))) == ["service 'a' also uses the alias 'shop'"]


def test_services_may_share_a_pool() -> None:
    assert said(("a", pooled("one")), ("b", pooled("two")), ("c", pooled("shop"))) == []


def test_a_pool_and_an_alias_of_one_name_are_reported() -> None:
    assert said(("a", pooled("one")), ("b", route("shop", 80))) == ["service 'a' is in the pool 'shop'"]
    assert said(("a", route("shop", 80)), ("b", pooled("one"))) == ["service 'a' has the alias 'shop'"]


def test_a_full_name_and_the_alias_that_answers_for_it_are_reported_in_either_order() -> None:
    short, full = ("a", route("shop", 80)), ("b", route("shop.a.com", 80))
    assert said(short, full) == ["service 'a' claims 'shop', and the alias 'shop' also answers for 'shop.a.com'"]
    assert said(full, short) == ["service 'b' claims 'shop.a.com', and the alias 'shop' also answers for 'shop.a.com'"]
    assert said(short, full, domains=("b.com",)) == said(full, short, domains=("b.com",)) == []
    assert len(said(short, full, domains=(".a.com",))) == 1


def test_streams_and_excluded_routes_claim_no_host() -> None:
    stream = route("shop", 80, scheme="tcp")
    assert said(("a", stream), ("b", route("shop.a.com", 80))) == []
    assert said(("a", route("shop", 80, excluded=True)), ("b", route("shop.a.com", 80))) == []


def on_port(alias: str, **fields: Any) -> Route:
    return route(alias, 80, port=PortPair(7001, 80), **fields)


def test_a_port_of_two_services_is_reported_unless_they_can_share_it() -> None:
    expected = ["service 'a' also listens on tcp port 7001"]
    db, other = on_port("db", scheme="tcp"), on_port("other", scheme="tcp")
    assert said(("a", db), ("b", other)) == said(("a", db), ("b", on_port("web"))) == expected
    assert said(("a", on_port("one", bind="10.0.0.1", scheme="tcp")), ("b", on_port("web"))) == expected
    assert said(("a", on_port("one", bind="10.0.0.1")), ("b", on_port("web", bind="10.0.0.2"))) == []
    assert said(("a", on_port("one", bind="10.0.0.1")), ("b", on_port("web", bind="::"))) == []
    assert said(("a", on_port("one")), ("b", on_port("web"))) == []
    assert said(("a", db), ("b", on_port("dns", scheme="udp"))) == []
    pool = LoadBalance(link="db")
    members = [on_port(name, scheme="tcp", load_balance=pool) for name in ("one", "two")]
    assert said(("a", members[0]), ("b", members[1])) == []
    assert said(("a", db), ("b", on_port("gone", scheme="tcp", excluded=True))) == []
