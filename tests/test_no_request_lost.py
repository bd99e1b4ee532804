"""Deployments under load on real engines: clients notice no replacement, scaling, recreation or restart.

Each test is a short version of a scenario of ``benchmarks/deploys.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import deployments
from tests.support.load import Answer, failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Engine


def assert_none_lost(answers: list[Answer], folder: Path) -> None:
    """Fail if requests were lost, with Envoy's log lines about them."""
    lost = failures(answers)
    if lost:
        told = [line for line in (folder / "access.log").read_text().splitlines() if '"status":200' not in line]
        pytest.fail(f"of {len(answers)} requests failed {dict(lost)}; Envoy says: {' '.join(told[:5])}")


@pytest.mark.parametrize(
    ("end", "compose"),
    [
        pytest.param(deployments.CLOSES, True, id="a service, closing"),
        pytest.param(deployments.DEAF, True, id="a service, deaf"),
        pytest.param(deployments.CLOSES, False, id="one alias"),
    ],
)
async def test_a_start_first_replacement_loses_nothing(engine: Engine, tmp_path: Path, end: str, compose: bool) -> None:
    assert_none_lost(await deployments.replaced(engine, tmp_path, 2, end=end, linger=1, compose=compose), tmp_path)


async def test_scaling_down_and_up_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    assert_none_lost(await deployments.scaled(engine, tmp_path, 2, linger=1), tmp_path)


async def test_a_stop_first_recreation_of_a_patient_route_loses_nothing(engine: Engine, tmp_path: Path) -> None:
    answers = await deployments.recreated(engine, tmp_path, 2, gap=0.5)
    assert_none_lost(answers, tmp_path)
    assert max(answer.took for answer in answers) > 0.5, "there was no gap"


@pytest.mark.parametrize("compose", [True, False], ids=["a service", "a plain container"])
async def test_a_restart_of_a_server_that_closes_its_port_at_once_loses_nothing(
    engine: Engine, tmp_path: Path, *, compose: bool
) -> None:
    assert_none_lost(await deployments.restarted(engine, tmp_path, 3, compose=compose), tmp_path)


@pytest.mark.parametrize("compose", [True, False], ids=["a service", "a plain container"])
async def test_a_restart_of_a_server_that_accepts_connections_a_little_longer_loses_nothing(
    engine: Engine, tmp_path: Path, *, compose: bool
) -> None:
    answers = await deployments.restarted(engine, tmp_path, 2, end=deployments.PATIENT, linger=1, compose=compose)
    assert_none_lost(answers, tmp_path)


async def test_a_paused_container_gets_no_requests_and_finishes_those_it_has_once_it_is_resumed(
    engine: Engine, tmp_path: Path
) -> None:
    assert (await deployments.paused(engine, tmp_path)).whole


async def test_a_restart_of_the_engine_that_leaves_containers_alone_loses_nothing(
    start_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = start_engine(options=deployments.LIVE_RESTORE)
    assert_none_lost(await deployments.engine_restarted(engine, tmp_path, 2), tmp_path)


async def test_a_remote_envoy_loses_no_request_while_the_daemon_is_away(engine: Engine, tmp_path: Path) -> None:
    assert_none_lost(await deployments.daemon_restarted(engine, tmp_path, 2, linger=1), tmp_path)


async def test_websockets_and_downloads_survive_changes_of_other_routes(engine: Engine, tmp_path: Path) -> None:
    lasting, answers = await deployments.long_requests(engine, tmp_path, seconds=6)
    assert_none_lost(answers, tmp_path)
    assert (lasting.changes, lasting.open, lasting.whole) == (1_000, 5, True)
    assert lasting.lines >= 60
    assert lasting.heard == lasting.said > 100
