"""The Engine API as Python: list, inspect, events, and the few commands that discovery and idling need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote

import msgspec

from pilotage.engine.connection import LIST_LIMIT, Connection, Timeouts
from pilotage.engine.diagnosis import Request, explain
from pilotage.engine.events import EventStream
from pilotage.engine.types import Inspect, Version, split_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["EngineClient"]

_IDS_A_REQUEST: Final = 100
"""Ids in one filter: ~75 bytes each in the URL, and socket proxies take 16 kB of request at least."""

_INSPECT: Final = msgspec.json.Decoder(Inspect)
_ENCODE: Final = msgspec.json.Encoder(order="deterministic").encode


class EngineClient:
    """Speaks to one engine over a connection that others may use, too.

    All methods raise :class:`~pilotage.core.errors.EngineError`: ``EngineUnreachable`` when there is no working
    connection, ``EngineRefused`` with its ``status`` when the engine says no, ``EngineIncompatible`` when what
    answers cannot be spoken with. None but the event stream waits longer than ``timeouts.request`` seconds.

    Args:
        name: what people call the engine; messages begin with it.
        connection: to the engine.
        timeouts: how long to wait.

    """

    def __init__(self, name: str, connection: Connection, timeouts: Timeouts) -> None:
        self.name = name
        self.timeouts = timeouts
        self._connection = connection

    # ---- who it is

    @property
    def key(self) -> str:
        """The address with its certificate files: equal keys share a connection."""
        return self._connection.address.key

    @property
    def daemon_host(self) -> str:
        """The engine's URL; ``tcp://host:port`` for an agent, as GoDoxy shows it (LABELS II.8)."""
        address = self._connection.address
        return address.url.replace("agent://", "tcp://", 1) if address.scheme == "agent" else address.url

    @property
    def version(self) -> Version:
        """What the engine said about itself when the version was agreed last."""
        return self._connection.version or Version()

    @property
    def api_version(self) -> str:
        """The API version spoken, e.g. ``"1.41"``; ``""`` before the first contact."""
        return self._connection.api_version

    @property
    def kind(self) -> Literal["docker", "podman"]:
        """Which family of engines it is."""
        components = self.version.Components or []
        return "podman" if any(c.Name == "Podman Engine" for c in components) else "docker"

    @property
    def latency(self) -> float:
        """Seconds that the engine took to answer ``/version``, connecting included where that was needed."""
        return self._connection.latency

    # ---- is it there

    async def check_connection(self) -> None:
        """Ask the engine for its version, and agree anew on the API version. Returns when all is well."""
        await self._require().open(self.name, self.timeouts, again=True)

    async def ping(self) -> None:
        """Ask for a sign of life (``GET /_ping``)."""
        await self._call("GET", "/_ping", versioned=False)

    # ---- what it has

    async def list_containers(self, *, ids: Iterable[str] | None = None, all: bool = True) -> list[msgspec.Raw]:  # noqa: A002
        """List containers (``GET /containers/json``).

        Args:
            ids: only these, by full id; unknown ones are simply not in the answer. ``None`` for every container.
            all: also those that do not run.

        Returns:
            One raw slice for each container, to be decoded as :class:`~pilotage.engine.types.Summary`.

        """
        query = {"all": "1"} if all else {}
        if ids is None:
            return await self._list(query)
        wanted = list(dict.fromkeys(ids))
        found: list[msgspec.Raw] = []
        for start in range(0, len(wanted), _IDS_A_REQUEST):
            filters = _filters({"id": wanted[start : start + _IDS_A_REQUEST]})
            found += await self._list({**query, "filters": filters})
        return found

    async def _list(self, query: Mapping[str, str]) -> list[msgspec.Raw]:
        body = await self._call("GET", "/containers/json", query, limit=LIST_LIMIT)
        try:
            return split_list(body)
        except msgspec.DecodeError as error:
            raise self._explain(error, "GET /containers/json") from error

    async def inspect(self, container_id: str) -> Inspect:
        """Return one container's details (``GET /containers/{id}/json``).

        Args:
            container_id: its id, the beginning of it, or its name.

        Raises:
            EngineRefused: ``status`` 404 when there is no such container.

        """
        path = f"/containers/{quote(container_id, safe='')}/json"
        body = await self._call("GET", path)
        try:
            return _INSPECT.decode(body)
        except msgspec.DecodeError as error:
            raise self._explain(error, f"GET {path}") from error

    def events(self, *, filters: Mapping[str, Sequence[str]] | None = None, since: str | None = None) -> EventStream:
        """Return the stream of events, to be used with ``async with`` (``GET /events``).

        A stream holds one connection; an ssh engine has two in all, so keep to one stream for each of these.

        Args:
            filters: e.g. ``{"type": ["container"], "event": ["start", "die"]}``.
            since: replay from this moment, as seconds with up to nine decimals (``"1700000000.000000001"``),
                inclusive. Engines remember few events and forget them at a restart.

        """
        query = {"filters": _filters(filters)} if filters else {}
        if since is not None:
            query["since"] = since
        return EventStream(self._require(), self.name, query, self.timeouts)

    # ---- what it is told

    async def start(self, container_id: str) -> None:
        """Start a container; one that runs already is fine."""
        await self._command(container_id, "start")

    async def stop(self, container_id: str, *, signal: str = "", grace: float | None = None) -> None:
        """Stop a container and wait until it has; one that is stopped already is fine.

        Args:
            container_id: which.
            signal: instead of the container's own, e.g. ``"SIGINT"`` (API 1.42; older engines use their own).
            grace: seconds until it is killed; ``None`` for the container's own. Waiting for the answer is extended by
                as much.

        """
        query = {"signal": signal} if signal else {}
        if grace is not None:
            query["t"] = str(max(0, round(grace)))
        await self._command(container_id, "stop", query, longer=10.0 if grace is None else grace)

    async def kill(self, container_id: str, *, signal: str = "") -> None:
        """Send a container a signal, ``SIGKILL`` unless another is named."""
        await self._command(container_id, "kill", {"signal": signal} if signal else {})

    async def pause(self, container_id: str) -> None:
        """Freeze a container."""
        await self._command(container_id, "pause")

    async def unpause(self, container_id: str) -> None:
        """Thaw a container."""
        await self._command(container_id, "unpause")

    async def _command(
        self, container_id: str, verb: str, query: Mapping[str, str] | None = None, *, longer: float = 0.0
    ) -> None:
        timeouts = msgspec.structs.replace(self.timeouts, request=self.timeouts.request + longer)
        await self._call("POST", f"/containers/{quote(container_id, safe='')}/{verb}", query, timeouts=timeouts)

    # ---- helpers

    def _require(self) -> Connection:
        """Return the connection; the place to object when it must not be used any more."""
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
    ) -> bytes:
        options = {"limit": limit} if limit is not None else {}
        return await self._require().call(
            self.name, method, path, query, timeouts=timeouts or self.timeouts, versioned=versioned, **options
        )

    def _explain(self, error: msgspec.DecodeError, line: str) -> Exception:
        address, limits = self._connection.address, self.timeouts
        return explain(error, Request(self.name, address, line, limits.connect, limits.request))


def _filters(wanted: Mapping[str, Sequence[str]]) -> str:
    """Return filters as the Engine API's JSON; the ``list`` turns any sequence into what JSON knows."""
    return _ENCODE({name: list(values) for name, values in wanted.items()}).decode()
