"""Defines how Envoy finds the route of a host that is spelled differently than its alias. Pure."""

from __future__ import annotations

from typing import Any, Final

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from google.protobuf import any_pb2, wrappers_pb2

from pilotage.routes.hosts import ANY_LABEL
from pilotage.xds.client_address import ADDRESS_SCRIPT, AUTH, FOUND_AS
from pilotage.xds.login import SPARED_LOGIN
from pilotage.xds.own_ports import ADDRESS_HOST
from pilotage.xds.rule_tests import HOST_HEADER

__all__ = [
    "AGAIN_SCRIPT",
    "ASKS",
    "FOLD_SCRIPT",
    "LATE",
    "PORT_SCRIPT",
    "SIGNS_IN",
    "SPARED",
    "WILDCARD_SCRIPT",
    "for_late_routes",
]

LATE: Final = "pilotage.late"
"""Name of the filter that contains the filters for requests whose route was not known when they arrived."""

_CHAIN_TYPE: Final = "type.googleapis.com/envoy.extensions.filters.http.filter_chain.v3.FilterChainConfig"

ASKS: Final = "asks"
SIGNS_IN: Final = "signs_in"
"""Keys of a route's metadata: whether its requests need the filter ``AUTH``, or a sign-in."""

SPARED: Final = "spared"
"""Key of a request's metadata: whether it does not need the filter ``AUTH``."""

# Envoy compares hosts case-sensitively, and the scope key of a host without dots includes the port. A request without a
# route is looked up again with its host lower-cased and without port. Then the original host is restored for the
# target. Metadata of the found route tells the forward-auth filter, which is in the chain now, whether to ask.
_LOOK_UP: Final = (
    """
function look_up(handle, host, as)
  if as == host then return end
  handle:headers():replace(":authority", as)
  handle:clearRouteCache()
  local route = handle:metadata()
  handle:headers():replace(":authority", host)
  if handle:streamInfo():routeName() == "" then return end
  local metadata = handle:streamInfo():dynamicMetadata()
  metadata:set("AUTH", "AS", as)
  if not route:get("ASKS") then metadata:set("AUTH", "SPARED", true) end
  if not route:get("SIGNS_IN") then metadata:set(LOGIN) end
end
""".replace("ASKS", ASKS)
    .replace("AUTH", AUTH)
    .replace("SPARED", SPARED)
    .replace('"AS"', f'"{FOUND_AS}"')
    .replace("SIGNS_IN", SIGNS_IN)
    .replace("LOGIN", ", ".join(f'"{it}"' for it in SPARED_LOGIN))
)
FOLD_SCRIPT: Final = (
    _LOOK_UP
    + """
function envoy_on_request(handle)
  local host = handle:headers():get(":authority")
  if host then
    look_up(handle, host, (host:lower():gsub(":%d*$", "", 1):gsub("%.$", "", 1)))
  end
end
"""
)
# On a port of its own, a route also gets requests that name only an address.
PORT_SCRIPT: Final = FOLD_SCRIPT.replace(
    """
  if host then
""",
    """
  if host and (host:match("^%d+%.%d+%.%d+%.%d+:?%d*$") or host:sub(1, 1) == "[") then
    look_up(handle, host, "ADDRESS")
  elseif host then
""".replace("ADDRESS", ADDRESS_HOST),
)
# A wildcard alias matches exactly one additional label. Envoy prefers it to the alias "*", which matches all hosts.
WILDCARD_SCRIPT: Final = (
    _LOOK_UP
    + ADDRESS_SCRIPT
    + """
function envoy_on_request(handle)
  if handle:streamInfo():routeName() ~= "" then return end
  local host = handle:headers():get(":authority")
  local rest = host and host:lower():gsub(":%d*$", "", 1):gsub("%.$", "", 1):match("^[^.]+(%..+)$")
  if host then
    set_address(handle)
    handle:headers():replace("HOST", host)
    look_up(handle, host, "ANY" .. (rest or ""))
    handle:headers():remove("HOST")
    keep_address(handle)
  end
end
""".replace("ANY", ANY_LABEL).replace("HOST", HOST_HEADER)
)

# After an answer that changes headers, Envoy looks up the route of a request again, so that its rules can test them. If
# its host was not found as it is, this script restores for the lookup the host that was found.
AGAIN_SCRIPT: Final = (
    """
function envoy_on_request(handle)
  local found = handle:streamInfo():dynamicMetadata():get("AUTH")
  if not found or not found["AS"] or found["SPARED"] then return end
  local headers = handle:headers()
  local host = headers:get(":authority")
  headers:replace("HOST", host)
  headers:replace(":authority", found["AS"])
  handle:clearRouteCache()
  handle:metadata()
  headers:replace(":authority", host)
  headers:remove("HOST")
end
""".replace("AUTH", AUTH)
    .replace('"AS"', f'"{FOUND_AS}"')
    .replace("SPARED", SPARED)
    .replace("HOST", HOST_HEADER)
)


def for_late_routes(filters: list[Any]) -> Any:
    """Return the filter that contains the filters for requests whose route was not known when they arrived."""
    kind = extension_pb2.TypedExtensionConfig
    # The packages that we use do not have its messages yet. These two have the same fields.
    chain = composite_pb2.FilterChainConfiguration(
        typed_config=[kind(name=it.name, typed_config=it.typed_config) for it in filters]
    )
    config = wrappers_pb2.BytesValue(value=chain.SerializeToString(deterministic=True))
    typed = any_pb2.Any(type_url=_CHAIN_TYPE, value=config.SerializeToString(deterministic=True))
    return http_connection_manager_pb2.HttpFilter(name=LATE, typed_config=typed)
