from __future__ import annotations

from pilotage.dashboard.rates import Rates, rate_text
from pilotage.table.traffic import RouteTraffic


def counters(**requests: int) -> dict[str, RouteTraffic]:
    return {name: RouteTraffic(requests=number) for name, number in requests.items()}


def test_a_rate_is_the_difference_of_two_counters_by_the_time_between_them() -> None:
    rates = Rates()
    rates.add(10.0, counters(shop=100))
    assert rates.of("shop") is None
    rates.add(15.0, counters(shop=160))
    found = rates.of("shop")
    assert found is not None
    assert (found.words, found.points) == ("12", "")
    for second, requests in ((20.0, 190), (25.0, 190), (30.0, 220), (35.0, 280)):
        rates.add(second, counters(shop=requests))
    found = rates.of("shop")
    assert found is not None
    assert (found.words, found.points) == ("12", "0,1.0 15,8.0 30,15.0 45,8.0 60,1.0")


def test_a_counter_that_has_become_smaller_belongs_to_a_new_envoy() -> None:
    rates = Rates()
    rates.add(0.0, counters(shop=1000))
    rates.add(1.0, counters(shop=5))
    found = rates.of("shop")
    assert found is not None
    assert found.words == "5.0"


def test_routes_without_requests_take_no_memory() -> None:
    rates = Rates()
    rates.add(0.0, counters(shop=1, idle=1))
    rates.add(1.0, counters(shop=2, idle=1))
    assert rates.of("idle") is None
    for second in range(2, 40):
        rates.add(float(second), {})
    assert rates.of("shop") is None


def test_rates_are_short() -> None:
    assert [rate_text(rate) for rate in (0, 0.2, 0.04, 1.26, 9.96, 123.4)] == ["0", "0.2", "0.04", "1.3", "10.0", "123"]
