"""Writes the Compose file that starts an agent. Pure."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pilotage.agents.certificates import AgentCertificates

__all__ = ["compose_file"]

_IMAGE: Final = "ghcr.io/yusing/godoxy-agent:latest"


def compose_file(name: str, port: int, certificates: AgentCertificates, *, podman: bool = False) -> str:
    """Return the text of the Compose file.

    Args:
        name: the name that the agent reports to pilotage.
        port: the port on which the agent listens, TCP and UDP.
        certificates: the result of :func:`make_certificates`; the file contains the certificates and keys of the CA and
            the server.
        podman: whether the agent's engine is Podman. With Podman, the agent publishes its port instead of using the
            host's network, so the agent must be connected to the containers' networks.

    """
    socket = "/var/run/podman/podman.sock" if podman else "/var/run/docker.sock"
    variables = {
        "AGENT_NAME": name,
        "AGENT_PORT": str(port),
        "AGENT_CA_CERT": _pair(certificates.ca, certificates.ca_key),
        "AGENT_SSL_CERT": _pair(certificates.server, certificates.server_key),
        "RUNTIME": "podman" if podman else "docker",
        "DOCKER_SOCKET": socket,
    }
    lines = ["services:", "  godoxy-agent:", f"    image: {_IMAGE}", "    container_name: godoxy-agent"]
    lines.append("    restart: always")
    if podman:
        lines += ["    ports:", *(f'      - "{port}:{port}/{kind}"' for kind in ("tcp", "udp"))]
    else:
        lines.append("    network_mode: host")
    lines += ["    environment:", *(f"      {key}: {json.dumps(value)}" for key, value in variables.items())]
    lines += ["    volumes:", f"      - {socket}:{socket}", "      - ./data:/app/data"]
    return "\n".join(lines) + "\n"


def _pair(certificate: bytes, key: bytes) -> str:
    return ";".join(base64.b64encode(part).decode() for part in (certificate, key))
