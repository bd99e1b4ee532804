"""Reads the patterns of the paths that a route serves, in the syntax of Go's ``ServeMux``. Pure.

A pattern is ``[METHOD ]/PATH``. ``/a`` matches only ``/a``, ``/a/`` also everything below it. ``{name}`` stands for one
segment, ``{name...}`` at the end for all that remain, and ``{$}`` at the end for nothing. The order of patterns makes
no difference, because all patterns of a route lead to the same target.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from pilotage.core.budget import BudgetError
from pilotage.routes.fields import UNSET, Text
from pilotage.routes.mappings import ListOf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.core.yaml import Located
    from pilotage.routes.fields import FieldContext

__all__ = ["PathPattern", "PathPatterns", "parse_pattern"]

_MOST: Final = 100
_LONGEST: Final = 500
_METHOD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAME: Final = re.compile(r"[^\W\d]\w*")
_UNRESERVED: Final = re.compile(rb"[A-Za-z0-9._~-]")


class PathPattern(msgspec.Struct, frozen=True):
    """A pattern.

    Attributes:
        text: as written.
        method: the method that the pattern matches; ``GET`` also matches ``HEAD``; ``""`` matches all methods.
        regex: matches the encoded paths, for RE2 and :mod:`re`.
        folder: the path, if it ends in a slash and has no wildcards: as in Go, requests without that slash are
            redirected to it; otherwise ``""``.

    """

    text: str
    method: str
    regex: str
    folder: str = ""


def parse_pattern(text: str) -> PathPattern | str:
    """Return a pattern, or a text that describes the mistake in it."""
    method, _, path = text.rpartition(" ") if " " in text.strip() else ("", "", text)
    method, path = method.strip(), path.strip()
    if len(text) > _LONGEST:
        return f"is longer than {_LONGEST} characters"
    if method and _METHOD.fullmatch(method) is None:
        return "does not begin with a method"
    if not path.startswith("/"):
        return "names a host, but the alias already does" if "/" in path else "has no path"
    names: set[str] = set()
    regex, literal = "", True
    *segments, last = path[1:].split("/")
    for index, segment in enumerate((*segments, last)):
        is_last = index == len(segments)
        if is_last and segment == "":
            regex += "/.*"
        elif is_last and segment == "{$}":
            regex, literal = f"{regex}/", False
        elif "{" not in segment and "}" not in segment:
            if segment in (".", "..") or (segment == "" and not is_last):
                return "is not clean: it contains an empty segment, '.' or '..'"
            regex += f"/{_encoded(segment)}"
        else:
            name = segment.removeprefix("{").removesuffix("}")
            rest = is_last and name.endswith("...")
            name = name.removesuffix("...") if rest else name
            if segment != "{" + name + ("...}" if rest else "}") or _NAME.fullmatch(name) is None:
                return f"contains {segment!r}, which is not a valid wildcard there"
            if name in names:
                return f"has the wildcard {name!r} twice"
            names.add(name)
            regex += "/.*" if rest else "/[^/?]+"
            literal = False
    folder = path if literal and last == "" and path != "/" else ""
    return PathPattern(text, method, regex, folder)


def _encoded(segment: str) -> str:
    """Return a regular expression for a segment, percent-encoded or not. Envoy has decoded unreserved characters.

    ``?`` and ``#`` match only if they are encoded, because plain ones begin the query and the fragment.
    """
    found = []
    for byte in unquote_to_bytes(segment):
        letter = bytes([byte])
        if _UNRESERVED.fullmatch(letter):
            found.append(re.escape(letter.decode()))
        else:
            may_be_plain = 0x20 < byte < 0x7F and letter not in b"?#"
            either = [f"%(?i:{byte:02x})", *([re.escape(letter.decode())] if may_be_plain else [])]
            found.append(f"(?:{'|'.join(either)})")
    return "".join(found)


class _Pattern(Text):
    name = "path pattern"

    def read(self, value: Located, context: FieldContext) -> Any:
        if not isinstance(value.value, str) or not value.value.strip():
            return self.wrong(value, context, "write a pattern such as GET /public/")
        found = parse_pattern(value.value.strip())
        if isinstance(found, PathPattern):
            return value.value.strip()
        context.error(
            value, f"the pattern {context.shown(value)} {found}", "write a pattern such as GET /public/{file}"
        )
        return UNSET


class PathPatterns(ListOf):
    """Up to 100 patterns: a YAML list, or a list separated only by commas, because a pattern may contain a space."""

    def __init__(self) -> None:
        super().__init__(_Pattern())

    def read(self, value: Located, context: FieldContext) -> Any:
        """Return the patterns. An empty or too long list is an error, because without patterns all paths are open."""
        found = super().read(value, context)
        if found is not UNSET and not 0 < len(found) <= _MOST:
            context.error(value, f"expected 1 to {_MOST} patterns", "remove the field to serve all paths")
            return UNSET
        return found

    def _split(self, value: Located, context: FieldContext) -> Sequence[Located] | None:
        text = value.value
        if "\n" in text or text.lstrip()[:1] in ("-", "["):
            return super()._split(value, context)
        pieces = [piece.strip() for piece in text.split(",", _MOST + 1)]
        try:
            context.budget.take(len(pieces))
        except BudgetError as error:
            context.error(value, error.message)
            return None
        return [msgspec.structs.replace(value, value=piece) for piece in pieces]
