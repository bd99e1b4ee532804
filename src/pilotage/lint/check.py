"""Checks Compose files and their labels, ``pilotage.yml`` and route files, without an engine.

The labels are parsed by the code that parses containers' labels, and routes are checked as in ``pilotage serve``. Facts
that only a running container can show (addresses, ports, networks) are assumed to be correct.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.config.engines import DEFAULT_POLICY, DEFAULT_PORTS
from pilotage.config.load import load_config
from pilotage.config.oidc_env import policy_of_env
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.core.values import ParseError
from pilotage.core.yaml import parse_yaml
from pilotage.discovery.files import read_files
from pilotage.lint.certificates import uncovered_hosts
from pilotage.lint.compose import Site, check_compose, is_compose
from pilotage.policy import unknown_engines
from pilotage.routes import is_composition, read_compositions
from pilotage.xds.middlewares import route_policy
from pilotage.xds.ruled_routes import rule_file_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.policy import Policy
    from pilotage.routes.file import RouteFile

__all__ = ["USUAL", "Checked", "check_file", "check_files"]

USUAL: Final = ("pilotage.yml", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""The files that are checked by default, if they exist."""


class Checked(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        files: file name -> detected type: ``compose``, ``configuration``, ``routes``, ``middlewares``
            or ``unreadable``.
        problems: all problems.
        site: the gateway and engines of a configuration file, against which routes are checked.

    """

    files: dict[str, str]
    problems: tuple[Problem, ...]
    site: Site | None = None


def check_files(names: Iterable[str], env: Mapping[str, str]) -> Checked:
    """Check files, and the files that they refer to. Check all routes against the configuration, if given.

    Args:
        names: file names.
        env: the variables that the files can use.

    """
    files: dict[str, str] = {}
    problems: list[Problem] = []
    site: Site | None = None
    for name in sorted(names, key=lambda name: (not _is_configuration(name), ".override." in name)):
        if Path(name) in map(
            Path, files
        ):  # it was checked together with the file that it overrides, or that includes it
            continue
        found = check_file(name, env, site)
        problems += [problem for problem in found.problems if problem not in problems]
        files |= found.files
        site = site or found.site
    return Checked(files, tuple(problems))


def _is_configuration(name: str) -> bool:
    return Path(name).name.startswith("pilotage.")


def check_file(name: str, env: Mapping[str, str], site: Site | None = None) -> Checked:
    """Check one file. A key ``services`` or ``include`` marks a Compose file, a key ``providers`` a configuration.

    Args:
        name: file name.
        env: the variables that the file can use.
        site: the gateway and engines against which routes are checked; ``None`` for the defaults.

    """
    try:
        text = read_text(Path(name))
    except UnreadableFile as error:
        return Checked({name: "unreadable"}, (Problem(message=error.message, hint=error.hint, file=name),))
    try:
        document = parse_yaml(text)
    except ParseError as error:
        kind = "compose" if re.search(r"(?m)^services:", text) else "routes"
        return Checked({name: kind}, (Problem(message=error.message, file=name, line=error.line, column=error.column),))
    top = document.value if document is not None and isinstance(document.value, dict) else {}
    site = site or Site(policy=policy_of_env(DEFAULT_POLICY, env), reserved_ports=DEFAULT_PORTS)
    if is_compose(top):
        included, problems = check_compose(name, top, env, site)
        return Checked(dict.fromkeys((name, *included), "compose"), tuple(problems))
    if "providers" in top or _is_configuration(name):
        return _configuration(name, env)
    if is_composition(document):
        return Checked({name: "middlewares"}, tuple(_middlewares(name, text)))
    (file,) = read_files([name], reserved_ports=site.reserved_ports, gateway=site.policy.gateway)
    return Checked({name: "routes"}, (*file.all_problems, *_rule_problems([file], site.policy)))


def _rule_problems(files: Iterable[RouteFile], policy: Policy) -> Iterator[Problem]:
    """Yield the problems with the files with rules that routes in files name.

    A missing file is only a warning, because pilotage may run on another machine.
    """
    for file in files:
        for problem in rule_file_problems(file.routes, policy):
            field = file.fields[problem.route]["rule_file"]
            missing = isinstance(field.value, str) and not Path(field.value.removeprefix("file://")).exists()
            yield msgspec.structs.replace(
                problem,
                severity="warning" if missing else problem.severity,
                refused=problem.refused and not missing,
                provider="",
                file=file.name,
                line=field.line,
                column=field.column,
            )


def _middlewares(name: str, text: str) -> Iterator[Problem]:
    """Yield the problems with a file of middlewares."""
    compositions, problems = read_compositions([(name, text)])
    yield from problems
    for alias in compositions.lists:
        filled_in, missing = compositions.fill_in({f"{alias}@file": None})
        found = (*missing, *route_policy(filled_in or {}).problems)
        yield from (msgspec.structs.replace(problem, file=name) for problem in found if not problems)


def _configuration(name: str, env: Mapping[str, str]) -> Checked:
    try:
        config = load_config(Path(name), env)
    except ConfigError as error:
        return Checked({name: "configuration"}, error.problems)
    files = read_files(config.files, reserved_ports=config.reserved_ports, gateway=config.policy.gateway)
    unknown = unknown_engines(config.policy, (it.name for it in config.providers)) if config.providers else ()
    problems = [
        *config.problems,
        *config.agent_problems,
        *unknown,
        *(problem for file in files for problem in file.all_problems),
        *_rule_problems(files, config.policy),
        *uncovered_hosts((it for file in files for it in file.routes), config.autocert, config.options.certificates),
    ]
    kinds = {name: "configuration", **{file.name: "routes" for file in files}}
    engines = tuple(provider.name for provider in config.providers) or ("",)
    site = Site(config.options, config.policy, engines, config.reserved_ports, config.autocert)
    return Checked(kinds, tuple(problems), site)
