"""A request has one host, and the gateway and the target read the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.front_door import front_door, raw_target
from tests.support.http2 import END_HEADERS, HEADERS, Http2, fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.front_door import FrontDoor, RawTarget

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FrontDoor, RawTarget]]:
    with raw_target("shop") as shop:
        with front_door(tmp_path_factory.mktemp("hosts"), {"shop": {"host": "127.0.0.1", "port": shop.port}}) as door:
            yield door, shop


_BAD = [
    *(["shop", "evil"], ["evil", "shop"], ["shop", "shop"], ["shop.x", "SHOP.x"]),
    *(
        ["shop@evil"],
        ["shop.x@evil"],
        ["user:pass@shop"],
        ["@shop"],
        ["shop.x evil"],
        ["shop.x,evil"],
        ["shop.x, evil"],
    ),
    *(["shop.x:99999"], ["shop.x:65536"], ["shop.x:abc"], ["shop.x:-1"], ["shop.x:80:80"], ["shop.x:+80"], [":80"]),
    *(["shop.x/evil"], ["shop.x?evil"], ["shop.x#evil"], ["shop.x\\evil"], ["shop.x%2eevil"], ["shop.x;evil"]),
    *(["shop.x..y"], [".shop"], ["shop.\xe9"], ["http://shop"], ["[::1"], ["[shop]"], ["shop.x]"], [""], ["*"]),
]


@pytest.mark.parametrize("hosts", _BAD, ids=str)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_ambiguous_host_is_refused(served: tuple[FrontDoor, RawTarget], hosts: list[str], version: str) -> None:
    door, shop = served
    before = len(shop.seen)
    lines = [f"GET / HTTP/{version}", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
    assert door.say("\n".join(lines)).status == 400
    assert shop.seen[before:] == []


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_request_without_a_host_is_refused(served: tuple[FrontDoor, RawTarget], version: str) -> None:
    assert served[0].say(f"GET / HTTP/{version}\nConnection: close\n\n").status == 400


@pytest.mark.parametrize(
    "host",
    [
        "shop",
        "SHOP",
        "shop.example.com",
        "Shop.Example.com:8080",
        "shop.",
        "shop:",
        "shop.a_b-c.x:65535",
    ],
)
def test_every_valid_spelling_is_served_and_reaches_the_target_as_it_is(
    served: tuple[FrontDoor, RawTarget], host: str
) -> None:
    door, shop = served
    assert door.get(host).status == 200
    assert shop.last().headers["host"] == host


@pytest.mark.parametrize("host", ["[::1]", "[fe80::1]:80", "127.0.0.1:8080", "nowhere"])
def test_a_valid_host_without_a_route_is_not_found(served: tuple[FrontDoor, RawTarget], host: str) -> None:
    assert served[0].get(host).status == 404


def test_an_absolute_url_decides_about_the_host_and_the_target_gets_no_other(
    served: tuple[FrontDoor, RawTarget],
) -> None:
    """RFC 9112, 3.2.2: the Host header is ignored, not forwarded."""
    door, shop = served
    assert door.say("GET http://shop.x/p HTTP/1.1\nHost: evil\nConnection: close\n\n").status == 200
    assert (shop.last().path, shop.last().headers["host"]) == ("/p", "shop.x")
    before = len(shop.seen)
    assert door.say("GET http://evil/p HTTP/1.1\nHost: shop\nConnection: close\n\n").status == 404
    assert door.say("GET http://shop.x@evil/p HTTP/1.1\nHost: shop\nConnection: close\n\n").status in {400, 404}
    assert shop.seen[before:] == []


@pytest.mark.parametrize(
    "hosts", [["evil"], ["shop", "evil"], ["evil", "shop"], ["shop@evil"], ["shop,evil"], []], ids=str
)
def test_the_target_gets_only_the_host_of_an_absolute_url_whatever_the_host_headers_say(
    served: tuple[FrontDoor, RawTarget], hosts: list[str]
) -> None:
    """Envoy drops the headers before anything can check them, so that several are not refused (RFC 9112, 3.2)."""
    door, shop = served
    before = len(shop.seen)
    lines = [f"Host: {host}" for host in hosts] + ["Connection: close", "", ""]
    assert door.say("\n".join(["GET http://shop.x/p HTTP/1.1", *lines])).status == 200
    assert door.say("\n".join(["GET http://evil/p HTTP/1.1", *lines])).status == 404
    assert door.say("\n".join(["GET http://shop@evil/p HTTP/1.1", *lines])).status in {400, 404}
    assert [value for request in shop.seen[before:] for name, value in request.lines if name == "host"] == ["shop.x"]


@pytest.mark.parametrize(
    "pairs", [[("host", "shop"), ("host", "evil")], [(":authority", "evil"), (":authority", "shop")]]
)
def test_two_hosts_of_http2_of_one_kind_are_refused(
    served: tuple[FrontDoor, RawTarget], pairs: list[tuple[str, str]]
) -> None:
    door, shop = served
    before = len(shop.seen)
    with door.connect() as connection:
        client = Http2(connection)
        pseudo = [it for it in pairs if it[0].startswith(":")]
        others = [it for it in pairs if it not in pseudo]
        block = fields([(":method", "GET"), (":scheme", "http"), (":path", "/"), *pseudo, *others])
        client.send(HEADERS, END_HEADERS | 1, 1, block)
        assert client.statuses(1)[1] in {"400", "reset", "goaway", "closed"}
    assert shop.seen[before:] == []


@pytest.mark.parametrize("host", ["shop.x@evil", "shop.x,evil", "shop.x:99999", "shop.x evil", ""])
def test_an_ambiguous_authority_of_http2_is_refused(served: tuple[FrontDoor, RawTarget], host: str) -> None:
    door, shop = served
    before = len(shop.seen)
    with door.connect() as connection:
        client = Http2(connection)
        client.request(1, host)
        assert client.statuses(1)[1] in {"400", "reset", "goaway", "closed"}
    assert shop.seen[before:] == []


def test_a_target_gets_one_host_if_http2_has_two(served: tuple[FrontDoor, RawTarget]) -> None:
    door, shop = served
    before = len(shop.seen)
    with door.connect() as connection:
        client = Http2(connection)
        client.request(1, "shop", ("host", "evil"))
        client.request(3, "evil", ("host", "shop"))
        found = client.statuses(1, 3)
    assert found[3] != "200"
    assert [value for request in shop.seen[before:] for name, value in request.lines if name == "host"] == ["shop"]
