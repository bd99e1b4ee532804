"""Defines the field ``middlewares``: the known names and the options that are checked. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

import msgspec

from pilotage.core.budget import Budget, BudgetError
from pilotage.core.secrets import HEADER_NAMES, SHOWN, Visibility
from pilotage.core.values import ParseError, comma_list, parse_duration
from pilotage.core.yaml import Located, bare, beginning
from pilotage.labels.key_schema import FREE_KEYS, KeySchema, fold
from pilotage.routes.fields import UNSET, FieldContext, Kind, scalar_text
from pilotage.routes.mappings import MAX_ELEMENTS, as_mapping

__all__ = ["FROM_FILE", "MIDDLEWARES", "STEP", "Middlewares", "middleware_name"]

FROM_FILE: Final = "@"
"""Part of the name of a list of middlewares from a file: ``name@file``."""
STEP: Final = "\n"
"""Separates a list's name, a number and a middleware's name in a middleware that comes from a list."""

# GoDoxy's middlewares by folded name (LABELS II.6.2), and their display names.
MIDDLEWARES: Final = {
    "redirecthttp": "redirect_http",
    "oidc": "oidc",
    "forwardauth": "forwardauth",
    "crowdsec": "crowdsec",
    "request": "request",
    "modifyrequest": "request",
    "response": "response",
    "modifyresponse": "response",
    "setxforwarded": "set_x_forwarded",
    "hidexforwarded": "hide_x_forwarded",
    "modifyhtml": "modify_html",
    "themed": "themed",
    "errorpage": "error_page",
    "customerrorpage": "error_page",
    "customerrorpages": "error_page",
    "realip": "real_ip",
    "cloudflarerealip": "cloudflare_real_ip",
    "cidrwhitelist": "cidr_whitelist",
    "ratelimit": "rate_limit",
    "hcaptcha": "hcaptcha",
}
_DISPLAYED: Final = tuple(sorted(set(MIDDLEWARES.values())))


_HEADERS: Final = Visibility(names=True)
_EDITS: Final = {"setheaders": _HEADERS, "addheaders": _HEADERS, "hideheaders": HEADER_NAMES}


def _options(names: str = "", **others: Visibility) -> Visibility:
    return Visibility(fields={**{fold(name): SHOWN for name in names.split()}, **others})


_VISIBLE: Final = {name: _options("priority") for name in MIDDLEWARES.values()} | {
    "request": _options("priority add_prefix", **_EDITS),
    "response": _options("priority", **_EDITS),
    "oidc": _options("priority issuer_url scopes"),
    "forwardauth": _options("priority route auth_endpoint", headers=HEADER_NAMES),
    "crowdsec": _options("priority route port endpoint timeout log_only"),
    "themed": _options("priority theme"),
    "real_ip": _options("priority from recursive", header=HEADER_NAMES),
    "hcaptcha": _options("priority site_key session_expiry"),
    "cidr_whitelist": _options("priority allow status status_code message"),
    "rate_limit": _options("priority average burst period periods"),
}
"""Middleware -> options that may be shown. All others, such as ``client_secret`` and misspelt ones, are hidden."""


def middleware_name(written: str) -> str | None:
    """Return the canonical name of a middleware, given in any spelling; ``None`` if no middleware has this name."""
    return MIDDLEWARES.get(fold(written))


class Middlewares(Kind):
    """A mapping from middlewares to their options, as written. Names and options that restrict access are checked."""

    name = "mapping"
    keys = KeySchema(below=FREE_KEYS, is_yaml=True)
    eager = True
    visible = Visibility(fields={written: _VISIBLE[name] for written, name in MIDDLEWARES.items()})

    def read(self, value: Located, context: FieldContext) -> Any:
        mapping = as_mapping(self, value, context)
        if mapping is UNSET:
            return UNSET
        path = context.path
        found: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for written, options in mapping.items():
            context.path = f"{path}.{written}"
            name = middleware_name(written)
            if name is None and re.fullmatch(r"[^@\n]+@file", written):
                if options.value not in (None, "", {}):
                    context.error(options, "a list of middlewares from a file has no options", "remove them")
                found[written] = None
                continue
            if name is None:
                self._unknown(written, options, context)
                continue
            if name in seen:
                context.error(options, f"{written} and {seen[name]} are the same middleware", "keep one", at_key=True)
            seen[name] = written
            content = as_mapping(self, options, context)
            found[written] = {key: bare(item) for key, item in content.items()} if content else None
            check = _CHECKS.get(name)
            if check is not None and content is not UNSET:
                check({fold(key): item for key, item in content.items()}, options, context)
        context.path = path
        return found

    def _unknown(self, written: str, options: Located, context: FieldContext) -> None:
        if "@" in written:
            context.error(options, "middlewares come only from files", "write NAME@file", at_key=True)
            return
        hint = context.did_you_mean(written, _DISPLAYED) or context.did_you_mean(written.lower(), MIDDLEWARES)
        context.error(options, "unknown middleware", hint, at_key=True)


def _elements(value: Located | None, budget: Budget) -> list[Located]:
    """Return the elements of a list or comma-separated text. Raise BudgetError if the text has too many."""
    if value is None or value.value is None:
        return []
    if isinstance(value.value, list):
        return value.value
    pieces = comma_list((scalar_text(value.value) or "").strip("[] \n"), MAX_ELEMENTS)
    budget.take(len(pieces))
    return [msgspec.structs.replace(value, value=piece) for piece in pieces]


def _check_cidrs(options: dict[str, Located], whole: Located, context: FieldContext) -> None:
    try:
        allowed = _elements(options.get("allow"), context.budget)
    except BudgetError as error:
        context.error(options["allow"], error.message)
        return
    if not allowed:
        context.error(whole, "'allow' needs at least one network", "write allow: [10.0.0.0/8]")
        return
    if len(allowed) > MAX_ELEMENTS:
        context.error(whole, f"'allow' has more than {MAX_ELEMENTS:,} networks", "write larger networks")
        return
    wrong = [item for item in allowed if not _is_network(scalar_text(item.value) or "")]
    given = options["allow"]
    if wrong and isinstance(given.value, str) and context.budget.holds_secret(given.value):
        wrong = [given]  # part of a secret would not be recognized
    for item in wrong:
        shown = context.shorten(scalar_text(item.value) or "")
        path = f"{context.path}.allow"
        context.error(item, f"{shown!r} is not a network", "write one such as 10.0.0.0/8", path=path)


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text.lstrip("- "), strict=False)
    except ValueError:
        return False
    return True


def _check_rate(options: dict[str, Located], _whole: Located, context: FieldContext) -> None:
    for key in ("average", "burst"):
        value = options.get(key)
        text = scalar_text(value.value) if value is not None else None
        if value is not None and not (text and re.fullmatch(r"0*[1-9][0-9]{0,17}", text)):
            shown = context.shorten(str(beginning(value)))
            context.error(value, f"{shown!r} is not a whole number of at least 1", path=f"{context.path}.{key}")
    period = options.get("period", options.get("periods"))  # GoDoxy's documentation says ``periods``
    if period is None or period.value is None:
        return
    try:
        seconds = parse_duration(scalar_text(period.value) or "")
    except ParseError as error:
        context.error(period, error.message, path=f"{context.path}.period")
        return
    if seconds < 1:
        context.error(period, "the period is too short; it must be at least 1s", path=f"{context.path}.period")


_CHECKS: Final = {"cidr_whitelist": _check_cidrs, "rate_limit": _check_rate}
