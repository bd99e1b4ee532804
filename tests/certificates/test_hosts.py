from __future__ import annotations

from pilotage.certificates.hosts import MOST_OF_ONE, find_hosts, names_of, uncovered
from pilotage.certificates.settings import AutocertSettings
from pilotage.routes.schema import LoadBalance, RouteSettings
from tests.support.certificates import DNS, entry, route


def served(_alias: str) -> bool:
    return True


def test_full_names_and_aliases_below_match_domains_get_certificates() -> None:
    settings = AutocertSettings((entry(),), ("example.com", "example.org"))
    found = find_hosts([route("shop"), route("www.example.net")], settings, served)
    assert found.wanted == {"main": ["shop.example.com", "shop.example.org", "www.example.net"]}
    assert found.problems == []


def test_excluded_refused_local_and_stream_routes_get_none() -> None:
    settings = AutocertSettings((entry(),))
    routes = [
        route("excluded.example.com", excluded=True),
        route("refused.example.com"),
        route("db.example.com", scheme="tcp"),
        route("nas.local"),
        route("nas.lan"),
        route("shop"),
        route("shop.localhost"),
        route("*"),
        route("*.example.com"),
        route("not a host.com"),
    ]
    assert find_hosts(routes, settings, lambda alias: alias != "refused.example.com").wanted == {"main": []}


def test_a_pool_gets_a_certificate_for_its_name() -> None:
    settings = RouteSettings(load_balance=LoadBalance(link="pool.example.com"))
    found = find_hosts([route("a.example.com", settings=settings)], AutocertSettings((entry(),)), served)
    assert found.wanted == {"main": ["pool.example.com"]}


def test_wildcards_need_a_dns_challenge() -> None:
    dns = entry(method="dns-01", dns=DNS)
    assert find_hosts([route("*.example.com")], AutocertSettings((dns,)), served).wanted == {"main": ["*.example.com"]}


def test_local_names_go_to_the_entry_that_can_have_them() -> None:
    internal = entry(name="extra[0]", method="internal", private=True, authorities=())
    found = find_hosts([route("nas.lan"), route("www.example.com")], AutocertSettings((entry(), internal)), served)
    assert found.wanted == {"main": ["www.example.com"], "extra[0]": ["nas.lan"]}


def test_an_alias_without_a_domain_is_below_localhost_for_our_own_ca() -> None:
    internal = entry(method="internal", private=True, authorities=())
    assert names_of("shop", (), internal) == ["shop.localhost"]
    assert names_of("shop", (), entry()) == []
    assert names_of("shop", ("nas.lan",), internal) == ["shop.nas.lan"]


def test_the_labels_of_one_container_get_a_limited_number_of_names() -> None:
    many = [route(f"n{number:03}.example.com", container="stranger") for number in range(MOST_OF_ONE + 10)]
    own = [route("www.example.org")]
    found = find_hosts(many + own, AutocertSettings((entry(),)), served)
    assert len(found.wanted["main"]) == MOST_OF_ONE + 1
    assert "www.example.org" in found.wanted["main"]
    (problem,) = found.problems
    assert problem.container == "stranger"


def test_hosts_that_no_certificate_covers_are_found_with_the_reason() -> None:
    listed = AutocertSettings((entry("example.com", "*.example.com"),))
    routes = [route("a.example.com"), route("b.example.org"), route("c.lan"), route("shop")]
    assert [(host, why) for _, host, why in uncovered(routes, listed, ["c.lan"])] == [
        ("b.example.org", "it is not in autocert.domains")
    ]
    auto = AutocertSettings((entry(),))
    more = [route("c.lan"), route("*.example.com"), *routes[:2]]
    assert [(host, why) for _, host, why in uncovered(more, auto, [])] == [
        ("c.lan", "it is a local name"),
        ("*.example.com", "a wildcard needs a DNS provider"),
    ]


def test_hosts_with_another_certificate_need_none() -> None:
    listed = entry("a.example.com", "*.example.net", name="listed")
    own = entry(name="internal", method="internal", private=True)
    routes = [route(name) for name in ("a.example.com", "b.example.net", "c.lan", "d.lan")]
    found = find_hosts(routes, AutocertSettings((listed, own)), served, ["C.lan"])
    assert found.wanted == {"internal": ["d.lan"]}


def test_an_alias_without_any_domain_gets_no_public_certificate() -> None:
    public, own = entry(), entry(name="internal", method="internal", private=True)
    why = "it has no domain, and match_domains is not set"
    assert [found[1:] for found in uncovered([route("shop")], AutocertSettings((public,)), [])] == [("shop", why)]
    assert list(uncovered([route("shop")], AutocertSettings((public, own)), [])) == []
    assert list(uncovered([route("shop")], AutocertSettings((public,), ("example.com",)), [])) == []
