"""Fields whose effect no other test shows, from the text of a label to a request through a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from pilotage import DockerProviderConfig, from_docker
from pilotage.request_service.bodies import BodyService
from pilotage.routes import build_routes
from pilotage.routes.route import Endpoint
from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.envoy import web_server
from tests.support.gateway import gateway, target
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.routes.route import Route

pytestmark = pytest.mark.slow


def routes(labels: dict[str, str], *, name: str = "app", networks: tuple[str, ...] = ("10.0.0.2",)) -> Any:
    """Return the routes of a container with these labels."""
    summary = {
        "Id": name.encode().hex().ljust(64, "0"),
        "Names": [f"/{name}"],
        "State": "running",
        "Labels": {f"proxy.{key}": value for key, value in labels.items()},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {f"net{n}": {"IPAddress": it} for n, it in enumerate(networks)}},
    }
    container = from_docker(summary, DockerProviderConfig("unix:///run/docker.sock", name="local"))
    built = build_routes(container)
    assert [str(it) for it in built.problems] == []
    return built.routes


def local(found: Any, port: int) -> tuple[Route, ...]:
    """Return routes whose endpoints are all a port of loopback."""
    endpoints = (Endpoint("127.0.0.1", port, "app"),)
    return tuple(msgspec.structs.replace(it, endpoints=endpoints if it.endpoints else ()) for it in found)


@pytest.mark.proves("exclude")
async def test_an_excluded_container_is_not_served(tmp_path: Path) -> None:
    async with target() as it, gateway(tmp_path) as gw:
        await gw.publish(*local(routes({"exclude": "false"}), it.port))
        assert (await gw.ask("app")).by == "target"
        await gw.publish(*local(routes({"exclude": "true"}), it.port))
        assert (await gw.ask("app")).status == 404


@pytest.mark.proves("network")
async def test_the_label_chooses_the_network_whose_address_is_used(tmp_path: Path) -> None:
    async with target("one") as one, target("two") as two, gateway(tmp_path) as gw:
        ports = {"10.0.0.2": one.port, "10.1.0.2": two.port}  # what is reached at the addresses of both networks
        for network, by in (("net0", "one"), ("net1", "two")):
            (found,) = routes({"network": network}, networks=tuple(ports))
            (endpoint,) = found.endpoints
            await gw.publish(*local([found], ports[endpoint.host]))
            assert (await gw.ask("app")).by == by


@pytest.mark.proves("host", "port")
async def test_the_port_and_the_host_of_the_target_are_those_of_the_labels(tmp_path: Path) -> None:
    def says(name: str) -> Any:
        async def answer(_request: web.BaseRequest) -> web.Response:
            return web.Response(text=name)

        return answer

    async with (
        web_server(says("one")) as one,
        web_server(says("two")) as two,
        web_server(says("far"), host="127.0.0.2") as far,
        FakeEngine() as engine,
    ):
        published = (f"{one}:{one}", f"{two}:{two}")
        for name, port in (("first", one), ("second", two)):
            engine.add(name, networks=(), ports=published, labels={f"proxy.{name}.port": str(port)})
        (tmp_path / "routes.yml").write_text(f"far: {{host: 127.0.0.2, port: {far}}}")
        async with pilotage_serve(tmp_path, engine, config="  files: [routes.yml]") as command:
            for host, text in (("first", "one"), ("second", "two"), ("far", "far")):
                await command.answers(host, (200, text))


@pytest.mark.proves("healthcheck.disable")
async def test_a_disabled_health_check_sends_no_requests(tmp_path: Path) -> None:
    check = {"app.healthcheck.path": "/healthz", "app.healthcheck.interval": "1s"}
    async with target() as it, target() as other, gateway(tmp_path) as gw:
        await gw.publish(
            *local(routes({**check, "app.healthcheck.disable": "true"}), it.port),
            *local(
                routes({f"other.{key.partition('.')[2]}": text for key, text in check.items()}, name="other"),
                other.port,
            ),
        )
        assert (await gw.ask("app")).status == 200
        assert (await gw.ask("other")).status == 200
        await until(lambda: sum(path == "/healthz" for _, path, _ in other.seen) >= 2, patience=30)
        assert not [path for _, path, _ in it.seen if path == "/healthz"]


@pytest.mark.proves(
    "middlewares.themed.theme",
    "middlewares.themed.css",
    "middlewares.themed.font_url",
    "middlewares.themed.font_family",
)
async def test_a_theme_and_a_font_change_pages(tmp_path: Path) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html><head></head><body></body></html>", content_type="text/html")

    font = {"font_url": "https://fonts.example.com/inter.css", "font_family": "Inter"}
    themes = {
        "dark": {"theme": "dark"},
        "font": {"theme": "solarized-dark", **font},
        "sheet": {"css": "/own.css"},
    }
    async with target() as it, gateway(tmp_path) as gw:
        service = BodyService(lambda key: (gw.ads.snapshot.backend(key).route_policy.changes, ""))  # type: ignore[union-attr]
        gw.ads.on_body = service.process
        it.handlers["/"] = page
        found = [
            route
            for name, options in themes.items()
            for route in routes({f"{name}.middlewares.themed.{key}": text for key, text in options.items()}, name=name)
        ]
        await gw.publish(*local(found, it.port))
        body = {name: (await gw.ask(name)).body.decode() for name in themes}
        assert "<style" in body["dark"]
        assert "fonts.example.com/inter.css" in body["font"]
        assert "Inter" in body["font"]
        assert body["dark"] != body["font"]
        assert 'href="/own.css"' in body["sheet"]
        service.close()
