from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Literal

import pytest

from pilotage import DockerProviderConfig, Pool, build_table, discover, new_client, scan_engine
from pilotage.discovery.detect import candidates, probe_all
from pilotage.engine import peer
from pilotage.engine.peer import is_rootless
from pilotage.recording.capture import capture_engine, recording_json
from pilotage.recording.replay import read_recordings, replay_recording
from pilotage.testing import FakeEngine, container
from tests.support.users import relay_of_user

if TYPE_CHECKING:
    from pathlib import Path

USER = 12345


def test_the_usual_paths_are_rootless_also_through_a_link(tmp_path: Path) -> None:
    assert is_rootless("/run/user/1000/docker.sock", None, podman=False)
    assert is_rootless("/home/me/.docker/run/docker.sock", None, podman=False)
    (tmp_path / "link.sock").symlink_to("/run/user/1000/podman/podman.sock")
    assert is_rootless(str(tmp_path / "link.sock"), None, podman=True)
    assert not is_rootless(str(tmp_path / "none.sock"), None, podman=True)


@pytest.mark.usefixtures("root")
def test_the_owner_decides_if_the_system_does_not_report_the_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert not is_rootless(str(path), listener, podman=True)
        os.chown(path, USER, USER)
        assert is_rootless(str(path), listener, podman=True)
        os.chown(path, 65534, 65534)  # what root is for a container in a user namespace
        assert not is_rootless(str(path), listener, podman=True)


@pytest.mark.usefixtures("root")
async def test_a_podman_on_whose_socket_a_user_listens_is_rootless_everywhere(tmp_path: Path) -> None:
    web = container("web", ports=("8080:80",))
    async with FakeEngine([web], flavour="podman") as engine, Pool() as pool:
        far = engine.url.removeprefix("unix://")
        async with relay_of_user(tmp_path / "user.sock", far, USER) as url:
            config = DockerProviderConfig(url, name="mine")
            scanned = build_table([await scan_engine(config, pool=pool)])
            async with discover([config], pool=pool) as discovery:
                await discovery.ready()
                live = discovery.table
            (probe,) = await probe_all(candidates([config], "named"))
            recorded = recording_json(await capture_engine(config, pool=pool))
        rootful = build_table([await scan_engine(DockerProviderConfig(engine.url, name="mine"), pool=pool)])
    (recording,) = read_recordings(recorded)
    replayed = build_table([replay_recording(recording)])
    targets = [table.routes["web"].target for table in (scanned, live, replayed)]
    assert targets == ["http://127.0.0.1:8080"] * 3
    assert rootful.routes["web"].target != targets[0]
    assert probe.kind == "rootless Podman"


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("is_ours", [True, False], ids=["a proxy", "rootless Docker"])
async def test_a_users_proxy_in_front_of_roots_docker_is_not_a_rootless_docker(
    tmp_path: Path, is_ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_ours:  # as that of rootlesskit, which this test cannot start everywhere
        monkeypatch.setattr(peer, "_is_in_our_namespace", lambda pid: pid != os.getpid())
    flavour: Literal["docker"] = "docker"
    async with FakeEngine(flavour=flavour) as engine, Pool() as pool:
        far = engine.url.removeprefix("unix://")
        async with (
            relay_of_user(tmp_path / "user.sock", far, USER) as url,
            new_client(url, pool=pool) as client,
            new_client(engine.url, pool=pool) as direct,
        ):
            assert client.is_rootless is not is_ours
            assert not direct.is_rootless
