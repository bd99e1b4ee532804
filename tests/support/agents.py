"""Agents in front of engines: their certificates as GoDoxy makes them, ours, and the real program if there is one."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import os
import ssl
import zipfile
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pilotage.engine.config import DockerProviderConfig
from pilotage.engine.credentials import Credentials
from pilotage.testing import FakeAgent
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["PROGRAM", "AgentCertificates", "RealAgent", "agent", "agent_config", "real_agent"]

PROGRAM = os.environ.get("GODOXY_AGENT", "")
"""Path of GoDoxy's agent, which the tests of agents then use, too."""

_YEAR = dt.timedelta(days=365)
_PEM = serialization.Encoding.PEM


class AgentCertificates:
    """The CA of one agent, and the certificates of its server and client, without key identifiers, as GoDoxy's.

    Attributes:
        ca, cert, key: PEM of the CA, and of the client's certificate and key.

    """

    def __init__(self, *, expired: bool = False) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = self._subject()
        self._expired = expired
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self.ca = self._sign(builder.add_extension(usage, critical=True)).public_bytes(_PEM)
        self.cert, self.key = self._issue("Client", ExtendedKeyUsageOID.CLIENT_AUTH)
        self.server_cert, self.server_key = self._issue("Server", ExtendedKeyUsageOID.SERVER_AUTH)

    @staticmethod
    def _subject(unit: str = "") -> x509.Name:
        parts = [(NameOID.ORGANIZATION_NAME, "GoDoxy"), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]
        parts.append((NameOID.COMMON_NAME, "godoxy.agent"))
        return x509.Name([x509.NameAttribute(kind, text) for kind, text in parts if text])

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
        begin, end = (now - 2 * _YEAR, now - _YEAR) if self._expired else (now, now + 1000 * _YEAR)
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key.public_key())
        return begun.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)

    def _sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        return builder.sign(self._key, hashes.SHA256())

    def _issue(self, unit: str, purpose: x509.ObjectIdentifier) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(self._subject(unit), key)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName("godoxy.agent")]), critical=False
        ).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return self._sign(builder).public_bytes(_PEM), _key_pem(key)

    def write_zip(self, path: Path, **members: bytes | None) -> Path:
        """Write the archive that GoDoxy keeps; ``None`` leaves out a member (``ca``, ``cert``, ``key``)."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("ca", "cert", "key"):
                content = members.get(name, getattr(self, name))
                if content is not None:
                    archive.writestr(zipfile.ZipInfo(f"{name}.pem"), content)
        path.chmod(0o600)
        return path

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return the context of an agent that requires a client's certificate."""
        pair = folder / "agent-server.pem"
        pair.write_bytes(self.server_cert + self.server_key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=self.ca.decode())
        return context

    def for_udp(self) -> Credentials:
        """Return what an agent needs to tunnel udp."""
        return Credentials(self.ca, self.server_cert, self.server_key)

    def environment(self) -> dict[str, str]:
        """Return the variables with which the real program gets its certificates."""
        ca_key = _key_pem(self._key)
        pairs = {"AGENT_CA_CERT": (self.ca, ca_key), "AGENT_SSL_CERT": (self.server_cert, self.server_key)}
        return {name: ";".join(base64.b64encode(part).decode() for part in pair) for name, pair in pairs.items()}


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


class RealAgent:
    """GoDoxy's agent, where ``$GODOXY_AGENT`` names one.

    Attributes:
        address: where it listens.

    """

    def __init__(self, engine: str, certificates: AgentCertificates, folder: Path, name: str) -> None:
        self.port = free_port()
        self._environment = {
            "AGENT_NAME": name,
            "AGENT_PORT": str(self.port),
            "DOCKER_SOCKET": engine.removeprefix("unix://"),
            "PATH": os.environ.get("PATH", ""),
            **certificates.environment(),
        }
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Start the program; return once it accepts connections."""
        with (self._folder / "agent.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM, env=self._environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def crash(self) -> None:
        """Kill the program."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def agent(
    engine: str, folder: Path, *, certificates: AgentCertificates | None = None, **options: Any
) -> AsyncIterator[tuple[FakeAgent, DockerProviderConfig]]:
    """Run an agent of ours in front of an engine; yield it, and the configuration with which it is reached."""
    made = certificates or AgentCertificates()
    options.setdefault("udp", made.for_udp())
    async with FakeAgent(engine, made.server_context(folder), **options) as running:
        path = made.write_zip(folder / "certs" / f"{running.address}.zip")
        yield running, agent_config(running.address, path)


def agent_config(address: str, path: Path, name: str = "") -> DockerProviderConfig:
    """Return the configuration of an agent, by default of one that goes by its own name."""
    from pilotage.engine.config import TLSFiles

    return DockerProviderConfig(f"agent://{address}", TLSFiles(zip_file=str(path)), name or address)


@contextlib.asynccontextmanager
async def real_agent(
    engine: str, folder: Path, name: str = "real"
) -> AsyncIterator[tuple[RealAgent, DockerProviderConfig]]:
    """Run GoDoxy's agent in front of an engine on a unix socket, like :func:`agent`."""
    made = AgentCertificates()
    running = RealAgent(engine, made, folder, name)
    await running.listen()
    try:
        path = made.write_zip(folder / "certs" / f"{running.address}.zip")
        yield running, agent_config(running.address, path)
    finally:
        await running.crash()
