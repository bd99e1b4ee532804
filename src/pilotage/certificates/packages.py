"""Checks that the optional packages for automatic certificates are installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pilotage.certificates.settings import INSTALL
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem

if TYPE_CHECKING:
    from pilotage.certificates.settings import AutocertSettings

__all__ = ["check_packages"]


def check_packages(settings: AutocertSettings) -> None:
    """Check that the packages for automatic certificates are installed.

    Raises:
        ConfigError: a package is missing.

    """
    if not settings.entries:
        return
    try:
        importlib.import_module("pilotage.certificates.manager")
    except ModuleNotFoundError as error:
        message = f"autocert needs the Python package {error.name}"
        raise ConfigError([Problem(message=message, hint=f"run: {INSTALL}", path="autocert")]) from error
