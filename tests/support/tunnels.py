"""A relay of tunnels, an agent, and a server behind the agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from pilotage.engine.archive import read_credentials
from pilotage.engine.config import TLSFiles
from pilotage.gateway.tunnels import Tunnels
from pilotage.xds.agent import Agent, Tunnel
from tests.support.agents import AgentCertificates, agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from pilotage.testing import FakeAgent

__all__ = ["LARGE", "Site", "Streams", "echo", "echoes", "tunnel_site", "wait"]

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LARGE: Final = bytes(range(256)) * 4096 * 8  # more than all buffers on the way hold


class Site:
    """A relay, an agent, and a server behind the agent."""

    def __init__(self, folder: Path, running: FakeAgent, certificates: AgentCertificates) -> None:
        self.folder = folder
        self.running = running
        self.certificates = certificates
        self.agent = Agent(running.address, "far", "127.0.0.1", relay=str(folder))
        self.wanted: dict[str, list[Tunnel]] = {}
        self.tunnels = Tunnels(str(folder), lambda alias: self.wanted.get(alias, []))
        self.accepted: list[Streams] = []
        self.serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = echo
        self.port = 0

    def use(self, *agents: Agent) -> None:
        """Tell the relay about its agents, with their certificates on disk."""
        path = self.folder / "certs" / f"{self.running.address}.zip"
        self.tunnels.set_agents(dict.fromkeys(agents, read_credentials(TLSFiles(zip_file=str(path)))))

    def tunnel(self, port: int | None = None) -> Tunnel:
        return Tunnel(self.agent.address, f"127.0.0.1:{port or self.port}")

    def route(self, alias: str, *tunnels: Tunnel) -> None:
        self.wanted[alias] = list(tunnels)
        self.tunnels.follow(None, {alias})

    def path(self, tunnel: Tunnel) -> str:
        return str(self.folder / tunnel.name)

    async def connect(self, tunnel: Tunnel | None = None) -> Streams:
        return await asyncio.open_unix_connection(self.path(tunnel or self.tunnel()))

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.append((reader, writer))
        with contextlib.suppress(OSError):
            await self.serve(reader, writer)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def wait(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def echoes(site: Site, tunnel: Tunnel | None = None) -> bool:
    """Return whether a new connection reaches an echo server."""
    try:
        reader, writer = await site.connect(tunnel)
    except OSError:
        return False
    try:
        writer.write(b"ping\n")
        return await reader.readline() == b"ping\n"
    except OSError:
        return False
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def tunnel_site(folder: Path) -> AsyncIterator[Site]:
    """Yield a relay with one route, ``app``, to an echo server behind an agent."""
    made = AgentCertificates()
    async with agent("unix:///nowhere", folder, certificates=made, name="far") as (running, _):
        found = Site(folder, running, made)
        server = await asyncio.start_server(found.accept, "127.0.0.1", 0, backlog=1024)
        found.port = server.sockets[0].getsockname()[1]
        found.use(found.agent)
        found.route("app", found.tunnel())
        yield found
        await found.tunnels.close()
        assert not found.tunnels.connections
        assert not list(folder.glob("tunnel-*"))
        server.close()
        for _, writer in found.accepted:
            writer.transport.abort()
