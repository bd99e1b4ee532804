"""A route from a file names the container with which it sleeps and wakes."""

from __future__ import annotations

import pytest

from pilotage.core.yaml import parse_yaml
from pilotage.labels.container_options import IdleConfig
from pilotage.routes.idlewatcher import Idlewatcher, read_idlewatcher


def read(text: str) -> tuple[Idlewatcher | None, list[str]]:
    document = parse_yaml(f"idlewatcher: {text}")
    assert document is not None
    assert isinstance(document.value, dict)
    found, errors = read_idlewatcher(document.value["idlewatcher"])
    assert (found is None) == bool(errors)
    return found, [f"{it.problem.path}: {it.problem.message}" for it in errors]


def test_it_names_the_container_and_how_it_sleeps() -> None:
    found, _ = read(
        "{docker: {provider: local, container: /shop}, idle_timeout: 30m, stop_method: pause, depends_on: [db, cache],"
        " no_loading_page: true, stop_timeout: 5}"
    )
    assert found is not None
    assert (found.provider, found.container, found.line) == ("local", "shop", 1)
    assert found.config == IdleConfig(
        idle_timeout=1800.0,
        wake_timeout=180.0,
        stop_method="pause",
        stop_timeout=5.0,
        depends_on=("db", "cache"),
        no_loading_page=True,
    )


def test_without_options_the_labels_of_the_container_count() -> None:
    found, _ = read("{docker: {provider: local, containerName: shop}}")
    assert found is not None
    assert found.config is None


DOCKER = "docker: {provider: local, container: shop}"


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("yes", ["idlewatcher: a mapping is needed here, not text"]),
        ("{idle_timeout: 5m}", ["idlewatcher.docker: the engine or the container is missing"]),
        ("{docker: {provider: local}}", ["idlewatcher.docker: the engine or the container is missing"]),
        ("{docker: [a]}", ["idlewatcher.docker: a mapping is needed here, not a list"]),
        ("{docker: {provider: 3, container: shop}}", ["idlewatcher.docker.provider: this cannot be a number"]),
        ("{docker: {provider: local, name: shop}}", ["idlewatcher.docker.name: unknown field"]),
        (f"{{{DOCKER}, bogus: 1}}", ["idlewatcher.bogus: unknown field"]),
        (f"{{{DOCKER}, wake_timeout: 5m}}", ["idlewatcher.idle_timeout: without it, the other options have no effect"]),
        (f"{{{DOCKER}, idle_timeout: {{a: b}}}}", ["idlewatcher.idle_timeout: this cannot be a mapping"]),
        (
            f"{{{DOCKER}, idle_timeout: 5m, stop_method: x}}",
            ["idlewatcher.stop_method: 'x' is not allowed here; write one of stop, pause, kill"],
        ),
    ],
)
def test_errors_name_their_place(text: str, errors: list[str]) -> None:
    assert read(text) == (None, errors)
