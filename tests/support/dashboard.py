"""A dashboard on loopback, with a fake engine and states that a test chooses."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from pilotage.api.server import Api
from pilotage.certificates.status import CertificateEvent, CertificateStatus, CertificateTotals
from pilotage.dashboard.site import Dashboard
from pilotage.discovery.manager import discover
from pilotage.engine.config import DockerProviderConfig
from pilotage.sleep.engine_actions import SleepError
from pilotage.sleep.status import SleepStatus
from pilotage.table.envoys import EnvoyState, RouteState
from pilotage.table.self_signed import SelfSigned
from pilotage.table.traffic import RouteTraffic
from pilotage.table.wakefulness import Wakefulness
from pilotage.testing import FakeEngine
from tests.support.api_server import LOOPBACK, Told
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pilotage.api.listen import Listen
    from pilotage.core.problems import Problem
    from pilotage.discovery.manager import DiscoveryManager

__all__ = ["HOSTILE", "TOKEN", "Asked", "Certificates", "Shown", "Site", "dashboard", "several_states"]

TOKEN = "a token of the API"
HOSTILE = "\"'><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">{{ 7 * 7 }}"


class Certificates:
    """Certificates in each state."""

    totals = CertificateTotals()

    def __init__(self) -> None:
        self.on_event: list[Any] = []

    def status(self) -> tuple[CertificateStatus, ...]:
        return (
            CertificateStatus(
                names=("shop.example.com", "*.shop.example.com"), state="valid", issuer="CN=Test", not_after=4e9
            ),
            CertificateStatus(names=("new.example.com",), state="failed", error=HOSTILE, hint="check DNS", failures=2),
        )

    def self_signed(self) -> dict[str, SelfSigned]:
        return {"new": SelfSigned(names=("new.example.com",), since=1e9, error=HOSTILE, next_attempt=2e9)}

    @property
    def events(self) -> Sequence[CertificateEvent]:
        return (CertificateEvent("failed", ("new.example.com",), 1e9, HOSTILE),)


class Asked:
    """A sleeper that notes what it is asked. Its only containers are those of the route ``wiki``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.aliases = ("wiki",)

    def find(self, name: str) -> Asked | None:
        return self if name == "wiki" else None

    def want(self, alias: str) -> None:
        self.asked.append(f"wake {alias}")

    def sleep(self, alias: str) -> None:
        if self.asked:
            raise SleepError(f"{HOSTILE} needs it")
        self.asked.append(f"sleep {alias}")

    def status(self, _: object) -> SleepStatus:
        return SleepStatus(engine="local", container="wiki", aliases=self.aliases, state="asleep", since=time.time())

    def statuses(self) -> list[SleepStatus]:
        return [self.status(None)]


class Shown(Told):
    """What a dashboard shows."""

    def __init__(self, discovery: DiscoveryManager) -> None:
        super().__init__(discovery)
        self.sleeper: Any = Asked()
        self.certificates: Any = Certificates()
        self.counted = {"shop": RouteTraffic(requests=1200, errors=3, in_progress=2, measured=10, duration_sum=0.5)}

    def problems(self) -> tuple[Problem, ...]:
        return self.discovery.table.problems

    def envoys(self) -> tuple[EnvoyState, ...]:
        return (
            EnvoyState(node="edge", connected=True, since=1.0, version=1, waiting=2),
            EnvoyState(node=HOSTILE, connected=False, since=1.0, silent=True),
            EnvoyState(node="slow", connected=True, since=1.0, silent=True, lag=12.0),
            EnvoyState(node="odd", connected=True, since=1.0, rejected=1),
        )

    def route_states(self, alias: str) -> dict[str, RouteState]:
        return {"edge": RouteState("accepted", 3), "odd": RouteState("rejected")} if alias == "shop" else {}


class Site:
    """A dashboard, and a client for it.

    Attributes:
        url: its address.
        engine: the engine whose containers it shows.
        source: the rest of what it shows.
        pages: the dashboard itself.
        reloads: how often somebody asked for the configuration to be read again.

    """

    def __init__(self, engine: FakeEngine, source: Shown, token: str) -> None:
        self.url = ""
        self.engine = engine
        self.source = source
        self.pages = Dashboard(source, token=token, reload=self.reload)
        self.reloads = 0
        self.client = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))  # also for addresses

    def reload(self) -> None:
        self.reloads += 1

    async def until_routes(self, number: int) -> None:
        """Return as soon as the table has this many routes."""
        await until(lambda: len(self.source.discovery.table.routes) == number)

    async def until_state(self, state: str) -> None:
        """Return as soon as the engine is in a state."""
        await until(lambda: self.source.discovery.table.engines["local"].state == state)

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.client.get(self.url + path, headers={"Accept": "text/html", **headers}) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status, and where the answer leads."""
        given = {"Accept": "text/html", "Origin": self.url, **headers}
        async with self.client.post(self.url + path, headers=given, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "")

    async def sign_in(self, token: str = TOKEN, target: str = "/routes") -> aiohttp.ClientResponse:
        form, headers = {"token": token, "next": target}, {"Accept": "text/html", "Origin": self.url}
        async with self.client.post(self.url + "/login", data=form, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            return answer


def several_states(engine: FakeEngine) -> None:
    """Add containers whose routes are in different states."""
    home = "name: The shop\nicon: https://elsewhere.example/a.png\ncategory: Work\nfavorite: true\n"
    engine.add("shop", labels={"proxy.shop.port": "80", "proxy.shop.homepage": f"{home}description: Buy things"})
    engine.add("plain", labels={"proxy.plain.port": "80", "proxy.*.port": "81", "proxy.plain.sheme": "http"})
    engine.add("db", image="postgres:17", ports=(5432,))
    engine.add("wiki", state="exited", labels={"proxy.wiki.port": "3000", "proxy.idle_timeout": "30m"})
    engine.add("closed", labels={"proxy.closed.port": "80", "proxy.closed.middlewares.cidr_whitelist.allow": HOSTILE})
    text = HOSTILE.replace('"', '\\"')
    hostile = f'name: "{text}"\ndescription: "{text}"\ncategory: "{text}"\nurl: "javascript:alert(1)"\n'
    engine.add("hostile", image="busybox", labels={"proxy.hostile.port": "80", "proxy.hostile.homepage": hostile})
    for number in (1, 2):
        compose = {"project": "store", "service": "api", "container-number": str(number), "oneoff": "False"}
        labels = {f"com.docker.compose.{key}": value for key, value in compose.items()}
        health = "healthy" if number == 1 else "starting"
        engine.add(f"api-{number}", labels=labels | {"proxy.aliases": "api", "proxy.api.port": "80"}, health=health)


@contextlib.asynccontextmanager
async def dashboard(
    *places: Listen, containers: bool = True, token: str = TOKEN, ready: bool = True
) -> AsyncIterator[Site]:
    """Run a dashboard. ``containers``: whether its engine has those of :func:`several_states`."""
    async with FakeEngine() as engine, contextlib.AsyncExitStack() as stack:
        if containers:
            several_states(engine)
        discovery = await stack.enter_async_context(discover([DockerProviderConfig(engine.url, name="local")]))
        source = Shown(discovery)

        async def record() -> None:
            async for update in discovery.subscribe():
                source.history.add(update)

        recording = asyncio.create_task(record())
        stack.callback(recording.cancel)
        if ready:
            await discovery.ready()
        if containers:
            discovery.store.set_wakefulness("wiki", Wakefulness("asleep", time.time()))
            discovery.publish()
        site = Site(engine, source, token)
        stack.push_async_callback(site.client.close)
        pages = await stack.enter_async_context(site.pages)
        api = await stack.enter_async_context(Api(source, places or [LOOPBACK], token=token, pages=pages))
        site.url = str(next(place for place in api.places if place.port))
        yield site
