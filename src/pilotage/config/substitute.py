"""Parses a configuration file, substitutes variables, and keeps the position of each value. Pure.

Variables are substituted in the values of the parsed document, not in its text. The content of a variable therefore
needs no quotes and never changes the structure of the document.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.config.secret_files import Unset, secret_of
from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, parse_yaml
from pilotage.engine.address import LOCAL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_HOST",
    "Document",
    "Path",
    "Unset",
    "dotted",
    "fill_in",
    "is_below",
    "look_up",
    "read_document",
    "redact",
    "variables",
]

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document to one of its values."""

_PREFIXES: Final = ("", "GODOXY_", "GOPROXY_")
DEFAULT_HOST: Final = frozenset({"$DOCKER_HOST", "${DOCKER_HOST}"})
"""Values that mean the engine at ``DOCKER_HOST``, or the local socket if that variable is not set."""
_REFERENCE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def look_up(name: str, env: Mapping[str, str]) -> str | None:
    """Return the value of a variable; ``None`` if it is not set.

    If ``NAME`` is unset or empty, ``GODOXY_NAME`` and then ``GOPROXY_NAME`` are used, as in GoDoxy (LABELS II.7.1).
    """
    values = [env[prefix + name] for prefix in _PREFIXES if prefix + name in env]
    return next(filter(None, values), "" if values else None)


def fill_in(text: str, env: Mapping[str, str]) -> str:
    """Return a value with its variables substituted.

    ``${NAME}`` is the value of the variable, or else the content of a file (:func:`secret_of`). ``${NAME:-text}`` is
    ``text`` if there is neither, or if it is empty, and ``$${`` is a literal ``${``. A value that is exactly
    ``$DOCKER_HOST`` or ``${DOCKER_HOST}`` becomes the value of that variable, or the local socket if it is not set or
    empty. ``$NAME`` without braces is plain text in all other values.

    Raises:
        Unset: a variable is not set and has no default, its name is invalid, or the closing brace is missing.

    """
    if text in DEFAULT_HOST:
        return look_up("DOCKER_HOST", env) or LOCAL_SOCKET
    return _REFERENCE.sub(lambda match: _value(match, env), text)


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    escape, inner, end = match.groups()
    if escape:
        return match.group()[1:]
    if not end:
        raise Unset(f"{shorten(match.group())!r} has no closing brace", "write ${NAME}, or $${ for a literal ${")
    named = _NAMED.fullmatch(inner)
    if named is None:
        raise Unset(
            f"{shorten(match.group())!r} is not a variable",
            "write ${NAME} or ${NAME:-default}, or $${ for a literal ${",
        )
    name, default = named.groups()
    value = look_up(name, env)
    value = value or secret_of(name, env) or value
    if value or (value is not None and default is None):
        return value
    if default is not None:
        return str(default)
    raise Unset(f"the environment variable {name} is not set", f"set {name}, or write ${{{name}:-default}}")


def variables(text: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return name -> value of the variables in a text, without variables that are unset or empty."""
    if text in DEFAULT_HOST:
        names = ["DOCKER_HOST"]
    else:
        inner = [match[2] for match in _REFERENCE.finditer(text) if not match[1] and match[3]]
        names = [named[1] for named in map(_NAMED.fullmatch, inner) if named is not None]
    found = {name: look_up(name, env) or _secret(name, env) for name in names}
    return {name: value for name, value in found.items() if value}


def _secret(name: str, env: Mapping[str, str]) -> str | None:
    try:
        return secret_of(name, env)
    except Unset:
        return None  # reported when the value is substituted


def redact(problem: Problem, values: Mapping[str, str]) -> Problem:
    """Return a problem that shows the names of variables instead of their values, which can be secrets.

    Messages may show a value shortened, lower-cased or parsed, so every part of a value that has at least six
    characters is replaced.

    Args:
        problem: a problem whose text may show the values of variables.
        values: name -> value of each of these variables.

    """
    if not values:
        return problem
    shown = {"message": problem.message, "hint": problem.hint, "value": problem.value}
    for name, value in values.items():
        shown = {part: _without(text, value, f"${{{name}}}") for part, text in shown.items()}
    return msgspec.structs.replace(problem, **shown)


_MOST_SHOWN: Final = 500  # characters
_LEAST: Final = 6  # characters in common with a value; fewer are probably just words in the message
_LONGEST_SECRET: Final = 2000  # characters; messages show the start of a value


def _without(text: str, secret: str, name: str) -> str:
    """Return a text in which ``name`` replaces a secret and each part of the secret of six or more characters."""
    if len(secret) < _LEAST:
        return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", lambda _: name, text)
    low = secret[:_LONGEST_SECRET].lower()
    match = SequenceMatcher(None, text.lower(), low, autojunk=False).find_longest_match()
    if match.size < _LEAST:
        return text
    before, after = text[: match.a], text[match.a + match.size :]
    return f"{_without(before, secret, name)}{name}{_without(after, secret, name)}"


class _Places(msgspec.Struct, frozen=True):
    """Positions of a value and of its key, each as 1-based line and column, and the value as written."""

    value: tuple[int, int]
    key: tuple[int, int]
    written: str


class Document:
    """A parsed configuration file.

    Attributes:
        file: the file's name as the user gave it.
        tree: dicts, lists, strings, numbers, booleans and ``None``, with variables substituted; ``{}`` for an empty
            file.
        problems: one problem for each value whose variables could not be substituted.
        unfilled: paths of these values; ``tree`` contains them as written.

    """

    def __init__(self, file: str, top: Located | None, env: Mapping[str, str]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.unfilled: set[Path] = set()
        self._places: dict[Path, _Places] = {}
        self._variables: dict[Path, dict[str, str]] = {}
        self._env = env
        self.tree: Any = {} if top is None or top.value is None else self._read(top, ())

    def _read(self, located: Located, path: Path) -> Any:
        value = located.value
        written = "" if value is None or isinstance(value, dict | list) else shorten(value)
        self._places[path] = _Places((located.line, located.column), (located.key_line, located.key_column), written)
        if isinstance(value, dict):
            return {key: self._read(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._read(item, (*path, at)) for at, item in enumerate(value)]
        if isinstance(value, str) and "$" in value:
            self._variables[path] = variables(value, self._env)
            try:
                return fill_in(value, self._env)
            except Unset as error:
                self.problems.append(self.problem(path, error.message, hint=error.hint))
                self.unfilled.add(path)
        return value

    def problem(self, path: Path, message: str, *, hint: str = "", at_key: bool = False, value: str = "") -> Problem:
        """Return a problem that points to the value at ``path`` or, if ``at_key`` is set, to its key.

        For a missing key, the position is that of the mapping's own key. The problem shows the value as written,
        because substituted variables can be secrets.
        """
        known = path
        while known not in self._places and known:
            known = known[:-1]
        places = self._places.get(known)
        line, column = (1, 1)
        if places is not None:
            line, column = places.key if at_key or known != path else places.value
        if not value and places is not None and known == path and not at_key:
            value = places.written
        problem = Problem(
            message=shorten(message, _MOST_SHOWN),
            hint=shorten(hint, _MOST_SHOWN),
            file=self.file,
            line=line,
            column=column,
            path=dotted(path),
            value=value,
        )
        return redact(problem, self._variables_at(known))

    def _variables_at(self, path: Path) -> dict[str, str]:
        """Return the variables in all values that a problem at ``path`` may show: at, above and below the path."""
        return {
            name: value
            for other, values in self._variables.items()
            if path[: len(other)] == other or other[: len(path)] == path
            for name, value in values.items()
        }


def is_below(path: str, section: str) -> bool:
    """Return whether a dotted path is that of a section, or of something in it."""
    return path == section or path.startswith((f"{section}.", f"{section}["))


def dotted(path: Path) -> str:
    """Return a path in dotted notation, such as ``providers.docker.local.tls``, with list positions as ``[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read_document(text: str, file: str, env: Mapping[str, str]) -> Document:
    """Parse the text of a configuration file.

    Args:
        text: YAML 1.2.
        file: the file's name, for messages.
        env: the variables to substitute.

    Raises:
        ConfigError: the text is not YAML. Variables that cannot be substituted do not raise this error. They are
            collected in :attr:`Document.problems` and reported together with all other errors.

    """
    try:
        return Document(file, parse_yaml(text.removeprefix("\ufeff")), env)
    except ParseError as error:
        problem = Problem(message=error.message, file=file, line=error.line, column=error.column)
        raise ConfigError([problem]) from error
