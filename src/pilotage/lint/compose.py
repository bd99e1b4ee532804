"""Checks the labels in Compose files and in the files that these include. Substitutes variables as Compose does."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.certificates.settings import AutocertSettings
from pilotage.config.substitute import redact
from pilotage.containers import COMPOSE_PROJECT, COMPOSE_SERVICE, from_docker
from pilotage.core.problems import Problem
from pilotage.core.text import shorten_value
from pilotage.core.textfile import UnreadableFile, read_text
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, parse_yaml
from pilotage.engine.config import DockerProviderConfig
from pilotage.labels import fold, is_own, split_key
from pilotage.labels.container_options import ALIASES, NETWORK
from pilotage.lint.certificates import uncovered_hosts
from pilotage.lint.compose_labels import Label, Layer, collect_deployed, collect_labels, in_file
from pilotage.lint.compose_override import override_of
from pilotage.lint.compose_variables import env_lines, fill_in
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

__all__ = ["Project", "Site", "check_compose", "dot_env", "is_compose"]

_NOTHING: Final[Mapping[str, Located]] = {}
_MAX_FILES: Final = 100
"""Maximum number of files that a project may include or extend, and of services in a chain of ``extends``."""
_MAX_LABELS: Final = 50_000
"""Maximum number of labels of all services together. It limits the work of extending a large service many times."""
_LONGEST_NAME: Final = 255  # characters of a container's name
_NOT_IN_NAMES: Final = re.compile("[^a-z0-9_-]")  # Compose removes these characters from the folder's name


def is_compose(top: Mapping[str, Located]) -> bool:
    """Return whether a document's top-level keys are those of a Compose file."""
    return "services" in top or ("include" in top and isinstance(top["include"].value, list))


class Site(msgspec.Struct, frozen=True):
    """The gateway and engines for which a Compose file is checked.

    Attributes:
        options: the gateway's settings.
        policy: what containers may claim.
        engines: names of the engines, any of which may run the services; ``""`` for an unknown engine.
        reserved_ports: ports on the gateway's host that belong to the proxy.
        autocert: the certificates that are obtained.

    """

    options: GatewayOptions = GatewayOptions()
    policy: Policy = NO_POLICY
    engines: tuple[str, ...] = ("",)
    reserved_ports: frozenset[int] = frozenset()
    autocert: AutocertSettings = AutocertSettings()


def check_compose(
    name: str, top: dict[str, Located], env: Mapping[str, str], site: Site
) -> tuple[list[str], list[Problem]]:
    """Check the labels of a Compose file and of the files that it includes.

    Args:
        name: name of the file.
        top: its content.
        env: the environment; variables from a file ``.env`` beside the Compose file are added.
        site: the gateway and engines for which the services are checked.

    Returns:
        The names of the other files that belong to the project (included, extended, overriding), and all problems.

    """
    project = Project(name, top, dot_env(Path(name).parent / ".env", env), site)
    problems = list(project.check_all(name, top))
    return project.included, problems


def dot_env(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return ``env`` and the variables from a file ``.env``, if it exists. Those in ``env`` take precedence."""
    try:
        text = read_text(path)
    except UnreadableFile:
        return dict(env)
    return {name: value for _, name, value in env_lines(text, env)} | dict(env)


class Project:
    """Checks one Compose project: a file and the files that it includes.

    Attributes:
        project: name of the project, which may be changed before :meth:`check_all`.
        containers: after the check, each service and its first container.
        definitions: service -> its merged definition.

    """

    def __init__(self, name: str, top: dict[str, Located], env: Mapping[str, str], site: Site) -> None:
        named = top.get("name")
        written = fill_in(str(named.value), env).text if named is not None and named.value else ""
        self.project = written or _NOT_IN_NAMES.sub("", Path(_place(name)).parent.name.lower()).lstrip("_-")
        self.env = env
        self.site = site
        self.included: list[str] = []
        self.names = ClaimedNames(site.options.match_domains)
        self.containers: list[tuple[str, Container]] = []
        self.definitions: dict[str, dict[str, Located]] = {}
        self._visited = {_place(name)}
        self._documents: dict[str, Located | Exception | None] = {}
        self._labels = 0
        self._reported: set[tuple[str, int, int, str]] = set()

    def check_all(self, name: str, top: dict[str, Located]) -> Iterator[Problem]:
        """Yield the problems of the whole project: of its file, of the override beside it, and of included files."""
        found: list[dict[str, Located]] = []
        override = override_of(name)
        if override:
            self._visited.add(_place(override))
            yield from self._read(Path(override), "it", override, Located(None), found)
            self.included += [override] * len(found)
        yield from self.check(name, top, override, found[0] if found else {})

    def check(
        self, name: str, top: dict[str, Located], override: str = "", over: Mapping[str, Located] = _NOTHING
    ) -> Iterator[Problem]:
        """Yield the problems of one file and of the files that it includes.

        Args:
            name: name of the file.
            top: its content.
            override: name of the file that is merged with it.
            over: the content of that file.

        """
        services, overriding = _services(top), _services(over)
        known = services | overriding
        for service in known:
            if any(isinstance(it[service].value, dict) for it in (services, overriding) if service in it):
                layers: list[Layer] = []
                for file, found, all_known in ((name, services, services), (override, overriding, known)):
                    if service in found and isinstance(found[service].value, dict):
                        yield from self._layers(file, service, all_known, layers, set())
                if self._labels > _MAX_LABELS:
                    what = f"it is not checked, because the services before it have more than {_MAX_LABELS:,} labels"
                    yield in_file(Problem(message=what, hint="check fewer files at once"), name, service, 0, 0)
                    break
                labels: dict[str, Label] = {}
                for problem in collect_labels(service, layers, labels):
                    yield from self._once(problem)
                self._labels += len(labels)
                yield from self._service(service, layers, labels)
                yield from self._swarm_service(service, layers, labels)
        for file, include in ((name, top.get("include")), (override, over.get("include"))):
            for entry in include.value if include is not None and isinstance(include.value, list) else ():
                options = entry.value if isinstance(entry.value, dict) else {"path": entry}
                paths = options.get("path")
                for path in paths.value if paths is not None and isinstance(paths.value, list) else [paths]:
                    if path is not None and isinstance(path.value, str):
                        yield from self._include(file, path, options.get("env_file"))

    def _include(self, name: str, written: Located, env_file: Located | None) -> Iterator[Problem]:
        filled = fill_in(written.value, self.env)
        path, shown = Path(name).parent / filled.text, shorten_value(written.value)
        if filled.unset or "://" in filled.text:
            message = f"the included file {shown!r} is not checked"
            problem = Problem(message=message, severity="warning", hint="check a local copy of it")
            yield in_file(problem, name, "", written.line, written.column)
            return
        if _place(path) in self._visited:
            return
        self._visited.add(_place(path))
        top: list[dict[str, Located]] = []
        yield from self._read(path, f"the included file {shown!r}", name, written, top)
        self.included += [str(path)] * len(top)
        before = self.env
        given = fill_in(str(env_file.value), before).text if env_file is not None else ""
        self.env = dot_env(Path(name).parent / given if given else path.parent / ".env", before)
        for found in top:
            yield from self.check(str(path), found)
        self.env = before

    def _read(
        self, path: Path, what: str, name: str, written: Located, top: list[dict[str, Located]]
    ) -> Iterator[Problem]:
        """Add the content of another file to ``top``, or yield the problem that prevents this."""
        try:
            document = self._document(path)
        except UnreadableFile as error:
            problem = Problem(message=f"{what} {error.message}", hint=error.hint)
            yield in_file(problem, name, "", written.line, written.column)
            return
        except ParseError as error:
            yield Problem(message=error.message, file=str(path), line=error.line, column=error.column)
            return
        if document is not None and isinstance(document.value, dict):
            top.append(document.value)

    def _document(self, path: Path) -> Located | None:
        """Read a YAML file, once for all places that refer to it. Raises UnreadableFile or ParseError."""
        place = _place(path)
        if place not in self._documents:
            if len(self._documents) >= _MAX_FILES:
                raise UnreadableFile(f"is one of more than {_MAX_FILES} files", "check fewer files at once")
            try:
                self._documents[place] = parse_yaml(read_text(path))
            except (UnreadableFile, ParseError) as error:
                self._documents[place] = error
        found = self._documents[place]
        if isinstance(found, Exception):
            raise found
        return found

    def _layers(
        self, file: str, service: str, services: dict[str, Located], layers: list[Layer], seen: set[tuple[str, str]]
    ) -> Iterator[Problem]:
        """Add the definitions that make up a service, those of the services that it extends first."""
        definition = services[service].value
        seen.add((file, service))
        extends = definition.get("extends")
        if extends is not None:
            options = extends.value if isinstance(extends.value, dict) else {"service": extends}
            texts = {key: fill_in(str(item.value), self.env).text for key, item in options.items()}
            base, other = texts.get("service", ""), texts.get("file", "")
            path, top = str(Path(file).parent / other) if other else file, [{"services": Located(services)}]
            if other:
                top = []
                yield from self._read(Path(path), f"the extended file {shorten_value(other)!r}", file, extends, top)
                self.included += [path] * (bool(top) and path not in self.included)
            known = top[0]["services"].value if top and "services" in top[0] else None
            if isinstance(known, dict) and base in known and isinstance(known[base].value, dict):
                if (path, base) not in seen and len(seen) < _MAX_FILES:
                    yield from self._layers(path, base, known, layers, seen)
            elif top:
                message = f"there is no service {shorten_value(base)!r} to extend"
                problem = Problem(message=message, hint="correct its name")
                yield in_file(problem, file, service, extends.key_line, extends.key_column)
        layers.append(Layer(file, definition, self.env))

    def _once(self, problem: Problem) -> Iterator[Problem]:
        """Yield a problem, unless it was already reported for a service that shares the label through ``extends``."""
        place = (problem.file, problem.line, problem.column, problem.message)
        if not problem.line or place not in self._reported:
            self._reported.add(place)
            yield problem

    # ---- services

    def _service(self, service: str, layers: list[Layer], labels: dict[str, Label]) -> Iterator[Problem]:
        texts = {key: label.text for key, label in labels.items()}
        file, definition = layers[-1].file, _merged(layers)
        self.definitions[service] = definition
        summary = _summary(self.project, service, definition, texts, layers[-1].env)
        built = self._built(service, summary)
        for problem in built.problems:
            label = labels.get(problem.label)
            if label is None or not label.unset or _is_about_a_name(problem):
                yield from self._once(self._placed(problem, file, service, label))
        is_unsure = any(label.unset for label in labels.values())
        for route in built.routes if is_unsure else ():
            yield from self._unsure(route, file, service, labels)
        place = labels.get(ALIASES)
        found = self.names.add(service, built.routes, _profiles(definition))
        for problem in (*found, *uncovered_hosts(built.routes, self.site.autocert, self.site.options.certificates)):
            at = _label_of(problem.label, problem.route, labels) if problem.label else None
            yield self._placed(problem.at(label=at or ""), file, service, labels[at] if at else place)

    def _swarm_service(self, service: str, layers: list[Layer], labels: dict[str, Label]) -> Iterator[Problem]:
        """Yield the problems of the labels that a swarm would give to a service, as if its containers had them."""
        deployed: dict[str, Label] = {}
        for problem in collect_deployed(service, layers, deployed):
            yield from self._once(problem)
        if not any(map(is_own, deployed)):
            return
        together = labels | deployed
        texts = {key: label.text for key, label in together.items()}
        summary = _summary(self.project, service, _merged(layers), texts, layers[-1].env)
        container = from_docker(summary, DockerProviderConfig("", name=self.site.engines[0]))
        built = build_routes(container, policy=self.site.policy, reserved_ports=self.site.reserved_ports)
        for problem in built.problems:
            label = deployed.get(problem.label)
            if label is not None and (not label.unset or _is_about_a_name(problem)):
                yield from self._once(self._placed(problem, layers[-1].file, service, label))

    def _built(self, service: str, summary: dict[str, Any]) -> Built:
        """Build a container's routes for each engine, and return those of the engine that excludes the fewest."""
        containers = [from_docker(summary, DockerProviderConfig("", name=name)) for name in self.site.engines]
        self.containers.append((service, containers[0]))
        policy, reserved = self.site.policy, self.site.reserved_ports
        found = (build_routes(it, explicit_only=False, policy=policy, reserved_ports=reserved) for it in containers)
        return min(found, key=lambda built: sum(route.excluded for route in built.routes))

    def _unsure(self, route: Route, file: str, service: str, labels: dict[str, Label]) -> Iterator[Problem]:
        """For an excluded route, yield the gateway's problems with option names in labels whose values are unknown."""
        gateway = self.site.policy.gateway
        for problem in gateway(route)[0] if gateway is not None and route.excluded else ():
            label = _label_of(problem.path, route.alias, labels)
            if label is not None and labels[label].unset and _is_about_a_name(problem):
                yield self._placed(problem.at(label=label), file, service, labels[label])

    def _placed(self, problem: Problem, file: str, service: str, label: Label | None) -> Problem:
        """Return a problem with its position in the file: that of its label, or of a line in the label's value."""
        if label is None:
            return in_file(problem, file, service, 0, 0)
        problem = redact(problem, label.variables)
        value = label.value
        if problem.line and "\n" in str(value.value):  # a block scalar starts on the line below its indicator
            return in_file(problem, label.file, service, value.line + problem.line, 0)
        return in_file(problem, label.file, service, value.key_line, value.key_column)


def _services(top: Mapping[str, Located]) -> dict[str, Located]:
    services = top["services"].value if "services" in top else None
    return services if isinstance(services, dict) else {}


def _place(path: str | Path) -> str:
    """Resolve the links in a path. Return an invalid path unchanged."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # such as a null character
        return str(path)


def _is_about_a_name(problem: Problem) -> bool:
    """Return whether a problem is about the name of a label or field, and not about its value."""
    return problem.message.startswith("unknown ") or problem.label.endswith(".")


def _merged(layers: list[Layer]) -> dict[str, Located]:
    """Merge a service's definition with those that it extends; join their lists of ports."""
    found: dict[str, Located] = {}
    for layer in layers:
        ports = [it.value for it in (found.get("ports"), layer.definition.get("ports")) if it is not None]
        found |= layer.definition
        if len(ports) > 1 and all(isinstance(each, list) for each in ports):
            found["ports"] = Located([item for each in ports for item in each])
    return found


def _profiles(definition: dict[str, Located]) -> frozenset[str]:
    """Return the profiles of a service. A service without profiles always runs."""
    written = definition.get("profiles")
    return (
        frozenset(str(it.value) for it in written.value) if written and isinstance(written.value, list) else frozenset()
    )


def _label_of(path: str, alias: str, labels: Mapping[str, Label]) -> str | None:
    """Return the key of the label that most likely set a field of a route; ``None`` if none can have."""
    field = fold(path.partition(".")[0])
    found = []
    for key in labels:
        if is_own(key):
            owner, names = split_key(key)
            if (owner == alias or owner[:1] in ("*", "#", "$")) and (not names or fold(names[0]) == field):
                found.append((len(names), key))
    return max(found)[1] if found else None


def _summary(
    project: str, service: str, definition: dict[str, Located], labels: dict[str, str], env: Mapping[str, str]
) -> dict[str, Any]:
    """Return the parts of an engine's list entry for a service's first container on which routes depend."""

    def text(key: str) -> str:
        value = definition.get(key)
        filled = fill_in(value.value if value is not None and isinstance(value.value, str) else "", env)
        return "" if filled.unset else filled.text

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
