"""Starts the server that serves files for routes with the scheme ``fileserver``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.errors import GatewayError
from pilotage.gateway.file_paths import FileRoot
from pilotage.gateway.file_server import FileServer

if TYPE_CHECKING:
    from contextlib import AsyncExitStack
    from pathlib import Path

    from pilotage.daemon.settings import DaemonSettings
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.server import AdsServer

__all__ = ["options_with_files", "start_file_server"]

_SOCKET: Final = "files.sock"


def options_with_files(settings: DaemonSettings, folder: Path) -> GatewayOptions:
    """Return the gateway's settings, with the socket of the file server if the daemon's own Envoy can reach it."""
    path = f"{folder}/{_SOCKET}" if settings.with_gateway else ""
    return msgspec.structs.replace(settings.options, files_socket=path)


async def start_file_server(ads: AdsServer, stack: AsyncExitStack) -> None:
    """Serve files until ``stack`` closes. Without an Envoy that could reach the server, do nothing.

    Raises:
        GatewayError: the socket cannot be created.

    """
    path = ads.snapshot.options.files_socket
    if not path:
        return

    def root_of(alias: str) -> FileRoot | None:
        backend = ads.snapshot.backend(f"route/{alias}")
        if backend is None or backend.route.scheme != "fileserver":
            return None
        settings = backend.route.settings
        return FileRoot(settings.root, settings.index, settings.spa, backend.route.folders)

    server = FileServer(root_of)
    stack.push_async_callback(server.close)
    try:
        await server.start(path)
    except OSError as error:
        raise GatewayError(f"cannot serve files: {error.strerror}", "set TMPDIR to a folder for sockets") from error
