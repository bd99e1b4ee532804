"""Combines an agent's report about itself with the expiry date of pilotage's client certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.engine.archive import read_credentials
from pilotage.engine.credentials import CredentialsError
from pilotage.table.snapshot import FoundAgent

if TYPE_CHECKING:
    from pilotage.engine.agents import AgentInfo
    from pilotage.engine.config import DockerProviderConfig

__all__ = ["found_agent"]


def found_agent(info: AgentInfo | None, config: DockerProviderConfig) -> FoundAgent | None:
    """Return the known facts about an agent; ``None`` if the agent has not been found.

    Reads the client certificate, because it may have been replaced since pilotage connected.

    Args:
        info: what the agent reports about itself.
        config: the engine behind the agent.

    """
    if info is None:
        return None
    try:
        own = read_credentials(config.tls).client if config.tls is not None else None
    except CredentialsError:  # the files are missing or damaged now
        own = None
    return FoundAgent(info, f"{own.not_after:%Y-%m-%d}" if own is not None else "")
