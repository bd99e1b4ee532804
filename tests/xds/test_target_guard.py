from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pilotage.policy import Claimant, Policy
from pilotage.policy.claims import PolicyRule
from pilotage.policy.target_addresses import Reach
from pilotage.routes.port_syntax import PortPair
from pilotage.routes.route import Endpoint, Route
from pilotage.table.precedence import Ranking
from pilotage.xds.downgrade import addressed
from pilotage.xds.target_guard import TargetGuard, Targets
from tests.support.gateway import route
from tests.support.steps import same_cost, steps_of

HERE = "192.168.1.5"
WHO = Claimant(engine="local", image="nginx")


def targets(policy: Policy | None = None, **resolved: tuple[str, ...]) -> Targets:
    found = Targets(TargetGuard(policy or Policy(), frozenset({8080, 8888}), lambda: frozenset({HERE})))
    found.resolved = {name.replace("_", "."): addresses for name, addresses in resolved.items()}
    return found


def named(host: str, port: int = 80, *own: str, **more: Any) -> Route:
    return route("app", endpoints=(Endpoint(host, port, "app", "id", reach=Reach(WHO, own)),), **more)


def at(host: str, port: int, alias: str = "app", **more: Any) -> Route:
    return route(alias, endpoints=(Endpoint(host, port, alias, "id"),), **more)


def stream(alias: str, listening: int, host: str, port: int, **more: Any) -> Route:
    fields = {"scheme": "tcp", "port": PortPair(listening, port), "bind": "0.0.0.0"} | more
    return route(alias, endpoints=(Endpoint(host, port, alias, "id"),), **fields)


def checked(found: Targets, *routes: Route) -> dict[str, tuple[list[str], str]]:
    """Return alias -> the addresses to which Envoy may connect, and the problems."""
    found.follow({it.alias: it for it in routes})
    answers = {}
    for it in routes:
        now, problems = found.checked(it)
        assert now is not None
        answers[it.alias] = [e.address for e in addressed(now.endpoints)], "; ".join(map(str, problems))
    return answers


def test_a_plain_route_is_returned_as_it_is() -> None:
    found, it = targets(), at("10.0.0.2", 80)
    assert found.follow({"app": it}) == {"app"}
    assert found.checked(it)[0] is it


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", HERE, f"::ffff:{HERE}"]
)
@pytest.mark.parametrize("port", [8080, 8888])
def test_no_route_leads_to_a_port_of_pilotage(host: str, port: int) -> None:
    addresses, problems = checked(targets(), at(host, port))["app"]
    assert addresses == []
    assert "a port of pilotage itself" in problems


def test_the_same_port_of_another_machine_is_free() -> None:
    assert checked(targets(), at("10.0.0.2", 8080))["app"] == (["10.0.0.2:8080"], "")


def test_a_name_leads_to_the_addresses_that_were_checked() -> None:
    found = targets(nas_lan=("10.0.0.1", "fd00::1"))
    assert checked(found, named("nas.lan"))["app"] == (["10.0.0.1:80", "[fd00::1]:80"], "")
    assert found.names["app"] == ("local/id-app", frozenset({"nas.lan"}))
    assert found.users("nas.lan") == {"app"}
    found.follow({"app": None})
    assert (found.names, found.users("nas.lan")) == ({}, set())


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "0.0.0.0", "fe80::1"])
def test_a_name_that_comes_to_stand_for_a_special_address_is_not_followed(bad: str) -> None:
    found = targets(evil_example=("192.0.2.7",))
    assert checked(found, named("evil.example"))["app"] == (["192.0.2.7:80"], "")
    found.resolved = {"evil.example": ("192.0.2.7", bad)}
    addresses, problems = checked(found, named("evil.example"))["app"]
    assert addresses == ["192.0.2.7:80"]
    assert f"evil.example:80 is {bad}" in problems
    found.resolved = {"evil.example": (bad,)}
    assert checked(found, named("evil.example"))["app"][0] == []


def test_a_name_that_comes_to_stand_for_this_machine_does_not_reach_a_port_of_pilotage() -> None:
    found = targets(evil_example=(HERE,))
    assert checked(found, named("evil.example", 8888))["app"][0] == []
    assert checked(found, named("evil.example", 9999))["app"][0] == [f"{HERE}:9999"]


def test_a_rule_or_an_own_port_allows_loopback_but_never_a_port_of_pilotage() -> None:
    rule = PolicyRule(targets=("127.0.0.0/8",))
    found = targets(Policy(rules=(rule,)), db_lan=("127.0.0.1",))
    assert checked(found, named("db.lan", 9000))["app"] == (["127.0.0.1:9000"], "")
    assert checked(found, named("db.lan", 8888))["app"][0] == []
    assert checked(targets(db_lan=("127.0.0.1",)), named("db.lan", 9000, "127.0.0.1"))["app"][0] == ["127.0.0.1:9000"]


def test_one_usable_address_of_localhost_is_enough() -> None:
    rule = PolicyRule(targets=("127.0.0.1:9000",))
    found = targets(Policy(rules=(rule,)), localhost=("127.0.0.1", "::1"))
    assert checked(found, named("localhost", 9000))["app"] == (["127.0.0.1:9000"], "")


def test_a_name_without_an_address_is_a_problem_once_it_is_known() -> None:
    found = targets()
    assert checked(found, named("nas.lan"))["app"] == ([], "")
    found.errors = {"nas.lan": "Name or service not known"}
    assert "'nas.lan' cannot be resolved: Name or service not known" in checked(found, named("nas.lan"))["app"][1]


def test_names_in_files_are_left_to_envoy_unless_they_lead_to_pilotage() -> None:
    found = targets(nas_lan=(HERE,))
    assert checked(found, at("nas.lan", 80, container=""))["app"] == (["nas.lan:80"], "")
    assert checked(targets(), at("nas.lan", 80, container=""))["app"] == (["nas.lan:80"], "")
    assert checked(targets(), at("nas.lan", 8080, container=""))["app"][0] == []  # not before it is resolved
    assert checked(found, at("nas.lan", 8080, container=""))["app"][0] == []
    assert checked(targets(nas_lan=("10.0.0.1",)), at("nas.lan", 8080, container=""))["app"][0] == ["nas.lan:8080"]
    assert checked(targets(nas_lan=("10.0.0.1", HERE)), at("nas.lan", 8080, container=""))["app"][0] == [
        "10.0.0.1:8080"
    ]


def test_a_name_in_a_file_does_not_lead_to_its_own_listener() -> None:
    found = targets(localhost=("127.0.0.1", "::1"))
    ring = stream("db", 5432, "localhost", 5432, container="")
    assert checked(found, ring)["db"][0] == []
    assert checked(found, stream("db", 5432, "localhost", 5433, container=""))["db"][0] == ["localhost:5433"]


@pytest.mark.parametrize("host", ["127.0.0.1", HERE, "0.0.0.0"])
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_a_stream_does_not_lead_to_its_own_listener(host: str, scheme: str) -> None:
    assert checked(targets(), stream("db", 5432, host, 5432, scheme=scheme))["db"][0] == []
    assert checked(targets(), stream("db", 5432, "10.0.0.1", 5432, scheme=scheme))["db"][0] == ["10.0.0.1:5432"]


def test_a_listener_on_another_address_is_no_ring() -> None:
    assert checked(targets(), stream("db", 5432, "127.0.0.1", 5432, bind=HERE))["db"][0] == ["127.0.0.1:5432"]


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_no_route_leads_to_the_listener_of_an_older_one(scheme: str) -> None:
    old = stream("db", 5432, "10.0.0.1", 5432, created=1)
    new = stream("app", 99, HERE, 5432, created=2) if scheme == "tcp" else at(HERE, 5432, created=2)
    found = targets()
    answers = checked(found, old, new)
    assert answers["db"] == (["10.0.0.1:5432"], "")
    assert answers["app"][0] == []
    assert "the listener of db" in answers["app"][1]
    assert found.follow({"db": None}) == {"db", "app"}  # the other one is checked again
    assert found.checked(new) == (new, ())


def test_a_new_listener_takes_no_port_to_which_an_older_route_leads() -> None:
    old, new = at("127.0.0.1", 5432, created=1), stream("db", 5432, "10.0.0.1", 5432, created=2)
    answers = checked(targets(), old, new)
    assert answers["app"] == (["127.0.0.1:5432"], "")
    assert answers["db"][0] == []
    assert "the target of app, which is older" in answers["db"][1]


LISTENER = stream("db", 5432, "10.0.0.1", 5432, created=200)


def test_a_refused_address_takes_no_listener_down() -> None:
    found = targets(evil_example=("192.0.2.7",))
    evil = named("evil.example", 5432, created=100)
    checked(found, LISTENER, evil)
    found.resolved = {"evil.example": ("127.0.0.1",)}
    answers = checked(found, evil, LISTENER)
    assert answers["db"] == (["10.0.0.1:5432"], "")
    assert answers["app"][0] == []


@pytest.mark.parametrize("created", [100, 1, 0, -5])
def test_an_endpoint_that_newly_leads_to_a_listener_is_refused_whatever_its_age(created: int) -> None:
    found = targets(evil_example=("192.0.2.7",))
    evil = named("evil.example", 5432, created=created)
    checked(found, LISTENER, evil)
    found.resolved = {"evil.example": (HERE,)}
    answers = checked(found, evil, LISTENER)
    assert answers["db"] == (["10.0.0.1:5432"], "")
    assert "the listener of db" in answers["app"][1]
    fresh = targets(evil_example=(HERE,))
    fresh.inherit(found)  # new settings
    assert checked(fresh, evil, LISTENER)["db"][0] == ["10.0.0.1:5432"]


def test_an_age_that_is_no_time_and_a_later_engine_take_no_port_at_the_start() -> None:
    assert checked(targets(), at(HERE, 5432, created=-5), LISTENER)["db"][0] == ["10.0.0.1:5432"]
    found = targets()
    found.ranking = Ranking(("local", "far"))
    assert checked(found, at(HERE, 5432, created=1, provider="far"), LISTENER)["db"][0] == ["10.0.0.1:5432"]


def test_a_listener_gets_its_port_back_after_a_restart() -> None:
    found, evil = targets(), named(HERE, 5432, created=1)
    checked(found, LISTENER)
    checked(found, LISTENER, evil)
    found.follow({"db": msgspec.structs.replace(LISTENER, excluded=True, endpoints=())})
    assert found.checked(evil) == (evil, ())
    answers = checked(found, LISTENER, evil)
    assert answers["db"] == (["10.0.0.1:5432"], "")
    assert answers["app"][0] == []


@pytest.mark.parametrize("own", [True, False])
def test_only_an_own_address_is_kept_for_a_stopped_container(*, own: bool) -> None:
    found, it = targets(), named(HERE, 5432, *([HERE] if own else []), created=1)
    checked(found, it)
    found.follow({"app": msgspec.structs.replace(it, excluded=True, endpoints=())})
    checked(found, LISTENER)
    answers = checked(found, it, LISTENER)
    assert [bool(answers[alias][0]) for alias in ("app", "db")] == [own, not own]


def test_what_is_gone_leaves_no_claim() -> None:
    found = targets()
    checked(found, LISTENER, at(HERE, 5433))
    found.follow({"db": None, "app": None})
    assert (found._since, found._ports, found._routes) == ({}, {}, {})


def test_two_streams_that_lead_to_each_other_are_no_ring() -> None:
    one = stream("one", 1111, HERE, 2222, created=1)
    two = stream("two", 2222, HERE, 1111, created=2)
    assert [answer[0] for answer in checked(targets(), one, two).values()].count([]) >= 1


def test_udp_and_tcp_ports_are_different() -> None:
    udp = stream("dns", 5432, "10.0.0.1", 53, scheme="udp", created=1)
    assert checked(targets(), udp, at("127.0.0.1", 5432))["app"][0] == ["127.0.0.1:5432"]


def test_routes_are_found_when_an_address_to_which_they_lead_becomes_one_of_this_machine() -> None:
    found = targets(nas_lan=("10.0.0.2",))
    found.follow({"a": at("10.0.0.1", 80, "a"), "b": at("::ffff:10.0.0.1", 81, "b"), "app": named("nas.lan")})
    assert found.affected_by({"10.0.0.1"}, ()) == {"a", "b"}
    assert found.affected_by({"10.0.0.2", "10.0.0.3"}, ()) == {"app"}
    found.resolved = {"nas.lan": ("10.0.0.3",)}
    found.follow({"app": named("nas.lan"), "a": None})
    assert found.affected_by({"10.0.0.1", "10.0.0.2"}, ()) == {"b"}
    assert found.affected_by({"10.0.0.3"}, ()) == {"app"}


def test_routes_are_found_when_a_port_is_published_to_which_they_may_lead() -> None:
    found = targets()
    found.follow({"a": at("10.0.0.1", 80, "a"), "b": at("nas.lan", 80, "b", container=""), "c": at("10.0.0.2", 80)})
    assert found.affected_by((), {("10.0.0.1", 80)}) == {"a", "b"}
    assert found.affected_by((), {("10.0.0.1", 81)}) == {"a"}


@pytest.mark.parametrize("changes", [{"10.0.0.7"}, {HERE, "172.18.0.1"}])
def test_a_change_of_this_machines_addresses_costs_the_same_however_many_routes_there_are(changes: set[str]) -> None:
    def cost(size: int) -> int:
        found = targets()
        routes = {f"a{n}": at(f"10.0.{n >> 8}.{n & 255}", 8080, f"a{n}") for n in range(size)}
        found.follow(dict(routes))
        return steps_of(lambda: found.affected_by(changes, {("172.17.0.1", 80)}))

    assert same_cost(cost(10_000), cost(100))


def test_a_published_port_is_pilotages_own_in_every_spelling_of_its_address() -> None:
    published = frozenset({("172.17.0.1", 80)})
    found = Targets(TargetGuard(Policy(), frozenset({8080}), frozenset, lambda: published))
    assert checked(found, at("::ffff:172.17.0.1", 80))["app"][0] == []
    assert checked(found, at("64:ff9b::172.17.0.1", 80))["app"][0] == []
    assert checked(found, at("::ffff:172.17.0.1", 81))["app"][0] == ["[::ffff:172.17.0.1]:81"]


def test_a_published_port_of_pilotages_own_container_is_its_own_port() -> None:
    published = frozenset({("172.17.0.1", 80), ("172.17.0.1", 2222)})
    found = Targets(TargetGuard(Policy(), frozenset({8080}), frozenset, lambda: published))
    assert checked(found, at("172.17.0.1", 80))["app"][0] == []
    assert checked(found, stream("ssh", 2222, "172.17.0.1", 2222))["ssh"][0] == []
    assert checked(found, at("172.17.0.1", 8080))["app"][0] == ["172.17.0.1:8080"]  # another container's
    assert checked(found, at("10.0.0.1", 80))["app"][0] == ["10.0.0.1:80"]


FAR = "10.0.0.9:8890"


def test_behind_an_agent_elsewhere_loopback_is_not_this_machine() -> None:
    found = targets()
    here, there = at("127.0.0.1", 8888, "here"), at("127.0.0.1", 8888, "there", agent=FAR)
    answers = checked(found, here, there)
    assert answers["here"][0] == []
    assert answers["there"] == (["127.0.0.1:8888"], "")


@pytest.mark.parametrize(("agent", "ip"), [("127.0.0.1:8890", ""), (f"{HERE}:8890", ""), ("me.lan:8890", HERE)])
def test_behind_an_agent_on_this_machine_a_port_of_pilotage_is_refused(agent: str, ip: str) -> None:
    found = targets()
    found.agent_addresses = {agent: ip}
    assert checked(found, at("127.0.0.1", 8888, agent=agent))["app"][0] == []


@pytest.mark.parametrize(
    ("address", "allowed"),
    [("10.7.7.7", True), (HERE, False), ("127.0.0.1", True), ("169.254.169.254", False)],
)
def test_a_name_behind_an_agent_is_checked_wherever_it_leads(address: str, allowed: bool) -> None:
    """Loopback is the agent's, and is refused unless a rule allows it; here, the container owns it."""
    found = targets(nas_lan=(address,))
    own = ("127.0.0.1",) if address == "127.0.0.1" else ()
    answers = checked(found, named("nas.lan", 8888, *own, agent=FAR))
    assert bool(answers["app"][0]) is allowed


def test_names_of_files_and_of_the_agent_itself_are_not_resolved_here() -> None:
    found = targets()
    of_file = route("file", endpoints=(Endpoint("db.lan", 80),), container="", agent="attic.lan:8890")
    own = route("own", endpoints=(Endpoint("attic.lan", 80, "own", "id", reach=Reach(WHO, ("attic.lan",))),))
    own = type(own)(**{name: getattr(own, name) for name in own.__struct_fields__} | {"agent": "attic.lan:8890"})
    answers = checked(found, of_file, own)
    assert found.names == {}
    assert answers == {"file": (["db.lan:80"], ""), "own": (["attic.lan:80"], "")}


@pytest.mark.parametrize(("address", "allowed"), [("10.0.0.9", True), ("127.0.1.1", False)])
def test_the_name_of_an_agent_is_checked_like_others_if_the_port_is_not_the_containers(
    address: str, allowed: bool
) -> None:
    found = targets(attic_lan=(address,))
    answers = checked(found, named("attic.lan", 6379, agent="attic.lan:8890"))
    assert bool(answers["app"][0]) is allowed
