"""Builds the OpenAPI document of the HTTP API. Pure."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage import __version__
from pilotage.api.answers import ErrorJson
from pilotage.api.certificates import CertificateList, RenewalJson
from pilotage.api.details import ProblemDetail, RouteDetail
from pilotage.api.lists import ContainerList, EngineList, EnvoyList, ProblemList, SleepList, TrafficList
from pilotage.api.queries import CHANGE_QUERY, ROUTE_QUERY, Parameter
from pilotage.api.route_resource import ChangeList, RouteList
from pilotage.api.routes import RouteEntry
from pilotage.output.explain import Explanation
from pilotage.sleep.status import SleepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["document"]


class _Path(msgspec.Struct, frozen=True):
    """One path: its summary, method and parameters, its successful response, and its other responses."""

    summary: str
    kind: str = "application/json"
    schema: Any = None
    parameters: tuple[str, ...] = ()
    query: Any = {}  # name -> Parameter
    other: Any = {}
    method: str = "get"
    status: str = "200"


_DERIVED: Final = (RouteEntry, ProblemDetail)
"""The structs that inherit properties, and their documentation."""

_TEXT: Final = {"type": "string"}
_PLAIN: Final = "text/plain"
_WRONG_QUERY: Final = "A parameter is unknown or has a wrong value"
_UNCHANGED: Final = "Nothing has changed since the response whose ETag is in If-None-Match"
_SLEEP_ERRORS: Final = {"403": "Only the unix socket and holders of the token may do this", "404": "No such container"}

_PATHS: Final[dict[str, _Path]] = {
    "/v1/routes": _Path(
        "All aliases and their routes, including excluded ones, or those that the parameters select",
        schema=RouteList,
        query=ROUTE_QUERY,
        other={"304": _UNCHANGED, "400": _WRONG_QUERY},
    ),
    "/v1/routes/{name}": _Path(
        "Everything about one route: its explanation, problems, traffic, latest changes, sleep and state on each Envoy",
        schema=RouteDetail,
        parameters=("name",),
        other={"404": "No route has this name"},
    ),
    "/v1/changes": _Path(
        "The latest changes of the table, the newest first; at most 1,000 are remembered",
        schema=ChangeList,
        query=CHANGE_QUERY,
        other={"304": _UNCHANGED, "400": _WRONG_QUERY},
    ),
    "/v1/containers": _Path("All containers of all engines", schema=ContainerList),
    "/v1/problems": _Path("All current problems", schema=ProblemList),
    "/v1/engines": _Path("All engines, and whether their routes are up to date", schema=EngineList),
    "/v1/envoys": _Path(
        "The Envoys, and which version of each served route they have accepted",
        schema=EnvoyList,
    ),
    "/v1/traffic": _Path(
        "Requests, errors and durations of each route and pool that has had requests",
        schema=TrafficList,
    ),
    "/v1/explain/{name}": _Path(
        "Why a container or an alias has its routes",
        parameters=("name",),
        schema=Explanation,
        other={"404": "No container or alias has this name"},
    ),
    "/v1/events": _Path(
        "Server-sent events: first all routes, then every change. A `table` event ends each batch; with `?only=table`, "
        "there are no other events",
        kind="text/event-stream",
        schema=_TEXT,
    ),
    "/v1/certificates": _Path(
        "The certificates that pilotage obtains, the names that have none yet, and what happened recently",
        schema=CertificateList,
    ),
    "/v1/certificates/root": _Path(
        "The root certificate of pilotage's own CA, which clients must trust",
        kind="application/x-pem-file",
        schema=_TEXT,
        other={"404": "Its CA has issued no certificate", "503": "The folder for certificates cannot be read"},
    ),
    "/v1/certificates/{name}/renew": _Path(
        "Replace the certificates for a host name soon, or obtain the missing one. Returns their state before",
        schema=RenewalJson,
        parameters=("name",),
        other={
            "403": "Only the unix socket and holders of the token may do this",
            "404": "No route needs a certificate for this name",
            "409": "Another pilotage obtains the certificates, or the folder for them cannot be used",
            "429": "Too early; Retry-After says when the request may be repeated",
        },
        method="post",
        status="202",
    ),
    "/v1/sleep": _Path("All containers that can sleep, and whether each is awake", schema=SleepList),
    "/v1/containers/{name}/wake": _Path(
        "Wake a container, given by ID, name or alias. Does nothing if it is awake",
        schema=SleepStatus,
        parameters=("name",),
        other=_SLEEP_ERRORS,
        method="post",
        status="202",
    ),
    "/v1/containers/{name}/sleep": _Path(
        "Put a container to sleep once its requests have ended",
        schema=SleepStatus,
        parameters=("name",),
        other={**_SLEEP_ERRORS, "409": "It is waking or could not be woken, or other containers need it"},
        method="post",
        status="202",
    ),
    "/healthz": _Path("200 while the process is running", kind=_PLAIN, schema=_TEXT),
    "/readyz": _Path(
        "200 once the first complete table is served; 503 before that and during shutdown",
        kind=_PLAIN,
        schema=_TEXT,
        other={"503": "Not ready; the body contains the reason"},
    ),
    "/metrics": _Path("Prometheus metrics of pilotage", kind=_PLAIN, schema=_TEXT),
    "/metrics/envoy": _Path(
        "Prometheus metrics of Envoy",
        kind=_PLAIN,
        schema=_TEXT,
        other={"503": "The daemon runs no Envoy, or it does not respond"},
    ),
    "/openapi.json": _Path("This document", schema={"type": "object"}),
}


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the HTTP API.

    The schemas are made from the structs that are sent.
    """
    structs = [ErrorJson, *(spec.schema for spec in _PATHS.values() if isinstance(spec.schema, type))]
    made, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for struct in _DERIVED:
        for base in struct.__mro__[1:]:
            if base.__module__.startswith("pilotage."):
                inherited = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
                own = inspect.cleandoc(components[struct.__name__]["description"])
                components[struct.__name__]["description"] = f"{own}\n{inherited}"
    for schema in components.values():
        _describe(schema)
    entry = components[RouteEntry.__name__]
    entry["properties"].pop("fields")
    entry["required"].remove("fields")
    entry["additionalProperties"] = True
    schemas = dict(zip(structs, made, strict=True))
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(_document(components, schemas)))
    return found


def _document(components: dict[str, Any], schemas: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pilotage",
            "version": __version__,
            "description": "The current routes of containers, and the state of engines and of the gateway.",
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
        "paths": {path: {spec.method: _operation(path, spec, schemas)} for path, spec in _PATHS.items()},
    }


_ATTRIBUTE: Final = re.compile(r"^    (\w+(?:, \w+)*): ", re.MULTILINE)
_ROLE: Final = re.compile(r":\w+:`~?(?:\w+\.)*(\w+)`")


def _describe(schema: dict[str, Any]) -> None:
    """Turn the documentation of a struct into a description of the object, and one of each property."""
    text = inspect.cleandoc(schema.pop("description", ""))  # before Python 3.13, it is still indented
    text = _ROLE.sub(r"`\1`", text).replace("``", "`")
    about, _, attributes = text.partition("Attributes:\n")
    if about.strip():
        schema["description"] = " ".join(about.split())
    pieces = _ATTRIBUTE.split(attributes)[1:]
    for names, meaning in zip(pieces[::2], pieces[1::2], strict=True):
        for name in names.split(", "):
            if name in schema["properties"]:
                schema["properties"][name]["description"] = " ".join(meaning.split())


def _operation(path: str, spec: _Path, schemas: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    schema = schemas[spec.schema] if isinstance(spec.schema, type) else spec.schema
    answers: dict[str, Any] = {spec.status: {"description": spec.summary, "content": {spec.kind: {"schema": schema}}}}
    for status, text in spec.other.items():
        answers[status] = {"description": text}
        if status != "304":
            kind = spec.kind if spec.kind == _PLAIN and status == "503" and path == "/readyz" else "application/json"
            answers[status]["content"] = {kind: {"schema": _TEXT if kind == _PLAIN else schemas[ErrorJson]}}
    operation: dict[str, Any] = {"summary": spec.summary, "responses": answers}
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in spec.parameters]
    parameters += [_query_parameter(name, parameter) for name, parameter in spec.query.items()]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _query_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": "query", "description": parameter.meaning, "schema": parameter.schema}
    if parameter.is_list:
        found |= {"schema": {"type": "array", "items": parameter.schema}, "style": "form", "explode": False}
    return found
