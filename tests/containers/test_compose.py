from __future__ import annotations

import pytest

from pilotage import dependencies, docker_compose_project, docker_compose_service
from tests.support.summaries import container

PROJECT, SERVICE, NEEDS = (f"com.docker.compose.{name}" for name in ("project", "service", "depends_on"))


def test_project_and_service_are_those_of_the_labels() -> None:
    found = container(labels={PROJECT: "shop", SERVICE: "db"})
    assert (docker_compose_project(found), docker_compose_service(found)) == ("shop", "db")


def test_a_container_outside_compose_has_neither() -> None:
    assert (docker_compose_project(container()), docker_compose_service(container())) == ("", "")


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ({}, ()),
        ({NEEDS: ""}, ()),
        (
            {NEEDS: "db:service_healthy:false,cache:service_started:true"},
            ("db:service_healthy:false", "cache:service_started:true"),
        ),
        ({"proxy.depends_on": "db, cache,", NEEDS: "other"}, ("db", "cache")),
        ({"proxy.depends_on": " , ", NEEDS: "other"}, ("other",)),
        ({"proxy.depends_on": "", NEEDS: "other"}, ("other",)),
    ],
)
def test_dependencies_come_from_our_label_otherwise_from_compose(
    labels: dict[str, str], found: tuple[str, ...]
) -> None:
    assert dependencies(container(labels=labels)) == found


def test_an_idle_container_has_composes_dependencies_unless_our_label_sets_them() -> None:
    idle = {"proxy.idle_timeout": "5m", NEEDS: "db:service_started:true"}
    for labels, needed in ((idle, "db:service_started:true"), (idle | {"proxy.depends_on": "cache"}, "cache")):
        config = container(labels=labels).idlewatcher_config
        assert config is not None
        assert config.depends_on == (needed,)
