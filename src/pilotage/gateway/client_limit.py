"""Finds the module that limits each client's connections in Envoy; see :mod:`pilotage.xds.client_limit`."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

__all__ = ["envoy_environment", "module_folder"]

_NATIVE: Final = Path(__file__).parent / "native"
_SEARCH_PATH: Final = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"


def module_folder(machine: str = "") -> str:
    """Return the folder that contains the module for a CPU architecture; ``""`` if no module was built for it.

    Args:
        machine: the architecture, as :func:`platform.machine` names it; ``""`` means this machine's architecture.

    """
    folder = _NATIVE / {"arm64": "aarch64", "amd64": "x86_64"}.get(kind := machine or platform.machine(), kind)
    return str(folder) if folder.is_dir() else ""


def envoy_environment() -> dict[str, str]:
    """Return environment variables for Envoy, which tell it the folder that contains the module."""
    return {**os.environ, _SEARCH_PATH: module_folder()} if module_folder() else dict(os.environ)
