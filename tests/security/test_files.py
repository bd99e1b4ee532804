"""A label opens no file of the host: attacks on a TLS server that only the operator's key opens."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import web

from pilotage.policy import FILE_REFUSED
from pilotage.testing import FakeEngine
from tests.support.command import pilotage_serve
from tests.support.ports import free_port
from tests.support.tls import Authority, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.command import Command

pytestmark = [pytest.mark.process, pytest.mark.slow]


class Victim:
    """An engine that answers only to clients with the operator's certificate.

    Attributes:
        port: where it listens on loopback.
        certificate, key: files of the operator's certificate, which the gateway's process can read.
        ca: file of the authority that signed the victim's certificate.

    """

    def __init__(self, port: int, files: tuple[str, str], ca: str) -> None:
        self.port = port
        self.certificate, self.key = files
        self.ca = ca


@asynccontextmanager
async def victim(folder: Path) -> AsyncIterator[Victim]:
    folder.mkdir()
    authority = Authority(folder, "operator")
    context = server_context(authority.issue("engine", "127.0.0.1"), authority)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="all containers")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    try:
        yield Victim(port, authority.issue("operator", "operator@example.com"), authority.ca_file)
    finally:
        await runner.cleanup()


def attack(engine: FakeEngine, port: int, name: str = "thief", **labels: str) -> None:
    """Start a container whose labels lead to the victim."""
    own = {f"proxy.{name}.{key}": value for key, value in labels.items()}
    scheme = {f"proxy.{name}.scheme": "https", f"proxy.{name}.port": str(port)}
    engine.add(name, networks=(), ports=(f"{port}:{port}",), labels=scheme | own)


async def refused(command: Command, name: str) -> None:
    """Wait until a container's route is out of service, with the one message about files."""
    route = await command.route_of(name, name)
    assert (route["excluded"], route["excluded_reason"]) == (True, "Error")
    assert FILE_REFUSED in await command.problems(name)
    assert await command.status(f"{name}.localhost") == 404


async def test_a_label_does_not_use_the_operators_key_unless_its_folder_is_allowed(tmp_path: Path) -> None:
    async with victim(tmp_path / "certs") as it, FakeEngine() as engine:
        attack(engine, it.port, no_tls_verify="true", ssl_certificate=it.certificate, ssl_certificate_key=it.key)
        async with pilotage_serve(tmp_path, engine) as command:
            await refused(command, "thief")
        allowed = f"gateway:\n  label_files: [{tmp_path}/certs]"
        async with pilotage_serve(tmp_path, engine, config=allowed) as command:
            await command.answers("thief.localhost", (200, "all containers"))  # the attack itself works


async def test_a_refused_authority_closes_the_route_instead_of_trusting_any(tmp_path: Path) -> None:
    async with victim(tmp_path / "certs") as it, FakeEngine() as engine:
        attack(engine, it.port, ssl_trusted_certificate=it.ca)
        async with pilotage_serve(tmp_path, engine) as command:
            await refused(command, "thief")


async def test_a_link_in_an_allowed_folder_leads_to_no_other_file_even_if_created_later(
    tmp_path: Path,
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    other = trustme.CA().issue_cert("nobody")
    other.cert_chain_pems[0].write_to_path(allowed / "a.pem")
    other.private_key_pem.write_to_path(allowed / "a.key")
    async with victim(tmp_path / "certs") as it, FakeEngine() as engine:
        (allowed / "b.pem").symlink_to(it.certificate)
        (allowed / "b.key").symlink_to(it.key)
        paths = {"ssl_certificate": f"{allowed}/b.pem", "ssl_certificate_key": f"{allowed}/b.key"}
        attack(engine, it.port, "linked", no_tls_verify="true", **paths)
        config = f"gateway:\n  label_files: [{allowed}]"
        async with pilotage_serve(tmp_path, engine, config=config) as command:
            await refused(command, "linked")
            later = {"ssl_certificate": f"{allowed}/a.pem", "ssl_certificate_key": f"{allowed}/a.key"}
            attack(engine, it.port, "later", no_tls_verify="true", **later)
            route = await command.route_of("later", "later")
            assert not route["excluded"]  # a file of its own, with which the victim does not let it in
            for name, victims in (("a.pem", it.certificate), ("a.key", it.key)):
                (allowed / name).unlink()
                (allowed / name).symlink_to(victims)
            # The routes stay as they are, but the gateway reads their files again.
            command.config.write_text(command.config.read_text() + "\n  compression: false")
            async with asyncio.timeout(30):
                while FILE_REFUSED not in await command.problems("later"):
                    assert (await command.ask("later.localhost"))[1] != "all containers"
                    await asyncio.sleep(0.05)
            assert await command.status("later.localhost") in (404, 503)
            assert not (await command.route_of("later", "later"))["excluded"]  # only its reading failed
            engine.restart("later")  # now its labels are judged again, too
            async with asyncio.timeout(30):
                while not (await command.route_of("later", "later"))["excluded"]:
                    assert (await command.ask("later.localhost"))[1] != "all containers"


async def test_nothing_reveals_whether_a_file_exists(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "folder").mkdir()
    async with FakeEngine() as engine:
        names = ["there", "closed", "folder", "missing", "there/below"]
        for number, name in enumerate(names):
            attack(engine, 443, f"spy{number}", ssl_trusted_certificate=f"{tmp_path}/{name}")
        async with pilotage_serve(tmp_path, engine) as command:
            for number in range(len(names)):
                await refused(command, f"spy{number}")
            found = (await command.get("/v1/problems"))["problems"]
            assert len({(each["message"], each["hint"]) for each in found}) == 1
            assert len(found) == len(names)


async def test_the_files_of_route_files_are_free(tmp_path: Path) -> None:
    async with victim(tmp_path / "certs") as it, FakeEngine() as engine:
        fields = f"host: 127.0.0.1, port: {it.port}, scheme: https, no_tls_verify: true"
        files = f"ssl_certificate: {it.certificate}, ssl_certificate_key: {it.key}"
        (tmp_path / "routes.yml").write_text(f"mine: {{{fields}, {files}}}")
        async with pilotage_serve(tmp_path, engine, config=f"  files: [{tmp_path}/routes.yml]") as command:
            await command.answers("mine.localhost", (200, "all containers"))


def test_the_victim_requires_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "operator")
    assert server_context(authority.issue("engine", "127.0.0.1"), authority).verify_mode == ssl.CERT_REQUIRED
