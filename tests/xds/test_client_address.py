"""The script for addresses. Through a real Envoy, with IPv4 and IPv6: test_rule_routes."""

from __future__ import annotations

from envoy.extensions.filters.http.lua.v3 import lua_pb2

from pilotage.xds.backend import route_backend
from pilotage.xds.client_address import ADDRESS_SCRIPT, NEEDS_ADDRESS, WILDCARD, address_settings
from pilotage.xds.rule_tests import ADDRESS_HEADER
from tests.support.gateway import route


def test_the_settings_of_a_route_contain_the_script() -> None:
    settings = lua_pb2.LuaPerRoute()
    backend = route_backend(route("app", 80, rules="remote ::1 { pass }\ndefault { error 403 x }"))
    assert address_settings(backend)[WILDCARD].Unpack(settings)
    assert settings.source_code.inline_string.startswith(ADDRESS_SCRIPT)
    assert f'replace("{ADDRESS_HEADER}"' in ADDRESS_SCRIPT
    assert NEEDS_ADDRESS not in ("asks", "spared")


def test_other_routes_and_wildcards_have_no_settings() -> None:
    rules = "remote ::1 { pass }\ndefault { error 403 x }"
    assert address_settings(route_backend(route("app", 80))) == {}
    assert address_settings(route_backend(route("*.example.com", 80, rules=rules))) == {}
