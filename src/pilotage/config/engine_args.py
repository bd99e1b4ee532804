"""Parses the engines on the command line (``--engine NAME=URL``). Pure. Avoids pydantic, which is slow to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.config.substitute import DEFAULT_HOST, fill_in
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.address import LOCAL_SOCKET, parse_address
from pilotage.engine.config import DockerProviderConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["providers_from_args"]


def providers_from_args(args: Iterable[str], env: Mapping[str, str]) -> tuple[DockerProviderConfig, ...]:
    """Parse engines in the form ``NAME=URL``.

    Args:
        args: the values of ``--engine``, in order.
        env: environment variables, of which ``DOCKER_HOST`` and its TLS variables are used.

    Raises:
        ConfigError: a name is missing or repeated, or an address is invalid. The exception contains all such errors.

    """
    problems: list[Problem] = []
    providers: dict[str, DockerProviderConfig] = {}
    for arg in args:
        name, equals, url = arg.partition("=")
        if not equals or "://" in name or not name.removesuffix("!").strip():
            hint = f"write NAME=URL, such as local={arg.lstrip('=') or LOCAL_SOCKET}"
            problems.append(Problem(message=f"--engine {shorten(arg)!r} has no name", hint=hint, value=shorten(arg)))
            continue
        if name in providers:
            hint = "give each engine its own name"
            problems.append(
                Problem(message=f"two --engine options use the name {name!r}", hint=hint, value=shorten(arg))
            )
            continue
        # The shell substitutes variables. $DOCKER_HOST also works in single quotes, and has a default if it is not set.
        url = fill_in(url, env) if url in DEFAULT_HOST else url
        providers[name] = DockerProviderConfig(url, name=name)
        try:
            parse_address(providers[name], env)
        except ConfigError as error:
            problems.extend(
                msgspec.structs.replace(found, provider="", path=f"--engine {name}") for found in error.problems
            )
    if problems:
        raise ConfigError(problems)
    return tuple(providers.values())
