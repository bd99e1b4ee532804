from __future__ import annotations

import hashlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from pilotage import DockerProviderConfig
from pilotage.discovery.detect import Candidate, candidates, detect_engines, probe_all
from pilotage.testing import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.engines import Engine


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two usual socket paths, of which only the second exists."""
    paths = [str(tmp_path / "docker.sock"), str(tmp_path / "podman.sock")]
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda env: paths)
    monkeypatch.setattr("pilotage.discovery.detect.local_sockets", lambda env: paths)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(paths[1])
        yield paths


def context(home: Path, name: str, host: str) -> None:
    folder = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))


def detected(env: dict[str, str]) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(found.config.url, found.sources, found.chosen) for found in detect_engines(env)]


def test_a_socket_that_exists_is_found_and_chosen(tmp_path: Path, sockets: list[str]) -> None:
    assert detected({"HOME": str(tmp_path)}) == [(f"unix://{sockets[1]}", ("current", "socket"), True)]


def test_the_environment_is_chosen_before_sockets(tmp_path: Path, sockets: list[str]) -> None:
    assert detected({"HOME": str(tmp_path), "DOCKER_HOST": "tcp://192.0.2.1:2375"}) == [
        ("tcp://192.0.2.1:2375", ("DOCKER_HOST",), True),
        (f"unix://{sockets[1]}", ("socket",), False),
    ]


def test_contexts_are_found_and_one_address_is_listed_once(tmp_path: Path, sockets: list[str]) -> None:
    context(tmp_path, "near", f"unix://{sockets[1]}")
    context(tmp_path, "prod", "ssh://me@prod")
    assert detected({"HOME": str(tmp_path), "DOCKER_CONTEXT": "prod"}) == [
        ("ssh://me@prod", ("current", "context prod"), True),
        (f"unix://{sockets[1]}", ("context near", "socket"), False),
    ]


def test_contexts_with_one_address_and_different_certificates_are_two_engines(
    tmp_path: Path, sockets: list[str]
) -> None:
    for name in ("one", "two"):
        context(tmp_path, name, "tcp://far:2376")
        key = hashlib.sha256(name.encode()).hexdigest()
        folder = tmp_path / ".docker" / "contexts" / "tls" / key / "docker"
        folder.mkdir(parents=True)
        (folder / "ca.pem").touch()
    found = detect_engines({"HOME": str(tmp_path), "DOCKER_CONTEXT": "one"})
    assert [(each.config.name, each.sources) for each in found] == [
        ("one", ("current", "context one")),
        ("two", ("context two",)),
        ("local", ("socket",)),
    ]
    assert found[0].config.tls != found[1].config.tls


def test_container_host_is_found(tmp_path: Path, sockets: list[str]) -> None:
    env = {"HOME": str(tmp_path), "CONTAINER_HOST": "tcp://vm:2375"}
    assert detected(env)[0] == ("tcp://vm:2375", ("CONTAINER_HOST",), True)
    assert detected(env | {"DOCKER_HOST": "tcp://h:2375"})[:2] == [
        ("tcp://h:2375", ("DOCKER_HOST",), True),
        ("tcp://vm:2375", ("CONTAINER_HOST",), False),
    ]


def test_a_machine_without_engines_has_none(
    tmp_path: Path, sockets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda env: sockets[:1])
    monkeypatch.setattr("pilotage.discovery.detect.local_sockets", lambda env: sockets[:1])
    assert detected({"HOME": str(tmp_path)}) == []


async def test_a_probe_reports_kind_versions_and_latency() -> None:
    async with FakeEngine(api="1.45") as docker, FakeEngine(flavour="podman") as podman:
        configs = [DockerProviderConfig(docker.url, name="d"), DockerProviderConfig(podman.url, name="p")]
        one, two = await probe_all(candidates(configs, "named"))
    assert (one.kind, one.api.split("-")[-1], one.error) == ("Docker", "1.45", "")
    assert (two.kind, two.version) == ("Podman", "4.3.1")
    assert 0 < one.latency < 60
    assert one.found.sources == ("named",)


async def test_an_engine_that_does_not_answer_says_why_and_what_to_do(tmp_path: Path) -> None:
    gone = DockerProviderConfig(f"unix://{tmp_path}/none.sock", name="gone")
    (probe,) = await probe_all([Candidate(gone, ("socket",))])
    assert probe.error.startswith(f"no socket at {tmp_path}/none.sock; ")
    assert probe.kind == probe.version == ""


async def test_an_invalid_address_is_a_failed_probe() -> None:
    (probe,) = await probe_all([Candidate(DockerProviderConfig("nonsense", name="x"), ("context x",))])
    assert "has no scheme" in probe.error


async def test_a_real_engine_answers(docker_engine: Engine) -> None:
    (probe,) = await probe_all([Candidate(DockerProviderConfig(docker_engine.host, name="real"), ("DOCKER_HOST",))])
    assert probe.kind == "Docker"
    assert probe.error == ""
    assert probe.version == docker_engine.docker("version", "--format", "{{.Server.Version}}")
