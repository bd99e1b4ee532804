"""Implements the event stream of the fake engine: history, listeners and filters."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.testing.dialect import Dialect

__all__ = ["DOCKER_MEMORY", "EventHub", "FakeEvent", "Listener", "matches", "moment"]

#: Number of events of all kinds that Docker remembers until it restarts.
DOCKER_MEMORY: Final = 256


@dataclasses.dataclass(frozen=True, slots=True)
class FakeEvent:
    """An event of the fake engine.

    Attributes:
        kind: ``container``, ``network`` and so on.
        action: e.g. ``start`` or ``health_status: healthy``.
        actor: ID of the object that the event is about.
        attributes: the object's labels, name, image and so on.
        nanoseconds: time of the event in nanoseconds since 1970.
        health: the value of Podman's field ``HealthStatus``.

    """

    kind: str
    action: str
    actor: str
    attributes: dict[str, str]
    nanoseconds: int
    health: str = ""

    def encode(self, dialect: Dialect, *, old_fields: bool) -> bytes:
        """Return the event as a line of JSON.

        Args:
            dialect: the engine being imitated.
            old_fields: include ``status``, ``id`` and ``from``, which API 1.52 dropped.

        """
        seconds = self.nanoseconds // 1_000_000_000
        found: dict[str, Any] = {}
        if old_fields and (dialect.podman or self.kind == "container"):
            found = {"status": self.action, "id": self.actor}
            if self.kind == "container":
                found["from"] = self.attributes.get("image", "")
        found |= {
            "Type": self.kind,
            "Action": self.action,
            "Actor": {"ID": self.actor, "Attributes": dict(sorted(self.attributes.items()))},
            "scope": "local",
            "time": seconds,
            "timeNano": self.nanoseconds,
        }
        if self.health:
            found["HealthStatus"] = self.health
        return msgspec.json.encode(found) + b"\n"


class Listener(Protocol):
    """A reader of the event stream."""

    @property
    def old_fields(self) -> bool:
        """Whether events include the fields that API 1.52 dropped."""

    @property
    def filters(self) -> Mapping[str, frozenset[str]]:
        """Filter name -> accepted values."""

    def send(self, line: bytes) -> None:
        """Send one event."""


class EventHub:
    """Keeps the event history and delivers events.

    Attributes:
        listeners: open streams.
        held: events held back while the engine is stalled; ``None`` if it is not.

    """

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.listeners: set[Listener] = set()
        self.held: list[FakeEvent] | None = None
        self._memory: collections.deque[FakeEvent] = collections.deque(maxlen=None if dialect.podman else DOCKER_MEMORY)
        self._drop = self._double = self._reverse = 0
        self._reversed: list[FakeEvent] = []

    def publish(self, event: FakeEvent) -> None:
        """Deliver an event to the listeners whose filters it passes, unless a fault applies."""
        if self._drop:
            self._drop -= 1
            return
        self._memory.append(event)
        if self.held is not None:
            self.held.append(event)
            return
        if self._reverse:
            self._reverse -= 1
            self._reversed.append(event)
            if not self._reverse:
                self._send(reversed(self._reversed))
                self._reversed = []
            return
        times = 2 if self._double else 1
        self._double = max(0, self._double - 1)
        self._send([event] * times)

    def replay(self, since: int | None, until: int | None) -> Iterator[FakeEvent]:
        """Yield past events from ``since`` to ``until`` (nanoseconds, ``None``: no limit); none without either."""
        if since is None and until is None:
            return
        for event in list(self._memory):
            if (since is None or event.nanoseconds >= since) and (until is None or event.nanoseconds <= until):
                yield event

    def release(self) -> None:
        """Deliver the events that were held back, and hold back no more."""
        held, self.held = self.held or [], None
        self._send(held)

    def forget(self) -> None:
        """Drop the history, as Docker does when it restarts."""
        self._memory.clear()

    def drop(self, count: int) -> None:
        """Drop the next ``count`` events, also from the history."""
        self._drop += count

    def double(self, count: int) -> None:
        """Send each of the next ``count`` events twice."""
        self._double += count

    def reverse(self, count: int) -> None:
        """Hold back the next ``count`` events until all have happened, then send them in reverse order."""
        self._reverse += count

    def _send(self, events: Iterable[FakeEvent]) -> None:
        for event in events:
            lines: dict[bool, bytes] = {}
            for listener in tuple(self.listeners):
                if matches(event, listener.filters, self.dialect):
                    if listener.old_fields not in lines:
                        lines[listener.old_fields] = event.encode(self.dialect, old_fields=listener.old_fields)
                    listener.send(lines[listener.old_fields])


def matches(event: FakeEvent, filters: Mapping[str, frozenset[str]], dialect: Dialect) -> bool:
    """Return whether an event passes the filters. Like real engines, ignore unknown filters."""
    for name, values in filters.items():
        match name:
            case "type":
                passes = event.kind in values
            case "event":  # "health_status" accepts "health_status: healthy"
                passes = not values.isdisjoint(_filter_names(event, dialect))
            case "container":
                owner = event.attributes.get("name", "") if event.kind == "container" else ""
                passes = owner in values or any(event.actor.startswith(value) for value in values)
            case "label":
                attributes = event.attributes
                passes = all(
                    attributes.get(key) == value if sign else key in attributes
                    for key, sign, value in (wanted.partition("=") for wanted in values)
                )
            case "image":
                passes = event.attributes.get("image", "") in values
            case _:
                passes = True
        if not passes:
            return False
    return True


def _filter_names(event: FakeEvent, dialect: Dialect) -> set[str]:
    """Return the names under which the filter ``event`` accepts an event. Podman before 5 calls ``die`` ``died``."""
    if dialect.podman and event.action == "die":
        return {"die", "died"} if dialect.modern else {"died"}
    return {event.action, event.action.partition(":")[0]}


def moment(text: str) -> int:
    """Parse ``since`` or ``until``: seconds since 1970 with up to nine decimals; return nanoseconds.

    Raises:
        ValueError: the text is not such a number.

    """
    seconds, _, fraction = text.partition(".")
    return int(seconds) * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])
