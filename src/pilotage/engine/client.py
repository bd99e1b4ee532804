"""Defines the Engine API client: lists, inspections, events, and the commands that discovery and idling need."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote

import msgspec

from pilotage.core.errors import EngineIncompatible
from pilotage.engine.agents import AGENT_ROOT, AgentHealth, AgentInfo
from pilotage.engine.connection import LIST_LIMIT, Connection, Timeouts
from pilotage.engine.diagnosis import Request, explain
from pilotage.engine.events import EventStream
from pilotage.engine.list_splitter import LIST_MAXIMUM, ElementTooLongError, ListSplitter, TooManyContainersError
from pilotage.engine.types import DECODE_ERRORS, Inspect, Service, Task, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["EngineClient"]

_IDS_PER_REQUEST: Final = 100
"""Maximum IDs in one filter. Each takes about 75 bytes of URL; socket proxies accept at least 16 kB."""

_HEALTH: Final = msgspec.json.Decoder(AgentHealth)
_INSPECT: Final = msgspec.json.Decoder(Inspect)
_SERVICES: Final = msgspec.json.Decoder(list[Service])
_TASKS: Final = msgspec.json.Decoder(list[Task])
_ENCODE: Final = msgspec.json.Encoder(order="deterministic").encode


class EngineClient:
    """Client of one engine. Several clients may share its connection.

    All methods raise :class:`~pilotage.core.errors.EngineError`: ``EngineUnreachable`` if the connection fails,
    ``EngineRefused`` with its ``status`` if the engine rejects the request, ``EngineIncompatible`` if the server does
    not speak a supported Engine API. All but the event stream time out after ``timeouts.request`` seconds.

    Args:
        name: the engine's name; messages start with it.
        connection: connection to the engine.
        timeouts: time limits.

    """

    def __init__(self, name: str, connection: Connection, timeouts: Timeouts) -> None:
        self.name = name
        self.timeouts = timeouts
        self._connection = connection

    # ---- identity

    @property
    def key(self) -> str:
        """The address together with its certificate files. Clients with equal keys share a connection."""
        return self._connection.address.key

    @property
    def daemon_host(self) -> str:
        """The engine's URL; ``tcp://host:port`` for an agent, as GoDoxy shows it (LABELS II.8)."""
        address = self._connection.address
        return address.url.replace("agent://", "tcp://", 1) if address.scheme == "agent" else address.url

    @property
    def version(self) -> Version:
        """The engine's response to ``GET /version`` at the last negotiation."""
        return self._connection.version or Version()

    @property
    def api_version(self) -> str:
        """Negotiated API version, e.g. ``"1.41"``; ``""`` before the first connection."""
        return self._connection.api_version

    @property
    def kind(self) -> Literal["docker", "podman"]:
        """Whether the engine is Docker or Podman."""
        components = self.version.Components or []
        return "podman" if any(c.Name == "Podman Engine" for c in components) else "docker"

    @property
    def is_rootless(self) -> bool:
        """Whether the engine runs as an ordinary user of this machine, so container addresses are unreachable."""
        return self._connection.is_rootless(podman=self.kind == "podman")

    @property
    def latency(self) -> float:
        """Seconds until the engine answered ``/version``, including connecting if necessary."""
        return self._connection.latency

    @property
    def agent(self) -> AgentInfo | None:
        """What the agent in front of the engine reports about itself; ``None`` if there is no agent."""
        return self._connection.agent

    # ---- liveness

    async def check_connection(self) -> None:
        """Request the engine's version and negotiate the API version again."""
        await self._require().open(self.name, self.timeouts, again=True)

    async def ping(self) -> None:
        """Check that the engine responds (``GET /_ping``)."""
        await self._call("GET", "/_ping", versioned=False)

    async def date(self) -> str:
        """Return the engine's time, as it writes it in the header ``Date``; ``""`` without one (``GET /version``)."""
        response = await self._require().stream(self.name, "/version", {}, timeouts=self.timeouts)
        response.close()
        return response.headers.get("date", "")

    # ---- queries

    async def list_containers(self, *, ids: Iterable[str] | None = None, all: bool = True) -> list[msgspec.Raw]:  # noqa: A002
        """List containers (``GET /containers/json``).

        Args:
            ids: full IDs to list; unknown IDs are ignored. ``None`` lists every container.
            all: include containers that are not running.

        Returns:
            One raw JSON slice per container, to be decoded as :class:`~pilotage.engine.types.Summary`.

        """
        found: list[msgspec.Raw] = []
        await self.read_containers(found.extend, ids=ids, all=all)
        return found

    async def read_containers(
        self,
        take: Callable[[list[msgspec.Raw]], object],
        *,
        ids: Iterable[str] | None = None,
        all: bool = True,  # noqa: A002
    ) -> None:
        """List containers like :meth:`list_containers`, but pass them on while the list arrives.

        The whole list is therefore never in memory. If the request fails, part of it may already have been passed on.

        Args:
            take: receives the containers in batches; it must not block.
            ids: full IDs to list; unknown IDs are ignored. ``None`` lists every container.
            all: include containers that are not running.

        """
        query = {"all": "1"} if all else {}
        if ids is None:
            await self._list(query, take)
            return
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _IDS_PER_REQUEST):
            filters = _filters({"id": wanted[start : start + _IDS_PER_REQUEST]})
            await self._list({**query, "filters": filters}, take)

    async def _list(self, query: Mapping[str, str], take: Callable[[list[msgspec.Raw]], object]) -> None:
        splitter = ListSplitter(take)
        try:
            await self._call("GET", "/containers/json", query, limit=LIST_LIMIT, sink=splitter.feed)
            splitter.finish()
        except TooManyContainersError:
            what = f"the engine lists more than {LIST_MAXIMUM:,} containers"
            raise EngineIncompatible(self.name, what, "remove stopped ones (docker container prune)") from None
        except ElementTooLongError as error:
            raise EngineIncompatible(self.name, str(error), "shorten its labels") from None
        except DECODE_ERRORS as error:
            raise self._explain(error, "GET /containers/json") from error

    async def inspect(self, container_id: str) -> Inspect:
        """Return one container's details (``GET /containers/{id}/json``).

        Args:
            container_id: ID, prefix of the ID, or name.

        Raises:
            EngineRefused: with ``status`` 404 if the container does not exist.

        """
        path = f"/containers/{quote(container_id, safe='')}/json"
        body = await self._call("GET", path)
        try:
            return _INSPECT.decode(body)
        except DECODE_ERRORS as error:
            raise self._explain(error, f"GET {path}") from error

    async def services(self) -> list[Service]:
        """Return the services of the engine's swarm (``GET /services``).

        Raises:
            EngineRefused: with ``status`` 503 if the engine is not a manager of a swarm.

        """
        body = await self._call("GET", "/services", limit=LIST_LIMIT)
        try:
            return _SERVICES.decode(body)
        except DECODE_ERRORS as error:
            raise self._explain(error, "GET /services") from error

    async def tasks(self, ids: Iterable[str]) -> list[Task]:
        """Return tasks of the engine's swarm (``GET /tasks``).

        Args:
            ids: their full IDs; unknown IDs are ignored.

        Raises:
            EngineRefused: with ``status`` 503 if the engine is not a manager of a swarm.

        """
        found: list[Task] = []
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), _IDS_PER_REQUEST):
            query = {"filters": _filters({"id": wanted[start : start + _IDS_PER_REQUEST]})}
            body = await self._call("GET", "/tasks", query)
            try:
                found += _TASKS.decode(body)
            except DECODE_ERRORS as error:
                raise self._explain(error, "GET /tasks") from error
        return found

    def events(self, *, filters: Mapping[str, Sequence[str]] | None = None, since: str | None = None) -> EventStream:
        """Return the event stream, an async context manager (``GET /events``).

        Each stream occupies one connection. An ssh engine has only two, so open at most one stream there.

        Args:
            filters: e.g. ``{"type": ["container"], "event": ["start", "die"]}``.
            since: replay events from this time: Unix seconds with up to nine decimals (``"1700000000.000000001"``),
                inclusive. Engines keep few events and lose them on restart.

        """
        query = {"filters": _filters(filters)} if filters else {}
        if since is not None:
            query["since"] = since
        return EventStream(self._require(), self.name, query, self.timeouts)

    async def agent_health(self, query: Mapping[str, str], *, timeout: float) -> AgentHealth:  # noqa: ASYNC109
        """Have the agent check a target (``GET /godoxy/agent/health``).

        Args:
            query: ``scheme``, ``host`` and ``path``.
            timeout: seconds that the agent may wait for the target.

        """
        path = f"{AGENT_ROOT}/health"
        limits = msgspec.structs.replace(self.timeouts, request=self.timeouts.connect + timeout)
        parameters = {**query, "timeout": str(math.ceil(timeout * 1000))}
        body = await self._call("GET", path, parameters, versioned=False, timeouts=limits)
        try:
            return _HEALTH.decode(body)
        except DECODE_ERRORS as error:
            raise self._explain(error, f"GET {path}") from error

    # ---- commands

    async def start(self, container_id: str) -> None:
        """Start a container. Does nothing if it is already running."""
        await self._command(container_id, "start")

    async def stop(self, container_id: str, *, signal: str = "", grace: float | None = None) -> None:
        """Stop a container and wait until it has stopped. Does nothing if it is already stopped.

        Args:
            container_id: ID or name.
            signal: overrides the container's stop signal, e.g. ``"SIGINT"`` (API 1.42; older engines ignore it).
            grace: seconds before the engine kills the container; ``None`` for the container's own setting. The request
                timeout is extended by the same time.

        """
        query = {"signal": signal} if signal else {}
        if grace is not None:
            query["t"] = str(max(0, round(grace)))
        await self._command(container_id, "stop", query, longer=10.0 if grace is None else grace)

    async def kill(self, container_id: str, *, signal: str = "") -> None:
        """Send a signal to a container, ``SIGKILL`` by default."""
        await self._command(container_id, "kill", {"signal": signal} if signal else {})

    async def pause(self, container_id: str) -> None:
        """Pause a container."""
        await self._command(container_id, "pause")

    async def unpause(self, container_id: str) -> None:
        """Resume a paused container."""
        await self._command(container_id, "unpause")

    async def _command(
        self, container_id: str, verb: str, query: Mapping[str, str] | None = None, *, longer: float = 0.0
    ) -> None:
        timeouts = msgspec.structs.replace(self.timeouts, request=self.timeouts.request + longer)
        await self._call("POST", f"/containers/{quote(container_id, safe='')}/{verb}", query, timeouts=timeouts)

    # ---- helpers

    def _require(self) -> Connection:
        """Return the connection. A subclass raises RuntimeError if the connection must no longer be used."""
        return self._connection

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        versioned: bool = True,
        limit: int | None = None,
        timeouts: Timeouts | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> bytes:
        options: dict[str, Any] = {"limit": limit} if limit is not None else {}
        if sink is not None:
            options["sink"] = sink
        return await self._require().call(
            self.name, method, path, query, timeouts=timeouts or self.timeouts, versioned=versioned, **options
        )

    def _explain(self, error: Exception, line: str) -> Exception:
        address, limits = self._connection.address, self.timeouts
        return explain(error, Request(self.name, address, line, limits.connect, limits.request))


def _filters(wanted: Mapping[str, Sequence[str]]) -> str:
    """Encode filters as the JSON text that the Engine API expects."""
    return _ENCODE({name: list(values) for name, values in wanted.items()}).decode()
