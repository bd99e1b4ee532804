"""Defines Engine API types: structs with only the fields that pilotage reads from JSON. Pure.

Fields keep the API's names. Fields that some engine omits or sets to null are optional: Podman sends no ``HostConfig``
and may send ``Networks: null``; ``Health`` in the list requires API 1.52. Other fields, such as environment and
commands, are skipped.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "DECODE_ERRORS",
    "Endpoint",
    "Event",
    "Health",
    "HostConfig",
    "Inspect",
    "Mount",
    "NetworkSettings",
    "Port",
    "Service",
    "Summary",
    "Task",
    "Version",
    "split_list",
]


class Port(msgspec.Struct, gc=False, frozen=True):
    """One entry of a container's ``Ports``. Engines list a published port once for IPv4 and once for IPv6."""

    PrivatePort: int = 0
    PublicPort: int = 0
    Type: str = "tcp"
    IP: str = ""


class Endpoint(msgspec.Struct, gc=False, frozen=True):
    """A container's endpoint in one network; addresses are ``""`` if it has none."""

    IPAddress: str = ""
    GlobalIPv6Address: str = ""
    NetworkID: str = ""


class NetworkSettings(msgspec.Struct, gc=False, frozen=True):
    """``NetworkSettings`` in the list."""

    Networks: dict[str, Endpoint | None] | None = None


class HostConfig(msgspec.Struct, gc=False, frozen=True):
    """``HostConfig`` in the list."""

    NetworkMode: str = ""


class Mount(msgspec.Struct, gc=False, frozen=True):
    """One mount; ``Source`` is ``""`` for tmpfs and anonymous volumes on some engines."""

    Type: str = ""
    Source: str = ""
    Destination: str = ""


class Health(msgspec.Struct, gc=False, frozen=True):
    """``Health`` in the list (API 1.52) and in inspections: ``none``, ``starting``, ``healthy``, ``unhealthy``."""

    Status: str = ""


class Summary(msgspec.Struct, gc=False, frozen=True):
    """One entry in the response to ``GET /containers/json``."""

    Id: str = ""
    Names: list[str] | None = None
    Image: str = ""
    ImageID: str = ""
    Created: int = 0
    State: str = ""
    Status: str = ""
    Labels: dict[str, str] | None = None
    Ports: tuple[Port, ...] | None = None
    NetworkSettings: NetworkSettings | None = None
    HostConfig: HostConfig | None = None
    Mounts: tuple[Mount, ...] | None = None
    Health: Health | None = None


class InspectConfig(msgspec.Struct, gc=False, frozen=True):
    """``Config`` in an inspection. ``Env`` is deliberately omitted because it contains secrets."""

    ExposedPorts: dict[str, object] | None = None
    StopSignal: str = ""


class InspectState(msgspec.Struct, gc=False, frozen=True):
    """``State`` in an inspection."""

    Status: str = ""
    Running: bool = False
    Paused: bool = False
    StartedAt: str = ""
    ExitCode: int = 0
    Error: str = ""
    Health: Health | None = None


class PortBinding(msgspec.Struct, gc=False, frozen=True):
    """Where a container's port is published; Podman sends ``HostIp: ""`` for all addresses."""

    HostIp: str = ""
    HostPort: str = ""


class InspectNetworkSettings(msgspec.Struct, gc=False, frozen=True):
    """``NetworkSettings`` in an inspection; ``Ports`` maps ``"80/tcp"`` to bindings, or null if unpublished."""

    Networks: dict[str, Endpoint | None] | None = None
    Ports: dict[str, list[PortBinding] | None] | None = None


class Inspect(msgspec.Struct, gc=False, frozen=True):
    """The response to ``GET /containers/{id}/json``."""

    Id: str = ""
    Name: str = ""
    Config: InspectConfig | None = None
    State: InspectState | None = None
    HostConfig: HostConfig | None = None
    NetworkSettings: InspectNetworkSettings | None = None


class ServiceSpec(msgspec.Struct, gc=False, frozen=True):
    """``Spec`` of a swarm service."""

    Name: str = ""
    Labels: dict[str, str] | None = None


class ServicePort(msgspec.Struct, gc=False, frozen=True):
    """A port of a swarm service. In the mode ``ingress``, every node publishes it."""

    Protocol: str = "tcp"
    TargetPort: int = 0
    PublishedPort: int = 0
    PublishMode: str = ""


class ServiceEndpoint(msgspec.Struct, gc=False, frozen=True):
    """``Endpoint`` of a swarm service."""

    Ports: list[ServicePort] | None = None


class Service(msgspec.Struct, gc=False, frozen=True):
    """One entry in the response to ``GET /services``, which only swarm managers answer."""

    ID: str = ""
    Spec: ServiceSpec | None = None
    Endpoint: ServiceEndpoint | None = None


class ContainerStatus(msgspec.Struct, gc=False, frozen=True):
    """``Status.ContainerStatus`` of a swarm task."""

    ContainerID: str = ""


class TaskStatus(msgspec.Struct, gc=False, frozen=True):
    """``Status`` of a swarm task; ``ContainerStatus`` is absent until the task's container has been created."""

    ContainerStatus: ContainerStatus | None = None


class Task(msgspec.Struct, gc=False, frozen=True):
    """One entry in the response to ``GET /tasks``, which only swarm managers answer."""

    ID: str = ""
    ServiceID: str = ""
    Status: TaskStatus | None = None


class Component(msgspec.Struct, gc=False, frozen=True):
    """One of the components in ``/version``. Podman's first component is named ``Podman Engine``."""

    Name: str = ""
    Version: str = ""


class Version(msgspec.Struct, gc=False, frozen=True):
    """The response to ``GET /version``."""

    Version: str = ""
    ApiVersion: str = ""
    MinAPIVersion: str = ""
    Components: list[Component] | None = None


class Actor(msgspec.Struct, gc=False, frozen=True):
    """The object that an event concerns."""

    ID: str = ""
    Attributes: dict[str, str] | None = None


class Event(msgspec.Struct, gc=False, frozen=True):
    """One line of the response to ``GET /events``. API 1.52 removed the old top-level ``id``, which is not read."""

    Type: str = ""
    Action: str = ""
    Actor: Actor | None = None
    timeNano: int = 0
    HealthStatus: str = ""


DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions that decoding a response can raise. msgspec uses other types for deep nesting and invalid UTF-8."""

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def split_list(body: bytes) -> list[msgspec.Raw]:
    """Split the response to ``GET /containers/json`` into one raw slice per container without decoding them.

    If the caller decodes one slice at a time, its objects stay in the CPU cache and memory use is halved.

    Raises:
        msgspec.DecodeError: the body is not a JSON list.
        RecursionError: it is nested too deeply.

    """
    return _LIST.decode(body)
