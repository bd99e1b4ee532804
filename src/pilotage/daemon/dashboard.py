"""Lets the gateway serve the dashboard: a route file of the daemon leads to a port that only the gateway may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import yaml

from pilotage.api.gateway_entry import ENTRY_HEADER
from pilotage.core.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.api.server import Api
    from pilotage.config.dashboard import DashboardSettings

__all__ = ["DashboardRoute"]

_FILE = "dashboard.yml"


class DashboardRoute:
    """The route file for the dashboard.

    Args:
        folder: the private folder that the daemon shares with its Envoy; ``None`` if the daemon runs no Envoy.

    """

    def __init__(self, folder: Path | None) -> None:
        self._file = folder / _FILE if folder is not None else None

    async def configure(self, settings: DashboardSettings, api: Api) -> tuple[str, ...]:
        """Write the file, and open the port if necessary. Return the name of the file; empty if there is no route.

        Raises:
            GatewayError: the file cannot be written.
            ConfigError: the port cannot be opened.

        """
        if self._file is None:
            return ()
        if not settings.hosts:
            self._file.unlink(missing_ok=True)
            return ()
        await api.open_entry(may_read=settings.signs_in)
        text = yaml.safe_dump(_routes(settings, api.entry.port, api.entry.secret), sort_keys=False)
        try:
            _write(self._file, text)
        except OSError as error:
            what = f"cannot write the route of the dashboard: {error.strerror}"
            raise GatewayError(what, "make the folder of temporary files writable") from error
        return (str(self._file),)


def _write(path: Path, text: str) -> None:
    """Replace a file with one that only this user may read.

    Raises:
        OSError: it cannot be written.

    """
    made = path.with_suffix(".new")
    made.unlink(missing_ok=True)
    with open(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    made.replace(path)


def _routes(settings: DashboardSettings, port: int, secret: str) -> dict[str, object]:
    """Return the content of the route file."""
    entry = {"set_headers": {ENTRY_HEADER: secret}}
    return {
        host: {
            "host": "127.0.0.1",
            "port": port,
            "middlewares": {**settings.middlewares, "request": entry},
            "homepage": {"show": False},
        }
        for host in settings.hosts
    }
