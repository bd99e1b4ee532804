"""Keeps a snapshot's targets current: addresses of names, plain HTTP targets, and files named in labels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pilotage.xds.clusters import GRPC_SUFFIX
from pilotage.xds.label_files import FILE_RETRY
from pilotage.xds.resolver import Resolver, look_up
from pilotage.xds.resources import CLUSTER
from pilotage.xds.tls_probe import TlsProber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.engine.credentials import Credentials
    from pilotage.routes.route import EndpointHealth
    from pilotage.table.table import Table
    from pilotage.xds.agent import Agent
    from pilotage.xds.resources import Key
    from pilotage.xds.snapshot import Snapshot

__all__ = ["TargetWatcher"]

_RECHECK: Final = 5.0
"""Seconds between two checks of this machine's addresses, and of files with rules."""


class TargetWatcher:
    """Resolves and probes the targets of a snapshot, and applies the results to it.

    Attributes:
        on_touched: called with the table and the aliases that have changed in the snapshot, even if only a lookup or a
            probe changed them.

    Args:
        snapshot: the snapshot.
        on_change: called with the keys of the resources that changed because of a result.
        lookup: resolves a host name in a thread, like :func:`pilotage.xds.resolver.look_up`.

    """

    def __init__(
        self,
        snapshot: Snapshot,
        on_change: Callable[[frozenset[Key]], object],
        *,
        lookup: Callable[[str], tuple[str, ...]] = look_up,
    ) -> None:
        self.on_touched: list[Callable[[Table, set[str]], object]] = []
        self._snapshot = snapshot
        self._on_change = on_change
        self._resolver = Resolver(self._on_resolved, lookup=lookup)
        self._prober = TlsProber(lambda address: on_change(snapshot.set_plain(address)))
        self._local: frozenset[str] = frozenset()
        self._published: frozenset[tuple[str, int]] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        snapshot.targets.resolved = self._resolver.addresses
        snapshot.targets.errors = self._resolver.errors

    def follow(self) -> frozenset[Key]:
        """Resolve and probe targets that changed in the snapshot; return the keys of the resources that change."""
        snapshot = self._snapshot
        changed: frozenset[Key] = frozenset()
        touched, snapshot.touched = snapshot.touched, set()
        for alias in touched:
            owner, names = snapshot.targets.names.get(alias, ("", frozenset()))
            self._resolver.update(alias, names, owner)
            for address in self._prober.update(alias, snapshot.downgrade.https.get(alias, ())):
                changed |= snapshot.set_plain(address, plain=False)
        for follow in self.on_touched if touched else ():
            follow(snapshot.table, touched)
        if self._timer is None:
            self._recheck()
        if self._retry is None and snapshot.files.refused:
            self._retry = asyncio.get_running_loop().call_later(FILE_RETRY, self._read_again)
        return changed

    async def prepare(self, table: Table, timeout: float) -> None:  # noqa: ASYNC109  # a slow name server is no error
        """Resolve the host names of the first table before it is published, for at most the given number of seconds.

        Until the table is published, Envoys that are already running keep what they have.
        """
        self._snapshot.replace(table)
        self.follow()
        await self._resolver.settled(timeout)

    async def close(self) -> None:
        """Stop resolving and probing."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        self._resolver.close()
        await self._prober.close()

    def read_again(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Reread the files named in labels for the given clusters; return the keys of the changed resources.

        Args:
            keys: the keys of resources that are being resent to Envoys.

        """
        names = [name for type_url, name in keys if type_url == CLUSTER]
        find = self._snapshot.backend
        backends = [find(name) or find(name.removesuffix(GRPC_SUFFIX)) for name in names]
        aliases = {backend.route.alias for backend in backends if backend is not None and backend.files}
        return self._snapshot.check_again(aliases) | self.follow() if aliases else frozenset()

    def set_agents(self, agents: Mapping[Agent, Credentials | None]) -> None:
        """Replace all agents. Each is given with its certificates, or with ``None`` to keep its previous ones."""
        changed = self._snapshot.set_agents(agents)
        self._on_change(changed | self.follow())

    def set_agent_health(self, alias: str, health: Mapping[str, EndpointHealth]) -> None:
        """Replace the health that agents report for the endpoints of a route, by address."""
        if health:
            self._snapshot.agents.health[alias] = health
        else:
            self._snapshot.agents.health.pop(alias, None)
        changed = self._snapshot.check_again({alias})
        self._on_change(changed | self.follow())

    def _on_resolved(self, name: str) -> None:
        changed = self._snapshot.check_again(self._snapshot.targets.users(name))
        self._on_change(changed | self.follow())

    def _read_again(self) -> None:
        """Check again the routes with files named in labels that could not be read."""
        self._retry = None
        snapshot = self._snapshot
        changed = snapshot.check_again(set(snapshot.files.refused))
        self._on_change(changed | self.follow())

    def _recheck(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_RECHECK, self._recheck)
        targets = self._snapshot.targets
        local, published = targets.guard.local_addresses(), targets.guard.published()
        affected = targets.affected_by(local ^ self._local, published ^ self._published)
        affected |= self._snapshot.rules.files.changed()
        self._local, self._published = local, published
        if affected:
            changed = self._snapshot.check_again(affected)
            self._on_change(changed | self.follow())
