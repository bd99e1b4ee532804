"""Fixtures for all tests: real engines.

``docker_engine``        one Docker Engine for the whole session; the one that ``PILOTAGE_TEST_ENGINE`` or ``DOCKER_HOST`` names,
                         else one started for the tests.
``engine``               the same, and what the test makes on it is removed afterwards.
``engine_factory``       other generations: ``engine_factory("26.1")``, one for the session each.
``podman_engine``        a Podman.

Tests that use one of these carry the marker ``engine`` by themselves. Where an engine cannot run, they fail if the
environment has ``CI``, and else are skipped, with one line in the summary.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.support.daemon import sweep
from tests.support.engines import Engine, named_engine, own_docker
from tests.support.install import DOCKER_PACKAGES, EngineUnavailable, debian_packages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENGINE_FIXTURES = {"docker_engine", "engine_factory", "podman_engine"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "engine: needs a real container engine; given to every test that uses such a fixture"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _ENGINE_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("engine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install what engines need before any test's own time limit runs."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())} & _ENGINE_FIXTURES
    if not used or session.config.option.collectonly:
        return
    try:
        sweep()
        debian_packages(DOCKER_PACKAGES)
    except EngineUnavailable:
        return  # the fixture says it, for the tests that it concerns


def _unavailable(why: EngineUnavailable, *, optional: bool = False) -> NoReturn:
    if os.environ.get("CI", "").lower() not in {"", "0", "false"} and not optional:
        pytest.fail(str(why), pytrace=False)
    pytest.skip(str(why))


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Engine]:
    """A real Docker Engine with the test images: over its socket, and if it is our own over TCP and mutual TLS as well."""
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
