"""Checks this machine for ``pilotage doctor``.

The configuration and the environment go in; one finding for each check comes out, with the remedy for what is wrong.
The checks change nothing, and connect only to the configured engines, a running daemon and the system's name resolver.
"""

from __future__ import annotations
