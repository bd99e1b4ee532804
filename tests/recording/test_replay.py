from __future__ import annotations

import json
from typing import Any

import pytest

from pilotage import ConfigError, Route
from pilotage.recording.replay import read_recordings, replay_recording
from tests.support.summaries import ADDRESS, ID, summary

HOST: dict[str, Any] = {
    "HostConfig": {"NetworkMode": "host"},
    "NetworkSettings": {"Networks": {"host": {}}},
    "Ports": [],
}


def recording(*containers: dict[str, Any], **more: Any) -> bytes:
    usual = {"provider": {"name": "local", "url": "unix:///var/run/docker.sock"}, "containers": list(containers)}
    return json.dumps(usual | more).encode()


def routes(body: bytes, **options: Any) -> dict[str, Route]:
    (one,) = read_recordings(body)
    return {route.alias: route for built in replay_recording(one, **options).built for route in built.routes}


def problems(body: bytes) -> list[str]:
    (one,) = read_recordings(body)
    return [str(problem) for built in replay_recording(one).built for problem in built.problems]


def test_an_engine_without_a_name_is_named_after_its_url() -> None:
    body = recording(summary("a"), provider={"name": "", "url": "unix:///run/docker.sock"})
    (one,) = read_recordings(body)
    assert (
        replay_recording(one).config.name == replay_recording(one).containers[0].provider == "unix:///run/docker.sock"
    )


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_contains_one_recording_in_any_layout() -> None:
    body = recording(summary())
    assert routes(body) == routes(json.dumps(json.loads(body), indent=2).encode())


def test_a_file_contains_one_recording_per_line() -> None:
    lines = b"\n\n".join([recording(summary("a")), recording(summary("b"))])
    found = read_recordings(lines)
    assert [replay_recording(each).containers[0].container_name for each in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "truncated"),
        (b"not json", "malformed"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "missing required field `provider`"),
        (b'{"provider": {"name": "x"}}', "missing required field `containers`"),
        (b'{"provider": {"name": 5}, "containers": []}', "Expected `str`, got `int` - at `$.provider.name`"),
        (b'{"provider": {"name": "x"}, "containers": {}}', "Expected `array`"),
        (b'{"provider": {"name": "x"}, "containers": []}\n{"provider"', "truncated"),
        (b'{"provider": {"name": "\xff"}, "containers": []}', "utf-8"),
        (b'{"provider": ' + b"[" * 100_000, "recursion"),
    ],
    ids=["empty", "text", "list", "nothing", "no containers", "name", "mapping", "half a line", "utf-8", "deep"],
)
def test_an_invalid_recording_is_an_error_that_says_how_to_make_one(body: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_recordings(body, "bug.json")
    (problem,) = caught.value.problems
    assert problem.message.startswith("not a recording of an engine: ")
    assert said in problem.message
    assert (problem.file, problem.hint) == ("bug.json", "create one with 'pilotage capture'")


# ---- replaying ------------------------------------------------------------------------------------------------------


def test_a_recording_gives_the_routes_that_the_engine_would() -> None:
    found = routes(recording(summary(labels={"proxy.web.scheme": "https"})))
    assert found["web"].target == f"https://{ADDRESS}:80"


def test_the_environment_of_the_recording_decides_what_is_local() -> None:
    remote = {"name": "node", "url": "tcp://10.0.0.9:2375"}
    assert routes(recording(summary(), provider=remote))["web"].excluded
    there = recording(summary(), provider=remote, env={"DOCKER_HOST": "tcp://10.0.0.9:2375"})
    assert routes(there)["web"].host == ADDRESS


def test_the_agents_of_the_recording_are_known() -> None:
    agent = {"name": "node9", "url": "agent://10.0.0.9:8890"}
    assert routes(recording(summary(), provider=agent, agents={"10.0.0.9:8890": "node9"}))["web"].host == ADDRESS
    assert problems(recording(summary(), provider=agent))[0].startswith("node9/web: agent 'agent://10.0.0.9:8890'")


def test_the_ports_of_host_network_containers_are_the_recorded_ones() -> None:
    body = recording(summary(**HOST), inspect_exposed_ports={ID: ["8096/tcp"]})
    assert routes(body)["web"].target == "http://127.0.0.1:8096"


def test_without_recorded_ports_the_inspection_counts_as_failed() -> None:
    (problem,) = problems(recording(summary(**HOST)))
    assert "inspecting it failed (no such container in the recording)" in problem
    assert routes(recording(summary(**HOST))) == {}


def test_a_recorded_inspection_fills_in_what_the_list_left_out() -> None:
    listed = summary(HostConfig=None, Ports=[])
    inspect = {ID: {"Config": {"ExposedPorts": {"9000/tcp": {}}}, "HostConfig": {"NetworkMode": "bridge"}}}
    assert routes(recording(listed, inspect=inspect))["web"].port.proxy == 9000


def test_an_unreadable_container_affects_only_itself() -> None:
    body = recording({"Id": 5, "Names": ["/odd"]}, summary())
    assert list(routes(body)) == ["web"]
    assert problems(body)[0].startswith("local/odd: the engine's list entry for a container cannot be read: ")


def test_reserved_ports_can_be_given() -> None:
    published = [{"PrivatePort": 80, "PublicPort": 81, "Type": "tcp", "IP": "0.0.0.0"}]
    body = recording(summary(labels={"proxy.web.host": "localhost", "proxy.web.port": "81"}, Ports=published))
    assert not routes(body)["web"].excluded
    assert routes(body, reserved_ports=frozenset({81}))["web"].excluded_reason == "Error"
