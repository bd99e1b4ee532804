"""Substitutes variables in Compose files, and reads files such as ``.env``, as Compose does. Pure."""

from __future__ import annotations

import re
from collections import ChainMap
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Filled", "env_lines", "fill_in"]

_START: Final = re.compile(
    r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?P<operator>:?[-+?])?)"
)
_ENV_LINE: Final = re.compile(r"\s*(?:export\s+)?([^\s=#][^\s=]*)\s*[=:]\s*(.*?)\s*")
_DEEPEST: Final = 16  # defaults inside defaults
_LONGEST: Final = 4096  # characters of a default
_INSERTED: Final = 16_384  # characters that variables may add to a text; a variable that exceeds this counts as not set
_MOST: Final = 10_000  # variables of a file


class Filled(msgspec.Struct, frozen=True):
    """A text after substitution.

    Attributes:
        text: the text.
        unset: name of the first variable without a default that is not set or is too long; ``""`` if there is none.
        at: position in ``text`` of that variable.
        used: the variables that are set, name -> value.

    """

    text: str
    unset: str = ""
    at: int = 0
    used: dict[str, str] = {}


def fill_in(text: str, env: Mapping[str, str], *, depth: int = 0) -> Filled:
    """Substitute ``$NAME`` and ``${NAME}``, also with ``:-``, ``-``, ``:+``, ``+``, ``:?``, ``?``; ``$$`` is a dollar.

    Args:
        text: a text from a Compose file. Defaults in it may contain variables.
        env: the variables that are set.
        depth: how many nested defaults contain this text.

    """
    parts: list[str] = []
    used: dict[str, str] = {}
    unset, at, position, left = "", 0, 0, _INSERTED
    while (match := _START.search(text, position)) is not None:
        parts.append(text[position : match.start()])
        position = match.end()
        if match["dollar"]:
            parts.append("$")
            continue
        name, operator, word = match["plain"] or match["name"], match["operator"] or "", ""
        if match["name"]:
            end = _end(text, position)
            if end < 0 or (not operator and end != position):  # not a variable: Compose refuses it
                parts.append(match.group())
                continue
            word, position = text[position:end], end + 1
        known = env.get(name)
        is_given = known is not None and not (known == "" and operator.startswith(":"))
        if operator.endswith("+") or (operator.endswith("-") and not is_given):
            wanted = operator.endswith("-") or is_given
            inner = fill_in(word, env, depth=depth + 1) if wanted and depth < _DEEPEST else Filled("")
            fits = len(inner.text) <= left
            if (inner.unset or not fits) and not unset:
                unset, at = inner.unset or name, len("".join(parts))
            if fits:
                parts.append(inner.text)
                left -= len(inner.text)
            used |= inner.used
        elif is_given and known is not None and len(known) <= left:
            used[name] = known
            parts.append(known)
            left -= len(known)
        elif not unset:
            unset, at = name, len("".join(parts))
    parts.append(text[position:])
    return Filled("".join(parts), unset, at, used)


def _end(text: str, start: int) -> int:
    """Return the position of the brace that closes the one before ``start``; -1 if none does."""
    depth = 1
    for position in range(start, min(len(text), start + _LONGEST)):
        if text[position] == "{" and text[position - 1] == "$":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if not depth:
                return position
    return -1


def env_lines(text: str, env: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """Yield line number, name and value for each variable in a file such as ``.env``.

    Values may be quoted. Unless the quotes are single ones, they may contain variables of ``env`` and of earlier lines.
    Empty lines and comments are left out, and so is everything after 10,000 variables.

    Args:
        text: the content of the file.
        env: variables that take precedence over those in the file.

    """
    known: dict[str, str] = {}
    all_known = ChainMap(dict(env), known)
    for number, line in enumerate(text.splitlines(), 1):
        match = _ENV_LINE.fullmatch(line)
        if match is None:
            continue
        if len(known) >= _MOST:
            return
        name, value = match[1], match[2]
        quote = value[:1] if value[:1] in ("'", '"') and value.rfind(value[0]) > 0 else ""
        value = value[1 : value.rfind(quote)] if quote else re.split(r"(?:^|\s)#", value, maxsplit=1)[0].rstrip()
        known[name] = value if quote == "'" else fill_in(value, all_known).text
        yield number, name, known[name]
