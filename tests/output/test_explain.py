from __future__ import annotations

import re

import msgspec
import pytest

from pilotage.core.problems import Problem
from pilotage.output.explain import explain_name, known_names
from pilotage.routes.file import read_route_file
from pilotage.routes.route import EndpointHealth
from pilotage.table.store import RouteStore, build_table
from tests.support.example_engine import EXAMPLE, at, engine_snapshot, one
from tests.support.explanations import (
    ROUTE_FILE,
    container_explanation,
    explained,
    file_route_explanation,
    route_explanation,
)


def test_an_excluded_route_has_a_remedy() -> None:
    told = route_explanation("db")
    assert not told.served
    assert told.reason == "Blacklisted (backend service or database)"
    assert (
        told.remedy
        == "recognized by its image postgres:17; to serve it anyway, give it any proxy label, e.g. proxy.aliases: db"
    )


def test_the_remedy_of_the_blacklist_works() -> None:
    served = engine_snapshot([one("db", {"proxy.aliases": "db"}, Image="postgres:17")])
    assert route_explanation("db", "", served).served


def test_a_route_that_lost_its_alias_names_the_owner() -> None:
    told = route_explanation("shop-copy", "shop")
    assert not told.served
    assert told.reason == "the alias belongs to container shop, which is older"
    assert [problem.container for problem in told.conflicts] == ["shop-copy"]


def test_the_owner_of_an_alias_lists_who_waits_for_it() -> None:
    told = route_explanation("shop")
    assert told.served
    assert told.notes == ("shop-copy claims this alias too and waits, because it is newer",)
    assert told.conflicts == ()


def test_a_holder_on_another_engine_is_named_with_its_engine() -> None:
    near, far = engine_snapshot([one("web")], "near"), engine_snapshot([one("web", age=5)], "far")
    told = {each.provider: each.routes[0] for each in explained("web", near, far).containers}
    assert told["far"].reason == "the alias belongs to container near/web, whose engine comes first"
    assert told["near"].notes == ("far/web claims this alias too and waits, because its engine comes later",)


def test_a_route_whose_host_belongs_to_another_names_the_holder() -> None:
    found = engine_snapshot([one("shop", age=9), one("thief", {"proxy.aliases": "shop.localhost"})])
    told = route_explanation("thief", "shop.localhost", found)
    assert not told.served
    assert told.reason == (
        "host 'shop.localhost' belongs to shop, whose alias 'shop' answers below this domain, too, and which is older; "
        "this route waits until the other is removed"
    )
    assert "match_domains" in told.remedy
    assert told.notes == ()
    assert [problem.container for problem in told.conflicts] == ["thief"]


def test_what_the_gateway_refuses_is_explained_with_the_route_alone() -> None:
    found = engine_snapshot([one("shop", {"proxy.aliases": "shop, admin"})])
    refused = Problem(message="Envoy edge rejected this route", provider="local", container="shop", route="shop")
    table = build_table([found])
    table = msgspec.structs.replace(table, problems_by_key={**table.problems_by_key, ("", ""): (refused,)})
    (told,) = explain_name("shop", [found], table).containers
    assert {route.alias: route.problems for route in told.routes} == {"shop": (refused,), "admin": ()}


def test_a_route_that_the_gateway_refuses_is_not_served() -> None:
    found = engine_snapshot([one("shop")])
    table = build_table([found])
    refused = Problem(message="no", provider="local", container="shop", route="shop", refused=True)
    table = msgspec.structs.replace(table, problems_by_key={("", ""): (refused,)})
    ((told,),) = (container.routes for container in explain_name("shop", [found], table).containers)
    assert (told.served, told.reason, told.remedy) == (False, "the gateway refuses it", "fix the problems below")


def test_a_short_alias_says_which_full_names_others_hold() -> None:
    found = engine_snapshot([one("first", {"proxy.aliases": "shop.localhost"}, age=9), one("shop")])
    told = route_explanation("shop", "", found)
    assert told.served
    assert [problem.severity for problem in told.problems] == ["warning"]
    assert "shop.localhost (first)" in told.problems[0].message
    assert told.conflicts == ()


def test_a_newer_engine_that_holds_an_alias_had_it_first() -> None:
    near, far = engine_snapshot([one("web")], "near"), engine_snapshot([one("web")], "far")
    store = RouteStore()
    store.configure(engines=["near", "far"])
    for snapshot in (far, near):
        for container, built in zip(snapshot.containers, snapshot.built, strict=True):
            store.set_routes((snapshot.config.name, container.container_id), built)
        store.commit()
        store.keep_holders()
    told = {it.provider: it.routes[0] for it in explain_name("web", [near, far], store.table).containers}
    assert told["near"].reason == "the alias belongs to container far/web, which had it first"
    assert told["far"].notes == ("near/web claims this alias too and waits, because it came later",)


def test_replicas_list_each_other() -> None:
    assert route_explanation("api-2", "api").served
    assert route_explanation("api-2", "api").notes == ("shared by the replicas of one Compose service: api-1, api-2",)


def test_members_of_a_pool_list_each_other() -> None:
    pool = {"proxy.*.load_balance.link": "all"}
    both = engine_snapshot([one("a1", pool), one("a2", pool)])
    assert route_explanation("a1", "", both).notes == (
        "load-balanced with a2 in pool all, which this route leads",
        "answers as all, not as a1",
    )
    alone = engine_snapshot([one("a1", pool)])
    assert route_explanation("a1", "", alone).notes == (
        "the only member of pool all so far",
        "answers as all, not as a1",
    )


def test_a_pool_is_explained_by_its_members() -> None:
    pool = {"proxy.*.load_balance.link": "All"}
    both = engine_snapshot([one("a1", pool), one("a2", pool), one("b1")])
    for name in ("All", "all"):
        assert [found.name for found in explain_name(name, [both], build_table([both])).containers] == ["a1", "a2"]
    assert "all" in known_names([both])


def test_a_container_with_an_error_says_why_it_has_no_routes() -> None:
    told = container_explanation("lost")
    assert told.routes == ()
    assert told.notes == ("no routes until the problems below are fixed",)
    assert [problem.label for problem in told.problems] == ["proxy.network"]


def test_an_explicit_only_engine_is_the_reason_for_no_routes() -> None:
    told = container_explanation("web", engine_snapshot([one("web")], "edge!"))
    assert told.routes == ()
    assert "edge! ends in '!'" in told.notes[0]


def test_problems_of_the_container_are_not_repeated_at_its_routes() -> None:
    told = container_explanation("two-nets")
    assert [problem.label for problem in told.problems] == ["prxy.two-nets.port"]
    assert told.routes[0].problems == ()


def test_probe_results_have_their_time_and_concern_this_container_alone() -> None:
    labels = {"proxy.aliases": "api", "com.docker.compose.project": "p", "com.docker.compose.service": "api"}
    networks = {"NetworkSettings": at("10.0.0.1")}, {"NetworkSettings": at("10.0.0.2")}
    found = engine_snapshot([one(f"api-{number}", labels, **more) for number, more in enumerate(networks, 1)])
    health = {"10.0.0.1:80": EndpointHealth("unhealthy", 86400 * 365.0), "10.0.0.2:80": EndpointHealth("pending")}
    table = msgspec.structs.replace(build_table([found]), health={"api": health})
    (first, second) = explain_name("api", [found], table).containers
    (said,) = (note for note in first.routes[0].notes if "probe" in note)
    assert re.fullmatch(r"10\.0\.0\.1:80 fails the gateway's probe, since 197\d-\d\d-\d\d \d\d:\d\d:\d\d", said)
    assert "10.0.0.2:80 has not been probed yet" in second.routes[0].notes
    assert second.routes[0].status.startswith("1 of 2 ready, probes failing since ")
    found_health = [it.health.state for it in second.routes[0].endpoints if it.health is not None]
    assert found_health == ["unhealthy", "pending"]


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
    assert [each.name for each in explained(name).containers] == containers


def test_the_beginning_of_an_id_is_a_name() -> None:
    assert [each.name for each in explained(EXAMPLE[0]["Id"][:12]).containers] == ["whoami"]
    assert explained(EXAMPLE[0]["Id"][:4]).containers == ()


def test_for_an_alias_only_its_route_is_explained() -> None:
    assert [each.alias for each in container_explanation("admin").routes] == ["admin"]
    assert [each.alias for each in container_explanation("shop").routes] == ["shop", "admin"]


def test_known_names_are_containers_and_aliases() -> None:
    found = [one("web", {"proxy.aliases": "a, b"}), one("", Names=None)]
    assert known_names([engine_snapshot(found)]) == ["a", "b", "web"]


def test_all_problems_of_an_explanation_are_at_hand() -> None:
    assert [problem.label or problem.route for problem in explained("shop").problems] == ["proxy.admin.pot", "shop"]


def test_a_file_lists_who_waits_for_its_alias_and_they_name_the_file() -> None:
    assert file_route_explanation("web").notes == (
        "local/web claims this alias too and waits, because files take precedence over containers",
    )
    assert {fact.name: fact.value for fact in file_route_explanation("web").facts}["listen"].startswith("tcp")
    snapshots = [engine_snapshot([one("web")])]
    explanation = explain_name("web", snapshots, build_table(snapshots, [ROUTE_FILE]), [ROUTE_FILE])
    (route,) = explanation.containers[0].routes
    assert route.reason == "the alias belongs to file own.yml, because files take precedence over containers"
    assert "belongs to the file" in str(explanation.problems[0])


def test_an_invalid_route_of_a_file_has_a_remedy() -> None:
    story = file_route_explanation("bad")
    assert (story.served, story.reason, story.remedy) == (False, "Error", "fix the problems below")


def test_of_two_files_the_later_waits() -> None:
    other = read_route_file("nas: {host: x}", "z.yml")
    explanation = explain_name("nas", [], build_table([], [ROUTE_FILE, other]), [ROUTE_FILE, other])
    assert [file.name for file in explanation.files] == ["own.yml", "z.yml"]
    assert explanation.files[0].routes[0].notes == (
        "file z.yml claims this alias too and waits, because it comes later by name",
    )
    assert explanation.files[1].routes[0].reason == "the alias belongs to file own.yml, which comes first by name"
    assert len(explanation.files[1].routes[0].conflicts) == 1


def test_aliases_of_files_are_known_names() -> None:
    assert known_names([], [ROUTE_FILE]) == ["bad", "files", "nas", "web"]
