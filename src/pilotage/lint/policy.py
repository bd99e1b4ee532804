"""Decides what the services of a Compose file may claim under the policy of a configuration, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pilotage.config.engines import find_config_file
from pilotage.config.load import Config, load_config
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.lint.compose import Project, Site, dot_env
from pilotage.lint.sources import Sources
from pilotage.output.policy import judge_service
from pilotage.policy import unknown_engines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.containers import Container
    from pilotage.core.yaml import Located
    from pilotage.output.policy import JudgedService

__all__ = ["JudgedCompose", "judge_compose"]


class JudgedCompose(NamedTuple):
    """What the services of a Compose file may claim, and warnings about the configuration."""

    services: tuple[JudgedService, ...]
    problems: tuple[Problem, ...]


def judge_compose(file: str, config_file: str, engine: str, env: Mapping[str, str]) -> JudgedCompose:
    """Return the claims of each service of a Compose file, allowed or refused.

    Args:
        file: the Compose file.
        config_file: the configuration with the rules; ``""`` searches for it.
        engine: name of the engine on which the services would run; ``""`` for the only engine in the configuration.
        env: the variables that both files can use.

    Raises:
        ConfigError: a file cannot be read or has errors, the engine does not exist, or none is named and rules depend
            on it.

    """
    chosen = config_file or find_config_file()
    config = load_config(Path(chosen), env) if chosen else Config()
    name = _engine(config, engine, chosen)
    top = Sources().compose(file)
    services = tuple(
        judge_service(container, config.policy, service=service, reserved_ports=config.reserved_ports)
        for service, container in _containers(file, top, env, name)
    )
    names = [provider.name for provider in config.providers] or ([name] if name else [])
    return JudgedCompose(services, (*config.problems, *(unknown_engines(config.policy, names) if names else ())))


def _containers(name: str, top: dict[str, Located], env: Mapping[str, str], engine: str) -> list[tuple[str, Container]]:
    """Return each service of a Compose file and of the files that it includes, with its first container."""
    project = Project(name, top, dot_env(Path(name).parent / ".env", env), Site(engines=(engine,)))
    list(project.check_all(name, top))
    return project.containers


def _engine(config: Config, engine: str, file: str) -> str:
    names = [provider.name for provider in config.providers]
    if engine and names and engine not in (*names, *(name.removesuffix("!") for name in names)):
        hint = did_you_mean(engine, names) or f"the engines are {', '.join(names)}"
        raise ConfigError([Problem(message=f"there is no engine {engine!r}", hint=hint, file=file)])
    if engine or not names:
        return engine
    if len(names) > 1 and any(rule.engine for rule in config.policy.rules):
        hint = f"choose one with --on: {', '.join(names)}"
        raise ConfigError([Problem(message="the rules depend on the engine", hint=hint, file=file)])
    return names[0] if len(names) == 1 else ""
