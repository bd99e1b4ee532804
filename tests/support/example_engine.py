"""A recorded engine with a container for every case that commands report."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from pilotage.cli.sources import recorded
from pilotage.recording.replay import read_recordings, replay_recording
from tests.support.summaries import summary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pilotage.output.view import View
    from pilotage.table.snapshot import EngineSnapshot

__all__ = ["EXAMPLE", "at", "engine_snapshot", "one", "recording", "recording_file", "view"]


def one(name: str, labels: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """An element of the container list with its own ID and age; ``age`` is in minutes."""
    created = 1_700_000_000 - 60 * fields.pop("age", 0)
    container_id = hashlib.sha256(name.encode()).hexdigest()
    return summary(name, labels, Id=container_id, Created=created, **fields)


def at(address: str, network: str = "bridge", **others: str) -> dict[str, Any]:
    """``NetworkSettings`` of a container with an address in a network, and in further networks by name."""
    return {"Networks": {name: {"IPAddress": ip} for name, ip in {network: address, **others}.items()}}


STOPPED: Final[dict[str, Any]] = {"State": "exited", "Status": "Exited (0) 2 hours ago", "Ports": []}
COMPOSE: Final = {"com.docker.compose.project": "store", "com.docker.compose.service": "api"}

SHOP: Final = {
    "proxy.aliases": "shop, admin",
    "proxy.*.healthcheck.path": "/up",
    "proxy.*.port": "80",
    "proxy.shop.port": "8080",
    "proxy.admin": "scheme: https\nport: 9090\nmiddlewares:\n  oidc:\n    client_secret: s3cret\n",
    "proxy.admin.pot": "9443",
}

EXAMPLE: Final = [
    one("whoami"),
    one("shop", SHOP, age=9, Status="Up 3 hours (healthy)"),
    one("shop-copy", {"proxy.aliases": "shop"}, age=5),
    one("db", Image="postgres:17", Ports=[{"PrivatePort": 5432, "Type": "tcp"}]),
    one("hidden", {"proxy.exclude": "yes"}),
    one("stopped", {"proxy.stopped.port": "80", "proxy.stop_method": "pause"}, **STOPPED),
    one("wiki", {"proxy.wiki.port": "3000", "proxy.idle_timeout": "30m", "proxy.stop_method": "pause"}, **STOPPED),
    one("api-1", COMPOSE | {"proxy.aliases": "api"}, age=2, NetworkSettings=at("10.1.0.2", "store_default")),
    one("api-2", COMPOSE | {"proxy.aliases": "api"}, age=1, NetworkSettings=at("10.1.0.3", "store_default")),
    one("ssh", {"proxy.ssh": "scheme: tcp\nport: 2222:22"}),
    one("closed", {"proxy.closed.midlewares.cidr_whitelist.allow": "10.0.0.0/8"}),
    one("lost", {"proxy.network": "fronted"}, NetworkSettings=at("10.2.0.2", "frontend")),
    one("two-nets", {"prxy.two-nets.port": "1"}, NetworkSettings=at("10.3.0.2", "zeta", alpha="10.4.0.2")),
    one("app", {"proxy.other.port": "81"}),
]


def recording(containers: list[dict[str, Any]] | None = None, name: str = "local", **more: Any) -> dict[str, Any]:
    """A recording of an engine with these containers, the example's by default."""
    provider = {"name": name, "url": more.pop("url", "unix:///var/run/docker.sock")}
    return {"provider": provider, "containers": EXAMPLE if containers is None else containers, **more}


def engine_snapshot(containers: list[dict[str, Any]] | None = None, name: str = "local", **more: Any) -> EngineSnapshot:
    """What becomes of such a recording."""
    (read,) = read_recordings(json.dumps(recording(containers, name, **more)).encode())
    return replay_recording(read)


def recording_file(folder: Path, *recordings: dict[str, Any]) -> str:
    """Write recordings, the example's by default, and return the file's name."""
    file = folder / "example.json"
    file.write_text("\n".join(json.dumps(each) for each in recordings or (recording(),)) + "\n")
    return str(file)


def view(folder: Path, *recordings: dict[str, Any]) -> View:
    """What a command sees of such a file."""
    return recorded(recording_file(folder, *recordings))
