"""The demonstration: an engine inside the process, whose containers show the label language."""

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

#: 2026-01-01; one container each minute from there, so that the demonstration is the same on every machine.
_FIRST: Final = 1_767_225_600


def demo_containers() -> list[FakeContainer]:
    """Return the containers of the demonstration, oldest first. Each shows one thing; the comments say which."""
    made = [
        # A database without labels: recognised by its image, and kept off the map.
        container("postgres", image="postgres:17", ports=(5432,), mounts=[("pgdata", "/var/lib/postgresql/data")]),
        # One label is enough to be explicit; port and scheme are inferred.
        container("blog", image="ghost:5", ports=(2368,), labels={"proxy.aliases": "blog"}),
        # Two aliases, each with its own port, addressed by position.
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
        # Settings for every alias at once, and one mapping in YAML that goes into detail.
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
        # Stopped, and to be woken by the first request.
        container(
            "wiki",
            image="requarks/wiki:2",
            ports=(3000,),
            state="exited",
            labels={"proxy.wiki.port": "3000", "proxy.idle_timeout": "30m", "proxy.stop_method": "pause"},
        ),
        # A field that does not exist, for there to be a suggestion.
        container("status", image="acme/status:1", ports=(4000,), labels={"proxy.status.sheme": "https"}),
        *(_replica(number) for number in (1, 2)),
    ]
    for number, it in enumerate(made, 1):
        it.id = hashlib.sha256(f"demo {number}".encode()).hexdigest()  # the same every time
        it.created = _FIRST + 60 * number
    return made


def _replica(number: int) -> FakeContainer:
    """Make one of two containers of one Compose service, which share one route."""
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
    """Run the demonstration's engine; ``engine.url`` is its address.

    Args:
        containers: others than the demonstration's own.

    Raises:
        EngineUnreachable: there is no folder in which it could make its socket.

    """
    engine = FakeEngine(demo_containers() if containers is None else containers, api="1.45")
    try:
        await engine.listen()
    except OSError as error:
        what = f"the demonstration cannot make its socket: {error.strerror or error}"
        raise EngineUnreachable("demo", what, "make /tmp writable, or name another folder in TMPDIR") from error
    async with engine:
        yield engine
