from __future__ import annotations

import json
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from pilotage.api.traffic import changed_traffic, traffic_json, traffic_metrics
from pilotage.table.traffic import RouteTraffic
from tests.support.api_server import serving

if TYPE_CHECKING:
    import pytest

WEB = RouteTraffic(
    requests=9, errors=2, in_progress=1, measured=3, duration_sum=0.5, durations={1.0: 3, 0.1: 1, float("inf"): 3}
)


def test_metrics_of_routes_are_valid_and_escaped() -> None:
    text = b"".join(traffic_metrics({"web": WEB, 'a"b\\c\nd': RouteTraffic(requests=1)})).decode()
    found = {
        (sample.name, sample.labels["route"], sample.labels.get("le", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["pilotage_route_requests_total", 'a"b\\c\nd', ""] == 1
    web = {name + le: value for (name, route, le), value in found.items() if route == "web"}
    assert web == {
        "pilotage_route_requests_total": 9,
        "pilotage_route_errors_total": 2,
        "pilotage_route_requests_in_progress": 1,
        "pilotage_route_duration_seconds_bucket0.1": 1,
        "pilotage_route_duration_seconds_bucket1": 3,
        "pilotage_route_duration_seconds_bucket+Inf": 3,
        "pilotage_route_duration_seconds_sum": 0.5,
        "pilotage_route_duration_seconds_count": 3,
    }


def test_infinity_is_not_in_json() -> None:
    assert [it["le"] for it in traffic_json(WEB)["duration_s"]["buckets"]] == [0.1, 1.0]


def test_only_what_has_changed_is_reported() -> None:
    assert changed_traffic({"web": WEB, "gone": WEB}, {"web": WEB, "new": WEB}) == {
        "new": traffic_json(WEB),
        "gone": None,
    }


async def test_figures_of_routes_are_served_as_json_metrics_and_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.api.events._TRAFFIC", 0.01)
    async with serving() as caller:
        assert await caller.json("/v1/traffic") == {"routes": {}}
        caller.source.counted = {"web": WEB}
        expected = {
            "requests": 9,
            "errors": 2,
            "in_progress": 1,
            "duration_s": {"count": 3, "sum": 0.5, "buckets": [{"le": 0.1, "count": 1}, {"le": 1.0, "count": 3}]},
        }
        assert await caller.json("/v1/traffic") == {"routes": {"web": expected}}
        _, metrics = await caller.raw("/metrics")
        assert b'pilotage_route_requests_total{route="web"} 9\n' in metrics
        assert b"pilotage_event_to_table_seconds" in metrics
        async with caller.session.get(caller.url + "/v1/events?traffic") as answer:
            found = []
            async for line in answer.content:
                if line.startswith(b"event: traffic"):
                    await answer.content.readline()
                    found.append(json.loads((await answer.content.readline()).removeprefix(b"data: ")))
                    caller.source.counted = {}
                    if len(found) == 2:
                        break
        assert found == [{"web": expected}, {"web": None}]
        async with caller.session.get(caller.url + "/v1/events") as answer:
            caller.source.counted = {"web": WEB}
            caller.engine.add("more")
            async for line in answer.content:
                assert b"traffic" not in line
                if b'"more"' in line:
                    break
