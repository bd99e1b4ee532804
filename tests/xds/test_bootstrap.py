from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,  # noqa: F401  # a type that the bootstrap names
)
from google.protobuf import json_format

from pilotage.xds.bootstrap import bootstrap

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
