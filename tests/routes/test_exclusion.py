from __future__ import annotations

from typing import Any

import msgspec
import pytest

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
