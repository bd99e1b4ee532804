"""``pilotage policy test``: show what the services of a Compose file would get under the operator's rules."""

from __future__ import annotations

import os
import sys

import click

from pilotage.cli.options import OK, PROBLEMS, GroupWithExamples, WithExamples, config_option, format_option, print_json

__all__ = ["policy"]


@click.group(cls=GroupWithExamples, examples=("pilotage policy test compose.yml",))
def policy() -> None:
    """Try out the rules that decide what containers may claim."""


@policy.command(
    cls=WithExamples,
    examples=(
        "pilotage policy test compose.yml",
        "pilotage policy test compose.yml --config /etc/pilotage/pilotage.yml --on node1",
    ),
)
@click.argument("compose_file", metavar="COMPOSE_FILE")
@config_option
@click.option("--on", "engine", metavar="ENGINE", default="", help="Name of the engine. [default: the only one]")
@format_option("text", "json")
def test(compose_file: str, config: str, engine: str, form: str) -> int:
    """Show what each service of a Compose file would get.

    For each service, prints the rule that applies to it and everything that it claims: hosts, targets, ports, files,
    middlewares and pools. Shows whether each claim is allowed, and if not, why. Contacts no engine. Exit status 1 if a
    claim is refused.
    """
    from pilotage.lint.policy import judge_compose
    from pilotage.output.console import Out
    from pilotage.output.text.policy import print_services
    from pilotage.output.text.problems import print_problems

    services, problems = judge_compose(compose_file, config, engine, os.environ)
    if problems:
        print_problems(Out(sys.stderr), problems, apart=False)
    if form == "json":
        import msgspec

        print_json({"services": [msgspec.to_builtins(service) for service in services]})
    else:
        print_services(Out(), services)
    return PROBLEMS if any(service.refused for service in services) else OK
