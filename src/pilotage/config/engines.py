"""Chooses the engines that a command or the daemon uses, from its options, ``pilotage.yml`` and the environment.

Engines from ``--config``, ``--engine`` and ``--context`` are used together. Without any of these options, the engines
and route files in ``pilotage.yml`` are used. If that file does not exist or lists neither engines nor route files,
pilotage uses the engine that the docker command uses.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.config.engine_args import providers_from_args
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.contexts import default_engine, resolve_context, resolved
from pilotage.policy import Policy
from pilotage.xds.capabilities import GatewayCapabilities
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CONFIG_FILES",
    "DEFAULT_POLICY",
    "DEFAULT_PORTS",
    "ChosenEngines",
    "EngineChoice",
    "choose_engines",
    "find_config_file",
    "parse_engine_args",
]

CONFIG_FILES: Final = ("pilotage.yml", "/etc/pilotage/pilotage.yml")
"""Searched in this order if no engine is named."""


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The command-line options that select engines. An instance is falsy if the user gave no such option.

    Attributes:
        config: name of the configuration file; ``""`` if ``--config`` is not given.
        engines: values of ``--engine``: ``NAME=URL`` or a URL.
        contexts: names of Docker contexts.

    """

    config: str = ""
    engines: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.config or self.engines or self.contexts)


DEFAULT_PORTS: Final = frozenset({8080, 8888})
"""Ports of the gateway and the API if ``pilotage serve`` has no configuration."""

DEFAULT_POLICY: Final = Policy(addresses=(GatewayOptions().http_address,), gateway=GatewayCapabilities())
"""What containers may claim if ``pilotage serve`` has no configuration."""


class ChosenEngines(msgspec.Struct, frozen=True):
    """The engines and route files that a command or the daemon uses, and the settings that apply to them.

    Attributes:
        configs: the engines; empty only if there are route files.
        why: why these engines were chosen, as human-readable text; ``""`` if the user named them.
        problems: warnings about the configuration file.
        files: names and patterns of route files.
        reserved_ports: ports on this host that belong to ``pilotage serve``. No route may point to them.
        policy: what containers may claim.
        options: the gateway's settings.

    """

    configs: tuple[DockerProviderConfig, ...]
    why: str = ""
    problems: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()
    reserved_ports: frozenset[int] = DEFAULT_PORTS
    policy: Policy = DEFAULT_POLICY
    options: GatewayOptions = GatewayOptions()


def find_config_file() -> str:
    """Return the first of the :data:`CONFIG_FILES` that exists; ``""`` if this user can see neither file."""
    return next((name for name in CONFIG_FILES if os.access(name, os.F_OK) and Path(name).is_file()), "")


def choose_engines(choice: EngineChoice, env: Mapping[str, str]) -> ChosenEngines:
    """Return the engines and route files that a command or the daemon uses.

    Args:
        choice: the command-line options.
        env: environment variables.

    Raises:
        ConfigError: an option or the configuration file is invalid, or no engine can be found.

    """
    if not choice:
        found = find_config_file()
        chosen = _from_file(found, env, why=f"named in {found}") if found else ChosenEngines(())
        return _or_default(chosen, env)
    configs: list[DockerProviderConfig] = []
    read = ChosenEngines(())
    if choice.config:
        read = _from_file(choice.config, env)
        configs += read.configs
    configs += parse_engine_args(choice.engines, env)
    if choice.contexts:
        configs += [resolve_context(name, env) for name in choice.contexts]
    _check_unique(configs)
    resolved_configs = tuple(resolved(config, env) for config in configs)
    return _or_default(msgspec.structs.replace(read, configs=resolved_configs), env)


def _check_unique(configs: Iterable[DockerProviderConfig]) -> None:
    names = [config.name for config in configs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        hint = "give each engine its own name: --engine NAME=URL"
        raise ConfigError([Problem(message=f"two engines are called {name!r}", hint=hint) for name in repeated])


def _or_default(chosen: ChosenEngines, env: Mapping[str, str]) -> ChosenEngines:
    """Return ``chosen``, with the docker command's engine added if it has neither engines nor route files."""
    if chosen.configs or chosen.files:
        return chosen
    config, why = default_engine(env)
    return msgspec.structs.replace(chosen, configs=(resolved(config, env),), why=why)


def _from_file(name: str, env: Mapping[str, str], why: str = "") -> ChosenEngines:
    from pilotage.config.load import load_config  # noqa: PLC0415  # imports pydantic, which is slow

    config = load_config(Path(name), env)
    if config.has_providers and not config.providers and not config.files:
        hint = "add one under providers.docker, such as `local: $DOCKER_HOST`, or select one with --engine NAME=URL"
        raise ConfigError([*config.problems, Problem(message="no engine is configured", hint=hint, file=name)])
    engines = tuple(resolved(engine, env) for engine in config.providers)
    ports = config.reserved_ports
    return ChosenEngines(engines, why, config.problems, config.files, ports, config.policy, config.options)


def parse_engine_args(texts: Iterable[str], env: Mapping[str, str]) -> tuple[DockerProviderConfig, ...]:
    """Parse the values of ``--engine``: ``NAME=URL`` or a URL.

    An engine given as a URL is named after the URL's host, or ``local`` for a socket, with a number if the name is
    taken.

    Raises:
        ConfigError: a value is invalid, or a name is repeated. The exception contains all errors.

    """
    args: list[str] = []
    taken = {text.partition("=")[0] for text in texts if _has_name(text)}
    for text in texts:
        if _has_name(text) or not _is_url(text):
            args.append(text)
            continue
        base = name = _host_of(text) or "local"
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        args.append(f"{name}={text}")
    return providers_from_args(args, env)


def _has_name(text: str) -> bool:
    name, equals, _ = text.partition("=")
    return bool(equals) and "://" not in name


def _is_url(text: str) -> bool:
    return "://" in text or text in ("$DOCKER_HOST", "${DOCKER_HOST}")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
