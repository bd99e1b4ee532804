"""What the sleeper and its page know from discovery."""

from __future__ import annotations

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.daemon.sleep import DiscoverySource, Pages
from pilotage.testing import FakeEngine, container
from tests.support.sleepers import sleeping


async def test_discovery_knows_containers_routes_and_engines() -> None:
    async with FakeEngine([container("web", labels={"proxy.idle_timeout": "1h"})]) as engine, sleeping(engine) as night:
        source = DiscoverySource(night.discovery)
        (name,) = night.discovery.table.engines
        (web,) = source.containers_of(name)
        assert source.container(name, web.container_id) is web
        assert [route.alias for route in source.routes_of(name, web.container_id)] == ["web"]
        assert source.may_idle(name)
        async with source.connect(name) as client:
            await client.ping()


async def test_an_engine_that_is_not_watched_has_nothing() -> None:
    async with FakeEngine([]) as engine, sleeping(engine) as night:
        source = DiscoverySource(night.discovery)
        assert source.container("gone", "x") is None
        assert not [*source.containers_of("gone"), *source.routes_of("gone", "x")]
        assert not source.may_idle("gone")
        with pytest.raises(EngineUnreachable, match="no longer being watched"):
            source.connect("gone")


async def test_the_page_shows_what_is_happening_until_the_containers_are_awake() -> None:
    labels = {"proxy.idle_timeout": "1h", "proxy.web.homepage.name": "Corner Shop"}
    labels["proxy.web.homepage.icon"] = "/logo.png"
    async with FakeEngine([container("web", labels=labels, state="exited")]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        pages = Pages(night.sleeper, DiscoverySource(night.discovery))
        night.answers = False
        night.sleeper.want("web")
        shown = pages.page("web", "/cart")
        assert shown is not None
        text, headers = shown
        assert "Corner Shop is starting" in text
        assert 'src="/logo.png"' in text
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Cache-Control"] == "no-store"
        night.answers = True
        await night.until_state("ready")
        assert pages.page("web", "/cart") is None
        assert pages.page("unknown", "/") is None
