"""Names as users write them, from a container's label to a request through a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage import DockerProviderConfig, from_docker
from pilotage.config.engines import DEFAULT_POLICY
from pilotage.routes import build_routes
from pilotage.routes.route import Endpoint
from tests.support.gateway import gateway, target

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.routes.route import Route

pytestmark = pytest.mark.slow


def routes(name: str, aliases: str, port: int) -> tuple[Route, ...]:
    """Return the routes of a container with these aliases that listens on a port of loopback."""
    summary = {
        "Id": name.encode().hex().ljust(64, "0"),
        "Names": [f"/{name}"],
        "State": "running",
        "Labels": {"proxy.aliases": aliases, "proxy.*.port": str(port)},
        "Ports": [{"PrivatePort": port, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}},
    }
    container = from_docker(summary, DockerProviderConfig("unix:///run/docker.sock", name="local"))
    found = build_routes(container, policy=DEFAULT_POLICY).routes
    local = (Endpoint("127.0.0.1", port, name),)
    return tuple(msgspec.structs.replace(it, folders=None, endpoints=local if it.endpoints else ()) for it in found)


@pytest.mark.proves("aliases")
async def test_names_are_served_as_clients_request_them(tmp_path: Path) -> None:
    async with target("named") as named, target("other") as other, gateway(tmp_path) as gw:
        odd = "https://url.lan, path.lan/app, port.lan:80, [a, b], c|d, 'e', Host(`f.lan`)"
        listed = routes("named", f"bücher.example.com, dot.example.com., *.wild.lan, faß, {odd}", named.port)
        others = routes("other", "*", other.port)
        assert [route.alias for route in listed if not route.excluded] == [
            "xn--bcher-kva.example.com",
            "dot.example.com",
            "*.wild.lan",
            "xn--fa-hia",
        ]
        await gw.publish(*listed, *others)
        asked = {
            "xn--bcher-kva.example.com": "named",
            "XN--BCHER-KVA.example.com:8080": "named",
            "xn--bcher-kva.example.com.": "named",
            "dot.example.com": "named",
            "dot.example.com.": "named",
            "a.wild.lan": "named",
            "xn--fa-hia.lan": "named",
            "fass.lan": "other",  # as in browsers, fass is another name than faß
            "a.b.wild.lan": "other",
            "wild.lan": "other",
            "url.lan": "other",
            "unknown": "other",
            "127.0.0.1:8080": "other",
            "[::1]:8080": "other",
        }
        assert {host: (await gw.ask(host)).by for host in asked} == asked
        assert {name.lower(): value for name, value in other.seen[-1][2].items()}["host"] == "[::1]:8080"
        await gw.publish(*listed)
        assert (await gw.ask("unknown")).status == 404
        assert (await gw.ask("a.wild.lan")).by == "named"


async def test_a_default_route_that_restricts_access_restricts_it_for_every_host(tmp_path: Path) -> None:
    async with target("other") as other, gateway(tmp_path) as gw:
        (route,) = routes("other", "*", other.port)
        closed = {"cidr_whitelist": {"allow": "203.0.113.0/24"}}
        settings = msgspec.structs.replace(route.settings, middlewares=closed)
        await gw.publish(msgspec.structs.replace(route, settings=settings))
        hosts = ("unknown", "UNKNOWN", "a.b.c:1", "127.0.0.1", "[::1]", "__any__", "__any__.a")
        assert {(await gw.ask(host)).status for host in hosts} == {403}
        assert other.seen == []
