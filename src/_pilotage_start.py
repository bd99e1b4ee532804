"""Starts the program ``pilotage``.

This module lies outside the package, and imports only what Python itself has loaded, so that signals are handled as
early as possible. An interrupt during startup ends the program with status 130 and without a traceback. ``pilotage
serve`` reloads its configuration on SIGHUP, so a SIGHUP during startup is handled once that is possible.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would load `enum`
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    early = None
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # otherwise the shell ignores it
        early = _end
        _signal.signal(_signal.SIGINT, early)
    if next((word for word in sys.argv[1:] if not word.startswith("-")), "") in {"serve", "envoy"}:
        _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGHUP})  # pilotage.daemon unblocks it
    from pilotage.__main__ import run_commands  # noqa: PLC0415  # loading it takes a while

    run_commands(early)


def _end(number: int, _: object) -> None:
    os._exit(128 + number)
