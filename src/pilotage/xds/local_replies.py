"""Builds the gateway's own responses: HTML for browsers, JSON or plain text for other clients. Pure.

Each cause has one sentence. Clients never see Envoy's own texts, such as ``upstream connect error``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
from envoy.config.accesslog.v3 import accesslog_pb2
from envoy.config.core.v3 import base_pb2, substitution_format_string_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.type.matcher.v3 import metadata_pb2, string_pb2, value_pb2

from pilotage.xds.client_checks import client_refusals
from pilotage.xds.request_checks import REFUSAL, bad_host, bad_path, elsewhere, refusals
from pilotage.xds.resources import header, number, packed

if TYPE_CHECKING:
    from pilotage.routes.route import Route
    from pilotage.xds.options import GatewayOptions

__all__ = ["ANSWER", "CAUSE", "PAGE", "REJECTED", "direct_response", "local_replies", "why_unavailable"]

CAUSE: Final = "pilotage.cause"
"""Key of the metadata with which the control plane says why it denies a request."""
ANSWER: Final = "pilotage.answer"
"""Namespace of the metadata of routes with a response of their own, which is sent unchanged."""
PAGE: Final = "page"
"""Value of :data:`CAUSE`: the control plane has answered with a page of its own."""
REJECTED: Final = "The gateway rejected the configuration of this service."

_RETRY: Final = 5
"""Seconds until a waiting page reloads. Other clients get the same number as ``Retry-After``."""
_AGAIN: Final = f"This page tries again every {_RETRY} seconds."
_ASKED: Final = "envoy.filters.http.ext_authz"
_HTML: Final = "text/html; charset=utf-8"
_TEXT: Final = "text/plain; charset=utf-8"
_FLAGS: Final = "FLAGS"

_FILTER: Final = accesslog_pb2.AccessLogFilter


class _Cause(msgspec.Struct, frozen=True):
    """Why a request failed.

    Attributes:
        sentence: the message for the client; ``""`` if the route has its own response text.
        flags: Envoy's response flags, one of which must be set.
        details: a CEL expression about the response code details, which must be true as well.
        when: an additional condition, which must be true as well.
        for_grpc: a sentence that gRPC clients get in addition.

    """

    sentence: str
    flags: tuple[str, ...] = ()
    details: str = ""
    when: Any = None
    for_grpc: str = ""


def _says(*words: str) -> str:
    return " || ".join(f"response.code_details.contains('{word}')" for word in words)


def _answered(cause: str) -> Any:
    """Return the condition that the control plane has answered a request, giving this cause."""
    matcher = metadata_pb2.MetadataMatcher(
        filter=_ASKED,
        path=[metadata_pb2.MetadataMatcher.PathSegment(key=CAUSE)],
        value=value_pb2.ValueMatcher(string_match=string_pb2.StringMatcher(exact=cause)),
    )
    found = accesslog_pb2.MetadataFilter(matcher=matcher)
    found.match_if_key_not_found.value = False
    return _FILTER(metadata_filter=found)


def _causes() -> list[_Cause]:
    # An expression takes more time than a flag. The most common cause comes first, because clients may repeat requests
    # to a broken service.
    return [
        _Cause("This service refuses connections.", ("UF",), _says("Connection_refused")),
        _Cause(
            "The secure connection to this service failed, because a certificate was refused.",
            ("UF", "UC"),
            _says("CERTIFICATE", "UNKNOWN_CA"),
        ),
        _Cause("This service did not respond in time.", ("UT", "SI", "DT", "UMSDR")),
        _Cause("This service closed the connection without a response.", ("UC", "UR", "LR"), for_grpc=_NEEDS_H2),
        _Cause("This service has no healthy endpoint.", ("UH",)),
        _Cause("This service is busy with other requests.", ("UO", "OM")),
        _Cause("This service sent an invalid response.", ("UPE",), for_grpc=_NEEDS_H2),
        _Cause("This service did not start in time.", ("NC",)),
        _Cause("This service did not start in time.", ("UF",), _says("Not_a_directory")),
        _Cause("This service did not accept a connection in time.", ("UF",), _says("timeout", "timed_out")),
        _Cause("The secure connection to this service failed.", ("UF",), _says("TLS_error")),
        _Cause("The gateway could not check whether you may use this service.", ("UAEX",), _says("ext_authz_error")),
        _Cause("Too many requests are waiting for this service.", (), _says("local_rate_limited")),
        _Cause("Too many requests are waiting for services.", (), _says("reached_concurrency_limit")),
        _Cause("", (), "response.code_details == 'direct_response'"),
        # An auth service's own response is left unchanged.
        _Cause("This service cannot be reached.", (), "response.code_details != 'ext_authz_denied'"),
    ]


def why_unavailable(route: Route) -> str:
    """Return the sentence for a service without an endpoint that could respond."""
    states = {endpoint.state for endpoint in route.endpoints}
    if "waiting" in states:
        return "This service is starting."
    if states:
        return "This service has no healthy endpoint."
    return (
        "This service is asleep, and the gateway may not wake it."
        if route.idle_watcher
        else "This service has no endpoint."
    )


@lru_cache(maxsize=16)
def direct_response(sentence: str) -> Any:
    """Return the action of a route that responds 503 with a sentence. It is shared: do not modify it."""
    return route_components_pb2.DirectResponseAction(status=503, body=base_pb2.DataSource(inline_string=sentence))


def local_replies(options: GatewayOptions) -> Any:
    """Return the configuration of Envoy's own responses, for each cause and each kind of client."""
    unknown = _flagged("NR")
    for_unknown: dict[str, Any] = {"advice": _HINT_UNKNOWN, "status": "404", "again": False}
    mappers = [
        _reply(bad_host(), _text(_invalid("Host header")), status=400),
        _reply(bad_path(), _text(_invalid("path")), status=400),
        *(_reply(when, _refusal(), status=status) for status, when in refusals().items()),
        _reply(_answered(PAGE), _format("%LOCAL_REPLY_BODY%", _HTML)),
        *_variants(unknown, _UNKNOWN, _SPELLING, options, **for_unknown),
        *_variants(elsewhere(), _UNKNOWN, _SPELLING, options, **for_unknown, code=404),
    ]
    if options.client_profiles:
        mappers += [_reply(when, _format(text, _TEXT), status=status) for when, status, text in client_refusals()]
    found = [
        _variants(
            _all(_FAILED, *_conditions(cause)),
            cause.sentence or "%LOCAL_REPLY_BODY%",
            _LATER,
            options,
            advice=_HINT_FAILED,
            status="%RESPONSE_CODE%",
            again=True,
            for_grpc=cause.for_grpc,
        )
        for cause in _causes()
    ]
    mappers.append(http_connection_manager_pb2.ResponseMapper(filter=_all(_FAILED, _is_answer())))
    # First by kind of client, which is quicker to test than a cause.
    mappers += [mapper for kind in zip(*found, strict=True) for mapper in kind]
    return http_connection_manager_pb2.LocalReplyConfig(mappers=mappers)


def _refusal() -> Any:
    return _format(f"%METADATA(ROUTE:{REFUSAL}:message)%\n", _TEXT)


def _is_answer() -> Any:
    return _expression(f"'{ANSWER}' in xds.route_metadata.filter_metadata")


def _conditions(cause: _Cause) -> list[Any]:
    found = [_flagged(*cause.flags)] if cause.flags else []
    if cause.details:
        found.append(_expression(cause.details))
    return [*found, cause.when] if cause.when is not None else found


def _expression(text: str) -> Any:
    expression = cel_pb2.ExpressionFilter(expression=text)
    name = "envoy.access_loggers.extension_filters.cel"
    return _FILTER(extension_filter=accesslog_pb2.ExtensionFilter(name=name, typed_config=packed(expression)))


_NEEDS_H2: Final = "If it speaks gRPC without TLS, set its scheme to h2c."
_UNKNOWN: Final = "No service has this name."
_SPELLING: Final = "Check the spelling, or try again if it just started."
_LATER: Final = "Try again in a moment."
_HINT_UNKNOWN: Final = (
    "<code>pilotage routes</code> lists the served names; <code>pilotage explain NAME</code> says why one is missing."
)
_HINT_FAILED: Final = (
    f"<code>pilotage explain NAME</code> shows the route. Envoy's response flags: <code>{_FLAGS}</code>."
)


def _invalid(part: str) -> str:
    return f"The {part} of this request is not valid."


def _variants(
    when: Any,
    sentence: str,
    advice_for_all: str,
    options: GatewayOptions,
    *,
    advice: str,
    status: str,
    again: bool,
    for_grpc: str = "",
    code: int = 0,
) -> list[Any]:
    """Return the responses for one cause: to gRPC clients, browsers, JSON clients and others, in this order.

    Unless it is 0, ``code`` replaces the response's status.
    """
    hint = f"For the operator: {advice}" if options.debug else ""
    page = _page(status, sentence, advice_for_all if not again else _AGAIN, hint, again=again)
    plain_hint = hint.replace("<code>", "'").replace("</code>", "'")
    lines = (f"{sentence} {advice_for_all}", *([plain_hint] if hint else []))
    document = substitution_format_string_pb2.SubstitutionFormatString()
    document.json_format.update({"status": "%RESPONSE_CODE%", "error": sentence})
    return [
        _reply(_all(_IS_GRPC, when), _format(_flags(f"{sentence} {for_grpc}".rstrip()), _TEXT), status=code),
        _reply(_all(_WANTS_HTML, when), _format(_flags(page), _HTML), status=code, again=again),
        _reply(_all(_WANTS_JSON, when), document, status=code, again=again),
        _reply(when, _format(_flags("".join(f"{line}\n" for line in lines)), _TEXT), status=code, again=again),
    ]


def _flags(text: str) -> str:
    return text.replace(_FLAGS, "%RESPONSE_FLAGS%")


def _format(text: str, content_type: str) -> Any:
    return substitution_format_string_pb2.SubstitutionFormatString(
        text_format_source=base_pb2.DataSource(inline_string=text), content_type=content_type
    )


def _text(sentence: str) -> Any:
    return _format(f"{sentence}\n", _TEXT)


# Light or dark as the reader prefers, with limited line length and no external resources. Percent signs are doubled for
# Envoy's substitution format.
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.55 system-ui,sans-serif;max-width:34rem;margin:16vh auto 4rem;padding:0 1.5rem}"
    "small{font-size:.9rem;opacity:.6}"
    "h1{font-size:1.6rem;line-height:1.25;margin:.3rem 0 1rem;text-wrap:balance}"
    "p{margin:.8rem 0}"
    "code{font:.9rem ui-monospace,monospace;padding:.1rem .35rem;border-radius:.3rem;background:#8883}"
).replace("%", "%%")


def _page(status: str, title: str, *paragraphs: str, again: bool) -> str:
    text = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs if paragraph)
    refresh = f'<meta http-equiv="refresh" content="{_RETRY}">' if again else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{refresh}'
        f"<title>{title}</title><style>{_STYLE}</style><small>{status}</small><h1>{title}</h1>{text}</html>\n"
    )


# ---- conditions ------------------------------------------------------------------------------------------------------


def _reply(when: Any, body: Any, *, status: int = 0, again: bool = False) -> Any:
    mapper = http_connection_manager_pb2.ResponseMapper(filter=when, body_format_override=body)
    if status:
        mapper.status_code.CopyFrom(number(status))
    if again:
        mapper.headers_to_add.extend([header("retry-after", str(_RETRY)), header("cache-control", "no-store")])
    return mapper


def _all(*filters: Any) -> Any:
    return _FILTER(and_filter=accesslog_pb2.AndFilter(filters=filters))


def _flagged(*flags: str) -> Any:
    return _FILTER(response_flag_filter=accesslog_pb2.ResponseFlagFilter(flags=flags))


def _header(name: str, **match: str) -> Any:
    matcher = route_components_pb2.HeaderMatcher(name=name, string_match=string_pb2.StringMatcher(**match))
    return _FILTER(header_filter=accesslog_pb2.HeaderFilter(header=matcher))


_IS_GRPC: Final = _header("content-type", prefix="application/grpc")
_WANTS_HTML: Final = _header("accept", contains="text/html")
_WANTS_JSON: Final = _FILTER(
    or_filter=accesslog_pb2.OrFilter(
        filters=[_header("accept", contains="application/json"), _header("accept", contains="+json")]
    )
)
# 502 to 504: the service was not reached or did not respond. Responses from the service itself are not local replies.
_FAILED: Final = _FILTER(
    status_code_filter=accesslog_pb2.StatusCodeFilter(
        comparison=accesslog_pb2.ComparisonFilter(
            op=accesslog_pb2.ComparisonFilter.GE,
            value=base_pb2.RuntimeUInt32(default_value=502, runtime_key="pilotage.failed"),
        )
    )
)
