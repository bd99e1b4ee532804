"""The Compose file that starts an agent."""

from __future__ import annotations

import base64

import pytest
import yaml

from pilotage.agents.certificates import AgentCertificates
from pilotage.agents.compose import compose_file

_MADE = AgentCertificates(b"ca", b"ca-key", b"server", b"server-key", b"client", b"client-key")


@pytest.mark.parametrize("podman", [False, True])
def test_it_starts_the_agent_with_its_own_certificates(podman: bool) -> None:
    text = compose_file('attic "1"', 8890, _MADE, podman=podman)
    service = yaml.safe_load(text)["services"]["godoxy-agent"]
    environment = service["environment"]
    assert (environment["AGENT_NAME"], environment["AGENT_PORT"]) == ('attic "1"', "8890")
    decode = [base64.b64decode(part) for part in environment["AGENT_SSL_CERT"].split(";")]
    assert decode == [b"server", b"server-key"]
    assert environment["RUNTIME"] == ("podman" if podman else "docker")
    assert "client" not in "".join(base64.b64decode(it).decode() for it in environment["AGENT_CA_CERT"].split(";"))
    if podman:
        assert service["ports"] == ["8890:8890/tcp", "8890:8890/udp"]
    else:
        assert service["network_mode"] == "host"
    assert service["volumes"][0].startswith("/var/run/podman" if podman else "/var/run/docker.sock")
