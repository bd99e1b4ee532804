"""No spelling of a path leads out of a prefix, or past an auth service that was asked about another one."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from tests.support.front_door import front_door, raw_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FrontDoor, RawTarget, RawTarget]]:
    with raw_target("app") as app, raw_target("auth") as auth:
        asks: dict[str, Any] = {"forwardauth": {"route": "auth", "auth_endpoint": "/check"}}
        adds: dict[str, Any] = {"request": {"add_prefix": "/base"}}
        place = {"host": "127.0.0.1", "port": app.port}
        routes = {
            "app": place,
            "auth": {"host": "127.0.0.1", "port": auth.port},
            "guarded": {**place, "middlewares": asks},
            "under": {**place, "middlewares": adds},
            "both": {**place, "middlewares": {**asks, **adds}},
            "moved": {**place, "middlewares": {"redirect_http": None}},
        }
        with front_door(tmp_path_factory.mktemp("paths"), routes) as door:
            yield door, app, auth


_DOTS = ["..", ".%2e", "%2e.", "%2E%2e"]
_ENDS = ["/", "%2f", "%2F", "\\", "%5c", ";/", ";x/", "%3b/", "//"]
_CLIMBING = [
    *(f"/{dots}{end}admin" for dots in _DOTS for end in _ENDS),
    *(f"/a{end}{dots}{end}{dots}{end}admin" for dots in _DOTS[:2] for end in _ENDS),
    *("/..", "/%2e%2e", "/a/../..", "/./../admin", "/a/b/../../../admin", "/..%2f..%2f..%2fadmin", "/%2f..", "/x%2f.."),
]


@pytest.mark.parametrize("path", _CLIMBING)
def test_no_path_climbs_out_of_a_prefix(served: tuple[FrontDoor, RawTarget, RawTarget], path: str) -> None:
    door, app, auth = served
    for host in ("under", "both"):
        before, asked = len(app.seen), len(auth.seen)
        answer = door.get(host, path)
        assert answer.status in {200, 400}
        for request in app.seen[before:]:
            # What the most forgiving of targets makes of it: decoded, backslashes as slashes, no path parameters.
            read = "/".join(part.partition(";")[0] for part in unquote(request.path).replace("\\", "/").split("/"))
            assert f"{posixpath.normpath(read)}/".startswith("/base/")
            assert request.path.startswith("/base/")
        if host == "both":
            uris = [request.headers["x-forwarded-uri"] for request in auth.seen[asked:]]
            assert [f"/base{uri}" for uri in uris] == [request.path for request in app.seen[before:]]


@pytest.mark.parametrize(
    ("path", "served_path"),
    [
        ("/a%2fb", "/a%2fb"),
        ("/@scope%2Fname", "/@scope%2Fname"),
        ("/a//b", "/a//b"),
        ("//a", "//a"),
        ("/a/./b", "/a/b"),
        ("/a/../b?next=/../c", "/b?next=/../c"),
        ("/a..b/...", "/a..b/..."),
        ("/x;v=1/y", "/x;v=1/y"),
        ("/%41%7E", "/A~"),
        ("/caf%C3%A9%20x", "/caf%C3%A9%20x"),
        ("/?q=%2e%2e%2f&p=..%2f", "/?q=%2e%2e%2f&p=..%2f"),
        ("/100%25", "/100%25"),
        ("/a?b=http://x/../y", "/a?b=http://x/../y"),
    ],
)
def test_other_paths_stay_as_they_are_and_the_auth_service_is_asked_about_the_same(
    served: tuple[FrontDoor, RawTarget, RawTarget], path: str, served_path: str
) -> None:
    door, app, auth = served
    for host in ("app", "guarded"):
        assert door.get(host, path).status == 200
        assert app.last().path == served_path
    assert auth.last().headers["x-forwarded-uri"] == served_path
    assert auth.last().path == "/check"


@pytest.mark.parametrize(
    "path", ["/x?allowed_groups=all", "/x&allowed_groups=all", "/?path=/public", "/x#allowed_groups"]
)
def test_no_client_adds_a_parameter_to_the_request_for_approval(
    served: tuple[FrontDoor, RawTarget, RawTarget], path: str
) -> None:
    door, _, auth = served
    before = len(auth.seen)
    assert door.get("guarded", path).status in {200, 400}
    assert {request.path for request in auth.seen[before:]} <= {"/check"}


@pytest.mark.parametrize("path", ["/a%00b", "/a#b", "a", "/a b", "/\xff"])
def test_malformed_paths_are_refused(served: tuple[FrontDoor, RawTarget, RawTarget], path: str) -> None:
    assert served[0].get("app", path).status == 400


def test_a_redirect_names_the_normalised_path(served: tuple[FrontDoor, RawTarget, RawTarget]) -> None:
    answer = served[0].get("moved", "/a/../%2e%2e/admin?x=..")
    assert answer.status == 308
    assert answer.headers["location"].endswith("/admin?x=..")
    assert answer.headers["location"].startswith("https://moved")
