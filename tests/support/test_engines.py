"""The engines behave as the tests expect."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.daemon import Dockerd
from tests.support.engines import CommandFailed
from tests.support.images import GRACEFUL
from tests.support.required import of_own_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engines import Engine


def test_a_container_runs_with_its_labels_and_answers_on_its_address(engine: Engine) -> None:
    ident = engine.run("plain", labels={"proxy.aliases": "a, b", "proxy.a": "scheme: http\nport: 80"})

    seen = engine.inspect("plain")
    assert seen["Id"] == ident
    assert seen["Config"]["Labels"]["proxy.a"] == "scheme: http\nport: 80"
    connection = http.client.HTTPConnection(seen["NetworkSettings"]["IPAddress"], 80, timeout=5)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"hello\n"
    connection.close()


def test_a_published_port_answers_on_loopback(engine: Engine) -> None:
    engine.run("published", "pilotage/web:1", {}, "-p", "127.0.0.1::80")

    host, port = engine.docker("port", "published", "80/tcp").split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def test_what_a_scope_made_is_gone_after_it_and_older_things_stay(engine: Engine) -> None:
    engine.run("older")
    with engine.scope():
        engine.network("inner-net")
        engine.run("inner", "pilotage/web:1", {}, "--network", "inner-net")
    assert engine.docker("ps", "-a", "--format", "{{.Names}}").split() == ["older"]
    assert "inner-net" not in engine.docker("network", "ls", "--format", "{{.Name}}").split()


def test_the_graceful_image_ends_by_itself_when_stopped(engine: Engine) -> None:
    engine.run("polite", GRACEFUL)
    engine.docker("exec", "polite", "wget", "-q", "-O-", "http://127.0.0.1/")
    engine.docker("stop", "-t", "60", "polite")
    assert engine.inspect("polite")["State"]["ExitCode"] == 0


def test_the_engine_answers_over_plain_tcp_and_over_mutual_tls(docker_engine: Engine) -> None:
    of_own_engine(docker_engine.daemon, "ports of its own")
    assert docker_engine.tcp_url
    assert docker_engine.tls_url
    assert docker_engine.docker("-H", docker_engine.tcp_url, "version", "--format", "{{.Server.APIVersion}}")
    tls = ["--tlsverify"] + [
        f"--tls{k}={docker_engine.cert_dir}/{f}.pem" for k, f in (("cacert", "ca"), ("cert", "cert"), ("key", "key"))
    ]
    assert json.loads(
        docker_engine.docker("-H", docker_engine.tls_url, *tls, "version", "--format", "{{json .Server}}")
    )
    with pytest.raises(CommandFailed):
        docker_engine.docker("-H", docker_engine.tls_url, "version")


def test_a_killed_engine_comes_back_on_its_data_with_its_containers_ended(own_engine: Engine) -> None:
    daemon = own_engine.daemon
    assert daemon is not None
    own_engine.run("survivor")
    daemon.kill()
    with pytest.raises(CommandFailed):
        own_engine.docker("ps")
    daemon.start()
    assert own_engine.inspect("survivor")["State"]["Status"] == "exited"


def test_an_engine_is_upgraded_on_its_data_behind_the_same_socket(own_engine: Engine) -> None:
    daemon = own_engine.daemon
    assert isinstance(daemon, Dockerd)
    own_engine.create("kept", "pilotage/web:1", {"proxy.kept.port": "80"})
    daemon.stop()
    daemon.generation = "26.1"
    daemon.start()
    assert own_engine.docker("version", "--format", "{{.Server.APIVersion}}") == "1.45"
    assert own_engine.inspect("kept")["Config"]["Labels"] == {"proxy.kept.port": "80"}


def test_a_frozen_engine_is_silent_until_it_is_thawed(own_engine: Engine) -> None:
    daemon = own_engine.daemon
    assert daemon is not None
    daemon.freeze()
    with pytest.raises(subprocess.TimeoutExpired):
        own_engine.docker("ps", timeout=0.5)
    daemon.thaw()
    assert own_engine.docker("ps", "-q") == ""


@pytest.mark.parametrize(("generation", "api"), [("26.1", "1.45"), ("28.5", "1.51")])
def test_another_generation_runs_beside_the_system_s_own(
    engine: Engine, engine_factory: Callable[[str], Engine], generation: str, api: str
) -> None:
    engine.run("here")
    with engine_factory(generation).scope() as other:
        other.run("there")
        assert other.docker("version", "--format", "{{.Server.APIVersion}}") == api
        assert other.docker("ps", "--format", "{{.Names}}") == "there"
        assert engine.docker("ps", "--format", "{{.Names}}") == "here"


def test_podman_runs_a_container(podman_engine: Engine) -> None:
    ident = podman_engine.run("podded", labels={"proxy.podded.port": "80"})
    seen = podman_engine.inspect("podded")
    assert seen["Id"] == ident
    assert seen["State"]["Running"] is True
    assert seen["Config"]["Labels"]["proxy.podded.port"] == "80"


def test_an_engine_leaves_nothing_behind_when_it_closes(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine()
    assert engine.daemon is not None
    directory, bridge, pid = engine.daemon.directory, engine.daemon.bridge, engine.daemon.pid
    engine.run("left-running")
    engine.close()
    assert not directory.exists()
    assert not Path("/sys/class/net", bridge).exists()
    assert not Path("/proc", str(pid)).exists()
    assert str(directory) not in Path("/proc/mounts").read_text()
