"""Which containers a container needs, and in which order they wake."""

from __future__ import annotations

import msgspec
import pytest

from pilotage import from_docker
from pilotage.containers.container import Container
from pilotage.labels.container_options import IdleConfig
from pilotage.sleep.dependencies import Dependency, Directory, WakePlan, parse_dependency, plan_wake, usage
from tests.support.summaries import LOCAL, summary


def service(name: str, *needs: str, project: str = "shop", number: int = 1) -> Container:
    full = f"{project}-{name}-{number}"
    return Container(
        docker_cfg=LOCAL,
        container_id=full,
        container_name=full,
        compose_project=project,
        compose_service=name,
        depends_on=needs,
    )


def plan(target: Container, *others: Container) -> WakePlan | str:
    return plan_wake([target], Directory([target, *others]))


def stages(found: WakePlan | str) -> list[list[str]]:
    assert isinstance(found, WakePlan), found
    return [sorted(container.compose_service for container in stage) for stage in found.stages]


@pytest.mark.parametrize(
    ("entry", "name", "condition"),
    [
        ("db", "db", "service_started"),
        ("db:service_healthy", "db", "service_healthy"),
        ("db:service_completed_successfully:false", "db", "service_completed_successfully"),
        (" db : service_healthy : true", "db", "service_healthy"),
        (":service_healthy", "", "service_healthy"),
    ],
)
def test_an_entry_is_a_name_a_condition_and_what_compose_adds(entry: str, name: str, condition: str) -> None:
    assert parse_dependency(entry) == Dependency(name, condition)  # type: ignore[arg-type]


def test_an_unknown_condition_is_reported_with_the_nearest_one() -> None:
    assert parse_dependency("db:service_healty") == (
        "the dependency 'db' has the unknown condition 'service_healty'; did you mean 'service_healthy'?"
    )


def test_those_that_others_need_come_first_and_independent_ones_at_the_same_time() -> None:
    web = service("web", "api", "cache")
    found = plan(web, service("api", "db:service_healthy"), service("db"), service("cache"))
    assert stages(found) == [["cache", "db"], ["api"]]
    assert isinstance(found, WakePlan)
    assert found.conditions == {
        "shop-api-1": "service_started",
        "shop-db-1": "service_healthy",
        "shop-cache-1": "service_started",
    }
    assert found.needs["shop-web-1"] == ("shop-api-1", "shop-cache-1")


def test_the_strictest_condition_counts() -> None:
    found = plan(service("web", "api", "db"), service("api", "db:service_healthy"), service("db"))
    assert isinstance(found, WakePlan)
    assert found.conditions["shop-db-1"] == "service_healthy"


def test_all_replicas_of_a_needed_service_wake() -> None:
    found = plan(service("web", "api"), service("api"), service("api", number=2))
    assert isinstance(found, WakePlan)
    assert [container.container_id for container in found.stages[0]] == ["shop-api-1", "shop-api-2"]


def test_a_service_of_the_same_project_comes_before_a_container_of_that_name() -> None:
    named = Container(docker_cfg=LOCAL, container_id="x", container_name="db")
    found = plan(service("web", "db"), named, service("db"), service("db", project="other"))
    assert isinstance(found, WakePlan)
    assert [container.container_id for container in found.stages[0]] == ["shop-db-1"]


def test_a_container_outside_of_the_project_must_agree() -> None:
    alone = Container(docker_cfg=LOCAL, container_id="y", container_name="web", depends_on=("db",))
    db = Container(docker_cfg=LOCAL, container_id="x", container_name="db")
    assert plan(alone, db) == (
        "web needs 'db', which is not in its Compose project; to allow it, set proxy.idle_timeout on db"
    )
    other = msgspec.structs.replace(db, compose_project="other", compose_service="db")
    assert isinstance(plan(service("api", "db"), other), str)
    agreed = msgspec.structs.replace(db, idlewatcher_config=IdleConfig(idle_timeout=-1.0))
    assert stages(plan(alone, agreed)) == [[""]]


def test_a_missing_dependency_is_named_with_the_nearest_one() -> None:
    assert plan(service("web", "databse"), service("database")) == (
        "shop-web-1 needs 'databse', which does not exist; did you mean 'database'?"
    )


def test_a_circle_is_shown() -> None:
    found = plan(service("web", "api"), service("api", "db"), service("db", "api"))
    assert found == "containers depend on each other: shop-api-1 -> shop-db-1 -> shop-api-1"


def test_a_container_that_needs_itself_is_reported() -> None:
    assert plan(service("web", "web")) == "shop-web-1 depends on itself; remove 'web' from its dependencies"


def test_the_number_of_dependencies_is_limited() -> None:
    many = [service(f"s{number}") for number in range(101)]
    web = service("web", *(container.compose_service for container in many))
    assert plan(web, *many) == "shop-web-1 needs more than 100 other containers"
    chain = [service(f"s{number}", f"s{number + 1}") for number in range(3_000)]
    assert plan(chain[0], *chain[1:], service("s3000")) == "shop-s0-1 needs more than 100 other containers"


def test_usage_names_the_running_containers_that_need_each_other_one() -> None:
    def known(name: str, needs: str = "", state: str = "running") -> Container:
        labels = {"proxy.depends_on": needs, "com.docker.compose.project": "shop", "com.docker.compose.service": name}
        return from_docker(summary(name, labels, Id=name.ljust(64, "0"), State=state), LOCAL)

    found = usage([known("db"), known("web", "db, lost"), known("api", "db"), known("job", "db", "exited")])
    assert found == {"db".ljust(64, "0"): frozenset({"web", "api"})}
