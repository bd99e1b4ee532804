"""Asks an agent about itself, and defines the reports of agents (LABELS II.7.2)."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import EngineIncompatible, EngineRefused
from pilotage.core.text import shorten
from pilotage.engine.types import DECODE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container

    from pilotage.engine.config import DockerProviderConfig

__all__ = [
    "AGENT_ROOT",
    "TUNNEL_PROTOCOL",
    "AgentHealth",
    "AgentInfo",
    "ask_agent",
    "distinct_name",
    "is_agent_name",
    "is_before",
    "tunnel_header",
]

AGENT_ROOT: Final = "/godoxy/agent"
"""Path prefix of the agent's own resources. All other paths belong to the engine."""

TUNNEL_PROTOCOL: Final = "godoxy-agent-stream/1"
"""Protocol (ALPN) with which a client of an agent asks for a tunnel instead of HTTP."""

_RUNTIMES: Final = ("docker", "podman")
_MISSING: Final = frozenset({404, 405, 501})
_NAME: Final = re.compile(r"[\w.@ -]{1,64}!?")
_VERSION: Final = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")


class AgentInfo(msgspec.Struct, frozen=True):
    """An agent's report about itself.

    Attributes:
        name: the agent's name; ``""`` if the agent has no name or its name cannot be shown.
        version: its version, e.g. ``v0.31.0``.
        runtime: the kind of its engine, ``docker`` or ``podman``.
        tunnels: whether the agent can tunnel tcp; agents that have no ``/info`` cannot.

    """

    name: str = ""
    version: str = ""
    runtime: str = "docker"
    tunnels: bool = True

    @property
    def has_options(self) -> bool:
        """Whether the agent supports ``X-Proxy-Scheme`` and ``X-Proxy-Config``, which 0.18.6 introduced."""
        return not is_before(self.version, (0, 18, 6))


class AgentHealth(msgspec.Struct, frozen=True):
    """An agent's report about the health of a target.

    Attributes:
        healthy: whether the target responds.
        detail: why the target does not respond.
        latency: duration of the check in nanoseconds.

    """

    healthy: bool = False
    detail: str = ""
    latency: int = 0


def is_agent_name(text: str) -> bool:
    """Return whether an agent's name can be shown. Agents with other names count as nameless."""
    return _NAME.fullmatch(text) is not None


def is_before(version: str, other: tuple[int, int, int]) -> bool:
    """Return whether a version is older than another. A text that is not a version counts as newer."""
    match = _VERSION.match(version)
    return match is not None and (int(match[1]), int(match[2]), int(match[3])) < other


async def ask_agent(get: Callable[[str], Awaitable[bytes]], engine: str) -> AgentInfo:
    """Ask an agent about itself.

    Args:
        get: requests a path and returns the body; raises EngineRefused for an error status.
        engine: the engine's name, for messages.

    Raises:
        EngineError: the agent cannot be reached, or the server is not an agent.

    """
    try:
        body = await get(f"{AGENT_ROOT}/info")
    except EngineRefused as error:
        if error.status not in _MISSING:
            raise
        return await _ask_old_agent(get, engine)
    try:
        found = msgspec.json.decode(body, type=AgentInfo)
    except DECODE_ERRORS as error:
        raise _no_agent(engine, "its response to /info does not come from one") from error
    return _checked(found, engine)


async def _ask_old_agent(get: Callable[[str], Awaitable[bytes]], engine: str) -> AgentInfo:
    """Ask an agent without ``/info``. The first agents, which supported only Docker, had no ``/runtime`` either."""
    texts: dict[str, str] = {}
    for name in ("name", "version", "runtime"):
        try:
            texts[name] = (await get(f"{AGENT_ROOT}/{name}")).decode("utf-8", "replace").strip()
        except EngineRefused as error:
            if name != "runtime" or error.status not in _MISSING:
                raise _no_agent(engine, f"it has neither /info nor /{name}") from error
    return _checked(AgentInfo(**texts, tunnels=False), engine)


def distinct_name(wanted: str, config: DockerProviderConfig, taken: Container[str]) -> str:
    """Return the name of an engine behind an agent: the agent's own name, plus its address if that name is taken.

    Args:
        wanted: the agent's own name.
        config: the engine.
        taken: the names of other engines.

    """
    plain = wanted.removesuffix("!")  # rules treat names that differ only in this as one
    if plain not in taken and f"{plain}!" not in taken:
        return wanted
    ending = "!" if wanted.endswith("!") else ""
    return f"{plain}@{config.agent}{ending}"


def tunnel_header(host: str, port: int, *, probe: bool = False) -> bytes:
    """Return the header that begins a tunnel: version, host, port, flags and checksum, in 275 bytes.

    Args:
        host: the target, an address or a name of at most 255 bytes.
        port: the target's port.
        probe: whether the client only tests the tunnel. The agent then closes it.

    """
    name, number = host.encode(), str(port).encode() if port else b""
    begin = b"0.1.0\0\0\0" + bytes([len(name)]) + name.ljust(255, b"\0")
    begin += bytes([len(number)]) + number.ljust(5, b"\0") + bytes([1 if probe else 0])
    return begin + zlib.crc32(begin).to_bytes(4, "big")


def _checked(found: AgentInfo, engine: str) -> AgentInfo:
    if found.runtime not in _RUNTIMES:
        raise _no_agent(engine, f"its runtime is {shorten(found.runtime, 20)!r}, not {' or '.join(_RUNTIMES)}")
    name = found.name if is_agent_name(found.name) else ""
    version = found.version if _VERSION.match(found.version) else ""
    return msgspec.structs.replace(found, name=name, version=shorten(version, 40))


def _no_agent(engine: str, why: str) -> EngineIncompatible:
    hint = "check the address, and that GoDoxy's agent listens there (port 8890 by default)"
    return EngineIncompatible(engine, f"the server at this address is not an agent: {why}", hint)
