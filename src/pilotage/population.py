"""The containers of one engine as they come and go, and what comes of each. Pure: it is fed with lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.reader import unreadable
from pilotage.engine import wire
from pilotage.roster import Roster, joined, shared_network_id
from pilotage.routes.build import RESERVED_PORTS, Built, build_routes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container
    from pilotage.containers.reader import ContainerReader
    from pilotage.hints import Hint

__all__ = ["Population"]

_SUMMARY: Final = msgspec.json.Decoder(wire.Summary)


class _Slices(msgspec.Struct, gc=False):
    """The parts of a list element that can change for a container, undecoded.

    ``Status`` ticks (``Up 3 hours``), so only what it ends with counts. The others never change for one id.
    """

    Id: str = ""
    Names: msgspec.Raw = msgspec.Raw()
    Labels: msgspec.Raw = msgspec.Raw()
    Ports: msgspec.Raw = msgspec.Raw()
    NetworkSettings: msgspec.Raw = msgspec.Raw()
    Mounts: msgspec.Raw = msgspec.Raw()
    Health: msgspec.Raw = msgspec.Raw()
    State: str = ""
    Status: str = ""
    Image: str = ""

    def fingerprint(self) -> int:
        health = self.Status[-12:] if self.Status.endswith(")") else ""
        raw = (self.Names, self.Labels, self.Ports, self.NetworkSettings, self.Mounts, self.Health)
        return hash((self.State, self.Image, health, *map(bytes, raw)))


_SLICES: Final = msgspec.json.Decoder(_Slices)


class Population:
    """Containers by id, what came of each, and how a look at some of them changes that.

    Args:
        reader: reads the engine's containers.
        reserved_ports: ports of this host that belong to the proxy.

    """

    def __init__(self, reader: ContainerReader, *, reserved_ports: frozenset[int] = RESERVED_PORTS) -> None:
        self.reader = reader
        self.reserved_ports = reserved_ports
        self.explicit_only = (reader.agent or reader.config.name).endswith("!")
        self.containers: dict[str, Container] = {}
        self.built: dict[str, Built] = {}
        self.draining: dict[str, float] = {}
        self._own: dict[str, Container] = {}  # as listed, before another's network is lent to it
        self._prints: dict[str, int] = {}
        self._sharers: dict[str, set[str]] = {}  # id -> ids of those that use its network

    def __len__(self) -> int:
        return len(self.containers)

    # ---- what is worth a look

    def matters(self, hint: Hint) -> bool:
        """Tell whether an event can have any bearing on a route."""
        known = self.containers.get(hint.container_id)
        if known is None:
            if hint.kind in ("gone", "draining"):
                return False
            labels = hint.labels
            return not (self.explicit_only and labels is not None and not any(k.startswith("proxy.") for k in labels))
        if self.explicit_only and not known.is_explicit:
            return hint.kind == "gone"
        if hint.served_only:
            built = self.built.get(hint.container_id)
            return built is not None and any(not route.excluded for route in built.routes)
        return True

    # ---- looking

    def sort_out(self, raws: Iterable[msgspec.Raw]) -> tuple[set[str], list[Container]]:
        """Tell the unchanged containers of a list from the changed ones.

        Returns:
            The ids of those that are just as they were, recognised from their bytes without being decoded; and the
            others, decoded, to be inspected where needed and then given to :meth:`apply`.

        """
        same: set[str] = set()
        changed: list[Container] = []
        for raw in raws:
            try:
                slices = _SLICES.decode(raw)
                printed = slices.fingerprint()
                if self._prints.get(slices.Id) == printed:
                    same.add(slices.Id)
                    continue
                container = self.reader.read(_SUMMARY.decode(raw))
                self._prints[slices.Id] = printed
            except msgspec.MsgspecError as error:
                container = unreadable(self.reader.config, error, _id_of(raw))
            changed.append(container)
        return same, changed

    def apply(
        self, changed: Iterable[Container], *, gone: Iterable[str] = (), present: set[str] | None = None
    ) -> dict[str, Built | None]:
        """Take in what a look has shown.

        Args:
            changed: containers as they are now.
            gone: ids of those that are no more.
            present: for a complete list, the ids of all it held; every other container is gone.

        Returns:
            Container id -> what comes of it now, ``None`` if it is gone; only what differs.

        """
        away = set(gone)
        seen: set[str] = set()
        affected: dict[str, None] = {}
        for container in changed:
            container_id = container.container_id
            seen.add(container_id)
            self._own[container_id] = container
            if not container.running:
                self.draining.pop(container_id, None)
            affected[container_id] = None
        if present is not None:
            away |= self._own.keys() - present - seen
        for container_id in away - seen:
            if container_id in self._own:
                self._forget(container_id)
                affected[container_id] = None
        for container_id in list(affected):
            affected |= dict.fromkeys(sorted(self._sharers.get(container_id, ())))
        return self._rebuild(affected)

    def drain(self, container_id: str, until: float) -> dict[str, Built | None]:
        """Mark a container's endpoints as draining until a time of the caller's clock."""
        if container_id not in self._own:
            return {}
        self.draining[container_id] = until
        return self._rebuild([container_id])

    def undrain(self, now: float = float("inf"), *, only: str | None = None) -> dict[str, Built | None]:
        """Take back the mark from containers whose time is over, or from one."""
        due = [i for i, until in self.draining.items() if until <= now and (only is None or i == only)]
        for container_id in due:
            del self.draining[container_id]
        return self._rebuild(due)

    def roster(self) -> Roster:
        """Return the containers and routes as they are, by name."""
        order = sorted(self.containers, key=lambda i: (self.containers[i].container_name, i))
        return Roster(
            self.reader.config,
            tuple(self.containers[i] for i in order),
            tuple(self.built.get(i, Built()) for i in order),
        )

    # ---- inside

    def _forget(self, container_id: str) -> None:
        own = self._own.pop(container_id)
        self._prints.pop(container_id, None)
        self.draining.pop(container_id, None)
        self.containers.pop(container_id, None)
        peer = self._peer_id(own)
        if peer:
            self._sharers.get(peer, set()).discard(container_id)

    def _peer_id(self, container: Container) -> str:
        """Return the id of the container whose network this one uses, which may be given by its name."""
        wanted = shared_network_id(container)
        if not wanted or wanted in self._own:
            return wanted
        return next((i for i, other in self._own.items() if other.container_name == wanted), wanted)

    def _rebuild(self, ids: Iterable[str]) -> dict[str, Built | None]:
        """Build the routes of containers anew; those that are gone get ``None``."""
        changes: dict[str, Built | None] = {}
        for container_id in ids:
            own = self._own.get(container_id)
            if own is None:
                if self.built.pop(container_id, None) is not None:
                    changes[container_id] = None
                continue
            container = own
            if own.network_mode.startswith("container:"):
                peer = self._peer_id(own)
                self._sharers.setdefault(peer, set()).add(container_id)
                container = joined(own, {shared_network_id(own): self._own[peer]} if peer in self._own else {})
            self.containers[container_id] = container
            built = build_routes(container, explicit_only=self.explicit_only, reserved_ports=self.reserved_ports)
            if container_id in self.draining:
                built = _draining(built)
            if self.built.get(container_id) != built:
                self.built[container_id] = built
                changes[container_id] = built
        return changes


class _Identity(msgspec.Struct):
    Id: str = ""


def _id_of(raw: msgspec.Raw) -> str:
    """Return the id in a list element of which the rest cannot be read."""
    try:
        return msgspec.json.decode(raw, type=_Identity).Id or "unreadable"
    except msgspec.MsgspecError:
        return "unreadable"


def _draining(built: Built) -> Built:
    """Return the routes with every endpoint about to stop."""
    replace = msgspec.structs.replace
    routes = tuple(
        replace(route, endpoints=tuple(replace(endpoint, state="draining") for endpoint in route.endpoints))
        if route.endpoints
        else route
        for route in built.routes
    )
    return replace(built, routes=routes)
