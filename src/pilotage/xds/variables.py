"""Turns the ``$`` variables in header values into Envoy's command operators. Pure.

The names are GoDoxy's. Envoy decodes the parameters of a query in ``%QUERY_PARAM%``, so clients could put line breaks
into a header. ``$arg`` therefore takes the text from the query as the client wrote it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.routes.route import Endpoint
from pilotage.xds.literals import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.routes.route import Route

__all__ = [
    "FROM_BODY",
    "MAX_VARIABLES",
    "NO_UPSTREAM",
    "REQUEST_VARIABLES",
    "RESPONSE_VARIABLES",
    "UPSTREAM_VARIABLES",
    "VARIABLES",
    "Upstream",
    "VariableError",
    "expand",
    "fixed",
    "upstream_of",
]

MAX_VARIABLES: Final = 32
"""Maximum number of variables in a value. Envoy evaluates each of them for every request."""

_VARIABLE: Final = re.compile(r"\$(?:\$|([A-Za-z_]\w*)(?:\(([^()]*)\))?)", re.ASCII)
_ARGUMENT: Final = re.compile(r"\s*([\w-]{1,100})\s*", re.ASCII)


class VariableError(ValueError):
    """A variable is unknown, or has no value where it is used.

    Attributes:
        message: the problem.
        hint: how to fix it.

    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class Upstream(msgspec.Struct, frozen=True):
    """The target of a route, as ``pilotage routes`` lists it. All parts are text; ``address`` is ``host:port``.

    ``client`` is Envoy's format for the client's address, if the route finds that address itself.
    """

    name: str
    scheme: str
    host: str
    port: str
    address: str
    client: str = ""


NO_UPSTREAM: Final = Upstream("", "http", "", "", ":")
"""For checking a value before its route is known."""


def upstream_of(name: str, route: Route) -> Upstream:
    """Return the target of a route.

    Args:
        name: the alias, or the name of the pool.
        route: the route; for a pool, its leader.

    """
    port = route.port.proxy
    return Upstream(name, route.scheme, route.host, str(port), Endpoint(route.host, port).address)


_HOST: Final = "%CEL(re.capture(request.host, '(.*?)(?::[0-9]*)?'))%"
_PORT: Final = "%CEL(re.capture(request.host, '.*:([0-9]*)'))%"
_QUERY: Final = "%CEL(request.query)%"
_REQUEST: Final = {
    "req_method": "%REQ(:METHOD)%",
    "req_scheme": "%REQ(X-FORWARDED-PROTO?:SCHEME)%",
    "req_host": _HOST,
    "req_port": _PORT,
    "req_addr": "%REQ(:AUTHORITY)%",
    "req_path": "%PATH(NQ:PATH)%",
    "req_query": _QUERY,
    "req_url": "%REQ(X-FORWARDED-PROTO?:SCHEME)%://%REQ(:AUTHORITY)%%REQ(:PATH)%",
    "req_uri": "%REQ(:PATH)%",
    "req_content_type": "%REQ(CONTENT-TYPE)%",
    "req_content_length": "%REQ(CONTENT-LENGTH)%",
    "remote_host": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "remote_port": "%DOWNSTREAM_REMOTE_PORT%",
    "remote_addr": "%DOWNSTREAM_REMOTE_ADDRESS%",
}
_OF_CLIENT: Final = frozenset({"remote_host", "remote_port", "remote_addr"})
_RESPONSE: Final = {
    "resp_content_type": "%RESP(CONTENT-TYPE)%",
    "resp_content_length": "%RESP(CONTENT-LENGTH)%",
    "status_code": "%RESP(:STATUS)%",
}
UPSTREAM_VARIABLES: Final[dict[str, Callable[[Upstream], str]]] = {
    "upstream_name": lambda it: it.name,
    "upstream_scheme": lambda it: it.scheme,
    "upstream_host": lambda it: it.host,
    "upstream_port": lambda it: it.port,
    "upstream_addr": lambda it: it.address,
    "upstream_url": lambda it: f"{it.scheme}://{it.address}",
}
"""Variables about the target."""
_FUNCTIONS: Final[dict[str, str]] = {
    "header": "%REQ({})%",
    "resp_header": "%RESP({})%",
    "arg": "%CEL(re.capture(request.query, '(?:.*?&)??(?i:{})=([^&]*)(?:&.*)?'))%",
}
_ONLY_RESPONSE: Final = frozenset({*_RESPONSE, "resp_header"})
FROM_BODY: Final = ("form", "postform")
"""GoDoxy's variables that would need the body of the request."""

VARIABLES: Final = (*_REQUEST, *_RESPONSE, *UPSTREAM_VARIABLES, *(f"{name}(name)" for name in _FUNCTIONS))
"""All variables, without their dollar sign."""

REQUEST_VARIABLES: Final = tuple(_REQUEST)
RESPONSE_VARIABLES: Final = tuple(_RESPONSE)
"""Variables without an argument, grouped by their subject."""

_NAMES: Final = (*_REQUEST, *_RESPONSE, *UPSTREAM_VARIABLES, *_FUNCTIONS)


def expand(text: str, upstream: Upstream = NO_UPSTREAM, *, response: bool = False) -> str:
    """Return Envoy's format string for a header value.

    Args:
        text: the value. ``$$`` stands for a dollar sign, as does a dollar sign without a name after it.
        upstream: the target of the route.
        response: whether the header belongs to a response.

    Raises:
        VariableError: the value has an unknown variable, a variable that has no value here, or too many variables.

    """
    return _replace(text, lambda name, argument: _operator(name, argument, upstream, response=response))


def fixed(text: str, upstream: Upstream = NO_UPSTREAM) -> str:
    """Return a value with its variables replaced, none of which may depend on the request.

    Raises:
        VariableError: a variable depends on the request, or is unknown.

    """

    def value(name: str, argument: str | None) -> str:
        if name in UPSTREAM_VARIABLES and argument is None:
            return UPSTREAM_VARIABLES[name](upstream)
        _operator(name, argument, upstream, response=False)  # to report an unknown variable as such
        raise VariableError(f"${name} has no value here", "use only variables such as $upstream_host")

    return _replace(text, value, escape=str)


def _replace(text: str, value: Callable[[str, str | None], str], *, escape: Callable[[str], str] = literal) -> str:
    if "$" not in text:
        return escape(text)
    parts, end, count = [], 0, 0
    for found in _VARIABLE.finditer(text):
        parts.append(escape(text[end : found.start()]))
        end = found.end()
        name, argument = found.groups()
        if name is None:
            parts.append("$")
            continue
        if name not in _FUNCTIONS and name not in FROM_BODY:
            end = found.end(1)  # a parenthesis after another variable is text
            argument = None
        count += 1
        if count > MAX_VARIABLES:
            raise VariableError(f"a value has more than {MAX_VARIABLES} variables", "write fewer")
        parts.append(value(name, argument))
    return "".join([*parts, escape(text[end:])])


def _operator(name: str, argument: str | None, upstream: Upstream, *, response: bool) -> str:
    if name in UPSTREAM_VARIABLES:
        return literal(UPSTREAM_VARIABLES[name](upstream))
    if name in FROM_BODY:
        raise VariableError(f"${name} has no value in a header, because the body arrives later", "use $arg or $header")
    if name not in _NAMES:
        hint = did_you_mean(name, _NAMES) or f"write $${name} for the text ${name}"
        raise VariableError(f"unknown variable ${name}", hint)
    if name in _ONLY_RESPONSE and not response:
        raise VariableError(f"${name} has no value before there is a response", "use it in the middleware response")
    if upstream.client and name in _OF_CLIENT:
        return upstream.client if name != "remote_port" else ""
    if name not in _FUNCTIONS:
        return (_REQUEST | _RESPONSE)[name]
    given = _ARGUMENT.fullmatch(argument or "")
    if given is None:
        raise VariableError(f"${name} needs a name in parentheses", f"write ${name}(Name)")
    return _FUNCTIONS[name].format(given.group(1))
