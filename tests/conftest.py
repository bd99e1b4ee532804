"""Fixtures for all tests: real engines.

``docker_engine``    one Docker Engine for the whole session: the one that ``PILOTAGE_TEST_ENGINE`` or ``DOCKER_HOST``
                     names, else one started for the tests.
``engine``           the same, and what a test makes on it is removed after the test.
``own_engine``       a Docker Engine for one test alone, which may kill, freeze or upgrade it.
``start_engine``     starts further Docker Engines for one test, with options.
``engine_factory``   other generations, one of each for the session: ``engine_factory("26.1")``.
``podman_engine``    one Podman for the session; what a test makes on it is removed after the test.

``root``             requires that the tests run as root.
``pilotage``         runs a command in this process, on a machine that seems to have no engine.

Tests that use one of the engines get the marker ``engine``; any other test that starts one fails. Where an engine
cannot run, its tests fail if the environment has ``CI``, and are skipped otherwise, with one line in the summary.

No test sees the user's environment, a running daemon or the machine's engines (:mod:`tests.support.environment`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import examples  # noqa: F401  # the profiles of hypothesis
from tests.support.agents import PROGRAM
from tests.support.commandline import pilotage  # noqa: F401  # a fixture
from tests.support.daemon import Daemon
from tests.support.engines import Engine, named_engine, own_docker, own_podman, sweep
from tests.support.environment import isolate, remove_leftovers
from tests.support.install import DOCKER_PACKAGES, PODMAN_PACKAGES, EngineUnavailable, debian_packages
from tests.support.required import missing, required, skip_reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

_FIXTURES = {"docker_engine", "own_engine", "start_engine", "engine_factory", "podman_engine"}

_environment = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Isolate the tests from the machine, and make no event loop where none is wanted.

    looptime asks for the current loop before plain tests, too; asyncio makes one unless it was set to None before.
    """
    asyncio.set_event_loop(None)
    if config.getoption("dist", "no") == "no":  # workers isolate themselves, and need what the user has set
        config.stash[_environment] = isolate()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the tests have left among their temporary files."""
    if _environment in config.stash and (left := remove_leftovers(config.stash[_environment])):
        print(f"tests left temporary files behind: {', '.join(left)}")  # noqa: T201


_OF_AGENTS = ("test_fake_agent.py", "test_agents.py")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in front of which agents the tests of agents ran."""
    reports = (report for found in terminalreporter.stats.values() for report in found)
    if any(getattr(report, "nodeid", "").partition("::")[0].endswith(_OF_AGENTS) for report in reports):
        also = f"and GoDoxy's, {PROGRAM}" if PROGRAM else "only; GODOXY_AGENT names no program of GoDoxy's"
        terminalreporter.write_line(f"agents: ours {also}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use an engine, for one worker, and as slow those that use a real Envoy or ACME server."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & _FIXTURES:
            item.add_marker("engine")
            item.add_marker(pytest.mark.xdist_group("engine"))
        if fixtures & {"envoy", "pebble"}:
            item.add_marker("slow")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what engines need, once, before the first test."""
    gc.freeze()  # makes the collections in tests for leaks quick
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())} & _FIXTURES
    if not used or session.config.option.collectonly:
        return
    # the fixtures report a missing engine, for the tests that need it
    with contextlib.suppress(EngineUnavailable), _one_at_a_time():
        sweep()
        debian_packages(DOCKER_PACKAGES | (PODMAN_PACKAGES if "podman_engine" in used else {}))


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let only one worker of pytest-xdist in."""
    with Path(__file__).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Let no test write to the log that another one has configured: a command in this process does."""
    handlers, levels = list(logging.root.handlers), _log_levels()
    try:
        return (yield)
    finally:
        logging.root.handlers[:] = handlers
        for name in _log_levels():
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def _log_levels() -> dict[str, int]:
    """Return the level of the root logger and of each logger of pilotage, by name."""
    named = logging.root.manager.loggerDict
    ours = {
        name: it.level for name, it in named.items() if name.startswith("pilotage") and isinstance(it, logging.Logger)
    }
    return {"root": logging.root.level, **ours}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forbid a test without the marker ``engine`` to start one."""
    Daemon.forbidden = "" if item.get_closest_marker("engine") else item.nodeid


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Report all skips for the same missing engine at one place: the summary then has one line for them."""
    report = yield
    if report.skipped and call.excinfo is not None and str(call.excinfo.value) in skip_reasons:
        report.longrepr = (__file__, 1, f"Skipped: {call.excinfo.value}")
    return report


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A private folder whose path is short enough for the sockets of a kept Envoy."""
    with tempfile.TemporaryDirectory(prefix="keep-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def root() -> None:
    """Require the rights of root, e.g. to give them up or to give files away."""
    if os.geteuid() != 0:
        missing(EngineUnavailable("only root can give up rights, or give files to another user"))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A Docker Engine with the test images: over its socket, and if it is our own over TCP and mutual TLS as well."""
    with required():
        engine = named_engine() or own_docker(tls=True)
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
def start_engine() -> Iterator[Callable[..., Engine]]:
    """A function that starts a Docker Engine for this test; its arguments are those of :func:`own_docker`."""
    with contextlib.ExitStack() as stack:

        def start(*args: str, **options: Any) -> Engine:
            with required():
                engine = own_docker(*args, **options)
            stack.callback(engine.close)
            return engine

        yield start


@pytest.fixture
def own_engine(start_engine: Callable[..., Engine]) -> Engine:
    """A Docker Engine that is the test's alone: its ``daemon`` may be killed, frozen, stopped and started again."""
    return start_engine()


@pytest.fixture(scope="session")
def engine_factory() -> Iterator[Callable[[str], Engine]]:
    """A function from a generation (``"system"``, ``"26.1"``, ``"28.5"``) to the session's engine of it.

    A test uses it as ``with engine_factory("26.1").scope() as engine:`` and so leaves nothing behind.
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
            missing(found)
        return found

    try:
        yield engine_of
    finally:
        for engine in started.values():
            if isinstance(engine, Engine):
                engine.close()


@pytest.fixture(scope="session")
def _session_podman() -> Iterator[Engine]:
    with required():
        engine = own_podman()
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def podman_engine(_session_podman: Engine) -> Iterator[Engine]:
    """The session's Podman; containers and networks that the test makes are removed after it."""
    with _session_podman.scope():
        yield _session_podman
