"""Routes from files that sleep and wake with a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage import discover
from pilotage.testing import FakeEngine, container
from tests.support.discoveries import QUICK, config
from tests.support.sleepers import sleeping, state_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage import Table

FILE = """
nas:
  host: 127.0.0.1
  port: 8080
  idlewatcher: {docker: {provider: ENGINE, container: CONTAINER}OPTIONS}
"""


def written(folder: Path, *, engine: str = "local", name: str = "shop", options: str = ", idle_timeout: 1h") -> str:
    path = folder / "routes.yml"
    path.write_text(FILE.replace("ENGINE", engine).replace("CONTAINER", name).replace("OPTIONS", options))
    return str(path)


def shop(labels: dict[str, str] | None = None) -> FakeEngine:
    hidden = {"proxy.exclude": "true", **(labels or {})}
    return FakeEngine([container("shop", labels=hidden, state="exited")])


async def test_it_wakes_and_sleeps_with_its_container(tmp_path: Path) -> None:
    async with shop() as engine, sleeping(engine, written(tmp_path)) as night:
        await night.until_state("asleep", "nas")
        assert night.discovery.table.routes["nas"].endpoints == ()
        assert night.discovery.table.routes["nas"].remark == "asleep"
        night.sleeper.want("nas")
        await night.until_state("ready", "nas")
        assert state_of(engine, "shop") == "running"
        assert [it.address for it in night.discovery.table.routes["nas"].serving] == ["127.0.0.1:8080"]
        assert night.status("nas").container == "shop"
        night.sleeper.sleep("nas")
        await night.until_state("asleep", "nas")
        assert state_of(engine, "shop") == "exited"
        assert night.sleeper.find("shop") is night.sleeper.unit("nas")


async def test_the_labels_of_the_container_come_before_the_options_of_the_file(tmp_path: Path) -> None:
    labels = {"proxy.idle_timeout": "5m"}
    async with shop(labels) as engine, sleeping(engine, written(tmp_path, options="")) as night:
        await night.until_state("asleep", "nas")
        unit = night.sleeper.unit("nas")
        assert unit is not None
        assert unit.config.idle_timeout == 300.0


async def test_it_shares_the_sleep_of_the_routes_of_its_container(tmp_path: Path) -> None:
    labels = {"proxy.exclude": "false", "proxy.aliases": "web", "proxy.idle_timeout": "5m"}
    async with shop(labels) as engine, sleeping(engine, written(tmp_path)) as night:
        await night.until_state("asleep", "nas")
        await night.until_state("asleep", "web")
        assert night.sleeper.unit("nas") is night.sleeper.unit("web")
        night.sleeper.want("nas")
        await night.until_state("ready", "web")
        assert night.keeper.gates["web"].opening == night.keeper.gates["nas"].opening == "open"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"engine": "locl"}, "no engine is called 'locl', so the route does not sleep; did you mean 'local'?"),
        (
            {"name": "shpo"},
            "local has no container called 'shpo', so the route does not sleep; did you mean 'shop'?",
        ),
        (
            {"options": ""},
            "neither the file nor shop has an idle timeout, so the route does not sleep; add idle_timeout: 30m here",
        ),
    ],
)
async def test_what_cannot_sleep_stays_awake_and_is_reported(
    tmp_path: Path, where: dict[str, str], message: str
) -> None:
    async with (
        shop() as engine,
        discover([config(engine)], files=[written(tmp_path, **where)], timing=QUICK) as discovery,
    ):
        await discovery.ready()
        await until(lambda: message in _problems(discovery.table))
        assert len(discovery.table.routes["nas"].endpoints) == 1


async def test_a_container_that_comes_later_or_goes_is_followed(tmp_path: Path) -> None:
    async with (
        shop() as engine,
        discover([config(engine)], files=[written(tmp_path, name="later")], timing=QUICK) as discovery,
    ):
        await discovery.ready()
        await until(lambda: "no container called" in _problems(discovery.table))
        engine.add(container("later", labels={"proxy.exclude": "true"}, state="exited"))
        await until(lambda: discovery.table.routes["nas"].endpoints == ())
        assert _problems(discovery.table) == ""
        engine.remove("later")
        await until(lambda: len(discovery.table.routes["nas"].endpoints) == 1)
        assert "no container called 'later'" in _problems(discovery.table)


def _problems(table: Table) -> str:
    return "\n".join(str(problem).partition("idlewatcher: ")[2] for problem in table.problems)
