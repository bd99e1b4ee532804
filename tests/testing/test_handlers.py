"""The fake engine's answers, against recorded ones where there are some."""

from __future__ import annotations

import json
import re
import urllib.parse
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.testing import FakeEngine, container
from pilotage.testing.dialect import Answer
from pilotage.testing.handlers import Subscription, endpoint_of, reply, route
from pilotage.testing.server import Request
from tests.support import captures
from tests.support.daemon import speak

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.engines import Engine


def request(method: str, path: str, **query: str) -> Request:
    return Request(method, f"{path}?{query}" if query else path, path, query, {})


def ask(engine: FakeEngine, method: str, path: str, **query: Any) -> Answer:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
    asked = request(method, path, **texts)
    answer = reply(engine, asked, route(asked))
    assert isinstance(answer, Answer)
    return answer


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [entry["Names"][0] for entry in json.loads(answer.body)]


@pytest.mark.parametrize(
    ("method", "path", "query", "endpoint"),
    [
        ("GET", "/_ping", {}, "ping"),
        ("HEAD", "/v1.41/_ping", {}, "ping"),
        ("GET", "/version", {}, "version"),
        ("GET", "/v1.41/events", {}, "events"),
        ("GET", "/containers/json", {"all": "1"}, "list"),
        ("GET", "/v1.41/containers/json", {"filters": '{"id":["x"]}'}, "list:id"),
        ("GET", "/v1.41/containers/json", {"filters": '{"status":["x"]}'}, "list"),
        ("GET", "/containers/web/json", {}, "inspect"),
        ("POST", "/containers/web/stop", {}, "stop"),
        ("GET", "/containers/web/stop", {}, "other"),
        ("POST", "/containers/web/json", {}, "other"),
        ("PUT", "/containers/json", {}, "other"),
        ("GET", "/vX/containers/json", {}, "other"),
        ("GET", "/info", {}, "other"),
        ("GET", "/containers/web/logs", {}, "other"),
    ],
)
def test_requests_are_counted_under_their_endpoint(
    method: str, path: str, query: dict[str, str], endpoint: str
) -> None:
    assert endpoint_of(request(method, path, **query)) == endpoint


@pytest.mark.parametrize("engine", captures.ENGINES)
@pytest.mark.parametrize(
    ("recorded", "path", "query"),
    [
        ("err-api-garbage", "/vX/containers/json", {}),
        ("err-bad-filter", "/containers/json", {"filters": '{"nosuch":["x"]}'}),
        ("err-no-such-container", "/containers/nope/json", {}),
        ("err-no-such-route", "/nosuchroute", {}),
    ],
)
def test_errors_have_the_messages_of_the_real_engine(
    engine: str, recorded: str, path: str, query: dict[str, str]
) -> None:
    real = captures.load(engine, "answers")[recorded]
    fake = ask(FakeEngine(**captures.ENGINES[engine]), "GET", path, **query)
    assert (fake.status, fake.body.decode()) == (real["status"], real["body"])


@pytest.mark.parametrize("engine", captures.ENGINES)
def test_invalid_filters_get_the_real_engines_message(engine: str) -> None:
    real = captures.load(engine, "answers")["err-filter-not-json"]
    asked = Request("GET", "/containers/json?filters=xx", "/containers/json", {"filters": "xx"}, {})
    fake = reply(FakeEngine(**captures.ENGINES[engine]), asked, route(asked))
    assert isinstance(fake, Answer)
    assert (fake.status, fake.body.decode()) == (real["status"], real["body"])


@pytest.fixture
def zoo() -> FakeEngine:
    return FakeEngine(
        [
            container("old", state="exited", labels={"tier": "back"}),
            container("web", labels={"tier": "front", "x": ""}, health="healthy", networks=["front"]),
            container("worker", state="paused", health="starting"),
            container("new", state="created"),
        ]
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, ["/worker", "/web"]),
        ({"all": "1"}, ["/new", "/worker", "/web", "/old"]),
        ({"all": "true", "limit": "2"}, ["/new", "/worker"]),
        ({"limit": "1"}, ["/new"]),
        ({"all": "0"}, ["/worker", "/web"]),
        ({"filters": {"status": ["exited", "created"]}}, ["/new", "/old"]),
        ({"filters": {"health": ["healthy"]}}, ["/web"]),
        ({"all": "1", "filters": {"health": ["none"]}}, ["/new", "/old"]),
        ({"all": "1", "filters": {"label": ["tier"]}}, ["/web", "/old"]),
        ({"all": "1", "filters": {"label": ["tier=front", "x="]}}, ["/web"]),
        ({"all": "1", "filters": {"label": {"tier=back": True}}}, ["/old"]),
        ({"all": "1", "filters": {"name": ["^w"]}}, ["/worker", "/web"]),
        ({"all": "1", "filters": {"name": ["/old"]}}, ["/old"]),
        ({"all": "1", "filters": {"network": ["front"]}}, ["/web"]),
        ({"all": "1", "filters": {"id": ["nope"]}}, []),
    ],
)
def test_lists_are_filtered(zoo: FakeEngine, query: dict[str, Any], found: list[str]) -> None:
    assert names(ask(zoo, "GET", "/containers/json", **query)) == found


def test_a_list_by_id_accepts_ids_and_prefixes(zoo: FakeEngine) -> None:
    it = zoo.find("web")
    assert it is not None
    for wanted in (it.id, it.id[:12]):
        assert names(ask(zoo, "GET", "/containers/json", all="1", filters={"id": [wanted]})) == ["/web"]


def test_a_list_by_id_without_all_omits_stopped_containers(zoo: FakeEngine) -> None:
    it = zoo.find("old")
    assert it is not None
    assert names(ask(zoo, "GET", "/containers/json", filters={"id": [it.id]})) == []


@pytest.mark.parametrize(("asked", "health"), [("/v1.52", True), ("", True), ("/v1.51", False)])
def test_the_list_includes_health_from_api_1_52_on(asked: str, health: bool) -> None:
    engine = FakeEngine([container("web", health="healthy")], api="1.52")
    (entry,) = json.loads(ask(engine, "GET", f"{asked}/containers/json").body)
    assert ("Health" in entry) is health


@pytest.mark.parametrize(("asked", "old"), [("/v1.52", False), ("", False), ("/v1.51", True)])
def test_old_event_fields_are_sent_before_api_1_52(asked: str, old: bool) -> None:
    engine = FakeEngine(api="1.52")
    wish = request("GET", f"{asked}/events", since="1.5", until="2", filters='{"type":["container"]}')
    assert reply(engine, wish, route(wish)) == Subscription(
        {"type": frozenset(["container"])}, 1_500_000_000, 2_000_000_000, old
    )


def test_docker_rejects_unsupported_versions_and_podman_accepts_them() -> None:
    assert ask(FakeEngine(api="1.51", min_api="1.44"), "GET", "/v1.43/version").status == 400
    assert ask(FakeEngine(api="1.51"), "GET", "/v1.52/version").status == 400
    assert ask(FakeEngine(api="1.51"), "GET", "/v1.51/version").status == 200
    assert ask(FakeEngine(flavour="podman"), "GET", "/v9.99/version").status == 200


def test_inspect_returns_one_container(zoo: FakeEngine) -> None:
    assert json.loads(ask(zoo, "GET", "/containers/web/json").body)["Name"] == "/web"


# Each request with what the state makes of it, in order; the same go to real engines below.
ACTS: list[tuple[str, dict[str, str]]] = [
    ("nope/stop", {}),
    ("life/start", {}),
    ("life/unpause", {}),
    ("life/pause", {}),
    ("life/pause", {}),
    ("life/unpause", {}),
    ("life/stop", {}),
    ("life/stop", {}),
    ("life/kill", {}),
    ("life/pause", {}),
    ("life/start", {}),
    ("life/kill", {"signal": "NOPE"}),
    ("life/kill", {"signal": "SIGKILL"}),
    ("life/restart", {}),
]
LISTS: list[dict[str, str]] = [
    {"filters": '{"status":["nope"]}'},
    {"filters": '{"nosuch":["x"]}'},
    {"filters": '{"id":["nope"]}'},
    {"limit": "1"},
]


def by_fake(engine: FakeEngine) -> list[tuple[int, Any]]:
    engine.add("life")
    answers = [ask(engine, "POST", f"/containers/{act}", **query) for act, query in ACTS]
    answers += [ask(engine, "GET", "/containers/json", **query) for query in LISTS]
    return [neutral(answer.status, answer.body) for answer in answers]


def by_real(engine: Engine) -> list[tuple[int, Any]]:
    found = []
    for act, query in ACTS:
        status, body = speak(engine.socket, "POST", f"/containers/{act}?{urllib.parse.urlencode(query)}")
        found.append(neutral(status, body))
    for query in LISTS:
        status, body = speak(engine.socket, "GET", f"/containers/json?{urllib.parse.urlencode(query)}")
        found.append(neutral(status, body))
    return found


def neutral(status: int, body: bytes) -> tuple[int, Any]:
    """A status and what the body says; ids taken out, and of lists the names."""
    said = json.loads(re.sub(rb"[0-9a-f]{64}", b"ID", body)) if body.strip() else ""
    return status, [entry["Names"] for entry in said] if isinstance(said, list) else said


@pytest.mark.parametrize("generation", ["system", "26.1"])
def test_a_real_docker_answers_the_same(engine_factory: Callable[[str], Engine], generation: str) -> None:
    with engine_factory(generation).scope() as engine:
        version = json.loads(engine.docker("version", "--format", "{{json .Server}}"))
        engine.run("life")
        real = by_real(engine)
    assert real == by_fake(FakeEngine(api=version["ApiVersion"], version=version["Version"].partition("+")[0]))


def test_a_real_podman_answers_the_same(podman_engine: Engine) -> None:
    version = json.loads(podman_engine.docker("version", "--format", "{{json .Server}}"))["Version"]
    podman_engine.run("life")
    assert by_real(podman_engine) == by_fake(FakeEngine(flavour="podman", version=version))
