"""An HTTP API with a fake engine, and requests to it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp

from pilotage.api.history import ChangeHistory
from pilotage.api.listen import Listen
from pilotage.api.metrics import Metrics
from pilotage.api.server import Api
from pilotage.core.errors import GatewayError
from pilotage.core.problems import Problem
from pilotage.discovery.manager import DiscoveryManager, discover
from pilotage.engine.config import DockerProviderConfig
from pilotage.output.urls import GatewayPorts
from pilotage.table.envoys import EnvoyState, RouteState
from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage.table.traffic import RouteTraffic

__all__ = ["LOOPBACK", "Caller", "Told", "check", "serving"]

LOOPBACK = Listen(host="127.0.0.1", port=0)


class Told:
    """A source as the daemon is one."""

    def __init__(self, discovery: DiscoveryManager) -> None:
        self.discovery = discovery
        self.metrics = Metrics()
        self.history = ChangeHistory()
        self.gateway_ports: GatewayPorts | None = GatewayPorts()
        self.revision = 1
        self.sleeper = self.certificates = None
        self.why = ""
        self.found: tuple[Problem, ...] = (Problem(message="of the configuration", file="pilotage.yml"),)
        self.counted: dict[str, RouteTraffic] = {}
        self.config_file = "/etc/pilotage/pilotage.yml"

    def problems(self) -> tuple[Problem, ...]:
        return (*self.discovery.table.problems, *self.found)

    def not_ready(self) -> str:
        return self.why

    def envoys(self) -> tuple[EnvoyState, ...]:
        return (EnvoyState(node="edge", connected=True, since=1.0, lag=0.25, version=1, waiting=2),)

    def route_states(self, alias: str) -> dict[str, RouteState]:
        return {"edge": RouteState("waiting", 1)} if alias == "web" else {}

    async def traffic(self) -> dict[str, RouteTraffic]:
        return self.counted

    async def gateway_statistics(self) -> bytes:
        if self.why:
            raise GatewayError("Envoy does not respond", "wait")
        return b"envoy_up 1\n"


class Caller:
    """Asks an API."""

    def __init__(self, session: aiohttp.ClientSession, api: Api, source: Told, engine: FakeEngine) -> None:
        self.session = session
        self.api = api
        self.source = source
        self.engine = engine
        self.url = str(api.places[0])

    async def raw(self, path: str, **headers: str) -> tuple[int, bytes]:
        async with self.session.get(self.url + path, headers=headers) as answer:
            return answer.status, await answer.read()

    async def json(self, path: str, expected: int = 200, **headers: str) -> Any:
        status, body = await self.raw(path, **headers)
        assert status == expected, body
        return json.loads(body)


@contextlib.asynccontextmanager
async def serving(*places: Listen, token: str = "") -> AsyncIterator[Caller]:
    async with FakeEngine() as engine:
        engine.add("web", labels={"proxy.web.port": "80", "proxy.web.sheme": "http"})
        engine.add("db", image="postgres:17", ports=(5432,))
        async with discover([DockerProviderConfig(engine.url, name="local")]) as discovery:
            await discovery.ready()
            source = Told(discovery)
            async with Api(source, places or [LOOPBACK], token=token) as api, aiohttp.ClientSession() as session:
                yield Caller(session, api, source, engine)


def check(value: Any, schema: dict[str, Any], document: dict[str, Any], at: str) -> None:
    """Check a value against as much of JSON Schema as the OpenAPI document uses."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if not schema:
        return
    if "anyOf" in schema:
        fits = [one for one in schema["anyOf"] if (one.get("type") == "null") == (value is None)]
        assert fits, f"{at}: {value!r}"
        check(value, fits[0], document, at)
        return
    if "enum" in schema:
        assert value in schema["enum"], at
        return
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    kind = "null" if value is None else names[type(value)]
    assert kind in kinds or (kind == "integer" and "number" in kinds), f"{at}: {value!r} is not {kinds}"
    if kind == "array":
        for number, item in enumerate(value):
            check(item, schema.get("items", {}), document, f"{at}[{number}]")
    if kind == "object":
        properties, more = (
            schema.get("properties", {}),
            schema.get("additionalProperties", not schema.get("properties")),
        )
        missing = set(schema.get("required", [])) - set(value)
        assert not missing, f"{at} lacks {missing}"
        for name, item in value.items():
            assert name in properties or more, f"{at}.{name}"
            check(item, properties.get(name, more if isinstance(more, dict) else {}), document, f"{at}.{name}")
