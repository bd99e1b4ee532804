"""Decides what containers may claim. Pure, except that symbolic links in paths are resolved.

Only the first rule that matches a container decides for it. ``default`` decides about the kinds of claims that this
rule does not mention, and about all claims of a container that no rule matches. ``allow`` applies the built-in limits,
as if the policy had no rules; ``deny`` refuses the claims. A container's own addresses and published ports, and the
pools of its own Compose project, need no permission.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import msgspec

from pilotage.policy.claims import ALLOWED, Claimant, Kind, PolicyRule, Verdict
from pilotage.policy.files import is_below
from pilotage.policy.globs import common_path, fill, matches_host, matches_text
from pilotage.policy.ports import TAKEN_PORTS, in_ranges, show_ranges
from pilotage.policy.target_addresses import KIND_NAMES, hint_for, matches_target, special_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.core.problems import Problem

__all__ = ["FILE_REFUSED", "NO_POLICY", "ROOT_REFUSED", "GatewayCheck", "Policy"]

FILE_REFUSED: Final = (
    "a label may refer only to a readable file below a folder that gateway.label_files or a rule allows"
)
"""The same message for every refused file, so that it does not reveal whether the file exists."""

ROOT_REFUSED: Final = "a label may publish only a folder listed in gateway.label_roots, or a folder below one"

_EVERYWHERE: Final = {"0.0.0.0": 4, "::": 6}  # noqa: S104  # the address that stands for all others -> IP version


class GatewayCheck(Protocol):
    """Checks which settings of a route the gateway supports. Equal checks give equal results."""

    def __call__(self, route: Any) -> tuple[tuple[Problem, ...], bool]:
        """Return the problems with a route, and whether it may be served despite them."""

    def complete(self, route: Any) -> Any:
        """Return a route with the settings that all routes of the gateway have."""

    def fill_in(self, middlewares: Mapping[str, Any]) -> tuple[dict[str, Any] | None, tuple[Problem, ...]]:
        """Return the combined middlewares, or ``None`` if none were added, together with any problems.

        Args:
            middlewares: the route's own middlewares by name, as written. Some may refer to files.

        """


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What containers may claim. Routes from files need no permission.

    Attributes:
        rules: in the order of the configuration.
        default: ``allow`` or ``deny``, for claims that no rule decides.
        targets: ``any`` or ``own``: the built-in limit for targets (decision 34).
        stream_ports: the built-in limit for stream listeners: port ranges, including both ends. ``None`` allows any
            port except 22 and the ports of engines (decision 35).
        addresses: the gateway's listening addresses. Stream routes of containers may listen only on these; if empty,
            on any address.
        label_files: the built-in limit for files (decision 33): absolute paths of folders. A file named in a label must
            lie below one of them.
        label_roots: absolute paths of folders. A folder that a label publishes must lie below one of them.
        domains: domains under which aliases are served (``match_domains``), without leading dots; empty for any.
        gateway: decides which routes the gateway cannot serve; ``None`` if there is no gateway. Unlike the rest of the
            policy, it also applies to routes from files.

    """

    rules: tuple[PolicyRule, ...] = ()
    default: Literal["allow", "deny"] = "allow"
    targets: Literal["any", "own"] = "any"
    stream_ports: tuple[tuple[int, int], ...] | None = None
    addresses: tuple[str, ...] = ()
    label_files: tuple[str, ...] = ()
    label_roots: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    gateway: GatewayCheck | None = None

    @property
    def has_rules(self) -> bool:
        """Whether the policy has rules or denies by default. If not, every host and middleware is allowed."""
        return bool(self.rules) or self.default == "deny"

    def rule_for(self, claimant: Claimant) -> PolicyRule | None:
        """Return the rule that decides for a container; ``None`` if ``default`` decides."""
        if claimant.identified:
            return claimant.rule
        for rule in self.rules:
            if rule.matches(claimant):
                return rule
        return None

    def decider(self, claimant: Claimant) -> str:
        """Return the rule with its place, or the default, that decides for a container, as readable text."""
        rule = self.rule_for(claimant)
        if rule is not None:
            return f"{rule}: nothing is allowed" if rule.allows_nothing else str(rule)
        return f"the default ({self.default}), because no rule matches"

    def identify(self, claimant: Claimant) -> Claimant:
        """Return the claimant with its rule, so that this policy need not search for the rule again."""
        if not self.has_rules:
            return claimant
        rule = self.rule_for(claimant)
        return msgspec.structs.replace(claimant, decider=self.decider(claimant), identified=True, rule=rule)

    # ---- claims

    def may_use_host(self, claimant: Claimant, host: str) -> Verdict:
        """Decide whether a container may claim a host.

        The route builder asks this for every alias and for ``load_balance.link``, and excludes routes whose claim is
        refused. The table need not ask again: it decides only which of several routes gets the host.

        Args:
            claimant: the container.
            host: an alias (``shop``), a full name (``shop.example.com``), a wildcard (``*.example.com``) or the name of
                a pool. Case is ignored. With ``domains``, an alias and its name below a domain are one host.

        """
        host = host.lower().removesuffix(".")
        if host == "*":  # all hosts without a route of their own; only the glob ** covers them
            return self._decide(claimant, "hosts", "claim all other hosts (*)", lambda glob: glob == "**")
        alias = host
        for domain in self.domains:
            if host.endswith(f".{domain}") and "." not in host.removesuffix(f".{domain}"):
                alias = host.removesuffix(f".{domain}")
        everywhere = [] if "." in host else [f"{host}.{domain}" for domain in self.domains]  # where an alias is served

        def is_covered(glob: str) -> bool:
            if matches_host(glob, host) or (alias != "*" and matches_host(glob, alias)):
                return True
            return bool(everywhere) and all(matches_host(glob, name) for name in everywhere)

        return self._decide(claimant, "hosts", f"claim the host {host}", is_covered)

    def may_reach(self, claimant: Claimant, host: str, port: int, *, own: bool = False) -> Verdict:
        """Decide whether a container's routes may point to a target.

        Args:
            claimant: the container.
            host: host name, or address in its usual spelling.
            port: port of the target.
            own: whether the target is the container's own address, a port that it publishes or, with host networking,
                the host.

        """
        if own:
            return ALLOWED
        limit = ALLOWED
        if (kind := special_kind(host)) or self.targets == "own":
            why = f"a container's route may not point to {host}:{port}"
            reason = f"{why}, because it is {KIND_NAMES[kind]}" if kind else f"{why}, because gateway.targets is own"
            limit = Verdict(allowed=False, reason=reason, hint=hint_for(claimant, host, port))
        return self._decide(
            claimant, "targets", f"point to {host}:{port}", lambda glob: matches_target(glob, host, port), limit
        )

    def may_listen(self, claimant: Claimant, port: int, *, own_ports: frozenset[int] = frozenset()) -> Verdict:
        """Decide whether a container's route may listen on a port of its own.

        Args:
            claimant: the container.
            port: port to listen on.
            own_ports: ports on which the gateway, the API and the xDS server listen. No rule allows them.

        """
        if port in own_ports:
            hint = "choose another listening port, as in port: 9000:5432"
            return Verdict(allowed=False, reason=f"pilotage itself listens on port {port}", hint=hint)
        limit = ALLOWED
        if self.stream_ports is not None and not in_ranges(port, self.stream_ports):
            reason = f"port {port} is not in gateway.stream_ports"
            ranges = show_ranges(self.stream_ports)
            limit = Verdict(allowed=False, reason=reason, hint=f"choose a listening port in {ranges}" if ranges else "")
        elif self.stream_ports is None and port in TAKEN_PORTS:
            hint = "choose another listening port, or list this one in gateway.stream_ports"
            limit = Verdict(allowed=False, reason=f"port {port} is {TAKEN_PORTS[port]}", hint=hint)
        return self._decide(claimant, "ports", f"listen on port {port}", lambda ends: in_ranges(port, (ends,)), limit)

    def may_bind(self, address: str) -> Verdict:
        """Decide whether a container's route may listen on an address. Only the gateway's addresses are allowed."""
        family = 6 if ":" in address else 4
        if (
            not self.addresses
            or address in self.addresses
            or any(_EVERYWHERE.get(it) == family for it in self.addresses)
        ):
            return ALLOWED
        reason = f"the gateway does not listen on {address}"
        return Verdict(allowed=False, reason=reason, hint=f"remove bind, or set it to {self.addresses[0]}")

    def may_read(self, claimant: Claimant, path: str) -> Verdict:
        """Decide whether a label may refer to a file or folder on this machine.

        The verdict does not depend on whether the path exists. To read the file later, use :func:`read_below` with
        :meth:`folders_for`, because a symbolic link may have been replaced in the meantime.

        Args:
            claimant: the container.
            path: as written in the label.

        """
        rule = self.rule_for(claimant)
        if is_below(path, self.folders_for(claimant)):
            return Verdict(allowed=True, rule=rule if rule is not None and rule.files is not None else None)
        hint = "remove it, or ask the operator to allow its folder" + (f" in {rule}" if rule is not None else "")
        return Verdict(allowed=False, rule=rule, reason=FILE_REFUSED, hint=hint)

    def may_publish(self, claimant: Claimant, folder: str) -> Verdict:
        """Decide whether a label may make the files in a folder available to clients (``scheme: fileserver``).

        The folder must lie below :attr:`label_roots`. If a rule or the default restricts the files that the container
        may use, the folder must also lie below one of the paths that it allows.

        Args:
            claimant: the container.
            folder: as written in the label.

        """
        if is_below(folder, self.roots_for(claimant)):
            return ALLOWED
        hint = "ask the operator to list the folder in gateway.label_roots"
        return Verdict(allowed=False, rule=self.rule_for(claimant), reason=ROOT_REFUSED, hint=hint)

    def roots_for(self, claimant: Claimant) -> tuple[str, ...]:
        """Return the folders below which a container's labels may publish folders.

        They lie below :attr:`label_roots`. If a rule or the default restricts files, they also lie below the paths that
        it allows.
        """
        rule = self.rule_for(claimant)
        if (rule is None or rule.files is None) and self.default != "deny":
            return self.label_roots
        folders = [os.path.realpath(folder) for folder in self.folders_for(claimant)]
        roots = [os.path.realpath(root) for root in self.label_roots]
        common = (common_path(root, folder) for root in roots for folder in folders)
        return tuple(path for path in common if path is not None)

    def folders_for(self, claimant: Claimant) -> tuple[str, ...]:
        """Return the folders below which the files named in a container's labels must lie."""
        rule = self.rule_for(claimant)
        if rule is not None and rule.files is not None:
            filled = (fill(folder, claimant.values) for folder in rule.files)
            return tuple(folder for folder in filled if folder is not None)
        return self.label_files if self.default == "allow" else ()

    def may_use_middleware(self, claimant: Claimant, name: str) -> Verdict:
        """Decide whether a container may use a middleware.

        Args:
            claimant: the container.
            name: name of the middleware, from :func:`pilotage.routes.middleware_name`.

        """
        return self._decide(
            claimant, "middlewares", f"use the middleware {name}", lambda glob: matches_text(glob.lower(), name)
        )

    def may_join_pool(self, claimant: Claimant, pool: str, leader: Claimant) -> Verdict:
        """Decide whether a container may join an existing pool. Every container may join pools of its own project.

        The pool's name is also a host, which :meth:`may_use_host` has already allowed. Without a rule that mentions
        ``pools``, no container may join a pool of another project or engine (decision 32). Containers
        that belong to no project may share pools if they are on the same engine, unless a rule or the default forbids
        it.

        Args:
            claimant: the container that wants to join.
            pool: name of the pool.
            leader: the oldest member of the pool.

        """
        kin = claimant.is_kin(leader)
        if kin and claimant.project:
            return ALLOWED
        reason = f"the pool {pool} belongs to another Compose project or engine"
        hint = "choose another name for the pool, or allow it in a policy rule"
        limit = ALLOWED if kin else Verdict(allowed=False, reason=reason, hint=hint)
        return self._decide(claimant, "pools", f"join the pool {pool}", lambda glob: matches_host(glob, pool), limit)

    # ---- deciding

    def _decide(
        self,
        claimant: Claimant,
        kind: Kind,
        what: str,
        matches: Callable[[str], bool] | Callable[[tuple[int, int]], bool],
        limit: Verdict = ALLOWED,
    ) -> Verdict:
        """Decide by the first rule that matches the container, or else by ``default`` and the built-in limit."""
        if not self.has_rules:
            return limit
        rule = self.rule_for(claimant)
        allowed = getattr(rule, kind) if rule is not None else None
        if allowed is None:
            if self.default == "allow":
                return limit
            if rule is None:
                reason = f"no policy rule allows this container to {what}"
                return Verdict(allowed=False, reason=reason, hint="policy.default is deny; add a rule for it")
            return _refused(rule, f"does not mention {kind}, and the default is deny", what)
        if any(self._matches(entry, matches, claimant) for entry in allowed):
            return Verdict(allowed=True, rule=rule)
        assert rule is not None  # noqa: S101  # only a rule can have the list
        return _refused(rule, "does not allow it", what)

    @staticmethod
    def _matches(entry: object, matches: Callable[..., bool], claimant: Claimant) -> bool:
        if not isinstance(entry, str):
            return matches(entry)
        filled = fill(entry, claimant.values)
        return filled is not None and matches(filled)


def _refused(rule: PolicyRule, why: str, what: str) -> Verdict:
    reason = f"this container may not {what}: {rule} {why}"
    return Verdict(allowed=False, rule=rule, reason=reason, hint="")


NO_POLICY: Final = Policy()
"""The built-in limits alone: no files on the host, any target, any stream port except 22 and the ports of engines."""
