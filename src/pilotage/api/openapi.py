"""Builds the OpenAPI document of the HTTP API. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from pilotage import __version__
from pilotage.api.queries import CHANGE_QUERY, ROUTE_QUERY, Parameter
from pilotage.api.route_detail import RouteDetail
from pilotage.api.route_resource import ChangeList, RouteList
from pilotage.certificates.status import CertificateState, EventKind

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


_OPEN: Final = ("RouteEntry",)
"""Names of the structs whose JSON has further properties: the fields that labels set."""


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}
_TRUTH: Final = {"type": "boolean"}
_TIME: Final = {"type": "number", "description": "Unix time in seconds"}


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


_HEALTH: Final = {
    **_or_null(_object(state={"enum": ["healthy", "unhealthy", "pending"]}, since=_TIME)),
    "description": "Last health check result of the daemon's Envoy; null if it does not probe the endpoint.",
}
_ENDPOINT: Final = _object(
    container=_TEXT,
    host=_TEXT,
    port=_WHOLE,
    state={"enum": ["ready", "waiting", "unhealthy", "draining"]},
    health=_HEALTH,
)
_ROUTE: Final = {
    **_object(
        alias=_TEXT,
        provider=_TEXT,
        container=_TEXT,
        scheme=_TEXT,
        host=_TEXT,
        port=_object(listening=_WHOLE, proxy=_WHOLE),
        listen=_or_null(_TEXT),
        target=_or_null(_TEXT),
        endpoints=_list(_ENDPOINT),
        excluded=_TRUTH,
        excluded_reason=_TEXT,
        refused=_or_null(_list(_TEXT)),
        health_check=_TRUTH,
        idle_watcher=_TRUTH,
        pool=_or_null(_TEXT),
        stale_since=_or_null(_TIME),
    ),
    "description": "The other properties are the fields that labels set. Names of durations end in _s (seconds).",
}
_PROBLEM: Final = _object(
    provider=_TEXT,
    container=_TEXT,
    route=_TEXT,
    label=_TEXT,
    path=_TEXT,
    line=_WHOLE,
    column=_WHOLE,
    message=_TEXT,
    hint=_TEXT,
    severity={"enum": ["error", "warning"]},
    value=_TEXT,
    file=_TEXT,
)
_CONTAINER: Final = _object(
    name=_TEXT,
    id=_TEXT,
    provider=_TEXT,
    aliases=_list(_TEXT),
    explicit=_TRUTH,
    excluded=_TRUTH,
    running=_TRUTH,
    state=_TEXT,
    network=_TEXT,
    private_hostname=_TEXT,
    public_hostname=_TEXT,
    blacklisted=_TRUTH,
    image={"type": "object"},
    host_network_mode=_TRUTH,
    docker_health=_TRUTH,
    public_ports={"type": "object", "additionalProperties": _WHOLE},
    private_ports={"type": "object", "additionalProperties": _WHOLE},
    mounts=_list({"type": "object"}),
    idlewatcher={"type": ["object", "null"]},
    errors=_list(_TEXT),
)
_ENGINE: Final = _object(
    name=_TEXT,
    url=_TEXT,
    state={"enum": ["pending", "live", "stale"]},
    since=_TIME,
    error=_TEXT,
    containers=_WHOLE,
    routes=_WHOLE,
)
_SLEEP: Final = _object(
    engine=_TEXT,
    container=_TEXT,
    aliases=_list(_TEXT),
    state={"enum": ["asleep", "waking", "ready", "quiescing", "stopping", "failed"]},
    since=_TIME,
    step=_TEXT,
    awake_because=_TEXT,
    sleeps_at=_or_null(_TIME),
    in_progress=_WHOLE,
    last_wake=_or_null({"type": "number", "description": "Duration in seconds"}),
    failure=_TEXT,
    retry_at=_or_null(_TIME),
)
_SLEEP_ERRORS: Final = {"403": "Only the unix socket and holders of the token may do this", "404": "No such container"}
_ENVOY: Final = _object(
    node=_TEXT,
    connected=_TRUTH,
    since=_TIME,
    lag_s={"type": "number", "description": "Seconds since the oldest unanswered change was sent to it"},
    silent=_TRUTH,
    version={**_WHOLE, "description": "Newest table version that it has accepted or rejected completely; 0 if none"},
    waiting={**_WHOLE, "description": "Resources that it has neither accepted nor rejected yet"},
    rejected={**_WHOLE, "description": "Resources that it rejects"},
)
_ON_ENVOY: Final = _object(
    state={"enum": ["accepted", "rejected", "waiting"]},
    version={
        **_or_null(_WHOLE),
        "description": "Table version that the Envoy's configuration of the route dates from; null if unknown",
    },
)
_TRAFFIC: Final = _object(
    requests=_WHOLE,
    errors={**_WHOLE, "description": "Requests that were answered with status 500 or higher"},
    in_progress=_WHOLE,
    duration_s={
        **_object(count=_WHOLE, sum={"type": "number"}, buckets=_list(_object(le={"type": "number"}, count=_WHOLE))),
        "description": "Durations of a random sample of the requests, in seconds; buckets are cumulative",
    },
)
_CERTIFICATE: Final = _object(
    names=_list(_TEXT),
    state={"enum": list(get_args(CertificateState))},
    entry={**_TEXT, "description": "The section of autocert: main or extra[N]"},
    method=_TEXT,
    issuer=_TEXT,
    serial=_TEXT,
    not_before=_or_null(_TIME),
    not_after=_or_null(_TIME),
    renew_at=_or_null(_TIME),
    renewal_by_ca={**_TRUTH, "description": "Whether the CA suggested the time of renewal (ARI)"},
    error={**_TEXT, "description": "Why the last attempt failed, with the CA's own words"},
    hint=_TEXT,
    failures={**_WHOLE, "description": "Failed attempts in a row"},
    next_attempt=_or_null(_TIME),
    renewing=_TRUTH,
    file=_TEXT,
)
_CERTIFICATE_EVENT: Final = _object(kind={"enum": list(get_args(EventKind))}, names=_list(_TEXT), at=_TIME, text=_TEXT)
_ERROR: Final = _object(error=_TEXT, hint=_TEXT)
_PLAIN: Final = "text/plain"
_WRONG_QUERY: Final = "A parameter is unknown or has a wrong value"

_PATHS: Final[dict[str, _Path]] = {
    "/v1/routes": _Path(
        "All aliases and their routes, including excluded ones, or those that the parameters select",
        schema=RouteList,
        query=ROUTE_QUERY,
        other={"304": "Nothing has changed since the response whose ETag is in If-None-Match", "400": _WRONG_QUERY},
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
        other={"304": "Nothing has changed since the response whose ETag is in If-None-Match", "400": _WRONG_QUERY},
    ),
    "/v1/containers": _Path("All containers of all engines", schema=_object(containers=_list(_CONTAINER))),
    "/v1/problems": _Path("All current problems", schema=_object(problems=_list(_PROBLEM))),
    "/v1/engines": _Path(
        "All engines, and whether their routes are up to date", schema=_object(engines=_list(_ENGINE))
    ),
    "/v1/envoys": _Path(
        "The Envoys, and which version of each served route they have accepted",
        schema=_object(
            version=_WHOLE,
            envoys=_list(_ENVOY),
            routes={
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": _ON_ENVOY},
            },
        ),
    ),
    "/v1/traffic": _Path(
        "Requests, errors and durations of each route and pool that has had requests",
        schema=_object(routes={"type": "object", "additionalProperties": _TRAFFIC}),
    ),
    "/v1/explain/{name}": _Path(
        "Why a container or an alias has its routes",
        parameters=("name",),
        schema=_object(name=_TEXT, containers=_list({"type": "object"}), files=_list({"type": "object"})),
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
        schema=_object(certificates=_list(_CERTIFICATE), events=_list(_CERTIFICATE_EVENT)),
    ),
    "/v1/certificates/root": _Path(
        "The root certificate of pilotage's own CA, which clients must trust",
        kind="application/x-pem-file",
        schema=_TEXT,
        other={"404": "Its CA has issued no certificate", "503": "The folder for certificates cannot be read"},
    ),
    "/v1/certificates/{name}/renew": _Path(
        "Replace the certificates for a host name soon, or obtain the missing one. Returns their state before",
        schema=_object(certificates=_list(_CERTIFICATE)),
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
    "/v1/sleep": _Path("All containers that can sleep, and whether each is awake", schema=_object(units=_list(_SLEEP))),
    "/v1/containers/{name}/wake": _Path(
        "Wake a container, given by ID, name or alias. Does nothing if it is awake",
        schema=_SLEEP,
        parameters=("name",),
        other=_SLEEP_ERRORS,
        method="post",
        status="202",
    ),
    "/v1/containers/{name}/sleep": _Path(
        "Put a container to sleep once its requests have ended",
        schema=_SLEEP,
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
    structs = [spec.schema for spec in _PATHS.values() if isinstance(spec.schema, type)]
    made, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    for name in _OPEN:
        schema = components[name]
        schema["properties"].pop("fields", None)
        schema["required"] = [it for it in schema["required"] if it != "fields"]
        schema["additionalProperties"] = True
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


def _operation(path: str, spec: _Path, schemas: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    schema = schemas[spec.schema] if isinstance(spec.schema, type) else spec.schema
    answers: dict[str, Any] = {spec.status: {"description": spec.summary, "content": {spec.kind: {"schema": schema}}}}
    for status, text in spec.other.items():
        answers[status] = {"description": text}
        if status != "304":
            kind = spec.kind if spec.kind == _PLAIN and status == "503" and path == "/readyz" else "application/json"
            answers[status]["content"] = {kind: {"schema": _TEXT if kind == _PLAIN else _ERROR}}
    operation: dict[str, Any] = {"summary": spec.summary, "responses": answers}
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in spec.parameters]
    parameters += [_query_parameter(name, parameter) for name, parameter in spec.query.items()]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _query_parameter(name: str, parameter: Parameter) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": "query", "description": parameter.meaning, "schema": parameter.schema}
    if parameter.is_list:
        found |= {"schema": _list(parameter.schema), "style": "form", "explode": False}
    return found
