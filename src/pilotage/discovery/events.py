"""What an engine's event says about its containers. Pure.

An event is only a hint: that a container is worth a look, is gone, or is about to stop. The list is the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pilotage.containers.container import Container
    from pilotage.engine.types import Event

__all__ = ["FILTERS", "Hint", "read_hint"]

FILTERS: Final[Mapping[str, Sequence[str]]] = {
    "type": ["container", "network"],
    "event": [
        "create",
        "start",
        "restart",
        "stop",
        "kill",
        "die",
        "oom",
        "pause",
        "unpause",
        "rename",
        "update",
        "health_status",
        "destroy",
        "remove",
        "connect",
        "disconnect",
    ],
}
"""What is asked of ``GET /events``: exec and other noise stays there. Podman says ``remove`` for ``destroy``."""

# Signals with which containers are stopped: TERM, KILL, INT, QUIT, and the stop signals of common images (WINCH for
# Apache, RTMIN+3 for systemd). The list does not tell a container's own stop signal; others, such as HUP and USR1, mean
# "reload" far more often, and a container that stops all the same is noticed when it dies.
_STOP_SIGNALS: Final = frozenset({"2", "3", "9", "15", "28", "37"})
_ENDS: Final = frozenset({"die", "stop"})
_GONE: Final = frozenset({"destroy", "remove"})
# Not "unpause": a paused container that is to be stopped is thawed first, right after its stop signal.
_BACK: Final = frozenset({"start", "restart"})
# Of these only health and draining can come, which matter to no route that is not served.
_SERVED_ONLY: Final = frozenset({"kill", "oom", "update", "health_status", "stop"})


class Hint(NamedTuple):
    """What an event says.

    Attributes:
        container_id: about which container.
        kind: ``look``: it may have changed; ``back``: the same, and it is not about to stop; ``draining``: it is about
            to stop; ``gone``: it is no more.
        action: the event's word, such as ``start``.
        name: the container's name where the event tells it, else ``""``.
        served_only: it can matter only to a container that is served.
        labels: the event's attributes, which repeat the container's labels; ``None`` where they do not.
        network: name of the network that was joined or left, where the event tells it.

    """

    container_id: str
    kind: Literal["look", "back", "draining", "gone"]
    action: str
    name: str = ""
    served_only: bool = False
    labels: Mapping[str, str] | None = None
    network: str = ""

    @property
    def is_ours(self) -> bool:
        """False when the event tells the container's labels and none is of ours."""
        return self.labels is None or any(key.startswith("proxy.") for key in self.labels)

    @property
    def expects(self) -> bool:
        """True when it is known what the engine's list must show after this."""
        return self.action in _ENDS or self.action in ("pause", "unpause") or bool(self.network)

    def is_shown_by(self, container: Container) -> bool:
        """Tell whether what the engine lists has caught up with the event.

        Docker sends some events (die, pause, unpause, network connect) a moment before its list shows what they tell.
        """
        if self.action in _ENDS or self.action == "pause":
            return not container.running
        if self.action == "unpause":
            return container.state != "paused"
        if self.network and container.running:
            return (self.network in container.networks) is (self.action == "network connect")
        return True

    @property
    def cause(self) -> str:
        """The event for people, e.g. ``start of web``."""
        return f"{self.action} of {self.name}" if self.name else self.action


def read_hint(event: Event) -> Hint | None:
    """Return what an event says about a container, ``None`` if nothing."""
    actor = event.Actor
    if actor is None:
        return None
    attributes = actor.Attributes or {}
    action, _, detail = event.Action.partition(":")
    if event.Type == "network":
        if action not in ("connect", "disconnect"):
            return None
        # Docker names the network as actor and the container as an attribute; Podman the container as actor.
        container_id = attributes.get("container") or actor.ID
        if not container_id:
            return None
        network = attributes.get("name" if "container" in attributes else "network", "")
        return Hint(container_id, "look", f"network {action}", network=network)
    if event.Type != "container" or not actor.ID or action not in FILTERS["event"]:
        return None
    name = attributes.get("name", "")
    if action in _GONE:
        return Hint(actor.ID, "gone", action, name, labels=attributes)
    if action == "kill":
        if attributes.get("signal", "15") not in _STOP_SIGNALS:
            return None
        return Hint(actor.ID, "draining", action, name, served_only=True, labels=attributes)
    shown = f"{action} {(detail or event.HealthStatus).strip()}".strip() if action == "health_status" else action
    kind: Literal["look", "back"] = "back" if action in _BACK else "look"
    return Hint(actor.ID, kind, shown, name, served_only=action in _SERVED_ONLY, labels=attributes)
