"""Reads the authorities whose client certificates routes accept, and their revocation lists."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from pilotage.xds.client_profiles import ClientProfile

__all__ = ["read_profile"]

_LARGEST: Final = 2 * 1024 * 1024  # bytes of a file; the authorities that Debian trusts have 220 KB


def read_profile(profile: ClientProfile) -> tuple[ClientProfile, bytes, bytes]:
    """Return a profile with its problem, if any, and as PEM, the certificates of its authorities and their lists."""
    found, problem = [], ""
    for name in (*profile.ca_files, *([_system_file()] if profile.use_system_cas else [])):
        try:
            found.append(_read(name))
        except (OSError, ValueError) as error:
            problem = problem or str(error)
    if not found and not problem:
        problem = "it has no authority"
    authorities, lists = b"\n".join(found), b""
    if profile.crl_files and not problem:
        try:
            from pilotage.xds.revocation_lists import read_lists  # noqa: PLC0415  # most gateways have no such list

            lists = read_lists(profile.crl_files, authorities)
        except ImportError:
            problem = "revocation lists need the package cryptography"
        except (OSError, ValueError) as error:
            problem = str(error)
    read = msgspec.structs.replace(profile, problem=problem)
    return (read, b"", b"") if problem else (read, authorities, lists)


def _system_file() -> str:
    """Return the file with the authorities that the system trusts; ``""`` if there is none."""
    return ssl.get_default_verify_paths().cafile or ""


def _read(name: str) -> bytes:
    """Return the certificates in a PEM file.

    Raises:
        OSError, ValueError: the file cannot be read, or contains anything but certificates. The message is readable.

    """
    if not name:
        raise ValueError("the system has no file with the authorities that it trusts")
    try:
        with Path(name).open("rb") as file:
            pem = file.read(_LARGEST + 1)
    except OSError as error:
        raise OSError(f"cannot read {name}: {error.strerror}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=pem.decode("ascii", "replace") if len(pem) <= _LARGEST else "")
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(f"{name} is not a PEM file with certificates") from error
    if not context.get_ca_certs():
        raise ValueError(f"{name} has no certificate of an authority")
    return pem
