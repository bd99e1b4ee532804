"""Makes views of live engines, recordings and the built-in demonstration, for commands to print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.config.engines import DEFAULT_POLICY, DEFAULT_PORTS
from pilotage.core.errors import ConfigError, EngineError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.config import DockerProviderConfig
from pilotage.output.view import View
from pilotage.policy import Policy
from pilotage.routes.as_written import AsWritten
from pilotage.table.store import build_table
from pilotage.xds.table_problems import problems_of_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pilotage.config.engines import ChosenEngines
    from pilotage.containers.container import Container
    from pilotage.discovery.scan import ScanResult
    from pilotage.routes.file import RouteFile
    from pilotage.table.snapshot import EngineSnapshot

__all__ = ["demonstration", "recorded", "view"]


def view(engines: ChosenEngines, env: Mapping[str, str], early: Callable[[View], object] | None = None) -> View:
    """Return a view of all engines and route files. An engine that fails becomes an error in the view.

    Args:
        engines: the engines and route files.
        env: environment variables.
        early: receives a view of the engines that have responded if any engine is slow; see
            :mod:`pilotage.cli.patience`.

    """
    import asyncio

    from pilotage.cli.patience import ask_all
    from pilotage.discovery.files import read_files
    from pilotage.discovery.scan import scan_all

    files = read_files(engines.files, reserved_ports=engines.reserved_ports, gateway=engines.policy.gateway)

    def whole(scanned: Iterable[ScanResult]) -> View:
        return _view_of_scans(list(scanned), engines.problems, files, engines.policy)

    async def look() -> list[ScanResult]:
        taken = {config.name for config in engines.configs if not config.takes_agent_name}
        given: dict[str, Any] = {"env": env, "reserved_ports": engines.reserved_ports, "policy": engines.policy}
        scans = [(config.name, scan_all([config], taken=taken, **given)) for config in engines.configs]
        return await ask_all(scans, early and (lambda scanned: early(whole(scanned))))

    return whole(asyncio.run(look()))


def demonstration() -> View:
    """Return a view of the built-in demonstration engine, for machines that have no container engine.

    Raises:
        EngineUnreachable: no directory is suitable for the demonstration engine's socket.

    """
    import asyncio

    from pilotage.demo.engine import demo_engine
    from pilotage.discovery.scan import scan_all

    async def look() -> ScanResult:
        async with demo_engine() as engine:
            return await scan_all([DockerProviderConfig(engine.url, name="demo")], policy=DEFAULT_POLICY)

    return msgspec.structs.replace(_view_of_scans([asyncio.run(look())]), is_demo=True)


def _view_of_scans(
    scanned: Sequence[ScanResult],
    problems: Iterable[Problem] = (),
    files: tuple[RouteFile, ...] = (),
    policy: Policy | None = None,
) -> View:
    errors = {name: error for result in scanned for name, error in result.errors.items()}
    failures = [Problem(message=error.what, hint=error.remedy, provider=name) for name, error in errors.items()]
    snapshots = tuple(snapshot for result in scanned for snapshot in result.snapshots)
    return _view(snapshots, (*problems, *failures), tuple(errors.values()), files, policy=policy, is_local=True)


def recorded(file: str) -> View:
    """Return the view of the recordings in one file; ``-`` is standard input.

    Raises:
        ConfigError: the file cannot be read or has no recordings.

    """
    import sys

    from pilotage.recording.replay import read_recordings, replay_recording

    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        hint = "use a file created by 'pilotage capture'"
        problem = Problem(message=f"cannot be read: {error.strerror or shorten(error)}", hint=hint, file=file)
        raise ConfigError([problem]) from error
    recordings = read_recordings(body, file)
    given: dict[str, Any] = {"reserved_ports": DEFAULT_PORTS, "policy": Policy(gateway=DEFAULT_POLICY.gateway)}
    return _view(tuple(replay_recording(recording, **given) for recording in recordings))


def _view(
    snapshots: tuple[EngineSnapshot, ...],
    problems: Iterable[Problem] = (),
    errors: tuple[EngineError, ...] = (),
    files: tuple[RouteFile, ...] = (),
    *,
    policy: Policy | None = None,
    is_local: bool = False,
) -> View:
    table = build_table(snapshots, files, policy=policy)
    problems_by_key = dict(table.problems_by_key)
    found = problems_of_table(table)
    if is_local and policy is not None and any(route.settings.rule_file for route in table.routes.values()):
        from pilotage.xds import rule_file_problems

        found += rule_file_problems(table.routes.values(), policy)
    if found:
        written = AsWritten(lambda: table.routes, _containers(snapshots).get, lambda: files)
        problems_by_key["", ""] = written(found)
    for problem in problems:  # problems of engines that are not in the table, or of no engine
        key = (problem.provider, "")
        problems_by_key[key] = (*problems_by_key.get(key, ()), problem)
    table = msgspec.structs.replace(table, problems_by_key=problems_by_key)
    return View(snapshots, table, errors, files=files, is_local=is_local)


def _containers(snapshots: Iterable[EngineSnapshot]) -> dict[str, dict[str, Container]]:
    """Return the containers by engine and ID."""
    found: dict[str, dict[str, Container]] = {}
    for snapshot in snapshots:
        for container in snapshot.containers:
            found.setdefault(container.provider, {})[container.container_id] = container
    return found
