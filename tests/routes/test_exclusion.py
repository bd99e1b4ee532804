from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage.labels import IdleConfig, OwnLabels
from pilotage.routes.exclusion import ExclusionReason, exclusion
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.target import Target
from tests.support.summaries import container

SERVED = Target("http", "172.17.0.5", PortPair(0, 80))


def reason(alias: str = "web", target: Target = SERVED, **facts: Any) -> ExclusionReason | None:
    return exclusion(msgspec.structs.replace(container(), **facts), alias, target)


def test_a_running_container_with_a_port_is_served() -> None:
    assert reason() is None


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"is_excluded": True, "is_oneoff": True}, "Manual exclusion"),
        ({"is_oneoff": True, "running": False}, "Compose one-off"),
        ({"running": False}, "Container not running"),
        ({"container_name": "buildx_buildkit_x"}, "Buildx"),
    ],
)
def test_the_first_reason_is_given(facts: dict[str, Any], expected: str) -> None:
    assert reason(**facts) == expected


def test_a_route_without_a_port_is_excluded_unless_it_serves_files() -> None:
    assert reason(target=Target("http", "h", PortPair())) == ExclusionReason.NO_PORT
    assert reason(target=Target("fileserver", "", PortPair())) is None


def test_aliases_of_yaml_anchors_and_of_containers_being_replaced_are_excluded() -> None:
    assert reason("x-base") == ExclusionReason.ANCHOR
    assert reason("web-old") == ExclusionReason.RENAMING


def test_a_reason_reads_as_its_text() -> None:
    assert f"{ExclusionReason.NO_PORT}" == "No port exposed in container"


IDLE = IdleConfig(idle_timeout=300)


def test_a_container_that_sleeps_is_served_although_its_ports_are_unknown() -> None:
    nowhere = Target("http", "h", PortPair())
    assert reason(running=False, idlewatcher_config=IDLE) is None
    assert reason(target=nowhere, running=False, idlewatcher_config=IDLE) is None
    assert reason(target=nowhere, idlewatcher_config=IDLE) == ExclusionReason.NO_PORT
    assert reason(running=False, idlewatcher_config=IdleConfig(idle_timeout=0)) == ExclusionReason.NOT_RUNNING


def test_a_database_is_served_only_with_a_label() -> None:
    assert reason(image_reference="postgres") == ExclusionReason.BLACKLISTED
    assert reason(image_reference="postgres", own_labels=OwnLabels(routes={"proxy.web.port": "5432"})) is None


def test_the_reasons_come_in_the_order_of_the_rules() -> None:
    facts: dict[str, Any] = {
        "is_excluded": True,
        "is_oneoff": True,
        "running": False,
        "image_reference": "postgres",
        "container_name": "buildx_x",
    }
    target = Target("http", "h", PortPair())
    found = [reason("x-old", target, **facts)]
    for fact in ("is_excluded", "is_oneoff", "running"):
        facts.pop(fact)
        found.append(reason("x-old", target, **facts))
    for fact in ("image_reference", "container_name"):
        found.append(reason("x-old", **facts))
        facts.pop(fact)
    found += [reason("x-old"), reason("y-old"), reason("old"), reason("ax-")]
    assert [str(each) if each else "" for each in found] == [
        "Manual exclusion",
        "Compose one-off",
        "Container not running",
        "No port exposed in container",
        "Blacklisted (backend service or database)",
        "Buildx",
        "YAML anchor or reference",
        "Container renaming intermediate state",
        "",
        "",
    ]
    assert [str(each) for each in ExclusionReason][::9] == ["Error", "Name belongs to another"]
