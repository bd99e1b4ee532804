"""The program ``pilotage``, also run as ``python -m pilotage``.

An interrupt while modules are being loaded ends it with status 130 and no traceback.
"""

from __future__ import annotations

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # otherwise the shell ignores it
    if is_default:
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    from pilotage.cli.main import run_and_exit  # noqa: PLC0415  # loading it takes a while

    if is_default:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_and_exit()


if __name__ == "__main__":
    main()
