"""One attempt to wake a unit: what it starts first, what it waits for, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.sleep.state import Phase
from pilotage.sleep.waking import QUEUES
from pilotage.testing import FakeContainer, FakeEngine, container
from tests.support.sleepers import sleeping, state_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from pilotage.testing.container import State

PROJECT = {"com.docker.compose.project": "shop"}


def service(name: str, more: dict[str, str] | None = None, state: State = "exited") -> FakeContainer:
    labels = {**PROJECT, "com.docker.compose.service": name, **(more or {})}
    return container(f"shop-{name}-1", labels=labels, state=state)


async def test_dependencies_start_first_and_shared_ones_once() -> None:
    web = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.depends_on": "db, cache"}
    api = {"proxy.aliases": "api", "proxy.idle_timeout": "1h", "proxy.depends_on": "db"}
    hidden = {"proxy.exclude": "true"}
    containers = [service("web", web), service("api", api), service("db", hidden), service("cache", hidden)]
    async with FakeEngine(containers) as engine, sleeping(engine) as night:
        await night.until_state("asleep", "api")
        night.sleeper.want("web")
        night.sleeper.want("api")
        await night.until_state("ready", "web")
        await night.until_state("ready", "api")
        started = [target.split("/")[-2] for method, target in engine.requests if target.endswith("/start")]
        names = [found.name for which in started if (found := engine.find(which)) is not None]
        assert sorted(names) == ["shop-api-1", "shop-cache-1", "shop-db-1", "shop-web-1"]
        assert names.index("shop-db-1") < min(names.index("shop-web-1"), names.index("shop-api-1"))
        assert "started shop-db-1" in night.sleeper.unit("web").done  # type: ignore[union-attr]


async def test_a_missing_dependency_fails_the_attempt_with_its_name() -> None:
    web = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.depends_on": "databse"}
    async with FakeEngine([service("web", web), service("database")]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.sleeper.want("web")
        await night.until_state("failed")
        assert night.status().failure == ("shop-web-1 needs 'databse', which does not exist; did you mean 'database'?")
        assert engine.calls["start"] == 0


async def test_a_container_that_exits_ends_the_attempt() -> None:
    web = {"proxy.aliases": "web", "proxy.idle_timeout": "1h"}
    async with FakeEngine([service("web", web)]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.answers = False
        night.sleeper.want("web")
        await until(lambda: state_of(engine, "shop-web-1") == "running")
        engine.die("shop-web-1", exit_code=3)
        await night.until_state("failed")
        assert "shop-web-1 exited with code 3" in night.status().failure


async def test_an_attempt_that_takes_too_long_says_what_it_was_waiting_for() -> None:
    web = {"proxy.aliases": "web", "proxy.idle_timeout": "1h", "proxy.wake_timeout": "1s"}
    async with FakeEngine([service("web", web)]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.answers = False
        night.sleeper.want("web")
        await night.until_state("failed")
        assert night.status().failure == (
            "shop-web-1 was not ready within 1s, while waiting for shop-web-1 to answer; "
            "raise proxy.wake_timeout if it needs longer"
        )


def many(number: int, **labels: str) -> list[FakeContainer]:
    """Return stopped containers that sleep and wake."""
    idle = {"proxy.idle_timeout": "1h", **{f"proxy.{key}": value for key, value in labels.items()}}
    return [container(f"web{which}", labels=idle, state="exited") for which in range(number)]


async def test_an_engine_wakes_four_at_a_time() -> None:
    async with FakeEngine(many(12, wake_timeout="15m")) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.names) == 12)
        night.answers = False
        for which in range(12):
            night.sleeper.want(f"web{which}")
        await until(lambda: [it.step for it in night.sleeper.statuses()].count(QUEUES) == 8)
        await until(lambda: engine.calls["start"] == 4)
        assert all(it.state == "waking" for it in night.sleeper.statuses())
        night.answers = True
        await until(lambda: all(it.state == "ready" for it in night.sleeper.statuses()))
        assert engine.calls["start"] == 12


async def test_the_time_in_the_queue_does_not_count_towards_the_wake_timeout() -> None:
    async with FakeEngine(many(12, wake_timeout="1s")) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.names) == 12)
        night.answers = False
        for which in range(12):
            night.sleeper.want(f"web{which}")
        failures: dict[str, str] = {}

        def failed() -> int:
            failures.update({it.container: it.failure for it in night.sleeper.statuses() if it.failure})
            return len(failures)

        await until(lambda: failed() == 12)
        assert all(
            "was not ready within 1s, while" in failure and QUEUES not in failure for failure in failures.values()
        )


async def test_after_a_restart_of_the_engine_a_storm_of_requests_wakes_four_at_a_time() -> None:
    number = 200
    async with FakeEngine(many(number)) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.names) == number)
        units = [it for which in range(number) if (it := night.sleeper.unit(f"web{which}")) is not None]
        at_once: list[int] = []
        night.on_probe = lambda: at_once.append(
            sum(it.state.phase is Phase.WAKING and it.step not in ("", QUEUES) for it in units)
        )
        for which in range(number):
            night.sleeper.want(f"web{which}")
        await until(lambda: all(it.state == "ready" for it in night.sleeper.statuses()))
        assert engine.calls["start"] == number
        assert 1 <= max(at_once) <= 4


async def test_a_container_that_somebody_started_waits_for_no_turn() -> None:
    async with FakeEngine(many(5, wake_timeout="15m")) as engine, sleeping(engine) as night:
        await until(lambda: len(night.sleeper.names) == 5)
        night.answers = False
        for which in range(4):
            night.sleeper.want(f"web{which}")
        await until(lambda: engine.calls["start"] == 4)
        engine.start("web4")
        await night.until_state("waking", "web4")
        assert night.status("web4").step != QUEUES


async def test_a_paused_container_is_resumed() -> None:
    async with (
        FakeEngine([service("web", {"proxy.aliases": "web", "proxy.idle_timeout": "1h"}, "paused")]) as engine,
        sleeping(engine) as night,
    ):
        await night.until_state("asleep")
        night.sleeper.want("web")
        await night.until_state("ready")
        assert (engine.calls["unpause"], engine.calls["start"]) == (1, 0)


async def test_replicas_are_ready_with_the_first_that_answers_and_the_others_are_reported() -> None:
    labels = {**PROJECT, "com.docker.compose.service": "web", "proxy.aliases": "web", "proxy.idle_timeout": "1h"}
    replicas = [container(f"shop-web-{number}", labels=labels, state="exited") for number in (1, 2)]
    async with FakeEngine(replicas) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        engine.spoil("start", status=500, message="no space left on device", times=1)
        night.sleeper.want("web")
        await night.until_state("ready")
        assert sorted(state_of(engine, it.name) for it in replicas) == ["exited", "running"]
        (problem,) = night.sleeper.problems()
        assert (problem.severity, "no space left on device" in problem.message) == ("warning", True)
        assert state_of(engine, problem.container) == "exited"


async def test_a_replica_that_does_not_respond_does_not_hold_up_the_others() -> None:
    labels = {**PROJECT, "com.docker.compose.service": "web", "proxy.aliases": "web", "proxy.idle_timeout": "1h"}
    replicas = [container(f"shop-web-{number}", labels=labels, state="exited") for number in (1, 2)]
    async with FakeEngine(replicas) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.answers = False
        night.sleeper.want("web")
        await until(lambda: len(night.discovery.table.routes["web"].endpoints) == 2)
        silent, _ = night.discovery.table.routes["web"].endpoints
        night.silent = {silent.host}
        night.answers = True
        await night.until_state("ready")


async def test_a_slow_replica_does_not_hold_up_the_others() -> None:
    labels = {**PROJECT, "com.docker.compose.service": "web", "proxy.aliases": "web", "proxy.idle_timeout": "1h"}
    slow = {**labels, "proxy.depends_on": "db:service_healthy"}
    one = container("shop-web-1", labels=labels, state="exited")
    two = container("shop-web-2", labels=slow, state="exited")
    database = container(
        "shop-db-1", labels={**PROJECT, "com.docker.compose.service": "db", "proxy.exclude": "true"}, health="starting"
    )
    async with FakeEngine([one, two, database]) as engine, sleeping(engine) as night:
        await night.until_state("asleep")
        night.sleeper.want("web")
        await night.until_state("ready")
        assert state_of(engine, "shop-web-1") == "running"
        assert state_of(engine, "shop-web-2") == "exited"
