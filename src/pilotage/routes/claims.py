"""Asks the policy about everything that a container's routes claim. Pure.

A route with a refused claim is not served, because without the refused setting, it could be open to the wrong clients.
Rules: decisions 31 to 35.
"""

from __future__ import annotations

import posixpath
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.labels.decode import decode
from pilotage.labels.keys import filter_labels
from pilotage.policy import Claimant, Kind, Verdict, claimant_of
from pilotage.routes.exclusion import exclusion
from pilotage.routes.fields import problem_at
from pilotage.routes.middlewares import middleware_name
from pilotage.routes.paths import named_paths
from pilotage.routes.reach import is_own_address, judge_reach, nowhere, reach_of, reserved_target
from pilotage.routes.rules import address_of, places, read_rules
from pilotage.routes.schema import ROUTE_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.containers.container import Container
    from pilotage.labels.decode import DecodedLabels
    from pilotage.policy import Policy
    from pilotage.routes.schema import RouteSettings
    from pilotage.routes.settings import AliasSettings
    from pilotage.routes.target import Target

__all__ = ["STREAMS", "Claim", "ContainerClaims", "rule_claims"]

STREAMS: Final = frozenset({"tcp", "udp"})
_LOG: Final = "access_log"
_ROOT: Final = ("root",)
_RULES: Final = ("rules",)


class Claim(msgspec.Struct, frozen=True):
    """One claim of a route.

    Attributes:
        kind: ``hosts``, ``targets``, ``ports``, ``files``, ``middlewares`` or ``pools``.
        value: what is claimed.
        names: path of the field that makes the claim, outermost name first; empty if the alias makes it.
        verdict: whether the policy allows it.

    """

    kind: Kind
    value: str
    names: tuple[str, ...]
    verdict: Verdict


def rule_claims(rules: Any, claimant: Claimant, policy: Policy) -> Iterator[Claim]:
    """Yield the claims to the addresses and folders to which rules send requests, with the policy's verdicts.

    Args:
        rules: the field ``rules``.
        claimant: the container.
        policy: decides about the claims.

    """
    for command, (argument, *_) in places(read_rules(rules)):
        if command != "proxy":
            folder = argument if command == "serve" else posixpath.dirname(argument)
            yield Claim("files", folder, _RULES, policy.may_publish(claimant, folder))
            continue
        host, port = address_of(argument)
        verdict = policy.may_reach(claimant, host, port)
        hint = verdict.hint.replace("the host label", "the rule")
        yield Claim("targets", f"{host}:{port}", _RULES, msgspec.structs.replace(verdict, hint=hint))


class ContainerClaims:
    """Finds the claims of one container, and asks the policy about them.

    Args:
        container: the container.
        policy: decides about the claims.
        reserved_ports: ports on this host that belong to the proxy.

    """

    def __init__(self, container: Container, policy: Policy, reserved_ports: frozenset[int]) -> None:
        self.container = container
        self.policy = policy
        self.reserved_ports = reserved_ports

    @cached_property
    def claimant(self) -> Claimant:
        """The container, in the form that the policy's rules match."""
        return self.policy.identify(claimant_of(self.container))

    @cached_property
    def _decoded(self) -> DecodedLabels:
        """The labels, decoded again to get the positions for problems with refused claims."""
        own = self.container.own_labels
        return decode(filter_labels(self.container.labels) if own is None else own, self.container.aliases, ROUTE_KEYS)

    def permitted(self, alias: str, settings: AliasSettings) -> tuple[AliasSettings, tuple[str, ...]]:
        """Remove refused settings that the route does not need. Only the route's own log file is such a setting.

        Args:
            alias: the route's alias, lower-cased.
            settings: the settings, as the labels set them.

        Returns:
            The remaining settings, and the folders below which the files named in the settings must lie when they are
            read.

        """
        found = settings.settings
        if not any(named_paths(found)):
            return settings, ()
        log = found.access_log
        if log is not None and log.path and not (verdict := self.policy.may_read(self.claimant, log.path)).allowed:
            kept = msgspec.structs.replace(log, path="") if log.stdout else None
            settings = msgspec.structs.replace(
                settings,
                settings=msgspec.structs.replace(found, access_log=kept),
                labelled=tuple(name for name in settings.labelled if kept is not None or name != _LOG),
                problems=(*settings.problems, *self._refusal(alias, (_LOG, "path"), verdict)),
            )
        publishes = found.scheme == "fileserver"
        return settings, (self.policy.roots_for if publishes else self.policy.folders_for)(self.claimant)

    def not_served(self, alias: str, target: Target) -> str:
        """Return why a route is not served independently of the policy; ``""`` if the policy decides.

        A route that is not served claims nothing.
        """
        return exclusion(self.container, alias, target) or ""

    def made_by(self, alias: str, settings: RouteSettings, target: Target) -> Iterator[Claim]:
        """Yield each claim that a route makes, with the policy's verdict.

        The route's target and pool are left out: :mod:`.reach` decides about the target, and the table about the pool.

        Args:
            alias: the route's alias, lower-cased.
            settings: set by its labels.
            target: the route's target.

        """
        policy, claimant = self.policy, self.claimant
        yield Claim("hosts", alias, (), policy.may_use_host(claimant, alias))
        if link := settings.load_balance.link:
            yield Claim("hosts", link, ("load_balance", "link"), policy.may_use_host(claimant, link))
        if target.port.listening:
            port = target.port.listening
            verdict = policy.may_listen(claimant, port, own_ports=self.reserved_ports)
            yield Claim("ports", str(port), ("port",), verdict)
        if settings.bind:
            yield Claim("ports", settings.bind, ("bind",), policy.may_bind(settings.bind))
        for names, path in named_paths(settings):
            verdict = policy.may_publish(claimant, path) if names == _ROOT else policy.may_read(claimant, path)
            yield Claim("files", path, names, verdict)
        yield from rule_claims(settings.rules, self.claimant, policy)
        for written in settings.middlewares:
            name = middleware_name(written) or written.lower()
            yield Claim("middlewares", name, ("middlewares", written), policy.may_use_middleware(claimant, name))

    def of_target(self, target: Target) -> Iterator[Claim]:
        """Yield the claim to a route's target, unless the target is the container's own, which needs no permission."""
        if not target.host or not target.port.proxy:
            return
        value = f"{target.host}:{target.port.proxy}"
        if (own := reserved_target(target, self.reserved_ports)) is not None:
            yield Claim("targets", value, ("host",), Verdict(allowed=False, reason=own.message, hint=own.hint))
            return
        reach = reach_of(self.container, target)
        if not is_own_address(self.container, target) and not reach.owns(target.host, nowhere):
            yield Claim("targets", value, ("host",), judge_reach(reach, target, self.policy))

    def of_pool(self, link: str) -> Iterator[Claim]:
        """Yield the claim to a pool. The table decides about it, because only the table knows all members.

        A container that may not join pools of other projects may still share this pool with containers of its own
        project. A container without a project may share this pool with other containers without a project on the same
        engine.
        """
        if not link:
            return
        who, names = self.claimant, ("load_balance", "link")
        stranger = Claimant(engine=who.engine, project=f"not {who.project}")
        others, kin = (self.policy.may_join_pool(who, link, leader) for leader in (stranger, who))
        if others.allowed or not kin.allowed:
            yield Claim("pools", link, names, others)
            return
        only = f"in the project {who.project}" if who.project else "in no project"
        reason = f"only with containers on its engine that are {only}"
        yield Claim("pools", link, names, Verdict(allowed=True, rule=kin.rule, reason=reason))

    def refusals(self, alias: str, settings: RouteSettings, target: Target) -> Iterator[Problem]:
        """Yield a problem for each claim that takes the route out of service. See :meth:`made_by` for the arguments."""
        for claim in self.made_by(alias, settings, target):
            if claim.names[:1] != (_LOG,):
                yield from self._refusal(alias, claim.names, claim.verdict)

    def _refusal(self, alias: str, names: tuple[str, ...], verdict: Verdict) -> Iterator[Problem]:
        if verdict.allowed:
            return
        value = self._decoded.find(alias).fields.get(names[0]) if names else None
        path = ".".join(names)
        if value is None:
            yield Problem(message=verdict.reason, hint=verdict.hint, path=path)
            return
        for name in names[1:]:
            inner = value.value.get(name) if isinstance(value.value, dict) else None
            value = inner or value
        yield problem_at(value, path, verdict.reason, verdict.hint)
