from __future__ import annotations

from typing import Any

import pytest

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, Route
from pilotage.table.table import Table
from pilotage.xds import frontends as module
from pilotage.xds.options import GatewayOptions
from pilotage.xds.own_ports import port_of
from pilotage.xds.resources import LISTENER
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route


def listen(alias: str, *, port: int = 9000, **fields: Any) -> Route:
    fields = {"created": 500, "bind": "0.0.0.0"} | fields
    fields.setdefault("endpoints", (Endpoint(f"10.0.0.{len(alias)}", 5432, alias, alias),))
    return route(alias, scheme="tcp", port=PortPair(port, 5432), **fields)


def stopped(it: Route) -> Route:
    fields = {name: getattr(it, name) for name in ("container_id", "provider", "created", "bind", "service")}
    reason = ExclusionReason.NOT_RUNNING
    return listen(it.alias, endpoints=(), excluded=True, excluded_reason=reason, **fields)


class Followed:
    """A snapshot that follows tables."""

    def __init__(self, *engines: str) -> None:
        self.snapshot = Snapshot(GatewayOptions())
        self.engines = engines or ("local",)

    def now(self, *routes: Route) -> dict[str, str]:
        """Apply a table; return the address of each listener, and the cluster to which it leads."""
        known = {it.alias: it for it in routes}
        self.snapshot.replace(Table(known, engine_order=self.engines))
        found = ((key, it) for key, it in self.snapshot.resources.items() if key[0] == LISTENER and "/" in key[1])
        return {name: ",".join(it.clusters) for (_, name), it in found}

    @property
    def problems(self) -> list[str]:
        return [f"{it.route}: {it.message}" for found in self.snapshot.problems.values() for it in found]


DB = {"tcp/0.0.0.0:9000": "route/db"}
RIVALS = [
    listen("rival", created=1),
    listen("rival", created=-5),
    listen("rival", provider="first", created=900),
    listen("rival", bind="127.0.0.1", created=1),
    listen("rival", bind="::ffff:127.0.0.1", created=1),
]


def test_a_port_is_named_by_protocol_and_number() -> None:
    assert port_of(listen("db")) == "tcp/9000"


@pytest.mark.parametrize("rival", RIVALS)
def test_no_newcomer_takes_the_port_of_a_running_route(rival: Route) -> None:
    it = Followed("first", "local")
    assert it.now(listen("db")) == DB
    assert it.now(listen("db"), rival) == DB
    assert [text.partition(" of ")[0].partition(": ")[0] for text in it.problems] == ["rival"]
    assert it.problems[0].endswith("belongs to db, which had it first")
    it.snapshot.configure(GatewayOptions(compression=True))
    assert it.now(listen("db"), rival) == DB


def test_a_route_without_an_endpoint_keeps_nobody_from_listening_and_gets_nothing_back_later() -> None:
    it = Followed()
    early = listen("early", created=1, endpoints=())
    assert it.now(early) == {}
    assert it.now(early, listen("db")) == DB
    assert it.now(listen("early", created=1), listen("db")) == DB


def test_whoever_had_a_port_gets_it_back_after_a_restart() -> None:
    it, db, rival = Followed(), listen("db"), listen("rival", created=1)
    it.now(db)
    it.now(db, rival)
    assert it.now(stopped(db), rival) == {"tcp/0.0.0.0:9000": "route/rival"}
    assert it.now(db, rival) == DB


def test_whoever_stands_in_keeps_the_port_when_the_container_is_removed() -> None:
    it, db, rival = Followed(), listen("db"), listen("rival", created=900)
    it.now(db)
    it.now(stopped(db), rival)
    assert it.now(rival) == {"tcp/0.0.0.0:9000": "route/rival"}
    assert it.now(listen("db", container_id="new"), rival) == {"tcp/0.0.0.0:9000": "route/rival"}


def test_another_name_of_an_engine_changes_nothing() -> None:
    it = Followed("first", "local", "renamed")
    it.now(listen("db"))
    assert it.now(listen("db", provider="renamed"), listen("rival", provider="first")) == DB


def test_a_file_comes_before_containers() -> None:
    it = Followed()
    it.now(listen("db"))
    assert it.now(listen("db"), listen("filed", container="", provider="routes.yml")) == {
        "tcp/0.0.0.0:9000": "route/filed"
    }


def test_age_decides_at_the_start_and_an_age_that_is_no_time_is_the_youngest() -> None:
    assert Followed().now(listen("db"), listen("odd", created=-5), listen("zero", created=0)) == DB
    assert Followed().now(listen("db", created=2), listen("old", created=1)) == {"tcp/0.0.0.0:9000": "route/old"}


def test_listeners_on_different_addresses_of_a_port_live_side_by_side() -> None:
    routes = listen("a", bind="127.0.0.1"), listen("b", bind="127.0.0.2"), listen("c", bind="::")
    it = Followed()
    expected = {"tcp/127.0.0.1:9000": "route/a", "tcp/127.0.0.2:9000": "route/b", "tcp/[::]:9000": "route/c"}
    assert it.now(*routes) == expected
    assert it.now(*routes, listen("all", created=1)) == expected
    assert it.now(listen("all", created=1)) == {"tcp/0.0.0.0:9000": "route/all"}


def test_a_listener_that_cannot_be_built_leaves_the_port_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = vars(module)["port_listener"]

    def failing(backend: Any, *others: Any) -> Any:
        if backend.name == "bad":
            raise ValueError("odd")
        return real(backend, *others)

    monkeypatch.setattr(module, "port_listener", failing)
    it = Followed()
    assert it.now(listen("bad", created=1), listen("db")) == DB
    assert len(it.problems) == 1


def test_what_is_gone_is_forgotten() -> None:
    it, db = Followed(), listen("db")
    it.now(db)
    it.now(stopped(db))
    it.now()
    assert [getattr(it.snapshot.frontends.ports, name) for name in ("_held", "_ports")] == [{}, {}]
