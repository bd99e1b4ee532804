"""Handles requests to the fake engine, for the parts of the Engine API that pilotage uses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.testing.dialect import Answer, api_number
from pilotage.testing.events import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pilotage.testing.container import FakeContainer
    from pilotage.testing.engine_state import FakeEngineState
    from pilotage.testing.server import Request

__all__ = ["Filters", "Route", "Subscription", "endpoint_of", "reply", "route"]

Filters = dict[str, frozenset[str]]

_VERSIONED: Final = re.compile(r"/v(\d+\.\d+)(/.*)")
_CONTAINER: Final = re.compile(r"/containers/([^/]+)/(json|start|stop|kill|restart|pause|unpause)")
_KNOWN_FILTERS: Final = frozenset(
    "ancestor before expose exited health id is-task isolation label name network publish since status volume".split()
)
_STATES: Final = frozenset("created running paused restarting removing exited dead".split())
_SIGNALS: Final = frozenset("HUP INT QUIT KILL USR1 USR2 TERM CONT STOP WINCH 1 2 3 9 10 12 15 18 19 28".split())


class Route(msgspec.Struct, frozen=True):
    """A parsed request path: endpoint name for counting, requested API version, named container."""

    endpoint: str
    api: tuple[int, int] | None = None
    container: str = ""


class Subscription(msgspec.Struct, frozen=True):
    """A request for the event stream. Times are in nanoseconds."""

    filters: Filters
    since: int | None
    until: int | None
    old_fields: bool


class _BadFilter(Exception):
    """The filters in a request are invalid; carries the response to the request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer)


def endpoint_of(request: Request) -> str:
    """Return the endpoint name under which a request is counted, ``other`` if pilotage never uses it."""
    return route(request).endpoint


def route(request: Request) -> Route:
    """Parse the path of a request."""
    versioned = _VERSIONED.fullmatch(request.path)
    api = api_number(versioned[1]) if versioned else None
    path = versioned[2] if versioned else request.path
    reading = request.method in {"GET", "HEAD"}
    if reading and path in {"/_ping", "/version", "/events", "/services", "/tasks"}:
        return Route(path.lstrip("/_"), api)
    if reading and path == "/containers/json":
        filters = request.query.get("filters", "")
        return Route("list:id" if '"id"' in filters else "list", api)
    if (named := _CONTAINER.fullmatch(path)) and reading == (named[2] == "json"):
        return Route("inspect" if reading else named[2], api, named[1])
    return Route("other", api)


def reply(engine: FakeEngineState, request: Request, where: Route) -> Answer | Subscription:
    """Return the response to a request, or the subscription if it asks for the event stream."""
    dialect = engine.dialect
    if where.endpoint == "other":
        return dialect.no_such_page()
    if where.api is not None and (refusal := dialect.refuse_version(where.api)) is not None:
        return refusal
    api = where.api or dialect.api
    try:
        match where.endpoint:
            case "ping":
                return dialect.ping()
            case "version":
                return dialect.json(dialect.describe())
            case "events":
                return _subscribe(engine, request, api)
            case "services":
                return _swarm(engine, engine.services)
            case "tasks":
                return _swarm(engine, _tasks(engine, request))
            case "list" | "list:id":
                return _list(engine, request, api)
            case _:
                it = engine.find(where.container)
                if it is None:
                    return dialect.no_such_container(where.container)
                if where.endpoint == "inspect":
                    return Answer(200, dialect.headers(), engine.inspect_bytes(it))
                return _act(engine, where.endpoint, it, where.container, request.query)
    except _BadFilter as why:
        return why.answer


def _tasks(engine: FakeEngineState, request: Request) -> list[dict[str, Any]] | None:
    tasks = engine.list_tasks()
    if tasks is None:
        return None
    prefixes = tuple(_filters(engine, request).get("id", ("",)))
    return [task for task in tasks if task["ID"].startswith(prefixes)]


def _swarm(engine: FakeEngineState, found: list[dict[str, Any]] | None) -> Answer:
    dialect = engine.dialect
    if dialect.podman:
        return dialect.no_such_page()
    if found is None:
        return dialect.error(503, 'This node is not a swarm manager. Use "docker swarm init" to create one.')
    return dialect.json(found)


def _subscribe(engine: FakeEngineState, request: Request, api: tuple[int, int]) -> Answer | Subscription:
    moments: dict[str, int | None] = {}
    for name in ("since", "until"):
        text = request.query.get(name, "")
        try:
            moments[name] = moment(text) if text else None
        except ValueError:
            return engine.dialect.error(500, f'strconv.ParseInt: parsing "{text}": invalid syntax')
    filters = _filters(engine, request)
    return Subscription(filters, moments["since"], moments["until"], engine.dialect.podman or api < (1, 52))


def _list(engine: FakeEngineState, request: Request, api: tuple[int, int]) -> Answer:
    filters = _filters(engine, request)
    dialect = engine.dialect
    for name in filters:
        if name not in _KNOWN_FILTERS:
            if dialect.podman:
                raise _BadFilter(dialect.error(500, f"{name} is an invalid filter"))
            raise _BadFilter(dialect.error(400, f"{_case(engine, 'Invalid')} filter '{name}'"))
    for state in sorted(filters.get("status", frozenset())):
        if dialect.podman and (state not in _STATES or state == "dead"):
            raise _BadFilter(dialect.error(500, f"unknown container state: {state}: invalid argument"))
        if state not in _STATES:
            raise _BadFilter(dialect.error(400, f"{_case(engine, 'Invalid')} filter 'status={state}'"))
    limit = request.query.get("limit", "")
    if limit and not limit.lstrip("-").isdecimal():
        return dialect.error(500, f'strconv.Atoi: parsing "{limit}": invalid syntax')
    count = max(0, int(limit or 0))
    every = request.query.get("all", "").lower() in {"1", "true"} or count > 0 or "status" in filters
    found = (it for it in _candidates(engine, filters) if (every or it.alive) and _passes(it, filters))
    with_health = not dialect.podman and api >= (1, 52)
    entries = [engine.summary_bytes(it, with_health=with_health) for it in found]
    return Answer(200, dialect.headers(), b"[" + b",".join(entries[: count or None]) + b"]\n")


def _candidates(engine: FakeEngineState, filters: Filters) -> Iterable[FakeContainer]:
    """Return the containers to filter, in list order: only those with the wanted IDs if these are full IDs."""
    ids = filters.get("id")
    if ids and all(len(wanted) == 64 for wanted in ids):
        return [it for it in map(engine.containers.get, sorted(ids)) if it is not None]
    return engine.in_order()


def _passes(it: FakeContainer, filters: Filters) -> bool:
    for name, values in filters.items():
        match name:
            case "id":
                passes = any(it.id.startswith(value) for value in values)
            case "name":
                passes = any(re.search(value, it.name) or re.search(value, f"/{it.name}") for value in values)
            case "label":
                passes = all(
                    it.labels.get(key) == value if sign else key in it.labels
                    for key, sign, value in (wanted.partition("=") for wanted in values)
                )
            case "status":
                passes = it.state in values
            case "health":
                passes = (it.health or "none") in values
            case "network":
                passes = any(network in values for network in it.networks)
            case _:
                passes = True
        if not passes:
            return False
    return True


def _filters(engine: FakeEngineState, request: Request) -> Filters:
    """Parse the parameter ``filters``, whose values are lists or, in older Docker syntax, maps to booleans."""
    text = request.query.get("filters", "")
    if not text:
        return {}
    try:
        read: Any = msgspec.json.decode(text)
        return {name: frozenset(map(str, values)) for name, values in read.items()}
    except (msgspec.DecodeError, AttributeError, TypeError):
        pass
    dialect = engine.dialect
    go = f"invalid character '{text[:1]}' looking for beginning of value"
    if dialect.podman:
        words = f"failed to decode filter parameters for {request.target}: {go}"
        raise _BadFilter(dialect.error(500, words, go))
    raise _BadFilter(dialect.error(400, "invalid filter") if dialect.modern else dialect.error(500, go))


def _act(engine: FakeEngineState, what: str, it: FakeContainer, wanted: str, query: Mapping[str, str]) -> Answer:
    refusal = _refuse(engine, what, it, wanted, query)
    if refusal is not None:
        return refusal
    acts: dict[str, Callable[[], None]] = {
        "start": lambda: engine.start(it),
        "stop": lambda: engine.stop(it),
        "restart": lambda: engine.restart(it),
        "kill": lambda: engine.kill(it, query.get("signal", "KILL")),
        "pause": lambda: engine.pause(it),
        "unpause": lambda: engine.unpause(it),
    }
    acts[what]()
    return Answer(204, engine.dialect.headers())


def _refuse(
    engine: FakeEngineState, what: str, it: FakeContainer, wanted: str, query: Mapping[str, str]
) -> Answer | None:
    """Return the error if the container's state forbids an operation; ``None`` if the operation is allowed."""
    if (what == "start" and it.state == "running") or (what == "stop" and not it.alive):
        return Answer(304, engine.dialect.headers())
    signal = query.get("signal", "KILL").removeprefix("SIG")
    if engine.dialect.podman:
        return _refuse_as_podman(engine, what, it, signal)
    return _refuse_as_docker(engine, what, it, wanted, signal)


def _refuse_as_podman(engine: FakeEngineState, what: str, it: FakeContainer, signal: str) -> Answer | None:
    improper = "container state improper"
    match what:
        case "kill" if signal not in _SIGNALS:
            words = f"invalid signal: {signal}"
            return engine.dialect.error(500, words, words)
        case "kill" if not it.alive:
            words = f"can only kill running containers. {it.id} is in state {it.state}: {improper}"
        case "pause" if it.state == "paused":
            words = f'"{it.id}" is already paused: {improper}'
        case "pause" if not it.alive:
            words = f'"{it.state}" is not running, can\'t pause: {improper}'
        case "unpause" if it.state != "paused":
            words = f'"{it.id}" is not paused, can\'t unpause: {improper}'
        case _:
            return None
    return engine.dialect.error(500, words)


def _refuse_as_docker(engine: FakeEngineState, what: str, it: FakeContainer, wanted: str, signal: str) -> Answer | None:
    dialect = engine.dialect
    named, cannot = _case(engine, "Container"), _case(engine, "Cannot")
    match what:
        case "kill" if signal not in _SIGNALS:
            words = f"cannot kill container: {wanted}: invalid signal: {signal}"
            return dialect.error(400, words if dialect.modern else f"Invalid signal: {signal}")
        case "kill" if not it.alive:
            return dialect.error(409, f"{cannot} kill container: {wanted}: {named} {it.id} is not running")
        case "start" if it.state == "paused":
            return dialect.error(409, "cannot start a paused container, try unpause instead")
        case "pause" if it.state == "paused":
            return dialect.error(409, f"Container {it.id} is already paused")
        case "pause" if not it.alive:
            return dialect.error(409, f"{named} {it.id} is not running")
        case "unpause" if it.state != "paused":
            return dialect.error(500, f"Container {it.id} is not paused")
    return None


def _case(engine: FakeEngineState, word: str) -> str:
    """Return a message's first word as the engine writes it: older Docker versions capitalize it."""
    return word.lower() if engine.dialect.modern else word
