"""Prints what services may claim under a policy, for ``pilotage policy test``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pilotage.core.text import count
from pilotage.output.console import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.output.console import Out
    from pilotage.output.policy import JudgedClaim, JudgedService

__all__ = ["print_services"]


def print_services(out: Out, services: Sequence[JudgedService]) -> None:
    """Print each service, the rule or default that applies to it, and its claims, each in a paragraph of its own."""
    for index, service in enumerate(services):
        if index:
            out.line()
        head = Text("Service ").append(clean(service.service), style="bold")
        details = [f"project {service.project}"] if service.project else []
        details += [f"on {service.engine}"] if service.engine else []
        out.paragraph(head.append(clean(f" ({', '.join(details)})" if details else "")), hanging=2)
        out.paragraph(Text().append("decided by ", style="dim").append(clean(service.decider)), 2, hanging=2)
        if service.note:
            out.paragraph(Text(clean(service.note), style="yellow"), 2, hanging=2)
        for claim in service.claims:
            _print_claim(out, claim)
    refused = sum(service.refused for service in services)
    out.line()
    allowed = sum(len(service.claims) for service in services) - refused
    out.line(f"{count(len(services), 'service')}: {count(allowed, 'claim')} allowed, {refused} refused")


def _print_claim(out: Out, claim: JudgedClaim) -> None:
    text = Text().append("✓ ", style="green") if claim.allowed else Text().append("✗ ", style="red")
    text.append(f"{claim.kind} ").append(clean(claim.value), style="cyan")
    if claim.reason:
        text.append(f": {clean(claim.reason)}")
    if claim.hint and not claim.allowed:
        text.append("; ").append(clean(claim.hint), style="green")
    out.paragraph(text, 2, hanging=2)
