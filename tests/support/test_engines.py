"""The engines that tests lean on do what tests expect of them."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.engines import CommandFailed
from tests.support.images import GRACEFUL

if TYPE_CHECKING:
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
    if docker_engine.daemon is None:
        pytest.skip("an engine that is not ours has its own ways in")
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
