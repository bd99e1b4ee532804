"""Splits the values that rules write into parts for the script in Envoy. Pure.

Envoy's own operators can work out most values of headers, which is faster. The script also knows cookies, values other
than the first one, and ``$redacted``. The names are GoDoxy's.
"""

from __future__ import annotations

import re
from typing import Final

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.xds.variables import (
    FROM_BODY,
    MAX_VARIABLES,
    NO_UPSTREAM,
    REQUEST_VARIABLES,
    RESPONSE_VARIABLES,
    UPSTREAM_VARIABLES,
    Upstream,
    VariableError,
)

__all__ = ["SCRIPT_VARIABLES", "is_for_script", "script_parts"]

_VARIABLE: Final = re.compile(r"\$(?:\$|([A-Za-z_]\w*))", re.ASCII)
_ARGUMENTS: Final = re.compile(r"\s*[\"'`]?([\w.-]{1,100})[\"'`]?\s*(?:,\s*([0-9]{1,3})\s*)?", re.ASCII)
_REDACTED: Final = "redacted"
_LOOK_UPS: Final = ("header", "resp_header", "cookie", "arg")
_ONLY_RESPONSE: Final = frozenset({*RESPONSE_VARIABLES, "resp_header"})
_NAMES: Final = (*REQUEST_VARIABLES, *RESPONSE_VARIABLES, *UPSTREAM_VARIABLES, *_LOOK_UPS, _REDACTED)
_ONLY_HERE: Final = re.compile(r"(?<!\$)(?:\$\$)*\$(?:cookie\(|redacted\(|(?:header|resp_header|arg)\([^()]*[,\"'`.])")

SCRIPT_VARIABLES: Final = ("cookie(name)", "redacted(value)")
"""Variables that only the script knows."""


def is_for_script(text: str) -> bool:
    """Return whether only the script can work out a value."""
    return _ONLY_HERE.search(text) is not None


def script_parts(text: str, upstream: Upstream = NO_UPSTREAM, *, response: bool = False) -> list[str]:
    r"""Return the parts of a value.

    ``=text`` is a text, ``$name\tARGUMENT\tINDEX`` a variable, and ``*name\tARGUMENT\tINDEX`` a redacted variable.

    Args:
        text: the value. ``$$`` stands for a dollar sign, as does a dollar sign without a name after it.
        upstream: the target of the route.
        response: whether the value is worked out when there is a response.

    Raises:
        VariableError: the value has an unknown variable, a variable that has no value here, or too many variables.

    """
    return _Reader(upstream, response=response).parts(text)


class _Reader:
    def __init__(self, upstream: Upstream, *, response: bool) -> None:
        self.upstream, self.response = upstream, response
        self.count = 0

    def parts(self, text: str) -> list[str]:
        found: list[str] = []
        end = 0
        while (match := _VARIABLE.search(text, end)) is not None:
            found.append(f"={text[end : match.start()]}")
            name, end = match[1], match.end()
            if name is None:
                found.append("=$")
                continue
            argument = None
            if name in (*_LOOK_UPS, *FROM_BODY, _REDACTED) and text[end : end + 1] == "(":
                argument, end = _inside(text, end, name)
            found.append(self.part(name, argument))
        found.append(f"={text[end:]}")
        return _joined(found)

    def part(self, name: str, argument: str | None, kind: str = "$") -> str:
        self.count += 1
        if self.count > MAX_VARIABLES:
            raise VariableError(f"a value has more than {MAX_VARIABLES} variables", "write fewer")
        if name in UPSTREAM_VARIABLES:
            return f"={UPSTREAM_VARIABLES[name](self.upstream)}"
        if name in FROM_BODY:
            raise VariableError(f"${name} has no value, because the body arrives later", "use $arg or $header")
        if name not in _NAMES:
            hint = did_you_mean(name, _NAMES) or f"write $${name} for the text ${name}"
            raise VariableError(f"unknown variable ${name}", hint)
        if name in _ONLY_RESPONSE and not self.response:
            raise VariableError(f"${name} has no value before there is a response", "use it in a change to a response")
        if name == _REDACTED:
            return self.redacted(argument, kind)
        if name not in _LOOK_UPS:
            return f"{kind}{name}\t\t"
        given = _ARGUMENTS.fullmatch(argument or "")
        if given is None:
            raise VariableError(f"${name} needs a name in parentheses", f"write ${name}(Name) or ${name}(Name, 1)")
        return f"{kind}{name}\t{given[1]}\t{int(given[2] or 0)}"

    def redacted(self, argument: str | None, kind: str) -> str:
        inner = (argument or "").strip()
        match = _VARIABLE.match(inner)
        if kind == "*" or not inner:
            raise VariableError("$redacted needs a value in parentheses", "write $redacted($header(Name))")
        if match is None or match[1] is None:
            return f"={_hidden(inner.strip(chr(34) + chr(39) + chr(96)))}"
        rest = inner[match.end() :]
        found = None
        if rest:
            found, end = _inside(inner, match.end(), match[1]) if rest[0] == "(" else ("", 0)
            if inner[end:].strip():
                raise VariableError("$redacted takes a single variable", "write $redacted($header(Name))")
        part = self.part(match[1], found, "*")
        return f"={_hidden(part[1:])}" if part[0] == "=" else part


def _inside(text: str, at: int, name: str) -> tuple[str, int]:
    """Return the text inside the parentheses that open at a position, and the position after them."""
    depth = 0
    for place in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if not depth:
            return text[at + 1 : place], place + 1
    raise VariableError(f"the parenthesis after ${shorten_value(name)} is not closed", "write ')'")


def _hidden(text: str) -> str:
    """Return a text with its middle replaced, as the script does."""
    return "********" if len(text) <= 8 else f"{text[:2]}{'*' * min(len(text) - 4, 16)}{text[-2:]}"


def _joined(parts: list[str]) -> list[str]:
    """Join neighboring texts, and leave out empty ones."""
    found: list[str] = []
    for part in parts:
        if part == "=":
            continue
        if part[0] == "=" and found and found[-1][0] == "=":
            found[-1] += part[1:]
        else:
            found.append(part)
    return found
