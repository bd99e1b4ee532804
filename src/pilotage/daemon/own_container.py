"""Finds where an engine publishes the ports of the container in which pilotage itself runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.discovery.host_addresses import network_gateways

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.containers.container import Container

__all__ = ["OwnContainer"]

_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
"""Files that Docker and Podman create in every container."""

_MAX_AGE: Final = 4.0
"""Seconds until the published ports are looked up again."""


class OwnContainer:
    """The host's addresses and ports at which pilotage's own container is published; empty outside a container.

    Only the host's addresses on the container's networks are included, because the container cannot see any others.

    Args:
        local_addresses: returns the IP addresses of the machine or container in which pilotage runs.
        containers_at: returns the containers that have one of the given addresses. A container that has one of
            pilotage's own addresses is the one in which pilotage runs.
        marks: files that exist only in containers.
        gateways: returns the gateways of the container's networks.
        clock: returns the time in seconds.

    """

    def __init__(
        self,
        local_addresses: Callable[[], frozenset[str]],
        containers_at: Callable[[frozenset[str]], Iterable[Container]],
        *,
        marks: Iterable[Path] = _MARKS,
        gateways: Callable[[], frozenset[str]] = network_gateways,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._local_addresses = local_addresses
        self._containers_at = containers_at
        self._gateways = gateways
        self._clock = clock
        self._is_in_container = any(mark.exists() for mark in marks)
        self._found_at = -_MAX_AGE
        self._found: frozenset[tuple[str, int]] = frozenset()

    def __call__(self) -> frozenset[tuple[str, int]]:
        """Return pairs of a host address and a published port, looked up at most four seconds ago."""
        if self._is_in_container and self._clock() - self._found_at >= _MAX_AGE:
            self._found_at = self._clock()
            self._found = frozenset(self._look_up())
        return self._found

    def _look_up(self) -> set[tuple[str, int]]:
        gateways = self._gateways()
        return {
            (gateway, port.PublicPort)
            for container in self._containers_at(self._local_addresses())
            for port in container.ports
            if port.PublicPort
            for gateway in gateways
        }
