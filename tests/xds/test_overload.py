from __future__ import annotations

import pytest

from pilotage.xds.overload import Limits, limits_for, overload_manager

_GIB = 1 << 30


@pytest.mark.parametrize(
    ("descriptors", "memory", "connections"),
    [
        (500, 4 * _GIB, 202),
        (20_000, 8 * _GIB, 9_952),
        (1 << 20, 64 * _GIB, 50_000),  # enough of everything
        (1 << 20, 1 * _GIB, 12_288),  # memory decides
        (64, 4 * _GIB, 16),
        (1, 1, 16),
    ],
)
def test_clients_may_use_half_of_the_descriptors_and_what_memory_allows(
    descriptors: int, memory: int, connections: int
) -> None:
    assert limits_for(descriptors, memory, workers=2).connections == connections


def test_all_limits_together_leave_descriptors_free() -> None:
    for descriptors in (256, 500, 1024, 20_000, 1 << 20):
        limits = limits_for(descriptors, 64 * _GIB, workers=2)
        assert limits.connections + limits.per_target + 2 * limits.per_udp_route < descriptors * 0.93


@pytest.mark.parametrize(
    ("descriptors", "connections", "given", "expected"),
    [
        (500, 0, None, 25),
        (1 << 20, 0, None, 6_250),
        (1 << 20, 40, None, 8),
        (64, 0, None, 8),
        (500, 0, 300, 300),
        (500, 0, 0, 0),
    ],
)
def test_one_client_gets_an_eighth_of_the_connections_unless_the_operator_decides(
    descriptors: int, connections: int, given: int | None, expected: int
) -> None:
    limits = limits_for(descriptors, 64 * _GIB, workers=2, connections=connections, per_client=given)
    assert limits.per_client == expected


def test_the_requests_of_one_client_with_one_on_each_connection_do_not_fill_a_target() -> None:
    for descriptors in (256, 500, 1024, 20_000, 1 << 20):
        limits = limits_for(descriptors, 64 * _GIB, workers=2)
        assert limits.per_client <= limits.per_target / 2


def test_the_operators_limit_is_kept_unless_descriptors_are_missing() -> None:
    assert limits_for(20_000, _GIB, workers=1, connections=100).connections == 100
    assert limits_for(1 << 20, _GIB, workers=1, connections=200_000).connections == 200_000
    assert limits_for(1024, _GIB, workers=1, connections=200_000).connections < 512


def test_without_a_file_only_connections_and_memory_are_watched() -> None:
    made = overload_manager(Limits(connections=7, memory=9))
    assert [it["typed_config"] for it in made["resource_monitors"]] == [
        {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
            "downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": 7,
        },
        {
            "@type": "type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
            "max_heap_size_bytes": 9,
        },
    ]
    assert made["loadshed_points"] == []
    watched = overload_manager(Limits(pressure="/run"))
    files = [it["typed_config"]["filename"] for it in watched["resource_monitors"][2:]]
    assert files == ["/run/connections", "/run/descriptors"]
    assert [len(action["triggers"]) for action in watched["actions"]] == [1, 3, 2, 2]
    assert len(watched["loadshed_points"]) == 2
