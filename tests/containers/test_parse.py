from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage import Container, build_routes, from_docker
from pilotage.containers.parse import ContainerParser, container_name, unreadable
from pilotage.engine.types import (
    Inspect,
    InspectConfig,
    Port,
    Summary,
)
from tests.support.summaries import ADDRESS, ID, LOCAL, container, summary


def reported(found: Container) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in (*found.errors, *found.problems)]


def test_of_very_many_dependencies_the_first_thousand_count_and_the_rest_is_reported() -> None:
    label = "com.docker.compose.depends_on"
    names = [f"db{number}" for number in range(1001)]
    assert reported(container(labels={label: ",".join(names[:1000])})) == []
    found = container(labels={label: ",".join(names)})
    assert found.depends_on == tuple(names[:1000])
    message = "the label lists more than 1,000 dependencies; only the first 1,000 count"
    assert reported(found) == [(label, message, "spread them over several containers")]


def test_a_long_list_of_dependencies_hides_no_other_problem() -> None:
    many = ",".join(f"c{number}" for number in range(1_001))
    labels = {"proxy.exclude": "perhaps", "com.docker.compose.depends_on": many}
    assert [problem.label for problem in container("web", labels).problems] == list(labels)


def networks(**addresses: str) -> dict[str, Any]:
    return {"Networks": {name: {"IPAddress": address} for name, address in addresses.items()}}


# ---- what an engine may answer --------------------------------------------------------------------------------------


def test_every_form_of_one_element_gives_the_same_container() -> None:
    plain = summary(labels={"proxy.aliases": "a, B"})
    body = json.dumps(plain).encode()
    forms = [plain, body, memoryview(body), msgspec.Raw(body), msgspec.json.decode(body, type=Summary)]
    assert len({repr(msgspec.to_builtins(from_docker(form, LOCAL))) for form in forms}) == 1  # type: ignore[arg-type]


def test_an_ordinary_container_has_every_field() -> None:
    found = container("Web", {"proxy.web.port": "80", "other": "x", "proxy.exclude": "false"})
    assert (found.container_id, found.container_name, found.aliases) == (ID, "Web", ("web",))
    assert (found.created, found.state, found.status) == (1_700_000_000, "running", "Up 3 hours")
    assert (found.image.author, found.image.name, found.image.tag, found.image.sha256) == ("acme", "web", "1.0", "0123")
    assert (found.network, found.networks, found.network_mode) == ("bridge", ("bridge",), "bridge")
    assert (found.private_hostname, found.public_hostname) == (ADDRESS, "127.0.0.1")
    assert found.private_port_mapping == {80: Port(80)}
    assert found.public_port_mapping == {}
    assert (found.running, found.is_explicit, found.is_excluded, found.is_oneoff) == (True, True, False, False)
    assert found.labels == {"proxy.web.port": "80", "other": "x"}
    assert found.actual_labels == {"proxy.web.port": "80", "other": "x", "proxy.exclude": "false"}
    assert (found.agent, found.idlewatcher_config, found.errors, found.problems) == ("", None, (), ())


def test_parsing_does_not_change_its_input() -> None:
    plain = summary(labels={"proxy.aliases": "a", "proxy.idle_timeout": "5m", "proxy.web.port": "80"})
    before = copy.deepcopy(plain)
    from_docker(plain, LOCAL)
    decoded = msgspec.convert(plain, Summary)
    from_docker(decoded, LOCAL)
    assert plain == before
    assert msgspec.to_builtins(decoded)["Labels"] == before["Labels"]


@pytest.mark.parametrize("field", ["Names", "Labels", "Ports", "NetworkSettings", "HostConfig", "Mounts", "Health"])
def test_fields_that_engines_leave_out_may_be_null_or_absent(field: str) -> None:
    plain = summary()
    plain.pop(field, None)
    absent = from_docker(plain, LOCAL)
    null = from_docker(plain | {field: None}, LOCAL)
    assert absent == null
    assert absent.errors == ()


def test_networks_may_be_null_and_one_network_too() -> None:
    for settings_ in ({"Networks": None}, {"Networks": {"bridge": None}}, {}):
        found = container(NetworkSettings=settings_)
        assert (found.private_hostname, found.public_hostname, found.errors) == ("", "127.0.0.1", ())


@pytest.mark.parametrize(
    ("body", "said", "where"),
    [
        (b"", "truncated", ""),
        (b"[]", "Expected `object`", ""),
        (b'{"Id": 5, "Names": ["/web"]}', "Expected `str`, got `int` - at `$.Id`", "web"),
        (b'{"Id": "0123456789abcdef", "Labels": {"a": null}}', "at `$.Labels[...]`", "0123456789ab"),
        (b'{"Id": "\xff", "Names": ["/web"]}', "utf-8", ""),
        (b'{"Names": ["/web"], "x": ' + b"[" * 100_000, "recursion", ""),
        (b'{"Id": "1", "Names": [5, "/web"]}', "at `$.Names[0]`", "web"),
    ],
    ids=["empty", "list", "id", "label", "utf-8", "deep", "names"],
)
def test_an_unreadable_element_is_an_error_that_names_the_container_if_possible(
    body: bytes, said: str, where: str
) -> None:
    found = from_docker(body, LOCAL)
    (problem,) = found.errors
    assert problem.message.startswith("the engine's list entry for a container cannot be read: ")
    assert said in problem.message
    assert (problem.provider, problem.container) == ("local", where)
    assert build_routes(found).routes == ()


@pytest.mark.parametrize("plain", [None, [], {"Id": None, "Names": ["/web"]}, {"Labels": {"a": 1}}, {"Names": "web"}])
def test_an_unreadable_mapping_is_an_error_too(plain: Any) -> None:
    assert len(from_docker(plain, LOCAL).errors) == 1


def test_an_unreadable_mapping_keeps_its_id_and_name() -> None:
    found = from_docker({"Id": ID, "Names": ["/web"], "Labels": {"a": 1}}, LOCAL)
    assert (found.container_id, found.container_name, str(found.image)) == (ID, "web", ":latest")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
odd_summaries = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from([value]) | json_values for name, value in summary(labels={"proxy.a.x": "1"}).items()
    },
)


@settings(deadline=None)
@given(odd_summaries)
def test_no_element_raises(plain: dict[str, Any]) -> None:
    before = copy.deepcopy(plain)
    found = from_docker(plain, LOCAL)
    routes = build_routes(found).routes
    assert repr(plain) == repr(before)
    assert found.container_name or not routes
    assert not (found.errors and routes)


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    from_docker(body, LOCAL)


def test_an_unreadable_container_may_be_named_by_its_id() -> None:
    found = unreadable(LOCAL, ValueError("no"), "0123456789abcdef")
    assert (found.container_id, found.errors[0].container) == ("0123456789abcdef", "0123456789ab")


# ---- name, state, health --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (None, ""),
        ([], ""),
        (["/web"], "web"),
        (["/net-link/linked", "/web"], "web"),
        (["/only/links"], "only/links"),
        (["web"], "web"),
    ],
)
def test_the_name_is_the_one_with_a_single_slash(names: list[str] | None, name: str) -> None:
    assert container_name(names) == name


@pytest.mark.parametrize(
    ("state", "status", "running"),
    [
        ("running", "Up 3 hours", True),
        ("", "running", True),
        ("paused", "Up 3 hours (Paused)", False),
        ("restarting", "Restarting (1) 3 seconds ago", False),
        ("created", "Created", False),
        ("exited", "Exited (0) 3 hours ago", False),
        ("dead", "Dead", False),
        ("removing", "Removal In Progress", False),
        ("", "", False),
    ],
)
def test_only_running_containers_are_running_and_have_trusted_addresses(state: str, status: str, running: bool) -> None:
    found = container(State=state, Status=status)
    assert found.running is running
    assert (found.private_hostname, found.public_hostname) == ((ADDRESS, "127.0.0.1") if running else ("", ""))
    assert found.errors == ()


# ---- labels of the container itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "explicit"),
    [
        ({}, False),
        ({"proxy": "x"}, False),
        ({"Proxy.web.port": "80", "proxyx.y": "1"}, False),
        ({"proxy.aliases": ""}, True),
        ({"proxy.network": "x"}, True),
        ({"proxy.exclude": "false"}, True),
        ({"proxy.": ""}, True),
    ],
)
def test_any_pilotage_label_makes_a_container_explicit(labels: dict[str, str], explicit: bool) -> None:
    assert container(labels=labels).is_explicit is explicit


@pytest.mark.parametrize(
    ("text", "aliases"),
    [
        ("", ("web",)),
        (" , ", ("web",)),
        ("app", ("app",)),
        ("App,b c,,\td,app", ("app", "b", "c", "d", "app")),
    ],
)
def test_aliases_are_a_lower_case_list_and_default_to_the_name(text: str, aliases: tuple[str, ...]) -> None:
    assert container("Web", {"proxy.aliases": text}).aliases == aliases


def test_options_of_the_container_are_not_labels_of_its_routes() -> None:
    own = ["aliases", "exclude", "network", "idle_timeout", "wake_timeout", "stop_method", "stop_timeout"]
    own += ["stop_signal", "start_endpoint", "depends_on", "no_loading_page"]
    labels = {f"proxy.{name}": "" for name in own}
    assert container(labels=labels | {"proxy.exclude.x": "1"}).labels == {"proxy.exclude.x": "1"}


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_a_true_exclude_excludes(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert (found.is_excluded, found.problems) == (True, ())


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False", ""])
def test_a_false_or_empty_exclude_does_not(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert (found.is_excluded, found.problems) == (False, ())


@pytest.mark.parametrize("text", ["yes", "on", "tRuE", " true"])
def test_any_other_exclude_excludes_and_is_reported(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert found.is_excluded
    assert reported(found) == [
        ("proxy.exclude", f"{text!r} is not a boolean; the container stays excluded", "write true or false")
    ]


@pytest.mark.parametrize(
    ("exclude", "oneoff"), [(None, True), ("true", True), ("yes", True), ("false", False), ("0", False)]
)
def test_a_compose_one_off_is_recognized_unless_exclude_is_false(exclude: str | None, oneoff: bool) -> None:
    labels = {"com.docker.compose.oneoff": "True"} | ({"proxy.exclude": exclude} if exclude else {})
    assert container(labels=labels).is_oneoff is oneoff
    assert not container(labels={"com.docker.compose.oneoff": "False"}).is_oneoff


def test_invalid_idle_options_are_errors_of_the_container() -> None:
    found = container(labels={"proxy.idle_timeout": "soon", "proxy.stop_method": "stpo"})
    assert found.idlewatcher_config is None
    assert [problem.label for problem in found.errors] == ["proxy.idle_timeout", "proxy.stop_method"]
    assert {(problem.provider, problem.container) for problem in found.errors} == {("local", "web")}


# ---- where it is reached --------------------------------------------------------------------------------------------


# ---- inspection -----------------------------------------------------------------------------------------------------


def exposing(*ports: str, **fields: Any) -> Inspect:
    return Inspect(Config=InspectConfig(ExposedPorts=dict.fromkeys(ports)), **fields)


# ---- another's network ----------------------------------------------------------------------------------------------


def test_one_parser_parses_many_containers() -> None:
    reader = ContainerParser(LOCAL)
    found = [reader.decode(json.dumps(summary(name)).encode()).container_name for name in ("a", "b")]
    assert found == ["a", "b"]


def test_containers_of_a_rootless_engine_are_not_reached_by_their_address() -> None:
    parser = ContainerParser(LOCAL)
    for rootless, address in ((True, ""), (False, ADDRESS)):
        parser.set_rootless(rootless)
        assert parser.decode(json.dumps(summary()).encode()).private_hostname == address


def test_the_name_that_an_agent_reports_stays_however_the_engine_turns_out_to_run() -> None:
    parser = ContainerParser(LOCAL)
    parser.take_name("attic", "attic-agent")
    for rootless in (True, False):
        parser.set_rootless(rootless)
        assert (parser.config.name, parser.facts.agent) == ("attic", "attic-agent")


def test_a_stopped_container_has_no_address_on_the_network_of_its_label() -> None:
    stopped: dict[str, Any] = {"State": "exited", "Status": "Exited (0) 3 hours ago"}
    found = container("web", {"proxy.network": "front"}, NetworkSettings=networks(front=ADDRESS), **stopped)
    assert (found.network, found.private_hostname, found.errors) == ("front", "", ())
