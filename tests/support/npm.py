"""Installs packages of npm for tests, once for each version."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.support.install import EngineUnavailable, cache_directory

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["npm_folder"]


def npm_folder(files: Path, *more: str) -> Path:
    """Return a folder with the packages of a ``package.json`` and its lock file in ``node_modules``.

    Args:
        files: the folder with these two files.
        more: names of further files there, which are copied, too.

    Raises:
        EngineUnavailable: there is no node and npm, or the installation failed.

    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise EngineUnavailable(f"no {files.name} for tests: install node and npm")
    lock = (files / "package-lock.json").read_bytes()
    folder = cache_directory() / f"{files.name}-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "node_modules").exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(files / name, made)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=made,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineUnavailable(f"no {files.name} for tests: npm failed: {done.stderr[-300:]}")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(folder)
    for name in more:
        shutil.copy(files / name, folder)
    return folder
