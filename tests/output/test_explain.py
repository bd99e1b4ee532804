from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.output.explain import ContainerExplanation, Explanation, RouteExplanation, explain, known_names
from pilotage.output.facts import Source
from pilotage.routes.file import read_route_file
from pilotage.routes.route import EndpointHealth
from pilotage.table.store import build_table
from tests.support.harbour import HARBOUR, at, one, roster

if TYPE_CHECKING:
    from pilotage.output.facts import Fact
    from pilotage.table.snapshot import Roster


def about(name: str, *rosters: Roster) -> Explanation:
    found = rosters or (roster(),)
    return explain(name, found, build_table(found))


def story(name: str, *rosters: Roster) -> ContainerExplanation:
    return about(name, *rosters).containers[0]


def route(name: str, alias: str = "", *rosters: Roster) -> RouteExplanation:
    return next(each for each in story(name, *rosters).routes if each.alias == (alias or name))


def facts(told: ContainerExplanation | RouteExplanation) -> dict[str, Fact]:
    return {fact.name: fact for fact in told.facts}


def test_a_port_of_a_label_names_the_label_and_what_it_overrode() -> None:
    port = facts(route("shop"))["port"]
    assert port.value == "8080"
    assert port.source is not None
    assert (port.source.label, port.source.line) == ("proxy.shop.port", 0)
    assert [(lost.label, lost.value) for lost in port.instead_of] == [("proxy.*.port", "80")]


def test_a_value_inside_yaml_has_line_and_column() -> None:
    scheme = facts(route("shop", "admin"))["scheme"].source
    assert scheme is not None
    assert (scheme.label, scheme.line, scheme.column) == ("proxy.admin", 1, 9)


def test_a_default_says_which_rule_applied() -> None:
    told = facts(route("whoami"))
    assert (told["port"].value, told["port"].why) == ("80", "the only port")
    assert (told["scheme"].value, told["scheme"].why) == ("http", "nothing says otherwise")
    assert told["host"].source is told["port"].source is None


def test_a_setting_deep_in_a_label_is_told_with_its_path() -> None:
    check = facts(route("shop"))["healthcheck.path"]
    assert check.value == "/up"
    assert check.source is not None
    assert check.source.label == "proxy.*.healthcheck.path"


def test_secrets_are_hidden_for_explanations_get_passed_on() -> None:
    told = route("shop", "admin")
    assert facts(told)["middlewares.oidc.client_secret"].value == "<hidden>"
    assert b"s3cret" not in msgspec.json.encode(about("shop"))


def test_what_was_refused_is_a_problem_and_not_a_setting() -> None:
    told = route("shop", "admin")
    assert [problem.path for problem in told.problems] == ["pot"]
    assert "pot" not in facts(told)


def test_nothing_below_a_refused_field_is_a_setting() -> None:
    assert not [name for name in facts(route("closed")) if name.startswith("midlewares")]


def test_an_excluded_route_says_what_would_change_that() -> None:
    told = route("db")
    assert not told.served
    assert told.reason == "Blacklisted (backend service or database)"
    assert (
        told.remedy == "recognized by its image postgres:17; any proxy label serves it anyway, e.g. proxy.aliases: db"
    )


def test_the_remedy_of_the_blacklist_works() -> None:
    served = roster([one("db", {"proxy.aliases": "db"}, Image="postgres:17")])
    assert route("db", "", served).served


def test_who_lost_an_alias_is_told_to_whom() -> None:
    told = route("shop-copy", "shop")
    assert not told.served
    assert told.reason == "the alias belongs to container shop, which is older"
    assert [problem.container for problem in told.conflicts] == ["shop-copy"]


def test_who_has_an_alias_is_told_who_waits_for_it() -> None:
    told = route("shop")
    assert told.served
    assert told.notes == ("shop-copy claims this alias too and waits, because it is newer",)
    assert told.conflicts == ()


def test_a_holder_on_another_engine_is_named_with_its_engine() -> None:
    near, far = roster([one("web")], "near"), roster([one("web", age=5)], "far")
    told = {each.provider: each.routes[0] for each in about("web", near, far).containers}
    assert told["near"].reason == "the alias belongs to container far/web, which is older"
    assert told["far"].notes == ("near/web claims this alias too and waits, because it is newer",)


def test_replicas_are_told_of_one_another() -> None:
    assert route("api-2", "api").served
    assert route("api-2", "api").notes == ("shared by the replicas of one Compose service: api-1, api-2",)


def test_members_of_a_pool_are_told_of_one_another() -> None:
    pool = {"proxy.*.load_balance.link": "all"}
    both = roster([one("a1", pool), one("a2", pool)])
    assert route("a1", "", both).notes == ("load-balanced with a2 in pool all",)
    alone = roster([one("a1", pool)])
    assert route("a1", "", alone).notes == ("alone in pool all so far",)


def test_a_container_with_an_error_says_that_it_has_no_routes_for_it() -> None:
    told = story("lost")
    assert told.routes == ()
    assert told.notes == ("no routes until the problems below are fixed",)
    assert [problem.label for problem in told.problems] == ["proxy.network"]


def test_an_explicit_only_engine_is_the_reason_for_no_routes() -> None:
    told = story("web", roster([one("web")], "edge!"))
    assert told.routes == ()
    assert "edge! ends in '!'" in told.notes[0]


def test_an_alias_that_labels_made_says_so() -> None:
    assert "not in the container's own aliases" in facts(route("app", "other"))["alias"].why
    assert "alias" not in facts(route("app", "app"))


def test_problems_of_the_container_are_not_repeated_at_its_routes() -> None:
    told = story("two-nets")
    assert [problem.label for problem in told.problems] == ["prxy.two-nets.port"]
    assert told.routes[0].problems == ()


def test_a_listening_port_is_told() -> None:
    assert facts(route("ssh"))["listen"].value == "tcp4://0.0.0.0:2222"
    assert facts(route("ssh"))["port"].value == "22"


def test_the_health_check_is_told_with_its_defaults() -> None:
    assert (facts(route("whoami"))["health check"].value, facts(route("whoami"))["health check"].why) == (
        "HEAD / every 5s",
        "not probed: no label enables it",
    )
    assert facts(route("shop"))["health check"].value == "run by the engine"


def test_a_label_or_a_pool_has_the_target_probed() -> None:
    labels = [
        {"proxy.web.healthcheck.path": "/up"},
        {"proxy.web.load_balance.link": "shop"},
        {"proxy.web.healthcheck.path": "/up", "proxy.web.scheme": "udp"},
    ]
    why = [facts(route("web", "", roster([one("web", each)])))["health check"].why for each in labels]
    assert why == ["", "defaults", "UDP is not probed"]


def test_what_probes_found_is_told_with_its_time_for_this_container_alone() -> None:
    labels = {"proxy.aliases": "api", "com.docker.compose.project": "p", "com.docker.compose.service": "api"}
    networks = {"NetworkSettings": at("10.0.0.1")}, {"NetworkSettings": at("10.0.0.2")}
    found = roster([one(f"api-{number}", labels, **more) for number, more in enumerate(networks, 1)])
    health = {"10.0.0.1:80": EndpointHealth("unhealthy", 86400 * 365.0), "10.0.0.2:80": EndpointHealth("pending")}
    table = msgspec.structs.replace(build_table([found]), health={"api": health})
    (first, second) = explain("api", [found], table).containers
    (said,) = (note for note in first.routes[0].notes if "probe" in note)
    assert re.fullmatch(r"10\.0\.0\.1:80 fails the gateway's probe, since 197\d-\d\d-\d\d \d\d:\d\d:\d\d", said)
    assert "10.0.0.2:80 has not been probed yet" in second.routes[0].notes


def test_a_fileserver_has_neither_host_nor_port() -> None:
    files = roster([one("files", {"proxy.files": "scheme: fileserver\nroot: /srv/www"})])
    assert {"host", "port"}.isdisjoint(facts(route("files", "", files)))


@pytest.mark.parametrize(
    ("name", "containers"),
    [
        ("shop", ["shop", "shop-copy"]),
        ("admin", ["shop"]),
        ("ADMIN", ["shop"]),
        ("local/shop", ["shop"]),
        ("elsewhere/shop", []),
        ("other", ["app"]),
        ("api", ["api-1", "api-2"]),
        ("nobody", []),
        ("", []),
    ],
)
def test_names_are_those_of_containers_and_aliases(name: str, containers: list[str]) -> None:
    assert [each.name for each in about(name).containers] == containers


def test_the_beginning_of_an_id_is_a_name() -> None:
    assert [each.name for each in about(HARBOUR[0]["Id"][:12]).containers] == ["whoami"]
    assert about(HARBOUR[0]["Id"][:4]).containers == ()


def test_asked_for_an_alias_only_its_route_is_told() -> None:
    assert [each.alias for each in story("admin").routes] == ["admin"]
    assert [each.alias for each in story("shop").routes] == ["shop", "admin"]


def test_known_names_are_containers_and_aliases() -> None:
    found = [one("web", {"proxy.aliases": "a, b"}), one("", Names=None)]
    assert known_names([roster(found)]) == ["a", "b", "web"]


def test_a_port_that_was_translated_says_how() -> None:
    ports = [{"PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    remote = roster([one("web", {"proxy.web.port": "80"}, Ports=ports)], "remote", url="tcp://192.0.2.1:2375")
    port = facts(route("web", "", remote))["port"]
    assert (port.value, port.why) == ("8080", "container port 80 is published as 8080")
    assert port.source is not None


def test_the_host_of_a_container_on_the_hosts_network_is_the_engines() -> None:
    ids = one("web")["Id"]
    shared = [
        one("web", {"proxy.web.port": "8080"}, HostConfig={"NetworkMode": "host"}, NetworkSettings=at("", "host"))
    ]
    told = facts(route("web", "", roster(shared, inspect_exposed_ports={ids: ["8080/tcp"]})))
    assert told["host"].why == "the engine's host, because the container uses the host network"


def test_all_problems_of_an_explanation_are_at_hand() -> None:
    assert [problem.label or problem.route for problem in about("shop").problems] == ["proxy.admin.pot", "shop"]


# ---- files


FILE = read_route_file(
    "nas:\n  host: 10.0.0.2\n  healthcheck: {path: /up, intervall: 5s}\n  middlewares: {oidc: {client_secret: x}}\n"
    "web: {scheme: tcp, host: h, port: 1}\nbad: x\n"
    "files: {scheme: fileserver, root: /srv, healthcheck: {disable: true}}\n",
    "own.yml",
)


def of_file(name: str) -> RouteExplanation:
    rosters = [roster([one("web")])]
    (file,) = explain(name, rosters, build_table(rosters, [FILE]), [FILE]).files
    (story,) = file.routes
    return story


def test_a_route_of_a_file_is_explained_with_line_and_column() -> None:
    story = of_file("NAS")
    facts = {fact.name: fact for fact in story.facts}
    assert (story.served, story.target) == (True, "http://10.0.0.2:80")
    assert facts["host"].source == Source("10.0.0.2", "", 2, 9, "own.yml")
    assert facts["port"].why == "usual for http"
    assert facts["healthcheck.path"].value == "/up"
    assert facts["health check"].value == "HEAD /up every 5s"
    assert facts["middlewares.oidc.client_secret"].value == "<hidden>"
    assert [problem.path for problem in story.problems] == ["healthcheck.intervall"]
    assert "healthcheck.intervall" not in facts


def test_a_file_says_who_waits_for_its_alias_and_who_waits_is_told_of_the_file() -> None:
    assert of_file("web").notes == (
        "local/web claims this alias too and waits, because files take precedence over containers",
    )
    assert {fact.name: fact.value for fact in of_file("web").facts}["listen"].startswith("tcp")
    rosters = [roster([one("web")])]
    explanation = explain("web", rosters, build_table(rosters, [FILE]), [FILE])
    (route,) = explanation.containers[0].routes
    assert route.reason == "the alias belongs to file own.yml, because files take precedence over containers"
    assert "belongs to the file" in str(explanation.problems[0])


def test_a_refused_route_of_a_file_says_what_to_do() -> None:
    story = of_file("bad")
    assert (story.served, story.reason, story.remedy) == (False, "Error", "fix the problems below")


def test_a_file_server_has_neither_host_nor_port() -> None:
    assert [fact.name for fact in of_file("files").facts] == ["scheme", "healthcheck.disable", "root"]


def test_of_two_files_the_later_waits() -> None:
    other = read_route_file("nas: {host: x}", "z.yml")
    explanation = explain("nas", [], build_table([], [FILE, other]), [FILE, other])
    assert [file.name for file in explanation.files] == ["own.yml", "z.yml"]
    assert explanation.files[0].routes[0].notes == (
        "file z.yml claims this alias too and waits, because it comes later by name",
    )
    assert explanation.files[1].routes[0].reason == "the alias belongs to file own.yml, which comes first by name"
    assert len(explanation.files[1].routes[0].conflicts) == 1


def test_aliases_of_files_are_known_names() -> None:
    assert known_names([], [FILE]) == ["bad", "files", "nas", "web"]
