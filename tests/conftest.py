"""Fixtures for all tests: real engines.

``docker_engine``    one Docker Engine for the whole session: the one that ``PILOTAGE_TEST_ENGINE`` or ``DOCKER_HOST``
                     names, else one started for the tests.
``engine``           the same, and what a test makes on it is removed after the test.
``own_engine``       a Docker Engine for one test alone, which may kill, freeze or upgrade it.
``engine_factory``   other generations, one of each for the session: ``engine_factory("26.1")``.
``podman_engine``    one Podman for the session; what a test makes on it is removed after the test.

``pilotage``         runs a command in this process, on a machine that seems to have no engine.

Tests that use one of the engines carry the marker ``engine`` by themselves. Where an engine cannot run they fail if the
environment has ``CI``, and are skipped otherwise, with one line in the summary.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.commandline import pilotage  # noqa: F401  # a fixture
from tests.support.engines import Engine, named_engine, own_docker, own_podman, sweep
from tests.support.install import DOCKER_PACKAGES, PODMAN_PACKAGES, EngineGone, EngineUnavailable, debian_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_FIXTURES = {"docker_engine", "own_engine", "engine_factory", "podman_engine"}


#: Why engines were not there.
_reasons: set[str] = set()


def pytest_configure() -> None:
    """Let no loop be made where none is wanted.

    looptime asks for the current loop before plain tests, too; told that there is none, asyncio does not make one.
    """
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what engines need, once, before the first test."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())} & _FIXTURES
    if not used or session.config.option.collectonly:
        return
    try:
        sweep()
        debian_packages(DOCKER_PACKAGES | (PODMAN_PACKAGES if "podman_engine" in used else {}))
    except EngineUnavailable:
        return  # the fixture says it, for the tests that it concerns


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report all skips for want of one engine at one place, so that the summary has one line for them."""
    report = yield
    if report.skipped and call.excinfo is not None and str(call.excinfo.value) in _reasons:
        report.longrepr = (__file__, 1, f"Skipped: {call.excinfo.value}")
    return report


def _unavailable(why: EngineUnavailable) -> NoReturn:
    if os.environ.get("CI", "").lower() not in {"", "0", "false"} and not isinstance(why, EngineGone):
        raise pytest.fail.Exception(str(why), pytrace=False) from None
    _reasons.add(str(why))
    pytest.skip(str(why))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A Docker Engine with the test images: over its socket, and if it is our own over TCP and mutual TLS as well."""
    try:
        engine = named_engine() or own_docker(tls=True)
    except EngineUnavailable as why:
        _unavailable(why)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def engine(docker_engine: Engine) -> Iterator[Engine]:
    """The session's Docker Engine; containers and networks that the test makes are removed after it."""
    with docker_engine.scope():
        yield docker_engine


@pytest.fixture
def own_engine() -> Iterator[Engine]:
    """A Docker Engine that is the test's alone: its ``daemon`` may be killed, frozen, stopped and started again."""
    try:
        engine = own_docker()
    except EngineUnavailable as why:
        _unavailable(why)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def engine_factory() -> Iterator[Callable[[str], Engine]]:
    """A function from a generation (``"system"``, ``"26.1"``, ``"28.5"``) to the session's engine of it.

    A test uses it as ``with engine_factory("26.1").scope() as engine:``, and so leaves nothing behind.
    """
    started: dict[str, Engine | EngineUnavailable] = {}

    def engine_of(generation: str) -> Engine:
        if generation not in started:
            try:
                started[generation] = own_docker(generation)
            except EngineUnavailable as why:
                started[generation] = why
        found = started[generation]
        if isinstance(found, EngineUnavailable):
            _unavailable(found)
        return found

    try:
        yield engine_of
    finally:
        for engine in started.values():
            if isinstance(engine, Engine):
                engine.close()


@pytest.fixture(scope="session")
def _session_podman() -> Iterator[Engine]:
    try:
        engine = own_podman()
    except EngineUnavailable as why:
        _unavailable(why)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def podman_engine(_session_podman: Engine) -> Iterator[Engine]:
    """The session's Podman; containers and networks that the test makes are removed after it."""
    with _session_podman.scope():
        yield _session_podman
