"""Decides whether a container's route may point to its target (decision 34). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pilotage.core.addresses import is_address
from pilotage.core.problems import Problem
from pilotage.policy.claims import claimant_of
from pilotage.policy.target_addresses import Reach, is_ordinary, leads_here, special_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.containers.container import Container
    from pilotage.policy import Policy, Verdict
    from pilotage.routes.target import Target

__all__ = ["check_reach", "is_own_address", "judge_reach", "nowhere", "reach_of", "reserved_target"]

_THIS_MACHINE: Final = "127.0.0.1"
"""The host that publishes the ports of an engine on this machine."""

_EVERYWHERE: Final = {"0.0.0.0": (4,), "::": (6,), "": (4, 6)}  # noqa: S104
"""Address that stands for all addresses -> their IP versions. Podman lists an empty address for both versions."""


_MEANT_FOR_THE_AGENT: Final = ("loopback", "unspecified")
"""Kinds of addresses that, behind an agent, refer to the agent's machine."""


def nowhere(_address: str) -> bool:
    """Return ``False`` for any address, as if this machine had no addresses but loopback."""
    return False


def is_own_address(container: Container, target: Target) -> bool:
    """Return whether a target is the container's own address. If so, the target needs no further check."""
    return target.host == container.private_hostname and is_ordinary(target.host)


def reach_of(container: Container, target: Target) -> Reach:
    """Return the addresses at which the target's port belongs to the container itself.

    These are the container's own address and, if its engine publishes the port, the addresses of the engine's machine.
    With host networking, all ports of the engine's machine count as the container's. Another machine's loopback can be
    reached only through an agent there.
    """
    here = container.public_hostname == _THIS_MACHINE or bool(container.agent)
    own = container.private_hostname
    addresses = [own] if is_address(own) and special_kind(own) == "" else []  # an engine may list anything
    this_host: set[int] = set()
    if container.is_host_network_mode:
        this_host.update((4, 6) if here else ())
        addresses.append(container.public_hostname)
    else:
        udp = target.scheme == "udp"
        for entry in container.ports:
            if entry.PublicPort != target.port.proxy or entry.Type not in (("udp",) if udp else ("", "tcp")):
                continue
            if entry.IP in _EVERYWHERE:
                this_host.update(_EVERYWHERE[entry.IP] if here else ())
                addresses.append("::1" if here and entry.IP == "::" else container.public_hostname)
            elif is_address(entry.IP) and (here or special_kind(entry.IP) == ""):
                addresses.append(entry.IP)
    return Reach(claimant_of(container), tuple(dict.fromkeys(filter(None, addresses))), frozenset(this_host))


def check_reach(
    container: Container,
    target: Target,
    policy: Policy,
    *,
    reserved_ports: frozenset[int],
    is_local: Callable[[str], bool] = nowhere,
) -> tuple[Reach | None, Problem | None]:
    """Decide whether a container's route may point to its target.

    Args:
        container: the container.
        target: the route's target, with host and port.
        policy: what containers may claim.
        reserved_ports: ports on this host that belong to the proxy.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.

    Returns:
        Two values. First, the container's own addresses if a later check needs them, which is the case for host names
        and for the machine where the container's agent runs; else ``None``. Second, the error that takes the route out
        of service; ``None`` if the target is allowed.

    """
    elsewhere = bool(container.agent) and container.public_hostname != _THIS_MACHINE
    own = None
    if not elsewhere or special_kind(target.host) not in _MEANT_FOR_THE_AGENT:
        own = reserved_target(target, reserved_ports, is_local)
    if own is not None:
        return None, own
    if is_own_address(container, target) and target.host != container.public_hostname:
        return None, None  # as below, but this is frequent: many containers listen on a port of the proxy
    reach = reach_of(container, target)
    verdict = judge_reach(reach, target, policy, nowhere if elsewhere else is_local)
    if verdict.allowed:
        is_of_agent = bool(container.agent) and target.host == container.public_hostname
        return (reach if is_of_agent or not is_address(target.host) else None), None
    return None, Problem(message=verdict.reason, hint=verdict.hint, path="host")


def judge_reach(reach: Reach, target: Target, policy: Policy, is_local: Callable[[str], bool] = nowhere) -> Verdict:
    """Return the policy's verdict on a target.

    Args:
        reach: the addresses that are the container's own, from :func:`reach_of`.
        target: the target, with host and port.
        policy: what containers may claim.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.

    """
    owned = reach.owns(target.host, is_local)
    return policy.may_reach(reach.claimant, target.host, target.port.proxy, own=owned)


def reserved_target(
    target: Target, reserved_ports: frozenset[int], is_local: Callable[[str], bool] = nowhere
) -> Problem | None:
    """Return an error if a target is the proxy itself (LABELS II.6.6); otherwise ``None``.

    Args:
        target: the target.
        reserved_ports: ports on this host that belong to the proxy.
        is_local: whether an address in canonical form belongs to this machine and is not loopback.

    """
    if target.port.proxy not in reserved_ports or target.scheme in ("udp", "fileserver"):
        return None
    if not leads_here(target.host, is_local):
        return None
    return Problem(
        message=f"{target.host}:{target.port.proxy} is reserved for the proxy itself",
        hint="set the container's own port or host",
    )
