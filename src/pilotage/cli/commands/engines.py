"""``pilotage engines``: find engines and test each of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from pilotage.cli.options import (
    NOTHING,
    OK,
    PROBLEMS,
    WithExamples,
    chosen_engines,
    engine_options,
    format_option,
    print_json,
)

if TYPE_CHECKING:
    from pilotage.discovery.detect import Probe

__all__ = ["engines"]


@click.command(
    cls=WithExamples,
    examples=(
        "pilotage engines",
        "pilotage engines --context prod --engine nas=ssh://me@nas",
    ),
)
@engine_options
@format_option("table", "json")
def engines(form: str, **where: Any) -> int:
    """List engines and test the connection to each.

    Shows response time and API versions. Without options, lists the engine of DOCKER_HOST, the Docker contexts and the
    default sockets; a star marks the engine that commands use by default.
    """
    import asyncio

    from pilotage.cli.patience import ask_all
    from pilotage.config.engines import EngineChoice, choose_engines, find_config_file
    from pilotage.discovery.detect import candidates, detect_engines, probe_all
    from pilotage.output.console import Out
    from pilotage.output.engines import engine_json, print_engines

    choice = EngineChoice(**where)
    if choice or find_config_file():
        chosen = choose_engines(choice, os.environ)
        found = candidates(chosen.configs, chosen.why or "named")
    else:
        found = detect_engines(os.environ)
    if not found:
        chosen_engines(choice)  # prints or raises which places were searched
    early: list[Probe] = []

    def show(done: list[list[Probe]]) -> None:
        early.extend(probe for (probe,) in done)
        print_engines(Out(), early)

    each = [(candidate.config.name, probe_all([candidate])) for candidate in found]
    probes = [probe for (probe,) in asyncio.run(ask_all(each, show if form == "table" else None))]
    if form == "json":
        print_json([engine_json(result) for result in probes])
    else:
        if early:
            click.echo()
        print_engines(Out(), [probe for probe in probes if probe not in early])
    failed = sum(bool(result.error) for result in probes)
    return OK if not failed else NOTHING if failed == len(probes) else PROBLEMS
