from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pilotage.lint.compose import Site
from pilotage.lint.planned import read_projects
from pilotage.lint.sources import Sources

if TYPE_CHECKING:
    from pilotage.lint.plan import PlannedProject

pytestmark = pytest.mark.usefixtures("folder")


def read(text: str, *, name: str = "compose.yml", **env: str) -> PlannedProject:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(text)
    (project,) = read_projects([name], env, Sources(), Site())
    return project


def test_the_project_has_the_name_that_compose_gives_it() -> None:
    services = "services: {web: {}}"
    assert read(services, name="My.Shop/compose.yml").name == "myshop"
    assert read(f"name: ${{TEAM}}-shop\n{services}", TEAM="a").name == "a-shop"
    assert read(f"name: shop\n{services}", COMPOSE_PROJECT_NAME="other").name == "other"
    Path("My.Shop/.env").write_text("COMPOSE_PROJECT_NAME=written\n")
    assert read(services, name="My.Shop/compose.yml").name == "written"


def test_a_service_starts_without_a_profile_or_with_an_enabled_one() -> None:
    text = "services: {web: {}, tools: {profiles: [tools, dev]}}"
    for enabled, starts in (("", False), ("dev,x", True), ("x", False), ("*", True)):
        services = read(text, COMPOSE_PROFILES=enabled).services
        assert (services["web"].starts, services["tools"].starts) == (True, starts), enabled


def test_the_number_of_replicas_and_whether_ports_are_known_come_from_the_file() -> None:
    services = read(
        "services: {a: {scale: 2, ports: ['8080:80']}, b: {deploy: {replicas: 0}}, c: {ports: ['80', '81:81']}}"
    ).services
    assert {name: (it.replicas, it.has_all_ports) for name, it in services.items()} == {
        "a": (2, True),
        "b": (0, True),
        "c": (None, False),
    }


def test_files_that_a_project_already_has_are_read_once() -> None:
    Path("compose.yml").write_text("name: shop\ninclude: [more.yml]\nservices: {web: {}}")
    Path("more.yml").write_text("services: {api: {}}")
    Path("third.yml").write_text("name: shop\nservices: {mail: {}}")
    (project,) = read_projects(["compose.yml", "more.yml", "third.yml"], {}, Sources(), Site())
    assert project.files == ("compose.yml", "more.yml", "third.yml")
    assert list(project.services) == ["web", "api", "mail"]
