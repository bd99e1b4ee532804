from __future__ import annotations

from unittest.mock import Mock

from aiohttp.test_utils import make_mocked_request

from pilotage.api.gateway_entry import ENTRY_HEADER, GatewayEntry


def test_a_request_is_recognized_by_its_port_and_must_have_the_secret() -> None:
    entry = GatewayEntry()
    transport = Mock()
    transport.get_extra_info = {"sockname": ("127.0.0.1", 4000)}.get
    request = make_mocked_request("GET", "/", {ENTRY_HEADER: entry.secret}, transport=transport)
    assert not entry.received(request)
    entry.port = 4000
    assert entry.received(request)
    assert entry.is_genuine(request)
    assert not entry.is_genuine(make_mocked_request("GET", "/", {ENTRY_HEADER: "ü"}, transport=transport))
    assert not entry.is_genuine(make_mocked_request("GET", "/", transport=transport))


def test_each_entry_has_another_secret() -> None:
    assert GatewayEntry().secret != GatewayEntry().secret
