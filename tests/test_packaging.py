"""The files for systemd, the container image and Compose match what the program does."""

from __future__ import annotations

import configparser
import http.client
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from pilotage import DockerProviderConfig, scan_engine
from pilotage.api.snapshot import socket_candidates
from pilotage.cli.main import cli
from pilotage.config.serve import API_PORT, HTTP_PORT, GatewaySettings
from pilotage.testing import FakeEngine
from tests.support.engines import CommandFailed
from tests.support.images import WEB
from tests.support.install import EngineUnavailable, compose_path
from tests.support.local_images import HAPROXY, PYTHON, WHOAMI, build_local_images
from tests.support.ports import free_port
from tests.support.required import missing, required
from tests.support.socketproxy import socket_proxy
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.engines import Engine

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"


def unit(name: str = "pilotage", section: str = "Service") -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PACKAGING / f"{name}.service")
    return parser[section]


def parsed(words: list[str]) -> dict[str, Any]:
    """Parse a command line with click, which raises for unknown options."""
    name, *rest = words
    context = cli.commands[name].make_context(name, list(rest))
    return context.params


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((PACKAGING / "compose.yml").read_text())
    return document


def test_the_units_command_exists_and_notifies_systemd() -> None:
    service = unit()
    _, *words = shlex.split(service["ExecStart"])
    assert parsed(words)["log_format"] == "journal"
    assert (service["Type"], service["NotifyAccess"], service["WatchdogSec"]) == ("notify", "main", "30s")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert f"/run/{service['RuntimeDirectory']}/pilotage.sock" == str(socket_candidates({})[-1])


def test_envoy_has_a_unit_of_its_own_which_pilotage_starts_and_does_not_stop() -> None:
    service, envoy = unit(), unit("pilotage-envoy")
    assert parsed(shlex.split(service["ExecStart"])[1:])["keep"] == "external"
    parsed(shlex.split(envoy["ExecStart"])[1:])
    order = unit(section="Unit")
    assert "pilotage-envoy.service" in order["Wants"].split()
    assert "pilotage-envoy.service" in order["After"].split()
    assert not {"Requires", "BindsTo", "PartOf"} & set(order) | {"PartOf"} & set(unit("pilotage-envoy", "Unit"))
    for key in ("User", "DynamicUser", "RuntimeDirectory", "RuntimeDirectoryPreserve", "LimitNOFILE"):
        assert service[key] == envoy[key]


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        missing(EngineUnavailable("there is no systemd-analyze"))
    files = []
    for name in ("pilotage", "pilotage-envoy"):
        text = (PACKAGING / f"{name}.service").read_text()
        files.append(tmp_path / f"{name}.service")
        files[-1].write_text(text.replace("/opt/pilotage/bin/pilotage", "/bin/true"))
    done = subprocess.run([program, "verify", *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_waits_longer_than_the_drain_and_kills_no_envoy_whose_main_process_was_killed() -> None:
    service, envoy = unit(), unit("pilotage-envoy")
    assert int(envoy["TimeoutStopSec"].removesuffix("s")) > GatewaySettings().drain + 5
    assert (service["KillMode"], envoy["KillMode"]) == ("mixed", "process")


def test_the_image_copies_files_that_exist_and_checks_the_api() -> None:
    text = (PACKAGING / "Dockerfile").read_text()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [line for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    named = {name for line in copied for name in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in named), named
    assert named == sent
    assert f"'127.0.0.1', {API_PORT}" in text
    assert "'/readyz'" in text
    assert str(HTTP_PORT) in re.findall(r"^EXPOSE (.*)$", text, re.MULTILINE)[0].split()


def test_compose_gives_the_engines_socket_only_to_the_proxy() -> None:
    services = compose()["services"]
    holders = {
        name for name, service in services.items() if any("docker.sock" in v for v in service.get("volumes", []))
    }
    assert holders == {"proxy"}
    assert services["proxy"]["network_mode"] == "none"
    words = services["pilotage"]["command"]
    (engine,) = parsed(words)["engines"]
    listens = re.findall(r"^    bind unix@(\S+) ", (PACKAGING / "haproxy.cfg").read_text(), re.MULTILINE)
    assert [engine] == [f"local=unix://{path}" for path in listens]
    assert parsed(words)["keep"] == "external"
    parsed(services["envoy"]["command"])
    assert set(services["whoami"]["networks"]) <= set(services["envoy"]["networks"])
    assert services["pilotage"]["network_mode"] == "service:envoy"
    assert services["pilotage"]["environment"] == services["envoy"]["environment"]
    assert int(services["envoy"]["stop_grace_period"].removesuffix("s")) > GatewaySettings().drain + 5


@pytest.mark.engine
async def test_the_proxys_rules_allow_discovery_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.socketproxy.documented_rules", (PACKAGING / "haproxy.cfg").read_text)
    folder = Path(tempfile.mkdtemp(prefix="proxy-"))
    try:
        async with FakeEngine() as engine:
            engine.add("web", labels={"proxy.web.port": "80"})
            engine.add("host", network_mode="host", labels={"proxy.host.port": "81"})
            with required(), socket_proxy(folder, engine.url.removeprefix("unix://")) as url:
                snapshot = await scan_engine(DockerProviderConfig(url, name="local"))
                assert sorted(container.container_name for container in snapshot.containers) == ["host", "web"]
                assert all(not built.problems for built in snapshot.built)
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


def test_as_process_1_it_ends_on_a_signal_before_it_serves() -> None:
    # Any other process would die of the signal; process 1 has to exit itself.
    program = """
import os, signal, sys
from pilotage.cli import main as cli
itself, os.getpid = os.getpid(), lambda: 1
cli.run = lambda args, **_: [os.kill(itself, signal.SIGTERM), signal.pause()]
cli.run_and_exit()
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 128 + signal.SIGTERM


@pytest.fixture(scope="module")
def image(engine_factory: Callable[[str], Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with the image of ``packaging/Dockerfile``, built on stand-ins for published images."""
    folder = tmp_path_factory.mktemp("local_images")
    with engine_factory("26.1").scope() as engine:
        build_local_images(engine, folder)
        shutil.rmtree(folder)
        context = tmp_path_factory.mktemp("context")
        copy_context(context)
        base = ("--build-arg", f"PYTHON_IMAGE={PYTHON}")
        engine.docker(
            "build", "-q", "-t", "pilotage", *base, "-f", str(PACKAGING / "Dockerfile"), str(context), timeout=300
        )
        yield engine


def copy_context(folder: Path) -> None:
    """Copy what the build gets, with requirements without hashes: stand-ins for published wheels have others."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        source, target = ROOT / line[1:], folder / line[1:]
        if line.startswith("!") and source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif line.startswith("!"):
            target.parent.mkdir(exist_ok=True)
            text = source.read_text()
            target.write_text(re.sub(r" \\\n    --hash=\S+", "", text) if line.endswith(".txt") else text)


class Composed:
    """The example of ``packaging/compose.yml`` running on an engine at :attr:`port`."""

    def __init__(self, engine: Engine) -> None:
        self.port = free_port()
        self._command = [str(compose_path()), "-f", str(PACKAGING / "compose.yml")]
        self._env = os.environ | {
            "DOCKER_HOST": engine.host,
            "DOCKER_SOCKET": engine.socket,
            "PILOTAGE_PORT": f"127.0.0.1:{self.port}",
            "HAPROXY_IMAGE": HAPROXY,
            "WHOAMI_IMAGE": WHOAMI,
        }

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words], env=self._env, capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout


@pytest.fixture
def composed(image: Engine) -> Iterator[Composed]:
    compose = Composed(image)
    try:
        compose("up", "--detach", "--no-build", "--pull", "never")
        yield compose
    finally:
        compose("down", "--volumes", "--timeout", "1")


@pytest.mark.timeout(300)
def test_the_image_runs_as_an_unprivileged_user_and_has_metadata(image: Engine) -> None:
    config = json.loads(image.docker("image", "inspect", "pilotage"))[0]["Config"]
    assert config["User"] == "65532:65532"
    assert config["Labels"]["org.opencontainers.image.version"] == importlib.metadata.version("pilotage")
    assert config["Labels"]["proxy.exclude"] == "true"
    assert (config["Entrypoint"], config["Cmd"]) == (["pilotage"], ["serve"])
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8443/tcp"}
    # It has its dependencies in the tested versions, and no build tools.
    look = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    said = image.docker("run", "--rm", "--network=none", "--entrypoint=python", "pilotage", "-c", look)
    found = dict(normal(word).split("==") for word in said.split())
    lines = (ROOT / "requirements" / "run.txt").read_text().splitlines()
    pinned = dict(normal(line.removesuffix(" \\")).split("==") for line in lines if "==" in line)
    assert found.pop("pilotage") == importlib.metadata.version("pilotage")
    assert {name: version for name, version in found.items() if pinned.get(name) != version} == {}
    assert not {"pip", "hatchling", "trove-classifiers"} & set(found)


@pytest.mark.timeout(300)
def test_the_example_serves_behind_its_proxy_and_shuts_down_gracefully(image: Engine, composed: Composed) -> None:
    def state() -> dict[str, Any]:
        return image.inspect("pilotage-pilotage-1")

    wait_for_hello(composed.port, "whoami.localhost")
    running = state()
    assert running["HostConfig"]["ReadonlyRootfs"]
    processes = image.docker("top", "pilotage-envoy-1", "-eo", "pid,uid,comm").splitlines()[1:]
    assert {line.split()[1] for line in processes} == {"65532"}
    assert "envoy" in {line.split()[2] for line in processes}
    # The command in the container finds the daemon.
    (route,) = [
        line for line in composed("exec", "-T", "pilotage", "pilotage", "routes").splitlines() if "ready" in line
    ]
    assert route.startswith("whoami ")
    # Another proxy, and containers that come later.
    composed("restart", "proxy")
    image.run("later", WEB, {"proxy.later.port": "80"}, "--network", "pilotage_services")
    wait_for_hello(composed.port, "later.localhost")
    assert ask(composed.port, "pilotage.localhost")[0] == 404
    wait_until(lambda: state()["State"]["Health"]["Status"] == "healthy", state)
    composed("stop", "pilotage")
    assert state()["State"]["ExitCode"] == 0
    assert ask(composed.port, "later.localhost") == (200, b"hello\n")  # Envoy serves without pilotage
    composed("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "pilotage")
    image.run("latest", WEB, {"proxy.latest.port": "80"}, "--network", "pilotage_services")
    wait_for_hello(composed.port, "latest.localhost")
    composed("stop", "envoy")
    assert "Envoy stopped; 0 requests aborted" in composed("logs", "envoy")


@pytest.mark.timeout(300)
def test_without_a_writable_directory_the_error_names_it(image: Engine) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)error: cannot create a folder for temporary files.*--tmpfs /tmp"):
        image.docker("run", "--rm", "--read-only", "pilotage", "serve", "--engine", "local=unix:///none.sock")


def ask(port: int, host: str) -> tuple[int, bytes]:
    """Return status and body of a host's first page, ``(0, b"")`` without a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def wait_for_hello(port: int, host: str) -> None:
    """Wait until a host's first page is the one of the test's web server."""
    wait_until(lambda: ask(port, host) == (200, b"hello\n"), lambda: ask(port, host))


def normal(requirement: str) -> str:
    name, _, version = requirement.partition("==")
    return f"{re.sub(r'[-_.]+', '-', name).lower()}=={version}"
