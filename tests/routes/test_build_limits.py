"""What happens to a container beyond its limits, and when something unforeseen is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage.containers import parse as parse_module
from pilotage.containers.parse import ContainerParser
from pilotage.routes import build as build_module
from pilotage.routes.build import Built, RouteBuilder
from tests.support.summaries import LENIENT, LOCAL, summary

if TYPE_CHECKING:
    from pilotage import Problem, Route


def built(labels: dict[str, str], **fields: Any) -> Built:
    raw = msgspec.json.encode(summary(labels=labels, **fields))
    return RouteBuilder().build(ContainerParser(LOCAL).decode(raw))


def served(found: Built) -> list[str]:
    return [route.alias for route in found.routes if not route.excluded]


def only(found: Built) -> Problem:
    (problem,) = found.problems
    return problem


@pytest.mark.parametrize("error", [RecursionError("too deep"), TypeError("x"), MemoryError()])
@pytest.mark.parametrize(("module", "name"), [(build_module, "resolve_target"), (parse_module, "listed_health")])
def test_an_unforeseen_exception_becomes_the_problem_of_its_container(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, error: Exception
) -> None:
    parser, builder = ContainerParser(LOCAL), RouteBuilder()
    own = msgspec.json.encode(summary(labels={"proxy.web.port": "80"}))

    def fail(*_args: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        found = builder.build(parser.decode(own))
    assert found.routes == ()
    problem = only(found)
    assert type(error).__name__ in problem.message or str(error) in problem.message
    assert (problem.provider, problem.container) == ("local", "web")
    assert len(builder.build(parser.decode(own)).routes) == 1


def test_a_wildcards_error_is_reported_once_and_known_to_each_route() -> None:
    found = built({"proxy.aliases": "a,b,c", "proxy.*.prot": "80", "proxy.b.port": "80"})
    assert only(found).message == "unknown field"
    assert [len(route.problems) for route in found.routes] == [1, 1, 1]


def test_the_first_thousand_aliases_get_routes() -> None:
    found = built({"proxy.aliases": ",".join(f"a{i}" for i in range(1001))})
    assert len(found.routes) == 1000
    assert only(found).message == "the label lists more than 1,000 aliases; only the first 1,000 count"
    found = built({f"proxy.a{i:04}.port": "80" for i in range(1000)})
    assert len(found.routes) == 1000  # with web
    assert only(found).label == "proxy.a0999.port"


def test_too_many_labels_give_no_routes_because_some_may_restrict_access() -> None:
    found = built({f"proxy.web.x{i}": "1" for i in range(2001)})
    assert found.routes == ()
    assert (
        only(found).message == "the container has 2,001 pilotage labels; at most 2,000 are read, so it gets no routes"
    )
    found = built({"proxy.web.homepage.name": "x" * 1024 * 1024})
    assert only(found).message == "the container has more than 1 MiB of pilotage labels, so it gets no routes"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".a" * 65, "the label key has more than 64 names below the alias, so it has no effect"),
        (".a" * 5000, "the label key has more than 64 names below the alias, so it has no effect"),
        ("." + "a" * 1100, "the label key has more than 1,024 characters, so it has no effect"),
        ("." + "a" * 1100 + ".a" * 63, "the label key has more than 1,024 characters, so it has no effect"),
    ],
)
def test_a_key_that_is_too_deep_or_too_long_has_no_effect(path: str, message: str) -> None:
    found = built({f"proxy.web{path}": "1", "proxy.web.port": "8080"})
    assert only(found).message == message
    (route,) = found.routes
    assert (route.port.proxy, route.excluded) == (8080, False)
    assert served(built({f"proxy.web.middlewares{path}": "1"})) == []
    assert served(built({f"proxy.*.middlewares{path}": "1"})) == []


def test_a_key_of_64_names_is_read() -> None:
    found = built({"proxy.web.homepage" + ".a" * 63: "1"})
    assert "names below" not in only(found).message


def test_a_hundred_problems_are_kept_and_the_rest_is_counted() -> None:
    found = built({f"proxy.web.homepage.x{i:03}": "1" for i in range(150)})
    assert len(found.problems) == 101
    assert found.problems[-1].message == "and 50 more problems with this container's labels"
    assert served(found) == ["web"]


def test_problems_that_depend_on_the_target_are_counted_with_those_of_labels() -> None:
    labels = {"proxy.web.tls_termination": "true"}  # which needs a tcp target
    found = built(labels | {f"proxy.web.homepage.x{i:03}": "1" for i in range(110)})
    assert len(found.problems) == 101
    assert found.problems[-1].message == "and 11 more problems with this container's labels"


def test_an_unknown_field_beyond_the_suggestions_may_be_a_protective_one() -> None:
    few = {f"proxy.web.x{i:02}yz": "1" for i in range(10)}
    assert served(built(few)) == ["web"]
    assert served(built({f"proxy.web.x{i:02}yz": "1" for i in range(30)})) == []


def test_an_alias_whose_labels_are_not_read_completely_is_out_of_service() -> None:
    lines = "set_headers:\n" + "\n".join(f"  H{i}: v" for i in range(1200))
    key = "middlewares.request"
    found = built({f"proxy.a.{key}": lines, f"proxy.b.{key}": lines, "proxy.b.port": "80", "proxy.aliases": "a,b,c"})
    assert served(found) == ["a", "c"]
    assert {problem.message for problem in found.problems} == {
        "the labels of this container have more than 2,000 values"
    }


def route_of(labels: dict[str, str]) -> Route:
    raw = msgspec.json.encode(summary(labels=labels))
    (route,) = RouteBuilder(policy=LENIENT).build(ContainerParser(LOCAL).decode(raw)).routes
    return route


@pytest.mark.parametrize(
    ("written", "root"), [("/srv/./www/../x//", "/srv/x"), ("//srv", "/srv"), ("/..", "/"), ("/a b", "/a b")]
)
def test_the_folder_of_a_file_server_is_cleaned(written: str, root: str) -> None:
    route = route_of({"proxy.web.scheme": "fileserver", "proxy.web.root": written})
    assert (route.settings.root, route.target) == (root, f"file://{root}")


@pytest.mark.parametrize(("written", "index"), [("", "/index.html"), ("home.html", "/home.html"), ("/x", "/x")])
def test_the_index_of_a_file_server_has_a_default_and_a_slash(written: str, index: str) -> None:
    labels = {"proxy.web.scheme": "fileserver", "proxy.web.root": "/srv", "proxy.web.index": written}
    assert route_of(labels).settings.index == index
    assert route_of({"proxy.web.port": "80"}).settings.index == "/index.html"


def test_a_network_label_on_a_container_without_networks_is_an_error() -> None:
    found = built({"proxy.network": "front"}, NetworkSettings={"Networks": {}})
    assert found.routes == ()
    problem = only(found)
    assert (problem.label, problem.message) == ("proxy.network", "network 'front' not found")
    stopped = built({"proxy.network": "front"}, NetworkSettings={"Networks": {}}, State="exited")
    assert stopped.problems == ()


def test_what_a_log_keeps_may_be_a_mapping() -> None:
    labels = {"proxy.web.access_log": "{stdout: true, retention: {days: 30}}"}
    log = route_of(labels).settings.access_log
    assert log is not None
    assert log.retention == {"days": 30}
    wrong = built({"proxy.web.access_log": "{stdout: true, retention: {day: 30, last: x}}"})
    assert [problem.message for problem in wrong.problems] == ["unknown field", "'x' is not a whole number"]


def test_problems_that_many_aliases_share_are_all_counted() -> None:
    aliases = [f"a{i:02}" for i in range(100)]
    labels = {"proxy.aliases": ",".join(aliases)} | {f"proxy.*.homepage.x{i:02}": "1" for i in range(90)}
    found = built(labels)
    more = [problem for problem in found.problems if "more problem" in problem.message]
    assert len(found.problems) - len(more) == 20  # as many as each of the aliases places
    assert [problem.message for problem in more] == ["and 70 more problems with this container's labels"]
