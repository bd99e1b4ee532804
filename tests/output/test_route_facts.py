from __future__ import annotations

import msgspec

from pilotage.output.explain import explain_name
from pilotage.output.facts import Source
from pilotage.routes.file import read_route_file
from pilotage.table.store import build_table
from tests.support.example_engine import at, engine_snapshot, one
from tests.support.explanations import (
    explained,
    facts_of,
    file_route_explanation,
    route_explanation,
)


def test_a_port_of_a_label_names_the_label_and_what_it_overrode() -> None:
    port = facts_of(route_explanation("shop"))["port"]
    assert port.value == "8080"
    assert port.source is not None
    assert (port.source.label, port.source.line) == ("proxy.shop.port", 0)
    assert [(lost.label, lost.value) for lost in port.instead_of] == [("proxy.*.port", "80")]


def test_a_value_inside_yaml_has_line_and_column() -> None:
    scheme = facts_of(route_explanation("shop", "admin"))["scheme"].source
    assert scheme is not None
    assert (scheme.label, scheme.line, scheme.column) == ("proxy.admin", 1, 9)


def test_a_default_names_the_rule() -> None:
    told = facts_of(route_explanation("whoami"))
    assert (told["port"].value, told["port"].why) == ("80", "the only port")
    assert (told["scheme"].value, told["scheme"].why) == ("http", "nothing says otherwise")
    assert told["host"].source is told["port"].source is None


def test_a_nested_setting_has_its_path() -> None:
    check = facts_of(route_explanation("shop"))["healthcheck.path"]
    assert check.value == "/up"
    assert check.source is not None
    assert check.source.label == "proxy.*.healthcheck.path"


def test_secrets_are_hidden_for_explanations_get_passed_on() -> None:
    told = route_explanation("shop", "admin")
    assert facts_of(told)["middlewares.oidc.client_secret"].value == "<hidden>"
    assert b"s3cret" not in msgspec.json.encode(explained("shop"))


def test_a_refused_value_is_a_problem_and_not_a_setting() -> None:
    told = route_explanation("shop", "admin")
    assert [problem.path for problem in told.problems] == ["pot"]
    assert "pot" not in facts_of(told)


def test_nothing_below_a_refused_field_is_a_setting() -> None:
    assert not [name for name in facts_of(route_explanation("closed")) if name.startswith("midlewares")]


def test_an_alias_that_labels_made_says_so() -> None:
    assert "not in the container's own aliases" in facts_of(route_explanation("app", "other"))["alias"].why
    assert "alias" not in facts_of(route_explanation("app", "app"))


def test_a_listening_port_is_a_fact() -> None:
    assert facts_of(route_explanation("ssh"))["listen"].value == "tcp4://0.0.0.0:2222"
    assert facts_of(route_explanation("ssh"))["port"].value == "22"


def test_the_health_check_is_shown_with_its_defaults() -> None:
    assert (
        facts_of(route_explanation("whoami"))["health check"].value,
        facts_of(route_explanation("whoami"))["health check"].why,
    ) == (
        "HEAD / every 5s",
        "not probed: no label enables it",
    )
    assert facts_of(route_explanation("shop"))["health check"].value == "run by the engine"


def test_a_label_or_a_pool_has_the_target_probed() -> None:
    labels = [
        {"proxy.web.healthcheck.path": "/up"},
        {"proxy.web.load_balance.link": "shop"},
        {"proxy.web.healthcheck.path": "/up", "proxy.web.scheme": "udp"},
    ]
    why = [
        facts_of(route_explanation("web", "", engine_snapshot([one("web", each)])))["health check"].why
        for each in labels
    ]
    assert why == ["", "defaults", "UDP is not probed"]


def test_a_fileserver_has_neither_host_nor_port() -> None:
    files = engine_snapshot([one("files", {"proxy.files": "scheme: fileserver\nroot: /srv/www"})])
    assert {"host", "port"}.isdisjoint(facts_of(route_explanation("files", "", files)))


def test_a_port_that_was_translated_says_how() -> None:
    ports = [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    remote = engine_snapshot([one("web", {"proxy.web.port": "80"}, Ports=ports)], "remote", url="tcp://192.0.2.1:2375")
    port = facts_of(route_explanation("web", "", remote))["port"]
    assert (port.value, port.why) == ("8080", "container port 80 is published as 8080")
    assert port.source is not None


def test_the_host_of_a_container_on_the_hosts_network_is_the_engines() -> None:
    ids = one("web")["Id"]
    shared = [
        one("web", {"proxy.web.port": "8080"}, HostConfig={"NetworkMode": "host"}, NetworkSettings=at("", "host"))
    ]
    told = facts_of(route_explanation("web", "", engine_snapshot(shared, inspect_exposed_ports={ids: ["8080/tcp"]})))
    assert told["host"].why == "the engine's host, because the container uses the host network"


def test_a_route_of_a_file_is_explained_with_line_and_column() -> None:
    story = file_route_explanation("NAS")
    facts = {fact.name: fact for fact in story.facts}
    assert (story.served, story.target) == (True, "http://10.0.0.2:80")
    assert facts["host"].source == Source("10.0.0.2", "", 2, 9, "own.yml")
    assert facts["port"].why == "usual for http"
    assert facts["healthcheck.path"].value == "/up"
    assert facts["health check"].value == "HEAD /up every 5s"
    assert facts["middlewares.oidc.client_secret"].value == "<hidden>"
    assert [problem.path for problem in story.problems] == ["healthcheck.intervall"]
    assert "healthcheck.intervall" not in facts


def test_a_route_of_a_file_shows_its_way_through_an_agent() -> None:
    text = "nas: {host: 10.0.0.2, agent: attic}\n"
    file = read_route_file(text, "own.yml")
    ((story,),) = (each.routes for each in explain_name("nas", [], build_table([], [file]), [file]).files)
    assert facts_of(story)["path"].value == "gateway → agent attic → 10.0.0.2"


def test_a_file_server_has_neither_host_nor_port() -> None:
    assert [fact.name for fact in file_route_explanation("files").facts] == ["scheme", "healthcheck.disable", "root"]
