"""Tells Envoys how to reach agents: their addresses, their certificates on disk, and what they support."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pilotage.core.addresses import is_address
from pilotage.core.errors import EngineUnreachable
from pilotage.daemon.agent_health import AgentHealthWatcher
from pilotage.engine.archive import check_credentials
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.pool import new_client
from pilotage.gateway.tunnels import Tunnels
from pilotage.xds.agent import Agent, host_of
from pilotage.xds.resolver import look_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AsyncExitStack
    from pathlib import Path

    from pilotage.discovery.manager import DiscoveryManager
    from pilotage.discovery.provider import KnownAgent
    from pilotage.engine.agents import AgentHealth
    from pilotage.engine.config import DockerProviderConfig, TLSFiles
    from pilotage.engine.credentials import Credentials
    from pilotage.routes.route import EndpointHealth
    from pilotage.xds.agent import Tunnel
    from pilotage.xds.backend import Member
    from pilotage.xds.server import AdsServer

__all__ = ["AgentKeeper", "start_agents"]

log = logging.getLogger(__name__)

_INTERVAL: Final = 1.0
"""Seconds between two checks of the certificate files and of what agents report about themselves."""

_RESOLVE: Final = 30.0
"""Seconds between two lookups of an agent's host name, and two checks of certificates that cannot be used."""

_FIRST: Final = 5.0
"""Seconds that the first table waits for the addresses of agents."""


async def start_agents(
    discovery: DiscoveryManager, ads: AdsServer, stack: AsyncExitStack, folder: Path, *, tunnels: bool
) -> AgentKeeper:
    """Tell Envoys about agents, start checking the containers behind agents, and relay connections to agents.

    Args:
        discovery: engines and table.
        ads: the gateway.
        stack: ends the checks and the connections.
        folder: a private folder for the sockets of tunnels.
        tunnels: whether an Envoy can use tunnels.

    """
    relay: Tunnels | None = None
    if tunnels:
        relay = Tunnels(str(folder), lambda alias: _tunnels_of(ads, alias))
        stack.push_async_callback(relay.close)
        ads.targets.on_touched.append(relay.follow)

    def members(alias: str) -> Iterable[Member]:
        route = ads.snapshot.table.routes.get(alias)
        link = route.pool_name if route is not None else ""
        backend = ads.snapshot.backend(f"pool/{link}" if link else f"route/{alias}")
        found = backend.members if backend is not None else ()
        ids = {endpoint.container_id for endpoint in route.endpoints} if route is not None else set()
        return [member for member in found if not link or member.endpoint.container_id in ids]

    async def ask(address: str, query: Mapping[str, str], timeout: float) -> AgentHealth:  # noqa: ASYNC109
        known = discovery.agents().get(address)
        if known is None:
            raise EngineUnreachable(address, "it is no longer being watched")
        async with await new_client(known.config, pool=discovery.pool) as client:
            return await client.agent_health(query, timeout=timeout)

    def report(alias: str, health: Mapping[str, EndpointHealth]) -> None:
        ads.targets.set_agent_health(alias, health)
        discovery.set_health({alias: health})

    watcher = AgentHealthWatcher(members, ask, report)
    stack.push_async_callback(watcher.close)
    ads.targets.on_touched.append(watcher.follow)

    def apply(agents: Mapping[Agent, Credentials | None]) -> None:
        if relay is not None:
            relay.set_agents(agents)
        ads.targets.set_agents(agents)

    keeper = AgentKeeper(discovery.agents, apply, relay=str(folder) if tunnels else "")
    keeper.tunnels = relay
    await keeper.start()
    return keeper


def _tunnels_of(ads: AdsServer, alias: str) -> Iterable[Tunnel]:
    """Return the tunnels that Envoys use for a route or, if the route is in a pool, for the pool."""
    route = ads.snapshot.table.routes.get(alias)
    if route is None or not route.agent:
        return ()
    link = route.pool_name
    backend = ads.snapshot.backend(f"pool/{link}" if link else f"route/{alias}")
    members = backend.members if backend is not None else ()
    return [tunnel for member in members if backend is not None and (tunnel := backend.tunnel(member)) is not None]


class AgentKeeper:
    """Watches the addresses and certificates of agents, and passes every change on to Envoys.

    Args:
        agents: returns agent's address -> discovery's facts about the agent.
        apply: called with agent -> its new certificates for all agents; ``None`` keeps the agent's previous
            certificates.
        relay: folder of the tunnels' sockets; ``""`` if there are no tunnels.
        lookup: returns the addresses of a host name; called in a thread because it blocks.

    Attributes:
        tunnels: the relay; ``None`` if there are no tunnels.

    """

    def __init__(
        self,
        agents: Callable[[], Mapping[str, KnownAgent]],
        apply: Callable[[Mapping[Agent, Credentials | None]], object],
        *,
        relay: str = "",
        lookup: Callable[[str], tuple[str, ...]] = look_up,
    ) -> None:
        self.tunnels: Tunnels | None = None
        self._relay = relay
        self._datagrams = find_spec("OpenSSL") is not None
        self._agents = agents
        self._apply = apply
        self._lookup = lookup
        self._ips: dict[str, str] = {}  # host -> address
        self._due = 0.0  # loop time of the next lookups
        self._states: dict[str, tuple[object, ...]] = {}  # address -> state of its files when they were last read
        self._problems: dict[str, str] = {}  # address -> why its files cannot be used; "" once they have been read
        self._sent: set[Agent] = set()

    async def start(self) -> None:
        """Resolve the agents' host names for up to 5 seconds, then apply the results before the first table."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST):
                await self._resolve()
        self.update()

    async def run(self) -> None:
        """Resolve host names again and apply changes, at an interval, until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL)
            await self._resolve()
            self.update()

    async def _resolve(self) -> None:
        hosts = {host_of(address) for address in self._agents()}
        now = asyncio.get_running_loop().time()
        wanted = [host for host in hosts if not is_address(host) and (now >= self._due or host not in self._ips)]
        if now >= self._due:
            self._due = now + _RESOLVE
            for address, problem in self._problems.items():
                if problem:  # such as a certificate that is not valid yet, because the clock has not been set
                    self._states.pop(address, None)
        for host in wanted:
            try:
                found = await asyncio.to_thread(self._lookup, host)
            except (OSError, ValueError) as error:
                if host not in self._ips:
                    log.warning("cannot resolve the host %s of an agent: %s", host, error)
                self._ips.setdefault(host, "")
                continue
            if self._ips.get(host) not in found:
                self._ips[host] = found[0]

    def update(self) -> None:
        """Apply all agents and their new certificates, if anything has changed since the last call."""
        found: dict[Agent, Credentials | None] = {}
        news = False
        for address, known in self._agents().items():
            credentials, problem = self._read(address, known.config)
            news = news or credentials is not None
            found[self._agent(address, known, problem)] = credentials
        for address in self._states.keys() - {agent.address for agent in found}:
            del self._states[address]
            del self._problems[address]
        if news or found.keys() != self._sent:
            self._sent = set(found)
            self._apply(found)

    def _agent(self, address: str, known: KnownAgent, problem: str) -> Agent:
        host, info = host_of(address), known.info
        ip = host if is_address(host) else self._ips.get(host, "")
        if not ip and not problem:
            problem = f"the host {host!r} of its agent cannot be resolved"
        return Agent(
            address,
            known.engine,
            ip,
            is_old=info is not None and not info.has_options,
            tunnels=info is None or info.tunnels,
            in_host_network=info is None or info.runtime != "podman",
            problem=problem,
            relay=self._relay,
            datagrams=self._datagrams,
        )

    def _read(self, address: str, config: DockerProviderConfig) -> tuple[Credentials | None, str]:
        """Return the new certificates (``None`` for none) and why the agent cannot be reached (``""`` if it can)."""
        files = config.tls
        if files is None:
            return None, "its agent has no certificates"
        state = (files, *_look(files))
        if state == self._states.get(address):
            return None, self._problems[address]
        self._states[address] = state
        try:
            found = check_credentials(files)
        except CredentialsError as error:
            if self._problems.get(address) == "":  # Envoys keep the previous ones
                log.warning("agent %s: %s", address, error.what)
            else:
                self._problems[address] = f"its agent cannot be reached: {error.what}"
            return None, self._problems[address]
        self._problems[address] = ""
        return found, ""


def _look(files: TLSFiles) -> Iterable[object]:
    """Yield values that change whenever the files change."""
    for path in (files.zip_file, files.ca_file, files.cert_file, files.key_file):
        if path:
            try:
                found = os.stat(path)  # noqa: PTH116
            except OSError as error:
                yield error.errno
            else:
                yield found.st_ino, found.st_size, found.st_mtime_ns
