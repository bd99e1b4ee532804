"""Reads routes from files: ``alias: {fields}``, with the same fields as labels (LABELS II.6.3). Pure.

As with labels, an error in one route affects only that route. If a file is unreadable, the result has no routes, and
``is_whole`` is false, so that the caller can keep the file's previous routes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.hostnames import ascii_host
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.labels.key_schema import fold
from pilotage.labels.merge import AliasFields, FieldError
from pilotage.routes.build import RESERVED_PORTS, check_target, default_bind
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.fields import problem_at
from pilotage.routes.hosts import mistake_in
from pilotage.routes.idlewatcher import IDLEWATCHER, Idlewatcher, read_idlewatcher
from pilotage.routes.reach import nowhere, reserved_target
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import ROUTE_KEYS, UNSUPPORTED
from pilotage.routes.settings import read_settings
from pilotage.routes.support import checked
from pilotage.routes.target import resolve_static_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pilotage.policy import GatewayCheck

__all__ = ["RouteFile", "read_route_file"]

_ALIAS: Final = re.compile(r"\*|(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_TEMPLATE: Final = "x-"
_AGENT: Final = "agent"
_ONLY_IN_FILES: Final = (_AGENT, IDLEWATCHER)


class RouteFile(msgspec.Struct, frozen=True):
    """A file of routes.

    Attributes:
        name: file name as configured. It is also the provider of the file's routes.
        routes: routes in the order of the file, including excluded routes.
        problems: problems with the file as a whole; problems with a route are in the route.
        fields: alias -> the fields of its route, with canonical names and values as written.
        idlewatchers: alias -> the container with which its route sleeps and wakes.
        is_whole: whether the file was readable; if not, its routes are unknown.

    """

    name: str
    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = ()
    fields: dict[str, dict[str, Located]] = {}
    idlewatchers: dict[str, Idlewatcher] = {}
    is_whole: bool = True

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """The problems of the file and of all its routes."""
        return (*self.problems, *(problem for route in self.routes for problem in route.problems))


def read_route_file(
    text: str,
    name: str,
    *,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    is_local: Callable[[str], bool] = nowhere,
    gateway: GatewayCheck | None = None,
) -> RouteFile:
    """Read a file of routes. Keys that begin with ``x-`` are not routes, because they are meant for YAML anchors.

    Args:
        text: YAML 1.2: a mapping from aliases to mappings of fields. An empty text has no routes.
        name: the file's name, used in messages and as the provider.
        reserved_ports: ports on this host that belong to the proxy.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.
        gateway: decides which routes the gateway cannot serve; ``None`` if there is no gateway.

    Returns:
        The file's routes and problems. Never raises.

    """
    try:
        document = parse_yaml(text.removeprefix("\ufeff"))
    except ParseError as error:
        problem = Problem(message=error.message, file=name, line=error.line, column=error.column)
        return RouteFile(name, problems=(problem,), is_whole=False)
    if document is None or document.value is None:
        return RouteFile(name)
    if not isinstance(document.value, dict):
        message = f"a mapping of aliases is needed here, not {kind_name(document.value)}"
        hint = "write lines such as 'nas: {host: 10.0.0.2, port: 5000}'"
        problem = Problem(message=message, hint=hint, file=name, line=document.line, column=document.column)
        return RouteFile(name, problems=(problem,), is_whole=False)
    routes: list[Route] = []
    problems: list[Problem] = []
    fields: dict[str, dict[str, Located]] = {}
    idlewatchers: dict[str, Idlewatcher] = {}
    for key, value in document.value.items():
        alias = ascii_host(key.strip())
        if alias.startswith(_TEMPLATE):
            continue
        wrong = _alias_error(alias, fields)
        if wrong is not None:
            message, hint = wrong
            place = {"file": name, "line": value.key_line, "column": value.key_column}
            problems.append(Problem(message=message, hint=hint, value=shorten(key), **place))
            continue
        mine, agent = _without_agent(_alias_fields(alias, value))
        mine, idle = _without_idlewatcher(mine)
        if idle is not None:
            idlewatchers[alias] = idle
        fields[alias] = mine.fields
        route = _make_route(mine, value, file=name, agent=agent, reserved_ports=reserved_ports, is_local=is_local)
        if gateway is not None:
            route = _checked(route, gateway, mine, value)
        routes.append(route)
    return RouteFile(name, tuple(routes), tuple(problems), fields, idlewatchers)


def _alias_error(alias: str, known: dict[str, dict[str, Located]]) -> tuple[str, str] | None:
    """Return message and hint of the error if an alias is invalid or already defined; otherwise ``None``."""
    if not _ALIAS.fullmatch(alias):
        message, hint = (
            f"{shorten(alias)!r} is not an alias",
            "write a name such as shop, shop.example.com or *.example.com",
        )
        return mistake_in(alias) or (message, hint)
    if alias in known:
        return f"the alias {alias!r} is already defined in this file", "case does not matter; keep one"
    return None


def _alias_fields(alias: str, value: Located) -> AliasFields:
    """Return the fields of one route under their canonical names.

    The route is rejected if the value is not a mapping.
    """
    if value.value is None:
        return AliasFields(alias)
    if not isinstance(value.value, dict):
        message, hint = f"a mapping of fields is needed here, not {kind_name(value.value)}", "write host and port"
        if isinstance(value.value, list) and any(_is_middleware(item) for item in value.value):
            message, hint = "this is a list of middlewares, not a route", "list the file below providers.middlewares"
        problem = problem_at(value, "", message, hint)
        return AliasFields(alias, errors=(FieldError(problem, protective=True),))
    fields: dict[str, Located] = {}
    errors = []
    for key, item in value.value.items():
        name = next((it for it in _ONLY_IN_FILES if fold(key) == it), ROUTE_KEYS.find(key).name)
        if name in fields:
            message = f"{key} is the same field as one on line {fields[name].key_line}"
            errors.append(FieldError(problem_at(item, name, message, "keep one", at_key=True), name))
        fields[name] = item
    return AliasFields(alias, fields, tuple(errors))


def _without_agent(mine: AliasFields) -> tuple[AliasFields, str]:
    """Separate ``agent``, which only files can set, from the other fields. Return the other fields first."""
    if _AGENT not in mine.fields:
        return mine, ""
    fields = {name: item for name, item in mine.fields.items() if name != _AGENT}
    item = mine.fields[_AGENT]
    if item.value is None or (isinstance(item.value, str) and item.value.strip()):
        return msgspec.structs.replace(mine, fields=fields), (item.value or "").strip()
    message, hint = f"agent cannot be {kind_name(item.value)}", "write the name or the address (HOST:PORT) of an agent"
    error = FieldError(problem_at(item, _AGENT, message, hint), _AGENT, protective=True)
    return msgspec.structs.replace(mine, fields=fields, errors=(*mine.errors, error)), ""


def _without_idlewatcher(mine: AliasFields) -> tuple[AliasFields, Idlewatcher | None]:
    """Separate ``idlewatcher``, which only files can set, from the other fields. Return the other fields first."""
    item = mine.fields.get(IDLEWATCHER)
    if item is None:
        return mine, None
    fields = {name: value for name, value in mine.fields.items() if name != IDLEWATCHER}
    found, errors = (None, ()) if item.value is None else read_idlewatcher(item)
    return msgspec.structs.replace(mine, fields=fields, errors=(*mine.errors, *errors)), found


def _is_middleware(item: Located) -> bool:
    return isinstance(item.value, dict) and "use" in item.value


def _make_route(
    fields: AliasFields,
    whole: Located,
    *,
    file: str,
    agent: str,
    reserved_ports: frozenset[int],
    is_local: Callable[[str], bool],
) -> Route:
    """Make the route of one alias. Problems without a position get that of the route's mapping, ``whole``."""
    alias = fields.alias
    mine = read_settings(fields)
    settings = mine.settings
    target = resolve_static_target(alias, settings)
    problems = [*mine.problems, *check_target(mine, target)]
    refused = mine.refused or len(problems) > len(mine.problems)
    if settings.healthcheck.disable and settings.load_balance.link:
        message = "cannot disable the health check, which a load-balanced pool needs"
        problems.append(problem_at(mine.judged_later["healthcheck"], "healthcheck.disable", message))
        refused = True
    # Until the agent is found, it is not known where its addresses lead.
    own = None if refused or agent else reserved_target(target, reserved_ports, is_local)
    if own is not None:
        place = fields.fields.get("port") or fields.fields.get("host") or whole
        hint = "set the target's own host or port"
        problems.append(msgspec.structs.replace(own, hint=hint, line=place.key_line, column=place.key_column))
        refused = True
    is_served = not refused and target.scheme != "fileserver"
    return Route(
        alias=alias,
        provider=file,
        scheme=target.scheme,
        host=target.host,
        port=target.port,
        bind=default_bind(target, settings),
        endpoints=(Endpoint(target.host, target.port.proxy),) if is_served else (),
        excluded=refused,
        excluded_reason=ExclusionReason.ERROR if refused else "",
        health_check=not refused and not settings.healthcheck.disable,
        settings=settings,
        labelled=mine.labelled,
        folders=None,
        agent=agent,
        problems=tuple(_in_file(problems, file, alias)),
    )


def _checked(route: Route, gateway: GatewayCheck, fields: AliasFields, whole: Located) -> Route:
    """Return a route as the gateway can serve it. Problems without a position get that of the route's mapping."""
    found = checked(route, gateway, lambda: fields)
    new = found.problems[len(route.problems) :]
    if not new:
        return found
    place = {"file": route.provider, "provider": "", "label": ""}
    placed = [
        msgspec.structs.replace(
            it, **place, **({} if it.line else {"line": whole.key_line, "column": whole.key_column})
        )
        for it in new
    ]
    return msgspec.structs.replace(found, problems=(*route.problems, *placed))


def _in_file(problems: list[Problem], file: str, alias: str) -> Iterator[Problem]:
    """Yield the problems with the file and alias as their place; reword those that mention labels."""
    for problem in problems:
        message, hint = problem.message, problem.hint
        if problem.path == "alias":
            message, hint = "this field has no effect, because the name above the fields is the alias", "remove it"
        if problem.path not in _ONLY_IN_FILES and fold(problem.path) in UNSUPPORTED:
            message = f"{problem.path} is a GoDoxy field that pilotage does not support"
        yield msgspec.structs.replace(problem, message=message, hint=hint, file=file, route=alias, label="")
