"""Implements the command line: commands, their options, and the views of engines that they print.

Arguments and the environment go in; text or JSON on standard output, messages on standard error and an exit status come
out. It must not decide anything about routes or containers, and imports heavy modules only inside commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.core.lazy import lazy_exports

if TYPE_CHECKING:
    from pilotage.cli.main import run_and_exit

__all__ = ["run_and_exit"]

__getattr__, __dir__ = lazy_exports(__name__, {"run_and_exit": "main"})
