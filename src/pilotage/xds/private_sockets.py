"""Binds the xDS server to addresses that only our Envoys can use: private unix sockets, or TCP with mutual TLS."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import grpc
import grpc.aio

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.sockets import permissions
from pilotage.core.tempdirs import private_folder_of

__all__ = ["bind"]


def bind(server: grpc.Server | grpc.aio.Server, address: str, tls: tuple[bytes, bytes, bytes] | None) -> None:
    """Let a gRPC server listen on an address. Every client can read all routes and private keys.

    Args:
        server: the server, which has not been started.
        address: ``unix:/path`` or ``host:port``. The socket gets mode 0600, and its directory must have mode 0700.
        tls: the CA certificate of the Envoys, and the server's own certificate chain and key, as PEM; required for TCP.

    Raises:
        ConfigError: TCP without TLS.
        OSError: the server cannot listen on the address, or other users could reach the socket.

    """
    is_socket = address.startswith("unix:")
    if tls is None and not is_socket:
        message = f"{address} would give all routes and private keys to everyone who can connect"
        raise ConfigError([Problem(message=message, hint="listen on a unix socket, or use mutual TLS")])
    try:
        if tls is None:
            _add_socket(server, address.removeprefix("unix:"))
        else:
            authority, chain, key = tls
            credentials = grpc.ssl_server_credentials(
                [(key, chain)], root_certificates=authority, require_client_auth=True
            )
            server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from error


def _add_socket(server: grpc.Server | grpc.aio.Server, path: str) -> None:
    private_folder_of(path)
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        probe.connect(path)  # gRPC would replace the socket without a warning
        raise OSError(98, "another daemon listens there")
    with permissions(0o600):
        server.add_insecure_port(f"unix:{path}")
    Path(path).chmod(0o600)
