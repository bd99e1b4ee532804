"""Presents the engines of ``pilotage engines`` as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from pilotage.core.secrets import clean as without_secrets
from pilotage.output.console import clean, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.discovery.detect import Probe
    from pilotage.output.console import Cell, Out

__all__ = ["engine_json", "print_engines"]


def print_engines(out: Out, probes: Sequence[Probe]) -> None:
    """Print a table of engines and how each responded."""
    rows: list[list[Cell]] = []
    for probe in probes:
        found = probe.found
        star = "*" if found.chosen else ""
        start: list[Cell] = [
            (found.config.name + star, "bold"),
            (without_secrets(found.config.url), ""),
            (", ".join(found.sources), "dim"),
        ]
        if probe.error:
            status = "failed, see below" if out.is_terminal else probe.error
            rows.append([*start, ("-", "dim"), ("-", "dim"), ("-", "dim"), (status, "red")])
        else:
            status = f"responds in {probe.latency * 1000:.0f} ms" + (", NOT VERIFIED" if probe.warning else "")
            style = "yellow" if probe.warning else "green"
            rows.append([*start, (_kind(probe), ""), (probe.version, ""), (probe.api, ""), (status, style)])
    heads = ["ENGINE", "ADDRESS", "FOUND AS", "KIND", "VERSION", "API", "STATUS"]
    print_table(out, heads, rows, give_way=[2, 1, 6, 4, 3])
    if out.is_terminal:
        for probe in (probe for probe in probes if probe.error):
            out.line()
            out.paragraph(
                Text("✗ ", style="red").append(f"{probe.found.config.name}: {clean(probe.error)}", style="not red"),
                hanging=2,
            )


def _kind(probe: Probe) -> str:
    """Return the kind of an engine and, if it is behind an agent, the agent's name and version."""
    agent = probe.agent
    if agent is None:
        return probe.kind
    name = "" if agent.name in ("", probe.found.config.name) else f"{clean(agent.name)} "
    return f"{probe.kind}, agent {name}{agent.version}{'' if agent.tunnels else ' without tunnels'}".rstrip()


def engine_json(probe: Probe) -> dict[str, Any]:
    """Return an engine and how it responded as plain data for JSON."""
    found, agent = probe.found, probe.agent
    return {
        "name": found.config.name,
        "url": without_secrets(found.config.url),
        "found_as": list(found.sources),
        "chosen": found.chosen,
        "answers": not probe.error,
        "kind": probe.kind,
        "version": probe.version,
        "api": probe.api,
        "latency_s": round(probe.latency, 6),
        "error": probe.error,
        "warning": probe.warning,
        "agent": None if agent is None else {"name": agent.name, "version": agent.version, "tunnels": agent.tunnels},
    }
