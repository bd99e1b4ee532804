"""Reads the gateway's certificates, checks them, and builds the secrets that Envoys receive."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.engine.x509 import read_certificates as parse_certificates
from pilotage.xds.client_authorities import read_profile
from pilotage.xds.client_checks import authorities
from pilotage.xds.server_names import secret

if TYPE_CHECKING:
    from pilotage.xds.options import CertificateFiles, GatewayOptions
    from pilotage.xds.resources import Resource

__all__ = ["read_certificates"]


def read_certificates(options: GatewayOptions) -> tuple[GatewayOptions, list[Resource]]:
    """Return the settings, completed with the contents of the certificate files, and the secrets.

    The settings then contain the names of the certificates and the problems of the profiles. Without HTTPS, there are
    no secrets.

    Raises:
        ConfigError: certificates or keys cannot be read or used. The error has one problem for each pair of files.

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
    profiles = [read_profile(profile) for profile in options.client_profiles]
    secrets += [authorities(profile.name, pem, crl) for profile, pem, crl in profiles if not profile.problem]
    read = [msgspec.structs.replace(files, names=_names(files.certificate)) for files in options.certificates]
    return msgspec.structs.replace(
        options, certificates=tuple(read), client_profiles=tuple(it for it, _, _ in profiles)
    ), secrets


def _names(file: str) -> tuple[str, ...]:
    """Return the names for which a certificate is valid: its alternative names or else, as in Envoy, its subject."""
    chain = parse_certificates(file)
    return (chain[0].names or (chain[0].subject,)) if chain else ()


def _read(index: int, files: CertificateFiles) -> Resource:
    try:
        chain, key = Path(files.certificate).read_bytes(), Path(files.key).read_bytes()
    except OSError as error:
        path = error.filename or files.certificate
        raise _error(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"the key {files.key} does not belong to the certificate {files.certificate}"
            raise _error(message, "configure the key with which the certificate was requested") from error
        message = f"{files.certificate} and {files.key} are not a valid certificate and key: {error.reason or error}"
        hint = "write both as PEM, the gateway's own certificate first, the key without a password"
        raise _error(message, hint) from error
    except OSError as error:  # replaced between the two reads
        raise _error(f"cannot read {error.filename}: {error.strerror}", "check the path and its permissions") from error
    return secret(index, chain, key)


def _error(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(message=message, hint=hint)])
