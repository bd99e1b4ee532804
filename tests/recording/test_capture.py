from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pilotage import DockerProviderConfig, Pool, build_table, scan_all
from pilotage.core.errors import EngineUnreachable
from pilotage.output.json import document
from pilotage.recording.capture import capture_all, capture_engine, recording_json
from pilotage.recording.replay import read_recordings, replay_recording
from pilotage.testing import FakeEngine, container
from tests.support.captures import ENGINES, load

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine

YAML = "port: 80\nmiddlewares:\n  oidc:\n    client_secret: s3cret\n"


async def live(*configs: DockerProviderConfig, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON document of live engines."""
    async with Pool() as pool:
        result = await scan_all(configs, pool=pool, env=env)
    assert result.errors == {}
    return document(result.snapshots, build_table(result.snapshots))


async def replayed(*configs: DockerProviderConfig, env: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON document of the engines' recordings."""
    async with Pool() as pool:
        captured = await capture_all(configs, pool=pool, env=env)
    body = b"\n".join(map(recording_json, captured.recordings))
    snapshots = [replay_recording(recording) for recording in read_recordings(body)]
    return document(snapshots, build_table(snapshots))


def plain(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


async def captured_from(engine: FakeEngine, **env: str) -> str:
    async with Pool() as pool:
        recording = await capture_engine(DockerProviderConfig(engine.url, name="local"), pool=pool, env=env)
    return recording_json(recording).decode()


@pytest.mark.parametrize("name", ENGINES)
async def test_a_recording_gives_the_same_document_as_the_engine(name: str) -> None:
    async with FakeEngine(load(name, "list-all"), **ENGINES[name]) as engine:
        config = DockerProviderConfig(engine.url, name="local")
        assert plain(await replayed(config)) == plain(await live(config))


async def test_several_engines_are_recorded_one_per_line() -> None:
    async with FakeEngine([container("a1")]) as one, FakeEngine([container("b1")]) as two:
        configs = [DockerProviderConfig(one.url, name="one"), DockerProviderConfig(two.url, name="two")]
        assert plain(await replayed(*configs)) == plain(await live(*configs))


async def test_secrets_and_foreign_labels_are_not_recorded() -> None:
    labels = {"proxy.web": YAML, "com.example.password": "s3cret", "traefik.enable": "true"}
    async with FakeEngine([container("web", labels=labels)]) as engine:
        text = await captured_from(engine)
    assert "s3cret" not in text
    assert "traefik" not in text
    assert json.loads(text)["containers"][0]["Labels"] == {"proxy.web": YAML.replace("s3cret", "<removed>")}


async def test_only_fields_that_are_read_are_recorded() -> None:
    async with FakeEngine([container("web", ports=(80,))]) as engine:
        (recorded,) = json.loads(await captured_from(engine))["containers"]
    assert "Command" not in recorded
    assert set(recorded) <= set(
        "Id Names Image ImageID Created State Status Labels Ports NetworkSettings HostConfig Mounts Health".split()
    )


async def test_the_environment_is_recorded_only_where_it_names_the_engine() -> None:
    async with FakeEngine() as engine:
        assert json.loads(await captured_from(engine, DOCKER_HOST=engine.url))["env"] == {"DOCKER_HOST": engine.url}
        assert "env" not in json.loads(await captured_from(engine, DOCKER_HOST="unix:///other.sock", SECRET="x"))


async def test_only_containers_that_need_it_are_inspected() -> None:
    containers = [container("web", ports=(80,)), container("net", network_mode="host")]
    async with FakeEngine(containers) as engine:
        text = await captured_from(engine)
        assert engine.calls["inspect"] == 1
    assert list(json.loads(text)["inspect"]) == [containers[1].id]


async def test_an_unreachable_engine_does_not_affect_the_others(tmp_path: Path) -> None:
    async with FakeEngine([container("web")]) as engine, Pool() as pool:
        configs = [DockerProviderConfig(f"unix://{tmp_path}/none.sock", name="gone"), DockerProviderConfig(engine.url)]
        captured = await capture_all(configs, pool=pool)
    assert len(captured.recordings) == 1
    assert isinstance(captured.errors["gone"], EngineUnreachable)


async def test_a_real_engine_gives_the_same_document_from_its_recording(engine: Engine) -> None:
    engine.run("capture-web", labels={"proxy.aliases": "one, two", "proxy.one": "port: 8080\n", "proxy.two.prot": "1"})
    engine.run("capture-host", "pilotage/web:1", {"proxy.*.port": "8081"}, "--network", "host")
    engine.create("capture-asleep", labels={"proxy.idle_timeout": "5m"})
    config = DockerProviderConfig(engine.host, name="local")
    expected = await live(config)
    assert {"one", "two", "capture-host", "capture-asleep"} <= set(expected["routes"])
    assert plain(await replayed(config)) == plain(expected)


async def test_a_real_podman_gives_the_same_document_from_its_recording(podman_engine: Engine) -> None:
    podman_engine.run("capture-web", "pilotage/web:1", {"proxy.aliases": "one"}, "-p", "127.0.0.1::80")
    config = DockerProviderConfig(podman_engine.host, name="local")
    expected = await live(config)
    assert "one" in expected["routes"]
    assert plain(await replayed(config)) == plain(expected)
