from __future__ import annotations

from typing import Any

from pilotage.dashboard.icons import Icons
from pilotage.dashboard.lists import Lists
from pilotage.dashboard.rates import Rates
from pilotage.table.traffic import RouteTraffic
from tests.support.dashboard import dashboard


async def page(name: str, rates: Rates | None = None) -> dict[str, Any]:
    async with dashboard() as site:
        found = await Lists(site.source, rates or Rates(), Icons()).route(name)
    assert isinstance(found, dict)
    return found


async def test_each_setting_names_its_label_and_what_that_overrides() -> None:
    (part,) = (await page("plain"))["parts"]
    (route,) = part["routes"]
    port = next(fact for fact in route["facts"] if fact.name == "port")
    assert (port.value, port.source.label) == ("80", "proxy.plain.port")
    assert [(other.value, other.label) for other in port.instead_of] == [("81", "proxy.*.port")]


async def test_endpoints_have_their_states() -> None:
    found = await page("api")
    assert [(it["container"], it["state"].words) for it in found["endpoints"]] == [
        ("api-1", "ready"),
        ("api-2", "starting"),
    ]


async def test_requests_and_what_envoys_have_are_shown() -> None:
    rates = Rates()
    rates.add(0.0, {"shop": RouteTraffic(requests=0)})
    rates.add(1.0, {"shop": RouteTraffic(requests=20)})
    found = await page("shop", rates)
    assert found["traffic"] == {
        "rate": "20", "points": "", "requests": 1200, "errors": 3, "share": "0.2%", "in_progress": 2, "mean": "50 ms",
    }  # fmt: skip
    assert [(it["node"], it["state"].words) for it in found["envoys"]] == [("edge", "accepted"), ("odd", "rejected")]
    assert found["address"] == "http://shop.localhost:8080"
    assert [change.kind for change in found["changes"]] == ["added"]


async def test_a_sleeping_route_says_so() -> None:
    assert (await page("wiki"))["sleep"] == "asleep; the next request wakes it"
