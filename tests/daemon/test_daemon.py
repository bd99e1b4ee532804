"""The whole: engines, table, Envoy, API, signals, configuration."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
import trustme
from aiohttp import web

from pilotage.config.engines import EngineChoice
from pilotage.core.errors import ConfigError, GatewayError
from pilotage.daemon.daemon import Daemon
from pilotage.daemon.settings import Flags, build_settings
from pilotage.testing import FakeEngine
from tests.support.envoy import web_server
from tests.support.gateway import becomes
from tests.support.leaks import assert_no_leaks
from tests.support.ports import free_port
from tests.support.serving import add, configured, of, serving
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = pytest.mark.process


async def test_a_container_is_reached_by_its_name_and_leaves_nothing_behind_at_the_end(tmp_path: Path) -> None:
    async with web_server() as port, FakeEngine() as engine, assert_no_leaks():
        add(engine, "web", port)
        async with serving(of(engine), tmp_path) as served:
            assert await served.ask("web.example.com") == (200, "hello\n")
            assert (await served.ask("other.example.com"))[0] == 404
            add(engine, "new", port)
            await served.answers("new.example.com")
            engine.remove("new")
            await served.answers("new.example.com", 404)
            assert (await served.ask("web.example.com"))[0] == 200
        assert engine.streams == 0


async def test_real_containers_are_reached_by_their_names(engine: Engine, tmp_path: Path) -> None:
    engine.run("pilotage-serve", labels={"proxy.aliases": "greeter"})
    async with serving(of(engine.host), tmp_path) as served:
        assert await served.ask("greeter.example.com") == (200, "hello\n")
        engine.rm("pilotage-serve")
        await served.answers("greeter.example.com", 404)


async def test_the_api_reports_what_the_daemon_does(tmp_path: Path) -> None:
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "web", port)
        async with serving(of(engine), tmp_path) as served:
            connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
            async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:

                async def fetched(path: str) -> str:
                    async with session.get(path) as answer:
                        return await answer.text()

                assert await fetched("/readyz") == "ready\n"
                assert json.loads(await fetched("/v1/routes"))["routes"]["web"]["port"]["proxy"] == port
                metrics = await fetched("/metrics")
                assert 'pilotage_engine_up{engine="local"} 1.0' in metrics
                assert 'pilotage_engine_calls_total{endpoint="list",engine="local"} 1.0' in metrics
                assert 'pilotage_routes{state="served"} 1.0' in metrics
                assert "pilotage_gateway_up 1.0" in metrics
                add(engine, "new", port)
                await served.answers("new.example.com")
                assert "pilotage_event_to_table_seconds_count 1.0" in await fetched("/metrics")
                assert "envoy_" in await fetched("/metrics/envoy")
                served.daemon.stop()
                assert await fetched("/readyz") == "not ready: stopping\n"


async def test_probe_results_are_in_the_table_and_reset_when_envoy_restarts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    status = 200

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "api", "proxy.aliases": "api"}
    check = {"proxy.api.healthcheck.interval": "1s", "proxy.api.healthcheck.retries": "1"}
    async with web_server() as well, web_server(answer) as sick, FakeEngine() as engine:
        for name, port in (("api-1", well), ("api-2", sick)):
            published = {"networks": (), "ports": (f"{port}:{port}",)}
            engine.add(name, **published, labels={**labels, **check, "proxy.api.port": str(port)})
        add(engine, "plain", well)
        async with serving(of(engine), tmp_path) as served:
            connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
            async with aiohttp.ClientSession("http://pilotage", connector=connector) as session:

                async def found(alias: str = "api") -> dict[str, str | None]:
                    async with session.get("/v1/routes") as answer:
                        endpoints = (await answer.json())["routes"][alias]["endpoints"]
                    return {it["container"]: (it["health"] or {}).get("state") for it in endpoints}

                async def since(container: str) -> float:
                    async with session.get("/v1/routes") as answer:
                        endpoints = (await answer.json())["routes"]["api"]["endpoints"]
                    (at,) = (it["health"]["since"] for it in endpoints if it["container"] == container)
                    return float(at)

                async def finds(**states: str) -> None:
                    await becomes(found, {name.replace("_", "-"): state for name, state in states.items()})

                await finds(api_1="healthy", api_2="healthy")
                assert await found("plain") == {"plain": None}
                status = 503
                await finds(api_1="healthy", api_2="unhealthy")
                async with session.get("/metrics") as metrics:
                    assert 'pilotage_probed_endpoints{state="unhealthy"} 1.0' in await metrics.text()
                assert f"route api: api-2 at 127.0.0.1:{sick} fails the gateway's probe" in caplog.text
                # It changes nothing in what Envoy is told, which would stop probing what it no longer knows.
                assert len(served.daemon.ads.snapshot.backend("route/api").members) == 2  # type: ignore[union-attr]
                assert {(await served.ask("api"))[0] for _ in range(6)} == {200}
                assert served.daemon.gateway is not None
                killed = time.time()
                assert await since("api-1") < killed
                os.kill(served.daemon.gateway.status.pid, signal.SIGKILL)
                await until(lambda: served.daemon.gateway.status.restarts == 1)  # type: ignore[union-attr]
                await finds(api_1="healthy", api_2="unhealthy")

                async def is_found_anew() -> bool:
                    return await since("api-1") > killed

                await becomes(is_found_anew, expected=True)
                await finds(api_1="healthy", api_2="unhealthy")
                status = 200
                await finds(api_1="healthy", api_2="healthy")
                assert f"api-2 at 127.0.0.1:{sick} passes the gateway's probe again" in caplog.text
                engine.remove("api-2")
                await finds(api_1="healthy")


async def test_commands_ask_the_running_daemon_unless_another_engine_is_meant(tmp_path: Path) -> None:
    async def printed(*args: str, **env: str) -> tuple[int | None, str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pilotage", *args),
            env={**clean, "PILOTAGE_SOCKET": str(tmp_path / "api.sock"), **env},
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async with web_server() as port, FakeEngine() as engine, FakeEngine() as other:
        add(engine, "web", port)
        add(other, "elsewhere", 1)
        async with serving(of(engine), tmp_path):
            before = dict(engine.calls)
            status, out, err = await printed("routes", "--format", "json")
            assert (status, list(json.loads(out)["routes"])) == (0, ["web"])
            assert err == f"From the running daemon (process {os.getpid()}).\n"
            assert "web" in (await printed("ps"))[1]
            assert f"http://127.0.0.1:{port}" in (await printed("explain", "web"))[1]
            assert {**engine.calls, "ping": 0} == {**before, "ping": 0}  # a quiet engine is pinged now and then
            for meant in ({"DOCKER_HOST": other.url}, {}):
                args = () if meant else ("--engine", f"other={other.url}")
                _, out, _ = await printed("routes", *args, "--format", "json", **meant)
                assert list(json.loads(out)["routes"]) == ["elsewhere"]
            await engine.close()
            async with asyncio.timeout(30):
                while (printed_now := await printed("routes"))[0] != 1:
                    pass
            assert "web" in printed_now[1]
            assert "error: local: unreachable: " in printed_now[2]
            (tmp_path / "pilotage.yml").write_text(configured(other))
            assert list(json.loads((await printed("routes", "--format", "json"))[1])["routes"]) == ["elsewhere"]


async def test_an_unreachable_engine_does_not_affect_the_others(tmp_path: Path) -> None:
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "web", port)
        gone = f"gone=unix://{tmp_path}/none.sock"
        flags = Flags(choice=EngineChoice(engines=(f"local={engine.url}", gone)))
        async with serving(flags, tmp_path) as served:
            assert (await served.ask("web.example.com"))[0] == 200
            assert any(problem.provider == "gone" for problem in served.daemon.problems())


async def test_engines_that_go_and_come_and_problems_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pilotage.daemon.change_log")
    async with web_server() as port, FakeEngine(socket=tmp_path / "engine.sock") as engine:
        add(engine, "web", port)
        async with serving(of(engine), tmp_path):
            engine.add("typo", labels={"proxy.typo.sheme": "http"})
            await until(lambda: "local/typo: proxy.typo.sheme: " in caplog.text)
            engine.remove("typo")
            await until(lambda: "resolved: local/typo: " in caplog.text)
            before = caplog.text.count("engine local is connected")
            await engine.close()
            await until(lambda: "engine local is unreachable; its routes are kept: " in caplog.text)
            await engine.listen()
            await until(lambda: caplog.text.count("engine local is connected") == before + 1)


async def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        flags = Flags(choice=EngineChoice(engines=("local=unix:///nowhere",)), port=port)
        daemon = Daemon(build_settings(flags, {}), lambda: build_settings(flags, {}), {}, lambda _: None)
        with pytest.raises(ConfigError, match=rf"cannot listen on 0\.0\.0\.0:{port}: Address already in use; choose"):
            await daemon.run()


async def test_where_temporary_files_have_a_long_path_sockets_have_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("deep" * 25)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "web", port)
        async with serving(of(engine), tmp_path) as served:
            assert (await served.ask("web.example.com"))[0] == 200
            assert list(long.iterdir()) == []


async def test_a_missing_envoy_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("gateway: {envoy: /no/envoy}\nproviders: {docker: {local: unix:///nowhere}}")
    with pytest.raises(GatewayError, match="/no/envoy was not found or is not executable"):
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path):
            pass


async def test_a_start_whose_listener_envoy_refuses_fails_and_says_why(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        settings = build_settings(
            Flags(choice=of(engine).choice, port=free_port(), api=(f"unix://{tmp_path}/api.sock",)), {}
        )
        options = msgspec.structs.replace(
            settings.options, access_log=f"{tmp_path}/none/access.log"
        )  # it was there before
        settings = msgspec.structs.replace(settings, options=options)
        with pytest.raises(ConfigError, match=r"rejected the listener http.*none/access.log"):
            async with asyncio.timeout(30):
                await Daemon(settings, lambda: settings, {}, lambda _: None).run()


async def test_an_envoy_that_is_started_again_and_refuses_its_listener_is_not_ready_and_says_why(
    tmp_path: Path,
) -> None:
    (tmp_path / "logs").mkdir()
    file = tmp_path / "pilotage.yml"
    async with FakeEngine() as engine:
        file.write_text(configured(engine, more="gateway: {access_log: logs/a.log}"))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            assert served.daemon.not_ready() == ""
            (tmp_path / "logs").rename(tmp_path / "gone")
            assert served.daemon.gateway is not None
            os.kill(served.daemon.gateway.status.pid, signal.SIGKILL)
            await until(lambda: "rejected the listener http" in served.daemon.not_ready())


async def test_envoy_itself_writes_the_access_log_to_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pilotage.yml"
    async with web_server() as port, FakeEngine() as engine:
        add(engine, "web", port)
        file.write_text(configured(engine, more='gateway: {access_log: "-"}'))
        async with serving(Flags(choice=EngineChoice(config=str(file))), tmp_path) as served:
            await served.answers("web.example.com")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert (lines[-1]["host"], lines[-1]["status"]) == ("web.example.com", 200)


async def test_without_a_gateway_the_table_is_ready_without_envoy(tmp_path: Path) -> None:
    async with FakeEngine() as engine:
        add(engine, "web", 80)
        flags = Flags(choice=of(engine).choice, gateway=False)
        async with serving(flags, tmp_path) as served:
            assert served.daemon.not_ready() == ""
            assert served.daemon.gateway is None
            with pytest.raises(GatewayError, match="runs no Envoy of its own"):
                await served.daemon.gateway_statistics()


async def test_a_remote_envoy_gets_its_routes_over_mutual_tls(tmp_path: Path) -> None:
    from pilotage.gateway.binary import find_envoy
    from pilotage.gateway.process import Gateway
    from pilotage.xds.bootstrap import build_bootstrap

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours, theirs = authority.issue_cert("localhost"), authority.issue_cert("edge.example.com")
    for name, certificate in (("our", ours), ("their", theirs)):
        certificate.private_key_pem.write_to_path(str(tmp_path / f"{name}-key.pem"))
        certificate.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}-cert.pem"))
    file, place = tmp_path / "pilotage.yml", f"127.0.0.1:{free_port()}"
    async with web_server() as upstream, FakeEngine() as engine:
        add(engine, "web", upstream)
        tls = "tls: {ca_file: ca.pem, cert_file: our-cert.pem, key_file: our-key.pem}"
        file.write_text(configured(engine, more=f"gateway: {{xds: {{listen: '{place}', {tls}}}}}"))
        flags = Flags(choice=EngineChoice(config=str(file)), gateway=False)
        async with serving(flags, tmp_path) as served:
            names = {"ca": "ca.pem", "certificate": "their-cert.pem", "key": "their-key.pem"}
            paths = {use: str(tmp_path / name) for use, name in names.items()}
            elsewhere = build_bootstrap(place.replace("127.0.0.1", "localhost"), "edge", tls=paths)
            (tmp_path / "edge").mkdir()
            envoy = Gateway(elsewhere, tmp_path / "edge", binary=find_envoy(), workers=1)
            task = asyncio.create_task(envoy.run())
            try:
                await envoy.ready()
                await served.answers("web.example.com")
                assert served.daemon.ads.nodes == ("edge",)
            finally:
                task.cancel()
                await asyncio.wait([task])


# ---- signals, systemd


async def test_signals_reread_and_end_it_and_systemd_hears_of_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        env = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        loop = asyncio.get_running_loop()

        async def hears(what: bytes) -> None:
            async with asyncio.timeout(30):
                while what not in await loop.sock_recv(manager, 999):
                    pass

        async with FakeEngine() as engine, web_server() as port:
            add(engine, "web", port)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "pilotage", "serve", "--engine", f"local={engine.url}"),
                *("--port", str(free_port()), "--api", f"unix://{tmp_path}/api.sock"),
                env=env,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await hears(b"READY=1\nSTATUS=1 route of 1 engine")
            await hears(b"WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            await hears(b"RELOADING=1")
            await hears(b"READY=1")
            process.send_signal(signal.SIGTERM)
            await hears(b"STOPPING=1")
            out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"http://web.localhost:" in out
    assert b"configuration reloaded: no changes" in err
    assert b"Traceback" not in err


async def test_a_second_signal_ends_requests_at_once(tmp_path: Path) -> None:

    asked, never = asyncio.Event(), asyncio.Event()

    async def stuck(_: web.BaseRequest) -> web.Response:
        asked.set()
        await never.wait()
        raise AssertionError

    async with web_server(stuck) as port, FakeEngine() as engine:
        add(engine, "web", port)
        async with serving(of(engine), tmp_path) as served:
            request = asyncio.create_task(served.ask("web.example.com"))
            await asked.wait()
            served.daemon.stop()
            gateway = served.daemon.gateway
            assert gateway is not None
            await until(lambda: gateway.status.state == "draining")
            assert not request.done()
            served.daemon.stop()
            with pytest.raises(aiohttp.ClientError):
                await request
