from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from pilotage.xds.envoy_version import requests_of_supported, too_old

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def node(major: int = 0, minor: int = 0, patch: int = 0) -> Any:
    version = {"version": {"major_number": major, "minor_number": minor, "patch": patch}}
    return base_pb2.Node(id="edge-1", user_agent_build_version=version)


@pytest.mark.parametrize(
    ("version", "refused"),
    [((1, 39, 2), "1.39.2"), ((0, 9, 0), "0.9.0"), ((1, 40, 0), ""), ((1, 41, 0), ""), ((2, 0, 0), ""), ((), "")],
)
def test_an_envoy_is_too_old_that_may_ignore_protective_settings(version: tuple[int, ...], refused: str) -> None:
    assert too_old(node(*version)) == refused


async def passed(*requests: Any) -> list[Any]:
    async def sent() -> AsyncIterator[Any]:
        for request in requests:
            yield request

    return [request async for request in requests_of_supported(sent())]


async def test_the_stream_of_an_old_envoy_ends_and_the_log_names_the_remedy(caplog: pytest.LogCaptureFixture) -> None:
    requests = [discovery_pb2.DeltaDiscoveryRequest(node=node(1, 36)), discovery_pb2.DeltaDiscoveryRequest()]
    assert await passed(*requests) == []
    assert (
        "Envoy 'edge-1' gets no configuration, because its version 1.36.0 is too old; use 1.40 or later" in caplog.text
    )


async def test_every_request_of_another_envoy_is_passed_on() -> None:
    requests = [discovery_pb2.DeltaDiscoveryRequest(node=node(1, 40)), discovery_pb2.DeltaDiscoveryRequest()]
    assert await passed(*requests) == requests
