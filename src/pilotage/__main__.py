"""The program ``pilotage``, run as ``python -m pilotage``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from _pilotage_start import main

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["main", "run_commands"]


def run_commands(early: Callable[[int, Any], object] | None) -> None:
    """Load the command line and run it; see :func:`pilotage.cli.main.run_and_exit`."""
    from pilotage.cli.main import run_and_exit  # noqa: PLC0415  # it is slow to import

    run_and_exit(early=early)


if __name__ == "__main__":
    main()
