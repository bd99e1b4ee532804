from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from pilotage.api.access import client_of, is_from_socket, refusal
from pilotage.api.gateway_entry import GatewayEntry

TOKEN = b"a secret of some length"
LOOPBACK = ("127.0.0.1", 8888)
BEARER = {"Authorization": f"Bearer {TOKEN.decode()}"}


class Transport:
    def __init__(self, name: Any) -> None:
        self.name = name

    def get_extra_info(self, what: str, default: Any = None) -> Any:
        return self.name if what == "sockname" else default


def asked(
    method: str = "GET",
    path: str = "/v1/routes",
    *,
    name: Any = LOOPBACK,
    host: str = "127.0.0.1:8888",
    token: bytes = b"",
    **headers: str,
) -> int:
    """Return the status of the refusal; 0 if the request is answered."""
    sent = {"Host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
    request = make_mocked_request(method, path, sent, transport=Transport(name))
    found = refusal(request, frozenset({"nas.lan"}), token)
    return 0 if found is None else found.status


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:1", "[::1]:8888", "[::1]", "localhost", "LOCALHOST:1", "nas.lan:80"]
)
def test_addresses_and_own_names_are_answered(host: str) -> None:
    assert asked(host=host) == 0


@pytest.mark.parametrize(
    "host", ["shop.localhost", "shop.localhost:8888", "evil.example.com", "localhost.evil", "", "[x]"]
)
def test_other_names_are_refused_because_a_web_page_may_have_them(host: str) -> None:
    assert asked(host=host) == 403
    assert asked(host=host, path="/healthz") == 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "ANYTHING"])
def test_writing_needs_the_unix_socket_or_the_token(method: str) -> None:
    assert asked(method) == 403
    assert asked(method, token=TOKEN) == 403
    assert asked(method, path="/healthz") == 403
    assert asked(method, name="/run/api.sock", host="anything") == 0
    assert asked(method, token=TOKEN, **BEARER) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://shop.localhost:8080"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_pages_of_other_sites_change_nothing_even_with_the_token(headers: dict[str, Any]) -> None:
    assert asked("POST", token=TOKEN, **BEARER, **headers) == 403
    assert asked("POST", name="/run/api.sock", **headers) == 403
    assert asked("GET", **headers) == 0


def test_the_apis_own_pages_may_change_something() -> None:
    own = {"Origin": "http://127.0.0.1:8888", "Sec_Fetch_Site": "same-origin"}
    assert asked("POST", token=TOKEN, **BEARER, **own) == 0


def test_other_machines_need_the_token() -> None:
    place = ("192.0.2.1", 8888)
    assert asked(name=place, token=TOKEN) == 401
    assert asked(name=place, token=TOKEN, Authorization="Bearer x") == 401
    assert asked(name=place, token=TOKEN, host="any.name", **BEARER) == 0
    assert asked(name=place) == 403
    assert asked(name=None) == 403


def test_an_empty_token_never_matches() -> None:
    assert asked(name=("192.0.2.1", 1), Authorization="Bearer ") == 403


def test_unix_sockets_are_known_by_their_path() -> None:
    assert is_from_socket(make_mocked_request("GET", "/", transport=Transport("/run/x")))
    assert not is_from_socket(make_mocked_request("GET", "/", transport=Transport(LOOPBACK)))


def test_the_gateway_says_where_a_client_is() -> None:
    entry = GatewayEntry()
    entry.port = 4000
    transport = Mock()
    transport.get_extra_info = {"sockname": ("127.0.0.1", 4000), "peername": ("127.0.0.1", 5000)}.get
    headers = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1"}  # the gateway appends the address that it sees
    request = make_mocked_request("GET", "/", headers, transport=transport)
    assert client_of(request, entry) == "192.0.2.1"
    entry.port = 4001
    assert client_of(request, entry) == "127.0.0.1"
