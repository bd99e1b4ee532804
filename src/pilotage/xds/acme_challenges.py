"""Builds the Envoy configuration that answers the challenges of a certificate authority (RFC 8555). Pure.

Challenges come and go while requests are served, and a changed listener closes connections. The filter that answers
HTTP-01 challenges is therefore a separate resource, which Envoy replaces without changing the listener.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2

from pilotage.xds.resources import EXTENSION, Resource, packed, resource
from pilotage.xds.server_names import ads

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HTTP_CHALLENGES", "MOST_CHALLENGES", "challenge_filter", "http_challenges", "is_challenge"]

HTTP_CHALLENGES: Final = "acme/http-01"
"""Name of the filter on the plain HTTP listener, and of the resource with its configuration."""
MOST_CHALLENGES: Final = 1_000
"""Maximum number of challenges at a time. It bounds the size of the resource."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
_KEY_AUTHORIZATION: Final = re.compile(r"[A-Za-z0-9_-]{1,512}\.[A-Za-z0-9_-]{1,512}")

# The pattern allows only characters of base64url. A request for another token goes on to its route, because a container
# may answer challenges of its own.
_SCRIPT: Final = """
local answers = {ANSWERS}
function envoy_on_request(handle)
  local headers = handle:headers()
  local method, path = headers:get(":method"), headers:get(":path") or ""
  local token = path:match("^/%.well%-known/acme%-challenge/([%w_-]+)$")
    or path:match("^/%.well%-known/acme%-challenge/([%w_-]+)%?")
  local answer = token and answers[token]
  if answer and (method == "GET" or method == "HEAD") then
    handle:respond({[":status"] = "200", ["content-type"] = "text/plain", ["cache-control"] = "no-store"}, answer)
  end
end
"""


def is_challenge(token: str, key_authorization: str) -> bool:
    """Return whether a token and a key authorization are valid base64url text (RFC 8555, 8.1 and 8.3)."""
    return bool(_TOKEN.fullmatch(token) and _KEY_AUTHORIZATION.fullmatch(key_authorization))


def challenge_filter() -> Any:
    """Return the HTTP filter that answers challenges. Without its resource, it does nothing."""
    kinds = (lua_pb2.Lua, set_filter_state_pb2.Config)
    source = config_source_pb2.ExtensionConfigSource(
        config_source=ads(),
        type_urls=[f"type.googleapis.com/{kind.DESCRIPTOR.full_name}" for kind in kinds],
        default_config=packed(set_filter_state_pb2.Config()),
        apply_default_config_without_warming=True,
    )
    return http_connection_manager_pb2.HttpFilter(name=HTTP_CHALLENGES, config_discovery=source)


def http_challenges(challenges: Mapping[str, str]) -> Resource:
    """Return the configuration of :func:`challenge_filter`.

    Args:
        challenges: token -> key authorization; each must pass :func:`is_challenge`.

    """
    filter_: Any = set_filter_state_pb2.Config()  # without values: the cheapest filter that does nothing
    if challenges:
        answers = ", ".join(f'["{token}"] = "{answer}"' for token, answer in sorted(challenges.items()))
        script = _SCRIPT.replace("ANSWERS", answers)
        filter_ = lua_pb2.Lua(default_source_code=base_pb2.DataSource(inline_string=script))
    message = extension_pb2.TypedExtensionConfig(name=HTTP_CHALLENGES, typed_config=packed(filter_))
    return resource(EXTENSION, HTTP_CHALLENGES, message)
