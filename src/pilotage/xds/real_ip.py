"""Finds the clients of routes with the middleware ``real_ip`` behind the proxies that the route trusts. Pure.

Envoy determines a client's address before it finds the route. For such routes, a script therefore runs before all
filters that restrict access. It writes the real address into the request's metadata, which these filters read, and into
``X-Forwarded-For``. If the script fails, there is no address, and no client has access.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import metadata_pb2, regex_pb2, string_pb2, value_pb2
from envoy.type.metadata.v3 import metadata_pb2 as metadata_key_pb2

from pilotage.xds.rule_patterns import network_regex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pilotage.xds.middlewares import RoutePolicy

__all__ = [
    "CLIENT_ADDRESS",
    "CONNECTED",
    "LOGGED_CLIENT",
    "REAL_IP_SCRIPT",
    "client_address",
    "real_ip_metadata",
    "real_principal",
    "real_rate_action",
]

_CLIENT: Final = "pilotage.client"
"""Namespace of a request's metadata. The keys are ``address`` (text) and ``digits``, the form of rules."""

CLIENT_ADDRESS: Final = f"%DYNAMIC_METADATA({_CLIENT}:address)%"
CONNECTED: Final = "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
"""Envoy's formats for the client's address: the one that the route finds, and the one that the gateway knows."""
LOGGED_CLIENT: Final = (
    f"%CEL('{_CLIENT}' in metadata.filter_metadata ? metadata.filter_metadata['{_CLIENT}'].address : "
    "re.capture(source.address, '[[]?([^]]*)[]]?:[0-9]+'))%"
)
"""The client's address in the logs of single routes, whose format is the same for all routes."""

_MOST_HOPS: Final = 100
"""Maximum number of trusted proxies between a client and the gateway."""
_LONGEST: Final = 100
"""Maximum characters of an address in a header, with its port and the spaces around it."""

# Every function of client_address.ADDRESS_SCRIPT is available.
REAL_IP_SCRIPT: Final = (
    """
function is_address(text)
  local head, tail = text:match("^(.*:)(%d+%.%d+%.%d+%.%d+)$")
  local a, b, c, d = (tail or text):match("^(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)%.(%d%d?%d?)$")
  if a and math.max(tonumber(a), tonumber(b), tonumber(c), tonumber(d)) > 255 then return false end
  if a and not tail then return true end
  if tail and not a then return false end
  local long = head and head .. "0:0" or text
  if #long > 45 or not long:find("^[%x:]+$") or long:find(":::", 1, true) or long:find("%x%x%x%x%x") then
    return false
  end
  local _, colons = long:gsub(":", "")
  local _, gaps = long:gsub("::", "")
  if gaps == 0 then return colons == 7 and not long:find("^:") and not long:find(":$") end
  return gaps == 1 and colons <= 8 and (long:find("^::") or not long:find("^:"))
    and (long:find("::$") or not long:find(":$")) and true
end

function without_port(text)
  text = text:match("^%s*(.-)%s*$")
  return text:match("^%[([^%]%%]+)") or text:match("^(%d+%.%d+%.%d+%.%d+):%d+$") or text
end

function is_inside(digits, networks)
  for prefix, low, high in networks:gmatch("(%S+)/(%x)(%x)") do
    if digits:sub(1, #prefix) == prefix then
      local digit = digits:sub(#prefix + 1, #prefix + 1)
      if digit == "" or (digit >= low and digit <= high) then return true end
    end
  end
  return false
end

-- The last address that no trusted proxy has: clients can forge all that come before it. Each step takes time, so
-- nobody is known who seems to be behind very many proxies, or has a very long address.
function last_outside(handle, name, networks)
  local found, digits
  local left = MOST_HOPS
  for index = handle:headers():getNumValues(name) - 1, 0, -1 do
    local value = handle:headers():getAtIndex(name, index)
    local backward, start = value:reverse(), 1
    while start <= #value + 1 do
      local comma = backward:find(",", start, true) or #value + 1
      if left == 0 or comma - start > LONGEST then return "unknown", "unknown" end
      found, left = without_port(value:sub(#value + 2 - comma, #value + 1 - start)), left - 1
      if not is_address(found) then return "unknown", "unknown" end
      digits = hexadecimal(found)
      if not is_inside(digits, networks) then return found, digits end
      start = comma + 1
    end
  end
  return found, digits
end

function envoy_on_request(handle)
  local wanted, info = handle:metadata(), handle:streamInfo()
  local address = without_port(info:downstreamRemoteAddress())
  local digits = hexadecimal(address)
  local peer = without_port(info:downstreamDirectRemoteAddress())
  if is_inside(hexadecimal(peer), wanted:get("networks")) then
    local real, real_digits = last_outside(handle, wanted:get("header"), wanted:get("networks"))
    if real then
      address, digits = real, real_digits
      handle:headers():replace("x-forwarded-for", address)
    end
  end
  info:dynamicMetadata():set("CLIENT", "address", address)
  info:dynamicMetadata():set("CLIENT", "digits", digits)
  if wanted:get("NEEDS") then look_up_again(handle, digits) end
end
""".replace("CLIENT", _CLIENT)
    .replace("MOST_HOPS", str(_MOST_HOPS))
    .replace("LONGEST", str(_LONGEST))
)


def client_address(policy: RoutePolicy) -> str:
    """Return Envoy's format for the client's address on a route."""
    return CLIENT_ADDRESS if policy.address_from is not None else CONNECTED


def real_ip_metadata(policy: RoutePolicy) -> Mapping[str, str]:
    """Return the input of the script, as metadata of a route; empty if the script does not run."""
    if policy.address_from is None:
        return {}
    header, networks = policy.address_from
    return {"header": header, "networks": " ".join(map(_digits, networks))}


def _digits(network: str) -> str:
    """Return the hexadecimal digits that a network's addresses share, and the range of the next digit."""
    found = ipaddress.ip_network(network)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        found = ipaddress.ip_network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    digits = f"{int(found.network_address):0{found.max_prefixlen // 4}x}"
    whole, bits = divmod(found.prefixlen, 4)
    first, last = 0, 15
    if bits:
        first = int(digits[whole], 16)
        last = first + (16 >> bits) - 1
    return f"{found.version}:{digits[:whole]}/{first:x}{last:x}"


def real_principal(network: str) -> Any:
    """Return the RBAC principal for clients whose real address is in a network."""
    pattern = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=network_regex(network)))
    matcher = metadata_pb2.MetadataMatcher(
        filter=_CLIENT,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key="digits")],
        value=value_pb2.ValueMatcher(string_match=pattern),
    )
    return rbac_pb2.Principal(sourced_metadata={"metadata_matcher": matcher})


def real_rate_action() -> Any:
    """Return the rate limit action that distinguishes real addresses. Clients without an address share a limit."""
    kind = route_components_pb2.RateLimit.Action
    key = metadata_key_pb2.MetadataKey(key=_CLIENT, path=[metadata_key_pb2.MetadataKey.PathSegment(key="address")])
    return kind(metadata=kind.MetaData(descriptor_key="remote_address", metadata_key=key, default_value="unknown"))
