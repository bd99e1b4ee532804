"""The gateway's certificates: read, tried, and made into what Envoys are sent."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.xds.listeners import secret

if TYPE_CHECKING:
    from pilotage.xds.options import CertificateFiles, GatewayOptions
    from pilotage.xds.resources import Resource

__all__ = ["read_certificates"]


def read_certificates(options: GatewayOptions) -> list[Resource]:
    """Return the secrets of all certificates that the gateway shows; none without HTTPS.

    Raises:
        ConfigError: with a problem for each pair of files that cannot be read or used.

    """
    secrets: list[Resource] = []
    problems: list[Problem] = []
    for index, files in enumerate(options.certificates if options.serves_https else ()):
        try:
            secrets.append(_read(index, files))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return secrets


def _read(index: int, files: CertificateFiles) -> Resource:
    try:
        chain, key = Path(files.certificate).read_bytes(), Path(files.key).read_bytes()
    except OSError as error:
        path = error.filename or files.certificate
        raise _fault(f"cannot read {path}: {error.strerror}", "check the path and its rights") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key {files.key} does not belong to the certificate {files.certificate}"
            raise _fault(message, "name the key with which the certificate was asked for") from error
        message = f"{files.certificate} and {files.key} are no certificate and key: {error.reason or error}"
        hint = "write both as PEM, the gateway's own certificate first, the key without a password"
        raise _fault(message, hint) from error
    except OSError as error:  # replaced in this moment
        raise _fault(f"cannot read {error.filename}: {error.strerror}", "check the path and its rights") from error
    return secret(index, chain, key)


def _fault(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(message=message, hint=hint)])
