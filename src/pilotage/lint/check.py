"""Looks files over without any engine: compose files and their labels, ``pilotage.yml``, files of routes.

Labels are read by the code that reads those of containers. What only a running container can tell (addresses, ports,
networks) is taken for granted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.config.load import load_config
from pilotage.config.substitute import Unset, fill_in
from pilotage.containers import from_docker
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.discovery.files import read_files
from pilotage.engine.address import DockerProviderConfig
from pilotage.routes.build import build_routes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["USUAL", "Checked", "check_file", "check_files"]

USUAL: Final = ("pilotage.yml", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""What is checked, as far as it is there, when nothing is named."""


class Checked(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        files: what was looked at: name -> what it was taken for: ``compose``, ``configuration``, ``routes``, or
            ``unreadable``.
        problems: what is wrong.

    """

    files: dict[str, str]
    problems: tuple[Problem, ...]


def check_files(names: Iterable[str], env: Mapping[str, str]) -> Checked:
    """Look over some files, and the files of routes that a configuration among them names.

    Args:
        names: of files.
        env: the variables that they may refer to.

    """
    files: dict[str, str] = {}
    problems: list[Problem] = []
    for name in names:
        found = check_file(name, env)
        problems += [problem for problem in found.problems if problem not in problems]
        files |= found.files
    return Checked(files, tuple(problems))


def check_file(name: str, env: Mapping[str, str]) -> Checked:
    """Look over one file: one with ``services`` is a compose file, one with ``providers`` a configuration."""
    try:
        text = Path(name).read_text(encoding="utf-8").removeprefix("\ufeff")
    except OSError as error:
        return _unreadable(name, f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError:
        return _unreadable(name, "is not a text in UTF-8")
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
    return Checked({name: "routes"}, read_files([name])[0].all_problems)


def _unreadable(name: str, message: str) -> Checked:
    return Checked({name: "unreadable"}, (Problem(message=message, file=name),))


def _configuration(name: str, env: Mapping[str, str]) -> Checked:
    try:
        config = load_config(Path(name), env)
    except ConfigError as error:
        return Checked({name: "configuration"}, error.problems)
    files = read_files(config.files)
    problems = [*config.problems, *(problem for file in files for problem in file.all_problems)]
    return Checked({name: "configuration", **{file.name: "routes" for file in files}}, tuple(problems))


# ---- compose files -------------------------------------------------------------------------------------------------

_PLAIN_VARIABLE: Final = re.compile(r"(?<!\$)\$([A-Za-z_][A-Za-z0-9_]*)")


class _Compose:
    """One compose file. Used once."""

    def __init__(self, file: str, top: dict[str, Located], env: Mapping[str, str]) -> None:
        named = top.get("name")
        self.file = file
        self.project = (
            str(named.value) if named is not None and named.value else Path(file).resolve().parent.name.lower()
        )
        self.services = top["services"].value
        self.env = env
        self.owners: dict[str, str] = {}  # alias -> the service that has it

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the labels of each service."""
        for service, definition in self.services.items() if isinstance(self.services, dict) else ():
            if isinstance(definition.value, dict):
                labels: dict[str, Located] = {}
                yield from self._gather(service, definition.value.get("labels"), labels)
                yield from self._service(service, definition.value, labels)

    def _gather(self, service: str, written: Located | None, labels: dict[str, Located]) -> Iterator[Problem]:
        """Gather a service's labels, from a mapping or a list of ``key=value``; yield what is none."""
        entries: list[tuple[str, Located]] = []
        if written is not None and isinstance(written.value, dict):
            entries = list(written.value.items())
        elif written is not None and isinstance(written.value, list):
            for item in written.value:
                name, _, text = str(item.value).partition("=")
                entries.append((name, msgspec.structs.replace(item, value=text)))
        for key, value in entries:
            if isinstance(value.value, dict | list):
                message = f"a label is text, not {kind_name(value.value)}"
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
                message = f"alias {route.alias!r} is wanted by service {owner!r} too"
                hint = "the older container will have it; give one of them another alias with proxy.aliases"
                problem = Problem(message=message, hint=hint, severity="warning")
                yield self._at(problem, service, *((place.key_line, place.key_column) if place else (0, 0)))

    def _placed(self, problem: Problem, service: str, label: Located | None) -> Problem:
        """Return a problem with its place in the file: that of its label, or of the line in the label's text."""
        if label is None:
            return self._at(problem, service, 0, 0)
        if problem.line and "\n" in str(label.value):  # a block of text begins below its indicator
            return self._at(problem, service, label.line + problem.line, 0)
        return self._at(problem, service, label.key_line, label.key_column)

    def _at(self, problem: Problem, service: str, line: int, column: int) -> Problem:
        place = {"file": self.file, "line": line, "column": column, "provider": "", "container": service}
        return msgspec.structs.replace(problem, **place)


def _text(value: Located, env: Mapping[str, str]) -> str | None:
    """Return a label's text as Compose would hand it on; ``None`` when a variable in it is not known here."""
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
    """Return what an engine would list for a service's first container, had it all that its labels ask for."""

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
