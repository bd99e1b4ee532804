"""Routes written in files: the fields of labels, without a container."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.routes.exclusion import ExclusionReason
from pilotage.routes.file import RouteFile, read_route_file

if TYPE_CHECKING:
    from pilotage.routes.route import Route


def read(text: str) -> RouteFile:
    return read_route_file(text, "own.yml", reserved_ports=frozenset({80, 443}))


def only(text: str) -> Route:
    (route,) = read(text).routes
    return route


def said(text: str) -> list[str]:
    return [str(problem) for problem in read(text).all_problems]


def test_a_route_of_a_file_has_no_container_and_is_as_old_as_can_be() -> None:
    route = only("nas: {host: 10.0.0.2, port: 5000}")
    assert (route.provider, route.container, route.created, route.is_static) == ("own.yml", "", 0, True)
    assert [endpoint.address for endpoint in route.endpoints] == ["10.0.0.2:5000"]
    assert (route.target, route.excluded, route.health_check) == ("http://10.0.0.2:5000", False, True)


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ("port: 9000", "http://localhost:9000"),
        ("host: nas", "http://nas:80"),
        ("host: nas, scheme: https", "https://nas:443"),
        ("host: nas, port: 8443", "https://nas:8443"),
        ("host: nas, port: '2222:22'", "tcp://nas:22"),
        ("host: 10.0.0.2, scheme: udp, port: 53", "udp4://10.0.0.2:53"),
        ("host: '[fd00::1]', port: 1", "http://[fd00::1]:1"),
        ("scheme: fileserver, root: /srv/www", "file:///srv/www"),
    ],
)
def test_the_default_target_is_this_host_and_the_usual_port(fields: str, target: str) -> None:
    route = only(f"app: {{{fields}}}")
    assert (route.target, route.problems) == (target, ())


def test_an_alias_may_be_known() -> None:
    assert only("portainer: {host: nas}").target == "https://nas:9443"


def test_fields_have_the_same_spellings_as_labels() -> None:
    text = "app:\n  Host: nas\n  noTLSVerify: true\n  healthCheck: {path: /up, interval: 30s}\n"
    route = only(text)
    assert route.settings.no_tls_verify
    assert route.settings.healthcheck.path == "/up"
    assert set(route.labelled) == {"host", "no_tls_verify", "healthcheck"}


def test_anchors_have_a_place() -> None:
    file = read("x-common: &common {no_tls_verify: true}\napp:\n  <<: *common\n  host: nas\n")
    assert [(route.alias, route.settings.no_tls_verify) for route in file.routes] == [("app", True)]
    assert file.all_problems == ()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "null", "---\n"])
def test_an_empty_file_has_no_routes(text: str) -> None:
    file = read(text)
    assert (file.routes, file.problems, file.is_whole) == ((), (), True)


def test_an_alias_may_stand_for_all_names_of_a_domain() -> None:
    assert only("'*.Dev.example.com': {host: nas}").alias == "*.dev.example.com"


# ---- what is wrong


@pytest.mark.parametrize("text", ["a: [", "just text", "- a\n- b\n", "a: 1\na: 2\n"])
def test_a_text_that_is_no_mapping_says_nothing_about_routes(text: str) -> None:
    file = read(text)
    assert (file.is_whole, file.routes, len(file.problems)) == (False, (), 1)
    assert file.problems[0].line > 0


def test_an_error_touches_its_own_route_and_is_reported_with_its_place() -> None:
    text = "good: {host: nas}\nbad:\n  host: nas\n  healthcheck:\n    intervall: 5s\n"
    assert said(text) == ["own.yml:5:5: route bad: healthcheck.intervall: unknown field; did you mean 'interval'?"]
    assert [route.excluded for route in read(text).routes] == [False, False]


def test_an_error_in_a_protective_field_takes_its_route_out_of_service() -> None:
    route = only("app: {host: nas, middlewares: {cidr_whitelist: {allow: [everybody]}}}")
    assert (route.excluded_reason, route.endpoints, route.health_check) == (ExclusionReason.ERROR, (), False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("app: http://nas", "own.yml:1:6: route app: a mapping of fields is needed here, not text"),
        ("app:", "own.yml:1:1: route app: localhost:80 is reserved for the proxy itself"),
        ("app: {port: 443}", "own.yml:1:7: route app: localhost:443 is reserved for the proxy itself"),
        ("app: {scheme: fileserver}", "own.yml:1:15: route app: scheme: a file server needs root"),
        ("app: {host: nas, tls_termination: true}", "route app: tls_termination: only for scheme tcp, not http"),
        ("app: {host: nas, agent: [a]}", "own.yml:1:25: route app: agent: agent cannot be a list"),
        (
            "app: {host: nas, healthcheck: {disable: true}, load_balance: {link: x}}",
            "cannot disable the health check, which a load-balanced pool needs",
        ),
    ],
)
def test_routes_that_cannot_be_served_stay_visible(text: str, problem: str) -> None:
    assert only(text).excluded_reason == ExclusionReason.ERROR
    (found,) = said(text)
    assert problem in found


@pytest.mark.parametrize(
    ("text", "middlewares"), [("[{use: x}]", True), ("[1, {use: x}]", True), ("[{host: nas}]", False), ("[use]", False)]
)
def test_a_list_of_middlewares_is_recognized(text: str, middlewares: bool) -> None:
    (found,) = said(f"app: {text}")
    assert ("this is a list of middlewares" in found) is middlewares
    assert ("a mapping of fields is needed here, not a list" in found) is not middlewares


@pytest.mark.parametrize("alias", ["a b", "'**'", "a*.b", "-", "'/x'", "http://x", "''"])
def test_an_invalid_alias_creates_no_route(alias: str) -> None:
    file = read(f"{alias}: {{host: nas}}")
    assert file.routes == ()
    assert str(file.problems[0]).startswith("own.yml:1:1: ")


def test_one_alias_in_two_spellings_counts_once() -> None:
    text = "App: {host: one}\napp: {host: two}\n"
    assert only(text).host == "one"
    assert said(text)[0].startswith("own.yml:2:1: the alias 'app' is already defined in this file")


def test_one_field_in_two_spellings_is_reported() -> None:
    (problem,) = said("app:\n  host: nas\n  no_tls_verify: true\n  noTlsVerify: false\n")
    assert problem.startswith("own.yml:4:3: route app: no_tls_verify: noTlsVerify is the same field as one on line 3")


def test_the_examples_of_the_documentation_are_sound() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "routes-from-files.md").read_text()
    examples = re.findall(r"```yaml\n(?!# pilotage.yml)(.*?)```", text, re.DOTALL)
    found = [read(example) for example in examples]
    assert [len(file.routes) for file in found] == [3, 1, 2]
    assert [file.all_problems for file in found] == [(), (), ()]
    assert found[1].routes[0].settings.middlewares


@given(st.text())
def test_no_text_raises(text: str) -> None:
    file = read(text)
    assert file.is_whole or file.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "2:1: not valid YAML: did not find expected node content"),
        (
            "- a",
            (
                "1:1: a mapping of aliases is needed here, not a list; write lines such as 'nas: {host: 10.0.0.2, "
                "port: 5000}'"
            ),
        ),
        (
            "app: text",
            "1:6: route app: a mapping of fields is needed here, not text; write host and port",
        ),
        (
            "app: [{use: x}]",
            ("1:6: route app: this is a list of middlewares, not a route; list the file below providers.middlewares"),
        ),
        (
            "'a b': {host: nas}",
            (
                "1:1: no client can request the host 'a b'; "
                "write a name of letters, digits, dashes and dots, such as shop.example.com"
            ),
        ),
        (
            "app: {host: nas}\nAPP: {host: nas}",
            "2:1: the alias 'app' is already defined in this file; case does not matter; keep one",
        ),
        (
            "app: {host: nas, HOST: nas}",
            "1:18: route app: host: HOST is the same field as one on line 1; keep one",
        ),
        (
            "app: {host: nas, alias: b}",
            (
                "1:25: route app: alias: this field has no effect, because the name above the fields is the alias; "
                "remove it"
            ),
        ),
        (
            "app: {host: nas, agent: [a]}",
            "1:25: route app: agent: agent cannot be a list; write the name or the address (HOST:PORT) of an agent",
        ),
        (
            "app: {host: nas, healthcheck: {disable: true}, load_balance: {link: x}}",
            ("1:31: route app: healthcheck.disable: cannot disable the health check, which a load-balanced pool needs"),
        ),
        (
            "app: {host: localhost, port: 80}",
            "1:24: route app: localhost:80 is reserved for the proxy itself; set the target's own host or port",
        ),
        (
            "app: {host: localhost}",
            "1:7: route app: localhost:80 is reserved for the proxy itself; set the target's own host or port",
        ),
    ],
)
def test_a_problem_says_where_it_is_and_what_to_write(text: str, problem: str) -> None:
    (found,) = said(text)
    assert found == f"own.yml:{problem}"


def test_a_mark_of_the_byte_order_is_no_part_of_a_file() -> None:
    assert only("\ufeffnas: {host: 10.0.0.2}").alias == "nas"


def test_what_is_written_is_kept_under_its_usual_name() -> None:
    file = read("x-base: {}\nNAS: {Host: 10.0.0.2, noTlsVerify: true}\nbad: 5\nempty:\n")
    assert {alias: list(fields) for alias, fields in file.fields.items()} == {
        "nas": ["host", "no_tls_verify"],
        "bad": [],
        "empty": [],
    }


def test_a_route_can_lead_through_an_agent() -> None:
    file = read_route_file("app: {host: 127.0.0.1, port: 8080, agent: attic}", "own.yml")
    (route,) = file.routes
    assert (route.agent, route.excluded, route.problems) == ("attic", False, ())
    assert "agent" not in file.fields["app"]


def test_names_in_a_file_are_spelled_as_clients_request_them() -> None:
    assert only("Bücher.example.com.: {host: nas}").alias == "xn--bcher-kva.example.com"
    assert only("'*': {host: nas}").alias == "*"
    (problem,) = read("https://shop.example.com: {host: nas}").problems
    assert "is a URL, not a host name; write shop.example.com" in str(problem)
