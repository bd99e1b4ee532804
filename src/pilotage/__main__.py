"""The program ``pilotage``, also as ``python -m pilotage``.

Who interrupts it while it is still being loaded gets the status for that, and no traceback.
"""

from __future__ import annotations

import os
import signal

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else the shell wants it ignored
    if usual:
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))
    from pilotage.cli import main as cli  # noqa: PLC0415  # it takes a while

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    main()
