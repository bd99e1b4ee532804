"""Parses a route's middlewares into a policy for its requests and responses (LABELS II.6.2). Pure.

If a middleware that restricts access cannot be applied exactly, the route is not served. Other middlewares are skipped
and reported.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.core.values import ParseError, parse_duration
from pilotage.labels.key_schema import fold
from pilotage.routes.middlewares import FROM_FILE, STEP, middleware_name
from pilotage.routes.oidc import OIDC_OPTIONS, OidcOptions, read_oidc
from pilotage.routes.rules import RuleError
from pilotage.xds.auth_services import CROWDSEC_OPTIONS, ForwardAuth, read_crowdsec
from pilotage.xds.bypass import MAX_BYPASSES, Conditions, asks_address, bypass_ways, read_bypass
from pilotage.xds.captcha import CAPTCHA_OPTIONS, Captcha, read_captcha
from pilotage.xds.combining import Edits, common_networks
from pilotage.xds.header_edits import PATH, HeaderEdits
from pilotage.xds.html_changes import HtmlChange, modify_html, themed
from pilotage.xds.refusal import Refusal, read_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


__all__ = ["Edits", "Rate", "RoutePolicy", "known_options", "route_policy"]


class Rate(msgspec.Struct, frozen=True):
    """Rate limit per client address: ``average`` requests per ``period`` seconds, and ``burst`` at once."""

    average: int
    burst: int
    period: float


class RoutePolicy(msgspec.Struct, frozen=True):
    """The combined settings of a route's middlewares.

    Attributes:
        request, answer: changes to the headers of requests and responses.
        host: Host header for the backend, ``""`` to keep the client's.
        prefix: path prefix to add, with a slash at both ends, or ``""``.
        forwarded: ``"set"`` to overwrite X-Forwarded headers, ``"hide"`` to remove them.
        allow: client networks that have access; empty for all.
        refusal: the response to clients in other networks.
        rate: rate limit per client address.
        redirect: whether plain HTTP is redirected to HTTPS.
        auth: the route that approves requests.
        oidc: how users have to sign in.
        captcha: the captcha that visitors have to solve.
        cloudflare: whether to take client addresses from Cloudflare.
        error_page: whether error pages of the operator replace those of the target.
        changes: changes to HTML pages.
        address_from: ``(header, networks)``: take client addresses from a header that these networks send.
        variants: the policies for requests that bypass middlewares; the first whose conditions hold applies.
        has_bypass: whether this policy has variants, or is a variant itself.
        problems: problems with invalid and unsupported options. They do not say where the options are.
        servable: whether the route may be served despite the problems.

    """

    request: Edits = Edits()
    answer: Edits = Edits()
    host: str = ""
    prefix: str = ""
    forwarded: str = ""
    allow: tuple[str, ...] = ()
    refusal: Refusal = Refusal()
    rate: Rate | None = None
    redirect: bool = False
    auth: ForwardAuth | None = None
    oidc: OidcOptions | None = None
    captcha: Captcha | None = None
    cloudflare: bool = False
    changes: tuple[HtmlChange, ...] = ()
    error_page: bool = False
    variants: tuple[Variant, ...] = ()
    has_bypass: bool = False
    address_from: tuple[str, tuple[str, ...]] | None = None
    problems: tuple[Problem, ...] = ()
    servable: bool = True

    @property
    def is_protected(self) -> bool:
        """Whether an auth service decides which requests pass."""
        return self.auth is not None or self.signs_in

    @property
    def signs_in(self) -> bool:
        """Whether requests need a session, which users get by signing in and visitors by solving a captcha."""
        return self.oidc is not None or self.captcha is not None

    @property
    def asks_address(self) -> bool:
        """Whether a bypass is about the client's address."""
        return asks_address(conditions for variant in self.variants for conditions in variant.bypasses)


class Variant(msgspec.Struct, frozen=True):
    """The policy for requests for which all of several ``bypass`` options hold."""

    bypasses: tuple[Conditions, ...]
    policy: RoutePolicy


PLAIN: Final = RoutePolicy()

_PROTECTIVE: Final = frozenset({"oidc", "forwardauth", "crowdsec", "cidr_whitelist", "rate_limit", "hcaptcha"})


def route_policy(middlewares: Mapping[str, Any]) -> RoutePolicy:
    """Parse the middlewares of :class:`~pilotage.routes.schema.RouteSettings`. Never raises."""
    if not middlewares:
        return PLAIN
    entries = sorted(middlewares.items(), key=_order)
    parser = _parsed(entries)
    variants = tuple(_variants(entries, parser))
    return RoutePolicy(
        **parser.found,
        variants=variants,
        has_bypass=bool(variants),
        problems=tuple(parser.problems),
        servable=parser.servable,
    )


def _parsed(entries: Iterable[tuple[str, Any]]) -> _Parser:
    parser = _Parser()
    for written, options in entries:
        origin, use = written.partition(STEP)[0], written.rpartition(STEP)[2]
        name = middleware_name(use)
        if name is not None:  # unknown middlewares are already reported, and exclude the route
            parser.middleware(name, origin, options, written)
        elif FROM_FILE in use:
            parser.unfilled(written)
    return parser


def _variants(entries: list[tuple[str, Any]], parser: _Parser) -> Iterator[Variant]:
    """Yield the policy for each set of bypasses that may hold together, the largest sets first."""
    bypasses = parser.bypasses
    if len(bypasses) > MAX_BYPASSES:
        parser.restricts_access = True
        text = f"a route has more than {MAX_BYPASSES} different bypass lists"
        parser.problem(text, "write the same list for several middlewares")
        return
    for size in range(len(bypasses), 0, -1):
        for chosen in combinations(bypasses, size):
            try:
                bypass_ways(chosen, "")
            except RuleError as error:
                parser.restricts_access = True
                parser.problem(error.message, error.hint, option="bypass")
                return
            skipped = {written for it in chosen for written in bypasses[it]}
            found = _parsed(entry for entry in entries if entry[0] not in skipped).found
            yield Variant(chosen, RoutePolicy(**found, has_bypass=True))


class _Parser(HeaderEdits):
    def __init__(self) -> None:
        super().__init__()
        self.bypasses: dict[Conditions, list[str]] = {}  # conditions -> the middlewares to which they belong

    def middleware(self, name: str, written: str, options: Any, entry: str) -> None:
        self.path, self.restricts_access = f"middlewares.{written}", name in _PROTECTIVE
        self.of_response = name == "response"
        handler, known = _HANDLERS[name]
        folded = {key.lower().replace("_", ""): value for key, value in (options or {}).items()}
        if (priority := folded.pop("priority", None)) is not None and _priority(priority) is None:
            text = f"{shorten_value(str(priority))!r} is not a whole number"
            self.problem(text, "write one such as 10; lower numbers come first", option="priority")
        if (bypass := folded.pop("bypass", None)) and name in ("real_ip", "cloudflare_real_ip"):
            text = "bypass has no effect here, because the client's address is found before the route"
            self.problem(text, "remove bypass", option="bypass", harmless=True)
        elif bypass not in (None, "", []):
            try:
                self.bypasses.setdefault(read_bypass(bypass), []).append(entry)
            except RuleError as error:
                effect = "" if self.restricts_access else ", so the middleware applies to every request"
                self.problem(f"{error.message}{effect}", error.hint, option="bypass", harmless=True)
        for key in folded.keys() - {option.replace("_", "") for option in known}:
            self.problem(f"unknown option {shorten_value(key)!r}", did_you_mean(key, known) or "remove it")
        handler(self, folded)

    def unfilled(self, written: str) -> None:
        """Refuse the route, because nothing has filled in its middlewares from a file."""
        self.path, self.restricts_access = f"middlewares.{written}", True
        self.problem("middlewares from files need a configuration that lists the files", "use pilotage.yml")

    def once(self, setting: str) -> None:
        """Report a second middleware of a kind that a route can have only once."""
        if setting in self.found:
            self.problem("a route can have only one middleware of this kind", "remove one, here or in the file")

    # ---- middlewares

    def set_forwarded(self, _options: dict[str, Any]) -> None:
        self.found["forwarded"] = "set"

    def hide_forwarded(self, _options: dict[str, Any]) -> None:
        self.found["forwarded"] = "hide"

    def redirect(self, _options: dict[str, Any]) -> None:
        self.found["redirect"] = True

    def whitelist(self, options: dict[str, Any]) -> None:
        allow = self.networks(options, "allow")
        if not self.texts(options, "allow"):
            self.problem("'allow' needs at least one network", "write allow: [10.0.0.0/8]")
        if allow and "allow" in self.found:
            allow = common_networks(self.found["allow"], allow)
            if not allow:
                self.problem("no client can be in all lists of networks of this route", "remove one list")
        self.found["allow"] = allow
        self.restricts_access = False  # a problem with the response grants no access
        self.found["refusal"] = read_refusal(options, self.warn)

    def rate(self, options: dict[str, Any]) -> None:
        average = self.count(options, "average", 1)
        burst = self.count(options, "burst", average)
        period = options.get("period", options.get("periods"))
        length = 1.0
        if period is not None:
            try:
                length = parse_duration(str(period))
            except ParseError as error:
                self.problem(error.message, option="period")
        if length < 1:
            self.problem("the period is too short; it must be at least 1s", option="period")
        self.once("rate")
        self.found["rate"] = Rate(average, burst, max(length, 1.0))

    def auth(self, options: dict[str, Any]) -> None:
        path = str(options.get("authendpoint") or "/api/auth/traefik")
        if not path.startswith("/") or not PATH.fullmatch(path):
            self.problem(
                f"{shorten_value(path)!r} is not a path", "write one such as /api/auth", option="auth_endpoint"
            )
        headers = self.texts(options, "headers") or ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
        if any(name.lower() == "host" for name in headers):
            self.problem(
                "the Host header cannot be taken from the auth service's response", "remove it", option="headers"
            )
        headers = tuple(name for name in headers if self.is_name(name, "headers") and self.is_free(name, "headers"))
        self.once("auth")
        self.found["auth"] = ForwardAuth(str(options.get("route") or "tinyauth").lower(), path, headers)

    def crowdsec(self, options: dict[str, Any]) -> None:
        self.once("auth")
        self.found["auth"], problems, warnings = read_crowdsec(options)
        for option, message, hint in problems:
            self.problem(message, hint, option=option)
        self.restricts_access = False  # the other problems grant no access
        for option, message, hint in warnings:
            self.problem(message, hint, option=option, harmless=True)

    def oidc(self, options: dict[str, Any]) -> None:
        named = {name: options[name.replace("_", "")] for name in OIDC_OPTIONS if name.replace("_", "") in options}
        self.once("oidc")
        self.found["oidc"], problems = read_oidc(named)
        for option, message, hint in problems:
            self.problem(message, hint, option=option)

    def captcha(self, options: dict[str, Any]) -> None:
        self.once("captcha")
        self.found["captcha"], problems = read_captcha(options)
        for option, message, hint in problems:
            self.problem(message, hint, option=option)

    def error_page(self, _options: dict[str, Any]) -> None:
        self.found["error_page"] = True

    def modify_html(self, options: dict[str, Any]) -> None:
        self.change(modify_html(options, self.harmless))

    def themed(self, options: dict[str, Any]) -> None:
        self.change(themed(options, self.harmless))

    def change(self, change: HtmlChange | None) -> None:
        if change is not None:
            self.found["changes"] = (*self.found.get("changes", ()), change)

    def warn(self, message: str, hint: str, option: str) -> None:
        self.problem(message, hint, option=option, harmless=True)

    def harmless(self, message: str, hint: str, option: str) -> None:
        self.problem(f"{message}, so pages stay unchanged", hint, option=option, harmless=True)

    def real_ip(self, options: dict[str, Any]) -> None:
        header = str(options.get("header") or "X-Real-IP")
        self.found["address_from"] = (header.lower(), self.networks(options, "from"))
        if str(options.get("recursive", "false")).lower() == "true":
            text = "the last address that is not in 'from' is used, because clients can forge the first one"
            self.problem(text, "remove recursive", option="recursive", harmless=True)

    def cloudflare(self, _options: dict[str, Any]) -> None:
        self.found["cloudflare"] = True


def _order(entry: tuple[str, Any]) -> tuple[int, str, str]:
    """Return the position of a middleware. GoDoxy leaves the order of equal priorities open; here, names decide."""
    written, options = entry
    priority = None
    if isinstance(options, dict) and STEP not in written:  # a list keeps its order
        priority = next((_priority(value) for key, value in options.items() if key.lower() == "priority"), None)
    return _DEFAULT_PRIORITY if priority is None else priority, fold(written), written


def _priority(value: Any) -> int | None:
    text = str(value).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text) else None


_DEFAULT_PRIORITY: Final = 10
_EDITS: Final = ("set_headers", "add_headers", "hide_headers")
_HANDLERS: Final[dict[str, tuple[Callable[[_Parser, dict[str, Any]], None], tuple[str, ...]]]] = {
    "request": (_Parser.request, (*_EDITS, "add_prefix")),
    "response": (_Parser.answer, _EDITS),
    "set_x_forwarded": (_Parser.set_forwarded, ()),
    "hide_x_forwarded": (_Parser.hide_forwarded, ()),
    "redirect_http": (_Parser.redirect, ()),
    "cidr_whitelist": (_Parser.whitelist, ("allow", "status", "status_code", "message")),
    "rate_limit": (_Parser.rate, ("average", "burst", "period", "periods")),
    "forwardauth": (_Parser.auth, ("route", "auth_endpoint", "headers")),
    "crowdsec": (_Parser.crowdsec, CROWDSEC_OPTIONS),
    "oidc": (_Parser.oidc, OIDC_OPTIONS),
    "hcaptcha": (_Parser.captcha, CAPTCHA_OPTIONS),
    "error_page": (_Parser.error_page, ()),
    "modify_html": (_Parser.modify_html, ("target", "html", "replace")),
    "themed": (_Parser.themed, ("theme", "font_url", "font_family", "css")),
    "cloudflare_real_ip": (_Parser.cloudflare, ()),
    "real_ip": (_Parser.real_ip, ("header", "from", "recursive")),
}


def known_options(name: str) -> tuple[str, ...]:
    """Return the options of a middleware, given by its canonical name, except ``priority`` and ``bypass``."""
    return _HANDLERS[name][1]
