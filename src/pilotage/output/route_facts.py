"""Lists the facts about one route: its target, its health check, and every setting with its source. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.secrets import SHOWN, clean_value, redact, shown_name
from pilotage.core.text import format_duration, shorten
from pilotage.core.yaml import Located, bare
from pilotage.output.facts import Fact, Source
from pilotage.routes.schema import ROUTE
from pilotage.routes.target import BY_FILE, BY_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pilotage.containers.container import Container
    from pilotage.core.secrets import Visibility
    from pilotage.labels.merge import AliasFields
    from pilotage.routes.file import RouteFile
    from pilotage.routes.route import Route
    from pilotage.routes.target import Target

__all__ = ["file_route_facts", "route_facts"]

_ASSIGNED: Final = "no listening port is set, so one is assigned"
_SHARES_TLS: Final = "speaks HTTPS if the gateway serves HTTPS, otherwise HTTP"


def route_facts(
    container: Container, route: Route, labels: AliasFields, target: Target, visible: Visibility = ROUTE.visible
) -> Iterator[Fact]:
    """Yield the facts about a container's route.

    Args:
        container: the container.
        route: the route.
        labels: the decoded labels of the route's alias.
        target: its target, with the reasons for scheme, host and port.
        visible: which parts of the settings may be shown, because they are not secret.

    """
    fields = labels.fields
    overridden: dict[str, list[Source]] = {}
    for override in labels.overridden:
        loser = _source(override.loser, visible.at(override.path.split(".")))
        overridden.setdefault(override.path, []).insert(0, loser)
    if route.alias not in container.aliases:
        yield Fact("alias", route.alias, "added by the labels below; not in the container's own aliases")
    shown = set()
    for path, fact in _target(container, route, fields, target):
        shown.add(path)
        yield msgspec.structs.replace(fact, instead_of=tuple(overridden.get(path, ()))) if fact.source else fact
    if route.listen:
        yield _listen(route)
    yield from _common_profile(route)
    if route.health_check:
        yield _health_check(route, container)
    errors = (problem for problem in route.problems if problem.severity == "error" and not problem.refused)
    invalid = {(problem.label, problem.path) for problem in errors}
    for path, leaf, inner in _leaves(fields, visible):
        if path not in shown and not any((leaf.source, part) in invalid for part in _prefixes(path)):
            yield _setting(path, leaf, inner, overridden.get(path, ()))


def file_route_facts(
    route: Route, file: RouteFile, target: Target, visible: Visibility = ROUTE.visible
) -> Iterator[Fact]:
    """Yield the facts about a route in a file. ``target`` and ``visible`` are as in :func:`route_facts`."""
    fields = file.fields.get(route.alias, {})
    shown = set()
    for name, value, reason in _target_values(route, route.host, target):
        leaf = fields.get(name)
        if leaf is not None and reason.startswith(BY_FILE):
            shown.add(name)
            yield Fact(name, value, "", _source(leaf, visible.at((name,)), file.name))
        else:
            yield Fact(name, value, reason)
    if route.agent:
        yield Fact("path", f"gateway → agent {clean_value(route.agent)} → {route.host}", "over mutual TLS to the agent")
    if route.listen:
        yield _listen(route)
    yield from _common_profile(route)
    if route.health_check:
        yield _health_check(route)
    invalid = {problem.path for problem in route.problems if problem.severity == "error"}
    for path, leaf, inner in _leaves(fields, visible):
        if path.partition(".")[0] not in shown and invalid.isdisjoint(_prefixes(path)):
            yield _setting(path, leaf, inner, (), file.name)


def _target_values(route: Route, host: str, target: Target) -> list[tuple[str, str, str]]:
    """Return name, value and reason of scheme, host and port. The scheme ``fileserver`` has no host or port."""
    scheme = ("scheme", route.scheme, target.scheme_reason)
    if route.scheme == "fileserver":
        return [scheme]
    return [scheme, ("host", host, target.host_reason), ("port", str(route.port.proxy), target.port_reason)]


def _target(
    container: Container, route: Route, fields: dict[str, Located], target: Target
) -> Iterator[tuple[str, Fact]]:
    """Yield the facts scheme, host and port, each with the path of the field that sets it, or ``""``."""
    for name, value, reason in _target_values(route, route.host or "-", target):
        leaf, path = fields.get(name), name
        if leaf is not None and isinstance(leaf.value, dict):
            leaf, path = leaf.value.get("proxy"), f"{name}.proxy"
        if leaf is not None and reason.startswith(BY_LABEL):
            why = reason.removeprefix(BY_LABEL).removeprefix("; ")
            yield path, Fact(name, value, why, _source(leaf, ROUTE.visible.at(path.split("."))))
        elif name == "host" and container.is_host_network_mode:
            yield "", Fact(name, value, "the engine's host, because the container uses the host network")
        else:
            yield "", Fact(name, value, reason)


def _listen(route: Route) -> Fact:
    if route.is_stream:
        return Fact("listen", route.place, "" if route.port.listening else _ASSIGNED)
    return Fact("listen", route.place, _SHARES_TLS if route.port.listening else "")


def _common_profile(route: Route) -> Iterator[Fact]:
    name = route.settings.inbound_mtls_profile
    if name and "inbound_mtls_profile" not in route.labelled:
        yield Fact("inbound_mtls_profile", name, "entrypoint.inbound_mtls_profile requires it of all routes")


def _health_check(route: Route, container: Container | None = None) -> Fact:
    if container is not None and container.docker_health:
        return Fact("health check", "run by the engine", f"reports {container.health}")
    check = route.settings.healthcheck
    probe = f"{'GET' if check.use_get else 'HEAD'} {redact(check.path, SHOWN)}" if not route.is_stream else "connect"
    value = f"{probe} every {format_duration(check.interval)}"
    if "healthcheck" in route.labelled:
        return Fact("health check", value, "UDP is not probed" if route.scheme == "udp" else "")
    return Fact("health check", value, "defaults" if route.probed else "not probed: no label enables it")


def _setting(path: str, leaf: Located, visible: Visibility, overridden: Iterable[Source], file: str = "") -> Fact:
    source = _source(leaf, visible, file)
    return Fact(".".join(map(_shown, path.split("."))), source.value, "", source, tuple(overridden))


def _shown(name: str) -> str:
    return name if name in ROUTE.fields else shown_name(name)


def _prefixes(path: str) -> Iterator[str]:
    """Yield a dotted path and every path above it."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def _leaves(
    fields: dict[str, Located], visible: Visibility, prefix: str = ""
) -> Iterator[tuple[str, Located, Visibility]]:
    """Yield path, value and visibility of each value, by path. An empty or entirely hidden mapping is one value."""
    for name in sorted(fields):
        value, path, inner = fields[name], f"{prefix}{name}", visible.at((name,))
        if isinstance(value.value, dict) and value.value and (inner.fields or inner.names or inner.everything):
            yield from _leaves(value.value, inner, f"{path}.")
        else:
            yield path, value, inner


def _source(value: Located, visible: Visibility, file: str = "") -> Source:
    return Source(_one_line(redact(bare(value), visible)), value.source, value.line, value.column, file)


def _one_line(plain: Any) -> str:
    return shorten(plain if isinstance(plain, str) else msgspec.json.encode(plain).decode())
