"""Where a command looks: which engines are meant, or which recordings, and what is there.

The choice in words: recordings alone if any are named; the demonstration alone if asked for; else every engine that
``--config``, ``--engine`` and ``--context`` name; else those of ``pilotage.yml``; else the one that the docker command
would use, also where the file is about other things alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.errors import ConfigError, EngineError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.engine.address import DockerProviderConfig
from pilotage.output.view import View
from pilotage.table.store import build_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pilotage.discovery.scan import Survey
    from pilotage.routes.file import RouteFile
    from pilotage.table.snapshot import Roster

__all__ = [
    "CONFIG_FILES",
    "Choice",
    "Engines",
    "choose",
    "config_file",
    "demonstration",
    "named",
    "recorded",
    "view",
]

CONFIG_FILES: Final = ("pilotage.yml", "/etc/pilotage/pilotage.yml")
"""Looked for in this order when no engine is named."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line.

    Attributes:
        config: the configuration file; ``""`` when none was named.
        engines: ``NAME=URL`` or just a URL, each.
        contexts: names of Docker contexts.

    """

    config: str = ""
    engines: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.config or self.engines or self.contexts)


class Engines(msgspec.Struct, frozen=True):
    """The engines that are meant.

    Attributes:
        configs: at least one, unless there are files.
        why: how they were found, for people; ``""`` when they were named.
        problems: what is odd about the configuration file and does no harm.
        files: names and patterns of files of routes.

    """

    configs: tuple[DockerProviderConfig, ...]
    why: str = ""
    problems: tuple[Problem, ...] = ()
    files: tuple[str, ...] = ()


def config_file() -> str:
    """Return the name of the configuration file that holds when no engine is named, ``""`` if there is none.

    One in a folder that is closed to this user is somebody else's.
    """
    return next((name for name in CONFIG_FILES if os.access(name, os.F_OK) and Path(name).is_file()), "")


def choose(choice: Choice, env: Mapping[str, str]) -> Engines:
    """Decide which engines are meant.

    Args:
        choice: what the command line says.
        env: the environment.

    Raises:
        ConfigError: what was named cannot be used, or nothing was named and there is no engine.

    """
    if not choice:
        found = config_file()
        return _or_usual(_from_file(found, env, why=f"named in {found}") if found else Engines(()), env)
    configs: list[DockerProviderConfig] = []
    files: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    if choice.config:
        read = _from_file(choice.config, env)
        configs += read.configs
        files, problems = read.files, read.problems
    configs += named(choice.engines, env)
    if choice.contexts:
        from pilotage.engine.contexts import resolve_context

        configs += [resolve_context(name, env) for name in choice.contexts]
    from pilotage.engine.contexts import resolved

    names = [config.name for config in configs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        hint = "give each engine a name of its own: --engine NAME=URL"
        raise ConfigError([Problem(message=f"two engines are called {name!r}", hint=hint) for name in twice])
    return _or_usual(Engines(tuple(resolved(config, env) for config in configs), problems=problems, files=files), env)


def _or_usual(named: Engines, env: Mapping[str, str]) -> Engines:
    """Return what was named; where that is nothing to look at, the engine that the docker command would use."""
    if named.configs or named.files:
        return named
    from pilotage.engine.contexts import default_engine, resolved

    config, why = default_engine(env)
    return Engines((resolved(config, env),), why, named.problems)


def _from_file(name: str, env: Mapping[str, str], why: str = "") -> Engines:
    from pilotage.config.load import load_config
    from pilotage.engine.contexts import resolved

    config = load_config(Path(name), env)
    if config.has_providers and not config.providers and not config.files:
        hint = "add one under providers.docker, such as `local: $DOCKER_HOST`, or name it with --engine NAME=URL"
        raise ConfigError([*config.problems, Problem(message="no engine is configured", hint=hint, file=name)])
    return Engines(tuple(resolved(engine, env) for engine in config.providers), why, config.problems, config.files)


def named(texts: Iterable[str], env: Mapping[str, str]) -> tuple[DockerProviderConfig, ...]:
    """Read ``--engine``: ``NAME=URL``, or a URL alone, which is named after its host (``local`` for a socket).

    Raises:
        ConfigError: with every fault.

    """
    from pilotage.config.load import providers_from_args

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


def view(engines: Engines, env: Mapping[str, str]) -> View:
    """Look at live engines, all at once, and at files. One that fails takes nothing from the others."""
    import asyncio

    from pilotage.discovery.files import read_files
    from pilotage.discovery.scan import survey_all

    files = read_files(engines.files)
    return _seen(asyncio.run(survey_all(engines.configs, env=env)), engines.problems, files)


def demonstration() -> View:
    """Look at the engine that is built in, for trying pilotage on a machine without one.

    Raises:
        EngineUnreachable: there is no folder in which it could make its socket.

    """
    import asyncio

    from pilotage.demo.engine import demo_engine
    from pilotage.discovery.scan import survey_all

    async def look() -> Survey:
        async with demo_engine() as engine:
            return await survey_all([DockerProviderConfig(engine.url, name="demo")])

    return msgspec.structs.replace(_seen(asyncio.run(look())), is_demo=True)


def _seen(survey: Survey, problems: Iterable[Problem] = (), files: tuple[RouteFile, ...] = ()) -> View:
    failures = [Problem(message=error.what, hint=error.remedy, provider=name) for name, error in survey.errors.items()]
    return _view(survey.rosters, (*problems, *failures), tuple(survey.errors.values()), files)


def recorded(file: str) -> View:
    """Look at the recordings in one file; ``-`` is standard input.

    Raises:
        ConfigError: it cannot be read, or holds no recordings.

    """
    import sys

    from pilotage.recording.replay import read_recordings, replay

    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        hint = "give a file made with 'pilotage capture'"
        problem = Problem(message=f"cannot be read: {error.strerror or shorten(error)}", hint=hint, file=file)
        raise ConfigError([problem]) from error
    return _view(tuple(replay(recording) for recording in read_recordings(body, file)))


def _view(
    rosters: tuple[Roster, ...],
    problems: Iterable[Problem] = (),
    errors: tuple[EngineError, ...] = (),
    files: tuple[RouteFile, ...] = (),
) -> View:
    table = build_table(rosters, files)
    faults = dict(table.faults)
    for problem in problems:  # of an engine that is not in the table, or of no engine at all
        key = (problem.provider, "")
        faults[key] = (*faults.get(key, ()), problem)
    return View(rosters, msgspec.structs.replace(table, faults=faults), errors, files=files)
