from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.overload.v3 import overload_pb2  # noqa: F401  # these are parsed by name
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,  # noqa: F401  # a type that the bootstrap names
)
from envoy.extensions.resource_monitors.fixed_heap.v3 import fixed_heap_pb2  # noqa: F401
from envoy.extensions.resource_monitors.injected_resource.v3 import injected_resource_pb2  # noqa: F401
from google.protobuf import json_format

from pilotage.gateway.binary import find_envoy
from pilotage.gateway.process import Gateway
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.options import GatewayOptions
from pilotage.xds.server import AdsServer
from tests.support.gateway import becomes, route, target
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.xds.conftest import Envoy


@pytest.mark.parametrize("address", ["unix:/run/x.sock", "127.0.0.1:9000", "[::1]:9000", "control.example.org:9000"])
@pytest.mark.parametrize(
    "tls", [None, {"ca": "/ca.pem", "certificate": "/c.pem", "key": "/k.pem"}], ids=["plain", "tls"]
)
def test_envoy_accepts_the_bootstrap(address: str, tls: dict[str, str] | None, tmp_path: Path) -> None:
    made = build_bootstrap(address, "me", tls=tls, admin="/run/admin.sock")
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


@pytest.mark.parametrize("names", [("localhost", "127.0.0.1"), ("other.lan", "127.0.0.2")], ids=["its name", "another"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_remote_control_plane_must_have_a_certificate_for_its_name(
    tmp_path: Path, host: str, names: tuple[str, ...]
) -> None:
    authority = trustme.CA()
    ours, theirs = authority.issue_cert(*names), authority.issue_cert("edge")
    roots, place = authority.cert_pem.bytes(), f"{host}:{free_port()}"
    authority.cert_pem.write_to_path(tmp_path / "ca")
    theirs.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    theirs.private_key_pem.write_to_path(tmp_path / "key")
    made = build_bootstrap(place, "edge", tls={use: str(tmp_path / use) for use in ("ca", "certificate", "key")})
    envoy = Gateway(made, tmp_path, binary=find_envoy(), workers=1)
    async with AdsServer(GatewayOptions(http_port=0)) as ads:
        ads.publish(Table())
        await ads.start(place, tls=(roots, ours.cert_chain_pems[0].bytes(), ours.private_key_pem.bytes()))
        running = asyncio.create_task(envoy.run())
        try:
            await until((tmp_path / "admin.sock").exists)
            if "localhost" in names:
                await until(lambda: ads.nodes == ("edge",))
            else:
                await becomes(partial(_has_failed, tmp_path / "admin.sock"), True)
                assert ads.nodes == ()
        finally:
            running.cancel()
            await asyncio.wait([running])


async def _has_failed(admin: Path) -> bool:
    """Return whether Envoy rejected the certificate because of its name."""
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(admin))) as client,
            client.get("http://envoy/stats?filter=ssl.fail_verify_san") as answer,
        ):
            text = await answer.text()
    except OSError:
        return False
    return text.strip() != "" and not text.strip().endswith(": 0")


async def test_envoy_logs_no_warning_at_startup(envoy: Envoy) -> None:
    async with envoy() as gw:
        warnings = [line for line in gw.log.splitlines() if "[warning]" in line]
        # The only ways to pass on methods that Envoy does not know and to choose what is compressed; and a setting that
        # it deprecates but still requires.
        known = ("allow_custom_methods", "content_type", "access_loggers.stats.v3.Config.stat_prefix")
        assert [line for line in warnings if not any(it in line for it in known)] == []


async def test_envoy_keeps_only_the_statistics_that_are_read(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        await gw.publish(route("app", it.port, service=("local", "shop", "web")))
        assert (await gw.ask("app")).status == 200
        await gw.publish(route("held", endpoints=(), hold=20.0))
        await gw.publish(route("held", it.port, hold=20.0))
        assert (await gw.ask("held")).status == 200
        connector = aiohttp.UnixConnector(str(gw.directory / "admin.sock"))
        async with aiohttp.ClientSession(connector=connector) as admin, admin.get("http://envoy/stats") as answer:
            lines = (await answer.text()).splitlines()
        assert [line for line in lines if "route/app" in line or "route/held" in line] == []
        assert any(line.startswith("http.http.downstream_rq_2xx: 2") for line in lines)
