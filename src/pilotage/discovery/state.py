"""Tracks one engine's containers over time, and the resulting routes. Pure: the caller passes in lists and events."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from pilotage.containers.networks import join_shared_network, shared_network_id
from pilotage.containers.swarm import is_task, task_id
from pilotage.core.index import Index
from pilotage.discovery.events import Effect
from pilotage.discovery.fingerprints import Fingerprint, Fingerprints
from pilotage.engine.config import is_explicit_only
from pilotage.policy import NO_POLICY
from pilotage.routes.build import RESERVED_PORTS, Built, RouteBuilder
from pilotage.routes.reach import nowhere
from pilotage.table.snapshot import EngineSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pilotage.containers.container import Container
    from pilotage.containers.parse import ContainerParser
    from pilotage.discovery.events import ContainerEvent
    from pilotage.policy import Policy

__all__ = ["EngineState", "ListDiff"]

_NO_ROUTES: Final = Built()


class ListDiff(NamedTuple):
    """The differences between a list and the known state.

    Attributes:
        unchanged: IDs of unchanged containers.
        changed: the other containers, decoded. The caller inspects those that need inspection, and then passes all of
            them to :meth:`EngineState.update`.
        fingerprints: ID -> fingerprint of the changed containers.
        without_id: name -> number of entries without an ID. Each of them gets an ID made from its name, so that it is
            recognized in the next list.

    """

    unchanged: set[str]
    changed: list[Container]
    fingerprints: dict[str, Fingerprint]
    without_id: dict[str, int]

    @property
    def ids(self) -> set[str]:
        """The IDs of all listed containers."""
        return self.unchanged | {container.container_id for container in self.changed}


class EngineState:
    """The known containers of one engine and their routes.

    Args:
        parser: decodes the engine's list entries.
        reserved_ports: ports on this host that the proxy itself uses.
        policy: what containers may claim.
        is_local: returns whether an address belongs to this machine and is not loopback.

    Attributes:
        podman: whether the engine is Podman. Podman's list lacks health, so its running containers with a health check
            always count as changed. The watcher sets this.
        explicit_only: whether containers without pilotage labels get no routes.
        containers: ID -> container. A container that shares another one's network has the address and ports of that
            network.
        built: ID -> its routes and problems.
        draining: ID -> end of the grace period, by the caller's clock; earliest first.

    """

    def __init__(
        self,
        parser: ContainerParser,
        *,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        policy: Policy = NO_POLICY,
        is_local: Callable[[str], bool] = nowhere,
    ) -> None:
        self.parser = parser
        self.podman = False
        self.explicit_only = is_explicit_only(parser.facts.agent or parser.config.name)
        self._is_local = is_local
        self.apply(reserved_ports, policy)
        self.containers: dict[str, Container] = {}
        self.built: dict[str, Built] = {}
        self.draining: dict[str, float] = {}
        self._listed: dict[str, Container] = {}  # before another container's network is applied
        self._addresses: Index[str, str] = Index()  # private_hostname -> IDs
        self._fingerprints = Fingerprints()
        self._ids: dict[str, str] = {}  # name -> id
        self._network_users: dict[str, set[str]] = {}  # ID or name of the network's owner -> IDs of its users

    def apply(self, reserved_ports: frozenset[int], policy: Policy) -> None:
        """Use these reserved ports and this policy, as in the constructor, for routes built from now on.

        Existing routes change only when :meth:`rebuild` is called.
        """
        self._builder = RouteBuilder(
            explicit_only=self.explicit_only, reserved_ports=reserved_ports, policy=policy, is_local=self._is_local
        )

    def rebuild(self, ids: Iterable[str]) -> dict[str, Built | None]:
        """Build the routes of some known containers again. Return those that changed, in the form of :meth:`update`."""
        return self._rebuild(container_id for container_id in ids if container_id in self._listed)

    def __len__(self) -> int:
        return len(self.containers)

    # ---- events

    def is_relevant(self, event: ContainerEvent, *, in_flight: bool = False) -> bool:
        """Return whether an event can affect a route.

        Args:
            event: the event.
            in_flight: whether a request about the container is in flight, so the known state may be outdated.

        """
        known = self._listed.get(event.container_id)
        if known is None:
            if event.effect in (Effect.REMOVED, Effect.DRAINING) and not in_flight:
                return False
            return not self.explicit_only or event.may_be_ours or bool(self._users_of(event.container_id, event.name))
        if event.effect is Effect.REMOVED:
            return True
        users = self._users_of(event.container_id, known.container_name)
        if self.explicit_only and not known.is_explicit and not users:
            return False
        return in_flight or not event.routed_only or any(map(self._is_served, (event.container_id, *users)))

    def _is_served(self, container_id: str) -> bool:
        return any(not route.excluded for route in self.built.get(container_id, _NO_ROUTES).routes)

    # ---- lists

    def diff(self, elements: Iterable[msgspec.Raw], listed: ListDiff | None = None) -> ListDiff:
        """Compare list entries with the known state, without changing it.

        Args:
            elements: the list, or a part of it.
            listed: the result for the previous parts of the same list; it is extended and returned.

        """
        listed = listed or ListDiff(set(), [], {}, {})
        elements, unchanged, changed = list(elements), listed.unchanged, listed.fingerprints
        may_need_inspection = self.podman or bool(self._network_users)
        for raw, (entry, found) in zip(elements, self._fingerprints.find(elements), strict=True):
            if found and found not in changed and not may_need_inspection:
                unchanged.add(found)  # almost nothing else runs for most entries
                continue
            known_id, fingerprint, is_same = self._fingerprints.compare(raw, entry)
            if known_id in unchanged or known_id in changed:
                continue  # the engine lists it twice
            if is_same and not (may_need_inspection and self._needs_inspection_again(known_id)):
                unchanged.add(known_id)
                continue
            if known_id:
                changed[known_id] = fingerprint
            container = self.parser.decode(raw)  # an unreadable entry becomes a container with an error
            if not container.container_id:
                name = f"#{container.container_name}"
                number = listed.without_id[name] = listed.without_id.get(name, 0) + 1
                container = msgspec.structs.replace(container, container_id=name if number == 1 else f"{name}#{number}")
            listed.changed.append(container)
        return listed

    def forget_tasks(self) -> None:
        """Treat the tasks of swarm services as changed in the next list."""
        for container_id, container in self._listed.items():
            if is_task(container):
                self._fingerprints.forget(container_id)

    def _needs_inspection_again(self, container_id: str) -> bool:
        """Return whether an inspection may report a new health or start time although the list entry is unchanged."""
        known = self._listed.get(container_id)
        if known is None or not known.running:
            return False
        return (self.podman and bool(known.health)) or self._shares_network(known)

    def _shares_network(self, container: Container) -> bool:
        return bool(shared_network_id(container) or self._users_of(container.container_id, container.container_name))

    @property
    def network_owners(self) -> Collection[str]:
        """IDs or names of the containers whose network other containers use."""
        return self._network_users.keys()

    def update(
        self,
        changed: Iterable[Container],
        *,
        fingerprints: Mapping[str, Fingerprint] | None = None,
        gone: Iterable[str] = (),
        present: set[str] | None = None,
    ) -> dict[str, Built | None]:
        """Update the known containers.

        Args:
            changed: containers as they are now.
            fingerprints: their fingerprints, from :meth:`diff`.
            gone: IDs of removed containers.
            present: IDs in a full list; every other container is gone.

        Returns:
            Container ID -> its routes and problems, or ``None`` if it is gone; only for containers that changed.

        """
        removed = set(gone)
        updated: set[str] = set()
        affected: dict[str, None] = {}
        for container in changed:
            container_id = container.container_id
            updated.add(container_id)
            affected |= dict.fromkeys(self._store(container))
            if fingerprints is not None and container_id in fingerprints and self._is_complete(container):
                self._fingerprints.remember(container_id, fingerprints[container_id])
            else:
                self._fingerprints.forget(container_id)
        if present is not None:
            removed |= self._listed.keys() - present
        for container_id in removed - updated:
            if container_id in self._listed:
                affected |= dict.fromkeys(self._remove(container_id))
        return self._rebuild(affected)

    def _is_complete(self, container: Container) -> bool:
        """Return whether nothing is left to retry: the inspection succeeded and the container has no errors."""
        if container.errors or self.parser.is_forged(container):  # the engine may report the task later
            return False
        return not (self.podman and container.running and not container.network_mode)

    def is_behind(self, event: ContainerEvent) -> bool:
        """Return whether the list does not reflect an event yet, or the swarm has not reported a container's task."""
        listed = self._listed.get(event.container_id)
        if listed is None:
            return False
        return not event.is_reflected_in(listed) or (self.parser.is_forged(listed) and bool(task_id(listed)))

    def missing_network_owners(self, containers: Iterable[Container]) -> dict[str, str]:
        """Return the ID of each network owner that is missing, mapped to the name of a container that uses its network.

        Includes only owners that are unknown, or that were not inspected because they had no users.
        """
        found: dict[str, str] = {}
        for container in containers:
            wanted = shared_network_id(container)
            owner = self._listed.get(wanted)
            if len(wanted) == _ID_LENGTH and (
                owner is None or (container.started_at and owner.running and not owner.started_at)
            ):
                found[wanted] = container.container_name
        return found

    def drain(self, container_id: str, until: float) -> dict[str, Built | None]:
        """Drain a container, and the containers that share its network, until a time on the caller's clock.

        All grace periods are equally long, so the one that begins now ends last.
        """
        known = self._listed.get(container_id)
        if known is None:
            return {}
        self.draining.pop(container_id, None)
        self.draining[container_id] = until
        return self._rebuild([container_id, *self._users_of(container_id, known.container_name)])

    def undrain(self, now: float = float("inf"), *, only: str | None = None) -> dict[str, Built | None]:
        """Stop draining the containers whose grace period has ended or, if given, only the container ``only``."""
        if only is not None:
            due = [only] if only in self.draining else []
        else:
            due = [i for i, _ in takewhile(lambda entry: entry[1] <= now, self.draining.items())]
        affected: dict[str, None] = {}
        for container_id in due:
            del self.draining[container_id]
            affected[container_id] = None
            affected |= dict.fromkeys(self._users_of(container_id, self._listed[container_id].container_name))
        return self._rebuild(affected)

    def containers_at(self, addresses: Iterable[str]) -> list[Container]:
        """Return the containers that have one of the given addresses on a network, in any order."""
        return [self.containers[container_id] for address in addresses for container_id in self._addresses[address]]

    @property
    def next_undrain(self) -> float:
        """When the first grace period ends, by the caller's clock; infinity if nothing is draining."""
        return next(iter(self.draining.values()), float("inf"))

    def snapshot(self) -> EngineSnapshot:
        """Return the current containers and routes, sorted by container name."""
        order = sorted(self.containers, key=lambda i: (self.containers[i].container_name, i))
        containers = tuple(self.containers[i] for i in order)
        return EngineSnapshot(self.parser.config, containers, tuple(self.built.get(i, _NO_ROUTES) for i in order))

    # ---- internals

    def _users_of(self, container_id: str, name: str) -> list[str]:
        """Return the IDs of the containers that use a container's network, which they specify by its ID or name."""
        if not self._network_users:
            return []
        return sorted(self._network_users.get(container_id, set()) | self._network_users.get(name, set()))

    def _network_owner(self, container: Container) -> Container | None:
        """Return the known container whose network this one uses, if any."""
        wanted = shared_network_id(container)
        return (self._listed.get(wanted) or self._listed.get(self._ids.get(wanted, ""))) if wanted else None

    def _store(self, container: Container) -> list[str]:
        """Store a container; return the IDs of all containers whose routes may change, including its own."""
        container_id, name = container.container_id, container.container_name
        affected = [container_id]
        old = self._listed.get(container_id)
        if old is not None:
            affected += self._unlink(old)
        self._listed[container_id] = container
        if name:
            self._ids[name] = container_id
        if wanted := shared_network_id(container):
            self._network_users.setdefault(wanted, set()).add(container_id)
        if not container.running:
            self.draining.pop(container_id, None)
        return affected + self._users_of(container_id, name)

    def _remove(self, container_id: str) -> list[str]:
        """Remove a container; return the IDs of all containers whose routes may change, including its own."""
        own = self._listed.pop(container_id)
        self._fingerprints.forget(container_id)
        self._index_address(container_id, None)
        for known in (self.draining, self.containers):
            known.pop(container_id, None)
        return [container_id, *self._unlink(own)]

    def _unlink(self, own: Container) -> list[str]:
        """Remove a container from the indexes; return the IDs of the users of its network."""
        container_id = own.container_id
        users = self._users_of(container_id, own.container_name)
        if self._ids.get(own.container_name) == container_id:
            del self._ids[own.container_name]
        wanted = shared_network_id(own)
        sharers = self._network_users.get(wanted)
        if sharers is not None:
            sharers.discard(container_id)
            if not sharers:
                del self._network_users[wanted]
        return users

    def _index_address(self, container_id: str, container: Container | None) -> None:
        old = self.containers.get(container_id)
        before, now = (it.private_hostname if it is not None else "" for it in (old, container))
        if before != now:
            self._addresses.discard(before, container_id)
            self._addresses.add(now, container_id)

    def _rebuild(self, ids: Iterable[str]) -> dict[str, Built | None]:
        """Rebuild the routes of some containers; return those that changed, with ``None`` for removed ones."""
        changes: dict[str, Built | None] = {}
        for container_id in ids:
            own = self._listed.get(container_id)
            if own is None:
                if self.built.pop(container_id, None) is not None:
                    changes[container_id] = None
                continue
            owner = self._network_owner(own)
            container = join_shared_network(own, {} if owner is None else {shared_network_id(own): owner})
            self._index_address(container_id, container)
            self.containers[container_id] = container
            built = self._builder.build(container)
            if container_id in self.draining or (owner is not None and owner.container_id in self.draining):
                built = _draining(built)
            if self.built.get(container_id) != built:
                self.built[container_id] = built
                changes[container_id] = built
        return changes


_ID_LENGTH: Final = 64


def _draining(built: Built) -> Built:
    """Return the routes with all endpoints draining, except endpoints that were never ready."""
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
