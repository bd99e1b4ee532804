from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec
import pytest

from pilotage.api.listen import Listen
from pilotage.config.engines import DEFAULT_PORTS, EngineChoice
from pilotage.config.serve import GatewaySettings, XdsSettings
from pilotage.core.errors import ConfigError
from pilotage.daemon.settings import (
    DaemonSettings,
    Flags,
    build_settings,
    changed_settings,
    check_ports,
    rebuild_settings,
)
from pilotage.engine.config import DockerProviderConfig
from pilotage.xds.options import CertificateFiles, GatewayOptions

ONE = EngineChoice(engines=("one=unix:///one.sock",))
DEMO = DockerProviderConfig("unix:///demo.sock", name="demo")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pilotage.yml lies about."""
    monkeypatch.chdir(tmp_path)


def test_engines_that_are_named_are_served_with_the_usual_settings() -> None:
    settings = build_settings(Flags(choice=ONE), {})
    assert [engine.name for engine in settings.engines] == ["one"]
    assert (settings.options.http_address, settings.options.http_port) == ("0.0.0.0", 8080)
    assert (settings.file, settings.with_gateway, settings.token) == ("", True, "")


def test_the_file_of_the_folder_counts_and_the_command_line_before_it(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("providers: {docker: {a: unix:///a.sock}}\ngateway: {http: 81}\napi: {listen: ':1'}")
    settings = build_settings(Flags(), {})
    assert (settings.file, settings.options.http_port, settings.listen) == (
        "pilotage.yml",
        81,
        (Listen(host="127.0.0.1", port=1),),
    )
    settings = build_settings(Flags(port=82, api=(":2",), gateway=False), {})
    assert (settings.options.http_port, settings.listen[0].port, settings.with_gateway) == (82, 2, False)
    assert build_settings(Flags(choice=ONE), {}).file == ""


def test_a_configuration_deleted_before_a_reload_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("providers: {docker: {a: unix:///a.sock}}")
    first = build_settings(Flags(), {})
    assert msgspec.structs.replace(rebuild_settings(Flags(), {}, first), why=first.why) == first
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        rebuild_settings(Flags(), {}, first)
    none = build_settings(Flags(choice=ONE), {})
    assert rebuild_settings(Flags(choice=ONE), {}, none) == none


def test_the_whole_configuration_reaches_envoy(tmp_path: Path) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("")
    (tmp_path / "pilotage.yml").write_text(
        """
providers: {docker: {a: unix:///a.sock}}
match_domains: [example.com]
debug: true
error_pages: .
captcha: {verify_url: "https://captcha.example.com"}
cloudflare: {lists: []}
inbound_mtls_profiles: {staff: {ca_files: [c.pem]}}
entrypoint: {inbound_mtls_profile: staff}
gateway: {http: "127.0.0.1:1", https: "127.0.0.2:2", public_https_port: 3, redirect_to_https: true, hsts: 1s,
          tls: [{cert_file: c.pem, key_file: k.pem}], trusted_proxies: [10.0.0.0/8], compression: true,
          access_log: "-", connect_timeout: 4s, retries: 4,
          idle_timeout: 1m, body_timeout: 1m, stream_timeout: 2h, tcp_timeout: 3h,
          max_target_connections: 20, max_waiting_requests: 40, max_connections_per_client: 30, max_udp_clients: 10,
          max_rule_memory: 50}
"""
    )
    options = build_settings(Flags(), {}).options
    usual = type(options)()
    same = [name for name in options.__struct_fields__ if getattr(options, name) == getattr(usual, name)]
    assert same == [
        "automatic_certificates",
        *("report_errors", "has_agents", "oidc", "session_keys", "files_socket", "max_waiting_in_all"),
    ]


def test_without_a_gateway_envoys_report_errors_with_their_loads() -> None:
    assert build_settings(Flags(demo=DEMO, gateway=False), {}).options.report_errors


@pytest.mark.parametrize("engine", ["agents: [10.0.0.2:8890]", "docker: {far: agent://10.0.0.2:8890}"])
def test_envoys_replace_error_pages_of_agents_if_there_are_agents(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "pilotage.yml"
    file.write_text("providers: {docker: {a: unix:///a.sock}}")
    first = build_settings(Flags(), {})
    assert not first.options.has_agents
    file.write_text(f"providers: {{{engine}}}")
    assert rebuild_settings(Flags(), {}, first).options.has_agents


def test_the_demonstration_is_served_alone() -> None:
    settings = build_settings(Flags(demo=DEMO), {})
    assert (settings.engines, settings.why, settings.file) == ((DEMO,), "the built-in demonstration", "")


def test_the_api_listens_on_a_unix_socket_and_loopback_by_default(tmp_path: Path) -> None:
    settings = build_settings(Flags(choice=ONE), {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert list(map(str, settings.listen)) == [f"unix://{tmp_path}/pilotage.sock", "http://127.0.0.1:8888"]
    assert settings.listen_if_free


def test_a_token_is_read_and_a_short_one_refused(tmp_path: Path) -> None:
    (tmp_path / "pilotage.yml").write_text("providers: {docker: {a: unix:///a.sock}}\napi: {token_file: token}")
    (tmp_path / "token").write_text("0123456789abcdef\n")
    assert build_settings(Flags(), {}).token == "0123456789abcdef"
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(ConfigError, match="shorter than 16 characters; create one with: openssl"):
        build_settings(Flags(), {})
    (tmp_path / "token").write_bytes(b"\xff" * 20)
    with pytest.raises(ConfigError, match="token: cannot be read as text"):
        build_settings(Flags(), {})


def test_the_ports_that_are_in_use_are_reserved() -> None:
    assert build_settings(Flags(choice=ONE), {}).reserved_ports == {8080, 8888} == DEFAULT_PORTS
    flags = Flags(choice=ONE, port=80, api=("127.0.0.1:9000", "unix:///tmp/x.sock", "127.0.0.1:0"))
    assert build_settings(flags, {}).reserved_ports == {80, 9000}
    assert build_settings(Flags(choice=ONE, gateway=False), {}).reserved_ports == {8080, 8888}
    options = GatewayOptions(http_port=0, https_port=443)
    assert DaemonSettings(engines=(), options=options).reserved_ports == set()  # without certificates, no HTTPS
    options = GatewayOptions(http_port=0, https_port=443, certificates=(CertificateFiles("c", "k"),))
    assert DaemonSettings(engines=(), options=options).reserved_ports == {443}


def test_a_port_in_use_is_an_error_unless_it_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        settings = DaemonSettings(engines=(), options=GatewayOptions(http_address="127.0.0.1", http_port=port))
        with pytest.raises(ConfigError, match=f"the gateway cannot listen on 127.0.0.1:{port}: Address already in use"):
            check_ports(settings)
        check_ports(settings, held=settings)


def test_the_xds_address_is_the_configured_one_or_a_private_socket(tmp_path: Path) -> None:
    assert DaemonSettings(engines=(), xds_socket="/x").xds_address == ""
    assert DaemonSettings(engines=(), with_gateway=False, xds_socket="/x").xds_address == "unix:/x"
    tcp = GatewaySettings(xds=XdsSettings(host="::1", port=1))
    settings = DaemonSettings(engines=(), gateway=tcp, with_gateway=False, xds_socket="/x")
    assert settings.xds_address == "[::1]:1"
    assert 1 in settings.reserved_ports
    flags = Flags(demo=DEMO, gateway=False)
    assert build_settings(flags, {"PILOTAGE_SOCKET": f"{tmp_path}/p.sock"}).xds_address == (
        f"unix:{tmp_path}/pilotage-xds/ads.sock"
    )
    assert build_settings(flags, {"PILOTAGE_SOCKET": "/no/where/p.sock"}).xds_address == ""


def test_settings_that_take_effect_at_the_next_start_are_named() -> None:
    old = DaemonSettings(engines=(DEMO,))
    assert changed_settings(old, old) == []
    gateway = GatewaySettings(envoy="x", workers=1, log_level="info", xds=XdsSettings(port=1), drain=1.0)
    new = msgspec.structs.replace(old, engines=(), gateway=gateway, listen=(Listen(path="/x"),), token="t")
    assert changed_settings(old, new) == [
        "gateway.envoy",
        "gateway.workers",
        "gateway.log_level",
        "gateway.xds",
        "api.listen",
        "api.token_file",
    ]


def test_an_access_log_starts_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pilotage.yml").write_text("providers: {docker: {a: unix:///a.sock}}\ngateway: {access_log: a.log}")
    settings = build_settings(Flags(choice=EngineChoice(config=str(tmp_path / "etc/pilotage.yml"))), {})
    assert settings.options.access_log == str(tmp_path / "etc/a.log")


@pytest.mark.parametrize(
    ("name", "why"),
    [("none/a.log", "No such file or directory"), ("folder", "Is a directory"), ("pipe", "No such device or address")],
)
def test_an_unwritable_access_log_is_reported_if_envoy_runs_here(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pilotage.yml").write_text(
        f"providers: {{docker: {{a: unix:///a.sock}}}}\ngateway: {{access_log: {name}}}"
    )
    with pytest.raises(ConfigError) as caught:
        build_settings(Flags(), {})
    (problem,) = caught.value.problems
    assert str(problem).startswith("pilotage.yml: gateway.access_log: ")
    assert problem.message.startswith("cannot write ")
    assert problem.message.endswith(f"{name}: {why}")
    assert build_settings(Flags(gateway=False), {}).options.access_log.endswith(name)


def test_ports_of_the_api_stay_reserved_until_the_next_start() -> None:
    running, new = (build_settings(Flags(choice=ONE, api=(f"127.0.0.1:{port}",)), {}) for port in (8888, 9999))
    assert running.start_ports == {8888}
    reloaded = msgspec.structs.replace(new, held_ports=running.start_ports)
    assert reloaded.reserved_ports == {8080, 8888, 9999}


def warnings(text: str, *, gateway: bool = False, choice: EngineChoice | None = None) -> list[str]:
    Path("pilotage.yml").write_text(text)
    flags = Flags(choice=choice or EngineChoice(config="pilotage.yml"), gateway=gateway)
    found = build_settings(flags, {"DOCKER_HOST": "unix:///x.sock"}).problems
    assert {problem.severity for problem in found} <= {"warning"}
    return [str(problem) for problem in found]


def test_without_a_gateway_one_warning_names_the_settings_that_have_no_effect(tmp_path: Path) -> None:
    xds = f"xds: {{listen: 'unix://{tmp_path}/x'}}"
    text = f"gateway: {{drain: 5s, max_connections: 99, log_level: info, {xds}, retries: 2}}"
    (warning,) = warnings(text)
    assert warning == (
        "pilotage.yml: gateway.drain, gateway.max_connections, gateway.log_level have no effect with --no-gateway, "
        "because pilotage runs no Envoy; remove them, or set them where Envoy runs"
    )
    assert warnings(text, gateway=True) == []
    assert warnings(f"gateway: {{{xds}}}") == []
    assert warnings(f"gateway: {{workers: 2, {xds}}}")[0].startswith("pilotage.yml: gateway.workers has no effect")


def test_without_a_gateway_a_warning_says_if_no_envoy_can_fetch_its_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pilotage.daemon.settings._own_socket", lambda _: None)
    (problem,) = warnings("")
    assert problem.endswith("this user cannot create a socket for it; set gateway.xds.listen")


def test_a_rule_about_an_engine_that_is_not_watched_is_a_warning() -> None:
    rule = "policy: [{who: {engine: nod1}, may: nothing}]\n"
    assert len(warnings(f"{rule}providers: {{docker: {{node1: unix:///a.sock}}}}", gateway=True)) == 1
    assert warnings(f"{rule}providers: {{docker: {{nod1!: unix:///a.sock}}}}", gateway=True) == []
    both = EngineChoice(config="pilotage.yml", engines=("nod1=unix:///b.sock",))
    assert warnings(f"{rule}providers: {{docker: {{node1: unix:///a.sock}}}}", gateway=True, choice=both) == []
