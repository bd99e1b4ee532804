"""Writes the patterns of rules as regular expressions for Envoy, which match the whole of a header. Pure.

GoDoxy compares decoded values. Envoy has the request as it was sent: paths and queries are percent-encoded. Each
character of a pattern therefore also matches its encoded forms. Otherwise a client could write ``/%61dmin`` to get past
a rule about ``/admin``.

Paths are compared without their parameters, such as ``;x`` in ``/admin;x/users``, because many targets ignore them:
those that use Java servlets, for example (RFC 3986, section 3.3).
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pilotage.routes.rules import ANY, Alternatives, Chain, Chars, Edge, Repeat, literal_node, remainder
from pilotage.routes.rules import is_nullable as nullable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.routes.rules import Node, Pattern, Ranges

__all__ = [
    "LONGEST_REGEX",
    "canonical_path",
    "cookie_regex",
    "header_regex",
    "host_regex",
    "is_nullable",
    "network_regex",
    "path_regex",
    "prefix_regex",
    "query_regex",
    "rewritten_path_regex",
]

LONGEST_REGEX: Final = 8_000
_LAST: Final = 0x10FFFF
_SEMICOLON: Final = Chars(((59, 59),))
_MOST_CHARS: Final = 64
_EVERYTHING: Final = Repeat(ANY, 0, None)

_SLASH: Final = "(?:/|%2[Ff])"
_PARAMETERS: Final = "(?:(?:;|%3[Bb])[^/?]*)?"
"""The parameters of a segment, if there are any. Requests with encoded slashes in them are refused before."""
_SLASHES: Final = f"{_PARAMETERS}{_SLASH}(?:(?:\\.|%2[Ee])?{_PARAMETERS}{_SLASH})*"
"""A slash, or ``//`` or ``/./``, which GoDoxy treats as one. Envoy resolves ``/./`` unless its slashes are encoded."""
_ANY_IN_PATH: Final = "(?:[^?;%]|%[^3?]|%3[^Bb?]|(?:;|%3[Bb])[^/?]*/)"
"""Any character of a path outside parameters, or a part of an encoded one."""


class _Place:
    """The part of a request in which a pattern is matched.

    Attributes:
        chars: returns the regex for a set of characters.
        begin, end: match the beginning and the end of the value.
        any: matches any character of an encoded value, or a part of an encoded character.

    """

    def __init__(self, chars: Callable[[Ranges], str], begin: str = "^", end: str = "$", *, others: str = ".") -> None:
        self.chars, self.begin, self.end, self.any = chars, begin, end, others

    def write(self, node: Node) -> str:
        match node:
            case Chars(ranges):
                return self.chars(ranges)
            case Chain(items):
                return "".join(
                    f"(?:{self.write(it)})" if isinstance(it, Alternatives) else self.write(it) for it in items
                )
            case Alternatives(items):
                return "|".join(self.write(item) for item in items)
            case Repeat(item, least, None) if item == ANY and least < 2:
                return f"{self.any}{_count(least, None)}"
            case Repeat(item, least, most):
                return f"(?:{self.write(item)}){_count(least, most)}"
            case Edge(is_end):
                return self.end if is_end else self.begin

    def search(self, pattern: Pattern) -> str:
        """Return a regex for the whole value. A ``regex`` pattern may match any part of it; others must match all."""
        node = _node(pattern)
        if pattern.kind != "regex":
            return f"(?:{self.write(node)})"
        anything = self.write(_EVERYTHING)
        return f"{anything}(?:{self.write(node)}){anything}"


def _count(least: int, most: int | None) -> str:
    return {(0, None): "*", (1, None): "+", (0, 1): "?"}.get(
        (least, most), f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
    )


def _node(pattern: Pattern) -> Node:
    return literal_node(pattern.text) if pattern.node is None else pattern.node


def is_nullable(pattern: Pattern) -> bool:
    """Return whether the empty text matches."""
    return nullable(_node(pattern))


# ---- sets of characters ----------------------------------------------------------------------------------------------


_NOTHING: Final = r"[^\x00-\xFF]"


def _class(ranges: Ranges) -> str:
    """Return the regex for an unencoded character of a set. Envoy's regexes match bytes, so UTF-8 may need several.

    Raises ValueError for a set outside ASCII that is too large to list.
    """
    parts = [_bytes(within)] if (within := _within(ranges, 0, 0x7F)) else []
    beyond = _within(ranges, 0x80, _LAST)
    if beyond == ((0x80, _LAST),):
        parts += [r"[\xC2-\xF4][\x80-\xBF]{1,3}", r"[\x80-\xFF]"]
    else:
        parts += ["".join(f"\\x{byte:02x}" for byte in char.encode()) for char in _listed(beyond)]
    if not parts:
        return _NOTHING
    return parts[0] if len(parts) == 1 and not beyond else f"(?:{'|'.join(parts)})"


def _bytes(ranges: Ranges) -> str:
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _escape(ranges[0][0])
    return "[" + "".join(_escape(low) + (f"-{_escape(high)}" if high > low else "") for low, high in ranges) + "]"


def _listed(ranges: Ranges) -> list[str]:
    if sum(high - low + 1 for low, high in ranges) > _MOST_CHARS:
        raise ValueError(f"a set of more than {_MOST_CHARS} characters outside ASCII is not supported")
    return [chr(code) for low, high in ranges for code in range(low, high + 1) if not 0xD800 <= code <= 0xDFFF]


def _escape(code: int) -> str:
    char = chr(code)
    return char if char.isascii() and char.isalnum() else f"\\x{code:02x}"


def _without(ranges: Ranges, codes: str) -> Ranges:
    found = list(ranges)
    for code in map(ord, codes):
        found = [
            part
            for low, high in found
            for part in (((low, code - 1), (code + 1, high)) if low <= code <= high else ((low, high),))
            if part[0] <= part[1]
        ]
    return tuple(found)


def _within(ranges: Ranges, low: int, high: int) -> Ranges:
    return tuple((max(a, low), min(b, high)) for a, b in ranges if a <= high and b >= low)


def _encoded(special: str, *, plus: bool = False) -> Callable[[Ranges], str]:
    """Return a function that writes the regex for a set of characters in a URL.

    Args:
        special: printable characters that have another meaning here unless they are encoded.
        plus: whether a plus sign means a space.

    """

    @lru_cache(maxsize=512)
    def write(ranges: Ranges) -> str:
        raw = _without(_within(ranges, 0x21, _LAST), f"%{special}\x7f{'+' if plus else ''}")
        parts = [_class(raw)] if raw else []
        if plus and _within(ranges, 32, 32):
            parts.append(r"\+")
        parts += _hex_pairs(_within(ranges, 0, 0x7F))
        parts += _hex_beyond(_within(ranges, 0x80, _LAST))
        if not parts:
            return _NOTHING
        return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"

    return write


def _hex_pairs(ranges: Ranges) -> list[str]:
    """Return the encoded forms of ASCII characters."""
    rows: dict[str, list[int]] = {}
    for high in range(8):
        low = [code for code in range(16) if _within(ranges, high * 16 + code, high * 16 + code)]
        if low:
            rows.setdefault("".join(f"{code:X}" for code in low), []).append(high)
    return [f"%[{''.join(map(str, highs))}][{_any_case(low)}]" for low, highs in rows.items()]


def _any_case(digits: str) -> str:
    return "0-9A-Fa-f" if len(digits) == 16 else "".join(d if d.isdecimal() else d + d.lower() for d in digits)


def _hex_beyond(ranges: Ranges) -> list[str]:
    """Return the encoded forms of characters beyond ASCII. Raises ValueError for a set that is too large to list."""
    if ranges == ((0x80, _LAST),):
        return ["%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3}", "%[89ABab][0-9A-Fa-f]"]
    return [re.sub("[A-F]", lambda it: f"[{it[0]}{it[0].lower()}]", quote(char)) for char in _listed(ranges)]


def _path_chars(ranges: Ranges) -> str:
    if ranges == ((47, 47),):
        return _SLASHES
    others = _ENCODED_PATH(_without(ranges, "/;"))
    return f"(?:{others}|{_PARAMETERS}{_SLASH})" if _within(ranges, 47, 47) else others


_ENCODED_PATH: Final = _encoded("?#")
_ENCODED_QUERY: Final = _encoded("&#;", plus=True)
_END_OF_PATH: Final = rf"{_PARAMETERS}(?:\?.*)?"
_PATH: Final = _Place(_path_chars, end=f"{_END_OF_PATH}$", others=_ANY_IN_PATH)
_PREFIX: Final = _Place(lambda ranges: _SLASH if ranges == ((47, 47),) else _ENCODED_PATH(ranges))
_TEXT: Final = _Place(_class)
_LISTED: Final = _Place(_class, begin=r"(?:^|,\s*)", end=r"(?:\s*,|$)")
_COOKIE: Final = _Place(lambda ranges: _class(_without(ranges, ";")), others="[^;]")
_QUERY: Final = _Place(_ENCODED_QUERY, others="[^&]")


# ---- where patterns are matched --------------------------------------------------------------------------------------


def _whole(regex: str, *, flags: str = "s") -> str:
    found = f"(?{flags}){regex}"
    if len(found) > LONGEST_REGEX:
        raise ValueError("the pattern is too large")
    return found


def header_regex(name: str, pattern: Pattern) -> str:
    """Return the regex for a header value. If the value is a comma-separated list, at least one item must match.

    Envoy tests the values of a repeated header one by one. Case does not matter in Connection and Upgrade (RFC 9110).
    Raises ValueError if the regex is too large.
    """
    flags = "is" if name.lower() in ("connection", "upgrade") else "s"
    if pattern.kind == "regex":
        return _whole(_LISTED.search(pattern), flags=flags)
    return _whole(rf"(?:.*,\s*)?{_LISTED.search(pattern)}(?:\s*,.*)?", flags=flags)


def path_regex(pattern: Pattern) -> str:
    """Return the regex for ``:path``. An exact path may end with an additional slash.

    Raises ValueError if the regex is too large, or the pattern contains a semicolon.
    """
    _check_parameters(_node(pattern))
    if pattern.kind != "exact":
        return _whole(rf"{_PATH.search(pattern)}{_END_OF_PATH}")
    text = canonical_path(pattern.text)
    slash = "" if text.endswith("/") else f"(?:{_SLASHES})?"
    return _whole(rf"{_PATH.write(literal_node(text))}{slash}{_END_OF_PATH}")


def rewritten_path_regex(pattern: Pattern, old: str, new: str) -> str:
    """Return the regex for a ``:path`` that matches after its prefix ``old`` is replaced with ``new``.

    Raises ValueError if the regex is too large or has ``^`` or ``$`` anywhere but at its ends, or if a path contains a
    semicolon.
    """
    _check_parameters(_node(pattern))
    _check_parameters(literal_node(new))
    if pattern.kind == "exact":
        text = canonical_path(pattern.text)
        whole: Node = literal_node(text)
        if not text.endswith("/"):
            whole = Chain((literal_node(text), Repeat(literal_node("/"), 0, 1)))
    elif pattern.kind == "glob":
        whole = _node(pattern)
    else:
        before, node, after = _unanchored(_node(pattern))
        whole = Chain((*([_EVERYTHING] if before else []), node, *([_EVERYTHING] if after else [])))
    rest = _PATH.write(remainder(whole, new))
    return _whole(rf"{prefix_regex(old)}(?:{rest}){_END_OF_PATH}")


def _check_parameters(node: Node) -> None:
    """Raise ValueError if a pattern contains a semicolon, which no path without its parameters does."""
    if node == _SEMICOLON:
        raise ValueError("paths are compared without parameters, so a ';' never matches")
    for item in (
        node.items if isinstance(node, (Chain, Alternatives)) else [node.item] if isinstance(node, Repeat) else []
    ):
        _check_parameters(item)


def canonical_path(text: str) -> str:
    """Return a path without empty and dot segments. Source: Go's ``path.Clean``, with the final slash kept."""
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    last = text.rsplit("/", 1)[-1]
    return "/" + "/".join(segments) + ("/" if segments and last in ("", ".", "..") else "")


def prefix_regex(text: str) -> str:
    """Return the regex for a path prefix. It does not match the rest of the path."""
    return _PREFIX.write(literal_node(text))


def query_regex(name: str, pattern: Pattern | None) -> str:
    """Return the regex for a ``:path`` with a parameter in any position. Raises ValueError if it is too large."""
    key = _Place(_encoded("&#;=", plus=True)).write(literal_node(name))
    if pattern is None:
        value = "(?:=[^&]*)?"
    else:
        value = f"={_query_value(pattern)}"
        if is_nullable(pattern):
            value = f"(?:{value})?"
    return _whole(rf"[^?]*\?(?:.*&)?{key}{value}(?:&.*)?")


def _query_value(pattern: Pattern) -> str:
    if pattern.kind != "regex":
        return _QUERY.search(pattern)
    before, node, after = _unanchored(_node(pattern))
    return f"{'[^&]*' if before else ''}(?:{_QUERY.write(node)}){'[^&]*' if after else ''}"


def _unanchored(node: Node) -> tuple[bool, Node, bool]:
    """Return a pattern without ``^`` and ``$`` at its ends, and whether text may precede and follow it.

    Raises ValueError if it has any elsewhere, because they depend on the text around the value.
    """
    items = list(node.items) if isinstance(node, Chain) else [node]
    before = after = True
    if items and isinstance(items[0], Edge) and not items[0].is_end:
        before = False
        items.pop(0)
    if items and isinstance(items[-1], Edge) and items[-1].is_end:
        after = False
        items.pop()
    found = Chain(tuple(items))
    if _has_edge(found):
        raise ValueError("'^' and '$' must be at the ends of the regex")
    return before, found, after


def _has_edge(node: Node) -> bool:
    match node:
        case Chain(items) | Alternatives(items):
            return any(map(_has_edge, items))
        case Repeat(item, _, _):
            return _has_edge(item)
        case _:
            return isinstance(node, Edge)


def cookie_regex(name: str, pattern: Pattern | None) -> str:
    """Return the regex for a ``Cookie`` header that contains a cookie. Raises ValueError if it is too large."""
    key = _TEXT.write(literal_node(name))
    if pattern is None:
        value = "[^;]*"
    elif pattern.kind == "regex":
        before, node, after = _unanchored(_node(pattern))
        value = f'"?{"[^;]*" if before else ""}(?:{_COOKIE.write(node)}){"[^;]*" if after else ""}"?'
    else:
        value = f'"?{_COOKIE.search(pattern)}"?'
    return _whole(rf"(?:.*[;,]\s*)?{key}={value}(?:\s*[;,].*)?")


def host_regex(pattern: Pattern) -> str:
    """Return the regex for ``:authority``. Ignore its case and, unless the pattern has a port, a final dot and port."""
    rest = "" if ":" in pattern.text else r"\.?(?::[0-9]*)?"
    place = _Place(_class, end=f"{rest}$")
    return _whole(f"{place.search(pattern)}{rest}", flags="is")


def network_regex(network: str) -> str:
    """Return the regex for an address in a network. The address is written as ``4:`` or ``6:`` and hexadecimal digits.

    Addresses in the form ``::ffff:1.2.3.4`` are written as IPv4.
    """
    found = ipaddress.ip_network(network)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            found = ipaddress.ip_network((mapped, found.prefixlen - 96))
    width = found.max_prefixlen // 4
    digits = f"{int(found.network_address):0{width}x}"
    whole, bits = divmod(found.prefixlen, 4)
    regex = digits[:whole]
    if bits:
        first = int(digits[whole], 16)
        regex += f"[{''.join(f'{code:x}' for code in range(first, first + (16 >> bits)))}]"
        whole += 1
    return f"{found.version}:{regex}[0-9a-f]{{{width - whole}}}"
