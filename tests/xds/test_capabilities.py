from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest

from pilotage.routes.access_log import AccessLog
from pilotage.routes.oidc import OidcDefaults
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint
from pilotage.routes.schema import LoadBalance
from pilotage.xds.capabilities import GatewayCapabilities, check_capabilities
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.options import GatewayOptions
from tests.support.gateway import route


def test_an_ordinary_route_is_supported() -> None:
    assert check_capabilities(route("app", 80)) == ((), True)


@pytest.mark.parametrize(
    ("fields", "path", "servable"),
    [
        ({"scheme": "fileserver", "agent": "node1:8890"}, "scheme", False),
        ({"scheme": "fileserver", "load_balance": LoadBalance(link="x")}, "load_balance.link", False),
        ({"rules": "default { handle api }"}, "rules", False),
        ({"rules": "default { serve /srv }", "agent": "node1:8890"}, "rules", False),
        ({"rules": "default { notify info ntfy title text }"}, "rules", False),
        ({"scheme": "tcp", "port": PortPair(1, 2), "rules": "default { pass }"}, "rules", False),
        ({"rule_file": "embed://x"}, "rule_file", False),
        ({"inbound_mtls_profile": "staff"}, "inbound_mtls_profile", False),
        ({"scheme": "tcp", "port": PortPair(1, 2), "tls_termination": True}, "tls_termination", False),
        ({"access_log": AccessLog(path="/var/log/app.log")}, "access_log.path", True),
        ({"scheme": "tcp", "port": PortPair(1, 2), "access_log": AccessLog(stdout=True)}, "access_log", True),
        ({"scheme": "tcp", "port": PortPair(0, 5432)}, "port", False),
        ({"scheme": "udp", "port": PortPair(1, 2), "middlewares": {"redirect_http": None}}, "middlewares", False),
        ({"scheme": "tcp", "port": PortPair(1, 2), "hold": 5.0}, "hold", True),
        (
            {"scheme": "tcp", "port": PortPair(1, 2), "load_balance": LoadBalance(link="x", sticky=True)},
            "load_balance.sticky",
            True,
        ),
        ({"bind": "::1"}, "bind", False),
        ({"load_balance": LoadBalance(link="x", options={"a": 1})}, "load_balance.options", True),
        ({"load_balance": LoadBalance(link="the shop")}, "load_balance.link", False),
        ({"host": "a" * 254}, "host", False),
        ({"scheme": "https", "ssl_server_name": "a" * 254}, "ssl_server_name", False),
        ({"scheme": "https", "ssl_server_name": "a\0b"}, "ssl_server_name", False),
        ({"middlewares": {"oidc": {}}}, "middlewares.oidc", False),
        (
            {
                "middlewares": {
                    "rate_limit": {"average": 9, "bypass": [f"path /{n}" for n in range(9)]},
                    "redirect_http": {"bypass": ["path /x", "path /y"]},
                },
                "rules": "\n".join(f"path glob(/{n}*) {{ set header A{n} x }}" for n in range(6)),
            },
            "middlewares",
            False,
        ),
        (
            {"middlewares": {"redirect_http": {"bypass": [f"path regex(.{{20}}{n:0200})" for n in range(50)]}}},
            "middlewares",
            False,
        ),
        (
            {"middlewares": {"redirect_http": {"bypass": [f"route app & path /{n}" for n in range(51)]}}},
            "middlewares",
            False,
        ),
        ({"middlewares": {"request": {"add_prefix": "/../.."}}}, "middlewares.request.add_prefix", False),
        ({"middlewares": {"real_ip": {"from": "10.0.0.0/8"}}}, "middlewares.real_ip", True),
    ],
    ids=str,
)
def test_unsupported_settings_are_reported(fields: dict[str, Any], path: str, servable: bool) -> None:
    problems, served = check_capabilities(route("app", 80, **fields))
    assert [(problem.path, problem.route, problem.provider) for problem in problems] == [(path, "app", "local")]
    assert problems[0].hint
    assert problems[0].refused is not servable
    assert served is servable


@pytest.mark.parametrize(
    "alias", ["shop", "shop.example.com", "*.example.com", "my_app", "xn--bcher-kva", "x" * 63, "*"]
)
def test_valid_hosts_are_served(alias: str) -> None:
    assert check_capabilities(route(alias, 80)) == ((), True)


@pytest.mark.parametrize(
    ("alias", "hint"),
    [
        ("a/b", "write a"),
        ("a b", "write a name of letters"),
        ("f*o", "write it as the first label alone"),
        ("*.*.com", "write it as the first label alone"),
        (".shop", "write shop, or *.shop"),
        ("shop:80", "write shop; the label port"),
    ],
)
def test_an_invalid_host_is_reported(alias: str, hint: str) -> None:
    (problem,), served = check_capabilities(route(alias, 80))
    assert (problem.path, served) == ("alias", False)
    assert problem.hint.startswith(hint)


def test_aliases_of_streams_and_pool_members_can_be_anything() -> None:
    assert check_capabilities(route("a b", 80, scheme="tcp", port=PortPair(1, 2))) == ((), True)
    assert check_capabilities(route("a b", 80, load_balance=LoadBalance(link="shop"))) == ((), True)


@pytest.mark.parametrize(
    ("header", "trusted", "servable"),
    [
        ("X-Forwarded-For", ("10.0.0.0/8",), True),
        ("X-Forwarded-For", ("192.168.0.0/16",), False),
        ("X-Real-IP", ("10.0.0.0/8",), True),
        ("X-Real-IP", (), False),
        ("X-Forwarded-For", ("fd00::/8",), False),
    ],
)
def test_a_whitelist_by_header_is_served_only_if_the_gateway_trusts_the_header(
    header: str, trusted: tuple[str, ...], servable: bool
) -> None:
    asked = {"real_ip": {"header": header, "from": ["10.1.0.0/16"]}, "cidr_whitelist": {"allow": ["1.1.1.1"]}}
    assert (
        check_capabilities(route("app", 80, middlewares=asked), GatewayOptions(trusted_proxies=trusted))[1] is servable
    )


def said(name: str = "app", options: GatewayOptions | None = None, **fields: Any) -> list[tuple[str, str]]:
    problems, _ = check_capabilities(route(name, 80, **fields), options or GatewayOptions())
    return [(problem.message, problem.hint) for problem in problems]


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"scheme": "fileserver", "agent": "node1:8890"}, "run a web server in a container for the files"),
        ({"rules": "default { handle api }"}, "remove it"),
        (
            {"access_log": AccessLog(path="/var/log/app.log")},
            "set access_log.stdout: true, and send pilotage's standard output to a file",
        ),
        ({"scheme": "tcp", "port": PortPair(0, 5432)}, "write both ports: proxy.app.port: 5432:5432"),
        ({"scheme": "udp", "port": PortPair(1, 2), "middlewares": {"redirect_http": None}}, "remove it"),
        ({"load_balance": LoadBalance(link="x", options={"a": 1})}, "remove them"),
        (
            {"load_balance": LoadBalance(link="the shop")},
            "write a name of letters, digits, dashes and dots, such as shop.example.com",
        ),
        ({"host": "a" * 254}, "use at most 253 characters"),
        ({"scheme": "https", "ssl_server_name": "a" * 254}, "write a name such as app.internal"),
        (
            {"middlewares": {"real_ip": {"from": "10.0.0.0/8"}}},
            "add these networks to gateway.trusted_proxies",
        ),
    ],
    ids=str,
)
def test_unsupported_settings_have_a_remedy(fields: dict[str, Any], hint: str) -> None:
    ((message, found),) = said(**fields)
    assert found == hint
    assert message


def test_an_invalid_host_is_explained() -> None:
    found = (
        "no client can request the host 'a b'",
        "write a name of letters, digits, dashes and dots, such as shop.example.com",
    )
    assert said("a b") == [found]
    assert said("app", load_balance=LoadBalance(link="a b")) == [found]


def test_names_of_253_characters_are_not_too_long() -> None:
    assert said(host="a" * 253, scheme="https", ssl_server_name="a" * 253) == []
    ((message, _),) = said(scheme="https", ssl_server_name="ä" * 127)  # 254 bytes
    assert message.endswith("is not a valid server name")


def test_the_headers_of_trusted_proxies_are_explained() -> None:
    options = GatewayOptions(trusted_proxies=("10.0.0.0/8", "fd00::/8"))
    asked = {"header": "X-Forwarded-For", "from": ["10.1.0.0/16", "fd00:1::/32"]}
    assert said(options=options, middlewares={"real_ip": asked}) == []
    assert said(options=options, middlewares={"real_ip": {**asked, "header": "X-Other"}}) == []
    ((message, _),) = said(options=options, middlewares={"real_ip": {"header": "X-Forwarded-For"}})
    assert message == "real_ip needs the networks of the proxies in 'from'"
    ((message, _),) = said(middlewares={"real_ip": asked})
    assert message == "the gateway removes headers with addresses from all clients except gateway.trusted_proxies"
    ((message, _),) = said("*.example.com", options, middlewares={"real_ip": asked})
    assert message == "a route for many names cannot use real_ip"
    limited = {"real_ip": {"header": "X-Other", "from": ["192.168.0.0/16"]}, "rate_limit": {"average": 1}}
    assert not check_capabilities(route("app", 80, middlewares=limited), options)[1]


def test_the_host_of_an_endpoint_may_be_too_long() -> None:
    long = Endpoint("a" * 254, 80, "app", "id-app")
    ((message, _),) = said(endpoints=(long, long))
    assert message.endswith("is too long for a host name")


def test_no_check_needs_the_packages_of_the_gateway() -> None:
    program = (
        "import sys; sys.modules['envoy'] = sys.modules['google'] = sys.modules['grpc'] = None;"
        "import pilotage.lint.check, pilotage.cli.sources, pilotage.config.load"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_all_routes_can_have_the_middleware_oidc() -> None:
    oidc = OidcDefaults(issuer_url="https://i", client_id="c", client_secret="s", allowed_users=("a",), all_routes=True)
    gateway = GatewayCapabilities(GatewayOptions(oidc=oidc))
    assert gateway.fill_in({}) == ({"oidc": None}, ())
    assert gateway.fill_in({"OIDC": {"allowed_users": "b"}}) == (None, ())
    assert gateway.fill_in({"request": None}) == ({"request": None, "oidc": None}, ())
    bypassed = GatewayCapabilities(GatewayOptions(oidc=msgspec.structs.replace(oidc, bypass=("path /x",))))
    assert bypassed.fill_in({}) == ({"oidc": {"bypass": ["path /x"]}}, ())
    problems, served = gateway(route("app", 80))  # a route that was built without it
    assert ([it.path for it in problems], served) == (["middlewares"], False)
    assert gateway(route("app", 80, middlewares={"oidc": None})) == ((), True)
    assert gateway(route("app", 22, scheme="tcp", port=PortPair(2222, 22)))[1]


@pytest.mark.parametrize(
    ("profile", "https", "fields", "message"),
    [
        (ClientProfile("staff", ("ca.pem",)), True, {}, ""),
        (ClientProfile("other", ("ca.pem",)), True, {}, "there is no inbound mTLS profile 'staff'"),
        (
            ClientProfile("staff", ("ca.pem",), problem="cannot read ca.pem: denied"),
            True,
            {},
            "the inbound mTLS profile 'staff' cannot be used: cannot read ca.pem: denied",
        ),
        (
            ClientProfile("staff", ("ca.pem",)),
            False,
            {},
            "clients send certificates only over HTTPS, which the gateway does not serve",
        ),
        (
            ClientProfile("staff", ("ca.pem",)),
            True,
            {"scheme": "tcp", "port": PortPair(2, 2)},
            "inbound_mtls_profile is only for HTTP, not tcp",
        ),
    ],
)
def test_a_route_needs_a_profile_with_which_certificates_can_be_verified(
    profile: ClientProfile, https: bool, fields: dict[str, Any], message: str
) -> None:
    options = GatewayOptions(client_profiles=(profile,), https_port=443 * https, automatic_certificates=True)
    problems, servable = check_capabilities(route("app", 80, inbound_mtls_profile="staff", **fields), options)
    assert [problem.message for problem in problems] == [message] * bool(message)
    assert servable is not bool(message)
