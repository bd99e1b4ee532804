"""Problems between routes: which label or line of a route file they name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig, from_docker
from pilotage.core.problems import Problem
from pilotage.routes import AsWritten, build_routes, read_route_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers.container import Container
    from pilotage.routes.file import RouteFile

TAKEN = Problem(message="taken", provider="local", container="web", route="web", path="port")


def web(labels: Mapping[str, str]) -> Container:
    network = {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}
    summary = {"Id": "1" * 64, "Names": ["/web"], "State": "running", "Labels": labels, "NetworkSettings": network}
    return from_docker(summary, DockerProviderConfig("unix:///run/docker.sock", name="local"))


class Listed:
    """The containers of the engine ``local`` and the route files; counts how often the engine is looked up."""

    def __init__(self, container: Container, *files: RouteFile) -> None:
        self.container: Container | None = container
        self.looked_up = 0
        routes = (*build_routes(container).routes, *(route for file in files for route in file.routes))
        self.written = AsWritten(lambda: {it.alias: it for it in routes}, self._containers, lambda: files)

    def _containers(self, engine: str) -> Mapping[str, Container] | None:
        assert engine == "local"
        self.looked_up += 1
        return {self.container.container_id: self.container} if self.container is not None else {}


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ({"proxy.web.port": "7001:80"}, "local/web: proxy.web.port"),
        ({"proxy.*.port": "7001:80"}, "local/web: proxy.*.port"),
        ({"proxy.#1": "scheme: tcp\nport: 7001:80"}, "local/web: proxy.#1: port (line 2, column 1)"),
        ({"proxy.web.scheme": "tcp"}, "local/web: port"),
    ],
)
def test_the_label_of_the_container_is_named_as_it_was_written(labels: dict[str, str], place: str) -> None:
    (found,) = Listed(web(labels)).written([TAKEN])
    assert found.place == place
    assert (found.message, found.path) == (TAKEN.message, TAKEN.path)


def test_the_line_of_a_route_file_is_named() -> None:
    file = read_route_file("nas:\n  scheme: tcp\n  port: 7001:80\n", "routes.yml")
    listed = Listed(web({}), file)
    taken = Problem(message="taken", provider="routes.yml", route="nas", path="port")
    unset = Problem(message="odd", provider="routes.yml", route="nas", path="host")
    assert [it.place for it in listed.written([taken, unset])] == [
        "routes.yml:3:3: route nas: port",
        "routes.yml: route nas: host",
    ]
    assert not listed.looked_up


def test_labels_are_decoded_again_only_after_the_container_has_changed() -> None:
    listed = Listed(web({"proxy.web.port": "7001:80"}))
    (first,) = listed.written([TAKEN])
    assert listed.written([TAKEN])[0] is first
    listed.container = web({"proxy.*.port": "7001:80"})
    assert listed.written([TAKEN])[0].label == "proxy.*.port"


def test_a_resolved_problem_keeps_its_label_after_the_container_is_gone() -> None:
    listed = Listed(web({"proxy.web.port": "7001:80"}))
    listed.written([TAKEN])
    listed.container = None
    assert listed.written([TAKEN], resolved=True)[0].label == "proxy.web.port"
    assert listed.written([TAKEN])[0].label == "proxy.web.port"
    other = Problem(message="other", provider="local", container="web", route="web", path="port")
    assert listed.written([other]) == (other,)


@pytest.mark.parametrize(
    "problem",
    [
        Problem(message="has a label", provider="local", container="web", route="web", path="port", label="proxy.*"),
        Problem(message="has a line", provider="local", container="web", route="web", path="port", line=2),
        Problem(message="is about the whole route", provider="local", container="web", route="web"),
        Problem(message="is about no route", path="port"),
        Problem(message="is another engine's", provider="far", container="web", route="web", path="port"),
    ],
    ids=lambda it: it.message,
)
def test_other_problems_cost_no_lookup_and_stay_as_they_are(problem: Problem) -> None:
    listed = Listed(web({"proxy.web.port": "7001:80"}))
    assert listed.written([problem]) == (problem,)
    assert not listed.looked_up
