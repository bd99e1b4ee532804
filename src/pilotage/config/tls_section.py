"""Defines ``gateway.tls``: the gateway's certificates from files, and those of pilotage's own CA. Pure.

``internal`` stands for certificates of pilotage's own CA, for each host name of a route that has no other certificate.
It is the same as a last section of ``autocert`` with ``provider: internal`` and ``domains: auto``.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

from pilotage.certificates.settings import Entry
from pilotage.config.validation import config_error
from pilotage.core.text import shorten

__all__ = ["INTERNAL", "CertificateEntry", "CertificateList", "OwnCA"]

INTERNAL: Final = Entry(name="internal", method="internal", auto=True, private=True)
"""The settings of certificates from pilotage's own CA for ``gateway.tls: internal``."""

_WORD: Final = "internal"


class CertificateEntry(BaseModel):
    """A certificate and its key, as PEM files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cert_file: str
    key_file: str
    default: bool = False


class OwnCA(CertificateEntry):
    """The word ``internal`` in the list."""

    cert_file: str = ""
    key_file: str = ""


def _certificates(value: Any) -> Any:
    items = [value] if isinstance(value, str | dict) else value
    return [_certificate(item) for item in items] if isinstance(items, list) else items


def _certificate(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    if item.strip().lower() != _WORD:
        hint = "write internal for certificates of pilotage's own CA, or a mapping with cert_file and key_file"
        raise config_error(f"{shorten(item)!r} is not a certificate", hint)
    return OwnCA()


CertificateList = Annotated[list[CertificateEntry], BeforeValidator(_certificates)]
