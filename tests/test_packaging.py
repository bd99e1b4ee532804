"""The files that put pilotage into systemd, containers and Compose say what the program does."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pilotage import DockerProviderConfig, survey_engine
from pilotage.cli import cli
from pilotage.config_serve import API_PORT, HTTP_PORT, GatewaySettings
from pilotage.listen import parse_listen
from pilotage.remote import socket_candidates
from pilotage.testing import FakeEngine
from tests.support.socketproxy import socket_proxy

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / "pilotage.service")
    return parser["Service"]


def parsed(words: list[str]) -> dict[str, Any]:
    """What click makes of a command line; it raises for options that do not exist."""
    name, *rest = words
    context = cli.commands[name].make_context(name, list(rest))
    return context.params


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yml").read_text())
    return document


def test_the_units_command_exists_and_its_service_is_told_of_readiness_and_life() -> None:
    service = unit()
    _, *words = shlex.split(service["ExecStart"])
    assert parsed(words)["log_format"] == "journal"
    assert (service["Type"], service["NotifyAccess"], service["WatchdogSec"]) == ("notify", "main", "30s")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert f"/run/{service['RuntimeDirectory']}/pilotage.sock" == str(socket_candidates({})[-1])


def test_systemd_waits_longer_than_requests_have_to_end_and_leaves_envoy_to_us() -> None:
    service = unit()
    assert int(service["TimeoutStopSec"].removesuffix("s")) > GatewaySettings().drain + 5
    assert service["KillMode"] == "mixed"


def test_the_image_is_made_of_files_that_exist_and_asks_where_the_api_is() -> None:
    text = (PACKAGING / "Dockerfile").read_text()
    for line in text.splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert all((ROOT / name).exists() for name in line.split()[1:-1]), line
    assert f"http://127.0.0.1:{API_PORT}/readyz" in text
    assert str(HTTP_PORT) in re.findall(r"^EXPOSE (.*)$", text, re.MULTILINE)[0].split()
    assert re.search(r"pip install .*-r requirements/run\.txt", text)


def test_compose_gives_the_engines_socket_to_the_proxy_alone() -> None:
    services = compose()["services"]
    holders = {
        name for name, service in services.items() if any("docker.sock" in v for v in service.get("volumes", []))
    }
    assert holders == {"sockets"}
    assert compose()["networks"]["sockets"]["internal"]
    assert services["sockets"]["networks"] == ["sockets"]
    words = services["pilotage"]["command"]
    assert parsed(words)["engines"] == ("local=tcp://sockets:2375",)
    assert set(services["whoami"]["networks"]) <= set(services["pilotage"]["networks"])
    assert int(services["pilotage"]["stop_grace_period"].removesuffix("s")) > GatewaySettings().drain + 5
    assert parse_listen(f":{API_PORT}").is_local


@pytest.mark.engine
async def test_the_proxys_rules_let_pilotage_look_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.socketproxy.documented_rules", (PACKAGING / "haproxy.cfg").read_text)
    folder = Path(tempfile.mkdtemp(prefix="proxy-"))
    try:
        async with FakeEngine() as engine:
            engine.add("web", labels={"proxy.web.port": "80"})
            engine.add("host", network_mode="host", labels={"proxy.host.port": "81"})
            with socket_proxy(folder, engine.url.removeprefix("unix://")) as url:
                roster = await survey_engine(DockerProviderConfig(url, name="local"))
                assert sorted(container.container_name for container in roster.containers) == ["host", "web"]
                assert all(not built.problems for built in roster.built)
                connector = aiohttp.UnixConnector(url.removeprefix("unix://"))
                async with aiohttp.ClientSession("http://engine", connector=connector) as session:
                    for method, path in (
                        ("POST", "/containers/web/stop"),
                        ("GET", "/containers/web/logs"),
                        ("GET", "/images/json"),
                        ("DELETE", "/containers/json"),
                    ):
                        async with session.request(method, path) as answer:
                            assert answer.status == 403, (method, path)
    finally:
        shutil.rmtree(folder)
