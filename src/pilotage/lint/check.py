"""Checks Compose files and their labels, ``pilotage.yml`` and route files, without an engine.

The labels are parsed by the code that parses containers' labels, and routes are checked as in ``pilotage serve``. Facts
that only a running container can show (addresses, ports, networks) are assumed to be correct.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.config.engines import DEFAULT_POLICY, DEFAULT_PORTS
from pilotage.config.load import read_config
from pilotage.config.oidc_env import policy_of_env
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.textfile import UnreadableFile
from pilotage.core.values import ParseError
from pilotage.core.yaml import parse_yaml
from pilotage.discovery.files import read_files
from pilotage.discovery.host_addresses import HostAddresses
from pilotage.lint.certificates import uncovered_hosts
from pilotage.lint.compose import Site, check_compose, is_compose
from pilotage.lint.folders import yaml_files
from pilotage.lint.sources import Sources
from pilotage.policy import unknown_engines
from pilotage.routes import ROUTE, is_composition, read_compositions, read_route_file
from pilotage.xds.middlewares import route_policy
from pilotage.xds.ruled_routes import rule_file_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pilotage.core.yaml import Located
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


def check_files(names: Iterable[str], env: Mapping[str, str], sources: Sources | None = None) -> Checked:
    """Check files, and the files that they refer to. Check all routes against the configuration, if given.

    Args:
        names: names of files and folders. In a folder, files that contain neither Compose services, a configuration,
            middlewares nor routes are skipped.
        env: the variables that the files can use.
        sources: reads the files.

    Returns:
        The files in the order of their checks: configurations first, otherwise as given. Problems are in the order of
        the files, and of the lines in each file.

    """
    sources = sources or Sources()
    files: dict[str, str] = {}
    problems: list[Problem] = []
    site: Site | None = None
    given: dict[str, bool] = {}  # file name -> whether it was found in a folder
    for name in names:
        if not os.path.isdir(name):  # noqa: PTH112  # false for names with null characters
            given[name] = False
            continue
        before = len(problems)
        given |= dict.fromkeys((file for file in yaml_files(name, problems) if file not in given), True)
        files |= {problem.file: "unreadable" for problem in problems[before:]}
    for name in sorted(given, key=lambda name: (not _is_configuration(name), ".override." in name)):
        if Path(name) in map(
            Path, files
        ):  # it was checked together with the file that it overrides, or that includes it
            continue
        found = _check(name, env, site, sources, is_found=given[name])
        problems += [problem for problem in found.problems if problem not in problems]
        files |= found.files
        site = site or found.site
    return Checked(files, tuple(_in_order(problems, files)), site)


def _in_order(problems: Iterable[Problem], files: Iterable[str]) -> list[Problem]:
    """Return problems in the order of their files, lines and columns."""
    order = {name: number for number, name in enumerate(files)}
    return sorted(problems, key=lambda it: (order.get(it.file, len(order)), it.file, it.line, it.column))


def _is_configuration(name: str) -> bool:
    return Path(name).name.startswith("pilotage.")


def check_file(name: str, env: Mapping[str, str], site: Site | None = None, sources: Sources | None = None) -> Checked:
    """Check one file. A key ``services`` or ``include`` marks a Compose file, a key ``providers`` a configuration.

    Args:
        name: file name.
        env: the variables that the file can use.
        site: the gateway and engines against which routes are checked; ``None`` for the defaults.
        sources: reads the file.

    """
    found = _check(name, env, site, sources or Sources(), is_found=False)
    return msgspec.structs.replace(found, problems=tuple(_in_order(found.problems, found.files)))


def _check(name: str, env: Mapping[str, str], site: Site | None, sources: Sources, *, is_found: bool) -> Checked:
    """Check one file. If it was found in a folder, skip a file that is meant for another program."""
    try:
        text = sources.text(name)
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
        return _configuration(name, text, env)
    if is_composition(document):
        return Checked({name: "middlewares"}, tuple(_middlewares(name, text)))
    if is_found and not _is_route_file(top):
        return Checked({}, ())
    file = read_route_file(
        text,
        name,
        reserved_ports=site.reserved_ports,
        is_local=HostAddresses().has,
        gateway=site.policy.gateway,
    )
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


def _is_route_file(top: Mapping[str, Located]) -> bool:
    """Return whether a document looks like routes: each alias is a mapping with the name of a field."""
    routes = [value.value for key, value in top.items() if not key.startswith("x-")]
    return bool(routes) and all(
        isinstance(fields, dict) and any(ROUTE.canonical(key) is not None for key in fields) for fields in routes
    )


def _middlewares(name: str, text: str) -> Iterator[Problem]:
    """Yield the problems with a file of middlewares."""
    compositions, problems = read_compositions([(name, text)])
    yield from problems
    for alias in compositions.lists:
        filled_in, missing = compositions.fill_in({f"{alias}@file": None})
        found = (*missing, *route_policy(filled_in or {}).problems)
        yield from (msgspec.structs.replace(problem, file=name) for problem in found if not problems)


def _configuration(name: str, text: str, env: Mapping[str, str]) -> Checked:
    try:
        config = read_config(text, file=name, folder=Path(name).parent, env=env)
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
