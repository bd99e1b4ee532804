"""One engine in the live table: going stale, health and draining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pilotage import Pool, Problem, discover
from pilotage.discovery.host_routes import routes_to
from pilotage.discovery.provider import DockerProvider
from pilotage.engine.config import DockerProviderConfig
from pilotage.policy import NO_POLICY
from pilotage.table.store import RouteStore
from pilotage.table.table import EngineStatus
from pilotage.testing import FakeEngine, container
from tests.support.discoveries import COMPOSE, QUICK, config, endpoints
from tests.support.truth import chronicle, settled
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.core.errors import EngineError
    from pilotage.discovery.watcher import EngineWatcher


def count_failures(watcher: EngineWatcher) -> list[EngineError]:
    """Return a list that grows with each further failure that a watcher reports."""
    failures: list[EngineError] = []
    report = watcher.handler.on_stale

    def counted(error: EngineError) -> None:
        failures.append(error)
        report(error)

    watcher.handler.on_stale = counted  # type: ignore[method-assign]
    return failures


async def test_the_routes_of_an_engine_that_is_away_stay_and_are_stale() -> None:
    async with FakeEngine([container("web")]) as one, FakeEngine([container("db")]) as two:
        both = [config(one, "one"), config(two, "two")]
        async with discover(both, timing=QUICK) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                web = discovery.table.routes["web"]
                one.crash()
                await until(lambda: discovery.table.engines["one"].state == "stale")
                since = discovery.table.engines["one"].since
                accepted = discovery.watcher("one").sessions
                failures = count_failures(discovery.watcher("one"))
                await until(lambda: len(failures) >= 3)
                assert discovery.table.engines["one"].since == since == discovery.table.stale_since(web)
                assert discovery.table.routes["web"] is web
                assert discovery.table.stale_since(discovery.table.routes["db"]) is None
                assert any(problem.provider == "one" for problem in discovery.table.problems)
                await one.recover()
                await settled(discovery, *both)
                await until(lambda: told.kinds("stale", "live") == ["stale", "live"])
                assert told.untouched(["web", "db"])
                assert discovery.watcher("one").sessions == accepted + 1
                assert discovery.table.problems == ()


async def test_an_empty_list_removes_all_routes() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)], timing=QUICK) as discovery:
            await discovery.ready()
            engine.crash()
            await until(lambda: discovery.table.engines["local"].state == "stale")
            assert set(discovery.table.routes) == {"web"}
            engine.remove("web")
            await engine.recover()
            await until(lambda: not discovery.table.routes)


async def test_an_engine_without_a_name_goes_by_its_address() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([DockerProviderConfig(engine.url)], timing=QUICK) as discovery:
            await discovery.ready()
            route = discovery.table.routes["web"]
            assert route.provider == engine.url
            engine.crash()
            await until(lambda: discovery.table.stale_since(route))


async def test_a_container_is_ready_once_healthy_and_stays_if_it_is_the_only_one() -> None:
    async with FakeEngine(api="1.52") as engine:
        async with discover([config(engine)]) as discovery:
            engine.add("web", health="starting")
            await until(lambda: "web" in discovery.table.routes and discovery.table.routes["web"].endpoints)
            route = discovery.table.routes["web"]
            assert route.serving == ()
            assert route.remark == "web: its health check has not passed yet; no endpoint takes requests"
            engine.health("web", "healthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "ready"})
            assert discovery.table.routes["web"].remark == ""
            engine.health("web", "unhealthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "unhealthy"})
            route = discovery.table.routes["web"]
            assert route.serving == route.endpoints
            assert route.remark == "web: its health check fails; no endpoint is ready; requests are sent anyway"


async def test_an_unhealthy_replica_leaves_while_another_is_healthy() -> None:
    replicas = [container(f"api-{n}", labels=COMPOSE, created=n, health="healthy") for n in (1, 2)]
    async with FakeEngine(replicas) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            engine.health("api-1", "unhealthy")
            await until(lambda: endpoints(discovery, "api")["api-1"] == "unhealthy")
            route = discovery.table.routes["api"]
            assert [e.container for e in route.serving] == ["api-2"]
            assert route.remark == "api-1: its health check fails"


async def test_a_stopping_container_drains_before_it_is_removed() -> None:
    replicas = [container(f"api-{n}", labels=COMPOSE, created=n) for n in (1, 2)]
    async with FakeEngine(replicas) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            async with chronicle(discovery) as told:
                engine._emit(engine._the("api-1"), "kill", signal="15")
                await until(lambda: endpoints(discovery, "api") == {"api-1": "draining", "api-2": "ready"})
                assert [e.container for e in discovery.table.routes["api"].serving] == ["api-2"]
                engine.die("api-1")
                await until(lambda: set(endpoints(discovery, "api")) == {"api-2"})
                await until(lambda: told.about("api") == ["draining", "updated"])


async def test_podman_health_is_followed_although_its_list_lacks_it() -> None:
    async with FakeEngine(flavour="podman", version="5.4.2") as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            engine.add("web", health="starting")
            await until(lambda: "web" in discovery.table.routes and endpoints(discovery, "web") == {"web": "waiting"})
            engine.health("web", "healthy")
            await until(lambda: endpoints(discovery, "web") == {"web": "ready"})
            await settled(discovery, config(engine))


async def test_a_flood_of_events_is_one_problem_until_it_ends() -> None:
    async with FakeEngine([container("web")]) as engine:
        async with discover([config(engine)]) as discovery:
            await discovery.ready()
            provider = discovery._providers["local"]
            provider.on_flood(2000)
            (problem,) = discovery.table.problems
            assert str(problem).startswith(
                "local: sends events about more than 2,000 containers at once, so all containers are listed"
            )
            provider.on_flood(0)
            assert discovery.table.problems == ()
            provider.on_flood(2000)
            await discovery.remove("local")
            provider.on_flood(2000)
            assert discovery.table.problems == ()


def provider(store: RouteStore, url: str, pool: Pool, **options: Any) -> DockerProvider:
    usual: dict[str, Any] = {"agents": None, "env": {}, "reserved_ports": frozenset(), "timing": None, "on_lag": None}
    config = DockerProviderConfig(url, name=options.pop("name", "one"))
    return DockerProvider(config, store, lambda: None, pool=pool, policy=NO_POLICY, **usual | options)


async def test_a_provider_passes_on_what_it_was_given() -> None:
    lags: list[float] = []
    async with Pool() as pool:
        local = "tcp://10.0.0.9:2375"
        found = provider(RouteStore(), local, pool, env={"DOCKER_HOST": local}, timing=QUICK, on_lag=lags.append)
        facts, watcher = found.state.parser.facts, found.watcher
        assert (facts.reaches_containers, facts.routes_to) == (True, routes_to)
        assert (watcher.timing, watcher._on_lag) == (QUICK, lags.append)
        agents = {"10.0.0.2:8890": "attic"}
        assert provider(RouteStore(), "agent://10.0.0.2:8890", pool, agents=agents).state.parser.facts.agent == "attic"


async def test_tasks_that_wait_for_an_engine_wait_on_when_its_settings_change() -> None:
    store = RouteStore()
    async with Pool() as pool:
        before, after = (provider(store, f"unix:///run/{name}.sock", pool) for name in ("a", "b"))
        before.start()
        before.attempted.set()
        store.set_problems(("one", ""), [Problem(message="it is away")])
        after.start(before)
        store.commit()
        assert after.listed is before.listed
        assert after.attempted is not before.attempted
        assert store.table.problems == ()
        status = store.engine("one")
        assert status is not None
        assert status.state == "pending"  # there are no routes that could be stale
        store.set_engine("one", EngineStatus("live", 1.0))
        last = provider(store, "unix:///run/c.sock", pool)
        last.start(after)
        status = store.engine("one")
        assert status is not None
        assert status.state == "stale"
        assert status.since > 1.0
        last.remove()
