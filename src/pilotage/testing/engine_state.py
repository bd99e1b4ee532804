"""Implements operations on the fake engine's containers, each of which sends the events that a real engine sends.

The events and their order depend on the dialect: Docker 20.10 sends ``die`` before the network events, 26 sends
``stop`` before ``die``, Podman sends ``init`` and ``cleanup`` and names its last event ``remove``.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.testing.container import FakeContainer, container
from pilotage.testing.events import EventHub, FakeEvent
from pilotage.testing.serialize import inspect, network_id, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.testing.container import State
    from pilotage.testing.dialect import Dialect

__all__ = ["FakeEngineState"]

_SIGNALS: Final = {"HUP": "1", "INT": "2", "KILL": "9", "TERM": "15"}


class FakeEngineState:
    """The containers of a fake engine and the operations on them, without a server.

    Every operation accepts a container as an object, by name, by ID or by ID prefix, and raises ``LookupError`` if the
    container does not exist.

    Attributes:
        dialect: behavior of the imitated engine.
        containers: ID -> container, oldest first.
        hub: delivers events.
        services: entries in the response to ``GET /services``; ``None`` unless the engine is a manager of a swarm.
        tasks: entries in the response to ``GET /tasks``; ``None`` makes one for each container with a task's labels.

    """

    def __init__(self, dialect: Dialect, clock: Callable[[], int] = time.time_ns) -> None:
        self.dialect = dialect
        self.containers: dict[str, FakeContainer] = {}
        self.hub = EventHub(dialect)
        self.services: list[dict[str, Any]] | None = None
        self.tasks: list[dict[str, Any]] | None = None
        self._clock = clock
        self._now = 0
        self._addresses = 1
        self._names: dict[str, str] = {}
        self._encoded: dict[tuple[str, str], bytes] = {}

    # Queries.

    def find(self, wanted: str) -> FakeContainer | None:
        """Return the container with this ID, name or ID prefix; ``None`` if there is no such container."""
        wanted = wanted.removeprefix("/")
        if (it := self.containers.get(wanted) or self.containers.get(self._names.get(wanted, ""))) is not None:
            return it
        near = [it for ident, it in self.containers.items() if wanted and ident.startswith(wanted)]
        return near[0] if len(near) == 1 else None

    def in_order(self) -> list[FakeContainer]:
        """Return the containers in list order: newest first for Docker, arbitrary for Podman."""
        if self.dialect.podman:
            return [self.containers[ident] for ident in sorted(self.containers)]
        return list(reversed(self.containers.values()))

    def summary_bytes(self, it: FakeContainer, *, with_health: bool) -> bytes:
        """Return a container's list entry as JSON, cached until the container changes."""
        return self._bytes(it, f"summary {with_health}", lambda: summary(it, self.dialect, with_health=with_health))

    def inspect_bytes(self, it: FakeContainer) -> bytes:
        """Return a container's inspection as JSON, cached until the container changes."""
        return self._bytes(it, "inspect", lambda: inspect(it, self.dialect))

    def list_tasks(self) -> list[dict[str, Any]] | None:
        """Return the tasks of the swarm; ``None`` unless the engine is one of its managers."""
        if self.services is None or self.tasks is not None:
            return None if self.services is None else self.tasks
        label = "com.docker.swarm."
        return [
            {
                "ID": it.labels[f"{label}task.id"],
                "ServiceID": it.labels.get(f"{label}service.id", ""),
                "Status": {"ContainerStatus": {"ContainerID": it.id}},
            }
            for it in self.containers.values()
            if f"{label}task.id" in it.labels
        ]

    # Creation and removal.

    def populate(self, containers: Iterable[FakeContainer | dict[str, Any]]) -> None:
        """Add containers without events, as if they had always existed.

        A dictionary is a list entry recorded from a real engine and is returned unchanged.
        """
        for it in containers:
            self._put(_from_summary(it) if isinstance(it, dict) else it)

    def add(self, it: FakeContainer | str, **more: Any) -> FakeContainer:
        """Create a container and return it. Start it if its initial state is that of a running container.

        Args:
            it: a container, or the name for a new one.
            more: further arguments of :func:`pilotage.testing.container` for the new one.

        """
        made = container(it, **more) if isinstance(it, str) else it
        final, health = made.state, made.health
        self._put(made)
        self._emit(made, "create")
        if final != "created":
            made.state = "created"
            self._started(made)
        if health and health != made.health:
            self.health(made, health)
        if final in {"paused", "exited"}:
            (self.pause if final == "paused" else self.die)(made)
        self._become(made, final)
        return made

    def remove(self, which: FakeContainer | str) -> None:
        """Remove a container; kill it first if it is running."""
        it = self._the(which)
        if it.alive:
            if not self.dialect.podman:
                self._emit(it, "kill", signal="9")
            self._died(it, 137)
        del self.containers[it.id]
        self._names.pop(it.name, None)
        self._changed(it)
        ended = {"containerExitCode": str(it.exit_code)} if self.dialect.podman and self.dialect.modern else {}
        self._emit(it, "remove" if self.dialect.podman else "destroy", **ended)

    # Start and stop.

    def start(self, which: FakeContainer | str) -> None:
        """Start a container."""
        self._started(self._the(which))

    def stop(self, which: FakeContainer | str, exit_code: int = 0) -> None:
        """Stop a container as if it exited with ``exit_code`` on SIGTERM."""
        it = self._the(which)
        if not self.dialect.podman:
            self._emit(it, "kill", signal="15")
        self._died(it, exit_code, stopped=True)

    def kill(self, which: FakeContainer | str, signal: str = "KILL") -> None:
        """End a container with a signal. The exit status is 137 for KILL and 0 for others."""
        it = self._the(which)
        name = signal.removeprefix("SIG")
        self._emit(it, "kill", **({} if self.dialect.podman else {"signal": _SIGNALS.get(name, name)}))
        self._died(it, 137 if name in {"KILL", "9"} else 0)

    def die(self, which: FakeContainer | str, exit_code: int = 0) -> None:
        """Let a container exit by itself, with ``exit_code``."""
        self._died(self._the(which), exit_code)

    def oom(self, which: FakeContainer | str) -> None:
        """Let the OOM killer end a container. Podman, unlike Docker, sends no event about the reason."""
        it = self._the(which)
        it.oom_killed = True
        if not self.dialect.podman:
            self._emit(it, "oom")
        self._died(it, 137)

    def restart(self, which: FakeContainer | str) -> None:
        """Restart a container."""
        it = self._the(which)
        if self.dialect.podman:
            self._emit(it, "restart")
            if it.alive:
                self._died(it, 137, stopped=True, cleanup=False)
            self._started(it)
            return
        if it.alive:
            self.stop(it)
        self._started(it)
        self._emit(it, "restart")

    def pause(self, which: FakeContainer | str) -> None:
        """Pause a container."""
        it = self._the(which)
        self._become(it, "paused")
        self._emit(it, "pause")

    def unpause(self, which: FakeContainer | str) -> None:
        """Unpause a container."""
        it = self._the(which)
        self._become(it, "running")
        self._emit(it, "unpause")

    # Other changes.

    def become(self, which: FakeContainer | str, state: State) -> None:
        """Change a container's state without an event, as if no client were connected."""
        self._become(self._the(which), state)

    def relabel(self, which: FakeContainer | str, labels: dict[str, str]) -> None:
        """Change the labels without an event. Real engines cannot do this; it makes the list differ from the events."""
        it = self._the(which)
        it.labels = dict(labels)
        self._changed(it)

    def rename(self, which: FakeContainer | str, name: str) -> None:
        """Rename a container."""
        it = self._the(which)
        old, it.name = it.name, name
        self._names.pop(old, None)
        self._names[name] = it.id
        self._changed(it)
        self._emit(it, "rename", **({} if self.dialect.podman else {"oldName": f"/{old}"}))

    def health(self, which: FakeContainer | str, status: str) -> None:
        """Set a container's health: ``starting``, ``healthy`` or ``unhealthy``. Podman 4 reports it one probe late."""
        it = self._the(which)
        before, it.health = it.health or "starting", status
        self._changed(it)
        if not self.dialect.podman:
            self._emit(it, f"health_status: {status}")
            return
        self._emit(it, "health_status", health=status if self.dialect.modern else before)

    def connect(self, which: FakeContainer | str, network: str, address: str = "") -> None:
        """Attach a container to a network."""
        it = self._the(which)
        it.networks[network] = address or self._address()
        self._changed(it)
        self._emit_network(it, "connect", network)

    def disconnect(self, which: FakeContainer | str, network: str) -> None:
        """Detach a container from a network; Docker before version 28 sends the event twice."""
        it = self._the(which)
        del it.networks[network]
        self._changed(it)
        for _ in range(2 if not self.dialect.podman and self.dialect.major < 28 and it.alive else 1):
            self._emit_network(it, "disconnect", network)

    def exec(self, which: FakeContainer | str, command: str = "true") -> None:
        """Run a command in a container, as health checks do. Its events only fill the engine's event memory."""
        it = self._the(which)
        if self.dialect.podman:
            self._emit(it, "exec")
            self._emit(it, "exec_died", **({"containerExitCode": "0"} if self.dialect.modern else {}))
            return
        extra = {"execID": f"{self._tick():064x}"}
        self._emit(it, f"exec_create: {command}", **extra)
        self._emit(it, f"exec_start: {command}", **extra)
        self._emit(it, "exec_die", **extra, exitCode="0")

    def emit(self, kind: str, action: str, actor: str, attributes: dict[str, str] | None = None) -> None:
        """Send an event about something other than a container, e.g. an image or a volume."""
        self.hub.publish(FakeEvent(kind, action, actor, dict(attributes or {}), self._tick()))

    # Internals.

    def _the(self, which: FakeContainer | str) -> FakeContainer:
        it = self.find(which.id if isinstance(which, FakeContainer) else which)
        if it is None:
            raise LookupError(f"the fake engine has no container {which!r}")
        return it

    def _put(self, it: FakeContainer) -> None:
        if it.raw is None:
            it.created = it.created or self._tick() // 1_000_000_000
            bridge = {"bridge", "podman"}
            own = it.network_mode in {"host", "none"}
            it.networks = {
                self.dialect.bridge if name in bridge else name: address or ("" if own else self._address())
                for name, address in it.networks.items()
            }
        self.containers[it.id] = it
        self._names[it.name] = it.id

    def _started(self, it: FakeContainer) -> None:
        it.oom_killed = False
        it.exit_code = 0
        it.started = self._tick()
        it.health = it.health and "starting"
        self._become(it, "running")
        if self.dialect.podman:
            self._emit(it, "init")
        else:
            for network in it.networks:
                self._emit_network(it, "connect", network)
        self._emit(it, "start")

    def _died(self, it: FakeContainer, exit_code: int, *, stopped: bool = False, cleanup: bool = True) -> None:
        it.exit_code = exit_code
        self._become(it, "exited")
        code = str(exit_code)
        if self.dialect.podman:
            if stopped and not self.dialect.modern:
                self._emit(it, "stop")
            self._emit(it, "die", exitCode=code, containerExitCode=code)
            if cleanup:
                self._emit(it, "cleanup")
            return
        lasted = {"execDuration": "120"} if self.dialect.modern else {}
        if not self.dialect.modern:
            self._emit(it, "die", exitCode=code)
        for network in it.networks:
            self._emit_network(it, "disconnect", network)
        if stopped and self.dialect.major < 28:
            self._emit(it, "stop")
        if self.dialect.modern:
            self._emit(it, "die", exitCode=code, **lasted)
        if stopped and self.dialect.major >= 28:
            self._emit(it, "stop")

    def _become(self, it: FakeContainer, state: State) -> None:
        it.state = state
        self._changed(it)

    def _changed(self, it: FakeContainer) -> None:
        for kind in ("summary False", "summary True", "inspect"):
            self._encoded.pop((it.id, kind), None)

    def _bytes(self, it: FakeContainer, kind: str, make: Callable[[], dict[str, Any]]) -> bytes:
        found = self._encoded.get((it.id, kind))
        if found is None:
            found = self._encoded[it.id, kind] = msgspec.json.encode(make())
        return found

    def _emit(self, it: FakeContainer, action: str, *, health: str = "", **extra: str) -> None:
        image = summary_image(it, self.dialect)
        attributes = it.labels | {"image": image, "name": it.name} | extra
        if self.dialect.podman:
            attributes.setdefault("podId", "")
            if not self.dialect.modern:
                attributes.setdefault("containerExitCode", "0")
        self.hub.publish(FakeEvent("container", action, it.id, attributes, self._tick(), health))

    def _emit_network(self, it: FakeContainer, action: str, network: str) -> None:
        if self.dialect.podman:
            attributes = {"image": "", "name": it.name, "podId": ""}
            attributes |= {"network": network} if self.dialect.modern else {"containerExitCode": "0"}
            self.hub.publish(FakeEvent("network", action, it.id, attributes, self._tick()))
            return
        driver = network if network == "host" else "null" if network == "none" else "bridge"
        attributes = {"container": it.id, "name": network, "type": driver}
        self.hub.publish(FakeEvent("network", action, network_id(network, self.dialect), attributes, self._tick()))

    def _address(self) -> str:
        self._addresses += 1
        return f"172.17.{self._addresses >> 8 & 255}.{self._addresses & 255}"

    def _tick(self) -> int:
        """Return a unique, increasing time in nanoseconds for an event."""
        self._now = max(self._now + 1, self._clock())
        return self._now


def summary_image(it: FakeContainer, dialect: Dialect) -> str:
    """Return the image name as the engine lists it."""
    found: str = summary(dataclasses.replace(it, raw=None), dialect)["Image"] if it.raw is None else it.raw["Image"]
    return found


def _from_summary(entry: dict[str, Any]) -> FakeContainer:
    names = [name for name in entry.get("Names") or [] if name.count("/") == 1]
    made = container(names[0].lstrip("/") if names else "", id=entry["Id"], image=entry.get("Image", ""))
    attached = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    made.networks = {name: (endpoint or {}).get("IPAddress", "") for name, endpoint in attached.items()}
    made.labels = dict(entry.get("Labels") or {})
    made.state, made.created, made.raw = entry["State"], entry.get("Created", 0), entry
    return made
