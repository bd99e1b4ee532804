from __future__ import annotations

import json
import os
import pathlib
import re
import socket
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import ConfigError
from pilotage.engine.address import LOCAL_SOCKET
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.engine.contexts import (
    current_context,
    default_engine,
    list_contexts,
    local_sockets,
    resolve_context,
    unverified_warning,
)
from pilotage.engine.pool import Pool, new_client
from tests.support.docker_contexts import write_context
from tests.support.required import of_own_engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.engines import Engine


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    (home / ".docker").mkdir(parents=True)
    return {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run")}


def write_config(home: Path, **fields: str) -> None:
    (home / ".docker" / "config.json").write_text(
        json.dumps({"auths": {"registry.invalid": {"auth": "s3cret"}}} | fields)
    )


def said(caught: pytest.ExceptionInfo[ConfigError], file: str) -> str:
    """Return the only problem's text behind the name of its file, which ends like this."""
    (problem,) = caught.value.problems
    assert problem.file.endswith(file)
    return str(problem).removeprefix(f"{problem.file}: ")


# ---- contexts


def test_a_context_gives_its_engine_with_all_its_certificates(home: Path, env: dict[str, str]) -> None:
    write_context(home, "far", {"Host": "tcp://far:2376"}, tls=("ca", "cert", "key"))
    folder = home / ".docker" / "contexts" / "tls" / sha256(b"far").hexdigest() / "docker"
    files = TLSFiles(ca_file=f"{folder}/ca.pem", cert_file=f"{folder}/cert.pem", key_file=f"{folder}/key.pem")
    assert resolve_context("far", env) == DockerProviderConfig("tcp://far:2376", files, "far")


def test_a_context_without_certificates_has_no_tls_and_one_that_skips_verification_does(
    home: Path, env: dict[str, str]
) -> None:
    write_context(home, "plain", {"Host": "tcp://far:2375"})
    write_context(home, "ca", {"Host": "tcp://far:2376"}, tls=("ca",))
    write_context(home, "skipping", {"Host": "tcp://far:2376", "SkipTLSVerify": True})
    write_context(home, "ssh", {"Host": "ssh://far", "SkipTLSVerify": True})
    assert resolve_context("plain", env).tls is None
    ca = resolve_context("ca", env).tls
    assert ca is not None
    assert (ca.ca_file[-6:], ca.cert_file, ca.verify) == ("ca.pem", "", True)
    assert resolve_context("skipping", env).tls == TLSFiles(verify=False)
    assert resolve_context("ssh", env).tls is None


def test_the_default_context_is_docker_host_or_the_local_socket(env: dict[str, str]) -> None:
    assert resolve_context("default", env) == DockerProviderConfig(LOCAL_SOCKET, None, "default")
    far = resolve_context("default", env | {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1"})
    assert far.url == "tcp://far:2376"
    assert far.tls is not None
    assert far.tls.ca_file == f"{env['HOME']}/.docker/ca.pem"


def test_an_unknown_context_suggests_a_near_one_or_names_them_all(home: Path, env: dict[str, str]) -> None:
    write_context(home, "staging", {"Host": "tcp://far:2375"})
    with pytest.raises(ConfigError, match=r"no Docker context 'stagging' in .*; did you mean 'staging'\?"):
        resolve_context("stagging", env)
    with pytest.raises(ConfigError, match="available: default, staging"):
        resolve_context("x", env)


def test_a_context_in_a_forbidden_folder_reports_the_permission(
    home: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(_: pathlib.Path) -> bytes:  # as it is for others than root, who may run this
        raise PermissionError(13, "Permission denied")

    write_context(home, "prod", {"Host": "tcp://192.0.2.9:2376"})
    monkeypatch.setattr(pathlib.Path, "is_file", closed)
    assert resolve_context("prod", env).tls is not None  # what it is given may be there; connecting tells
    monkeypatch.setattr(pathlib.Path, "read_bytes", closed)
    with pytest.raises(ConfigError) as caught:
        resolve_context("prod", env)
    assert (
        said(caught, "meta.json")
        == "a Docker context cannot be read (Permission denied); check the file's owner and mode"
    )


def test_a_context_without_a_docker_engine_is_an_error(home: Path, env: dict[str, str]) -> None:
    write_context(home, "kubernetes", {})
    with pytest.raises(ConfigError) as caught:
        resolve_context("kubernetes", env)
    assert said(caught, "meta.json") == "the Docker context 'kubernetes' has no Docker engine; create it again"


def test_all_contexts_are_listed_by_name_and_invalid_ones_omitted(home: Path, env: dict[str, str]) -> None:
    write_context(home, "b", {"Host": "ssh://b"}, description="the second")
    write_context(home, "a", {"Host": "ssh://a"})
    write_context(home, "broken", {"Host": 5})
    found = list_contexts(env)
    assert [context.name for context in found] == ["default", "a", "b"]
    assert (found[2].url, found[2].description) == ("ssh://b", "the second")
    with pytest.raises(ConfigError) as caught:
        resolve_context("broken", env)
    assert re.fullmatch(r"a Docker context is invalid \(Expected `str`.*\); create it again", said(caught, "meta.json"))


def test_a_machine_without_any_configuration_has_the_default_context(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path / "nobody")}
    assert [context.name for context in list_contexts(env)] == ["default"]
    assert current_context(env) == ("default", "")


def test_docker_config_names_another_folder(home: Path, env: dict[str, str]) -> None:
    write_context(home, "far", {"Host": "ssh://far"})
    assert resolve_context("far", {"DOCKER_CONFIG": str(home / ".docker")}).url == "ssh://far"


# ---- which one is in force


def test_docker_host_overrides_docker_context_overrides_the_configuration(home: Path, env: dict[str, str]) -> None:
    write_config(home, currentContext="configured")
    assert current_context(env) == ("configured", f"{home}/.docker/config.json")
    assert current_context(env | {"DOCKER_CONTEXT": "chosen"}) == ("chosen", "DOCKER_CONTEXT")
    assert current_context(env | {"DOCKER_CONTEXT": "chosen", "DOCKER_HOST": "ssh://h"}) == ("default", "DOCKER_HOST")


def test_a_damaged_configuration_is_named_and_its_secrets_are_not(home: Path, env: dict[str, str]) -> None:
    (home / ".docker" / "config.json").write_text('{"auths": "s3cret", ')
    with pytest.raises(ConfigError) as caught:
        current_context(env)
    words = said(caught, "/.docker/config.json")
    assert re.fullmatch(r"the Docker CLI's configuration is invalid \(.*\); repair it, or set DOCKER_HOST", words)
    assert "s3cret" not in words


def test_a_configuration_that_cannot_be_read_is_named_with_the_reason(home: Path, env: dict[str, str]) -> None:
    (home / ".docker" / "config.json").mkdir()
    with pytest.raises(ConfigError) as caught:
        current_context(env)
    words = "the Docker CLI's configuration cannot be read (Is a directory); check the file's permissions"
    assert said(caught, "/.docker/config.json") == words


def test_docker_host_is_the_default_engine_and_given_as_the_reason(env: dict[str, str]) -> None:
    env |= {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}
    config, why = default_engine(env)
    assert (config.url, config.name, why) == ("tcp://far:2376", "local", "DOCKER_HOST is tcp://far:2376")
    assert config.tls is not None
    assert config.tls.key_file == "/certs/key.pem"


def test_the_active_context_is_the_default_engine_and_given_as_the_reason(home: Path, env: dict[str, str]) -> None:
    write_context(home, "far", {"Host": "ssh://far"})
    write_config(home, currentContext="far")
    config, why = default_engine(env)
    assert (config.url, config.name) == ("ssh://far", "far")
    assert why == f"the Docker context 'far' is active ({home}/.docker/config.json)"


def test_docker_tls_alone_uses_tls_without_verification_as_the_docker_cli_does(tmp_path: Path) -> None:
    env = {"DOCKER_HOST": "tcp://far:2376", "DOCKER_TLS": "1", "DOCKER_CERT_PATH": str(tmp_path)}
    assert default_engine(env)[0].tls == TLSFiles(verify=False)
    for name in ("cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    pair = TLSFiles(cert_file=f"{tmp_path}/cert.pem", key_file=f"{tmp_path}/key.pem", verify=False)
    assert default_engine(env)[0].tls == pair
    found = default_engine(env | {"DOCKER_TLS_VERIFY": "1"})[0].tls
    assert found is not None
    assert found.verify


def test_an_engine_whose_certificate_is_not_verified_has_a_warning(home: Path, env: dict[str, str]) -> None:
    write_context(home, "skipping", {"Host": "tcp://far:2376", "SkipTLSVerify": True})
    write_context(home, "sound", {"Host": "tcp://far:2376"}, tls=("ca",))
    warning = unverified_warning(resolve_context("skipping", env), env)
    assert warning is not None
    assert (warning.provider, warning.severity) == ("skipping", "warning")
    assert "the certificate of tcp://far:2376 is not verified" in warning.message
    assert unverified_warning(resolve_context("sound", env), env) is None
    far = DockerProviderConfig("tcp://far:2376")
    assert unverified_warning(far, {"DOCKER_HOST": far.url, "DOCKER_TLS": "1"}) is not None
    assert unverified_warning(far, {"DOCKER_HOST": far.url, "DOCKER_TLS": "1", "DOCKER_TLS_VERIFY": "1"}) is None
    assert unverified_warning(far, {"DOCKER_TLS": "1"}) is None
    local = DockerProviderConfig("unix:///var/run/docker.sock")
    assert unverified_warning(local, {"DOCKER_HOST": local.url, "DOCKER_TLS": "1"}) is None


def test_container_host_is_used_after_docker_contexts_and_before_sockets(home: Path, env: dict[str, str]) -> None:
    env |= {"CONTAINER_HOST": "ssh://core@vm:2222/run/user/1000/podman/podman.sock"}
    config, why = default_engine(env)
    assert (config.url, config.name) == (env["CONTAINER_HOST"], "podman")
    assert why == f"CONTAINER_HOST is {env['CONTAINER_HOST']}"
    write_context(home, "far", {"Host": "ssh://far"})
    write_config(home, currentContext="far")
    assert default_engine(env)[0].url == "ssh://far"
    assert default_engine(env | {"DOCKER_HOST": "ssh://near"})[0].url == "ssh://near"


def test_the_sockets_are_docker_then_rootless_then_podman(env: dict[str, str]) -> None:
    run, home = env["XDG_RUNTIME_DIR"], env["HOME"]
    assert local_sockets(env) == [
        "/var/run/docker.sock",
        f"{run}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{run}/podman/podman.sock",
        "/run/podman/podman.sock",
    ]
    assert local_sockets({}) == ["/var/run/docker.sock", "/run/podman/podman.sock"]


def test_the_first_socket_that_exists_is_the_default_engine(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = [str(tmp_path / name) for name in ("missing", "file", "one", "two")]
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda _: paths)
    (tmp_path / "file").touch()
    for path in paths[2:]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
    config, why = default_engine(env)
    assert (config.url, config.name, why) == (f"unix://{tmp_path}/one", "local", f"{tmp_path}/one exists")


def test_without_any_engine_the_error_lists_the_sockets(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotage.engine.contexts.local_sockets", lambda _: ["/nowhere/a.sock", "/nowhere/b.sock"])
    with pytest.raises(ConfigError) as caught:
        default_engine(env)
    said = str(caught.value)
    assert "none of these sockets exist: /nowhere/a.sock, /nowhere/b.sock" in said
    assert "--engine NAME=URL" in said


# ---- the docker CLI's own


def docker_cli(env: dict[str, str], *arguments: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    return subprocess.run(
        ["docker", *arguments], env=clean | env, check=True, capture_output=True, text=True, timeout=60
    ).stdout


async def test_a_context_that_the_docker_cli_made_leads_to_a_real_engine_by_mutual_tls(
    docker_engine: Engine, home: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_url = of_own_engine(docker_engine.tls_url, "TLS port")
    files = ",".join(f"{kind}={docker_engine.cert_dir}/{kind}.pem" for kind in ("ca", "cert", "key"))
    docker_cli(env, "context", "create", "far", "--description", "made here",
               "--docker", f"host={tls_url},{files}")  # fmt: skip
    docker_cli(env, "context", "use", "far")
    assert [(context.name, context.description) for context in list_contexts(env)][1:] == [("far", "made here")]
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", str(home))
    config, why = default_engine()
    assert "'far' is active" in why
    async with (
        Pool() as pool,
        await new_client(config, pool=pool) as chosen,
        await new_client("context://far", pool=pool) as named,
    ):
        await chosen.list_containers()
        assert named.key == chosen.key
        assert named.name == "context://far"


async def test_a_missing_context_is_a_configuration_error(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", env["HOME"])
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="no Docker context 'nowhere'"):
        await new_client("context://nowhere")
