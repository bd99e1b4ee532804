"""Where an engine is: ``"ssh://me@host"``, the mapping form, as typed values. Pure: nothing here opens a socket."""

from __future__ import annotations

import msgspec

__all__ = ["DockerProviderConfig", "TLSFiles"]


class TLSFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a TLS connection. ``cert_file`` and ``key_file`` are both set or both empty."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


class DockerProviderConfig(msgspec.Struct, frozen=True):
    """One engine as configured.

    Attributes:
        url: ``unix:///var/run/docker.sock``, ``tcp://host:2375``, ``tls://``, ``https://``, ``http://``,
            ``ssh://user@host``, ``agent://host:8890``, ``context://name``.
        tls: certificate files, when given.
        name: the provider's name in the configuration; ``""`` when it has none. A trailing ``!`` makes it
            explicit-only (LABELS II.1.5).

    """

    url: str
    tls: TLSFiles | None = None
    name: str = ""
