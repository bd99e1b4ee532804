"""Kinds of values with a notation of their own: ports, middlewares, icons, log retention, status ranges."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, parse_duration
from pilotage.core.yaml import Located, bare, kind_name, parse_yaml
from pilotage.routes.fields import UNSET, Kind, Nested, Reading, Text, as_mapping, scalar_text

if TYPE_CHECKING:
    from pilotage.labels.decode import Spelling

__all__ = [
    "MIDDLEWARES",
    "Icon",
    "Middlewares",
    "Port",
    "PortPair",
    "Retention",
    "Rules",
    "StatusRange",
    "middleware_name",
]

_HIGHEST: Final = 65535


class PortPair(msgspec.Struct, frozen=True):
    """The two ports of a route; 0 stands for automatic.

    Attributes:
        listening: where the proxy listens, for tcp and udp.
        proxy: where the target listens.

    """

    listening: int = 0
    proxy: int = 0


class Port(Nested):
    """``8080``, ``:8080`` or ``2222:22``; or a mapping with ``listening`` and ``proxy``."""

    name = "port"

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        return name.lower(), None, False

    def read(self, value: Located, to: Reading) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, dict):
            return self._mapping(given, to)
        text = scalar_text(given)
        if text is None or isinstance(given, bool | float):
            return self.wrong(value, to)
        first, colon, rest = text.partition(":")
        if ":" in rest:
            to.fault(value, f"{shorten(text)!r}: too many colons; write [listening:]target")
            return UNSET
        if not colon:
            return PortPair(0, self._number(first, value, to))
        listening = self._number(first, value, to) if first else 0
        return PortPair(listening, self._number(rest, value, to))

    def _mapping(self, given: dict[str, Located], to: Reading) -> PortPair:
        found = {"listening": 0, "proxy": 0}
        path = to.path
        for key, value in given.items():
            to.path = f"{path}.{key}"
            text = scalar_text(value.value)
            if key not in found:
                to.fault(value, "unknown field", did_you_mean(key, found) or "listening or proxy", at_key=True)
            elif text:
                found[key] = self._number(text, value, to)
        to.path = path
        return PortPair(**found)

    def _number(self, text: str, value: Located, to: Reading) -> int:
        """Return a port's number; 0, reported, for what is none."""
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            part = f"{text!r} in {shorten(value.value)!r}" if text != value.value else repr(shorten(text))
            to.fault(value, f"{part} is not a port number", "a port is a number from 1 to 65535; 0 is automatic")
            return 0
        number = int(text)
        if 0 <= number <= _HIGHEST:
            return number
        # A negative number cannot have been meant as any port, nor as automatic: the reference refuses the route.
        to.fatal = to.fatal or number < 0
        to.fault(value, f"port {number} is out of range", "a port is a number from 1 to 65535; 0 is automatic")
        return 0

    def dump(self, name: str, value: PortPair) -> tuple[str, Any]:
        return name, {"listening": value.listening, "proxy": value.proxy}


# The reference's middlewares by folded name (LABELS II.6.2), and the name we show.
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
    "realip": "real_ip",
    "cloudflarerealip": "cloudflare_real_ip",
    "cidrwhitelist": "cidr_whitelist",
    "ratelimit": "rate_limit",
    "hcaptcha": "hcaptcha",
}


def middleware_name(written: str) -> str | None:
    """Return the middleware that a name stands for, in whatever spelling; ``None`` for an unknown one."""
    return MIDDLEWARES.get(written.lower().replace("_", ""))


class _Options:
    """The spelling of a middleware's options: text of a label for them stays text."""

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        return name, self, False


_OPTIONS: Final = _Options()


class Middlewares(Nested):
    """Middleware -> its options. Names are checked; options are kept as they are written, the vital ones checked."""

    name = "mapping"
    eager = True

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        return name, _OPTIONS, True

    def read(self, value: Located, to: Reading) -> Any:
        mapping = as_mapping(self, value, to)
        if mapping is UNSET:
            return UNSET
        path = to.path
        found: dict[str, Any] = {}
        seen: dict[str, str] = {}
        for written, options in mapping.items():
            to.path = f"{path}.{written}"
            name = middleware_name(written)
            if name is None:
                self._unknown(written, options, to)
                continue
            if name in seen:
                to.fault(options, f"{written} and {seen[name]} are the same middleware", "keep one", at_key=True)
            seen[name] = written
            content = as_mapping(self, options, to)
            found[written] = {key: bare(item) for key, item in content.items()} if content else None
            check = _CHECKS.get(name)
            if check is not None and content is not UNSET:
                check({key.lower().replace("_", ""): item for key, item in content.items()}, options, to)
        to.path = path
        return found

    def _unknown(self, written: str, options: Located, to: Reading) -> None:
        if "@" in written:
            to.fault(options, "middlewares from files are known to GoDoxy, not supported by pilotage", at_key=True)
            return
        hint = did_you_mean(written, sorted(set(MIDDLEWARES.values()))) or did_you_mean(written.lower(), MIDDLEWARES)
        to.fault(options, "unknown middleware", hint, at_key=True)


def _elements(value: Located | None) -> list[Located]:
    if value is None or value.value is None:
        return []
    if isinstance(value.value, list):
        return value.value
    text = scalar_text(value.value) or ""
    return [msgspec.structs.replace(value, value=piece) for piece in re.split(r"[,\s]+", text.strip("[] \n")) if piece]


def _check_cidrs(options: dict[str, Located], whole: Located, to: Reading) -> None:
    allowed = _elements(options.get("allow"))
    if not allowed:
        to.fault(whole, "allow needs at least one network", "write allow: [10.0.0.0/8]")
    for item in allowed:
        text = scalar_text(item.value) or ""
        try:
            ipaddress.ip_network(text.lstrip("- "), strict=False)
        except ValueError:
            to.fault(
                item, f"{shorten(text)!r} is not a network", "write one such as 10.0.0.0/8", path=f"{to.path}.allow"
            )


def _check_rate(options: dict[str, Located], _whole: Located, to: Reading) -> None:
    for key in ("average", "burst"):
        value = options.get(key)
        text = scalar_text(value.value) if value is not None else None
        if value is not None and not (text and re.fullmatch(r"0*[1-9][0-9]{0,17}", text)):
            shown = shorten(bare(value))
            to.fault(value, f"{shown!r} is not a whole number of at least 1", path=f"{to.path}.{key}")
    period = options.get("period")
    if period is None or period.value is None:
        return
    try:
        seconds = parse_duration(scalar_text(period.value) or "")
    except ParseError as error:
        to.fault(period, error.message, path=f"{to.path}.period")
        return
    if seconds < 1:
        to.fault(period, "the period is too short; at least 1s", path=f"{to.path}.period")


_CHECKS: Final = {"cidr_whitelist": _check_cidrs, "rate_limit": _check_rate}


_RULE_KEYS: Final = ("name", "on", "do")


class Rules(Kind):
    """Rules for requests, kept as they are written: blocks in braces, or a YAML list of ``name``, ``on`` and ``do``.

    Only their outer form is checked: that braces match, that a list holds rules, and that one at most is the default.
    """

    name = "list of rules"

    def read(self, value: Located, to: Reading) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, str):
            text = given.strip()
            if text[:1] not in ("-", "["):
                return (
                    given if not text or self._is_block(text) else self.wrong(value, to, "write 'condition { action }'")
                )
            try:
                document = parse_yaml(given, value.source)
            except ParseError as error:
                to.fault(value, error.message)
                return UNSET
            value = document if document is not None else value
        if not isinstance(value.value, list):
            return self.wrong(value, to, "write blocks in braces, or a list of rules with name, on and do")
        return bare(value) if self._check(value.value, to) else UNSET

    @staticmethod
    def _is_block(text: str) -> bool:
        depth = 0
        for letter in text:
            depth += (letter == "{") - (letter == "}")
            if depth < 0:
                return False
        return depth == 0 and "{" in text

    @staticmethod
    def _check(rules: list[Located], to: Reading) -> bool:
        before, defaults = len(to.problems), 0
        for rule in rules:
            if not isinstance(rule.value, dict):
                to.fault(rule, f"a rule is a mapping, not {kind_name(rule.value)}", "write name, on and do")
                continue
            for key, item in rule.value.items():
                if key not in _RULE_KEYS:
                    to.fault(item, "unknown field of a rule", did_you_mean(key, _RULE_KEYS), at_key=True)
            name = rule.value.get("name")
            defaults += name is not None and name.value == "default"
            if defaults > 1:
                to.fault(rule, "there is a default rule already", "keep one")
        return len(to.problems) == before


_ICON: Final = re.compile(r"@(selfhst|walkxcode)/[^/\s]+\.(svg|png|webp)")


class Icon(Text):
    """``https://…``, ``/path``, ``@target/path``, ``@selfhst/name.svg``, ``@walkxcode/name.png``."""

    name = "icon"

    def read(self, value: Located, to: Reading) -> Any:
        text = super().read(value, to)
        if text is UNSET or not text:
            return text
        if text.startswith(("http://", "https://", "/", "@target/")) or _ICON.fullmatch(text):
            return text
        return self.wrong(
            value, to, "write a URL, /path, @target/path, @selfhst/name.svg or @walkxcode/name.png (svg, png, webp)"
        )


_RETENTION: Final = re.compile(
    r"\s*(?:(?P<days>[0-9]{1,6})\s*(?P<unit>days?|weeks?|months?)|last\s+(?P<last>[0-9]{1,9})"
    r"|(?P<size>[0-9]{1,9})\s*(?P<bytes>KB|MB|GB|kb|mb|gb))\s*"
)
_DAYS: Final = {"day": 1, "week": 7, "month": 30}
_BYTES: Final = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}


class Retention(Kind):
    """``7 days``, ``2 weeks``, ``last 100``, ``50 MB``; read into ``{"days": 7}``, ``{"last": 100}``, ``keep_size``."""

    name = "retention"

    def read(self, value: Located, to: Reading) -> Any:
        if value.value is None or value.value == "":
            return UNSET
        match = _RETENTION.fullmatch(value.value) if isinstance(value.value, str) else None
        if match is None:
            return self.wrong(value, to, "write one such as '7 days', '2 weeks', 'last 100' or '50 MB'")
        if match["days"]:
            return {"days": int(match["days"]) * _DAYS[match["unit"].rstrip("s")]}
        if match["last"]:
            return {"last": int(match["last"])}
        return {"keep_size": int(match["size"]) * _BYTES[match["bytes"].lower()]}


class StatusRange(Kind):
    """One HTTP status, ``404``, or a range, ``400-499``."""

    name = "status or a range of them"

    def read(self, value: Located, to: Reading) -> Any:
        text = scalar_text(value.value)
        match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", text or "")
        if match is None or (match[2] and match[2] < match[1]):
            return self.wrong(value, to, "write one such as 404 or 400-499")
        return text
