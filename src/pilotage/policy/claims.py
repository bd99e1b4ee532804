"""Defines the claimant, the operator's rules about its claims, and the verdict on a claim. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from pilotage.policy.globs import matches_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.containers.container import Container

__all__ = ["ALLOWED", "KINDS", "Claimant", "Kind", "PolicyRule", "Verdict", "claimant_of"]

Kind = Literal["hosts", "targets", "ports", "files", "middlewares", "pools"]
KINDS: Final[tuple[Kind, ...]] = ("hosts", "targets", "ports", "files", "middlewares", "pools")


class Claimant(msgspec.Struct, frozen=True, kw_only=True):
    """The container that makes a claim. Only ``engine`` can be trusted; whoever starts the container chooses the rest.

    Attributes:
        engine: name of the container's engine in the configuration, without the ``!`` that requires labels.
        project, service: the container's Compose project and service; ``""`` if it belongs to no project or service.
        image: name of the container's image, as the engine lists it.
        labels: all labels of the container.
        container: the container's name, used only in messages.
        decider: the rule, or the default, that decides for the container, as readable text; ``""`` before
            :meth:`~pilotage.policy.policy.Policy.identify`.
        identified: whether ``rule`` is known. The rule is valid only for the policy that identified the claimant.
        rule: the rule that decides for the container, if ``identified``; ``None`` if the default decides.

    """

    engine: str = ""
    project: str = ""
    service: str = ""
    image: str = ""
    labels: dict[str, str] = {}
    container: str = ""
    decider: str = ""
    identified: bool = False
    rule: PolicyRule | None = None

    @property
    def values(self) -> dict[str, str]:
        """The values of the placeholders in globs: name of the placeholder -> value."""
        return {"engine": self.engine, "project": self.project, "service": self.service}

    def without_rule(self) -> Claimant:
        """Return the claimant without its rule, which routes may outlive."""
        return msgspec.structs.replace(self, identified=False, rule=None) if self.identified else self

    def is_kin(self, other: Claimant) -> bool:
        """Return whether both are on the same engine, and in the same Compose project or both in no project."""
        return (self.engine, self.project) == (other.engine, other.project)


def claimant_of(container: Container) -> Claimant:
    """Return the claimant for a container."""
    return Claimant(
        engine=container.provider.removesuffix("!"),
        project=container.compose_project,
        service=container.compose_service,
        image=container.image_reference,
        labels=container.actual_labels,
        container=container.container_name,
    )


class PolicyRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the operator.

    A rule applies to a container if all conditions of the rule match. A condition with several globs matches if any
    glob matches. A condition without globs is ignored.

    For each kind of claim, an attribute lists globs of what the container may claim. ``()`` allows nothing; ``None``
    means that the rule does not mention this kind, so the policy's ``default`` decides.

    Attributes:
        number: position in the configuration, from 1.
        name: what the operator calls it; ``""`` if it has no name.
        place: file and line of the rule, such as ``pilotage.yml:14``; ``""`` if unknown.
        engine, project, service, image: conditions: case-sensitive globs, which the container's values must match.
        label: conditions: key of a label -> globs of its value. A container without the label does not match.
        hosts, targets, ports, files, middlewares, pools: what the container may claim.

    """

    number: int = 1
    name: str = ""
    place: str = ""
    engine: tuple[str, ...] = ()
    project: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    label: dict[str, tuple[str, ...]] = {}
    hosts: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    files: tuple[str, ...] | None = None
    middlewares: tuple[str, ...] | None = None
    pools: tuple[str, ...] | None = None

    def matches(self, claimant: Claimant) -> bool:
        """Return whether the rule applies to this container."""
        return (
            _one_of(self.engine, (claimant.engine,))
            and _one_of(self.project, (claimant.project,))
            and _one_of(self.service, (claimant.service,))
            and (not self.image or _one_of(self.image, image_spellings(claimant.image)))
            and all(key in claimant.labels and _one_of(g, (claimant.labels[key],)) for key, g in self.label.items())
        )

    @property
    def allows_nothing(self) -> bool:
        """Whether the containers to which the rule applies may claim nothing at all."""
        return all(getattr(self, kind) == () for kind in KINDS)

    @property
    def title(self) -> str:
        """The rule's number and name, without its place."""
        return f"rule {self.number} {self.name!r}" if self.name else f"rule {self.number}"

    def __str__(self) -> str:
        return f"{self.title} ({self.place})" if self.place else self.title


def _one_of(globs: tuple[str, ...], texts: Iterable[str]) -> bool:
    return not globs or any(matches_text(glob, text) for text in texts for glob in globs)


def image_spellings(reference: str) -> tuple[str, ...]:
    """Return the spellings of an image's name that rules may use: as listed, in full, and each without tag and digest.

    ``nginx:1`` is also ``docker.io/library/nginx:1``, ``docker.io/library/nginx`` and ``nginx``, because Docker lists
    the short name and Podman the full one.
    """
    first, slash, rest = reference.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        rest = reference if slash else f"library/{reference}"
        full = f"docker.io/{rest}"
    else:
        full = reference
    short = full.removeprefix("docker.io/").removeprefix("library/") if full.startswith("docker.io/") else full
    names = (reference, full, short)
    return tuple(dict.fromkeys((*names, *map(_untagged, names))))


def _untagged(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a claim is allowed.

    Attributes:
        allowed: whether the claim is allowed.
        rule: the rule that decided; ``None`` if a built-in limit or ``default`` did.
        reason: why the claim is refused, as a sentence for a problem; ``""`` if it is allowed.
        hint: what the operator or the container's owner can do about the refusal; ``""`` if the claim is allowed or
            nothing can be done.

    """

    allowed: bool
    rule: PolicyRule | None = None
    reason: str = ""
    hint: str = ""


ALLOWED: Final = Verdict(allowed=True)
