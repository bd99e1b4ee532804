"""Reloads of the configuration and of certificates, with a running daemon."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest
import trustme
from cryptography import x509

from pilotage.config.engines import EngineChoice
from pilotage.core.errors import ConfigError, PilotageError
from pilotage.core.problems import Problem
from pilotage.daemon.daemon import Daemon
from pilotage.daemon.reload import Reloader
from pilotage.daemon.settings import DaemonSettings, Flags
from pilotage.testing import FakeEngine
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.options import GatewayOptions
from tests.support import daemon_process
from tests.support.envoy import web_server
from tests.support.load import load
from tests.support.ports import free_port
from tests.support.rights import as_nobody, public_folder
from tests.support.serving import add, configured, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.process


async def test_a_changed_file_adds_and_removes_engines_and_touches_no_other(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    async with web_server() as port, FakeEngine() as first, FakeEngine() as second:
        add(first, "one", port)
        add(second, "two", port)
        file.write_text(configured(first))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            assert (await served.ask("two.example.com"))[0] == 404
            calls = dict(first.calls)
            file.write_text(configured(first, second))
            await served.answers("two.example.com")
            assert dict(first.calls) == calls
            file.write_text(configured(first))
            await served.answers("two.example.com", 404)
            assert (await served.ask("one.example.com"))[0] == 200
            assert dict(first.calls) == calls
            assert served.daemon.reloads == {"taken": 2, "refused": 0}


async def test_routes_from_files_are_served_and_followed(tmp_path: Path) -> None:
    file, routes = tmp_path / "pilotage.yml", tmp_path / "routes.yml"
    async with web_server() as port, FakeEngine() as engine:
        routes.write_text(f"nas: {{host: 127.0.0.1, port: {port}}}")
        file.write_text(f"providers: {{files: [routes.yml], docker: {{local: '{engine.url}'}}}}")
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            await served.answers("nas.example.com")
            routes.write_text(f"box: {{host: 127.0.0.1, port: {port}}}")
            await served.answers("box.example.com")
            await served.answers("nas.example.com", 404)
            file.write_text(f"providers: {{docker: {{local: '{engine.url}'}}}}")
            await served.answers("box.example.com", 404)


@pytest.mark.parametrize("mode", [0o000, 0o600])
async def test_a_folder_of_route_files_that_may_not_be_entered_ends_neither_the_daemon_nor_its_routes(
    mode: int,
) -> None:
    with public_folder() as here:
        file, folder = here / "pilotage.yml", here / "routes.d"
        here.chmod(0o777)
        xds = f"gateway: {{xds: {{listen: 'unix://{here}/xds/ads.sock'}}}}"
        file.write_text(f"providers: {{files: [routes.d/*.yml]}}\n{xds}")
        with as_nobody():
            folder.mkdir()
            (folder / "nas.yml").write_text("nas: {host: 10.0.0.9}")
            flags = Flags(choice=EngineChoice(config=str(file)), gateway=False)
            async with serving(flags, here) as served:
                folder.chmod(mode)
                for number in (1, 2):
                    served.daemon.reload()
                    await until(lambda n=number: served.daemon.reloads["taken"] == n)  # type: ignore[misc]
                await until(lambda: served.daemon.discovery.table.problems)
                assert set(served.daemon.discovery.table.routes) == {"nas"}
                (problem,) = served.daemon.problems()
                assert "Permission denied; let the user with ID" in str(problem)
                folder.chmod(0o700)
                await until(lambda: not served.daemon.problems())


async def test_a_hangup_signal_after_an_edit_of_an_engine_loses_no_request(tmp_path: Path) -> None:
    async with web_server() as port, FakeEngine() as first, FakeEngine(tcp=True) as second:
        for engine in (first, second):
            add(engine, "shop", port)
            engine.spoil("list", delay=0.5)
        async with daemon_process.serving(tmp_path, {"local": first.url}) as served:
            await served.answers("shop.example.com")
            file = tmp_path / "pilotage.yml"
            text = file.read_text()
            async with load(served.port, "shop.example.com") as loaded:
                for engine in (second, first, second):
                    streams = engine.calls["events"]
                    file.write_text(text.replace(first.url, engine.url))
                    os.kill(served.pid, signal.SIGHUP)
                    await until(lambda e=engine, n=streams: e.calls["events"] > n)  # type: ignore[misc]
                    await loaded.more()
                    await loaded.more()
            assert not loaded.failed
            assert len(loaded.answers) > 400
        changed = [line for line in served.log.splitlines() if "configuration reloaded: changed engine local" in line]
        assert len(changed) == 3


async def test_an_invalid_configuration_is_rejected_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "pilotage.yml"
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "web", port)
        file.write_text(configured(engine))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            file.write_text(configured(engine, more="gatewey: {}"))
            served.daemon.reload()
            await until(lambda: served.daemon.reloads["refused"] == 1)
            assert "unknown key 'gatewey'; did you mean 'gateway'?" in caplog.text
            assert any("gatewey" in problem.message for problem in served.daemon.problems())
            assert (await served.ask("web.example.com"))[0] == 200
            file.write_text(configured(engine, more="match_domains: [.example.com]"))
            served.daemon.reload()
            await served.answers("web.other.com", 404)
            assert (await served.ask("web.example.com"))[0] == 200
            assert not any("gatewey" in problem.message for problem in served.daemon.problems())


async def test_the_daemon_survives_any_exception_of_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    settings = DaemonSettings(engines=(), with_gateway=False)
    failures: list[Exception] = [PermissionError(13, "Permission denied"), PilotageError("in use"), ZeroDivisionError()]

    def rebuild() -> DaemonSettings:
        if failures:
            raise failures.pop(0)
        return settings

    async def apply(*_: DaemonSettings) -> None:
        raise PilotageError("two engines are called 'local'")

    reloader = Reloader(settings, rebuild)
    for wanted in (
        "internal error: PermissionError(13",
        "in use",
        "internal error: ZeroDivisionError(); please report it",
    ):
        await reloader.reload(lambda _: None, apply)
        (problem,) = reloader.problems
        assert str(problem).startswith(wanted)
    assert reloader.results == {"taken": 0, "refused": 3}
    await reloader.reload(lambda _: None, apply)
    assert reloader.results == {"taken": 1, "refused": 3}
    assert caplog.messages[-1] == "configuration not applied completely: two engines are called 'local'"


async def test_a_docker_context_that_has_gone_rejects_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    async with FakeEngine() as engine:
        xds = f"gateway: {{xds: {{listen: 'unix://{tmp_path}/ads.sock'}}}}"
        file.write_text(configured(engine, more=xds))
        flags = Flags(choice=EngineChoice(config=str(file)), gateway=False)
        async with serving(flags, tmp_path) as served:
            file.write_text("providers: {docker: {engine0: 'context://gone'}}")
            served.daemon.reload()
            await until(lambda: served.daemon.reloads["refused"] >= 1)
            assert any("'gone'" in str(problem) for problem in served.daemon.problems())
            assert served.daemon.discovery.table.engines["engine0"].state == "live"


async def test_settings_that_need_a_restart_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "pilotage.yml"
    async with FakeEngine() as engine:
        file.write_text(configured(engine))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            file.write_text(configured(engine, more="gateway: {workers: 3}"))
            served.daemon.reload()
            await until(lambda: served.daemon.reloads["taken"] == 1)
            await until(lambda: "takes effect only after a restart: gateway.workers" in caplog.text)
            caplog.clear()
            file.write_text(configured(engine, more="gateway: {workers: 3, compression: true}"))
            served.daemon.reload()  # compared with what it runs with, not with the previous file
            await until(lambda: "takes effect only after a restart: gateway.workers" in caplog.text)


async def test_a_port_of_the_running_api_stays_out_of_reach_of_labels(tmp_path: Path) -> None:
    file, other = tmp_path / "pilotage.yml", free_port()
    async with FakeEngine() as engine:
        file.write_text(configured(engine, more=f"api: {{listen: ['127.0.0.1:{other}']}}"))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            running = served.daemon.settings.start_ports
            file.write_text(configured(engine, more="api: {listen: []}"))
            served.daemon.reload()
            await until(lambda: served.daemon.reloads["taken"] == 1)
            assert running <= served.daemon.settings.reserved_ports


def issue(folder: Path, authority: trustme.CA) -> int:
    """Write a certificate for ``shop.example.com`` and its key; return its serial number."""
    made = authority.issue_cert("shop.example.com")
    made.private_key_pem.write_to_path(str(folder / "front-key.pem"))
    (folder / "front.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    return x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number


async def test_https_is_served_and_renewed_certificates_are_taken(tmp_path: Path) -> None:
    file, authority, port = tmp_path / "pilotage.yml", trustme.CA(), free_port()
    first = issue(tmp_path, authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async def shown() -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="shop.example.com")
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(found).serial_number

    async with web_server() as upstream, FakeEngine() as engine:
        add(engine, "shop", upstream)
        tls = "tls: [{cert_file: front.pem, key_file: front-key.pem}]"
        file.write_text(configured(engine, more=f"gateway: {{https: '127.0.0.1:{port}', {tls}}}"))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            url = f"https://127.0.0.1:{port}/"
            async with served.session.get(url, ssl=context, server_hostname="shop.example.com") as refused:
                assert refused.status == 404  # it is asked for as 127.0.0.1
            host = {"Host": "shop.example.com"}
            async with served.session.get(url, ssl=context, server_hostname="shop.example.com", headers=host) as answer:
                assert await answer.text() == "hello\n"
            assert await shown() == first
            second = issue(tmp_path, authority)
            async with asyncio.timeout(30):
                while await shown() != second:  # noqa: ASYNC110  # it happens in Envoy
                    await asyncio.sleep(0.05)


async def test_systemd_hears_of_no_readiness_by_a_configuration_that_is_read_before(tmp_path: Path) -> None:
    def refused() -> DaemonSettings:
        raise ConfigError([Problem(message="faulty")])

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        daemon = Daemon(
            DaemonSettings(engines=()), refused, {"NOTIFY_SOCKET": str(tmp_path / "notify")}, lambda _: None
        )
        rereading = asyncio.create_task(daemon._reload_on_request())
        daemon.reload()
        await until(lambda: daemon.reloads["refused"] == 1)
        assert not rereading.done()
        rereading.cancel()
        with pytest.raises(BlockingIOError):
            manager.recv(999)


async def test_a_revocation_list_that_expires_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.daemon.reload._EXPIRY", 0)
    profile, looks = ClientProfile("staff", crl_files=("staff.crl",)), []

    def read(them: ClientProfile) -> tuple[ClientProfile, bytes, bytes]:
        looks.append(them)
        return msgspec.structs.replace(them, problem="it has expired" if len(looks) > 2 else ""), b"", b""

    monkeypatch.setattr("pilotage.daemon.reload.read_profile", read)
    settings = DaemonSettings(engines=(), options=GatewayOptions(client_profiles=(profile,)))
    reloader = Reloader(settings, lambda: settings)
    watching = asyncio.create_task(reloader._watch_revocation_lists())
    try:
        await asyncio.wait_for(reloader.requested(), 30)
        seen = len(looks)
        assert seen >= 3
        await until(lambda: len(looks) > seen + 2)
        assert not reloader._requested.is_set()
    finally:
        watching.cancel()
