from __future__ import annotations

from pilotage.api.engines import describe_engines
from pilotage.discovery.manager import discover
from pilotage.engine.config import DockerProviderConfig
from pilotage.testing import FakeEngine


async def test_engines_are_listed_with_what_they_have() -> None:
    async with FakeEngine() as engine:
        engine.add("web", labels={"proxy.web.port": "80"})
        async with discover([DockerProviderConfig(engine.url, name="local")]) as discovery:
            await discovery.ready()
            (found,) = describe_engines(discovery)
    assert (found.name, found.state, found.error) == ("local", "live", "")
    assert (found.containers, found.routes) == (1, 1)
