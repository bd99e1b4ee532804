"""Containers of one service on a real engine: started, stopped and scaled as a deployment does it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from tests.support.daemon_process import status_of
from tests.support.images import GRACEFUL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.engines import Engine

__all__ = ["CLOSES", "DEAF", "PATIENT", "Service", "run_app", "run_python"]

CLOSES: Final = "closes"
DEAF: Final = "deaf"
PATIENT: Final = "patient"

_APP: Final = Path(__file__).with_name("app.py")


def run_app(
    engine: Engine, name: str, labels: Mapping[str, str] | None = None, end: str = CLOSES, linger: float = 5
) -> None:
    """Start a container that runs :mod:`tests.support.app`."""
    run_python(engine, name, labels, "/app.py", name, end, f"{linger}")


def run_python(
    engine: Engine, name: str, labels: Mapping[str, str] | None, *arguments: str, options: Sequence[str] = ()
) -> None:
    """Start a container that runs this machine's Python, mounted into it, with more options of ``docker run``."""
    places = dict.fromkeys(path for path in (sys.base_prefix, "/usr", "/lib", "/lib64") if Path(path).exists())
    mounts = [f"{path}:{path}:ro" for path in places] + [f"{_APP}:/app.py:ro"]
    options = [*options, *(option for mount in mounts for option in ("-v", mount))]
    python = str(Path(sys.executable).resolve())
    engine.run(name, GRACEFUL, labels, *options, command=(python, "-I", "-S", *arguments))


class Service:
    """Containers that share one alias; each answers with its name.

    Args:
        engine: where they run.
        end: what a container does on its stop signal: see :mod:`tests.support.app`.
        linger: seconds between its stop signal and its exit.
        labels: more labels.
        compose: give them the labels of a Compose service, which makes them replicas; without these they are separate
            containers that claim the same alias.

    """

    def __init__(
        self,
        engine: Engine,
        *,
        end: str = CLOSES,
        linger: float = 5,
        labels: Mapping[str, str] | None = None,
        compose: bool = True,
    ) -> None:
        self.engine = engine
        self.running: list[str] = []
        self._end, self._linger = end, linger
        self._labels = {"proxy.aliases": "shop", **(labels or {})}
        if compose:
            self._labels |= {"com.docker.compose.project": "shop", "com.docker.compose.service": "shop"}
        self._number = 0

    async def start(self) -> str:
        """Start another container, and return its name once its server answers, as a deployment tool does."""
        self._number += 1
        name = f"pilotage-shop-{self._number}"
        await asyncio.to_thread(run_app, self.engine, name, self._labels, self._end, self._linger)
        networks = (await asyncio.to_thread(self.engine.inspect, name))["NetworkSettings"]["Networks"]
        (address,) = (network["IPAddress"] for network in networks.values())
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while await status_of(session, f"http://{address}/") != 200:  # noqa: ASYNC110  # its server takes its time
                await asyncio.sleep(0.01)
        self.running.append(name)
        return name

    async def stop(self, name: str = "") -> None:
        """Stop a container, the oldest by default, and remove it once it has exited."""
        name = name or self.running[0]
        self.running.remove(name)
        await asyncio.to_thread(self.engine.docker, "stop", "-t", "20", name)
        await asyncio.to_thread(self.engine.rm, name)

    async def scale(self, number: int) -> None:
        """Start containers, or stop the newest, until this number runs."""
        missing = number - len(self.running)
        if missing > 0:
            await asyncio.gather(*(self.start() for _ in range(missing)))
        else:
            await asyncio.gather(*map(self.stop, self.running[number:]))
