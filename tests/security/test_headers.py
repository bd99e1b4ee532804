"""What a client writes into headers never passes for the word of a proxy or of an auth service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pilotage.xds.request_checks import FORGEABLE
from tests.support.front_door import front_door, raw_target, read_response
from tests.support.http2 import Http2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]

_FORGED = [name + "user" if name.endswith("-") else name for name in FORGEABLE]
_ENVOYS = ["x-envoy-attempt-count", "x-envoy-original-path", "x-envoy-retry-on", "x-envoy-upstream-rq-timeout-ms"]


class Place:
    """A daemon with the routes ``app`` and ``guarded``, which asks ``auth``. It trusts 127.0.0.9."""

    def __init__(self, door: FrontDoor, app: RawTarget, auth: RawTarget) -> None:
        self.door, self.app, self.auth = door, app, auth

    def seen(self, host: str, headers: dict[str, str], *, source: str = "127.0.0.1") -> dict[str, str]:
        """Send a request; return the headers that the target received."""
        lines = ["GET / HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
        before = len(self.app.seen)
        answer = self.door.say("\n".join([*lines, "Connection: close", "", ""]), source=source)
        assert answer.status == 200
        (request,) = self.app.seen[before:]
        assert len(request.headers) == len(request.lines), "a header came twice"
        return request.headers


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with raw_target("app") as app, raw_target("auth") as auth:
        auth.answers["/check"] = b"HTTP/1.1 200 OK\r\nRemote-User: ann\r\nX-Other: told\r\n"
        asks: dict[str, Any] = {"forwardauth": {"route": "auth", "auth_endpoint": "/check", "headers": _RETURNED}}
        routes = {
            "app": {"host": "127.0.0.1", "port": app.port},
            "auth": {"host": "127.0.0.1", "port": auth.port},
            "guarded": {"host": "127.0.0.1", "port": app.port, "middlewares": asks},
        }
        folder = tmp_path_factory.mktemp("headers")
        with front_door(folder, routes, {"trusted_proxies": ["127.0.0.9"]}) as door:
            yield Place(door, app, auth)


_RETURNED = ["Remote-User", "Remote-Groups", "X-Tenant"]


@pytest.mark.parametrize("name", ["Remote_User", "remote_groups", "X_Tenant", "X_Forwarded_For", "X-Forwarded_Prefix"])
def test_headers_with_underscores_are_dropped(place: Place, name: str) -> None:
    for host in ("app", "guarded"):
        seen = place.seen(host, {name: "admin", "X-Good": "1"})
        assert "admin" not in seen.values()
        assert seen["x-good"] == "1"


def test_headers_with_underscores_are_dropped_from_trusted_proxies_too(place: Place) -> None:
    assert "admin" not in place.seen("app", {"Remote_User": "admin"}, source="127.0.0.9").values()


def test_headers_with_underscores_are_dropped_from_http2_too(place: Place) -> None:
    with place.door.connect() as connection:
        client = Http2(connection)
        client.request(1, "app", ("remote_user", "admin"), ("remote-user", "admin"), ("x-good", "1"))
        assert client.statuses(1) == {1: "200"}
    assert "admin" not in place.app.last().headers.values()
    assert place.app.last().headers["x-good"] == "1"


def test_headers_that_only_a_proxy_may_set_are_removed_from_others(place: Place) -> None:
    seen = place.seen("app", dict.fromkeys([*_FORGED, *_ENVOYS, "Proxy"], "forged"))
    assert "forged" not in seen.values(), seen
    assert {name for name in seen if name.startswith("x-")} == {"x-forwarded-for", "x-forwarded-proto"}


@pytest.mark.parametrize("between", ["\r", "\r ", "\n ", "\r\n ", "\n\r", "\x0b", "\x85", "\0", "\r\r"], ids=repr)
def test_no_character_within_a_value_makes_a_header_of_the_rest(place: Place, between: str) -> None:
    before = len(place.app.seen)
    with place.door.connect() as connection:
        said = f"GET / HTTP/1.1\r\nHost: app\r\nX: a{between}Remote-User: admin\r\nConnection: close\r\n\r\n"
        connection.sendall(said.encode("latin-1"))
        assert read_response(connection).split(b" ")[1] in {b"200", b"400"}
    for request in place.app.seen[before:]:
        assert "remote-user" not in request.headers
        assert "\r" not in request.headers.get("x", "")


def test_a_header_removed_once_is_removed_however_often_and_in_whatever_case(place: Place) -> None:
    text = "GET / HTTP/1.1\nHost: app\nX-REAL-IP: a\nx-real-ip: b\nX-Real-Ip: c\nConnection: close\n\n"
    assert place.door.say(text).status == 200
    assert "x-real-ip" not in place.app.last().headers


def test_a_trusted_proxy_keeps_its_word_except_what_is_envoys(place: Place) -> None:
    kept = [name for name in _FORGED if name not in {"x-forwarded-user", "forwarded"}]
    seen = place.seen("app", dict.fromkeys([*kept, *_ENVOYS, "Proxy"], "said"), source="127.0.0.9")
    assert [name for name in kept if seen.get(name) != "said"] == []
    assert [name for name in [*_ENVOYS, "proxy"] if name in seen] == []


def test_only_the_auth_service_sets_the_headers_that_it_returns(place: Place) -> None:
    forged = dict.fromkeys(_RETURNED, "forged")
    for source in ("127.0.0.1", "127.0.0.9"):
        seen = place.seen("guarded", forged, source=source)
        assert seen["remote-user"] == "ann"
        assert "forged" not in seen.values()
        assert "x-other" not in seen


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9"])
def test_an_auth_service_is_asked_about_the_request_and_not_about_what_the_client_says_of_it(
    place: Place, source: str
) -> None:
    said = ["X-Original-URL", "X-Original-URI", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Method"]
    place.seen("guarded", {**dict.fromkeys(said, "/public"), "X-Forwarded-Host": "app"}, source=source)
    asked = place.auth.last().headers
    assert "/public" not in asked.values()
    assert (asked["x-forwarded-uri"], asked["x-forwarded-method"], asked["x-forwarded-host"]) == ("/", "GET", "guarded")


@pytest.mark.parametrize("name", ["Remote-User", "X-Forwarded-For", "Host", "X-Forwarded-Proto"])
def test_a_client_cannot_have_headers_of_the_gateway_removed_as_hop_by_hop(place: Place, name: str) -> None:
    text = f"GET / HTTP/1.1\nHost: guarded\nConnection: close, {name}\n\n"
    before = len(place.app.seen)
    answer = place.door.say(text)
    assert answer.status in {200, 400}
    for request in place.app.seen[before:]:
        assert request.headers["remote-user"] == "ann"
        assert {"x-forwarded-for", "x-forwarded-proto", "host"} <= request.headers.keys()
