"""Routes from files: ``alias: {fields}``, with the fields that labels have (LABELS II.6.3). Pure.

What is wrong with one route touches only that route, as with labels. A text that cannot be read as a whole gives no
routes at all and says so; who has read the file before keeps what it had.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.routes.build import RESERVED_PORTS, default_bind, read_settings, refuse_impossible, reserved
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.fields import FieldContext
from pilotage.routes.route import Endpoint, Route
from pilotage.routes.schema import ROUTE, UNSUPPORTED, fold
from pilotage.routes.target import resolve_static_target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RouteFile", "read_route_file"]

_ALIAS: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_TEMPLATE: Final = "x-"


class RouteFile(msgspec.Struct, frozen=True):
    """A file of routes, read.

    Attributes:
        name: of the file, as people gave it; the provider of its routes.
        routes: in the order of the file, refused ones too.
        problems: what is wrong with the file as a whole; each route has its own besides.
        fields: alias -> what is written for it, under canonical names.
        is_whole: it could be read; otherwise it says nothing about its routes.

    """

    name: str
    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = ()
    fields: dict[str, dict[str, Located]] = {}
    is_whole: bool = True

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """What is wrong with the file and with each of its routes."""
        return (*self.problems, *(problem for route in self.routes for problem in route.problems))


def read_route_file(text: str, name: str, *, reserved_ports: frozenset[int] = RESERVED_PORTS) -> RouteFile:
    """Read a file of routes.

    Keys that begin with ``x-`` hold what other routes refer to with YAML anchors; they are no routes.

    Args:
        text: YAML 1.2: a mapping from aliases to mappings of fields. Empty for no routes.
        name: the file's name, for messages and as the provider.
        reserved_ports: ports of this host that belong to the proxy.

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
    found: dict[str, dict[str, Located]] = {}
    for key, value in document.value.items():
        alias = key.strip().lower()
        if alias.startswith(_TEMPLATE):
            continue
        fault = _alias_fault(alias, found)
        if fault:
            message, hint = fault
            place = {"file": name, "line": value.key_line, "column": value.key_column}
            problems.append(Problem(message=message, hint=hint, value=shorten(key), **place))
            continue
        reading = FieldContext()
        found[alias] = _fields(value, reading)
        routes.append(_route(alias, value, found[alias], reading, file=name, reserved_ports=reserved_ports))
    return RouteFile(name, tuple(routes), tuple(problems), found)


def _alias_fault(alias: str, known: dict[str, dict[str, Located]]) -> tuple[str, str] | None:
    if not _ALIAS.fullmatch(alias):
        hint = "write a name such as shop, shop.example.com or *.example.com"
        return f"{shorten(alias)!r} is no alias", hint
    if alias in known:
        return f"the alias {alias!r} stands in this file already", "capital letters make no difference; keep one"
    return None


def _fields(value: Located, to: FieldContext) -> dict[str, Located]:
    """Return the fields under their canonical names; what is no mapping refuses the route."""
    if value.value is None:
        return {}
    if not isinstance(value.value, dict):
        to.fault(value, f"a mapping of fields is needed here, not {kind_name(value.value)}", "write host and port")
        to.fatal = True
        return {}
    fields: dict[str, Located] = {}
    for key, item in value.value.items():
        field = ROUTE.child(key)[0]
        if field in fields:
            to.path = field
            to.fault(item, f"{key} is the same field as one on line {fields[field].key_line}", "keep one", at_key=True)
        fields[field] = item
    return fields


def _route(
    alias: str,
    whole: Located,
    fields: dict[str, Located],
    before: FieldContext,
    *,
    file: str,
    reserved_ports: frozenset[int],
) -> Route:
    settings, labelled, reading = read_settings(fields)
    target = resolve_static_target(alias, settings)
    refuse_impossible(target, settings, fields, reading)
    if settings.healthcheck.disable and settings.load_balance.link:
        reading.path = "healthcheck.disable"
        reading.fault(fields["healthcheck"], "cannot disable the health check, which a load-balanced pool needs")
        reading.fatal = True
    problems = [*before.problems, *reading.problems]
    fatal = before.fatal or reading.fatal
    own = None if fatal else reserved(target, reserved_ports)
    if own is not None:
        place = fields.get("port") or fields.get("host") or whole
        hint = "give the target's own host or port"
        problems.append(msgspec.structs.replace(own, hint=hint, line=place.key_line, column=place.key_column))
        fatal = True
    serves = not fatal and target.scheme != "fileserver"
    return Route(
        alias=alias,
        provider=file,
        scheme=target.scheme,
        host=target.host,
        port=target.port,
        bind=default_bind(target, settings),
        endpoints=(Endpoint(target.host, target.port.proxy),) if serves else (),
        excluded=fatal,
        excluded_reason=ExclusionReason.ERROR if fatal else "",
        health_check=not fatal and not settings.healthcheck.disable,
        settings=settings,
        labelled=labelled,
        problems=tuple(_in_file(problems, file, alias)),
    )


def _in_file(problems: list[Problem], file: str, alias: str) -> Iterator[Problem]:
    """Give problems their place; what is said of labels and containers is said of files."""
    for problem in problems:
        message = problem.message
        if fold(problem.path) in UNSUPPORTED:
            message = f"{problem.path} is known to GoDoxy, not supported by pilotage"
        yield msgspec.structs.replace(problem, message=message, file=file, route=alias, label="")
