"""Defines the section ``autocert`` of ``pilotage.yml``, as GoDoxy writes it. Pure.

:mod:`pilotage.config.autocert` reads it, and is imported only if a file has this section.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import BeforeValidator, Field

from pilotage.certificates.settings import AutocertSettings
from pilotage.config.serve import Section
from pilotage.config.validation import list_of_one
from pilotage.core.secrets import fold
from pilotage.xds.options import CertificateFiles

__all__ = ["Autocert", "AutocertEntry", "AutocertSection"]


def _options(value: Any) -> Any:
    """Return the options of a provider as texts."""
    if isinstance(value, dict):
        return {key: _text("" if _is_nested(key, item) else item) for key, item in value.items()}
    return value


def _is_nested(key: Any, value: Any) -> bool:
    """Return whether an option is a mapping in GoDoxy. Such options are not supported, and their provider says why."""
    return isinstance(value, dict) and fold(str(key)) == "oauth2config"


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


class AutocertEntry(Section):
    """A section with a CA, names and files."""

    provider: str = ""
    email: str = ""
    domains: Annotated[tuple[str, ...], BeforeValidator(list_of_one)] = ()
    options: Annotated[dict[str, str], BeforeValidator(_options)] = Field(default_factory=dict)
    resolvers: Annotated[tuple[str, ...], BeforeValidator(list_of_one)] = ()
    ca_dir_url: str = ""
    ca_certs: Annotated[tuple[str, ...], BeforeValidator(list_of_one)] = ()
    eab_kid: str = ""
    eab_hmac: str = ""
    eab_hmac_file: str = ""
    cert_path: str = ""
    key_path: str = ""
    acme_key_path: str = ""
    certificate_key_type: Annotated[str, BeforeValidator(_text)] = ""
    profile: str = ""


class AutocertSection(AutocertEntry):
    """The section ``autocert``."""

    folder: str = ""
    extra: tuple[AutocertEntry, ...] = ()


class Autocert(msgspec.Struct, frozen=True):
    """The result of reading the section.

    Attributes:
        settings: the certificates to obtain.
        files: certificates that another program renews (``provider: local``).

    """

    settings: AutocertSettings = AutocertSettings()
    files: tuple[CertificateFiles, ...] = ()
