"""Describes one engine as configured: its URL, certificate files and name. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["AGENT_SCHEME", "DockerProviderConfig", "TLSFiles", "is_explicit_only"]


AGENT_SCHEME: Final = "agent://"


def is_explicit_only(name: str) -> bool:
    """Return whether an engine or agent is explicit-only: whether its name ends in ``!`` (LABELS II.1.5)."""
    return name.endswith("!")


class TLSFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Certificate files of a TLS connection.

    Attributes:
        ca_file: CAs to trust; ``""`` for the system's.
        cert_file, key_file: client certificate and its private key; both set or both empty.
        verify: ``False`` accepts any server certificate. Only Docker contexts (``SkipTLSVerify``), and ``DOCKER_TLS``
            without ``DOCKER_TLS_VERIFY``, set ``False``. Commands and the daemon then show a warning.
        zip_file: an agent's archive with CA, certificate and key; if it is set, the three files above are ``""``.

    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify: bool = True
    zip_file: str = ""


class DockerProviderConfig(msgspec.Struct, frozen=True):
    """One engine as configured.

    Attributes:
        url: ``unix:///var/run/docker.sock``, ``tcp://host:2375``, ``tls://``, ``https://``, ``http://``,
            ``ssh://user@host``, ``agent://host:8890``, ``context://name``.
        tls: certificate files, if any.
        name: the engine's name in the configuration; ``""`` if it has none. A trailing ``!`` makes the engine
            explicit-only (LABELS II.1.5).
        idle: whether containers may be started and stopped, so that they can sleep and wake. ``None``, the default,
            allows this for an engine on a unix socket or behind an agent.

    """

    url: str
    tls: TLSFiles | None = None
    name: str = ""
    idle: bool | None = None

    @property
    def may_idle(self) -> bool:
        """Whether containers on this engine may be started and stopped. Contexts must already be resolved."""
        return self.url.startswith(("unix://", AGENT_SCHEME)) if self.idle is None else self.idle

    @property
    def agent(self) -> str:
        """The address of the agent in front of the engine, ``host:port``; ``""`` if there is no agent."""
        return self.url.removeprefix(AGENT_SCHEME) if self.url.startswith(AGENT_SCHEME) else ""

    @property
    def takes_agent_name(self) -> bool:
        """Whether the engine takes the name that its agent reports, because its own name is only an address."""
        return bool(self.agent) and self.name in ("", self.agent, self.url)

    @property
    def explicit_only(self) -> bool:
        """Whether only containers with a ``proxy.`` label get routes (LABELS II.1.5)."""
        return is_explicit_only(self.name)
