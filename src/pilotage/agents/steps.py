"""Checks each step of the connection to an agent, and reports which one fails."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import EngineError
from pilotage.engine.address import parse_address
from pilotage.engine.agents import TUNNEL_PROTOCOL, tunnel_header
from pilotage.engine.archive import check_credentials, read_credentials
from pilotage.engine.credentials import AGENT_NAME, CredentialsError
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.sockets import failure_text, open_tcp
from pilotage.engine.tls import TLSMaterial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pilotage.engine.config import DockerProviderConfig, TLSFiles

__all__ = ["Step", "walk"]

_LIMIT: Final = 5.0  # seconds to connect, and to probe the tunnel


class Step(msgspec.Struct, frozen=True):
    """One step of the check, and its result.

    Attributes:
        name: what is checked.
        result: the outcome, or why the step failed.
        remedy: how to fix a failed step; ``""`` if the step succeeded.
        ok: whether the step succeeded. No further steps follow a failed step.

    """

    name: str
    result: str
    remedy: str = ""
    ok: bool = True


async def walk(config: DockerProviderConfig) -> AsyncIterator[Step]:
    """Check the connection to an agent, and yield each step as soon as it finishes. Stop after a failed step.

    Args:
        config: configuration of the engine behind the agent.

    Raises:
        ConfigError: the engine's address is not valid.

    """
    address = parse_address(config)
    files = config.tls
    if files is None:
        yield Step("certificates", "there are none", "put the archive into certs/HOST:PORT.zip", ok=False)
        return
    try:
        own = check_credentials(files).client
    except CredentialsError as error:
        yield Step("certificates", error.what, error.remedy, ok=False)
        return
    until = f"valid until {own.not_after:%Y-%m-%d}" if own is not None else "valid"
    yield Step("certificates", f"{files.zip_file or files.cert_file}, {until}")
    try:
        async with asyncio.timeout(_LIMIT):
            (await open_tcp(address.host, address.port)).close()
    except (OSError, UnicodeError) as error:
        remedy = "check the address, that the agent runs, and that no firewall is in between"
        yield Step("connection", f"{address.host}:{address.port}: {failure_text(error, _LIMIT)}", remedy, ok=False)
        return
    yield Step("connection", f"{address.host}:{address.port} accepts connections")
    failing = "agent"
    try:
        async with Pool() as pool, await new_client(config, pool=pool) as client:
            info = client.agent
            if info is not None:
                yield Step("agent", f"{info.name or 'no name'}, {info.version or 'no version'}, for {info.runtime}")
            failing = "containers"
            yield Step("engine", f"{client.kind} {client.version.Version}, API {client.api_version}")
            found = len(await client.list_containers())
            yield Step("containers", f"{found} listed")
    except EngineError as error:
        yield Step(failing, error.what, error.remedy, ok=False)
        return
    if info is not None and not info.tunnels:
        yield Step("tcp tunnel", "the agent is too old to support tunnels")
        return
    tcp = await _probe(address.host, address.port, files)
    yield tcp
    if tcp.ok:
        yield await _probe_udp(address.host, address.port, files)


async def _probe(host: str, port: int, files: TLSFiles) -> Step:
    """Open a test tunnel, which the agent closes at once, and return the result."""
    remedy = "upgrade the agent, or serve tcp routes of this machine in another way"
    try:
        async with asyncio.timeout(_LIMIT):
            context = TLSMaterial(files, TUNNEL_PROTOCOL).context()
            sock = await open_tcp(host, port)
            reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=AGENT_NAME)
            try:
                chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
                writer.write(tunnel_header("", 0, probe=True))
                left = await reader.read(1)
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except OSError as error:
        return Step("tcp tunnel", f"failed: {failure_text(error, _LIMIT)}", remedy, ok=False)
    if chosen != TUNNEL_PROTOCOL or left:
        return Step("tcp tunnel", "the agent does not support it", remedy, ok=False)
    return Step("tcp tunnel", "works")


async def _probe_udp(host: str, port: int, files: TLSFiles) -> Step:
    """Open a test tunnel for udp, and return the result."""
    if find_spec("OpenSSL") is None:
        return Step("udp tunnel", "not checked, because pyOpenSSL is not installed (pip install 'pilotage[agents]')")
    from pilotage.engine.dtls_client import DTLSClient  # noqa: PLC0415  # an optional package
    from pilotage.engine.dtls_end import dtls_context  # noqa: PLC0415

    remedy = f"let firewalls pass UDP datagrams to port {port} of the agent; only udp routes need them"
    try:
        async with asyncio.timeout(_LIMIT):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            place = str(found[0][4][0]), port
            client = DTLSClient(dtls_context(read_credentials(files)), place, lambda _: None, lambda _: None)
            try:
                await client.open(tunnel_header("", 0, probe=True))
            finally:
                client.close()
    except (OSError, CredentialsError) as error:
        why = error.what if isinstance(error, CredentialsError) else failure_text(error, _LIMIT)
        return Step("udp tunnel", f"failed: {why}", remedy, ok=False)
    return Step("udp tunnel", "works")
