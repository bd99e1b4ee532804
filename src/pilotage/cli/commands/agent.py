"""``pilotage agent``: add an agent on another machine, and check the connection to agents."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from pilotage.cli.options import NOTHING, OK, PROBLEMS, GroupWithExamples, WithExamples, config_option

if TYPE_CHECKING:
    from pilotage.engine.config import DockerProviderConfig

__all__ = ["agent"]


@click.group(
    cls=GroupWithExamples, examples=("pilotage agent create 10.0.0.2:8890 --name attic", "pilotage agent check")
)
def agent() -> None:
    """Add GoDoxy's agents on other machines, and check them."""


@agent.command(
    cls=WithExamples,
    examples=(
        "pilotage agent create 10.0.0.2:8890 --name attic > compose.agent.yml",
        "pilotage agent create node2:8890 --podman",
    ),
)
@click.argument("address", metavar="HOST:PORT")
@click.option("--name", default="", help="Name of the agent. [default: HOST]")
@click.option("--podman", is_flag=True, help="The engine there is Podman.")
@click.option("--replace", is_flag=True, help="Replace the certificates of an existing agent.")
@config_option
def create(address: str, name: str, config: str, *, podman: bool, replace: bool) -> int:
    """Create certificates for an agent, and print the Compose file that starts it.

    pilotage's own certificate and key go to certs/HOST:PORT.zip next to the configuration file. The Compose file
    contains the agent's private keys: copy the file to the other machine over a secure channel, and run docker compose
    up -d there.
    """
    from pathlib import Path

    from pilotage.agents import compose_file, make_certificates, write_archive
    from pilotage.config.engines import find_config_file
    from pilotage.core.errors import ConfigError
    from pilotage.engine.address import parse_address
    from pilotage.engine.agents import is_agent_name
    from pilotage.engine.config import AGENT_SCHEME, DockerProviderConfig
    from pilotage.output.console import Out

    try:
        parsed = parse_address(DockerProviderConfig(f"{AGENT_SCHEME}{address}"))
    except ConfigError:
        parsed = None
    if parsed is None or "/" in address:
        raise click.UsageError(f"{address!r} is not an address: write HOST:PORT, such as 10.0.0.2:8890.")
    if name and not is_agent_name(name):
        allowed = "up to 64 letters, digits, spaces and . _ @ -, such as attic"
        raise click.UsageError(f"{name!r} is not a name for an agent: write {allowed}.")
    path = Path(config or find_config_file() or "pilotage.yml").parent / "certs" / f"{address}.zip"
    made = make_certificates()
    try:
        write_archive(path, made, replace=replace)
    except FileExistsError:
        raise click.UsageError(f"{path} already exists; --replace creates new certificates.") from None
    except OSError as error:
        click.echo(f"error: cannot write {path}: {error.strerror}", err=True)
        return NOTHING
    click.echo(compose_file(name or parsed.host, parsed.port, made, podman=podman), nl=False)
    Out(sys.stderr).note(f"Wrote {path}. Add {address!r} to providers.agents, start the agent, and run: ")
    Out(sys.stderr).note(f"pilotage agent check {address}")
    return OK


@agent.command(cls=WithExamples, examples=("pilotage agent check", "pilotage agent check 10.0.0.2:8890"))
@click.argument("names", nargs=-1, metavar="[NAME|HOST:PORT]...")
@config_option
def check(names: tuple[str, ...], config: str) -> int:
    """Check the connection to agents step by step, and show which step fails.

    Without arguments, checks all agents in the configuration.
    """
    import asyncio

    from pilotage.config.engines import EngineChoice, choose_engines, find_config_file

    file = config or find_config_file()
    if not file:
        raise click.UsageError("There is no pilotage.yml here; name one with --config.")
    chosen = [it for it in choose_engines(EngineChoice(config=file), os.environ).configs if it.agent]
    wanted = [it for it in chosen if not names or {it.name, it.agent} & set(names)]
    if unknown := [name for name in names if not any(name in (it.name, it.agent) for it in chosen)]:
        known = ", ".join(it.agent for it in chosen) or "none"
        raise click.UsageError(f"{file} has no agent {unknown[0]!r}; its agents: {known}.")
    if not wanted:
        raise click.UsageError(f"{file} lists no agents under providers.agents.")
    failed = sum(not asyncio.run(_walk(it)) for it in wanted)
    return OK if not failed else NOTHING if failed == len(wanted) else PROBLEMS


async def _walk(config: DockerProviderConfig) -> bool:
    """Print each step of the connection to an agent. Return whether all steps succeeded."""
    from pilotage.agents import walk
    from pilotage.output.console import clean

    click.echo(config.agent if config.takes_agent_name else f"{config.name} ({config.agent})")
    ok = True
    async for step in walk(config):
        ok = step.ok
        remedy = f"; {step.remedy}" if step.remedy and not step.ok else ""
        click.echo(f"  {'✓' if step.ok else '✗'} {step.name}: {clean(step.result + remedy)}")
    return ok
