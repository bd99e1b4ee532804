"""Builds the routes of a container. Pure.

An error affects only one route. A route that must not be served stays visible as excluded, with the reason. Rules:
LABELS II.6, decisions 10 to 12, 18, 19, 22, 24.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.containers.swarm import SERVICE_NAME
from pilotage.core.budget import MAX_PROBLEMS, container_budget
from pilotage.core.problems import Problem
from pilotage.engine.config import is_explicit_only
from pilotage.labels.decode import decode
from pilotage.labels.keys import filter_labels, fingerprint
from pilotage.policy import NO_POLICY, Claimant
from pilotage.routes.claims import STREAMS, ContainerClaims
from pilotage.routes.exclusion import ExclusionReason, exclusion
from pilotage.routes.fields import problem_at
from pilotage.routes.problems import Unplaced, limited, place, sleepless, unexpected, unique, unknown_port
from pilotage.routes.reach import check_reach, is_own_address, nowhere
from pilotage.routes.route import Endpoint, EndpointState, Route
from pilotage.routes.schema import ROUTE, ROUTE_KEYS, RouteSettings
from pilotage.routes.settings import AliasSettings, read_all_settings
from pilotage.routes.support import Costs, supported
from pilotage.routes.target import resolve_target

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from pilotage.containers.container import Container
    from pilotage.labels.decode import DecodedLabels
    from pilotage.labels.key_schema import KeySchema
    from pilotage.labels.keys import OwnLabels
    from pilotage.policy import Policy
    from pilotage.policy.target_addresses import Reach
    from pilotage.routes.target import Target

__all__ = [
    "RESERVED_PORTS",
    "Built",
    "RouteBuilder",
    "build_routes",
    "check_target",
    "decode_labels",
    "default_bind",
    "make_route",
]

RESERVED_PORTS: Final[frozenset[int]] = frozenset()
"""Default ports of the proxy: none, because only the configuration says which ports it uses (decision 38)."""

_MAX_CACHED: Final = 4096
_MAX_PLACED: Final = 2_000  # problems of all routes of a container together; each route keeps at least one


class Built(msgspec.Struct, frozen=True):
    """The routes of one container.

    Attributes:
        routes: the route of each alias, including excluded routes.
        problems: all problems with the container, its labels and its routes.

    """

    routes: tuple[Route, ...] = ()
    problems: tuple[Problem, ...] = ()


NOTHING: Final = Built()


def build_routes(
    container: Container,
    *,
    explicit_only: bool | None = None,
    reserved_ports: frozenset[int] = RESERVED_PORTS,
    policy: Policy = NO_POLICY,
) -> Built:
    """Build the routes of one container. For many containers, :class:`RouteBuilder` is faster.

    Args:
        container: from :func:`pilotage.from_docker`.
        explicit_only: create no routes for containers without pilotage labels. By default, the name of the provider (or
            the agent) decides: true if it ends in ``!``.
        reserved_ports: ports on this host that belong to the proxy.
        policy: what the container may claim.

    Returns:
        Its routes and problems. Never raises.

    """
    builder = RouteBuilder(explicit_only=explicit_only, reserved_ports=reserved_ports, policy=policy)
    return builder.build(container)


def decode_labels(container: Container, schema: KeySchema = ROUTE_KEYS) -> DecodedLabels:
    """Return the fields that the labels of a container set for each alias."""
    return decode(_own_labels(container), container.aliases, schema)


def _own_labels(container: Container) -> OwnLabels:
    return filter_labels(container.labels) if container.own_labels is None else container.own_labels


class RouteBuilder:
    """Builds the routes of containers. It caches the settings of equivalent label sets.

    Args:
        schema: keys below an alias.
        explicit_only: create no routes for containers without pilotage labels. By default, the name of the provider (or
            the agent) decides: true if it ends in ``!``.
        reserved_ports: ports on this host that belong to the proxy.
        policy: what containers may claim.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.

    """

    def __init__(
        self,
        *,
        schema: KeySchema = ROUTE_KEYS,
        explicit_only: bool | None = None,
        reserved_ports: frozenset[int] = RESERVED_PORTS,
        policy: Policy = NO_POLICY,
        is_local: Callable[[str], bool] = nowhere,
    ) -> None:
        self.schema = schema
        self.explicit_only = explicit_only
        self.reserved_ports = reserved_ports
        self.policy = policy
        self.is_local = is_local
        self._asks = policy.has_rules
        self._settings: dict[Hashable, tuple[AliasSettings, ...]] = {}

    def build(self, container: Container) -> Built:
        """Build the routes of one container. Never raises: an unexpected exception becomes a problem."""
        try:
            return self._build(container)
        except Exception as error:  # noqa: BLE001  # one container's labels must not affect other containers
            return Built((), (place(unexpected(error), container),))

    def _build(self, container: Container) -> Built:
        if container.errors:
            return Built((), (*container.errors, *container.problems))
        if not container.container_name:
            return NOTHING  # it is being removed (decision 26)
        if not container.is_explicit and self._is_explicit_only(container):
            return NOTHING
        aliases, settings, label_problems, dropped = self._settings_of(container)
        problems = [*container.problems, *label_problems]
        most = max(1, _MAX_PLACED // len(settings)) if settings else 0
        claims: ContainerClaims | None = None
        routes, costs = [], Costs()
        unplaced = Unplaced()
        for alias, mine in zip(aliases, settings, strict=True):
            target = resolve_target(alias, container, mine.settings)
            reach, refusal = None, None
            if target.port.proxy in self.reserved_ports or not is_own_address(container, target):
                reach, refusal = self._check_reach(container, target)
            listens = target.scheme in STREAMS or target.port.listening or mine.settings.bind
            asks = self._asks or listens or not mine.is_plain or mine.settings.rules
            if claims is None and asks:
                claims = ContainerClaims(container, self.policy, self.reserved_ports)
            route = make_route(
                container, alias, mine, target,
                reach=reach, refusal=refusal, claims=claims, most=most, unplaced=unplaced,
            )  # fmt: skip
            if self.policy.gateway is not None:
                route = supported(route, container, self.policy.gateway, decode_labels, most=most, costs=costs)
            routes.append(route)
            if route.problems:
                problems += route.problems
        if container.idles:
            problems += sleepless(container, routes)
        if not problems:
            return Built(tuple(routes))
        problems, more = unique(problems, unplaced.identities)
        return Built(tuple(routes), limited(problems, dropped + more, container))

    def _check_reach(self, container: Container, target: Target) -> tuple[Reach | None, Problem | None]:
        if not target.host or not target.port.proxy:
            return None, None
        return check_reach(container, target, self.policy, reserved_ports=self.reserved_ports, is_local=self.is_local)

    def _is_explicit_only(self, container: Container) -> bool:
        if self.explicit_only is not None:
            return self.explicit_only
        return is_explicit_only(container.agent or container.provider)

    def _settings_of(
        self, container: Container
    ) -> tuple[Iterable[str], Sequence[AliasSettings], Sequence[Problem], int]:
        """Return a container's aliases, the settings of each, other problems, and the number of dropped problems."""
        own = _own_labels(container)
        key = fingerprint(own, container.aliases)
        cached = self._settings.get(key) if key is not None else None
        if cached is not None:
            return container.aliases, cached, (), 0
        budget = container_budget()
        decoded = decode(own, container.aliases, self.schema, budget)
        settings = read_all_settings(decoded.routes, budget)
        if key is not None and not decoded.problems and all(mine.is_plain for mine in settings):
            if len(self._settings) >= _MAX_CACHED:
                self._settings.clear()
            self._settings[key] = settings
        problems = [place(problem, container) for problem in decoded.problems]
        return [fields.alias for fields in decoded.routes], settings, problems, budget.dropped


def make_route(
    container: Container,
    alias: str,
    settings: AliasSettings,
    target: Target,
    *,
    reach: Reach | None = None,
    refusal: Problem | None = None,
    claims: ContainerClaims | None = None,
    most: int = MAX_PROBLEMS,
    unplaced: Unplaced | None = None,
) -> Route:
    """Make the route of one alias.

    Args:
        container: the container that the alias belongs to.
        alias: the route's alias, lower-cased.
        settings: from :func:`pilotage.routes.settings.read_settings`.
        target: from :func:`pilotage.routes.target.resolve_target`.
        reach: the container's own addresses, against which a host name's addresses are checked once it is resolved.
        refusal: why the route may not point to its target; ``None`` if it may. ``refusal`` and ``reach`` come from
            :func:`pilotage.routes.reach.check_reach`.
        claims: asks the policy about the route's other claims; ``None`` if the policy refuses no such claims.
        most: maximum number of problems to keep.
        unplaced: receives the problems that are not kept.

    """
    reason = exclusion(container, alias, target)
    problems: Sequence[Problem] = ()
    folders: tuple[str, ...] = ()
    if claims is not None:
        settings, folders = claims.permitted(alias, settings)
    may_fail = claims is not None or refusal is not None or not settings.is_plain or container.unreachable is not None
    if may_fail or (reason and container.ports_unknown):
        reason, found = _judge(
            container, settings, target, reason, alias=alias, refusal=refusal, claims=claims, most=most
        )
        problems = [place(problem, container, alias) for problem in found[:most]]
        if unplaced is not None and len(found) > most:
            unplaced.add(found[most:], alias)
    return Route(  # by position, because keywords would double the time for this many fields
        alias,
        container.docker_cfg.name,
        container.container_name,
        container.container_id,
        container.created,
        _service(container),
        target.scheme,
        target.host,
        target.port,
        default_bind(target, settings.settings, claims.policy.addresses if claims is not None else ()),
        () if reason else _endpoints(container, target, reach),
        reason is not None,
        reason or "",
        reason is None and _is_probed(container, settings.settings),
        container.idles,
        settings.settings,
        settings.labelled,
        False,  # noqa: FBT003  # contested: the table decides
        tuple(problems),
        _claimant(container, claims, settings.settings),
        folders,
        container.docker_cfg.agent if container.agent else "",
    )


def _judge(
    container: Container,
    settings: AliasSettings,
    target: Target,
    reason: ExclusionReason | None,
    *,
    alias: str,
    refusal: Problem | None,
    claims: ContainerClaims | None,
    most: int,
) -> tuple[ExclusionReason | None, list[Problem]]:
    """Return why a route is not served (or ``None``), and all its problems, those that exclude it first."""
    errors = check_target(settings, target)
    if reason is None and refusal is not None:
        errors.append(refusal)
    if claims is not None and reason is None and not (settings.refused or errors):
        errors += claims.refusals(alias, settings.settings, target)
    if (needed := _needed_health_check(container, settings)) is not None:
        errors.append(needed)
    if container.unreachable is not None and _lacks_address(reason, target):
        errors.append(container.unreachable)
    problems = [*errors, *settings.problems] if len(settings.problems) >= most else [*settings.problems, *errors]
    if settings.refused or errors:
        reason = ExclusionReason.ERROR
    elif reason is ExclusionReason.NO_PORT and container.ports_unknown:
        problems.append(unknown_port(container, alias))
    return reason, problems


def _lacks_address(reason: ExclusionReason | None, target: Target) -> bool:
    return reason is ExclusionReason.NO_PORT or (reason is None and not target.host)


def _claimant(container: Container, claims: ContainerClaims | None, settings: RouteSettings) -> Claimant | None:
    """Return the claimant for the table to pass to the policy; ``None`` if the table can derive it from the route."""
    if claims is not None and claims.policy.has_rules:
        return claims.claimant.without_rule()
    if settings.load_balance.link and container.compose_project and not container.compose_service:
        name = container.container_name
        return Claimant(engine=container.provider.removesuffix("!"), project=container.compose_project, container=name)
    return None


def _service(container: Container) -> tuple[str, ...]:
    if not container.compose_service:
        task_of = container.actual_labels.get(SERVICE_NAME, "")
        return (container.provider, "", task_of) if task_of else ()
    return container.provider, container.compose_project, container.compose_service


_STATES: Final[dict[str, EndpointState]] = {"starting": "waiting", "unhealthy": "unhealthy"}


def _endpoints(container: Container, target: Target, reach: Reach | None) -> tuple[Endpoint, ...]:
    if not target.host or target.scheme == "fileserver":
        return ()
    state = _STATES.get(container.health, "ready")
    return (Endpoint(target.host, target.port.proxy, container.container_name, container.container_id, state, reach),)


def _is_probed(container: Container, settings: RouteSettings) -> bool:
    """Return whether the target of a route is probed while the route is served (LABELS II.6.6)."""
    if "godoxy-agent" in container.image_reference and container.image_name == "godoxy-agent":
        return False
    return container.docker_health or not settings.healthcheck.disable


def default_bind(target: Target, settings: RouteSettings, addresses: tuple[str, ...] = ()) -> str:
    """Return the address on which the proxy listens; ``""`` for those of the shared listeners.

    Args:
        target: the route's target.
        settings: the route's settings.
        addresses: the gateway's addresses; routes with a port of their own listen on the first.

    """
    is_stream = target.scheme in STREAMS
    if settings.bind or not (is_stream or target.port.listening):
        return settings.bind
    return addresses[0] if addresses else "0.0.0.0" if is_stream else ""  # noqa: S104


# ---- problems that depend on the target ----------------------------------------------------------------------------


def check_target(settings: AliasSettings, target: Target) -> list[Problem]:
    """Return errors for settings that are not allowed with the target's scheme (LABELS II.6.6)."""
    written = settings.judged_later
    if not written and target.scheme != "fileserver":
        return []
    errors = []
    if target.scheme == "fileserver" and not settings.settings.root.startswith("/"):
        field = "root" if "root" in written else "scheme"
        message = "a file server needs root, an absolute path"
        visible = ROUTE.visible.at((field,))
        errors.append(problem_at(written[field], field, message, "write root: /srv/www", visible=visible))
    if target.scheme != "tcp":
        message, hint = f"only for scheme tcp, not {target.scheme}", "set scheme to tcp, or remove it"
        errors += [
            problem_at(written[field], field, message, hint, visible=ROUTE.visible.at((field,)))
            for field in ("relay_proxy_protocol_header", "tls_termination")
            if field in written
        ]
    return errors


def _needed_health_check(container: Container, settings: AliasSettings) -> Problem | None:
    """Return an error if labels disable a health check that the route needs."""
    if not settings.settings.healthcheck.disable or container.docker_health:
        return None
    if not (settings.settings.load_balance.link or container.idles):
        return None
    needer = "the idle watcher" if container.idles else "a load-balanced pool"
    return Problem(
        message=f"cannot disable the health check, which {needer} needs",
        hint="remove healthcheck.disable",
        label=settings.judged_later["healthcheck"].source,
        path="healthcheck.disable",
    )
