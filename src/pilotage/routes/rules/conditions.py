"""Parses and checks the conditions of rules. Pure.

``&`` and line ends separate parts that must all hold; ``|`` separates alternatives inside a part and so binds more
tightly. ``!`` inverts a check or a pattern. Source: GoDoxy's documentation of conditions.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.routes.rules.globs import parse_glob
from pilotage.routes.rules.model import Check, Condition, Pattern, RuleError
from pilotage.routes.rules.regex import parse_regex
from pilotage.routes.rules.words import split, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.routes.rules.nodes import Node

__all__ = ["ARGUMENTS", "SUBJECTS", "is_about_responses", "parse_condition"]

ARGUMENTS: Final = {
    "header": "name [pattern]",
    "query": "name [pattern]",
    "cookie": "name [pattern]",
    "form": "name [pattern]",
    "postform": "name [pattern]",
    "resp_header": "name [pattern]",
    "method": "method",
    "host": "pattern",
    "path": "pattern",
    "route": "pattern",
    "remote": "address or network",
    "proto": "http, https, h1, h2, h2c or h3",
    "basic_auth": "user bcrypt-hash",
    "status": "status, 200-299 or 2xx",
}
"""The conditions, and the arguments of each."""

SUBJECTS: Final = tuple(ARGUMENTS)
_RESPONSE: Final = frozenset({"resp_header", "status"})
_PROTOCOLS: Final = ("http", "https", "h1", "h2", "h2c", "h3")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_MOST_CHECKS: Final = 200
_HASH: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_COSTS: Final = range(4, 13)
"""Costs of bcrypt hashes. Each one doubles the time of a comparison; 12 takes about 0.4 s."""
_FUNCTION: Final = re.compile(r"(\w+)\((.*)\)", re.DOTALL)


def is_about_responses(condition: Condition) -> bool:
    """Return whether a condition tests a response."""
    return any(check.subject in _RESPONSE for part in condition for check in part)


def parse_condition(text: str) -> Condition:
    """Parse a condition without comments. Raises RuleError; its line counts from the start of the text."""
    found: list[tuple[Check, ...]] = []
    count = 0
    for part, at in _parts(text):
        checks = []
        for alternative, _ in split(part, "|"):
            if not alternative.strip():
                continue
            count += 1
            if count > _MOST_CHECKS:
                raise RuleError(f"a condition has more than {_MOST_CHECKS} checks")
            try:
                checks.append(_check(words(alternative)))
            except RuleError as error:
                raise RuleError(error.message, error.hint, text.count("\n", 0, at)) from None
        if checks:
            found.append(tuple(checks))
    return tuple(found)


def _parts(text: str) -> list[tuple[str, int]]:
    """Split a condition at ``&`` and line ends. A line that ends with ``|`` continues on the next line."""
    found: list[tuple[str, int]] = []
    for line, at in split(text, "\n&"):
        if found and found[-1][0].rstrip().endswith("|"):
            found[-1] = (f"{found[-1][0]} {line}", found[-1][1])
        else:
            found.append((line, at))
    if found and found[-1][0].rstrip().endswith("|"):
        raise RuleError("a condition is missing after '|'")
    return found


def _check(tokens: list[str]) -> Check:
    name, *args = tokens or [""]
    negate = name.startswith("!")
    name = name.removeprefix("!")
    if not name and args:
        name, *args = args
    if name not in ARGUMENTS:
        hint = did_you_mean(name, SUBJECTS) or f"write one of {', '.join(SUBJECTS)}"
        raise RuleError(f"{shorten_value(name)!r} is not a condition", hint)
    found = _PARSERS[name](name, args)
    return Check(found.subject, found.key, found.pattern, found.value, negate) if negate else found


def _arguments(name: str, args: list[str], *counts: int) -> None:
    if len(args) not in counts:
        raise RuleError(f"the condition {name} has {len(args)} arguments", f"write {name} {ARGUMENTS[name]}")


def _named(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1, 2)
    key = args[0]
    if name in ("header", "resp_header", "cookie") and not _TOKEN.fullmatch(key):
        raise RuleError(f"{shorten_value(key)!r} is not a valid {name.removeprefix('resp_')} name")
    if name == "header" and key.lower() == "host":
        raise RuleError("header Host is never present", "use the condition host")
    return Check(name, key, _pattern(args[1]) if len(args) == 2 else None)


def _single(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1)
    pattern = _pattern(args[0])
    if name == "path" and pattern.kind == "exact" and not pattern.text.startswith("/"):
        raise RuleError(f"the path {shorten_value(pattern.text)!r} does not begin with '/'", "write /path")
    return Check(name, pattern=pattern)


def _pattern(text: str) -> Pattern:
    negate, text = text.startswith("!"), text.removeprefix("!")
    function = _FUNCTION.fullmatch(text)
    if function is None:
        return Pattern("exact", text, negate=negate)
    kind, inner = function[1].lower(), function[2]
    if inner[:1] and inner[0] in "\"'`" and inner[-1] == inner[0] and len(inner) > 1:
        inner = inner[1:-1]
    if kind == "string":
        return Pattern("exact", inner, negate=negate)
    if kind not in _PATTERNS:
        hint = did_you_mean(kind, _PATTERNS) or "write glob(…), regex(…) or a text in quotes"
        raise RuleError(f"{shorten_value(kind)!r} is not a kind of pattern", hint)
    try:
        node = _PATTERNS[kind](inner)
    except ValueError as error:
        raise RuleError(f"{kind}({shorten_value(inner)}): {error}") from None
    return Pattern("glob" if kind == "glob" else "regex", inner, node, negate)


_PATTERNS: Final[dict[str, Callable[[str], Node]]] = {"glob": parse_glob, "regex": parse_regex}


def _method(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1)
    if not _TOKEN.fullmatch(args[0]):
        raise RuleError(f"{shorten_value(args[0])!r} is not a method", "write one such as GET")
    return Check(name, value=args[0].upper())


def _protocol(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1)
    if args[0] not in _PROTOCOLS:
        raise RuleError(f"{shorten_value(args[0])!r} is not a protocol", f"write one of {', '.join(_PROTOCOLS)}")
    return Check(name, value=args[0])


def _remote(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1)
    try:
        network = ipaddress.ip_network(args[0], strict=False)
    except ValueError:
        hint = "write one such as 10.0.0.0/8"
        raise RuleError(f"{shorten_value(args[0])!r} is not an address or network", hint) from None
    return Check(name, value=str(network))


def _basic_auth(name: str, args: list[str]) -> Check:
    _arguments(name, args, 2)
    found = _HASH.fullmatch(args[1])
    if found is None:
        raise RuleError(
            "the password of basic_auth is not a bcrypt hash", "make one with 'htpasswd -nbB user password'"
        )
    if int(found[1]) not in _COSTS:
        hint = f"make one with a cost of {_COSTS[0]} to {_COSTS[-1]}, such as 'htpasswd -nbB -C 10 user password'"
        raise RuleError(f"the bcrypt hash in basic_auth has a cost of {int(found[1])}, which is not allowed", hint)
    return Check(name, args[0], value=args[1])


def _status(name: str, args: list[str]) -> Check:
    _arguments(name, args, 1)
    text = args[0]
    if re.fullmatch("[1-5]xx", text):
        return Check(name, value=f"{text[0]}00-{text[0]}99")
    low, dash, high = text.partition("-")
    if not all(re.fullmatch("[1-5][0-9][0-9]", it) for it in (low, high if dash else low)):
        raise RuleError(f"{shorten_value(text)!r} is not a status", "write 404, 400-499 or 4xx")
    return Check(name, value=f"{low}-{high if dash else low}")


_PARSERS: Final[dict[str, Callable[[str, list[str]], Check]]] = {
    **dict.fromkeys(("header", "query", "cookie", "form", "postform", "resp_header"), _named),
    **dict.fromkeys(("host", "path", "route"), _single),
    "method": _method,
    "proto": _protocol,
    "remote": _remote,
    "basic_auth": _basic_auth,
    "status": _status,
}
