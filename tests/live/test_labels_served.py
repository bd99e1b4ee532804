"""Labels of real containers take effect in responses through Envoy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from tests.support.images import WEB
from tests.support.ports import free_port
from tests.support.serving import of, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.engines import Engine

# ``/cgi-bin/asked`` returns the container's name and the request; ``/cgi-bin/slow`` responds after 20 seconds.
_SERVER: Final = r"""
busybox mkdir -p /www/cgi-bin
printf '#!/bin/sh\necho "Content-Type: text/plain"\necho\nenv\n' > /www/cgi-bin/asked
printf '#!/bin/sh\nsleep 20\n' > /www/cgi-bin/slow
busybox chmod 755 /www/cgi-bin/asked /www/cgi-bin/slow
exec httpd -f -p 80 -h /www
"""
_ASKED: Final = "/cgi-bin/asked"


def labels_of(port: int) -> dict[str, dict[str, str]]:
    """Return container -> labels without the prefix ``proxy.<alias>.``; the alias is the container's name."""
    return {
        "request": {
            "middlewares.request.set_headers": "X-Set: by label",
            "middlewares.request.add_prefix": "/cgi-bin",
        },
        "response": {"middlewares.response.set_headers": "X-Told: by label"},
        "hidden": {"middlewares.hide_x_forwarded": "{}"},
        "closed": {"middlewares.cidr_whitelist.allow": "203.0.113.0/24"},
        "limited": {"middlewares.rate_limit": "{average: 1, burst: 1, period: 1h}"},
        "approved": {"middlewares.forwardauth": "{route: response, auth_endpoint: /index.html}"},
        "refused": {"middlewares.forwardauth": "{route: response, auth_endpoint: /nothing}"},
        "secure": {"middlewares.redirect_http": "{}"},
        "hasty": {"response_header_timeout": "1s"},
        "probed": {"healthcheck.path": "/", "healthcheck.interval": "1s"},
        "one": {"load_balance": "{link: pool}"},
        "two": {"load_balance": "{link: pool}"},
        "stream": {"scheme": "tcp", "port": f"{port}:80", "bind": "127.0.0.1"},
    }


def start(engine: Engine, name: str, fields: Mapping[str, str]) -> None:
    labels = {f"proxy.{name}.{field}": value for field, value in fields.items()}
    engine.run(name, WEB, labels, command=("sh", "-c", _SERVER))


def start_all(engine: Engine, wanted: Mapping[str, Mapping[str, str]]) -> None:
    for name, fields in wanted.items():
        start(engine, name, fields)


async def listening(host: str, port: int) -> None:
    """Wait until a container's server accepts connections."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def test_labels_take_effect_on_real_containers(engine: Engine, tmp_path: Path) -> None:
    port = free_port()
    wanted = labels_of(port)
    await asyncio.to_thread(start_all, engine, wanted)
    async with serving(of(engine.host), tmp_path) as served:
        table = served.daemon.discovery.table
        assert [str(problem) for problem in served.daemon.problems()] == []
        assert {name for name in wanted if table.routes[name].excluded} == set()

        async def ask(name: str, path: str = "/") -> tuple[int, str, Mapping[str, str]]:
            url = f"http://127.0.0.1:{served.port}{path}"
            headers = {"Host": f"{name}.example.com"}
            async with served.session.get(url, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.text(), answer.headers

        for name in wanted:
            (endpoint,) = table.routes[name].endpoints
            await listening(endpoint.host, endpoint.port)

        assert "HTTP_X_SET=by label" in (await ask("request", "/asked"))[1]
        assert (await ask("response"))[2]["X-Told"] == "by label"
        assert "HTTP_X_FORWARDED_FOR" in (await ask("response", _ASKED))[1]
        assert "HTTP_X_FORWARDED_FOR" not in (await ask("hidden", _ASKED))[1]
        assert (await ask("closed"))[0] == 403
        assert (await ask("refused"))[0] == 404  # the status of the route that authorizes requests
        assert (await ask("hasty", "/cgi-bin/slow"))[0] == 504

        status, _, headers = await ask("secure", "/page")
        assert (status, headers["Location"].partition(":")[0]) == (308, "https")

        assert {(await ask("limited"))[0] for _ in range(3)} == {200, 429}

        members: set[str] = set()
        async with asyncio.timeout(30):
            while len(members) < 2:
                said = (await ask("pool", _ASKED))[1]
                members |= {line for line in said.splitlines() if line.startswith("HOSTNAME=")}

        await until(lambda: "healthy" in _health(served.daemon.discovery.table.health_of("probed")), patience=30)

        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/") as answer:
            assert await answer.text() == "hello\n"


def _health(found: Mapping[str, object]) -> set[str]:
    return {getattr(health, "state", "") for health in found.values()}
