"""``pilotage doctor``: check this machine."""

from __future__ import annotations

import os
from typing import Any

import click

from pilotage.cli.options import OK, PROBLEMS, WithExamples, engine_options, format_option, gateway_extra, print_json

__all__ = ["doctor"]


@click.command(cls=WithExamples, examples=("pilotage doctor", "sudo -u pilotage pilotage doctor --format json"))
@engine_options
@click.option("--no-gateway", is_flag=True, help="Skip what only an Envoy on this machine needs.")
@format_option("text", "json")
def doctor(form: str, *, no_gateway: bool, **where: Any) -> int:
    """Check this machine, and print how to fix what is wrong.

    Checks the configuration, engines, Envoy, ports, names, clock, limits, certificates, folders and the running daemon.
    Changes nothing. Run it as the user that runs pilotage serve.

    Exit status: 0 no problems, but possibly warnings; 1 problems.
    """
    from pilotage.config.engines import EngineChoice

    with gateway_extra():
        from pilotage.cli.doctor.examine import examine
    from pilotage.cli.doctor.finding import finding_json, print_findings
    from pilotage.output.console import Out

    found = examine(EngineChoice(**where), os.environ, gateway=not no_gateway)
    if form == "json":
        print_json({"checks": [finding_json(each) for each in found]})
    else:
        print_findings(Out(), found)
    return PROBLEMS if any(each.state == "problem" for each in found) else OK
