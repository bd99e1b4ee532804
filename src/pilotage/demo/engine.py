"""Provides a fake engine whose containers demonstrate the label language."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from pilotage.core.errors import EngineUnreachable
from pilotage.testing.container import FakeContainer, container
from pilotage.testing.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

__all__ = ["demo_containers", "demo_engine"]

#: 2026-01-01. Containers are created one minute apart from there, so every machine shows the same output.
_FIRST: Final = 1_767_225_600


def demo_containers() -> list[FakeContainer]:
    """Return the containers of the demonstration, oldest first. Each demonstrates one feature of the labels."""
    made = [
        # A database without labels: recognized by its image and not served.
        container("postgres", image="postgres:17", ports=(5432,), mounts=[("pgdata", "/var/lib/postgresql/data")]),
        # One label makes a container explicit; port and scheme are inferred.
        container("blog", image="ghost:5", ports=(2368,), labels={"proxy.aliases": "blog"}),
        # Two aliases with different ports, addressed by position.
        container(
            "forge",
            image="gitea/gitea:1.24",
            ports=(3000, 2200),
            labels={
                "proxy.aliases": "git, git-ssh",
                "proxy.#1.port": "3000",
                "proxy.#2.scheme": "tcp",
                "proxy.#2.port": "2222:2200",
            },
        ),
        # Settings for all aliases, and one alias with a YAML mapping.
        container(
            "shop",
            image="registry.example.com:5000/acme/shop:4.2",
            ports=(5000, 9090),
            labels={
                "proxy.aliases": "shop, shop-admin",
                "proxy.*.healthcheck.path": "/healthz",
                "proxy.shop.port": "5000",
                "proxy.shop-admin": "port: 9090\nhomepage:\n  name: Shop administration\n  show: true\n",
            },
            health="healthy",
        ),
        # Stopped; the first request would wake it.
        container(
            "wiki",
            image="requarks/wiki:2",
            ports=(3000,),
            state="exited",
            labels={"proxy.wiki.port": "3000", "proxy.idle_timeout": "30m", "proxy.stop_method": "pause"},
        ),
        # A misspelt field, which gets a suggestion.
        container("status", image="acme/status:1", ports=(4000,), labels={"proxy.status.sheme": "https"}),
        *(_replica(number) for number in (1, 2)),
    ]
    for number, it in enumerate(made, 1):
        it.id = hashlib.sha256(f"demo {number}".encode()).hexdigest()  # the same on every run
        it.created = _FIRST + 60 * number
    return made


def _replica(number: int) -> FakeContainer:
    """Return one of two replicas of a Compose service, which share a route."""
    compose = {"project": "store", "service": "api", "container-number": str(number), "oneoff": "False"}
    labels = {f"com.docker.compose.{key}": value for key, value in compose.items()}
    return container(
        f"store-api-{number}",
        image="acme/api:7",
        ports=(8000,),
        networks={"store_default": f"172.20.0.{number + 1}"},
        labels=labels | {"proxy.aliases": "api", "proxy.api.port": "8000"},
    )


@contextlib.asynccontextmanager
async def demo_engine(containers: Iterable[FakeContainer] | None = None) -> AsyncIterator[FakeEngine]:
    """Run the demonstration engine; ``engine.url`` is its address.

    Args:
        containers: the engine's containers; by default, those of :func:`demo_containers`.

    Raises:
        EngineUnreachable: no directory for its socket is available.

    """
    engine = FakeEngine(demo_containers() if containers is None else containers, api="1.45")
    try:
        await engine.listen()
    except OSError as error:
        what = f"the demonstration cannot make its socket: {error.strerror or error}"
        raise EngineUnreachable("demo", what, "make /tmp writable, or set TMPDIR to another folder") from error
    async with engine:
        yield engine
