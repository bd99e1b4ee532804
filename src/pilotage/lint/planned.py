"""Reads Compose files as the containers that they would create, for ``pilotage plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.yaml import Located
from pilotage.lint.compose import Project, Site, dot_env
from pilotage.lint.plan import PlannedProject, PlannedService
from pilotage.lint.published import published_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.containers import Container
    from pilotage.lint.sources import Sources

__all__ = ["read_projects"]


def read_projects(
    names: Iterable[str], env: Mapping[str, str], sources: Sources, site: Site, project: str = ""
) -> tuple[PlannedProject, ...]:
    """Read Compose files. Files of the same project must define different services.

    Args:
        names: names of the files.
        env: the variables that the files can use; ``COMPOSE_PROJECT_NAME`` and ``COMPOSE_PROFILES`` have the meanings
            that they have for Compose.
        sources: reads the files.
        site: the gateway and engines for which the files are checked.
        project: name of the project of all files; ``""`` for the names that Compose would use.

    Raises:
        ConfigError: a file cannot be read, is no Compose file, or defines a service that another file defines.

    """
    found: dict[str, PlannedProject] = {}
    for name in names:
        if any(name in it.files for it in found.values()):
            continue
        new = _read(name, env, sources, site, project)
        known = found.get(new.name)
        if known is not None:
            twice = next((service for service in new.services if service in known.services), "")
            if twice:
                hint = "merge the files: docker compose -f FILE -f FILE config | pilotage plan -"
                message = f"the service {twice!r} of the project {new.name!r} is also defined in {known.files[0]}"
                raise ConfigError([Problem(message=message, hint=hint, file=name)])
            new = PlannedProject(
                new.name, known.files + new.files, known.services | new.services, known.problems + new.problems
            )
        found[new.name] = new
    return tuple(found.values())


def _read(name: str, env: Mapping[str, str], sources: Sources, site: Site, chosen: str) -> PlannedProject:
    top = sources.compose(name)
    variables = dot_env(Path(name).parent / ".env", env)
    project = Project(name, top, variables, site)
    project.project = chosen or variables.get("COMPOSE_PROJECT_NAME") or project.project
    problems = tuple(project.check_all(name, top))
    profiles = frozenset(filter(None, variables.get("COMPOSE_PROFILES", "").split(",")))
    services = {
        service: _service(container, project.definitions[service], profiles)
        for service, container in project.containers
    }
    return PlannedProject(project.project, (name, *project.included), services, problems)


def _service(container: Container, definition: Mapping[str, Located], enabled: frozenset[str]) -> PlannedService:
    ports = _items(definition.get("ports"))
    profiles = {str(it.value) for it in _items(definition.get("profiles"))}
    return PlannedService(
        container,
        all(published_ports(Located([port])) for port in ports),
        not profiles or "*" in enabled or bool(profiles & enabled),
        _replicas(definition),
    )


def _items(written: Located | None) -> list[Located]:
    return written.value if written is not None and isinstance(written.value, list) else []


def _replicas(definition: Mapping[str, Located]) -> int | None:
    deploy = definition["deploy"].value if "deploy" in definition else None
    for value in (deploy.get("replicas") if isinstance(deploy, dict) else None, definition.get("scale")):
        if value is not None and str(value.value).isdecimal():
            return int(str(value.value))
    return None
