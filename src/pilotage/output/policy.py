"""Lists the claims of a container's routes under a policy: whether each is allowed or refused, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pilotage.routes.build import decode_labels
from pilotage.routes.claims import ContainerClaims
from pilotage.routes.settings import read_settings
from pilotage.routes.target import resolve_target

if TYPE_CHECKING:
    from pilotage.containers.container import Container
    from pilotage.policy import Policy
    from pilotage.routes.claims import Claim

__all__ = ["JudgedClaim", "JudgedService", "judge_service"]

_ONE: dict[str, str] = {
    "hosts": "host",
    "targets": "target",
    "ports": "port",
    "files": "file",
    "middlewares": "middleware",
    "pools": "pool",
}


class JudgedClaim(msgspec.Struct, frozen=True):
    """One claim.

    Attributes:
        kind: ``host``, ``target``, ``port``, ``file``, ``middleware`` or ``pool``.
        value: what is claimed.
        allowed: whether the policy allows the claim.
        rule: the rule that decided; ``""`` if a built-in limit or the default decided.
        reason: why the claim is refused, or what limits it; ``""`` if it is allowed without limits.
        hint: what to do about the refusal or the limit.

    """

    kind: str
    value: str
    allowed: bool
    rule: str = ""
    reason: str = ""
    hint: str = ""


class JudgedService(msgspec.Struct, frozen=True):
    """A service and its claims, allowed or refused.

    Attributes:
        service, project, image: properties of the service's container that rules can match.
        engine: name of the assumed engine; ``""`` for none.
        decider: the rule that decides for the service, or the default.
        claims: everything that the service's routes claim.
        note: why the service claims nothing; ``""`` if it claims something.

    """

    service: str
    project: str
    image: str
    engine: str
    decider: str
    claims: tuple[JudgedClaim, ...] = ()
    note: str = ""

    @property
    def refused(self) -> int:
        """Number of refused claims."""
        return sum(not claim.allowed for claim in self.claims)


def judge_service(
    container: Container, policy: Policy, *, service: str = "", reserved_ports: frozenset[int] = frozenset()
) -> JudgedService:
    """Return all claims of a container, and whether the policy allows each.

    Args:
        container: the container.
        policy: what containers may claim.
        service: name of the container's service, if its labels do not give it.
        reserved_ports: ports on this host that belong to the proxy.

    """
    claims = ContainerClaims(container, policy, reserved_ports)
    who = claims.claimant
    note = ""
    found: dict[JudgedClaim, None] = {}
    if container.errors:
        note = f"no routes: {container.errors[0].message}"
    else:
        for fields in decode_labels(container).routes:
            settings = read_settings(fields).settings
            target = resolve_target(fields.alias, container, settings)
            if reason := claims.not_served(fields.alias, target):
                note = f"{fields.alias} claims nothing, because it is not served: {reason}"
                continue
            found |= dict.fromkeys(map(_judged, claims.made_by(fields.alias, settings, target)))
            found |= dict.fromkeys(map(_judged, claims.of_target(target)))
            found |= dict.fromkeys(map(_judged, claims.of_pool(settings.load_balance.link)))
    return JudgedService(
        service or who.service or who.container,
        who.project,
        who.image,
        who.engine,
        policy.decider(who),
        tuple(found),
        note,
    )


def _judged(claim: Claim) -> JudgedClaim:
    verdict = claim.verdict
    rule = str(verdict.rule) if verdict.rule is not None else ""
    return JudgedClaim(_ONE[claim.kind], claim.value, verdict.allowed, rule, verdict.reason, verdict.hint)
