"""Obtains, stores and renews the certificates of the gateway: the section ``autocert`` of the configuration.

In go the settings and the served host names; out come certificates and ACME challenges for Envoys. The blocking
libraries that speak ACME and DNS run in threads, and are imported only if ``autocert`` is configured. Nothing here
knows how Envoy is configured: :class:`~pilotage.certificates.challenges.Gateway` is all that it needs.
"""

from __future__ import annotations

from typing import Final

__all__ = ["EXTRA", "INSTALL"]

EXTRA: Final = "certificates"
"""The optional dependencies that automatic certificates need."""

INSTALL: Final = f"pip install 'pilotage[gateway,{EXTRA}]'"
"""The command that installs them."""
