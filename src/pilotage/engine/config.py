"""Describes one engine as configured: its URL, certificate files and name. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["DockerProviderConfig", "TLSFiles", "is_explicit_only"]


def is_explicit_only(name: str) -> bool:
    """Return whether the name of a provider or an agent ends in ``!`` and so makes it explicit-only (LABELS II.1.5)."""
    return name.endswith("!")


class TLSFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Certificate files of a TLS connection.

    Attributes:
        ca_file: CAs to trust; ``""`` for the system's.
        cert_file, key_file: client certificate and its private key; both set or both empty.
        verify: ``False`` accepts any server certificate. Only Docker contexts (``SkipTLSVerify``), and ``DOCKER_TLS``
            without ``DOCKER_TLS_VERIFY``, set it. Commands and the daemon warn about it.

    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True


class DockerProviderConfig(msgspec.Struct, frozen=True):
    """One engine as configured.

    Attributes:
        url: ``unix:///var/run/docker.sock``, ``tcp://host:2375``, ``tls://``, ``https://``, ``http://``,
            ``ssh://user@host``, ``agent://host:8890``, ``context://name``.
        tls: certificate files, if any.
        name: the provider's name in the configuration; ``""`` if it has none. A trailing ``!`` makes it
            explicit-only (LABELS II.1.5).
        idle: whether containers may be started and stopped, so that they sleep and wake; ``None`` for the default,
            which is only on a unix socket.

    """

    url: str
    tls: TLSFiles | None = None
    name: str = ""
    idle: bool | None = None

    @property
    def may_idle(self) -> bool:
        """Whether containers of this engine may be started and stopped. Contexts must have been resolved."""
        return self.url.startswith("unix://") if self.idle is None else self.idle

    @property
    def explicit_only(self) -> bool:
        """Whether only containers with a ``proxy.`` label get routes (LABELS II.1.5)."""
        return is_explicit_only(self.name)
