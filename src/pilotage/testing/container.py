"""Defines the containers of the fake engine, independent of the dialect in which an engine describes them."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FakeContainer", "FakePort", "State", "container", "parse_port"]

State = Literal["created", "running", "paused", "restarting", "exited", "dead", "removing"]

#: The states in which a container has addresses and published ports.
ALIVE: Final = frozenset({"running", "paused"})

_serial: Final = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class FakePort:
    """A container's port: only exposed (``public == 0``), or published on ``ip`` (``""``: all addresses)."""

    private: int
    public: int = 0
    protocol: str = "tcp"
    ip: str = ""


@dataclasses.dataclass(slots=True)
class FakeContainer:
    """A container of the fake engine. Change it only through the engine's methods, because these also send events.

    Attributes:
        id: 64 hexadecimal digits.
        name: the name without a leading slash; ``""`` while the container is being removed.
        networks: attached network -> address, ``""`` until the engine assigns one.
        network_mode: as in ``HostConfig``: ``"default"``, ``"host"``, ``"none"``, ``"container:ID"`` or a network name.
        created: seconds since 1970; 0 until the engine sets it.
        started: time of the container's last start, nanoseconds since 1970; 0 if the engine has not started it.
        health: ``starting``, ``healthy`` or ``unhealthy``; ``""`` if the container has no health check.
        raw: a list entry recorded from a real engine; the fake engine returns it with only the state changed.
        raw_inspect: the inspection of the same container, recorded from a real engine.

    """

    id: str
    name: str
    labels: dict[str, str]
    image: str
    ports: tuple[FakePort, ...]
    networks: dict[str, str]
    network_mode: str
    state: State
    created: int
    health: str
    mounts: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    links: tuple[str, ...]
    started: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    raw: dict[str, Any] | None = None
    raw_inspect: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether the container has a process, and therefore addresses and ports."""
        return self.state in ALIVE


def container(
    name: str,
    *,
    image: str = "acme/web:1",
    labels: Mapping[str, str] | None = None,
    ports: Iterable[int | str | FakePort] = (80,),
    networks: Mapping[str, str] | Iterable[str] = ("bridge",),
    ip: str = "",
    network_mode: str = "",
    state: State = "running",
    created: int = 0,
    health: str = "",
    mounts: Iterable[tuple[str, str]] = (),
    command: Iterable[str] = ("serve",),
    links: Iterable[str] = (),
    id: str = "",  # noqa: A002
) -> FakeContainer:
    """Describe a container for :class:`pilotage.testing.FakeEngine`.

    Args:
        name: the container's name.
        image: as passed to ``docker run``.
        labels: key -> value.
        ports: ``80`` or ``"53/udp"`` for an exposed port; ``"8080:80"``, ``"127.0.0.1:8080:80/tcp"`` or
            ``"[::1]:8080:80"`` for a published one.
        networks: names of attached networks, or name -> address. The engine assigns missing addresses.
        ip: the container's address in its first network.
        network_mode: ``"host"``, ``"none"`` or ``"container:ID"``; by default the name of the first network.
        state: initial state.
        created: seconds since 1970; by default the time at which the container is added to an engine.
        health: initial health, which also gives the container a health check; ``""`` for no health check.
        mounts: pairs of source and destination; a source that starts with ``/`` is a bind mount, any other a volume.
        command: the command that the container runs, and its arguments.
        links: names of this container in other containers' legacy links, e.g. ``"/other/alias"``.
        id: 64 hexadecimal digits; derived from the name and a counter by default.

    """
    attached = dict(networks) if isinstance(networks, Mapping) else dict.fromkeys(networks, "")
    if network_mode in {"host", "none"}:
        attached = {network_mode: ""}
    elif network_mode.startswith("container:"):
        attached = {}
    first = next(iter(attached), "")
    if ip and first:
        attached[first] = ip
    return FakeContainer(
        id=id or hashlib.sha256(f"{name} {next(_serial)}".encode()).hexdigest(),
        name=name,
        labels=dict(labels or {}),
        image=image,
        ports=tuple(parse_port(port) for port in ports),
        networks=attached,
        network_mode=network_mode or ("default" if first in {"", "bridge", "podman"} else first),
        state=state,
        created=created,
        health=health,
        mounts=tuple(mounts),
        command=tuple(command),
        links=tuple(links),
    )


def parse_port(port: int | str | FakePort) -> FakePort:
    """Parse a port in the syntax of ``docker run -p`` and ``--expose``, except ranges.

    Raises:
        ValueError: the text is not a port.

    """
    if isinstance(port, FakePort):
        return port
    address, _, protocol = str(port).partition("/")
    rest, _, private = address.rpartition(":")
    ip, _, public = rest.rpartition(":")
    return FakePort(int(private), int(public or 0), protocol or "tcp", ip.strip("[]"))
