from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage import DockerProviderConfig, Problem, build_routes, from_docker
from pilotage.containers.inspection import with_inspection
from pilotage.engine.types import HostConfig, Inspect
from pilotage.routes.build import RouteBuilder, decode_labels, make_route
from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.schema import PROTECTIVE, RouteSettings
from pilotage.routes.settings import AliasSettings
from pilotage.routes.target import Target
from tests.support.summaries import ADDRESS, ID, LENIENT, REMOTE, built, container, reported, route, routes, summary

MANUAL = {"proxy.exclude": "true"}
IDLE = {"proxy.idle_timeout": "5m"}
ONEOFF = {"com.docker.compose.oneoff": "True"}


def problems(labels: dict[str, str], **fields: Any) -> list[Problem]:
    return list(built(labels, **fields).problems)


# ---- which routes ---------------------------------------------------------------------------------------------------


def test_every_alias_gets_a_route_whether_a_label_mentions_it_or_not() -> None:
    found = routes({"proxy.aliases": "a, B, a", "proxy.b.port": "81", "proxy.c.port": "82"})
    assert {alias: found[alias].port.proxy for alias in found} == {"a": 80, "b": 81, "c": 82}


def test_a_container_without_a_name_gets_no_routes() -> None:
    assert built({"proxy.web.port": "80"}, Names=None) == built(Names=[])
    assert built(Names=[]).routes == ()


def test_errors_of_a_container_are_reported_and_it_gets_no_routes() -> None:
    found = built({"proxy.network": "nope", "proxy.web.bogus": "1"})
    assert found.routes == ()
    assert [problem.label for problem in found.problems] == ["proxy.network"]


@pytest.mark.parametrize(
    ("name", "explicit_only", "count"),
    [("local", None, 1), ("local!", None, 0), ("local!", False, 1), ("local", True, 0)],
)
def test_explicit_only_engines_skip_containers_without_pilotage_labels(
    name: str, explicit_only: bool | None, count: int
) -> None:
    config = DockerProviderConfig(url="unix:///var/run/docker.sock", name=name)
    assert len(build_routes(container(config=config), explicit_only=explicit_only).routes) == count
    explicit = container(labels={"proxy.exclude": "false"}, config=config)
    assert len(build_routes(explicit, explicit_only=explicit_only).routes) == 1


def test_an_agents_name_can_make_it_explicit_only() -> None:
    config = DockerProviderConfig(url="agent://10.0.0.9:8890", name="node")
    for agent, count in (("node", 1), ("node!", 0)):
        found = from_docker(summary(), config, agents={"10.0.0.9:8890": agent})
        assert len(build_routes(found).routes) == count


def test_a_route_has_the_fields_its_labels_set_and_an_endpoint() -> None:
    found = route({"proxy.web.scheme": "https", "proxy.web.port": "8443", "proxy.web.hold": "5s"})
    assert (found.scheme, found.host, found.port) == ("https", ADDRESS, PortPair(0, 8443))
    assert (found.settings.hold, found.labelled) == (5.0, ("hold", "port", "scheme"))
    (endpoint,) = found.endpoints
    assert (endpoint.host, endpoint.port, endpoint.container, endpoint.container_id) == (ADDRESS, 8443, "web", ID)
    assert (found.excluded, found.excluded_reason, found.health_check, found.problems) == (False, "", True, ())


@pytest.mark.parametrize(
    ("status", "state"),
    [("Up", "ready"), ("Up (healthy)", "ready"), ("Up (unhealthy)", "unhealthy"), ("Up (health: starting)", "waiting")],
)
def test_an_endpoint_has_the_health_that_the_engine_reports(status: str, state: str) -> None:
    assert [endpoint.state for endpoint in route(Status=status).endpoints] == [state]


def test_replicas_share_engine_project_and_service() -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    assert route(labels).service == ("local", "shop", "web")
    assert route().service == ()


def test_streams_listen_on_all_addresses_by_default() -> None:
    assert route({"proxy.web.port": "22:22"}).bind == "0.0.0.0"
    assert route({"proxy.web.port": "22:22", "proxy.web.bind": "::1"}).bind == "::1"
    assert route().bind == ""


def test_a_file_server_needs_no_endpoint() -> None:
    found = route({"proxy.web.scheme": "fileserver", "proxy.web.root": "/srv/www"}, Ports=[], policy=LENIENT)
    assert (found.excluded, found.endpoints, found.target) == (False, (), "file:///srv/www")


# ---- why not --------------------------------------------------------------------------------------------------------

STOPPED = {"State": "exited", "Status": "Exited (0) 2 hours ago"}
POSTGRES = {"Image": "postgres"}


@pytest.mark.parametrize(
    ("labels", "fields", "reason"),
    [
        ({}, {}, ""),
        (MANUAL, {}, ExclusionReason.MANUAL),
        ({"proxy.exclude": "yes"}, {}, ExclusionReason.MANUAL),
        (ONEOFF, {}, ExclusionReason.ONEOFF),
        (ONEOFF | {"proxy.exclude": "false"}, {}, ""),
        ({}, STOPPED, ExclusionReason.NOT_RUNNING),
        ({"proxy.web.port": "80"}, STOPPED, ExclusionReason.NOT_RUNNING),
        ({}, {"State": "paused"}, ExclusionReason.NOT_RUNNING),
        ({}, {"State": "restarting"}, ExclusionReason.NOT_RUNNING),
        (IDLE, STOPPED, ""),
        (IDLE, STOPPED | {"Ports": []}, ""),
        ({}, {"Ports": []}, ExclusionReason.NO_PORT),
        (IDLE, {"Ports": []}, ExclusionReason.NO_PORT),
        ({}, {"config": REMOTE}, ExclusionReason.NO_PORT),
        ({"proxy.web.port": "0"}, {"Ports": []}, ExclusionReason.NO_PORT),
        ({}, POSTGRES, ExclusionReason.BLACKLISTED),
        ({"proxy.exclude": "false"}, POSTGRES, ""),
        ({}, {"name": "buildx_buildkit_0"}, ExclusionReason.BUILDX),
        ({}, {"name": "x-files"}, ExclusionReason.ANCHOR),
        ({}, {"name": "web-old"}, ExclusionReason.RENAMING),
        # of several the first in this order
        ({"proxy.web.bind": "eth0"} | MANUAL, {}, ExclusionReason.ERROR),
        (MANUAL | ONEOFF, STOPPED, ExclusionReason.MANUAL),
        (ONEOFF, STOPPED, ExclusionReason.ONEOFF),
        ({}, STOPPED | {"Ports": []}, ExclusionReason.NOT_RUNNING),
        (
            {},
            {"Image": "acme/web", "Ports": [], "Mounts": [{"Destination": "/var/lib/mysql"}]},
            ExclusionReason.NO_PORT,
        ),
        ({}, POSTGRES | {"name": "buildx_x-old"}, ExclusionReason.BLACKLISTED),
        ({}, {"name": "buildx_x-old"}, ExclusionReason.BUILDX),
        ({}, {"name": "x-old"}, ExclusionReason.ANCHOR),
    ],
)
def test_an_excluded_route_has_its_reason(labels: dict[str, str], fields: dict[str, Any], reason: str) -> None:
    found = route(labels, **fields)
    assert (found.excluded, found.excluded_reason) == (bool(reason), reason)
    if reason:
        assert (found.endpoints, found.health_check, found.listen) == ((), False, None)


def test_an_idle_container_that_sleeps_has_no_endpoint_yet() -> None:
    found = route(IDLE, **STOPPED)
    assert (found.idle_watcher, found.endpoints, found.target, found.health_check) == (True, (), None, True)


def test_ports_that_the_engine_omits_are_reported() -> None:
    listed = container(HostConfig=None, Ports=[], NetworkSettings={"Networks": None})
    found = build_routes(with_inspection(listed, Inspect(HostConfig=HostConfig("host"))))
    assert [route.excluded_reason for route in found.routes] == [ExclusionReason.NO_PORT]
    (problem,) = found.problems
    assert (problem.message, problem.hint, problem.severity) == (
        "its port is not known: the engine does not report the ports of containers on the host's network",
        "set the label proxy.web.port",
        "warning",
    )


@pytest.mark.parametrize(
    ("labels", "fields", "probed"),
    [
        ({}, {}, True),
        ({"proxy.web.healthcheck.disable": "true"}, {}, False),
        ({"proxy.web.healthcheck.disable": "true"}, {"Status": "Up (healthy)"}, True),
        ({}, {"Image": "ghcr.io/yusing/godoxy-agent"}, False),
    ],
)
def test_served_routes_are_probed_by_default(labels: dict[str, str], fields: dict[str, Any], probed: bool) -> None:
    assert route(labels, **fields).health_check is probed


# ---- what is wrong --------------------------------------------------------------------------------------------------


def test_a_problem_names_its_whole_place() -> None:
    labels = {"proxy.web": "port: 80\nhealthcheck:\n  interval: 5x\n  pth: /up\n", "proxy.web.sheme": "https"}
    first, second, third = problems(labels)
    assert first == Problem(
        message="'5x': unknown unit 'x'; the units are ms, s, m, h, d, w, M (month)",
        value="5x",
        provider="local",
        container="web",
        route="web",
        label="proxy.web",
        path="healthcheck.interval",
        line=3,
        column=13,
    )
    assert str(second) == (
        "local/web: proxy.web: healthcheck.pth (line 4, column 3): unknown field; did you mean 'path'?"
    )
    assert str(third) == "local/web: proxy.web.sheme: unknown field; did you mean 'scheme'?"


def test_an_error_in_a_wildcard_is_reported_once() -> None:
    assert reported({"proxy.aliases": "a,b", "proxy.*.bogus": "1"}) == ["local/web: proxy.*.bogus: unknown field"]


def test_a_bad_value_does_not_stay_in_force_and_good_ones_still_apply() -> None:
    found = route({"proxy.web.port": "65536", "proxy.web.healthcheck.interval": "500ms", "proxy.web.host": "10.1.1.1"})
    assert (found.host, found.port.proxy, found.settings.healthcheck.interval) == ("10.1.1.1", 80, 5.0)
    assert (found.excluded, len(found.problems)) == (False, 2)


OPEN = {"proxy.web.port": "80"}


@pytest.mark.parametrize(
    "labels",
    [
        {"proxy.web.bind": "eth0"},
        {"proxy.web.middlewares": "cidr_whitelist: {allow: [10.0.0.300]}"},
        {"proxy.web.middlewares": "cidr_whitelist: {alow: [10.0.0.0/8]}"},
        {"proxy.web.middlewares": "cidr_whitelist: ["},
        {"proxy.web.middlewares": "x"},
        {"proxy.web.middlewares.cidr_whitlist.allow": "10.0.0.0/8"},
        {"proxy.web.midlewares.cidr_whitelist.allow": "10.0.0.0/8"},
        {"proxy.web.middlewares.cidr_whitelist": "x", "proxy.web.middlewares.cidr_whitelist.allow": "10.0.0.0/8"},
        {"proxy.web": "midlewares: {cidr_whitelist: {allow: 10.0.0.0/8}}"},
        {"proxy.web": "middlewares:\n  cidr_whitelist: [\n"},
        {"proxy.web": "midlewares:\n  cidr_whitelist: [\n"},
        {"proxy.web": "'middlewares': {"},
        {"proxy.*": "Middle_Wares: {"},
        {"proxy.#1": "rules: [\n"},
        {"proxy.middlewares.cidr_whitelist.allow": "10.0.0.0/8"},
        {"proxy.middlewares": "cidr_whitelist: {allow: 10.0.0.0/8}"},
        {"proxy.bind": "127.0.0.1"},
        {"proxy.binds": "127.0.0.1", "proxy.other.bind": "127.0.0.1"},
        {"proxy.rule_file": "embed://x"},
        {"proxy.web.rule_file": "embed://x", "proxy.web.rules": "default { }"},
        {"proxy.web": "rules: {a: b}"},
        {"proxy.web.agent": "node9"},
    ],
)
def test_a_mistyped_protection_never_means_open_to_all(labels: dict[str, str]) -> None:
    found = built(OPEN | labels)
    assert found.problems
    assert [route.excluded_reason for route in found.routes if route.alias == "web"] == [ExclusionReason.ERROR]


@pytest.mark.parametrize(
    "labels",
    [
        {"proxy.web": "healthcheck: ["},
        {"proxy.web.sheme": "https"},
        {"proxy.other.bind": "eth0"},
        {"proxy.rules.port": "81"},
        {"proxy.bind.port": "81"},
        {"proxy.port": "80"},
    ],
)
def test_other_errors_do_not_take_the_route_out_of_service(labels: dict[str, str]) -> None:
    assert routes(OPEN | labels)["web"].excluded_reason == ""


def test_a_route_may_be_named_like_a_field() -> None:
    assert routes({"proxy.rules.port": "81", "proxy.middlewares.host": "x"}).keys() == {"web", "rules", "middlewares"}
    assert {"rules", "middlewares"} <= PROTECTIVE
    assert routes({"proxy.*.port": "81", "proxy.middlewares.cidr_whitelist.allow": "x"}).keys() == {"web"}


@pytest.mark.parametrize("port", ["80", "443", "8888"])
def test_ports_that_the_proxy_does_not_use_are_free(port: str) -> None:
    published = [{"PrivatePort": 8000, "PublicPort": int(port), "Type": "tcp", "IP": "0.0.0.0"}]
    found = container(labels={"proxy.web.host": "localhost", "proxy.web.port": port}, Ports=published)
    assert build_routes(found).problems == ()
    assert build_routes(found, reserved_ports=frozenset({8080})).problems == ()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"proxy.web.ssl_certificate": "/x"}, "ssl_certificate_key is required when ssl_certificate is specified"),
        ({"proxy.web.ssl_certificate_key": "/x"}, "ssl_certificate is required when ssl_certificate_key is specified"),
        ({"proxy.web.rules": "path /a { pass }", "proxy.web.rule_file": "b"}, "rules and rule_file exclude each other"),
        ({"proxy.web.scheme": "fileserver"}, "a file server needs root, an absolute path"),
        ({"proxy.web.scheme": "fileserver", "proxy.web.root": "www"}, "a file server needs root, an absolute path"),
        ({"proxy.web.tls_termination": "true"}, "only for scheme tcp, not http"),
        ({"proxy.web.relay_proxy_protocol_header": "true"}, "only for scheme tcp, not http"),
        (
            {"proxy.web.healthcheck.disable": "true", "proxy.web.load_balance.link": "shop"},
            "cannot disable the health check, which a load-balanced pool needs",
        ),
        (
            {"proxy.web.healthcheck.disable": "true"} | IDLE,
            "cannot disable the health check, which the idle watcher needs",
        ),
        ({"proxy.web.port": "-1"}, "port -1 is out of range"),
    ],
)
def test_impossible_combinations_take_the_route_out_of_service(labels: dict[str, str], message: str) -> None:
    found = built(labels)
    assert [problem.message for problem in found.problems] == [message]
    assert found.problems[0].label in labels
    assert [route.excluded_reason for route in found.routes] == [ExclusionReason.ERROR]


def test_fields_for_tcp_are_allowed_with_scheme_tcp() -> None:
    labels = {"proxy.web.port": "2222:22", "proxy.web.relay_proxy_protocol_header": "true"}
    assert built(labels).problems == ()


# ---- a builder ------------------------------------------------------------------------------------------------------


def test_a_builder_shares_settings_between_containers_whose_labels_say_the_same() -> None:
    builder = RouteBuilder()
    first, second = (
        builder.build(container(name, {f"proxy.{name}.port": "81", f"proxy.{name}.healthcheck.path": "/up"})).routes[0]
        for name in ("shop", "blog")
    )
    assert (first.alias, second.alias) == ("shop", "blog")
    assert first.settings is second.settings


@pytest.mark.parametrize("label", ["proxy.{}.hold", "proxy.#9.port"])
def test_settings_with_a_problem_are_not_shared_because_it_names_a_label(label: str) -> None:
    builder = RouteBuilder()
    for name in ("shop", "blog"):
        (problem,) = builder.build(container(name, {label.format(name): "soon"})).problems
        assert (problem.label, problem.container) == (label.format(name), name)


def test_builders_do_not_share_anything() -> None:
    labels = {"proxy.web.port": "81"}
    first, second = (RouteBuilder().build(container(labels=labels)).routes[0] for _ in range(2))
    assert first == second
    assert first.settings is not second.settings


def test_a_builder_forgets_settings_before_it_holds_more_than_4096() -> None:
    builder = RouteBuilder()
    builder._settings |= dict.fromkeys(range(4094), ())
    sizes = []
    for port in range(1, 6):
        (route,) = builder.build(container(labels={"proxy.web.port": str(port)})).routes
        assert route.port.proxy == port
        sizes.append(len(builder._settings))
    assert sizes == [4095, 4096, 1, 2, 3]


def test_a_container_that_was_not_parsed_counts_by_its_labels() -> None:
    parsed = container(labels={"proxy.web.port": "81"})
    by_hand = msgspec.structs.replace(parsed, own_labels=None)
    assert build_routes(by_hand) == build_routes(parsed)
    assert decode_labels(by_hand) == decode_labels(parsed)
    assert [fields.alias for fields in decode_labels(parsed).routes] == ["web"]


@pytest.mark.parametrize(("status", "problems"), [("Up (healthy)", 0), ("Up 2 minutes", 1)])
def test_a_pool_may_rely_on_the_containers_own_health_check(status: str, problems: int) -> None:
    labels = {"proxy.web.healthcheck.disable": "true", "proxy.web.load_balance.link": "shop"}
    assert len(build_routes(container(labels=labels, Status=status)).problems) == problems


# ---- one route ------------------------------------------------------------------------------------------------------


def test_a_route_is_made_of_a_container_settings_and_a_target() -> None:
    settings = AliasSettings(RouteSettings(bind="127.0.0.1"), ("bind",))
    found = make_route(container(), "shop", settings, Target("tcp", "10.0.0.9", PortPair(22, 2222)))
    assert (found.alias, found.scheme, found.bind, found.labelled) == ("shop", "tcp", "127.0.0.1", ("bind",))
    assert [endpoint.address for endpoint in found.endpoints] == ["10.0.0.9:2222"]
    assert (found.excluded, found.problems) == (False, ())


def test_refused_settings_exclude_the_route_and_keep_their_problems() -> None:
    settings = AliasSettings(problems=(Problem(message="bad"),), refused=True)
    found = make_route(container(), "shop", settings, Target("http", "10.0.0.9", PortPair(0, 80)))
    assert (found.excluded_reason, found.endpoints) == (ExclusionReason.ERROR, ())
    assert [(p.provider, p.container, p.route) for p in found.problems] == [("local", "web", "shop")]
