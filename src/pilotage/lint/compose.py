"""Checks the labels in Compose files and in the files that these include. Substitutes variables as Compose does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.config.substitute import redact
from pilotage.containers import COMPOSE_PROJECT, COMPOSE_SERVICE, from_docker
from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.engine.config import DockerProviderConfig
from pilotage.labels import fold, is_own, split_key
from pilotage.labels.container_options import ALIASES, NETWORK
from pilotage.lint.names import ClaimedNames
from pilotage.lint.published import published_ports
from pilotage.policy import NO_POLICY, Policy
from pilotage.routes.build import build_routes
from pilotage.xds.options import GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pilotage.containers import Container
    from pilotage.routes.build import Built
    from pilotage.routes.route import Route

__all__ = ["Site", "check_compose", "compose_containers", "is_compose"]

_MAX_FILES: Final = 100
_LONGEST_NAME: Final = 255  # characters of a container's name
_VARIABLE: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-+?])(?P<word>[^}]*))?\})"
)
_ENV_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*")


def is_compose(top: Mapping[str, Located]) -> bool:
    """Return whether a document's top-level keys are those of a Compose file."""
    return "services" in top or ("include" in top and isinstance(top["include"].value, list))


class Site(msgspec.Struct, frozen=True):
    """Where the services of a Compose file are to run.

    Attributes:
        options: the gateway's settings.
        policy: what containers may claim.
        engines: names of the engines, any of which may run the services; ``""`` for an unknown engine.
        reserved_ports: ports on the gateway's host that belong to the proxy.

    """

    options: GatewayOptions = GatewayOptions()
    policy: Policy = NO_POLICY
    engines: tuple[str, ...] = ("",)
    reserved_ports: frozenset[int] = frozenset()


def check_compose(
    name: str, top: dict[str, Located], env: Mapping[str, str], site: Site
) -> tuple[list[str], list[Problem]]:
    """Check the labels of a Compose file and of the files that it includes.

    Args:
        name: name of the file.
        top: its content.
        env: the environment; variables from a file ``.env`` beside the Compose file are added.
        site: where the services are to run.

    Returns:
        The names of the included files, and all problems.

    """
    project = _Project(name, top, {**_dot_env(Path(name).parent / ".env"), **env}, site)
    problems = list(project.check(name, top))
    return project.included, problems


def compose_containers(
    name: str, top: dict[str, Located], env: Mapping[str, str], engine: str
) -> list[tuple[str, Container]]:
    """Return each service of a Compose file and of the files that it includes, with its first container."""
    site = Site(engines=(engine,))
    project = _Project(name, top, {**_dot_env(Path(name).parent / ".env"), **env}, site)
    list(project.check(name, top))
    return project.containers


def _dot_env(path: Path) -> dict[str, str]:
    """Return the variables from a file ``.env``; an empty mapping if the file does not exist."""
    try:
        lines = read_text(path).splitlines()
    except UnreadableFile:
        return {}
    found = {}
    for line in lines:
        match = _ENV_LINE.fullmatch(line)
        if match is not None:
            value = match[2]
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            found[match[1]] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return found


class _Label(msgspec.Struct, frozen=True):
    """A label of a service.

    Attributes:
        value: the label's text as written, with its position.
        file: the file that contains it.
        text: the label's text after Compose has substituted variables.
        unset: the name of the first variable in the text that is not set; ``""`` if all are set.
        variables: the variables in the text that are set, name -> value.

    """

    value: Located
    file: str
    text: str
    unset: str
    variables: dict[str, str]


class _Project:
    """Checks one Compose project: a file and the files that it includes."""

    def __init__(self, name: str, top: dict[str, Located], env: Mapping[str, str], site: Site) -> None:
        named = top.get("name")
        folder = Path(name).resolve().parent.name.lower()
        self.project = str(named.value) if named is not None and named.value else folder
        self.env = env
        self.site = site
        self.included: list[str] = []
        self.names = ClaimedNames(site.options.match_domains)
        self.containers: list[tuple[str, Container]] = []
        self._visited = {Path(name).resolve()}

    def check(self, name: str, top: dict[str, Located]) -> Iterator[Problem]:
        """Yield the problems of one file and of the files that it includes."""
        services = top["services"].value if "services" in top else None
        for service, definition in services.items() if isinstance(services, dict) else ():
            if isinstance(definition.value, dict):
                labels: dict[str, _Label] = {}
                yield from self._label_files(name, service, definition.value.get("label_file"), labels)
                yield from self._gather(name, service, definition.value.get("labels"), labels)
                yield from self._deployed(name, service, definition.value.get("deploy"))
                yield from self._service(name, service, definition.value, labels)
        include = top.get("include")
        for entry in include.value if include is not None and isinstance(include.value, list) else ():
            paths = entry.value.get("path") if isinstance(entry.value, dict) else entry
            for path in paths.value if paths is not None and isinstance(paths.value, list) else [paths]:
                if path is not None and isinstance(path.value, str):
                    yield from self._include(name, path)

    def _include(self, name: str, written: Located) -> Iterator[Problem]:
        text, unset, _ = self._fill_in(written.value)
        path, shown = Path(name).parent / text, shorten_value(written.value)
        if unset or "://" in text:
            message = f"the included file {shown!r} is not checked"
            problem = Problem(message=message, severity="warning", hint="check a local copy of it")
            yield self._at(problem, name, "", written.line, written.column)
            return
        if path.resolve() in self._visited or len(self._visited) >= _MAX_FILES:
            return
        self._visited.add(path.resolve())
        try:
            document = parse_yaml(read_text(path))
        except UnreadableFile as error:
            problem = Problem(message=f"the included file {shown!r} {error.message}", hint=error.hint)
            yield self._at(problem, name, "", written.line, written.column)
            return
        except ParseError as error:
            yield Problem(message=error.message, file=str(path), line=error.line, column=error.column)
            return
        self.included.append(str(path))
        if document is not None and isinstance(document.value, dict):
            yield from self.check(str(path), document.value)

    # ---- labels

    def _fill_in(self, text: str) -> tuple[str, str, dict[str, str]]:
        """Substitute variables as Compose does; return the text, the first unset name or ``""``, and used values."""
        unset = ""
        used: dict[str, str] = {}

        def value(match: re.Match[str]) -> str:
            nonlocal unset
            if match["dollar"]:
                return "$"
            name = match["plain"] or match["name"]
            known, operator = self.env.get(name), match["operator"] or ""
            is_given = known is not None and not (known == "" and operator.startswith(":"))
            if operator.endswith("+"):
                return match["word"] if is_given else ""
            if is_given and known is not None:
                used[name] = known
                return known
            if operator.endswith("-"):
                return match["word"]
            unset = unset or name
            return ""

        return _VARIABLE.sub(value, text), unset, used

    def _gather(self, file: str, service: str, written: Located | None, labels: dict[str, _Label]) -> Iterator[Problem]:
        """Collect the labels of a service from a mapping or a list of ``key=value``; yield their problems."""
        entries: list[tuple[str, Located]] = []
        if written is not None and isinstance(written.value, dict):
            # Compose substitutes variables in the values of a mapping, but not in its keys.
            entries = list(written.value.items())
        elif written is not None and isinstance(written.value, list):
            for item in written.value:
                if isinstance(item.value, dict | list):
                    yield self._at(_not_an_item(item), file, service, item.line, item.column)
                    continue
                key, _, text = str(item.value).partition("=")
                filled, unset, _ = self._fill_in(key)
                if unset:
                    yield self._at(_unset_in_key(key, unset), file, service, item.line, item.column)
                else:
                    entries.append((filled, msgspec.structs.replace(item, value=text)))
        for key, value in entries:
            if isinstance(value.value, dict | list):
                message = f"a label must be text, not {kind_name(value.value)}"
                hint = "write '|' after the colon, and the mapping on the lines below"
                problem = Problem(message=message, hint=hint, label=key)
                yield self._at(problem, file, service, value.key_line, value.key_column)
                continue
            labels[key] = _Label(value, file, *self._fill_in(_as_text(value.value)))
            if labels[key].unset and is_own(key):
                message = f"only the name of this label is checked, because the variable {labels[key].unset} is not set"
                hint = "set it in the environment, or in a file .env beside this one"
                problem = Problem(message=message, severity="warning", hint=hint, label=key)
                yield self._at(problem, file, service, value.key_line, value.key_column)

    def _label_files(
        self, file: str, service: str, written: Located | None, labels: dict[str, _Label]
    ) -> Iterator[Problem]:
        """Collect the labels from the files in ``label_file``. Compose substitutes no variables there."""
        if written is None:
            return
        for name in written.value if isinstance(written.value, list) else [written]:
            path = Path(file).parent / str(name.value)
            try:
                lines = read_text(path).splitlines()
            except UnreadableFile as error:
                problem = Problem(
                    message=f"the label file {shorten_value(name.value)!r} {error.message}", hint=error.hint
                )
                yield self._at(problem, file, service, name.line, name.column)
                continue
            for number, line in enumerate(lines, 1):
                key, equals, text = line.strip().partition("=")
                if key and not key.startswith("#") and equals:
                    value = Located(text, "", number, 1, number, 1)
                    labels[key.strip()] = _Label(value, str(path), text.strip(), "", {})

    def _deployed(self, file: str, service: str, deploy: Located | None) -> Iterator[Problem]:
        """Yield a warning if a swarm service has pilotage labels, because its containers do not get them."""
        written = deploy.value.get("labels") if deploy is not None and isinstance(deploy.value, dict) else None
        if written is None or not isinstance(written.value, dict | list):
            return
        names = written.value if isinstance(written.value, dict) else map(str, (item.value for item in written.value))
        own = next((name.partition("=")[0] for name in names if is_own(name)), "")
        if own:
            message = "labels under 'deploy' belong to the swarm service; its containers do not get them"
            problem = Problem(message=message, severity="warning", hint="move them to 'labels'", label=own)
            yield self._at(problem, file, service, written.key_line, written.key_column)

    # ---- services

    def _service(
        self, file: str, service: str, definition: dict[str, Located], labels: dict[str, _Label]
    ) -> Iterator[Problem]:
        texts = {key: label.text for key, label in labels.items()}
        summary = _summary(self.project, service, definition, texts)
        built = self._built(service, summary)
        for problem in built.problems:
            label = labels.get(problem.label)
            if label is None or not label.unset or _is_about_a_name(problem):
                yield self._placed(problem, file, service, label)
        is_unsure = any(label.unset for label in labels.values())
        for route in built.routes if is_unsure else ():
            yield from self._unsure(route, file, service, labels)
        place = labels.get(ALIASES)
        for problem in self.names.add(service, built.routes):
            yield self._placed(problem, file, service, place)

    def _built(self, service: str, summary: dict[str, Any]) -> Built:
        """Return the routes of a container on the engine on which the fewest routes are excluded."""
        containers = [from_docker(summary, DockerProviderConfig("", name=name)) for name in self.site.engines]
        self.containers.append((service, containers[0]))
        policy, reserved = self.site.policy, self.site.reserved_ports
        found = (build_routes(it, explicit_only=False, policy=policy, reserved_ports=reserved) for it in containers)
        return min(found, key=lambda built: sum(route.excluded for route in built.routes))

    def _unsure(self, route: Route, file: str, service: str, labels: dict[str, _Label]) -> Iterator[Problem]:
        """Yield problems with the names of options in labels whose values are unknown, because these exclude routes."""
        gateway = self.site.policy.gateway
        for problem in gateway(route)[0] if gateway is not None and route.excluded else ():
            label = _label_of(problem.path, route.alias, labels)
            if label is not None and labels[label].unset and _is_about_a_name(problem):
                yield self._placed(problem.at(label=label), file, service, labels[label])

    def _placed(self, problem: Problem, file: str, service: str, label: _Label | None) -> Problem:
        """Return a problem with its position in the file: that of its label, or of a line in the label's value."""
        if label is None:
            return self._at(problem, file, service, 0, 0)
        problem = redact(problem, label.variables)
        value = label.value
        if problem.line and "\n" in str(value.value):  # a block scalar starts on the line below its indicator
            return self._at(problem, label.file, service, value.line + problem.line, 0)
        return self._at(problem, label.file, service, value.key_line, value.key_column)

    def _at(self, problem: Problem, file: str, service: str, line: int, column: int) -> Problem:
        place = {"file": file, "line": line, "column": column, "provider": "", "container": service}
        return msgspec.structs.replace(problem, **place)


def _as_text(value: Any) -> str:
    """Return a single value as Compose passes it on."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _is_about_a_name(problem: Problem) -> bool:
    """Return whether a problem is about the name of a label or field, and not about its value."""
    return problem.message.startswith("unknown ") or problem.label.endswith(".")


def _not_an_item(item: Located) -> Problem:
    example = ""
    if isinstance(item.value, dict) and len(item.value) == 1:
        ((key, value),) = item.value.items()
        if not isinstance(value.value, dict | list):
            example = f"; write - {key}={_as_text(value.value)}"
    message = f"a label in a list must be key=value, not {kind_name(item.value)}{example}"
    return Problem(message=message, hint="" if example else "write - key=value")


def _unset_in_key(key: str, name: str) -> Problem:
    message = f"this label is not checked, because the variable {name} is not set"
    return Problem(message=message, severity="warning", hint="set it in the environment", label=key)


def _label_of(path: str, alias: str, labels: Mapping[str, _Label]) -> str | None:
    """Return the key of the label that most likely set a field of a route; ``None`` if no label can have."""
    field = fold(path.partition(".")[0])
    found = []
    for key in labels:
        if is_own(key):
            owner, names = split_key(key)
            if (owner == alias or owner[:1] in ("*", "#", "$")) and (not names or fold(names[0]) == field):
                found.append((len(names), key))
    return max(found)[1] if found else None


def _summary(project: str, service: str, definition: dict[str, Located], labels: dict[str, str]) -> dict[str, Any]:
    """Return what an engine would list for a service's first container, as far as its labels need it."""

    def text(key: str) -> str:
        value = definition.get(key)
        return str(value.value) if value is not None and isinstance(value.value, str) else ""

    network = labels.get(NETWORK) or f"{project}_default"
    return {
        "Id": service,
        "Names": [f"/{(text('container_name') or f'{project}-{service}-1')[:_LONGEST_NAME]}"],
        "Image": text("image") or f"{project}-{service}",
        "State": "running",
        "Labels": labels | {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service},
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}, *published_ports(definition.get("ports"))],
        "HostConfig": {"NetworkMode": text("network_mode") if text("network_mode") == "host" else ""},
        "NetworkSettings": {"Networks": {network: {"IPAddress": "192.0.2.1"}}},
    }
