from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage import build_routes
from pilotage.policy.claims import PolicyRule
from pilotage.policy.policy import FILE_REFUSED, NO_POLICY, ROOT_REFUSED, Policy
from pilotage.routes.access_log import AccessLog
from pilotage.routes.build import decode_labels
from pilotage.routes.claims import ContainerClaims
from pilotage.routes.file import read_route_file
from pilotage.routes.route import Route
from pilotage.routes.settings import read_settings
from pilotage.routes.target import resolve_target
from tests.support.summaries import built, container, routes

if TYPE_CHECKING:
    from pilotage.core.problems import Problem

FILES = [
    {"proxy.web.ssl_trusted_certificate": "/srv/ca.pem"},
    {"proxy.web.ssl_certificate": "/srv/a.pem", "proxy.web.ssl_certificate_key": "/srv/a.key"},
    {"proxy.web.rule_file": "/srv/rules.yml"},
    {"proxy.web.scheme": "fileserver", "proxy.web.root": "/srv"},
    {"proxy.ssl_trusted_certificates": "/srv/ca.pem"},
    {"proxy.*.ssl_trusted_certificate": "/srv/ca.pem"},
    {"proxy.#1.ssl_trusted_certificate": "/srv/ca.pem"},
    {"proxy.web": "{ssl_trusted_certificate: /srv/ca.pem}"},
]
A_TEAM = {"com.docker.compose.project": "team-a", "com.docker.compose.service": "web"}
RULE = PolicyRule(name="a", project=("team-a",), hosts=("a-*",), middlewares=("redirect_http",), ports=((9000, 9009),))


def refused(labels: dict[str, str], policy: Policy = NO_POLICY) -> list[Problem]:
    """Return the errors that take the only route out of service."""
    (route,) = built(labels, policy=policy).routes
    assert (route.excluded_reason, route.endpoints) == ("Error", ())
    return [problem for problem in route.problems if problem.severity == "error"]


@pytest.mark.parametrize("labels", FILES, ids=str)
def test_files_of_the_host_are_refused_however_a_label_names_them(labels: dict[str, str]) -> None:
    publishes = "fileserver" in labels.values()
    assert {problem.message for problem in refused(labels)} == {ROOT_REFUSED if publishes else FILE_REFUSED}
    policy = Policy(label_roots=("/srv",)) if publishes else Policy(label_files=("/srv",))
    allowed = routes(labels, policy=policy)["web"]
    assert (allowed.excluded, allowed.folders) == (False, ("/srv",))


def test_a_published_folder_must_stay_below_the_folders_of_the_rule() -> None:
    labels = {"proxy.web.scheme": "fileserver", "proxy.web.root": "/srv/www/a/site"}
    policy = Policy(label_roots=("/srv/www",), rules=(PolicyRule(hosts=("*",), files=("/srv/www/a",)),))
    assert routes(labels, policy=policy)["web"].folders == ("/srv/www/a",)


def test_a_refused_file_is_reported_with_the_label_that_names_it() -> None:
    (problem,) = refused({"proxy.web.ssl_trusted_certificate": "/etc/shadow"})
    assert (problem.label, problem.path) == ("proxy.web.ssl_trusted_certificate", "ssl_trusted_certificate")
    (problem,) = refused({"proxy.web": "port: 80\nrule_file: /etc/shadow"})
    assert (problem.label, problem.path, problem.line, problem.column) == ("proxy.web", "rule_file", 2, 12)
    policy = Policy(rules=(PolicyRule(hosts=("web",)),))
    (problem,) = refused({"proxy.web": "load_balance:\n  weight: 2\n  link: other"}, policy)
    assert (problem.label, problem.path, problem.line) == ("proxy.web", "load_balance.link", 3)


def test_a_preset_is_no_file_of_the_host() -> None:
    assert not routes({"proxy.web.rule_file": "embed://webui.yml"})["web"].excluded


def test_a_refused_log_file_is_removed_and_the_route_stays() -> None:
    found = built({"proxy.web.access_log.path": "/etc/cron.d/x", "proxy.web.access_log.stdout": "true"})
    (route,) = found.routes
    assert (route.excluded, route.settings.access_log, route.labelled) == (
        False,
        AccessLog(stdout=True),
        ("access_log",),
    )
    (alone,) = built({"proxy.web.access_log.path": "/etc/cron.d/x"}).routes
    assert (alone.excluded, alone.settings.access_log, alone.labelled) == (False, None, ())
    assert [(problem.message, problem.label) for problem in found.problems] == [
        (FILE_REFUSED, "proxy.web.access_log.path")
    ]
    kept = routes({"proxy.web.access_log.path": "/var/log/x"}, policy=Policy(label_files=("/var/log",)))["web"]
    assert kept.settings.access_log is not None


def test_files_of_routes_may_name_any_file_and_port() -> None:
    text = "nas: {host: h, scheme: https, port: 22, ssl_trusted_certificate: /etc/ca.pem}\ndb: {host: h, port: '22:22'}"
    assert [(route.excluded, route.folders) for route in read_route_file(text, "r.yml").routes] == [(False, None)] * 2


def test_a_route_of_no_known_origin_may_name_no_file() -> None:
    assert Route("x").folders == ()


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("22:22", "port 22 is the SSH port"),
        ("2375:80", "port 2375 is a port used by container engines"),
        ("8080:80", "pilotage itself listens on port 8080"),
    ],
)
def test_streams_take_no_port_of_pilotage_ssh_or_engines(port: str, message: str) -> None:
    labels = {"proxy.web.port": port}
    (route,) = build_routes(container(labels=labels), reserved_ports=frozenset({8080})).routes
    (problem,) = route.problems
    assert (route.excluded, problem.message, problem.label) == (True, message, "proxy.web.port")


def test_streams_listen_on_the_address_of_the_gateway() -> None:
    policy = Policy(addresses=("10.0.0.1", "10.0.0.2"))
    labels = {"proxy.web.port": "9000:80"}
    assert routes(labels, policy=policy)["web"].bind == "10.0.0.1"
    assert routes({**labels, "proxy.web.bind": "10.0.0.2"}, policy=policy)["web"].bind == "10.0.0.2"
    (problem,) = refused({**labels, "proxy.web.bind": "0.0.0.0"}, policy)
    assert problem.message == "the gateway does not listen on 0.0.0.0"
    assert problem.hint == "remove bind, or set it to 10.0.0.1"
    assert routes(labels)["web"].bind == "0.0.0.0"


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ({"proxy.aliases": "b-shop"}, "claim the host b-shop"),
        ({"proxy.aliases": "a-shop.example.com"}, "claim the host a-shop.example.com"),
        ({"proxy.aliases": "*.example.com"}, "claim the host *.example.com"),
        ({"proxy.aliases": "a-x", "proxy.#1.load_balance.link": "b-pool"}, "claim the host b-pool"),
        ({"proxy.aliases": "a-x", "proxy.#1.middlewares.OIDC.x": "1"}, "use the middleware oidc"),
        ({"proxy.aliases": "a-x", "proxy.#1.port": "7000:80"}, "listen on port 7000"),
    ],
)
def test_what_a_rule_does_not_allow_takes_the_route_out_of_service(labels: dict[str, str], what: str) -> None:
    found = refused({**A_TEAM, **labels}, Policy(rules=(RULE,)))
    assert [problem.message for problem in found] == [f"this container may not {what}: rule 1 'a' does not allow it"]


def test_what_a_rule_allows_is_served() -> None:
    labels = {**A_TEAM, "proxy.aliases": "a-x,a-y", "proxy.#1.middlewares.redirectHTTP": "", "proxy.#2.port": "9000:80"}
    found = routes(labels, policy=Policy(rules=(RULE,), default="deny"))
    assert [route.excluded for route in found.values()] == [False, False]
    assert {route.claimant.project for route in found.values() if route.claimant is not None} == {"team-a"}


def test_containers_that_are_not_served_anyway_are_not_asked_about() -> None:
    closed = Policy(default="deny")
    assert built(State="exited", policy=closed).problems == ()
    assert built({"proxy.exclude": "true"}, policy=closed).problems == ()
    assert len(refused({}, closed)) == 1


def test_a_container_with_many_refused_routes_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from pilotage.routes import claims

    count = 0
    decode = claims.decode  # type: ignore[attr-defined]

    def counted(*args: Any) -> Any:
        nonlocal count
        count += 1
        return decode(*args)

    monkeypatch.setattr(claims, "decode", counted)
    names = ",".join(f"x{number}" for number in range(500))
    found = built({"proxy.aliases": names, "proxy.*.port": "80"}, policy=Policy(default="deny"))
    assert len(found.routes) == 500
    assert all(route.excluded and route.problems for route in found.routes)
    assert count <= 1


def claims_of(labels: dict[str, str], policy: Policy = NO_POLICY) -> list[tuple[str, str, str, bool]]:
    """Return the kind, the value, the field and the verdict of everything that the only route claims."""
    it = container(labels=labels)
    claims = ContainerClaims(it, policy, frozenset({8888}))
    ((alias, settings),) = ((fields.alias, read_settings(fields).settings) for fields in decode_labels(it).routes)
    target = resolve_target(alias, it, settings)
    link = settings.load_balance.link
    found = [*claims.made_by(alias, settings, target), *claims.of_target(target), *claims.of_pool(link)]
    return [(claim.kind, claim.value, ".".join(claim.names), claim.verdict.allowed) for claim in found]


def test_a_route_claims_everything_that_its_labels_name() -> None:
    labels = {
        "proxy.web.load_balance.link": "pool",
        "proxy.web.port": "22:80",
        "proxy.web.bind": "10.0.0.1",
        "proxy.web.host": "169.254.1.1",
        "proxy.web.ssl_trusted_certificate": "/etc/ca.pem",
        "proxy.web.middlewares.redirectHTTP": "",
    }
    assert claims_of(labels) == [
        ("hosts", "web", "", True),
        ("hosts", "pool", "load_balance.link", True),
        ("ports", "22", "port", False),
        ("ports", "10.0.0.1", "bind", True),
        ("files", "/etc/ca.pem", "ssl_trusted_certificate", False),
        ("middlewares", "redirect_http", "middlewares.redirectHTTP", True),
        ("targets", "169.254.1.1:80", "host", False),
        ("pools", "pool", "load_balance.link", True),
    ]


def test_a_plain_route_claims_only_its_alias() -> None:
    assert claims_of({}) == [("hosts", "web", "", True)]


def test_an_http_route_may_claim_a_port_and_an_address() -> None:
    http = {"proxy.web.port": "9000:80", "proxy.web.scheme": "http"}
    assert claims_of(http)[1:] == [("ports", "9000", "port", True)]
    assert claims_of(http | {"proxy.web.port": "22:80"})[1:] == [("ports", "22", "port", False)]
    elsewhere = Policy(addresses=("10.0.0.2",))
    assert claims_of({"proxy.web.bind": "10.0.0.1"}, elsewhere)[1:] == [("ports", "10.0.0.1", "bind", False)]


def test_a_port_of_pilotage_is_a_target_that_nobody_may_claim() -> None:
    labels = {"proxy.web.host": "127.0.0.1", "proxy.web.port": "8888"}
    everything = Policy(rules=(PolicyRule(targets=("127.0.0.0/8",)),))
    assert claims_of(labels, everything)[-1] == ("targets", "127.0.0.1:8888", "host", False)


@pytest.mark.parametrize(
    ("project", "reason"),
    [
        ("", "only with containers on its engine that are in no project"),
        ("team-a", "only with containers on its engine that are in the project team-a"),
    ],
)
def test_a_pool_is_shared_with_kin_only_unless_a_rule_says_more(project: str, reason: str) -> None:
    it = container(labels={"com.docker.compose.project": project} if project else {})
    (claim,) = ContainerClaims(it, NO_POLICY, frozenset()).of_pool("shop")
    assert (claim.kind, claim.value, claim.verdict.allowed, claim.verdict.reason) == ("pools", "shop", True, reason)
    (claim,) = ContainerClaims(it, Policy(rules=(PolicyRule(pools=("shop",)),)), frozenset()).of_pool("shop")
    assert (claim.verdict.allowed, claim.verdict.reason) == (True, "")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("proxy http://127.1:80/x", "a container's route may not point to 127.1:80"),
        ("proxy https://169.254.169.254", "a container's route may not point to 169.254.169.254:443"),
        ("serve /srv", ROOT_REFUSED),
        ("serve_file /srv/www/../a.html", ROOT_REFUSED),
    ],
)
def test_rules_lead_only_where_labels_may_point(rule: str, message: str) -> None:
    (problem,) = refused({"proxy.web.rules": f"path /a {{\n method GET {{ {rule} }}\n}}"})
    assert problem.message.startswith(message)
    assert (problem.label, problem.path) == ("proxy.web.rules", "rules")
    assert "host label" not in problem.hint


def test_rules_lead_where_the_policy_allows() -> None:
    labels = {"proxy.web.rules": "path /a { proxy http://nas.lan:81 }\npath /b { serve /srv/www }"}
    assert not routes(labels, policy=Policy(label_roots=("/srv",)))["web"].excluded
    own = Policy(label_roots=("/srv",), targets="own")
    assert "gateway.targets is own" in refused(labels, own)[0].message
    allowed = PolicyRule(hosts=("*",), targets=("nas.lan:81",))
    assert not routes(labels, policy=Policy(label_roots=("/srv",), targets="own", rules=(allowed,)))["web"].excluded
