from __future__ import annotations

from pilotage.routes.route import Endpoint
from pilotage.xds.downgrade import Downgrade
from tests.support.gateway import route
from tests.support.steps import same_cost, steps_of


def test_a_route_is_http_once_all_its_targets_speak_plain_http() -> None:
    found, it = Downgrade(), route("app", 1, 2, scheme="https")
    assert found.apply("app", it) == (it, ())
    assert found.set_plain("127.0.0.1:1", plain=True) == {"app"}
    assert found.apply("app", it) == (it, ())
    found.set_plain("127.0.0.1:2", plain=True)
    now, problems = found.apply("app", it)
    assert now is not None
    assert now.scheme == "http"
    assert "plain HTTP" in problems[0].message
    found.set_plain("127.0.0.1:2", plain=False)
    assert found.apply("app", it) == (it, ())
    assert found.apply("app", None) == (None, ())
    assert found.https == {}


def test_the_targets_of_a_name_are_its_addresses() -> None:
    found = Downgrade()
    named = Endpoint("nas.lan", 443, addresses=("10.0.0.1", "fd00::1"))
    found.apply("nas", route("nas", scheme="https", endpoints=(named,)))
    assert [it.address for it in found.https["nas"]] == ["10.0.0.1:443", "[fd00::1]:443"]


def test_a_route_that_asks_for_proof_is_never_downgraded() -> None:
    found, it = Downgrade(), route("app", 1, scheme="https", ssl_server_name="app.internal")
    found.set_plain("127.0.0.1:1", plain=True)
    assert found.apply("app", it) == (it, ())


def test_the_routes_of_an_address_are_found_without_a_search() -> None:
    def cost(size: int) -> int:
        found = Downgrade()
        for number in range(size):
            endpoint = Endpoint(f"10.0.{number >> 8}.{number & 255}", 443)
            found.apply(f"app{number}", route(f"app{number}", scheme="https", endpoints=(endpoint,)))
        return steps_of(lambda: found.set_plain("10.0.0.7:443", plain=True))

    assert same_cost(cost(10_000), cost(100))


def test_only_the_routes_that_lead_to_an_address_now_are_affected() -> None:
    found = Downgrade()
    for alias in ("one", "two"):
        found.apply(alias, route(alias, 1, scheme="https"))
    found.apply("two", route("two", 2, scheme="https"))
    assert found.set_plain("127.0.0.1:1", plain=True) == {"one"}
    found.apply("one", route("one", 1))
    assert found.set_plain("127.0.0.1:1", plain=True) == set()
