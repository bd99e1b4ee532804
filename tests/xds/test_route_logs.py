from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.routes.access_log import AccessLog, FieldFilter, LoggedFields
from pilotage.xds.request_checks import access_check, connected_principal
from pilotage.xds.route_logs import LOGGED, access_rules, logged, route_logs
from pilotage.xds.usual_routes import is_plain, is_usual, sample_backend
from tests.support.field_values import read_route
from tests.support.gateway import becomes, route, target

if TYPE_CHECKING:
    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy


def _log(text: str) -> AccessLog:
    found, _ = read_route(f"access_log: {text}")
    log: AccessLog = found["access_log"]
    return log


async def _lines(gw: Gateway, last: str) -> list[str]:
    """Return the lines of the log once it has one with this text."""
    await becomes(lambda: asyncio.to_thread(lambda: last in gw.log), expected=True)
    return [line for line in gw.log.splitlines() if "/page" in line]


def test_only_routes_that_ask_for_a_log_have_rules_and_metadata() -> None:
    silent, asking = route("app", 80), route("app", 80, access_log=AccessLog(stdout=True))
    check = access_check((), path=True)
    assert (access_rules(silent, check, connected_principal).rbac.HasField("shadow_rules"), logged(silent)) == (
        False,
        {},
    )
    assert (
        access_rules(asking, check, connected_principal).rbac.rules
        == access_rules(silent, check, connected_principal).rbac.rules
        == check
    )
    assert not access_rules(asking, None, connected_principal).rbac.HasField("rules")
    assert access_rules(asking, None, connected_principal).rbac.HasField("shadow_rules")
    assert logged(asking)[LOGGED]["route"] == "app"


def test_a_request_that_is_not_logged_meets_only_a_cheap_filter_first() -> None:
    for log in route_logs():
        first, _ = log.filter.and_filter.filters
        assert first.HasField("metadata_filter")
        assert not first.metadata_filter.match_if_key_not_found.value


@pytest.mark.proves("access_log.stdout", "access_log.format")
async def test_routes_are_logged_in_the_format_that_they_ask_for(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        formats = ("common", "combined", "json")
        await gw.publish(
            route("silent", it.port),
            *(route(name, it.port, access_log=AccessLog(stdout=True, format=name)) for name in formats),
        )
        headers = {"User-Agent": "Tester", "Referer": "http://x/"}
        for name in ("silent", *formats, "JSON.example.com"):  # the last one is found only after its case is folded
            await gw.ask(name, "/page?q=1", headers=headers)
        lines = await _lines(gw, "JSON.example.com")
        common, combined, *both = lines
        assert common.startswith("common 127.0.0.1 - - [")
        assert '] "GET /page?q=1 HTTP/1.1" 200 ' in common
        assert combined.endswith(' "http://x/" "Tester"')
        for line, host in zip(both, ("json", "JSON.example.com"), strict=True):
            entry = json.loads(line)
            assert (entry["route"], entry["host"], entry["path"]) == ("json", host, "/page?q=1")
            assert (entry["status"], entry["method"], entry["agent"]) == (200, "GET", "Tester")


async def test_plain_routes_routes_without_a_target_and_refused_clients_are_logged(envoy: Envoy) -> None:
    log = AccessLog(stdout=True)
    async with target() as it, envoy() as gw:
        await gw.publish(
            route("plain", it.port, access_log=log, health_check=False),
            route("down", access_log=log),
            route("closed", it.port, access_log=log, middlewares={"cidr_whitelist": {"allow": ["192.0.2.1"]}}),
        )
        asked = {name: (await gw.ask(name, "/page")).status for name in ("plain", "down", "closed")}
        lines = await _lines(gw, "closed 127.0.0.1")
        assert [line.split('" ')[1].split()[0] for line in lines] == ["200", "503", "403"]
        assert list(asked.values()) == [200, 503, 403]


_EVERY = {"get", "post", "header"}
_BY_FILTER = {
    "status_codes: {values: [400-499, 200]}": _EVERY,
    "status_codes: {values: [200], negative: true}": set(),
    "status_codes: {values: [500-599]}": set(),
    "method: {values: [post]}": {"post"},
    "method: {values: [POST], negative: true}": {"get", "header"},
    "host: {values: [HOST]}": _EVERY,
    "host: {values: [other]}": set(),
    "host: {values: [other], negative: true}": _EVERY,
    "headers: {values: [X-Debug]}": {"header"},
    "headers: {values: [X-Debug=on]}": {"header"},
    "headers: {values: [X-Debug=off]}": set(),
    "headers: {values: [X-Debug], negative: true}": {"get", "post"},
    "cidr: {values: [127.0.0.0/8]}": _EVERY,
    "cidr: {values: [127.0.0.0/8], negative: true}": set(),
    "cidr: {values: [192.0.2.0/24, 127.0.0.1]}, method: {values: [POST]}": {"post"},
    "method: {negative: true}": _EVERY,
}


@pytest.mark.proves(
    "access_log.filters.status_codes.values",
    "access_log.filters.status_codes.negative",
    "access_log.filters.method.values",
    "access_log.filters.method.negative",
    "access_log.filters.host.values",
    "access_log.filters.host.negative",
    "access_log.filters.headers.values",
    "access_log.filters.headers.negative",
    "access_log.filters.cidr.values",
    "access_log.filters.cidr.negative",
)
async def test_filters_choose_which_requests_are_logged(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        hosts = {f"app{number}.example.com": text for number, text in enumerate(_BY_FILTER)}
        logs = {
            host: _log(f"{{stdout: true, format: json, filters: {{{text.replace('HOST', host)}}}}}")
            for host, text in hosts.items()
        }
        end = route("end", it.port, access_log=AccessLog(stdout=True))
        await gw.publish(end, *(route(name, it.port, access_log=log) for name, log in logs.items()))
        for host in hosts:
            await gw.ask(host, "/page/get")
            await gw.ask(host, "/page/post", "POST")
            await gw.ask(host, "/page/header", headers={"X-Debug": "on"})
        await gw.ask("end", "/page/end")
        entries = [json.loads(line) for line in (await _lines(gw, "/page/end"))[:-1]]
        seen: dict[str, set[str]] = {text: set() for text in _BY_FILTER}
        for entry in entries:
            seen[hosts[entry["host"]]].add(entry["path"].removeprefix("/page/"))
        assert seen == _BY_FILTER


@pytest.mark.proves("access_log.fields.query.default")
async def test_a_query_that_is_to_be_hidden_is_not_logged(envoy: Envoy) -> None:
    async with target() as it, envoy() as gw:
        fields = [
            FieldFilter(default="drop"),
            FieldFilter(default="redact"),
            FieldFilter(default="keep", config={"token": "drop"}),
        ]
        await gw.publish(
            *(
                route(f"app{number}", it.port, access_log=AccessLog(stdout=True, fields=LoggedFields(query=query)))
                for number, query in enumerate(fields)
            )
        )
        for number in range(len(fields)):
            await gw.ask(f"app{number}", "/page?token=hunter2")
        lines = await _lines(gw, "app2 127.0.0.1")
        assert len(lines) == len(fields)
        assert "hunter2" not in gw.log


def test_a_route_with_a_log_is_not_made_from_a_template() -> None:
    asks: dict[str, Any] = {"access_log": AccessLog(stdout=True)}
    own, shared = (sample_backend("app", "10.0.0.1", 80, "own"), sample_backend("app", "10.0.0.1", 80, "shared"))
    for backend, check in ((own, is_usual), (shared, is_plain)):
        assert check(backend)
        settings = msgspec.structs.replace(backend.route.settings, **asks)
        asking = msgspec.structs.replace(backend, route=msgspec.structs.replace(backend.route, settings=settings))
        assert not check(asking)
