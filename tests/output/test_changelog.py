"""What changed, in lines for people: from tables as a store makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.core.problems import Problem
from pilotage.discovery.update import Update
from pilotage.output.changelog import ChangeFormatter, ChangeLine, describe_changes
from pilotage.routes.build import Built
from pilotage.routes.route import Endpoint, EndpointHealth
from pilotage.table.diff import diff
from pilotage.table.store import RouteStore
from pilotage.table.table import EngineStatus, Table
from tests.support.summaries import ADDRESS, built, route

if TYPE_CHECKING:
    from collections.abc import Iterable

STOPPED: dict[str, Any] = {"State": "exited", "Status": "Exited (0) 2 hours ago", "Ports": []}


class Story:
    """A store and a formatter of its changes."""

    def __init__(self) -> None:
        self.store = RouteStore()
        self.formatter = ChangeFormatter()
        self.seen = Table()

    def engine(self, state: Any, since: float = 0.0, error: str = "") -> Story:
        self.store.set_engine("local", EngineStatus(state, since, error))
        problems = [Problem(message=error, provider="local")] if error else []
        self.store.set_problems(("local", ""), problems)
        return self

    def has(self, name: str, labels: dict[str, str] | None = None, cause: str = "", **fields: Any) -> Story:
        self.store.set_routes(("local", name), built(labels, name=name, Id=name * 8, **fields), cause)
        return self

    def lost(self, name: str, cause: str = "") -> Story:
        self.store.set_routes(("local", name), None, cause)
        return self

    def told(self) -> list[ChangeLine]:
        committed = self.store.commit()
        aliases = dict.fromkeys(committed.health_aliases, "") | committed.aliases
        update = Update(self.seen, committed.table, diff(self.seen, committed.table, aliases=aliases))
        self.seen = committed.table
        return self.formatter.format(update)


@pytest.fixture
def story() -> Story:
    """An engine with one container that has been told of."""
    found = Story().engine("live", 100.0).has("web")
    found.told()
    return found


def short(lines: Iterable[ChangeLine]) -> list[tuple[str, str, str]]:
    return [(line.kind, line.alias, line.detail) for line in lines]


# ---- engines


def test_the_first_list_of_an_engine_is_one_line_of_numbers() -> None:
    story = Story().engine("live").has("web").has("old", **STOPPED).has("typo", {"proxy.typo.prot": "1"})
    assert short(story.told()) == [("live", "", "3 routes, 1 excluded, 1 problem")]


def test_containers_that_come_before_the_list_is_complete_count_for_it() -> None:
    story = Story().engine("pending").has("web")
    assert story.told() == []
    assert short(story.engine("live").told()) == [("live", "", "1 route")]


def test_an_engine_that_was_never_reached_is_stale() -> None:
    story = Story().engine("stale", 5.0, "there is no socket")
    assert short(story.told()) == [("down", "", "there is no socket")]
    assert short(story.engine("live", 9.0).has("web").told()) == [("live", "", "1 route")]


def test_the_routes_of_an_engine_stay_while_it_is_away(story: Story) -> None:
    (gone,) = story.engine("stale", 100.0, "connection lost").told()
    assert (gone.kind, gone.detail) == ("stale", "connection lost; 1 route kept")
    back = story.engine("live", 190.0).has("web", **STOPPED).told()
    assert short(back)[0] == ("live", "", "back after 1m30s: 1 route, 1 excluded")
    assert short(back)[1] == ("updated", "web", "no longer served: Container not running")


# ---- routes


def test_an_added_updated_and_removed_route_gets_lines_with_the_event(story: Story) -> None:
    (line,) = story.has("api", None, "create of api", **STOPPED).told()
    assert line == ChangeLine("added", "local", "api", "not served: Container not running", "create of api", quiet=True)
    (line,) = story.has("api", None, "start of api").told()
    assert line == ChangeLine("updated", "local", "api", f"http://{ADDRESS}:80", "start of api")
    (line,) = story.has("api", {"proxy.api.port": "81"}, "start of api").told()
    assert line.detail == f"http://{ADDRESS}:80 → http://{ADDRESS}:81"
    (line,) = story.lost("api", "destroy of api").told()
    assert line == ChangeLine("removed", "local", "api", f"was http://{ADDRESS}:81", "destroy of api")


def test_a_container_about_to_stop_is_named(story: Story) -> None:
    (own,) = built(name="web", Id="web" * 8).routes
    leaving = msgspec.structs.replace(own.endpoints[0], state="draining")
    story.store.set_routes(
        ("local", "web"), Built((msgspec.structs.replace(own, endpoints=(leaving,)),)), "kill of web"
    )
    assert short(story.told()) == [("draining", "web", "web is stopping")]


def test_a_change_of_health_gets_a_line(story: Story) -> None:
    (line,) = story.has("web", None, "health_status", Status="Up 1 second (unhealthy)").told()
    assert line.detail == "unhealthy"
    (line,) = story.has("web", None, "health_status", Status="Up 1 second (health: starting)").told()
    assert line.detail == "not healthy yet"


# ---- problems


def test_problems_come_and_go_with_their_place(story: Story) -> None:
    (line,) = story.has("web", {"proxy.web.prot": "1"}).told()
    assert line == ChangeLine("problem", "local", "web", "proxy.web.prot: unknown field; did you mean 'port'?")
    (line,) = story.has("web").told()
    assert (line.kind, line.detail) == ("resolved", "proxy.web.prot: unknown field")


def test_a_probe_result_gets_one_line(story: Story) -> None:
    line: ChangeLine | None = None
    for state in ("healthy", "unhealthy"):
        story.store.set_health("web", {f"{ADDRESS}:80": EndpointHealth(state)})
        (line,) = story.told()
    assert line is not None
    assert (line.kind, line.alias, line.cause) == ("health", "web", "")
    assert line.detail == f"web at {ADDRESS}:80 fails the gateway's probe"


def test_a_warning_is_called_so(story: Story) -> None:
    (line,) = story.has("web", {"prxy.web.port": "1"}).told()
    assert line.kind == "warning"


def test_a_conflict_names_who_waits(story: Story) -> None:
    (line,) = story.has("young", {"proxy.aliases": "web"}, Created=1_800_000_000).told()
    assert (line.kind, line.alias) == ("conflict", "web")
    assert line.detail.startswith("young: alias 'web' belongs to web, which is older")


def test_problems_in_yaml_have_line_and_column(story: Story) -> None:
    (line,) = story.has("web", {"proxy.web": "port: 80\npott: 1"}).told()
    assert line.detail == "proxy.web (line 2, column 1): unknown field; did you mean 'port'?"


# ---- one route


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({}, {"excluded": True, "excluded_reason": "Error"}, "no longer served: Error"),
        (
            {"excluded": True, "excluded_reason": "Error"},
            {"excluded": True, "excluded_reason": "Manual exclusion"},
            "not served: Manual exclusion",
        ),
        ({"host": "", "endpoints": ()}, {}, f"asleep → http://{ADDRESS}:80"),
        ({"container_id": "another"}, {}, "container re-created"),
        ({"container": "another", "container_id": "another"}, {}, "now served by web"),
        ({}, {"problems": (Problem(message="oh"),)}, ""),
        ({}, {"bind": "127.0.0.1"}, "listens on https://127.0.0.1:0"),
    ],
)
def test_a_changed_route_lists_its_differences(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    replace = msgspec.structs.replace
    assert describe_changes(replace(route(), **old), replace(route(), **new)) == said


def test_settings_are_named() -> None:
    new = route({"proxy.web.healthcheck.path": "/up", "proxy.web.no_tls_verify": "true"})
    assert describe_changes(route(), new) == "no_tls_verify, healthcheck changed"


def test_replicas_are_counted() -> None:
    one, two = Endpoint("10.0.0.1", 80, "a", "a"), Endpoint("10.0.0.2", 80, "b", "b")
    old = msgspec.structs.replace(route(), endpoints=(one,))
    both = msgspec.structs.replace(route(), endpoints=(one, two))
    sick = msgspec.structs.replace(route(), endpoints=(one, msgspec.structs.replace(two, state="unhealthy")))
    assert describe_changes(old, both) == "2 of 2 ready"
    assert describe_changes(both, sick) == "1 of 2 ready"
