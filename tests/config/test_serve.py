from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pilotage.config.load import Config, load_config
from pilotage.config.serve import ApiSettings, GatewaySettings, XdsSettings
from pilotage.core.errors import ConfigError
from pilotage.engine.config import TLSFiles
from pilotage.xds.options import CertificateFiles, GatewayOptions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("cert.pem", "key.pem", "ca.pem", "token"):
        (tmp_path / name).write_text(name)
    return tmp_path


def read(folder: Path, text: str) -> Config:
    (folder / "pilotage.yml").write_text(text)
    return load_config(folder / "pilotage.yml", {})


def errors_in(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [str(problem).removeprefix(f"{folder}/pilotage.yml:") for problem in caught.value.problems]


def test_omitted_settings_have_their_defaults(folder: Path) -> None:
    config = read(folder, "")
    assert (config.options, config.gateway, config.api) == (GatewayOptions(), GatewaySettings(), ApiSettings())
    assert (config.options.http_address, config.options.http_port) == ("0.0.0.0", 8080)
    assert config.options.https_port == 0
    assert read(folder, "gateway:\napi:\n") == config


def test_everything_can_be_written(folder: Path) -> None:
    config = read(
        folder,
        """
gateway:
  http: 127.0.0.1:80
  https: 443
  tls:
    - {cert_file: cert.pem, key_file: key.pem}
  public_https_port: 8443
  redirect_to_https: true
  hsts: 30d
  trusted_proxies: [10.1.2.3/8, 192.0.2.7]
  compression: true
  access_log: "-"
  connect_timeout: 500ms
  retries: 0
  idle_timeout: 3m
  body_timeout: 4m
  stream_timeout: 5m
  tcp_timeout: 6m
  max_target_connections: 77
  max_udp_clients: 88
  max_rule_memory: 99
  drain: 1m
  keep: true
  envoy: /usr/bin/envoy
  workers: 2
  max_connections: 99
  max_connections_per_client: 9
  log_level: info
  xds:
    listen: "[::1]:18000"
    tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}
api:
  listen: [unix:///run/p.sock, ":1"]
  token_file: token
match_domains: [.Example.com, "*.lan", home.arpa.]
debug: true
""",
    )
    at = f"{folder}/"
    assert config.options == GatewayOptions(
        http_address="127.0.0.1",
        http_port=80,
        https_address="0.0.0.0",
        https_port=443,
        certificates=(CertificateFiles(f"{at}cert.pem", f"{at}key.pem"),),
        public_https_port=8443,
        redirect_to_https=True,
        hsts_max_age=2_592_000.0,
        trusted_proxies=("10.0.0.0/8", "192.0.2.7/32"),
        compression=True,
        access_log="-",
        connect_timeout=0.5,
        retries=0,
        idle_timeout=180.0,
        body_timeout=240.0,
        stream_timeout=300.0,
        tcp_timeout=360.0,
        max_target_connections=77,
        max_udp_clients=88,
        max_rule_memory=99,
        match_domains=("example.com", "lan", "home.arpa"),
        debug=True,
    )
    assert config.gateway == GatewaySettings(
        drain=60.0,
        keep=True,
        envoy="/usr/bin/envoy",
        workers=2,
        max_connections=99,
        max_client_connections=9,
        log_level="info",
        xds=XdsSettings(
            "",
            "::1",
            18000,
            TLSFiles(ca_file=f"{at}ca.pem", cert_file=f"{at}cert.pem", key_file=f"{at}key.pem"),
        ),
    )
    assert config.api == ApiSettings(("unix:///run/p.sock", ":1"), f"{at}token")


def test_certificates_alone_mean_https_on_its_unprivileged_port(folder: Path) -> None:
    assert read(folder, "gateway: {tls: [{cert_file: cert.pem, key_file: key.pem}]}").options.https_port == 8443


def test_plain_http_can_be_left_out(folder: Path) -> None:
    assert read(folder, "gateway: {http: false}").options.http_port == 0


def test_one_place_needs_no_list(folder: Path) -> None:
    assert read(folder, "api: {listen: ':8889'}").api.listen == (":8889",)
    assert read(folder, "api: {listen: []}").api.listen == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "gateway: {http: eighty}",
            "1:17: gateway.http: 'eighty' is not an address to listen on; write a port, or an IP",
        ),
        ("gateway: {http: 99999}", "gateway.http: '99999' is not an address to listen on"),
        ("gateway: {http: true}", "gateway.http: 'true' is not an address to listen on"),
        ("gateway: {http: 'localhost:1'}", "gateway.http: 'localhost:1' is not an address to listen on"),
        ("gateway: {htps: 1}", "1:11: gateway.htps: unknown key 'htps'; did you mean 'https'?"),
        ("gateway: {retries: 11}", "gateway.retries: retries 11 is out of range; write a number between 0 and 10"),
        ("gateway: {retries: true}", "gateway.retries: must be a whole number"),
        ("gateway: {log_level: waring}", "'waring' is not a valid log_level; did you mean 'warning'?"),
        ("gateway: {hsts: 1x}", "gateway.hsts: '1x': unknown unit 'x'"),
        ("gateway: {keep: maybe}", "gateway.keep"),
        ("gateway: {drain: -1s}", "gateway.drain: '-1s' is negative; write a duration of 0 or more"),
        ("gateway: {public_https_port: 0}", "public_https_port 0 is out of range; write a number of at least 1"),
        ("gateway: {max_udp_clients: true}", "gateway.max_udp_clients: must be a whole number"),
        ("api: {listen: true}", "api.listen: listen must be a list, not a boolean"),
        ("gateway: {drain: true}", "gateway.drain: 'True' is not a duration"),
        (
            "gateway: {xds: {listen: '0.0.0.0:1', tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: no.pem}}}",
            "gateway.xds.tls.key_file: /",
        ),
        ("gateway: {drain: {}}", "gateway.drain: '{}' is not a duration"),
        ("gateway: {tls: [{cert_file: cert.pem}]}", "gateway.tls[0].key_file: key_file is missing; add it"),
        ("gateway: {tls: [{cert_file: no.pem, key_file: key.pem}]}", "/no.pem does not exist; check the name"),
        ("gateway: {tls: [{cert_file: cert.pem, key_file: key.pem, x: 1}]}", "gateway.tls[0].x: unknown key 'x'"),
        ("gateway: {tls: [{cert_file: no.pem, key_file: key.pem}]}", "gateway.tls[0].cert_file: /"),
        ("gateway: {tls: [{cert_file: cert.pem, key_file: no.pem}]}", "gateway.tls[0].key_file: /"),
        ("gateway: {max_connections: 15}", "max_connections 15 is out of range; write a number of at least 16"),
        ("gateway: {max_connections_per_client: -1}", "is out of range; write a number of at least 0"),
        ("gateway: {max_udp_clients: 0}", "is out of range; write a number of at least 1"),
        ("gateway: {tls: [7]}", "gateway.tls[0]: each of tls must be a mapping, not a number"),
        ("gateway: {tls: yes}", "gateway.tls: 'yes' is not a certificate"),
        ("gateway: {https: 443}", "gateway.https: HTTPS needs a certificate; add autocert to obtain"),
        (
            "gateway: {redirect_to_https: true}",
            "gateway.redirect_to_https: HTTPS is not enabled, so there is nothing to redirect to",
        ),
        ("gateway: {trusted_proxies: [x]}", "gateway.trusted_proxies[0]: 'x' is not a network; write one such as"),
        (
            "gateway: {xds: {listen: 18000}}",
            "keys to everyone who can connect; add gateway.xds.tls with ca_file, cert_file and key_file, or listen",
        ),
        (
            "gateway: {xds: {listen: '127.0.0.1:18000'}}",
            "gateway.xds.listen: 127.0.0.1:18000 would give all routes and",
        ),
        (
            "gateway: {xds: {listen: 'unix:///" + "x" * 200 + "'}}",
            "is not a unix socket; write unix:// and an absolute path",
        ),
        ("gateway: {xds: {listen: 'unix://a'}}", "'unix://a' is not a unix socket; write unix:// and an absolute path"),
        (
            "gateway: {xds: {listen: 'unix:///a', tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}}}",
            "gateway.xds.tls: a unix socket uses no TLS, because only its owner can connect; remove gateway.xds.tls",
        ),
        ("match_domains: [.exa mple]", "match_domains[0]: '.exa mple' is not a domain; write one such as .example.com"),
        ("debug: 3", "debug: debug must be true or false, not a number"),
        ("api: {token_file: nope}", "nope does not exist; check the name"),
        ("api: {token_file: nope}", "api.token_file: /"),
        ("gateway: {workers: -1}", "workers -1 is out of range; write a number between 0 and 1024"),
    ],
)
def test_errors_are_reported_with_their_place(folder: Path, text: str, said: str) -> None:
    (fault,) = errors_in(folder, text)
    assert (f" {said}" if said.startswith(("gateway.", "api.")) else said) in fault


def test_other_envoys_may_use_a_unix_socket(folder: Path) -> None:
    xds = read(folder, "gateway: {xds: {listen: 'unix:///run/x/ads.sock'}}").gateway.xds
    assert (xds, xds.address) == (XdsSettings("/run/x/ads.sock", "", 0), "unix:/run/x/ads.sock")
    assert XdsSettings().address == ""


def test_braces_in_values_are_shown_unchanged(folder: Path) -> None:
    (fault,) = errors_in(folder, "match_domains: ['{hint}']")
    assert "'{hint}' is not a domain" in fault


def test_errors_of_several_sections_are_reported_together(folder: Path) -> None:
    told = errors_in(folder, "gateway: {http: x, drain: y}\napi: {lsten: z}\nproviders: {docker: {a: b}}")
    assert [fault.split(" ")[0] for fault in told] == ["1:17:", "1:27:", "2:7:", "3:25:"]


@pytest.mark.parametrize(
    ("listen", "ports"),
    [
        (None, {8888}),
        ((), set()),
        (("unix:///run/x:80", "127.0.0.1:81", "[::1]:82", ":83", "84", "0", "x", ":123456"), {81, 82, 83, 84}),
    ],
)
def test_the_ports_of_the_api_are_those_of_tcp_listeners(listen: tuple[str, ...] | None, ports: set[int]) -> None:
    assert ApiSettings(listen=listen).ports == ports


def test_one_request_connection_or_client_at_a_time_may_be_enough(folder: Path) -> None:
    names = ("max_waiting_requests", "max_target_connections", "max_udp_clients")
    options = read(folder, f"gateway: {{{': 1, '.join(names)}: 1}}").options
    assert [getattr(options, name) for name in names] == [1, 1, 1]


def test_the_ports_of_all_listeners_are_reserved(folder: Path) -> None:
    assert read(folder, "").reserved_ports == {8080, 8888}
    tls = "tls: {ca_file: ca.pem, cert_file: cert.pem, key_file: key.pem}"
    config = read(folder, f"gateway: {{http: 81, xds: {{listen: '127.0.0.1:1', {tls}}}}}\napi: {{listen: '82'}}")
    assert config.reserved_ports == {1, 81, 82}


def test_a_certificate_may_be_the_default(folder: Path) -> None:
    files = "cert_file: cert.pem, key_file: key.pem"
    pairs = read(folder, f"gateway: {{tls: [{{{files}}}, {{{files}, default: true}}]}}").options.certificates
    assert [pair.default for pair in pairs] == [False, True]
