"""Parses container events: which container an event concerns, and how urgently. Pure.

Events only trigger a refresh. The container list is the source of truth, because engines drop events, send some events
before the list reflects them, and forget all events on restart.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from pilotage.labels.keys import is_own

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.engine.types import Actor, Event

__all__ = ["EVENT_FILTERS", "ContainerEvent", "Effect", "Recheck", "parse_event"]

EVENT_FILTERS: Final[Mapping[str, Sequence[str]]] = {
    "type": ["container", "network"],
    "event": [
        *("create", "start", "restart", "stop", "kill", "die", "died", "oom", "pause", "unpause"),
        *("rename", "update", "health_status", "destroy", "remove", "connect", "disconnect"),
    ],
}
"""Query filters for ``GET /events``. They exclude the many exec events. ``remove`` is Podman's ``destroy``.

Podman before version 5 filters ``die`` events by the name ``died``, and sends them as ``die``.
"""

# TERM, KILL, INT, QUIT and the stop signals of common images: WINCH (Apache), RTMIN+3 (systemd).
# A container's own stop signal is not in the list response. HUP and USR1 usually mean "reload";
# a container that does exit on them is handled by its die event.
_STOP_SIGNALS: Final = frozenset({"2", "3", "9", "15", "28", "37"})


_LONGEST: Final = 256
"""Maximum characters of IDs and names; engines refuse longer ones. Those in events are cut to save memory."""


class Effect(Enum):
    """The action that an event requires."""

    REFRESH = "refresh"
    """The container may have changed: list it again."""

    RESTARTED = "restarted"
    """Like REFRESH, and the container is no longer draining.

    ``unpause`` does not have this effect: stopping a paused container unpauses it right after the stop signal.
    """

    DRAINING = "draining"
    """The container received its stop signal: stop sending it new requests now."""

    REMOVED = "removed"
    """The container no longer exists."""


_EFFECTS: Final[Mapping[str, Effect]] = {
    "start": Effect.RESTARTED,
    "restart": Effect.RESTARTED,
    "kill": Effect.DRAINING,
    "destroy": Effect.REMOVED,
    "remove": Effect.REMOVED,
}

# These change only health or draining, which matters only for containers that have a route.
_ROUTED_ONLY: Final = frozenset({"kill", "oom", "update", "health_status", "stop"})


class ContainerEvent(NamedTuple):
    """One engine event that concerns a container.

    Attributes:
        container_id: full container ID.
        effect: what to do about the event.
        action: the engine's action, e.g. ``start`` or ``network connect``.
        name: container name; ``""`` if the event does not include it.
        routed_only: whether the event can affect only a container that has a route.
        labels: container labels; ``None`` if the event does not include them.
        network: name of the network that was connected or disconnected; ``""`` for other events.

    """

    container_id: str
    effect: Effect
    action: str
    name: str = ""
    routed_only: bool = False
    labels: Mapping[str, str] | None = None
    network: str = ""

    @property
    def may_be_ours(self) -> bool:
        """Whether the container may have pilotage's labels. True if the event does not include labels."""
        return self.labels is None or any(map(is_own, self.labels))

    @property
    def predicts_state(self) -> bool:
        """Whether :meth:`is_reflected_in` can return False, because the event implies a state of the container."""
        return self.action in ("die", "stop", "pause", "unpause") or bool(self.network)

    def is_reflected_in(self, container: Container) -> bool:
        """Return whether a listed container already shows this event.

        Docker sends die, pause, unpause and network events shortly before its list reflects them;
        list again until this returns True.
        """
        match self.action:
            case "die" | "stop" | "pause":
                return not container.running
            case "unpause":
                return container.state != "paused"
            case "network connect" | "network disconnect" if self.network and container.running:
                return (self.network in container.networks) is (self.action == "network connect")
            case _:
                return True

    def cause_for(self, container: Container | None) -> str:
        """Describe what caused the change to a listed container.

        Podman's list often shows a running container before the ``start`` event arrives. The cause is then ``start``,
        although the event is still ``create``.

        Args:
            container: the container as listed after this event, or ``None`` if it is gone.

        """
        ahead = self.action == "create" and container is not None and container.running
        return str(self._replace(action="start") if ahead else self)

    def __str__(self) -> str:
        return f"{self.action} of {self.name}" if self.name else self.action


class Recheck(NamedTuple):
    """A container whose listed state does not reflect an event yet.

    Attributes:
        due: when to list it again, by the loop's clock.
        tries: how often the container has been listed since the event.
        event: the event.

    """

    due: float
    tries: int
    event: ContainerEvent


def parse_event(event: Event) -> ContainerEvent | None:
    """Return an engine's event as a ContainerEvent; ``None`` if the event does not concern a container."""
    if event.Actor is None:
        return None
    if event.Type == "network":
        return _parse_network_event(event, event.Actor)
    action, _, detail = event.Action.partition(":")
    attributes = event.Actor.Attributes or {}
    if event.Type != "container" or not _is_id(event.Actor.ID) or action not in EVENT_FILTERS["event"]:
        return None
    effect = _EFFECTS.get(action, Effect.REFRESH)
    if action == "kill":
        signal = attributes.get("signal")
        if signal is None:  # Podman. Its stop causes no kill event, and a signal is often HUP, to reload something.
            effect = Effect.REFRESH
        elif signal not in _STOP_SIGNALS:
            return None
    if action == "health_status":
        action = f"{action} {(detail or event.HealthStatus).strip()[:_LONGEST]}".strip()
    return ContainerEvent(
        container_id=event.Actor.ID,
        effect=effect,
        action=action,
        name=attributes.get("name", "")[:_LONGEST],
        routed_only=action.partition(" ")[0] in _ROUTED_ONLY,
        labels=attributes,
    )


def _parse_network_event(event: Event, actor: Actor) -> ContainerEvent | None:
    """Parse a network event, whose actor is the network for Docker and the container for Podman."""
    attributes = actor.Attributes or {}
    container_id = attributes.get("container") or actor.ID
    if event.Action not in ("connect", "disconnect") or not _is_id(container_id):
        return None
    network = attributes.get("name" if "container" in attributes else "network", "")[:_LONGEST]
    return ContainerEvent(container_id, Effect.REFRESH, f"network {event.Action}", network=network)


def _is_id(text: str) -> bool:
    return 0 < len(text) <= _LONGEST
