"""Certificates of new agents: strict checks accept them, and nobody else can read them."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING

import pytest

from pilotage.agents.certificates import make_certificates, write_archive
from pilotage.core.errors import PilotageError
from pilotage.engine.archive import check_credentials
from pilotage.engine.config import TLSFiles
from pilotage.engine.pool import Pool, new_client
from pilotage.testing import FakeAgent, FakeEngine
from tests.support.agents import agent_config

if TYPE_CHECKING:
    from pathlib import Path

_MADE = make_certificates()


def test_an_archive_is_readable_by_its_owner_only_and_accepted(tmp_path: Path) -> None:
    path = tmp_path / "certs" / "10.0.0.2:8890.zip"
    write_archive(path, _MADE)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    found = check_credentials(TLSFiles(zip_file=str(path)))
    assert found.key == _MADE.client_key
    assert "PRIVATE" not in repr(_MADE)


def test_an_archive_is_not_replaced_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        write_archive(path, _MADE)
    assert path.read_text() == "precious"
    write_archive(path, _MADE, replace=True)
    assert check_credentials(TLSFiles(zip_file=str(path))).ca == _MADE.ca
    assert list(tmp_path.iterdir()) == [path]


def server(folder: Path) -> ssl.SSLContext:
    pair = folder / "server.pem"
    pair.write_bytes(_MADE.server + _MADE.server_key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=_MADE.ca.decode())
    context.load_cert_chain(pair)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_an_agent_and_pilotage_accept_each_other_even_with_strict_checks(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", _MADE)
    context = server(tmp_path)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with FakeEngine() as engine, FakeAgent(engine.url, context, name="new") as running, Pool() as pool:
        config = agent_config(running.address, tmp_path / "a.zip")
        async with await new_client(config, pool=pool) as client:
            assert client.agent is not None
            assert client.agent.name == "new"
        strict = ssl.create_default_context(cadata=_MADE.ca.decode())
        strict.verify_flags |= ssl.VERIFY_X509_STRICT
        pair = tmp_path / "client.pem"
        pair.write_bytes(_MADE.client + _MADE.client_key)
        strict.load_cert_chain(pair)
        import asyncio

        _, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=strict, server_hostname="godoxy.agent")
        writer.transport.abort()


def test_without_cryptography_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.x509.oid", None)
    with pytest.raises(PilotageError, match=r"pip install 'pilotage\[agents\]'"):
        make_certificates()
