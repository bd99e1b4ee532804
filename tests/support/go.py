"""Builds programs of other projects from Go modules, and keeps them for later sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.install import EngineUnavailable, cache_directory

__all__ = ["go_program"]


def go_program(folder: str, program: str, module: str, *, patience: float = 900) -> Path:
    """Return the path of a program, and build it if necessary.

    Args:
        folder: where it is kept, below the folder for downloaded engines.
        program: its name.
        module: the Go package with its version.
        patience: seconds for building it.

    Raises:
        EngineUnavailable: Go is missing, or cannot build it.

    """
    kept = cache_directory() / folder / program
    if not kept.exists():
        go = shutil.which("go") or "/usr/local/go/bin/go"
        if not Path(go).exists():
            raise EngineUnavailable(f"no {program}: building it needs Go")
        kept.parent.mkdir(parents=True, exist_ok=True)
        env = os.environ | {"GOBIN": str(kept.parent), "CGO_ENABLED": "0"}
        done = subprocess.run(
            [go, "install", module], env=env, capture_output=True, text=True, check=False, timeout=patience
        )
        if done.returncode:
            raise EngineUnavailable(f"{program} cannot be built: {done.stderr[-300:]}")
    return kept
