"""The containers of one engine as they come and go, and what comes of each. Pure: it is fed with lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pilotage.routes.build import RESERVED_PORTS, Built, build_routes
from pilotage.table.snapshot import Roster, joined, shared_network_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.containers.parse import ContainerReader
    from pilotage.discovery.events import Hint

__all__ = ["Population", "Sighting"]

NOTHING: Final = Built()


class _Slices(msgspec.Struct, gc=False):
    """The parts of a list element that can change for a container, undecoded. The others never do for one id."""

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
        # "Up 3 hours (healthy)" ticks: only what it ends with counts.
        health = self.Status[self.Status.rfind("(") :] if self.Status.endswith(")") else ""
        raw = (self.Names, self.Labels, self.Ports, self.NetworkSettings, self.Mounts, self.Health)
        return hash((self.State, self.Image, health, *map(bytes, raw)))


_SLICES: Final = msgspec.json.Decoder(_Slices)


class Sighting(NamedTuple):
    """What a list shows, sorted.

    Attributes:
        same: ids of the containers that are just as they were, recognised from their bytes.
        changed: the others, decoded; to be inspected where that is needed, then given to :meth:`Population.apply`.
        prints: by which those will be recognised the next time.

    """

    same: set[str]
    changed: list[Container]
    prints: dict[str, int]

    @property
    def ids(self) -> set[str]:
        """The ids of all that the list held."""
        return self.same | {container.container_id for container in self.changed}


class Population:
    """Containers by id, what came of each, and how a look at some of them changes that.

    Args:
        reader: reads the engine's containers.
        reserved_ports: ports of this host that belong to the proxy.

    Attributes:
        podman: the engine is a Podman, whose list tells no health: containers with a health check are never taken for
            unchanged. Set by who looks.
        explicit_only: containers without labels of ours get no routes.
        containers: id -> container, with the network of another where it uses that.
        built: id -> what came of it.
        draining: id -> until when the container counts as about to stop, by the caller's clock.

    """

    def __init__(self, reader: ContainerReader, *, reserved_ports: frozenset[int] = RESERVED_PORTS) -> None:
        self.reader = reader
        self.reserved_ports = reserved_ports
        self.podman = False
        self.explicit_only = (reader.agent or reader.config.name).endswith("!")
        self.containers: dict[str, Container] = {}
        self.built: dict[str, Built] = {}
        self.draining: dict[str, float] = {}
        self._own: dict[str, Container] = {}  # as listed, before another's network is lent to it
        self._prints: dict[str, int] = {}
        self._ids: dict[str, str] = {}  # name -> id
        self._sharers: dict[str, set[str]] = {}  # id or name -> ids of those that use its network

    def __len__(self) -> int:
        return len(self.containers)

    # ---- what is worth a look

    def matters(self, hint: Hint, *, unsure: bool = False) -> bool:
        """Tell whether an event can have any bearing on a route.

        Args:
            hint: what the event says.
            unsure: a look at the container is under way, so what is known of it may just be changing.

        """
        known = self._own.get(hint.container_id)
        if known is None:
            if hint.kind in ("gone", "draining") and not unsure:
                return False
            return not self.explicit_only or hint.is_ours or bool(self._users(hint.container_id, hint.name))
        if hint.kind == "gone":
            return True
        users = self._users(hint.container_id, known.container_name)
        if self.explicit_only and not known.is_explicit and not users:
            return False
        return unsure or not hint.served_only or any(map(self._is_served, (hint.container_id, *users)))

    def _is_served(self, container_id: str) -> bool:
        return any(not route.excluded for route in self.built.get(container_id, NOTHING).routes)

    # ---- looking

    def sort_out(self, raws: Iterable[msgspec.Raw]) -> Sighting:
        """Tell the unchanged containers of a list from the changed ones. Changes nothing yet."""
        sighting = Sighting(set(), [], {})
        for raw in raws:
            known_id, printed = _recognise(raw)
            if known_id:
                if self._prints.get(known_id) == printed and not self._needs_inspection_again(known_id):
                    sighting.same.add(known_id)
                    continue
                sighting.prints[known_id] = printed
            container = self.reader.decode(raw)  # which tells what cannot be read, too
            if not container.container_id:
                nameless = f"#{len(sighting.changed)}"
                container = msgspec.structs.replace(container, container_id=nameless)
            sighting.changed.append(container)
        return sighting

    def _needs_inspection_again(self, container_id: str) -> bool:
        known = self._own.get(container_id)
        return self.podman and known is not None and known.running and bool(known.health)

    def apply(
        self,
        changed: Iterable[Container],
        *,
        prints: Mapping[str, int] | None = None,
        gone: Iterable[str] = (),
        present: set[str] | None = None,
    ) -> dict[str, Built | None]:
        """Take in what a look has shown.

        Args:
            changed: containers as they are now.
            prints: of these, from :meth:`sort_out`.
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
            affected |= dict.fromkeys(self._remember(container))
            if prints is not None and container_id in prints and self._is_complete(container):
                self._prints[container_id] = prints[container_id]
            else:
                self._prints.pop(container_id, None)
        if present is not None:
            away |= self._own.keys() - present - seen
        for container_id in away - seen:
            if container_id in self._own:
                affected |= dict.fromkeys(self._forget(container_id))
        return self._rebuild(affected)

    def _is_complete(self, container: Container) -> bool:
        """False when its inspection failed, for it shall be tried again; who has errors is read again, to be safe."""
        return not container.errors and not (self.podman and container.running and not container.network_mode)

    def is_behind(self, hint: Hint) -> bool:
        """Tell whether the list has not shown yet what an event tells."""
        own = self._own.get(hint.container_id)
        return own is not None and not hint.is_shown_by(own)

    def missing_peers(self, containers: Iterable[Container]) -> dict[str, str]:
        """Return the ids of containers whose network some of these use and that are not known -> name of the user."""
        found: dict[str, str] = {}
        for container in containers:
            wanted = shared_network_id(container)
            if len(wanted) == _ID_LENGTH and wanted not in self._own:
                found[wanted] = container.container_name
        return found

    def drain(self, container_id: str, until: float) -> dict[str, Built | None]:
        """Mark a container's endpoints as draining until a time of the caller's clock, and those of its network."""
        known = self._own.get(container_id)
        if known is None:
            return {}
        self.draining[container_id] = until
        return self._rebuild([container_id, *self._users(container_id, known.container_name)])

    def undrain(self, now: float = float("inf"), *, only: str | None = None) -> dict[str, Built | None]:
        """Take back the mark from containers whose time is over, or from one."""
        if not self.draining:
            return {}
        due = [i for i, until in self.draining.items() if until <= now and (only is None or i == only)]
        affected: dict[str, None] = {}
        for container_id in due:
            del self.draining[container_id]
            affected[container_id] = None
            affected |= dict.fromkeys(self._users(container_id, self._own[container_id].container_name))
        return self._rebuild(affected)

    def roster(self) -> Roster:
        """Return the containers and routes as they are, by name."""
        order = sorted(self.containers, key=lambda i: (self.containers[i].container_name, i))
        return Roster(
            self.reader.config,
            tuple(self.containers[i] for i in order),
            tuple(self.built.get(i, NOTHING) for i in order),
        )

    # ---- inside

    def _users(self, container_id: str, name: str) -> list[str]:
        """Return the ids of the containers that use a container's network; engines let it be given by id or name."""
        if not self._sharers:
            return []
        return sorted(self._sharers.get(container_id, set()) | self._sharers.get(name, set()))

    def _peer(self, container: Container) -> Container | None:
        """Return the container whose network this one uses, if it uses another's and that is known."""
        wanted = shared_network_id(container)
        return (self._own.get(wanted) or self._own.get(self._ids.get(wanted, ""))) if wanted else None

    def _remember(self, container: Container) -> list[str]:
        """Note what a container is like now; return the ids of all to which that may matter."""
        container_id, name = container.container_id, container.container_name
        affected = [container_id]
        old = self._own.get(container_id)
        if old is not None:
            affected += self._unlink(old)
        self._own[container_id] = container
        if name:
            self._ids[name] = container_id
        if wanted := shared_network_id(container):
            self._sharers.setdefault(wanted, set()).add(container_id)
        if not container.running:
            self.draining.pop(container_id, None)
        return affected + self._users(container_id, name)

    def _forget(self, container_id: str) -> list[str]:
        """Drop a container; return the ids of all to which that may matter."""
        own = self._own.pop(container_id)
        for book in (self._prints, self.draining, self.containers):
            book.pop(container_id, None)
        return [container_id, *self._unlink(own)]

    def _unlink(self, own: Container) -> list[str]:
        """Take a container out of the indexes; return the ids of those that use its network."""
        container_id, name = own.container_id, own.container_name
        users = self._users(container_id, name)
        if self._ids.get(name) == container_id:
            del self._ids[name]
        wanted = shared_network_id(own)
        sharers = self._sharers.get(wanted)
        if sharers is not None:
            sharers.discard(container_id)
            if not sharers:
                del self._sharers[wanted]
        return users

    def _rebuild(self, ids: Iterable[str]) -> dict[str, Built | None]:
        """Build the routes of containers anew; those that are gone get ``None``."""
        changes: dict[str, Built | None] = {}
        for container_id in ids:
            own = self._own.get(container_id)
            if own is None:
                if self.built.pop(container_id, None) is not None:
                    changes[container_id] = None
                continue
            peer = self._peer(own)
            container = joined(own, {} if peer is None else {shared_network_id(own): peer})
            self.containers[container_id] = container
            built = build_routes(container, explicit_only=self.explicit_only, reserved_ports=self.reserved_ports)
            if container_id in self.draining or (peer is not None and peer.container_id in self.draining):
                built = _draining(built)
            if self.built.get(container_id) != built:
                self.built[container_id] = built
                changes[container_id] = built
        return changes


_ID_LENGTH: Final = 64


def _recognise(raw: msgspec.Raw) -> tuple[str, int]:
    """Return a list element's id and fingerprint, without decoding more; ``""`` for one that cannot be read."""
    try:
        slices = _SLICES.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", 0
    return slices.Id, slices.fingerprint()


def _draining(built: Built) -> Built:
    """Return the routes with every endpoint about to stop; one that never took requests goes on waiting."""
    replace = msgspec.structs.replace
    routes = tuple(
        replace(
            route,
            endpoints=tuple(
                endpoint if endpoint.state == "waiting" else replace(endpoint, state="draining")
                for endpoint in route.endpoints
            ),
        )
        if route.endpoints
        else route
        for route in built.routes
    )
    return replace(built, routes=routes)
