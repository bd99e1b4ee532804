from __future__ import annotations

import json
import socket

import pytest

from pilotage.cli.main import run


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(args)
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_the_bootstrap_of_a_remote_envoy_points_here(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--ca-file", "ca.pem", "--cert-file", "cert.pem", "--key-file", "key.pem"]
    status, out, _ = shown(capsys, "envoy-bootstrap", "pilotage.lan:18000", "--node", "edge-1", *files)
    assert status == 0
    body = json.loads(out)
    assert body["node"]["id"] == "edge-1"
    assert '"address": "pilotage.lan"' in out
    assert "transport_socket" in out


@pytest.mark.parametrize("place", ["unix:///run/x/ads.sock", "unix:/run/x/ads.sock"])
def test_an_envoy_of_the_same_user_connects_to_a_socket_without_certificates(
    capsys: pytest.CaptureFixture[str], place: str
) -> None:
    status, out, _ = shown(capsys, "envoy-bootstrap", place)
    assert status == 0
    assert '"path": "/run/x/ads.sock"' in out
    assert "transport_socket" not in out
    assert json.loads(out)["node"]["id"] == socket.gethostname()


def test_the_limits_of_that_machine_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    for given, connections, memory in (
        ([], 50_000, 2 << 30),
        (["--max-connections", "100", "--max-memory", "512"], 100, 512 << 20),
    ):
        body = json.loads(shown(capsys, "envoy-bootstrap", "unix:///run/x/ads.sock", *given)[1])
        first, second = (it["typed_config"] for it in body["overload_manager"]["resource_monitors"])
        assert (first["max_active_downstream_connections"], second["max_heap_size_bytes"]) == (connections, memory)


def test_the_folder_of_the_module_for_limits_per_client_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    for given, metadata in (([], None), (["--client-limit", "/lib/x"], {"pilotage.client_limit": "/lib/x"})):
        body = json.loads(shown(capsys, "envoy-bootstrap", "unix:///run/x/ads.sock", *given)[1])
        assert body["node"].get("metadata") == metadata


def test_with_certificates_it_is_mutual_tls(capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--ca-file", "ca.pem", "--cert-file", "cert.pem", "--key-file", "key.pem"]
    _, out, _ = shown(capsys, "envoy-bootstrap", "a:1", *files)
    assert {f'"filename": "{name}.pem"' in out for name in ("ca", "cert", "key")} == {True}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["pilotage.lan"], "'pilotage.lan' is not an address; write HOST:PORT"),
        (["a:0"], "'a:0' is not an address"),
        (["a:1"], "the daemon serves TCP only with mutual TLS; add --ca-file"),
        (["unix://x"], "write unix:// and an absolute path, without certificates"),
        (["unix:/x", "--ca-file", "x", "--cert-file", "x", "--key-file", "x"], "without certificates"),
        (["a:1", "--ca-file", "x"], "--ca-file, --cert-file and --key-file are required together."),
    ],
)
def test_invalid_arguments_are_refused(capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:
    status, _, err = shown(capsys, "envoy-bootstrap", *args)
    assert status == 2
    assert said in err
