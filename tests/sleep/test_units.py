"""Which routes and containers belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage import build_routes, from_docker
from pilotage.sleep.units import by_engine, may_sleep, start_path, unit_key
from pilotage.table.table import Table
from tests.support.summaries import LOCAL, summary

if TYPE_CHECKING:
    from pilotage import Container, Route


class Siblings:
    """A source that knows only the routes of containers."""

    def __init__(self, *routes: Route) -> None:
        self.table = Table()
        self.routes = routes

    def container(self, engine: str, container_id: str) -> None: ...

    def containers_of(self, engine: str) -> tuple[Container, ...]:
        return ()

    def routes_of(self, engine: str, container_id: str) -> tuple[Route, ...]:
        return tuple(it for it in self.routes if it.container_id == container_id)


def key_of(labels: dict[str, str], **more: object) -> tuple[str, ...] | None:
    container = from_docker(summary("web", labels, **more), LOCAL)
    (route,) = build_routes(container).routes
    return unit_key(route, container, Siblings())


def test_a_single_container_is_a_unit_of_its_own() -> None:
    key = key_of({"proxy.idle_timeout": "5m"})
    assert key is not None
    assert (key[0], len(key)) == ("local", 2)


def test_replicas_of_a_service_are_one_unit() -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    assert key_of({**compose, "proxy.idle_timeout": "5m"}) == ("local", "shop", "web")


def test_the_members_of_a_pool_are_one_unit() -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    pool = {"proxy.idle_timeout": "5m", "proxy.*.load_balance.link": "all"}
    assert key_of({**compose, **pool}) == key_of(pool) == ("", "", "all")


def test_a_route_from_a_file_joins_the_container_that_it_names_and_its_replicas() -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    for labels, expected in (({}, 2), (compose, 3)):
        container = from_docker(summary("web", {"proxy.idle_timeout": "5m", **labels}), LOCAL)
        (own,) = build_routes(container).routes
        with_it = ("local", container.container_id)
        static = msgspec.structs.replace(own, container="", container_id="", service=(), sleeps_with=with_it)
        key = unit_key(static, container, Siblings(own))
        assert key == unit_key(own, container, Siblings(own))
        assert len(key or ()) == expected


def test_a_container_that_sleeps_with_what_needs_it_is_a_unit_while_it_runs() -> None:
    assert key_of({"proxy.idle_timeout": "-1s"}) is not None
    assert key_of({"proxy.idle_timeout": "-1s"}, State="exited") is None


@pytest.mark.parametrize("labels", [{}, {"proxy.idle_timeout": "0"}])
def test_a_container_without_a_timeout_is_no_unit(labels: dict[str, str]) -> None:
    assert key_of(labels) is None
    assert not may_sleep(from_docker(summary("web", labels), LOCAL))


def test_containers_are_grouped_by_engine() -> None:
    web, db = (from_docker(summary(name), LOCAL) for name in ("web", "db"))
    assert by_engine([web, db]) == {"local": [web, db]}
    assert by_engine([]) == {}


def test_a_route_that_is_not_served_is_no_unit() -> None:
    assert key_of({"proxy.idle_timeout": "5m", "proxy.exclude": "true"}) is None
    assert unit_key(None, None, Siblings()) is None


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("", ""), ("*", ""), ("/wake", "/wake"), ("http://shop/wake?x", "/wake"), ("https://shop", "/")],
)
def test_the_start_path_is_the_path_of_a_url(endpoint: str, path: str) -> None:
    assert start_path(endpoint) == path
