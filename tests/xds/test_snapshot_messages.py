"""The messages that Envoy gets, in full, so that no change of a field goes unnoticed.

What they make Envoy do is tested with a real Envoy elsewhere. After an intended change, run
``pytest tests/xds/test_snapshot_messages.py --snapshot-update`` and read the difference.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.dynamic_modules.v3 import dynamic_modules_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, symbol_database

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint
from pilotage.routes.schema import HealthCheck, LoadBalance
from pilotage.table.table import Table
from pilotage.xds.bootstrap import build_bootstrap
from pilotage.xds.epochs import Epochs
from pilotage.xds.holds import Holds
from pilotage.xds.listeners import http_listeners
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.server_names import secret
from pilotage.xds.snapshot import Snapshot
from tests.support.gateway import route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message
    from syrupy.assertion import SnapshotAssertion

    from pilotage.routes.route import Route
    from pilotage.xds.resources import Resource


def _define(kind: str, name: str) -> None:
    """Define a filter that the package xds-protos does not have yet. It has the fields of the HTTP filter."""
    file = descriptor_pb2.FileDescriptorProto()
    dynamic_modules_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = f"{kind}.proto"
    file.package = f"envoy.extensions.filters.{kind}.dynamic_modules.v3"
    (message, *_) = file.message_type
    message.name = name
    del file.message_type[1:]
    descriptor_pool.Default().Add(file)


_define("listener", "DynamicModuleListenerFilter")
_define("network", "DynamicModuleNetworkFilter")


def _define_filter_chain() -> None:
    """Define the messages of Envoy's filter ``filter_chain``, which the package with Envoy's messages lacks."""
    package = "envoy.extensions.filters.http.filter_chain.v3"
    file = descriptor_pb2.FileDescriptorProto(name="filter_chain.proto", package=package, syntax="proto3")
    file.dependency.append(extension_pb2.DESCRIPTOR.name)
    labels = descriptor_pb2.FieldDescriptorProto
    for name, field, kind, label in (
        ("FilterChain", "filters", "envoy.config.core.v3.TypedExtensionConfig", labels.LABEL_REPEATED),
        ("FilterChainConfig", "default_filter_chain", f"{package}.FilterChain", labels.LABEL_OPTIONAL),
    ):
        message = file.message_type.add(name=name)
        message.field.add(name=field, number=1, type=labels.TYPE_MESSAGE, type_name=f".{kind}", label=label)
    descriptor_pool.Default().Add(file)


_define_filter_chain()


def _values(message: Message) -> Any:
    found = json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))
    _shorten(found)
    return found


def _shorten(value: Any) -> None:
    """Leave out the local replies, which every listener has and ``test_local_replies`` tests."""
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(inner, dict) and "local_reply_config" in inner:
            inner["local_reply_config"] = "..."
        _shorten(inner)


def _text(resources: Iterable[Resource]) -> str:
    """Return resources as YAML; a resource that is sent twice shows both versions."""
    found: dict[str, Any] = {}
    for item in sorted(resources, key=lambda item: item.key):
        for version in (item.first, item):
            if version is not None:
                kind = item.type_url.rpartition("/")[2]
                message = symbol_database.Default().GetSymbol(kind).FromString(version.body)
                name = f"{kind.rpartition('.')[2]} {item.name}" + (" at first" if version is item.first else "")
                found[name] = _values(message) | {"needs": sorted(version.clusters), "serves": [*version.answers]}
    return yaml.safe_dump(found, default_flow_style=None, width=118)


def _added(options: GatewayOptions, *tables: Iterable[Route]) -> str:
    """Return what a sequence of tables adds to the messages that need no route."""
    snapshot = Snapshot(options)
    snapshot.holds = Holds(Epochs(7))
    shared = set(snapshot.resources)
    for routes in tables:
        snapshot.replace(Table({it.alias: it for it in routes}))
    return _text(item for key, item in snapshot.resources.items() if key not in shared)


def _differences(text: str, base: str) -> str:
    """Return the lines of the base that the text lacks with ``-``, and those of the text alone with ``+``."""
    lines = difflib.unified_diff(base.splitlines(), text.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in list(lines)[2:] if not line.startswith("@@"))


_PLAIN = GatewayOptions()
_FULL = GatewayOptions(
    http_address="127.0.0.1",
    https_address="::1",
    https_port=8443,
    public_https_port=443,
    certificates=(CertificateFiles("c", "k"), CertificateFiles("c2", "k2")),
    redirect_to_https=True,
    hsts_max_age=3600.0,
    match_domains=("example.com", ".Example.org."),
    debug=True,
    access_log="/var/log/access.log",
    trusted_proxies=("10.0.0.0/8", "10.0.0.1/8", "::1"),
    connect_timeout=4.0,
    retries=1,
    has_agents=True,
)


def test_messages_that_need_no_route(snapshot: SnapshotAssertion) -> None:
    defaults = _text(Snapshot(_PLAIN).resources.values())
    little = GatewayOptions(compression=False, access_log="-")
    assert defaults == snapshot(name="defaults")
    assert _text(Snapshot(_FULL).resources.values()) == snapshot(name="all settings")
    assert _differences(_text(Snapshot(little).resources.values()), defaults) == snapshot(name="little")


def test_the_https_listener_differs_from_the_plain_one_by_these_lines(snapshot: SnapshotAssertion) -> None:
    named = CertificateFiles("c", "k", names=("app.example.com", "*.example.org"))
    plain, https = http_listeners(msgspec.structs.replace(_FULL, certificates=(named,)))
    assert _differences(_text([https]), _text([plain])) == snapshot


_TWO = (Endpoint("10.0.0.1", 80), Endpoint("fd00::2", 8080))
_CHECK = HealthCheck(path="/up", use_get=True, interval=7.0, timeout=5.5, retries=4)

_ROUTES: dict[str, Route] = {
    "plain": route("app", 80),
    "a full name": route("app.example.com", 80),
    "a wildcard": route("*.example.com", 80),
    "replicas": route("app", endpoints=_TWO),
    "a host name": route("app", endpoints=(Endpoint("db.example.org", 80),)),
    "no endpoint": route("app", endpoints=()),
    "https": route("app", endpoints=_TWO, scheme="https"),
    "https, not verified": route("app", 443, scheme="https", no_tls_verify=True),
    "https, without a server name": route("app", endpoints=_TWO, scheme="https", ssl_server_name="off"),
    "https to a host name": route("app", endpoints=(Endpoint("db.example.org", 443),), scheme="https"),
    "https with all settings": route(
        "app",
        443,
        scheme="https",
        ssl_server_name="inner.example.org",
        ssl_trusted_certificate="/ca.pem",
        ssl_certificate="/c.pem",
        ssl_certificate_key="/k.pem",
        ssl_protocols=("TLSv1.3", "TLSv1.1", "TLSv1.2"),
    ),
    "h2c": route("app", 80, scheme="h2c", healthcheck=HealthCheck()),
    "probed": route("app", 80, healthcheck=_CHECK),
    "tcp": route("app", 22, scheme="tcp", port=PortPair(2222, 22), healthcheck=_CHECK),
    "tcp with the client's address": route(
        "app", 22, scheme="tcp", port=PortPair(2222, 22), bind="::1", relay_proxy_protocol_header=True
    ),
    "udp": route("app", 53, scheme="udp", port=PortPair(5353, 53)),
    "hold": route("app", 80, hold=2.0),
    "hold, without an endpoint": route("app", hold=2.0, endpoints=()),
    "a time limit": route("app", 80, response_header_timeout=3.0),
    "few connections": route("app", 80, max_conns_per_host=7),
    "compressed": route("app", 80, compression=True),
    "sticky": route("app", endpoints=_TWO, load_balance=LoadBalance(sticky=True)),
    "sticky for two hours": route("app", endpoints=_TWO, load_balance=LoadBalance(sticky=True, sticky_max_age=7200.0)),
    "ip_hash": route("app", endpoints=_TWO, load_balance=LoadBalance(mode="ip_hash")),
    "least_conn": route("app", endpoints=_TWO, load_balance=LoadBalance(mode="least_conn")),
    "request headers": route(
        "app",
        80,
        middlewares={
            "request": {
                "set_headers": "X-A: 50%\nHost: inner",
                "add_headers": "X-B: b",
                "hide_headers": "X-C",
                "add_prefix": "v1",
            }
        },
    ),
    "response headers": route(
        "app", 80, middlewares={"response": {"set_headers": "A: a", "add_headers": "B: 7%", "hide_headers": "C"}}
    ),
    "set_x_forwarded": route("app", 80, middlewares={"set_x_forwarded": None}),
    "hide_x_forwarded": route("app", 80, middlewares={"hide_x_forwarded": None}),
    "redirect_http": route("app", 80, middlewares={"redirect_http": None}),
    "cidr_whitelist": route("app", 80, middlewares={"cidr_whitelist": {"allow": "10.0.0.0/8, fd00::/8"}}),
    "rate_limit": route("app", 80, middlewares={"rate_limit": {"average": 10, "burst": 20, "period": "1m"}}),
    "real_ip": route(
        "app",
        80,
        middlewares={"real_ip": {"header": "X-Real", "from": "10.0.0.0/8"}, "cidr_whitelist": {"allow": "::1"}},
    ),
    "forwardauth": route(
        "app", 80, middlewares={"forwardauth": {"route": "login", "auth_endpoint": "/ok", "headers": "X-User"}}
    ),
}


@pytest.mark.parametrize("name", ["plain", "replicas"])
def test_messages_of_a_usual_route(name: str, snapshot: SnapshotAssertion) -> None:
    assert _added(_PLAIN, [_ROUTES[name]]) == snapshot


@pytest.mark.parametrize("name", [name for name in _ROUTES if name not in {"plain", "replicas"}])
def test_a_route_differs_from_the_usual_one_by_these_lines(name: str, snapshot: SnapshotAssertion) -> None:
    text = _added(_PLAIN, [_ROUTES[name]])
    usual = _ROUTES["replicas" if text.startswith("Cluster ") else "plain"]
    assert _differences(text, _added(_PLAIN, [usual])) == snapshot


@pytest.mark.parametrize("name", ["plain", "forwardauth", "redirect_http"])
def test_settings_of_the_gateway_change_these_lines_of_a_route(name: str, snapshot: SnapshotAssertion) -> None:
    assert _differences(_added(_FULL, [_ROUTES[name]]), _added(_PLAIN, [_ROUTES[name]])) == snapshot


def test_messages_of_a_pool(snapshot: SnapshotAssertion) -> None:
    members = [
        route("a", 80, load_balance=LoadBalance(link="shop", weight=3)),
        route("b", 81, load_balance=LoadBalance(link="shop", weight=1)),
        route("c", 82, load_balance=LoadBalance(link="shop")),
    ]
    assert _differences(_added(_PLAIN, members), _added(_PLAIN, [_ROUTES["replicas"]])) == snapshot


def test_messages_of_names_that_share_a_first_label(snapshot: SnapshotAssertion) -> None:
    assert _added(_FULL, [route("app", 80), route("app.example.com", 81), route("app.other.org", 82)]) == snapshot


def test_messages_of_a_container_that_restarts(snapshot: SnapshotAssertion) -> None:
    draining = route("app", endpoints=(Endpoint("10.0.0.1", 80, state="draining"),))
    stopped = route("app", endpoints=(), excluded_reason=ExclusionReason.NOT_RUNNING)
    usual = _added(_PLAIN, [_ROUTES["replicas"]])
    assert _differences(_added(_PLAIN, [draining]), usual) == snapshot(name="told to stop")
    assert _differences(_added(_PLAIN, [draining], [stopped]), usual) == snapshot(name="stopped")
    again = _added(_PLAIN, [draining], [stopped], [route("app", 80)])
    assert _differences(again, usual) == snapshot(name="running again")


def test_the_message_with_a_certificate(snapshot: SnapshotAssertion) -> None:
    assert _text([secret(1, b"chain", b"key")]) == snapshot


@pytest.mark.parametrize("address", ["unix:/run/x.sock", "127.0.0.1:9000", "[::1]:9000", "control.example.org:9000"])
def test_the_bootstrap_of_an_envoy(address: str, snapshot: SnapshotAssertion) -> None:
    tls = {"ca": "/ca.pem", "certificate": "/c.pem", "key": "/k.pem"}
    made = (
        build_bootstrap(address) if address.startswith("unix") else build_bootstrap(address, "me", tls=tls, admin="/a")
    )
    assert yaml.safe_dump(made, default_flow_style=None, width=118) == snapshot
