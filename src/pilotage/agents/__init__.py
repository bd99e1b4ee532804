"""Creates certificates for agents on other machines, and checks the connection to each agent.

An agent's name and address go in; certificates, a Compose file or the result of each check come out. This package must
not change other machines, and must not print the private key with which pilotage connects to an agent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.agents.certificates import make_certificates, write_archive
    from pilotage.agents.compose import compose_file
    from pilotage.agents.steps import walk

__all__ = ["compose_file", "make_certificates", "walk", "write_archive"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "compose_file": "compose",
        "make_certificates": "certificates",
        "walk": "steps",
        "write_archive": "certificates",
    },
)
