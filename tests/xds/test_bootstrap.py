from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,  # noqa: F401  # a type that the bootstrap names
)
from google.protobuf import json_format

from pilotage.xds.bootstrap import bootstrap
from tests.support.gateway import route, target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.xds.conftest import Envoy


@pytest.mark.parametrize("address", ["unix:/run/x.sock", "127.0.0.1:9000", "[::1]:9000", "control.example.org:9000"])
@pytest.mark.parametrize(
    "tls", [None, {"ca": "/ca.pem", "certificate": "/c.pem", "key": "/k.pem"}], ids=["plain", "tls"]
)
def test_envoy_can_read_it(address: str, tls: dict[str, str] | None, tmp_path: Path) -> None:
    made = bootstrap(address, "me", tls=tls, admin="/run/admin.sock")
    read = json_format.ParseDict(made, bootstrap_pb2.Bootstrap())
    assert read.node.id == "me"
    assert read.stats_flush_on_admin
    (cluster,) = read.static_resources.clusters
    assert cluster.HasField("transport_socket") is (tls is not None)
    place = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address
    if address.startswith("unix:"):
        assert place.pipe.path == "/run/x.sock"
    else:
        assert place.socket_address.port_value == 9000
        assert place.socket_address.address in {"127.0.0.1", "::1", "control.example.org"}


async def test_envoy_finds_nothing_to_warn_of_at_its_start(envoy: Envoy) -> None:
    async with envoy(compression=False) as gw:
        assert "[warning]" not in gw.log


async def test_envoy_counts_of_each_route_what_somebody_reads(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, service=("local", "shop", "web")))
        assert (await gw.ask("app")).status == 200
        connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as admin, admin.get("http://envoy/stats") as answer:
            lines = (await answer.text()).splitlines()
        counted = {line.partition(": ")[0].removeprefix("cluster.route/app.") for line in lines if "route/app" in line}
        assert counted >= {"upstream_rq_total", "upstream_rq_2xx", "upstream_rq_retry", "upstream_cx_connect_fail"}
        assert counted >= {"membership_healthy", "upstream_rq_time", "upstream_cx_rx_bytes_total"}
        assert len(counted) < 20
        assert any(line.startswith("http.http.downstream_rq_2xx: 1") for line in lines)
