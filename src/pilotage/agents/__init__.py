"""Adds agents on other machines and checks the way to them.

An address goes in; an archive with certificates, a Compose file, or the result of each step to an agent comes out. It
must not touch a machine other than this one, except by asking an agent, and it never shows a private key of a client.
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
