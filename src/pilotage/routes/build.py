"""From a container to its routes (LABELS II.6, decisions 10 to 12, 18, 19, 22, 24).

What is wrong is reported and touches only the route it is about. A route that must not be served stays visible,
excluded, with the reason.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.compose import PROJECT, SERVICE
from pilotage.core.problems import Problem
from pilotage.core.suggest import nearest
from pilotage.core.yaml import Located
from pilotage.labels.decode import Fault, LabelTree, read_labels
from pilotage.labels.keys import label_shape
from pilotage.routes.exclusion import ExclusionReason, exclusion
from pilotage.routes.fields import FieldContext
from pilotage.routes.route import Endpoint, EndpointState, Route
from pilotage.routes.schema import PROTECTIVE, ROUTE, RouteSettings, fold
from pilotage.routes.target import resolve_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pilotage.containers.container import Container
    from pilotage.routes.target import Target

__all__ = ["RESERVED_PORTS", "Built", "build_routes", "default_bind", "read_settings", "refuse_impossible", "reserved"]

RESERVED_PORTS: Final = frozenset({80, 443, 8888})
"""Ports of the proxy itself, to which no route on its own host may lead (LABELS II.6.6)."""

_DEFAULT: Final = RouteSettings()


class Built(msgspec.Struct, frozen=True):
    """What came of one container.

    Attributes:
        routes: one for each alias, excluded ones too.
        problems: everything that is wrong with the container, its labels and its routes.

    """

    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = ()


NOTHING: Final = Built()


def build_routes(
    container: Container, *, explicit_only: bool | None = None, reserved_ports: frozenset[int] = RESERVED_PORTS
) -> Built:
    """Build the routes of a container.

    Args:
        container: from :func:`pilotage.from_docker`.
        explicit_only: containers without labels of ours get no routes; by default where the provider's (or the agent's)
            name ends in ``!``.
        reserved_ports: ports of this host that belong to the proxy.

    Returns:
        Its routes and problems. Never raises.

    """
    if not container.container_name and not container.errors:
        return NOTHING  # it is being removed (decision 26)
    problems = [*container.errors, *container.problems]
    if container.errors:
        return Built((), tuple(problems))
    if not container.is_explicit:
        if explicit_only is None:
            explicit_only = (container.agent or container.provider).endswith("!")
        if explicit_only:
            return NOTHING
    shape = label_shape(container.labels, container.aliases)
    asked = _plans.get(shape) if shape is not None else None
    aliases: Iterable[str] = container.aliases
    if asked is None:
        tree = read_labels(container.labels, container.aliases, ROUTE)
        where = {"provider": container.provider, "container": container.container_name}
        problems += [problem.at(**where) for problem in tree.problems]
        if tree.fields.keys() - container.aliases:
            _find_forgotten_aliases(tree, container.aliases)
        aliases = tree.fields
        asked = [_read(tree, alias) for alias in aliases]
        if shape is not None and not tree.problems and all(each.is_plain for each in asked):
            _remember(shape, asked)
    routes = []
    for alias, each in zip(aliases, asked, strict=True):
        route = _build(container, alias, each, reserved_ports)
        routes.append(route)
        problems += route.problems
    return Built(tuple(routes), tuple(_once(problems)) if problems else ())


class _Asked(msgspec.Struct, frozen=True):
    """What the labels ask of one alias.

    Attributes:
        reading: what was wrong with it; ``None`` if nothing.
        fields: the values as they were written, for what can only be judged with the target at hand.
        is_plain: nothing was wrong, and nothing is left to be judged.

    """

    settings: RouteSettings
    labelled: tuple[str, ...] = ()
    reading: FieldContext | None = None
    fields: dict[str, Located] = {}
    is_plain: bool = False


_UNASKED: Final = _Asked(RouteSettings(), is_plain=True)


def _read(tree: LabelTree, alias: str) -> _Asked:
    """Read what a tree of labels asks of one alias."""
    fields, faults = tree.fields[alias], tree.faults.get(alias, ())
    if not fields and not faults:
        return _UNASKED
    settings, labelled, reading = read_settings(fields, faults)
    judged_later = settings.healthcheck.disable or settings.relay_proxy_protocol_header or settings.tls_termination
    is_plain = not (reading.problems or reading.fatal or judged_later or settings.scheme == "fileserver")
    return _Asked(settings, labelled, reading, fields, is_plain)


_plans: dict[tuple[int, frozenset[tuple[str, ...]]], list[_Asked]] = {}
_MOST_PLANS: Final = 4096


def _remember(shape: tuple[int, frozenset[tuple[str, ...]]], asked: list[_Asked]) -> None:
    if len(_plans) >= _MOST_PLANS:
        _plans.clear()
    _plans[shape] = [_Asked(each.settings, each.labelled, is_plain=True) for each in asked]


def _find_forgotten_aliases(tree: LabelTree, listed: Sequence[str]) -> None:
    """Take ``proxy.middlewares.cidr_whitelist`` for the field that it was meant to be, not for a route of that name.

    Only for protective fields, and where nothing speaks for a route: the listed ones must not be open without them.
    """
    for alias in [alias for alias in tree.fields if alias not in listed and ROUTE.canonical(alias) in PROTECTIVE]:
        own = {name: value for name, value in tree.fields[alias].items() if not value.source.startswith("proxy.*")}
        if not own or any(map(ROUTE.canonical, own)):
            continue
        label = next(iter(own.values())).source
        problem = Problem(
            message=f"{alias} is a field, and the alias before it is missing",
            hint=f"write proxy.{listed[0]}.{alias}, or proxy.*.{alias} for all aliases",
            label=label,
        )
        del tree.fields[alias]
        for owner in listed:
            tree.faults.setdefault(owner, []).append(Fault(problem, ROUTE.canonical(alias) or ""))


def read_settings(
    fields: dict[str, Located], faults: Iterable[Fault] = ()
) -> tuple[RouteSettings, tuple[str, ...], FieldContext]:
    """Read the fields of one route, with what was wrong before they could be read.

    Returns:
        The settings, the names of those that are set, and the reading with every problem; its ``fatal`` says that the
        route must not be served.

    """
    reading = FieldContext()
    for fault in faults:
        reading.problems.append(fault.problem)
        if fault.field in PROTECTIVE or (not fault.field and _may_protect(fault.text)):
            reading.fatal = True
    if not fields:
        return _DEFAULT, (), reading
    found = ROUTE.read_fields(fields, reading)
    settings = RouteSettings(**found)
    _check(settings, fields, reading)
    return settings, tuple(found), reading


def _may_protect(text: str) -> bool:
    """Tell whether a label that cannot be read may have set a protective field: it must not mean "open to all"."""
    words = {fold(word) for word in re.findall(r"[A-Za-z_]+", text)}
    if not words.isdisjoint(fold(name) for name in PROTECTIVE):
        return True
    keys = set(re.findall(r"([A-Za-z_]+)[\"']?\s*:", text))
    return any(nearest(key, ROUTE.fields) in PROTECTIVE for key in keys if not ROUTE.canonical(key))


def _check(settings: RouteSettings, fields: dict[str, Located], to: FieldContext) -> None:
    """Check what only shows with all fields at hand; each fault takes the route out of service (LABELS II.6.6)."""

    def refuse(field: str, message: str, hint: str = "") -> None:
        to.path = field
        to.fault(fields[field], message, hint)
        to.fatal = True

    if "inbound_mtls_profile" in fields and settings.inbound_mtls_profile:
        refuse("inbound_mtls_profile", f"there is no inbound mTLS profile {settings.inbound_mtls_profile!r}")
    if settings.rules and settings.rule_file:
        refuse("rule_file", "rules and rule_file exclude each other", "keep one of them")
    if bool(settings.ssl_certificate) is not bool(settings.ssl_certificate_key):
        given, missing = ("ssl_certificate", "ssl_certificate_key")
        if not settings.ssl_certificate:
            given, missing = missing, given
        refuse(given, f"{missing} is required when {given} is specified")
    to.path = ""


def _build(container: Container, alias: str, asked: _Asked, reserved_ports: frozenset[int]) -> Route:
    settings, reading, fields = asked.settings, asked.reading, asked.fields
    target = resolve_target(alias, container, settings)
    found = None
    if reading is not None:
        found = reading.problems
        refuse_impossible(target, settings, fields, reading)
    reason = exclusion(container, alias, target)
    own = None if reason or container.agent else reserved(target, reserved_ports)
    if own:
        found = [*(found or ()), own]
    fatal = own is not None or (reading is not None and reading.fatal)
    health = settings.healthcheck
    if health.disable and not container.docker_health and (settings.load_balance.link or container.idles):
        needer = "the idle watcher" if container.idles else "a load-balanced pool"
        source = fields["healthcheck"].source
        found = [
            *(found or ()),
            Problem(
                message=f"cannot disable the health check, which {needer} needs",
                hint="remove healthcheck.disable",
                label=source,
                path="healthcheck.disable",
            ),
        ]
        fatal = True
    if fatal:
        reason = ExclusionReason.ERROR
    elif reason is ExclusionReason.NO_PORT and container.ports_unknown:
        message = f"no port is known for it: {container.ports_unknown}"
        unknown = Problem(message=message, severity="warning", hint=f"set the label proxy.{alias}.port")
        found = [*(found or ()), unknown]
    if found:
        where = {"provider": container.provider, "container": container.container_name, "route": alias}
        found = [problem.at(**where) for problem in found]
    labels = container.actual_labels
    service = labels.get(SERVICE)
    if reason or not target.host or target.scheme == "fileserver":
        endpoints: tuple[Endpoint, ...] = ()
    else:
        endpoints = (
            Endpoint(
                target.host,
                target.port.proxy,
                container.container_name,
                container.container_id,
                _STATES.get(container.health, "ready"),
            ),
        )
    return Route(
        alias=alias,
        provider=container.provider,
        container=container.container_name,
        container_id=container.container_id,
        created=container.created,
        service=(container.provider, labels.get(PROJECT, ""), service) if service else (),
        scheme=target.scheme,
        host=target.host,
        port=target.port,
        bind=default_bind(target, settings),
        endpoints=endpoints,
        excluded=bool(reason),
        excluded_reason=reason or "",
        health_check=not reason and _is_probed(container, settings),
        idle_watcher=container.idles,
        settings=settings,
        labelled=asked.labelled,
        problems=tuple(found or ()),
    )


def default_bind(target: Target, settings: RouteSettings) -> str:
    """Return the address that the proxy listens on, ``""`` for the shared listeners."""
    return settings.bind or ("0.0.0.0" if target.scheme in ("tcp", "udp") else "")  # noqa: S104


_STATES: Final[dict[str, EndpointState]] = {"starting": "waiting", "unhealthy": "unhealthy"}


def refuse_impossible(target: Target, settings: RouteSettings, fields: dict[str, Located], to: FieldContext) -> None:
    """Refuse settings that the target's scheme rules out (LABELS II.6.6)."""
    scheme = target.scheme
    faults: list[tuple[str, str, str]] = []
    if scheme == "fileserver" and not settings.root.startswith("/"):
        named = "root" if "root" in fields else "scheme"
        faults.append((named, "a file server needs root, an absolute path", "write root: /srv/www"))
    if scheme != "tcp":
        only_tcp = ("relay_proxy_protocol_header", "tls_termination")
        asked = [field for field in only_tcp if getattr(settings, field)]
        faults += [(field, f"only for scheme tcp, not {scheme}", "set scheme to tcp, or remove it") for field in asked]
    for field, message, hint in faults:
        to.path = field
        to.fault(fields[field], message, hint)
        to.fatal = True


def reserved(target: Target, reserved_ports: frozenset[int]) -> Problem | None:
    """Refuse a route that would lead the proxy back to itself (LABELS II.6.6)."""
    if not _is_own(target.host) or target.port.proxy not in reserved_ports or target.scheme in ("udp", "fileserver"):
        return None
    return Problem(
        message=f"{target.host}:{target.port.proxy} is reserved for the proxy itself",
        hint="give the container's own port or host",
    )


def _is_own(host: str) -> bool:
    """Tell whether a host is this very machine, as one would write it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_probed(container: Container, settings: RouteSettings) -> bool:
    """Tell whether a served route's target is probed (LABELS II.6.6)."""
    if container.image.name == "godoxy-agent":
        return False
    return container.docker_health or not settings.healthcheck.disable


def _once(problems: list[Problem]) -> list[Problem]:
    """Drop repetitions: a fault in a wildcard label shows at every alias."""
    if len(problems) < 2:
        return problems
    seen: dict[tuple[object, ...], Problem] = {}
    for problem in problems:
        key = (problem.label, problem.path, problem.message, problem.line, problem.column) if problem.label else problem
        seen.setdefault(key if isinstance(key, tuple) else (key,), problem)
    return list(seen.values())
