"""Runs the demonstration with containers that respond: web servers in this process, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import html
import os
import socket
from typing import TYPE_CHECKING, Final

from aiohttp import web

from pilotage.core.errors import GatewayError
from pilotage.demo.engine import demo_containers, demo_engine
from pilotage.labels.container_options import IDLE_TIMEOUT
from pilotage.policy import Policy
from pilotage.policy.claims import PolicyRule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from pilotage.testing.container import FakeContainer
    from pilotage.testing.fake_engine import FakeEngine

__all__ = ["DEMO_POLICY", "demo_site"]

_NETWORKS: Final = range(64, 128)
"""Possible values of x in the containers' addresses, 127.77.x.y. Each demonstration on this machine uses its own."""


DEMO_POLICY: Final = Policy(rules=(PolicyRule(name="demo", engine=("demo",), targets=("127.77.0.0/16",)),))
"""Lets the containers of the engine ``demo`` have loopback addresses."""


@contextlib.asynccontextmanager
async def demo_site(tell: Callable[[str], object] = lambda _: None) -> AsyncIterator[FakeEngine]:
    """Run the demonstration engine with containers that respond.

    Each running container has an address of its own in 127.0.0.0/8, which Linux routes to loopback, and a web server on
    each of its ports above 1023. A sleeping container has an address and web servers, too, so it responds as soon as it
    is woken. If another program already listens on one of these ports on all addresses, the container is shown as
    stopped.

    Args:
        tell: receives a sentence about each container that is stopped for this reason.

    Raises:
        GatewayError: no address is available, because the system is not Linux or too many demonstrations are running.
        EngineUnreachable: no directory for its socket is available.

    """
    async with contextlib.AsyncExitStack() as stack:
        containers = demo_containers()
        network = stack.enter_context(_network())
        for last, container in enumerate(containers, 1):
            address = f"{network}.{last}"
            container.networks = dict.fromkeys(container.networks, address)
            for port in _served_ports(container):
                try:
                    await stack.enter_async_context(_served(container, address, port))
                except OSError as error:
                    container.state = "exited"
                    tell(f"{container.name} is stopped because its port {port} is unavailable: {_why(error)}.")
                    break
        yield await stack.enter_async_context(demo_engine(containers))


def _served_ports(container: FakeContainer) -> list[int]:
    usual = [port.private for port in container.ports if port.protocol == "tcp" and port.private >= 1024]
    return usual if container.alive or IDLE_TIMEOUT in container.labels else []


def _why(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


@contextlib.contextmanager
def _network() -> Iterator[str]:
    """Reserve the first three numbers of loopback addresses that no other demonstration uses, e.g. ``127.77.64``."""
    for third in _NETWORKS:
        # An abstract socket belongs to one process and, like loopback, to one network namespace.
        with socket.socket(socket.AF_UNIX) as claim, socket.socket() as probe:
            try:
                claim.bind(f"\0pilotage-demo-127.77.{third}")
                probe.bind((f"127.77.{third}.2", 2368))  # the address of its first web server
            except OSError:
                continue
            probe.close()
            yield f"127.77.{third}"
            return
    raise GatewayError("no loopback addresses are available for the demonstration (127.77.0.0/16)", "run it on Linux")


@contextlib.asynccontextmanager
async def _served(container: FakeContainer, address: str, port: int) -> AsyncIterator[None]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _echo(request)
        seen = f"{request.method} {request.path} for {request.headers.get('Host', '')}"
        if "text/html" in request.headers.get("Accept", ""):
            return web.Response(text=_page(container, port, seen), content_type="text/html")
        return web.Response(text=f"{container.name}: {_WHAT}, port {port}\n{seen}\n")

    server = web.Server(answer)  # type: ignore[arg-type]  # its stub omits WebSockets
    runner = web.ServerRunner(server, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, port).start()
        yield
    finally:
        await runner.cleanup()


_WHAT: Final = "container of the demonstration"
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.55 system-ui,sans-serif;max-width:40rem;margin:12vh auto 4rem;padding:0 1.5rem}"
    "h1{font-size:2rem;margin:0}p{margin:.4rem 0 1.2rem}h2{font-size:1rem;margin:2rem 0 .4rem}"
    "pre{font:.9rem/1.5 ui-monospace,monospace;padding:.8rem 1rem;border-radius:.5rem;background:#8882;"
    "overflow-x:auto;margin:0}"
)


def _page(container: FakeContainer, port: int, seen: str) -> str:
    """Return a page that shows the request and the labels that routed it here."""
    name, image = html.escape(container.name), html.escape(container.image)
    labels = html.escape(_as_yaml(container.labels)) or "# none: its name and the port it exposes are enough"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}</style><h1>{name}</h1><p>{_WHAT}, port {port}, image {image}</p>"
        f"<h2>The request</h2><pre>{html.escape(seen)}</pre>"
        f"<h2>Its labels</h2><pre>{labels}</pre></html>\n"
    )


def _as_yaml(labels: Mapping[str, str]) -> str:
    """Return labels in Compose syntax."""
    lines: list[str] = []
    for key, value in labels.items():
        if "\n" in value:
            lines += [f"{key}: |", *(f"  {line}" for line in value.splitlines())]
        else:
            lines.append(f'{key}: "{value}"')
    return "\n".join(lines)


async def _echo(request: web.Request) -> web.StreamResponse:
    stream = web.WebSocketResponse()
    await stream.prepare(request)
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        async for message in stream:
            await stream.send_str(str(message.data))
    return stream
