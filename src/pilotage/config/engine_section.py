"""Defines the form of one engine in ``providers.docker`` of ``pilotage.yml``. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pilotage.config.serve import Section

__all__ = ["EngineEntry", "TLSEntry"]

Scheme = Literal["http", "https", "ssh", "tcp", "tls", "unix"]


class TLSEntry(Section):
    """The TLS files of an engine."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class EngineEntry(Section):
    """One engine in the mapping form: ``url``, or ``scheme`` and ``host``; and whether its containers may sleep."""

    url: str | None = None
    scheme: Scheme | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    tls: TLSEntry | None = None
    idle: bool | None = None
