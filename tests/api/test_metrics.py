from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pilotage.api.metrics import CountingConnection, Metrics, endpoint
from pilotage.core.problems import Problem
from pilotage.discovery.manager import discover
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.pool import Pool
from pilotage.gateway.process import GatewayStatus
from pilotage.routes.route import EndpointHealth
from pilotage.testing import FakeEngine
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.engine.address import Address
    from pilotage.engine.connection import Connection


def values_of(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name, with labels as ``name{value,…}`` in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        assert family.documentation, f"{family.name} is not explained"
        for sample in family.samples:
            labels = ",".join(sample.labels[name] for name in sorted(sample.labels))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_metrics_of_engines_table_gateway_and_reloads_are_read_at_scrape_time() -> None:
    metrics = Metrics()

    def connect(address: Address) -> Connection:
        connection = CountingConnection(address)
        connection.calls = metrics.calls
        return connection

    async with FakeEngine() as engine, Pool(connect=connect) as pool:
        engine.add("web", labels={"proxy.web.port": "80"})
        engine.add("db", image="postgres:17", ports=(5432,))
        async with discover([DockerProviderConfig(engine.url, name="local")], pool=pool) as discovery:
            metrics.watch(
                discovery,
                problems=lambda: (
                    Problem(message="a", route="new", refused=True),
                    Problem(message="b", severity="warning"),
                ),
                gateway=lambda: GatewayStatus("ready", 1, 3),
                reloads={"taken": 2, "refused": 1},
            )
            await discovery.ready()
            engine.add("new", labels={"proxy.new.port": "80"})
            await until(lambda: "new" in discovery.table.routes)
            address = discovery.table.routes["new"].endpoints[0].address
            discovery.set_health({"new": {address: EndpointHealth("unhealthy")}})
            found = values_of(metrics)
            expected = {
                "pilotage_engine_up{local}": 1,
                "pilotage_engine_events_total{local}": discovery.watcher("local").events,
                "pilotage_engine_reconnects_total{local}": 0,
                "pilotage_engine_calls_total{list,local}": 1,
                "pilotage_engine_calls_total{events,local}": 1,
                "pilotage_routes{served}": 1,
                "pilotage_routes{refused}": 1,
                "pilotage_routes{excluded}": 1,
                "pilotage_routes{stale}": 0,
                "pilotage_table_version": discovery.table.version,
                "pilotage_problems{error}": 1,
                "pilotage_problems{warning}": 1,
                "pilotage_gateway_up": 1,
                "pilotage_gateway_restarts_total": 3,
                "pilotage_probed_endpoints{healthy}": 0,
                "pilotage_probed_endpoints{unhealthy}": 1,
                "pilotage_probed_endpoints{pending}": 0,
                "pilotage_config_reloads_total{taken}": 2,
                "pilotage_config_reloads_total{refused}": 1,
                "pilotage_nacks_total": 0,
            }
            assert {name: found[name] for name in expected} == expected
            assert found["pilotage_engine_calls_total{list:id,local}"] >= 1
            assert found["pilotage_engine_last_sync_timestamp_seconds{local}"] == pytest.approx(
                discovery.table.engines["local"].since, abs=60
            )
            assert sum(engine.calls[name] for name in ("list", "list:id")) == sum(
                value for name, value in found.items() if name.startswith("pilotage_engine_calls_total{list")
            )
            await engine.close()
            await until(lambda: discovery.table.engines["local"].state == "stale")
            assert values_of(metrics)["pilotage_engine_up{local}"] == 0
            assert values_of(metrics)["pilotage_routes{stale}"] == 1


async def test_without_a_gateway_there_are_no_gateway_metrics() -> None:
    metrics = Metrics()
    async with discover([]) as discovery:
        metrics.watch(discovery, problems=tuple, gateway=lambda: None, reloads={})
        assert not any("gateway" in name or "probed" in name for name in values_of(metrics))


def test_lags_are_counted_in_seconds() -> None:
    metrics = Metrics()
    metrics.reached_table(0.0015)
    metrics.accepted(0.15)
    metrics.accepted(0.003)
    found = values_of(metrics)
    assert found["pilotage_event_to_table_seconds_bucket{0.002}"] == 1
    assert found["pilotage_event_to_table_seconds_bucket{0.001}"] == 0
    assert found["pilotage_table_to_ack_seconds_count"] == 2
    assert found["pilotage_table_to_ack_seconds_sum"] == pytest.approx(0.153)


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/containers/json", {"all": "1"}, "list"),
        ("/containers/json", {"all": "1", "filters": "{}"}, "list:id"),
        ("/containers/web/json", {}, "inspect"),
        ("/containers/web/stop", {"t": "5"}, "stop"),
        ("/events", {}, "events"),
        ("/_ping", {}, "ping"),
    ],
)
def test_requests_are_counted_by_path(path: str, query: dict[str, str], name: str) -> None:
    assert endpoint(path, query) == name
