"""Checks Compose files and their labels, ``pilotage.yml`` and route files, without an engine.

Labels are parsed by the same code as those of containers. Everything that only a running container can show
(addresses, ports, networks) is assumed to be right.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.config.engines import DEFAULT_PORTS
from pilotage.config.load import load_config
from pilotage.config.substitute import Unset, fill_in
from pilotage.containers import from_docker
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.discovery.files import read_files
from pilotage.engine.config import DockerProviderConfig
from pilotage.routes.build import build_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["USUAL", "Checked", "check_file", "check_files"]

USUAL: Final = ("pilotage.yml", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""The files that are checked by default, if they exist."""


class Checked(msgspec.Struct, frozen=True):
    """The result of a check.

    Attributes:
        files: file name -> detected type: ``compose``, ``configuration``, ``routes`` or ``unreadable``.
        problems: all problems.

    """

    files: dict[str, str]
    problems: tuple[Problem, ...]


def check_files(names: Iterable[str], env: Mapping[str, str]) -> Checked:
    """Check some files, and the route files that a configuration file among them names.

    Args:
        names: file names.
        env: the variables that the files can use.

    """
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for name in names:
        found = check_file(name, env)
        problems += [problem for problem in found.problems if problem not in problems]
        files |= found.files
    return Checked(files, tuple(problems))


def check_file(name: str, env: Mapping[str, str]) -> Checked:
    """Check one file. ``services`` makes it a Compose file, ``providers`` a configuration."""
    try:
        text = Path(name).read_text(encoding="utf-8").removeprefix("\ufeff")
    except OSError as error:
        return _unreadable(name, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError:
        return _unreadable(name, "is not UTF-8 text")
    try:
        document = parse_yaml(text)
    except ParseError as error:
        kind = "compose" if re.search(r"(?m)^services:", text) else "routes"
        return Checked({name: kind}, (Problem(message=error.message, file=name, line=error.line, column=error.column),))
    top = document.value if document is not None and isinstance(document.value, dict) else {}
    if "services" in top:
        return Checked({name: "compose"}, tuple(_Compose(name, top, env).problems()))
    if "providers" in top or Path(name).name.startswith("pilotage."):
        return _configuration(name, env)
    return Checked({name: "routes"}, read_files([name], reserved_ports=DEFAULT_PORTS)[0].all_problems)


def _unreadable(name: str, message: str) -> Checked:
    return Checked({name: "unreadable"}, (Problem(message=message, file=name),))


def _configuration(name: str, env: Mapping[str, str]) -> Checked:
    try:
        config = load_config(Path(name), env)
    except ConfigError as error:
        return Checked({name: "configuration"}, error.problems)
    files = read_files(config.files, reserved_ports=config.reserved_ports)
    problems = [*config.problems, *(problem for file in files for problem in file.all_problems)]
    return Checked({name: "configuration", **{file.name: "routes" for file in files}}, tuple(problems))


# ---- compose files -------------------------------------------------------------------------------------------------

_PLAIN_VARIABLE: Final = re.compile(r"(?<!\$)\$([A-Za-z_][A-Za-z0-9_]*)")


class _Compose:
    """Checks one Compose file."""

    def __init__(self, file: str, top: dict[str, Located], env: Mapping[str, str]) -> None:
        named = top.get("name")
        self.file = file
        self.project = (
            str(named.value) if named is not None and named.value else Path(file).resolve().parent.name.lower()
        )
        self.services = top["services"].value
        self.env = env
        self.owners: dict[str, str] = {}  # alias -> service

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the labels of all services."""
        for service, definition in self.services.items() if isinstance(self.services, dict) else ():
            if isinstance(definition.value, dict):
                labels: dict[str, Located] = {}
                yield from self._gather(service, definition.value.get("labels"), labels)
                yield from self._service(service, definition.value, labels)

    def _gather(self, service: str, written: Located | None, labels: dict[str, Located]) -> Iterator[Problem]:
        """Collect the labels of a service from a mapping or a list of ``key=value``; yield their problems."""
        entries: list[tuple[str, Located]] = []
        if written is not None and isinstance(written.value, dict):
            entries = list(written.value.items())
        elif written is not None and isinstance(written.value, list):
            for item in written.value:
                name, _, text = str(item.value).partition("=")
                entries.append((name, msgspec.structs.replace(item, value=text)))
        for key, value in entries:
            if isinstance(value.value, dict | list):
                message = f"a label must be text, not {kind_name(value.value)}"
                hint = "write '|' after the colon, and the mapping on the lines below"
                problem = Problem(message=message, hint=hint, label=key)
                yield self._at(problem, service, value.key_line, value.key_column)
            else:
                labels[key] = value

    def _service(self, service: str, definition: dict[str, Located], labels: dict[str, Located]) -> Iterator[Problem]:
        texts = {key: text for key, value in labels.items() if (text := _text(value, self.env)) is not None}
        summary = _summary(self.project, service, definition, texts)
        built = build_routes(from_docker(summary, DockerProviderConfig("")))
        for problem in built.problems:
            yield self._placed(problem, service, labels.get(problem.label))
        place = labels.get("proxy.aliases")
        for route in built.routes:
            owner = self.owners.setdefault(route.alias, service)
            if owner != service:
                message = f"service {owner!r} also uses the alias {route.alias!r}"
                hint = "the older container gets it; give one of them another alias with proxy.aliases"
                problem = Problem(message=message, hint=hint, severity="warning")
                yield self._at(problem, service, *((place.key_line, place.key_column) if place else (0, 0)))

    def _placed(self, problem: Problem, service: str, label: Located | None) -> Problem:
        """Return a problem with its position in the file: that of its label, or of a line in the label's value."""
        if label is None:
            return self._at(problem, service, 0, 0)
        if problem.line and "\n" in str(label.value):  # a block scalar starts on the line below its indicator
            return self._at(problem, service, label.line + problem.line, 0)
        return self._at(problem, service, label.key_line, label.key_column)

    def _at(self, problem: Problem, service: str, line: int, column: int) -> Problem:
        place = {"file": self.file, "line": line, "column": column, "provider": "", "container": service}
        return msgspec.structs.replace(problem, **place)


def _text(value: Located, env: Mapping[str, str]) -> str | None:
    """Return the value of a label as Compose passes it on; ``None`` if it contains an unknown variable."""
    written = value.value
    text = "" if written is None else str(written).lower() if isinstance(written, bool) else str(written)
    if "$" not in text:
        return text
    try:
        filled = fill_in(_PLAIN_VARIABLE.sub(r"${\1}", text), env)
    except Unset:
        return None
    return filled.replace("$$", "$")


def _summary(project: str, service: str, definition: dict[str, Located], labels: dict[str, str]) -> dict[str, Any]:
    """Return the engine's list entry for the first container of a service, with everything that its labels need."""

    def text(key: str) -> str:
        value = definition.get(key)
        return str(value.value) if value is not None and isinstance(value.value, str) else ""

    network = labels.get("proxy.network") or f"{project}_default"
    return {
        "Id": service,
        "Names": [f"/{text('container_name') or f'{project}-{service}-1'}"],
        "Image": text("image") or f"{project}-{service}",
        "State": "running",
        "Labels": labels,
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "NetworkSettings": {"Networks": {network: {"IPAddress": "192.0.2.1"}}},
    }
