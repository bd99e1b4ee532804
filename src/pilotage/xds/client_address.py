"""Passes the client's address and HTTP version to Envoy's routes, for rules that test them. Pure.

Envoy's routes can test only headers. A script therefore writes the address and the version into two headers, and Envoy
looks up the route again. A regex can compare the written address with a network. The script runs only for routes that
need it. Clients cannot set these headers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2

from pilotage.xds.real_ip import REAL_IP_SCRIPT
from pilotage.xds.resources import packed
from pilotage.xds.rule_tests import ADDRESS_HEADER, PROTOCOL_HEADER

if TYPE_CHECKING:
    from pilotage.xds.backend import Backend

__all__ = ["ADDRESS_SCRIPT", "AUTH", "FOUND_AS", "NEEDS_ADDRESS", "WILDCARD", "address_settings"]

AUTH: Final = "pilotage.auth"
"""Name of the filter for forwardauth and rules, and of the metadata about a request."""

FOUND_AS: Final = "found_as"
"""Key of a request's metadata: the host for which a script found its route."""

WILDCARD: Final = "pilotage.wildcard"
"""Name of the filter that looks up wildcards, and also sets the header with the address."""

NEEDS_ADDRESS: Final = "address"
"""Key of a route's metadata: whether the script for wildcards sets the header with the address."""

ADDRESS_SCRIPT: Final = (
    """
function hexadecimal(text)
  local a, b, c, d = text:match("(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then
    local head = text:match("^(.*:)%d+%.")
    if not head or head:lower() == "::ffff:" then
      return string.format("4:%02x%02x%02x%02x", a, b, c, d)
    end
    text = string.format("%s%x:%x", head, a * 256 + b, c * 256 + d)
  end
  local left, right = text:match("^(.-)::(.*)$")
  local function groups(part)
    local found = {}
    for group in (part or ""):gmatch("%x+") do
      found[#found + 1] = string.format("%04x", tonumber(group, 16))
    end
    return found
  end
  local first, last = groups(left or text), groups(right)
  local zeros = string.rep("0000", 8 - #first - #last)
  local found = table.concat(first) .. zeros .. table.concat(last)
  if found:sub(1, 24) == "00000000000000000000ffff" then return "4:" .. found:sub(25) end
  return "6:" .. found
end

function client_digits(handle)
  local address = handle:streamInfo():downstreamRemoteAddress()
  return hexadecimal(address:match("^%[([^%]%%]+)") or address:match("^(.*):%d+$") or address)
end

function set_address(handle, digits)
  handle:headers():replace("HEADER", digits or client_digits(handle))
  handle:headers():replace("PROTOCOL", handle:streamInfo():protocol())
end

function keep_address(handle)
  if not handle:metadata():get("NEEDS") then
    handle:headers():remove("HEADER")
    handle:headers():remove("PROTOCOL")
  end
end
""".replace("HEADER", ADDRESS_HEADER)
    .replace("PROTOCOL", PROTOCOL_HEADER)
    .replace("NEEDS", NEEDS_ADDRESS)
)


# During the lookup, the host is the one for which the route was found. In any other spelling, it may lead to another
# backend, whose protective filters are not in the chain: "app.example.com." may belong to "app".
_LOOK_UP_AGAIN: Final = """
function look_up_again(handle, digits)
  local host = handle:headers():get(":authority")
  if not host then return end
  local found = handle:streamInfo():dynamicMetadata():get("AUTH")
  set_address(handle, digits)
  handle:headers():replace(":authority", found and found["FOUND_AS"] or host)
  handle:clearRouteCache()
  handle:metadata()
  handle:headers():replace(":authority", host)
end
""".replace("AUTH", AUTH).replace("FOUND_AS", FOUND_AS)
_SET_ADDRESS: Final = """
function envoy_on_request(handle)
  look_up_again(handle, client_digits(handle))
end
"""


def address_settings(backend: Backend) -> dict[str, Any]:
    """Return the per-route configuration that makes the wildcard filter tell a backend's routes the client's address.

    For a wildcard alias, this is done by the script that finds the route.
    """
    policy = backend.route_policy
    if backend.name.startswith("*"):
        return {}
    needed = backend.rules.address or policy.asks_address
    if policy.address_from is not None:
        return {WILDCARD: _settings(REAL_IP_SCRIPT.replace("NEEDS", NEEDS_ADDRESS))}
    return {WILDCARD: _settings(_SET_ADDRESS)} if needed else {}


@lru_cache(maxsize=2)
def _settings(script: str) -> Any:
    source = base_pb2.DataSource(inline_string=ADDRESS_SCRIPT + _LOOK_UP_AGAIN + script)
    return packed(lua_pb2.LuaPerRoute(source_code=source))
