"""Parses a route's middlewares into a policy for its requests and responses (LABELS II.6.2). Pure.

Middlewares that restrict access fail closed: if one cannot be applied exactly, the route is not served. Others are
skipped and reported.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.secrets import HIDDEN, holds_secret, shown_name
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.core.values import ParseError, comma_list, parse_duration
from pilotage.core.yaml import bare, parse_yaml
from pilotage.routes.middlewares import middleware_name
from pilotage.xds.literals import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pilotage.core.problems import Severity

__all__ = ["Edits", "ForwardAuth", "Rate", "RoutePolicy", "route_policy"]

Pairs = tuple[tuple[str, str], ...]


class Edits(msgspec.Struct, frozen=True):
    """Changes to the headers of requests or responses: set (replaced), added, removed."""

    put: Pairs = ()
    add: Pairs = ()
    hide: tuple[str, ...] = ()


class Rate(msgspec.Struct, frozen=True):
    """Rate limit per client address: ``average`` requests per ``period`` seconds, and ``burst`` at once."""

    average: int
    burst: int
    period: float


class ForwardAuth(msgspec.Struct, frozen=True):
    """Another route must approve every request.

    Attributes:
        route: its alias.
        path: path of the authorization request.
        headers: headers of its response that are passed on to the backend.

    """

    route: str
    path: str
    headers: tuple[str, ...]


class RoutePolicy(msgspec.Struct, frozen=True):
    """What the middlewares of a route require.

    Attributes:
        request, answer: changes to the headers of requests and responses.
        host: Host header for the backend, ``""`` to keep the client's.
        prefix: path prefix to add, with a slash at both ends, or ``""``.
        forwarded: ``"set"`` to overwrite X-Forwarded headers, ``"hide"`` to remove them.
        allow: client networks that have access; empty for all.
        rate: rate limit per client address.
        redirect: whether plain HTTP is redirected to HTTPS.
        auth: the route that approves requests.
        address_from: ``(header, networks)``: take client addresses from a header that these networks send.
        problems: problems with invalid and unsupported options. They do not say where the options are.
        servable: whether the route may be served despite the problems.

    """

    request: Edits = Edits()
    answer: Edits = Edits()
    host: str = ""
    prefix: str = ""
    forwarded: str = ""
    allow: tuple[str, ...] = ()
    rate: Rate | None = None
    redirect: bool = False
    auth: ForwardAuth | None = None
    address_from: tuple[str, tuple[str, ...]] | None = None
    problems: tuple[Problem, ...] = ()
    servable: bool = True


PLAIN: Final = RoutePolicy()

_PROTECTIVE: Final = frozenset({"oidc", "forwardauth", "crowdsec", "cidr_whitelist", "rate_limit", "hcaptcha"})
_UNSUPPORTED: Final = frozenset(
    {"oidc", "crowdsec", "hcaptcha", "modify_html", "themed", "error_page", "cloudflare_real_ip"}
)


def route_policy(middlewares: Mapping[str, Any]) -> RoutePolicy:
    """Parse the middlewares of :class:`~pilotage.routes.schema.RouteSettings`. Never raises."""
    if not middlewares:
        return PLAIN
    parser = _Parser()
    for written, options in middlewares.items():
        name = middleware_name(written)
        if name is not None:  # unknown middlewares are already reported, and exclude the route
            parser.middleware(name, written, options)
    return RoutePolicy(**parser.found, problems=tuple(parser.problems), servable=parser.servable)


class _Parser:
    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.servable = True
        self.path = ""
        self.restricts_access = False

    def middleware(self, name: str, written: str, options: Any) -> None:
        self.path, self.restricts_access = f"middlewares.{written}", name in _PROTECTIVE
        if name in _UNSUPPORTED:
            self.problem(f"{name} is a GoDoxy middleware that pilotage does not support", "remove it", harmless=True)
            return
        handler, known = _HANDLERS[name]
        folded = {key.lower().replace("_", ""): value for key, value in (options or {}).items()}
        folded.pop("priority", None)
        if folded.pop("bypass", None):
            self.problem(
                "bypass is not supported by pilotage's gateway: the middleware applies to every request",
                "remove bypass",
            )
        for key in folded.keys() - {option.replace("_", "") for option in known}:
            self.problem(f"unknown option {shorten_value(key)!r}", did_you_mean(key, known) or "remove it")
        handler(self, folded)

    def problem(self, message: str, hint: str = "", *, option: str = "", harmless: bool = False) -> None:
        path = f"{self.path}.{option}" if option else self.path
        severity: Severity = "warning" if harmless and not self.restricts_access else "error"
        self.problems.append(Problem(message=message, hint=hint, path=path, severity=severity))
        if self.restricts_access:
            self.servable = False

    # ---- kinds of options

    def texts(self, options: dict[str, Any], option: str) -> tuple[str, ...]:
        value = options.get(option.replace("_", ""))
        if isinstance(value, str):
            if value.lstrip()[:1] in ("-", "["):
                value = self.document(value, option)
            elif not holds_secret(value):  # a part of a secret would not be recognized
                value = comma_list(value)
        if value is None:
            return ()
        if not isinstance(value, list):
            value = [value]
        texts = (HIDDEN if isinstance(item, dict | list) else str(item).strip() for item in value if item is not None)
        return tuple(filter(None, texts))

    def pairs(self, options: dict[str, Any], option: str) -> Pairs:
        value = options.get(option.replace("_", ""))
        if isinstance(value, str):
            value = self.document(value, option)
        if value is None:
            return ()
        if not isinstance(value, dict):
            self.problem("expected lines such as 'Name: value'", option=option)
            return ()
        found = []
        for name, content in value.items():
            text = "" if content is None else str(content)
            if self.is_name(name, option) and self.is_free(name, option) and self.is_value(name, text, option):
                found.append((name, text))
        return tuple(found)

    def document(self, text: str, option: str) -> Any:
        try:
            read = parse_yaml(text)
        except ParseError as error:
            self.problem(error.message, option=option)
            return None
        return bare(read) if read is not None else None

    def is_name(self, name: str, option: str) -> bool:
        if _TOKEN.fullmatch(name) and len(name) <= _LONGEST_TEXT:
            return True
        self.problem(f"{shown_name(name)!r} is not a valid header name", option=option)
        return False

    def is_free(self, name: str, option: str) -> bool:
        if name.lower() not in _FRAMING:
            return True
        self.problem(
            f"{shorten_value(name)!r} is set by the gateway on every request and response", "remove it", option=option
        )
        return False

    def is_value(self, name: str, text: str, option: str) -> bool:
        if any((ord(c) < 0x20 and c != "\t") or c == "\x7f" for c in text):
            self.problem(f"the value of {name} is not a valid header value", "keep it on one line", option=option)
            return False
        if len(literal(text).encode()) > _LONGEST_TEXT:
            message = f"a header value of {len(text.encode())} bytes is too long for Envoy"
            self.problem(message, "keep it below 16 kB", option=option)
            return False
        return True

    # ---- middlewares

    def edits(self, options: dict[str, Any]) -> Edits:
        hide = tuple(name for name in self.texts(options, "hide_headers") if self.is_name(name, "hide_headers"))
        return Edits(self.pairs(options, "set_headers"), self.pairs(options, "add_headers"), hide)

    def request(self, options: dict[str, Any]) -> None:
        edits = self.edits(options)
        for name, value in (*edits.put, *edits.add):
            if _is_host(name) and _AUTHORITY.fullmatch(value):
                self.found["host"] = value
            elif _is_host(name):
                self.problem(
                    "the value of Host is not a host name", "write a name such as app.internal", option="set_headers"
                )
        put, add = (tuple(p for p in pairs if not _is_host(p[0])) for pairs in (edits.put, edits.add))
        if any(map(_is_host, edits.hide)):
            self.problem("the Host header cannot be removed", "remove it", option="hide_headers")
        hide = tuple(name for name in edits.hide if not _is_host(name))
        self.found["request"] = Edits(put, add, hide)
        prefix = options.get("addprefix")
        if prefix and str(prefix).strip("/"):
            text = str(prefix).strip("/")
            if not _PATH.fullmatch(text):
                hint = "percent-encode other characters, such as %20"
                self.problem(f"{shorten_value(text)!r} is not a valid path prefix", hint, option="add_prefix")
            else:
                self.found["prefix"] = f"/{text}/"

    def answer(self, options: dict[str, Any]) -> None:
        edits = self.edits(options)
        for option, names in (
            ("set_headers", [name for name, _ in edits.put]),
            ("add_headers", [name for name, _ in edits.add]),
            ("hide_headers", edits.hide),
        ):
            if any(map(_is_host, names)):
                self.problem("a response has no Host header", "remove it", option=option)
        put, add = (tuple(p for p in pairs if not _is_host(p[0])) for pairs in (edits.put, edits.add))
        self.found["answer"] = Edits(put, add, tuple(name for name in edits.hide if not _is_host(name)))

    def set_forwarded(self, _options: dict[str, Any]) -> None:
        self.found["forwarded"] = "set"

    def hide_forwarded(self, _options: dict[str, Any]) -> None:
        self.found["forwarded"] = "hide"

    def redirect(self, _options: dict[str, Any]) -> None:
        self.found["redirect"] = True

    def networks(self, options: dict[str, Any], option: str) -> tuple[str, ...]:
        found = []
        for text in self.texts(options, option):
            try:
                found.append(str(ipaddress.ip_network(text, strict=False)))
            except ValueError:
                self.problem(f"{shorten_value(text)!r} is not a network", "write one such as 10.0.0.0/8", option=option)
        return tuple(found)

    def whitelist(self, options: dict[str, Any]) -> None:
        allow = self.networks(options, "allow")
        if not self.texts(options, "allow"):
            self.problem("'allow' needs at least one network", "write allow: [10.0.0.0/8]")
        self.found["allow"] = allow
        self.restricts_access = False  # a different status grants no access
        status = options.get("status", options.get("statuscode"))
        if (status is not None and str(status) != "403") or options.get("message"):
            message = "pilotage's gateway answers 403 with its own message"
            self.problem(message, "remove status_code and message", harmless=True)

    def rate(self, options: dict[str, Any]) -> None:
        average = self.count(options, "average", 1)
        burst = self.count(options, "burst", average)
        period = options.get("period")
        length = 1.0
        if period is not None:
            try:
                length = parse_duration(str(period))
            except ParseError as error:
                self.problem(error.message, option="period")
        if length < 1:
            self.problem("the period is too short; it must be at least 1s", option="period")
        self.found["rate"] = Rate(average, burst, max(length, 1.0))

    def count(self, options: dict[str, Any], option: str, default: int) -> int:
        text = str(options.get(option, default))
        if re.fullmatch(r"0*[1-9][0-9]{0,8}", text):
            return int(text)
        self.problem(f"{shorten_value(text)!r} is not a whole number from 1 to 999999999", option=option)
        return default

    def auth(self, options: dict[str, Any]) -> None:
        path = str(options.get("authendpoint") or "/api/auth/traefik")
        if not path.startswith("/") or not _PATH.fullmatch(path):
            self.problem(
                f"{shorten_value(path)!r} is not a path", "write one such as /api/auth", option="auth_endpoint"
            )
        headers = self.texts(options, "headers") or ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
        if any(map(_is_host, headers)):
            self.problem(
                "the Host header cannot be taken from the auth service's response", "remove it", option="headers"
            )
        headers = tuple(name for name in headers if self.is_name(name, "headers") and self.is_free(name, "headers"))
        self.found["auth"] = ForwardAuth(str(options.get("route") or "tinyauth").lower(), path, headers)

    def real_ip(self, options: dict[str, Any]) -> None:
        header = str(options.get("header") or "X-Real-IP")
        self.found["address_from"] = (header.lower(), self.networks(options, "from"))


def _is_host(name: str) -> bool:
    return name.lower() == "host"


_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&'*+.^_`|~-]+")
_PATH: Final = re.compile(r"(?:(?![?#])[!-~])+")
_AUTHORITY: Final = re.compile(r"[\w.~%:\[\]-]{1,255}", re.ASCII)
_LONGEST_TEXT: Final = 16_384
"""Maximum bytes of a header name or value in the configuration of Envoy."""
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "x-pilotage-route",
    }
)
"""Headers for message framing and connections. A wrong value makes requests hang or allows request smuggling."""
_EDITS: Final = ("set_headers", "add_headers", "hide_headers")
_HANDLERS: Final[dict[str, tuple[Callable[[_Parser, dict[str, Any]], None], tuple[str, ...]]]] = {
    "request": (_Parser.request, (*_EDITS, "add_prefix")),
    "response": (_Parser.answer, _EDITS),
    "set_x_forwarded": (_Parser.set_forwarded, ()),
    "hide_x_forwarded": (_Parser.hide_forwarded, ()),
    "redirect_http": (_Parser.redirect, ()),
    "cidr_whitelist": (_Parser.whitelist, ("allow", "status", "status_code", "message")),
    "rate_limit": (_Parser.rate, ("average", "burst", "period")),
    "forwardauth": (_Parser.auth, ("route", "auth_endpoint", "headers")),
    "real_ip": (_Parser.real_ip, ("header", "from", "recursive")),
}
