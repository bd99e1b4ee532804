from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage import Container, DockerProviderConfig, build_routes, from_docker
from pilotage.containers.parse import (
    ContainerReader,
    container_name,
    is_rootless,
    needs_inspection,
    unreadable,
    with_inspection,
    with_network_of,
)
from pilotage.engine.types import (
    Health,
    HostConfig,
    Inspect,
    InspectConfig,
    InspectNetworkSettings,
    InspectState,
    Port,
    PortBinding,
    Summary,
)
from tests.support.summaries import ADDRESS, ID, LOCAL, REMOTE, container, summary


def told(found: Container) -> list[tuple[str, str, str]]:
    return [(problem.label, problem.message, problem.hint) for problem in (*found.errors, *found.problems)]


def networks(**addresses: str) -> dict[str, Any]:
    return {"Networks": {name: {"IPAddress": address} for name, address in addresses.items()}}


# ---- what an engine may answer --------------------------------------------------------------------------------------


def test_one_answer_is_read_alike_in_every_form() -> None:
    plain = summary(labels={"proxy.aliases": "a, B"})
    body = json.dumps(plain).encode()
    forms = [plain, body, memoryview(body), msgspec.Raw(body), msgspec.json.decode(body, type=Summary)]
    assert len({repr(msgspec.to_builtins(from_docker(form, LOCAL))) for form in forms}) == 1  # type: ignore[arg-type]


def test_everything_of_an_ordinary_container_is_there() -> None:
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


def test_reading_does_not_change_what_is_read() -> None:
    plain = summary(labels={"proxy.aliases": "a", "proxy.idle_timeout": "5m", "proxy.web.port": "80"})
    before = copy.deepcopy(plain)
    from_docker(plain, LOCAL)
    decoded = msgspec.convert(plain, Summary)
    from_docker(decoded, LOCAL)
    assert plain == before
    assert msgspec.to_builtins(decoded)["Labels"] == before["Labels"]


@pytest.mark.parametrize("field", ["Names", "Labels", "Ports", "NetworkSettings", "HostConfig", "Mounts", "Health"])
def test_what_engines_leave_out_may_be_null_or_absent(field: str) -> None:
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
def test_what_cannot_be_read_is_an_error_that_names_the_container_where_it_can(
    body: bytes, said: str, where: str
) -> None:
    found = from_docker(body, LOCAL)
    (problem,) = found.errors
    assert problem.message.startswith("the engine's answer for a container cannot be read: ")
    assert said in problem.message
    assert (problem.provider, problem.container) == ("local", where)
    assert build_routes(found).routes == ()


@pytest.mark.parametrize("plain", [None, [], {"Id": None, "Names": ["/web"]}, {"Labels": {"a": 1}}, {"Names": "web"}])
def test_a_mapping_that_cannot_be_read_is_an_error_too(plain: Any) -> None:
    assert len(from_docker(plain, LOCAL).errors) == 1


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
def test_no_answer_whatever_raises(plain: dict[str, Any]) -> None:
    before = copy.deepcopy(plain)
    found = from_docker(plain, LOCAL)
    routes = build_routes(found).routes
    assert repr(plain) == repr(before)
    assert found.container_name or not routes
    assert not (found.errors and routes)


@given(st.binary())
def test_no_bytes_whatever_raise(body: bytes) -> None:
    from_docker(body, LOCAL)


def test_an_unreadable_container_may_be_known_by_its_id() -> None:
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
def test_only_what_runs_is_running_and_only_its_addresses_are_trusted(state: str, status: str, running: bool) -> None:
    found = container(State=state, Status=status)
    assert found.running is running
    assert (found.private_hostname, found.public_hostname) == ((ADDRESS, "127.0.0.1") if running else ("", ""))
    assert found.errors == ()


@pytest.mark.parametrize(
    ("fields", "health"),
    [
        ({"Status": "Up 3 hours"}, ""),
        ({"Status": "Up 3 hours (healthy)"}, "healthy"),
        ({"Status": "Up 3 hours (unhealthy)"}, "unhealthy"),
        ({"Status": "Up 2 seconds (health: starting)"}, "starting"),
        ({"Status": "Up 3 hours (Paused)"}, ""),
        ({"Status": "Up 3 hours (unhealthy)", "Health": {"Status": "healthy"}}, "healthy"),
        ({"Status": "Up 3 hours (healthy)", "Health": {"Status": ""}}, "healthy"),
        ({"Health": {"Status": "none"}}, ""),
    ],
)
def test_health_comes_from_its_own_field_or_the_end_of_the_status(fields: dict[str, Any], health: str) -> None:
    assert container(**fields).health == health


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
def test_any_label_of_ours_makes_a_container_explicit(labels: dict[str, str], explicit: bool) -> None:
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
def test_aliases_are_a_list_in_lower_case_and_by_default_the_name(text: str, aliases: tuple[str, ...]) -> None:
    assert container("Web", {"proxy.aliases": text}).aliases == aliases


def test_labels_of_the_container_are_not_labels_of_its_routes() -> None:
    own = ["aliases", "exclude", "network", "idle_timeout", "wake_timeout", "stop_method", "stop_timeout"]
    own += ["stop_signal", "start_endpoint", "depends_on", "no_loading_page"]
    labels = {f"proxy.{name}": "" for name in own}
    assert container(labels=labels | {"proxy.exclude.x": "1"}).labels == {"proxy.exclude.x": "1"}


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_a_true_exclude_excludes(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert (found.is_excluded, found.problems) == (True, ())


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False", ""])
def test_a_false_or_empty_one_does_not(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert (found.is_excluded, found.problems) == (False, ())


@pytest.mark.parametrize("text", ["yes", "on", "tRuE", " true"])
def test_any_other_excludes_all_the_same_and_is_told(text: str) -> None:
    found = container(labels={"proxy.exclude": text})
    assert found.is_excluded
    assert told(found) == [
        ("proxy.exclude", f"{text!r} is not a boolean; the container stays excluded", "write true or false")
    ]


@pytest.mark.parametrize(
    ("exclude", "oneoff"), [(None, True), ("true", True), ("yes", True), ("false", False), ("0", False)]
)
def test_a_one_off_of_compose_is_known_unless_it_is_explicitly_not_excluded(exclude: str | None, oneoff: bool) -> None:
    labels = {"com.docker.compose.oneoff": "True"} | ({"proxy.exclude": exclude} if exclude else {})
    assert container(labels=labels).is_oneoff is oneoff
    assert not container(labels={"com.docker.compose.oneoff": "False"}).is_oneoff


def test_idle_settings_that_are_wrong_are_errors_of_the_container() -> None:
    found = container(labels={"proxy.idle_timeout": "soon", "proxy.stop_method": "stpo"})
    assert found.idlewatcher_config is None
    assert [problem.label for problem in found.errors] == ["proxy.idle_timeout", "proxy.stop_method"]
    assert {(problem.provider, problem.container) for problem in found.errors} == {("local", "web")}


# ---- where it is reached --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "env", "private", "public"),
    [
        ("unix:///var/run/docker.sock", {}, ADDRESS, "127.0.0.1"),
        ("tcp://127.0.0.1:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://localhost:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://[::1]:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://0.0.0.0:2375", {}, ADDRESS, "127.0.0.1"),
        ("tcp://10.0.0.9:2375", {}, "", "10.0.0.9"),
        ("tcp://10.0.0.9:2375", {"DOCKER_HOST": "tcp://10.0.0.9:2375"}, ADDRESS, "127.0.0.1"),
        ("ssh://me@node1:22/run/docker.sock", {}, "", "node1"),
        ("tcp://[fd00::9]:2375", {}, "", "fd00::9"),
        ("unix:///run/user/1000/podman/podman.sock", {}, "", "127.0.0.1"),
        ("unix:///home/me/.docker/run/docker.sock", {}, "", "127.0.0.1"),
    ],
)
def test_addresses_of_containers_are_used_where_they_can_be_reached(
    url: str, env: dict[str, str], private: str, public: str
) -> None:
    found = from_docker(summary(), DockerProviderConfig(url=url, name="n"), env=env)
    assert (found.private_hostname, found.public_hostname, found.errors) == (private, public, ())


def test_rootless_engines_are_known_by_their_socket() -> None:
    assert is_rootless("unix:///run/user/1000/docker.sock")
    assert not is_rootless("unix:///run/docker.sock")


def test_an_agent_reaches_its_containers() -> None:
    config = DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9")
    found = from_docker(summary(), config, agents={"10.0.0.9:8890": "node9"})
    assert (found.agent, found.private_hostname, found.public_hostname) == ("node9", ADDRESS, "10.0.0.9")


def test_where_nobody_lists_agents_an_agent_is_known_by_its_providers_name() -> None:
    found = from_docker(summary(), DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9"))
    assert (found.agent, found.private_hostname, found.errors) == ("node9", ADDRESS, ())


def test_a_missing_agent_is_an_error_in_our_words() -> None:
    config = DockerProviderConfig(url="agent://10.0.0.9:8890", name="node9")
    found = from_docker(summary(), config, agents={"10.0.0.8:8890": "node8"})
    assert [message for _, message, _ in told(found)] == ["agent 'agent://10.0.0.9:8890' not found"]
    assert build_routes(found).routes == ()


@pytest.mark.parametrize(
    ("attached", "labels", "chosen"),
    [
        ({"b": "10.0.0.2", "a": "10.0.0.1"}, {}, ("a", "10.0.0.1")),
        ({"b": "10.0.0.2", "a": ""}, {}, ("b", "10.0.0.2")),
        (
            {"a": "10.0.0.1", "shop_default": "10.0.0.3"},
            {"com.docker.compose.project": "shop"},
            ("shop_default", "10.0.0.3"),
        ),
        ({"b": "10.0.0.2", "a": "10.0.0.1"}, {"proxy.network": "b"}, ("b", "10.0.0.2")),
        (
            {"a": "10.0.0.1", "shop_front": "10.0.0.4"},
            {"com.docker.compose.project": "shop", "proxy.network": "front"},
            ("shop_front", "10.0.0.4"),
        ),
        (
            {"front": "10.0.0.1", "shop_front": "10.0.0.4"},
            {"com.docker.compose.project": "shop", "proxy.network": "front"},
            ("front", "10.0.0.1"),
        ),
        ({"a": "", "b": "10.0.0.2"}, {"proxy.network": "a"}, ("a", "")),
        ({"a": "", "b": ""}, {}, ("", "")),
    ],
)
def test_the_network_is_the_named_one_or_always_the_same(
    attached: dict[str, str], labels: dict[str, str], chosen: tuple[str, str]
) -> None:
    for order in (attached, dict(reversed(attached.items()))):
        found = container(labels=labels, NetworkSettings=networks(**order))
        assert (found.network, found.private_hostname) == chosen
        assert found.networks == tuple(sorted(attached))
        assert found.errors == ()


def test_ipv6_counts_where_there_is_no_ipv4() -> None:
    attached = {"six": {"IPAddress": "", "GlobalIPv6Address": "fd00::5"}}
    assert container(NetworkSettings={"Networks": attached}).private_hostname == "fd00::5"
    attached["six"]["IPAddress"] = "10.0.0.5"
    assert container(NetworkSettings={"Networks": attached}).private_hostname == "10.0.0.5"


@pytest.mark.parametrize(
    ("wanted", "labels", "hint"),
    [
        ("frnot", {}, "did you mean 'front'?"),
        ("frnot", {"com.docker.compose.project": "shop"}, "did you mean 'front'?"),
        ("elsewhere", {}, "the container is attached to back, front, shop_inner"),
        ("iner", {"com.docker.compose.project": "shop"}, "did you mean 'inner'?"),
    ],
)
def test_a_network_that_is_not_attached_is_an_error_that_names_the_nearest(
    wanted: str, labels: dict[str, str], hint: str
) -> None:
    attached = networks(front="10.0.0.1", back="10.0.0.2", shop_inner="10.0.0.3")
    found = container(labels=labels | {"proxy.network": wanted}, NetworkSettings=attached)
    assert told(found) == [("proxy.network", f"network {wanted!r} not found", hint)]


def test_on_a_remote_engine_networks_do_not_matter() -> None:
    found = container(labels={"proxy.network": "nope"}, config=REMOTE)
    assert (found.network, found.private_hostname, found.errors) == ("nope", "", ())


def test_a_container_that_cannot_be_reached_at_all_is_an_error() -> None:
    found = container(config=DockerProviderConfig(url="tcp://:2375", name="odd"))
    assert [message for _, message, _ in told(found)] == [
        "no network found: the container has no address that can be reached, nor has its host"
    ]
    assert container(config=DockerProviderConfig(url="tcp://:2375", name="odd"), State="exited").errors == ()


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"HostConfig": {"NetworkMode": "host"}}, True),
        ({"HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": networks(host="")}, False),
        ({"HostConfig": None, "NetworkSettings": networks(host="")}, True),
        ({"HostConfig": None}, False),
    ],
)
def test_the_hosts_network_is_known_by_the_mode_or_by_its_name_where_there_is_no_mode(
    fields: dict[str, Any], host: bool
) -> None:
    assert container(**fields).is_host_network_mode is host


# ---- inspection -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "podman", "needed"),
    [
        ({}, False, False),
        ({"HostConfig": {"NetworkMode": "host"}}, False, True),
        ({"HostConfig": {"NetworkMode": "host"}, "State": "exited"}, False, True),
        ({"HostConfig": None}, False, False),
        ({"HostConfig": None}, True, True),
        ({"HostConfig": None, "State": "exited"}, True, False),
        ({"HostConfig": {"NetworkMode": "host"}, "Id": ""}, False, False),
        ({"HostConfig": {"NetworkMode": "host"}, "Labels": {"proxy.idle_timeout": "x"}}, False, False),
    ],
)
def test_only_what_the_list_cannot_tell_is_inspected(fields: dict[str, Any], podman: bool, needed: bool) -> None:
    assert needs_inspection(container(**fields), podman=podman) is needed


def exposing(*ports: str, **fields: Any) -> Inspect:
    return Inspect(Config=InspectConfig(ExposedPorts=dict.fromkeys(ports)), **fields)


def test_on_the_hosts_network_exposed_ports_are_ports_of_the_host() -> None:
    found = container(Ports=[], HostConfig={"NetworkMode": "host"}, NetworkSettings=networks(host=""))
    filled = with_inspection(found, exposing("8096/tcp", "1900/udp", "9000-9002/tcp", "53/tcp", "53/udp"))
    assert filled.public_port_mapping == {
        53: Port(53, 53, "tcp"),
        1900: Port(1900, 1900, "udp"),
        8096: Port(8096, 8096, "tcp"),
    }
    assert filled.private_port_mapping == {}
    assert filled.ports_unknown == ""


def test_podman_tells_mode_ports_and_health_only_when_inspected() -> None:
    listed = container(HostConfig=None, Ports=[{"PrivatePort": 53, "PublicPort": 5353, "Type": "udp"}])
    answer = exposing(
        "80/tcp",
        "53/udp",
        HostConfig=HostConfig("bridge"),
        State=InspectState(Health=Health("unhealthy")),
        NetworkSettings=InspectNetworkSettings(
            Ports={"80/tcp": None, "53/udp": [PortBinding("", "5353")], "53/tcp": [PortBinding("", "5354")]}
        ),
    )
    filled = with_inspection(listed, answer)
    assert (filled.network_mode, filled.is_host_network_mode, filled.health) == ("bridge", False, "unhealthy")
    assert filled.private_port_mapping == {53: Port(53, 5354, "tcp"), 80: Port(80)}
    assert filled.public_port_mapping == {5353: Port(53, 5353, "udp"), 5354: Port(53, 5354, "tcp")}


def test_podman_may_forget_the_ports_of_the_hosts_network() -> None:
    listed = container(HostConfig=None, Ports=[], NetworkSettings={"Networks": None})
    filled = with_inspection(listed, Inspect(HostConfig=HostConfig("host")))
    assert filled.is_host_network_mode
    assert filled.ports_unknown == "the engine does not tell the ports of containers on the host's network"


def test_the_health_that_the_list_tells_stays() -> None:
    listed = container(Status="Up (healthy)", HostConfig={"NetworkMode": "host"})
    assert with_inspection(listed, Inspect(State=InspectState(Health=Health("starting")))).health == "healthy"


def test_an_empty_answer_changes_nothing() -> None:
    listed = container(HostConfig=None)
    assert with_inspection(listed, Inspect()) == listed


# ---- another's network ----------------------------------------------------------------------------------------------


def test_who_shares_a_network_is_reached_where_its_owner_is() -> None:
    owner = container("owner", Ports=[{"PrivatePort": 80, "PublicPort": 8080}])
    guest = container(
        "guest", Ports=[], NetworkSettings={"Networks": {}}, HostConfig={"NetworkMode": f"container:{ID}"}
    )
    shared = with_network_of(guest, owner)
    assert (shared.container_name, shared.network, shared.networks) == ("guest", "bridge", ("bridge",))
    assert (shared.private_hostname, shared.public_hostname) == (ADDRESS, "127.0.0.1")
    assert shared.private_port_mapping == owner.private_port_mapping
    assert shared.public_port_mapping == owner.public_port_mapping


def test_who_shares_the_hosts_network_is_on_it_too() -> None:
    owner = with_inspection(container("owner", HostConfig={"NetworkMode": "host"}, Ports=[]), exposing("8096/tcp"))
    assert with_network_of(container("guest", NetworkSettings={}), owner).is_host_network_mode


def test_a_stopped_guest_is_reached_nowhere() -> None:
    shared = with_network_of(container("guest", State="exited"), container("owner"))
    assert (shared.private_hostname, shared.public_hostname) == ("", "")


def test_a_reader_serves_many_containers() -> None:
    reader = ContainerReader(LOCAL)
    found = [reader.decode(json.dumps(summary(name)).encode()).container_name for name in ("a", "b")]
    assert found == ["a", "b"]
