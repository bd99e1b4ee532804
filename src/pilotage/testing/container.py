"""A container of the fake engine: what it is, independent of the dialect an engine describes it in."""

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
    """One port: exposed only (``public == 0``), or published on ``ip`` (``""`` for all addresses)."""

    private: int
    public: int = 0
    protocol: str = "tcp"
    ip: str = ""


@dataclasses.dataclass(slots=True)
class FakeContainer:
    """A container that the fake engine holds. Change it through the engine's methods, which also send the events.

    Attributes:
        id: 64 hexadecimal digits.
        name: without the leading slash; ``""`` for one that is just being removed.
        networks: name of each attached network and the address there, ``""`` until the engine gives one.
        network_mode: as in ``HostConfig``: ``"default"``, ``"host"``, ``"none"``, ``"container:ID"``, a network's name.
        created: seconds since 1970; 0 until the engine sets it.
        health: ``""`` without a health check, else ``starting``, ``healthy`` or ``unhealthy``.
        raw: a list entry recorded from a real engine, answered as it is but for its state.
        raw_inspect: its inspect answer.

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
    exit_code: int = 0
    oom_killed: bool = False
    raw: dict[str, Any] | None = None
    raw_inspect: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        """Whether it has a process, and so addresses and ports."""
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
        name: its name.
        image: as ``docker run`` was given it.
        labels: any text for any text.
        ports: ``80`` or ``"53/udp"`` for an exposed port; ``"8080:80"``, ``"127.0.0.1:8080:80/tcp"`` or
            ``"[::1]:8080:80"`` for a published one.
        networks: names of the networks it is attached to, or a mapping of name to address. The engine gives addresses
            to those that have none.
        ip: its address in the first network.
        network_mode: ``"host"``, ``"none"`` or ``"container:ID"``; without it, the first network's.
        state: its state from the start.
        created: seconds since 1970; without it, when the engine gets it.
        health: its health, which also means that it has a health check.
        mounts: pairs of source and destination; a source that begins with ``/`` is a bind mount, else a volume.
        command: what it runs.
        links: names under which others link to it, as ``"/other/alias"``.
        id: 64 hexadecimal digits; without it, made from the name and a running number.

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
    """Read a port as ``docker run -p`` and ``--expose`` write it; ranges are not understood.

    Raises:
        ValueError: it is none.

    """
    if isinstance(port, FakePort):
        return port
    address, _, protocol = str(port).partition("/")
    rest, _, private = address.rpartition(":")
    ip, _, public = rest.rpartition(":")
    return FakePort(int(private), int(public or 0), protocol or "tcp", ip.strip("[]"))
