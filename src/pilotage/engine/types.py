"""The Engine API's JSON, only the fields we read, decoded straight from bytes into typed structs.

Fields keep the API's own spelling. Everything that some engine leaves out or answers with null is optional here:
Podman sends no ``HostConfig`` and may send ``Networks: null``; ``Health`` in the list comes with API 1.52.
Unknown fields cost nothing and are never kept: no environment, no commands.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = [
    "Endpoint",
    "Event",
    "Health",
    "HostConfig",
    "Inspect",
    "Mount",
    "NetworkSettings",
    "Port",
    "Summary",
    "Version",
    "split_list",
]


class Port(msgspec.Struct, gc=False, frozen=True):
    """One entry of a container's ``Ports``. Engines list a publication once for IPv4 and once for IPv6."""

    PrivatePort: int = 0
    PublicPort: int = 0
    Type: str = "tcp"
    IP: str = ""


class Endpoint(msgspec.Struct, gc=False, frozen=True):
    """A container's place in one network; addresses are ``""`` when it has none."""

    IPAddress: str = ""
    GlobalIPv6Address: str = ""


class NetworkSettings(msgspec.Struct, gc=False, frozen=True):
    """``NetworkSettings`` of the list."""

    Networks: dict[str, Endpoint | None] | None = None


class HostConfig(msgspec.Struct, gc=False, frozen=True):
    """``HostConfig`` of the list: the network mode is all of it that we read."""

    NetworkMode: str = ""


class Mount(msgspec.Struct, gc=False, frozen=True):
    """One mount; ``Source`` is ``""`` for tmpfs and anonymous volumes on some engines."""

    Type: str = ""
    Source: str = ""
    Destination: str = ""


class Health(msgspec.Struct, gc=False, frozen=True):
    """``Health`` of the list (API 1.52) and of inspect: ``none``, ``starting``, ``healthy``, ``unhealthy``."""

    Status: str = ""


class Summary(msgspec.Struct, gc=False, frozen=True):
    """One element of ``GET /containers/json``."""

    Id: str = ""
    Names: list[str] | None = None
    Image: str = ""
    ImageID: str = ""
    Created: int = 0
    State: str = ""
    Status: str = ""
    Labels: dict[str, str] | None = None
    Ports: list[Port] | None = None
    NetworkSettings: NetworkSettings | None = None
    HostConfig: HostConfig | None = None
    Mounts: list[Mount] | None = None
    Health: Health | None = None


class InspectConfig(msgspec.Struct, gc=False, frozen=True):
    """``Config`` of inspect. ``Env`` is deliberately not here: it holds people's secrets."""

    ExposedPorts: dict[str, object] | None = None
    StopSignal: str = ""


class InspectState(msgspec.Struct, gc=False, frozen=True):
    """``State`` of inspect."""

    Status: str = ""
    Running: bool = False
    Health: Health | None = None


class PortBinding(msgspec.Struct, gc=False, frozen=True):
    """Where a container's port is published; Podman says ``HostIp: ""`` for all addresses."""

    HostIp: str = ""
    HostPort: str = ""


class InspectNetworkSettings(msgspec.Struct, gc=False, frozen=True):
    """``NetworkSettings`` of inspect: here ``Ports`` maps ``"80/tcp"`` to bindings, or to null when unpublished."""

    Networks: dict[str, Endpoint | None] | None = None
    Ports: dict[str, list[PortBinding] | None] | None = None


class Inspect(msgspec.Struct, gc=False, frozen=True):
    """What we read of ``GET /containers/{id}/json``."""

    Id: str = ""
    Name: str = ""
    Config: InspectConfig | None = None
    State: InspectState | None = None
    HostConfig: HostConfig | None = None
    NetworkSettings: InspectNetworkSettings | None = None


class Component(msgspec.Struct, gc=False, frozen=True):
    """One of ``/version``'s components; Podman's first is called ``Podman Engine``."""

    Name: str = ""
    Version: str = ""


class Version(msgspec.Struct, gc=False, frozen=True):
    """``GET /version``."""

    Version: str = ""
    ApiVersion: str = ""
    MinAPIVersion: str = ""
    Components: list[Component] | None = None


class Actor(msgspec.Struct, gc=False, frozen=True):
    """Whom an event is about."""

    ID: str = ""
    Attributes: dict[str, str] | None = None


class Event(msgspec.Struct, gc=False, frozen=True):
    """One line of ``GET /events``. The old top-level ``id`` is gone in API 1.52 and never read."""

    Type: str = ""
    Action: str = ""
    Actor: Actor | None = None
    timeNano: int = 0
    HealthStatus: str = ""


_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def split_list(body: bytes) -> list[msgspec.Raw]:
    """Split the answer of ``/containers/json`` into one raw slice for each container, without decoding any.

    Decoding and building one container at a time keeps its objects in the processor's cache and halves the memory.

    Raises:
        msgspec.DecodeError: the body is not a JSON list.

    """
    return _LIST.decode(body)
