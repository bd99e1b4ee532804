"""The text of a configuration file: variables filled in, and the place of everything remembered. Pure.

Variables are filled into the values of the parsed document, not into its text. So what a variable holds can never
change the document's structure, and it needs no quotes around it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, parse_yaml
from pilotage.engine.address import LOCAL_SOCKET

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_HOST", "Document", "Path", "Unset", "dotted", "fill_in", "look_up", "read_document"]

Path = tuple[str | int, ...]
"""Keys and list positions from the top of a document to one of its values."""

_PREFIXES: Final = ("", "GODOXY_", "GOPROXY_")
DEFAULT_HOST: Final = frozenset({"$DOCKER_HOST", "${DOCKER_HOST}"})
"""Values that stand for the engine of ``DOCKER_HOST``, or the local socket where that is unset."""
_REFERENCE = re.compile(r"(\$?)\$\{([^}]*)(\}?)")
_NAMED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Unset(ValueError):
    """A value names a variable that cannot be filled in.

    Attributes:
        message: one sentence without a full stop.
        hint: what to do about it.

    """

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def look_up(name: str, env: Mapping[str, str]) -> str | None:
    """Return a variable's value, or ``None`` when it is unset.

    ``NAME`` comes first; ``GODOXY_NAME`` and ``GOPROXY_NAME``, which GoDoxy reads, stand in for it when it is unset
    or empty (LABELS II.7.1).
    """
    values = [env[prefix + name] for prefix in _PREFIXES if prefix + name in env]
    return next(filter(None, values), "" if values else None)


def fill_in(text: str, env: Mapping[str, str]) -> str:
    """Return a value with its variables filled in.

    ``${NAME}`` is the variable's value, ``${NAME:-text}`` is ``text`` where the variable is unset or empty, ``$${`` is
    a plain ``${``. A value that is ``$DOCKER_HOST`` or ``${DOCKER_HOST}`` and nothing else is that variable, or the
    local socket when it is unset or empty. ``$NAME`` without braces is ordinary text everywhere else.

    Raises:
        Unset: a variable is not set and has no default, or something between braces is no variable's name.

    """
    if text in DEFAULT_HOST:
        return look_up("DOCKER_HOST", env) or LOCAL_SOCKET
    return _REFERENCE.sub(lambda match: _value(match, env), text)


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    escape, inner, end = match.groups()
    if escape:
        return match.group()[1:]
    if not end:
        raise Unset(f"{shorten(match.group())!r} has no closing brace", "write ${NAME}, or $${ for a plain ${")
    named = _NAMED.fullmatch(inner)
    if named is None:
        raise Unset(
            f"{shorten(match.group())!r} names no variable",
            "write ${NAME} or ${NAME:-default}, or $${ for a plain ${",
        )
    name, default = named.groups()
    value = look_up(name, env)
    if value or (value is not None and default is None):
        return value
    if default is not None:
        return str(default)
    raise Unset(f"the environment variable {name} is not set", f"set {name}, or write ${{{name}:-default}}")


class _Places(msgspec.Struct, frozen=True):
    """Where a value and its key stand, each as 1-based line and column; and the value as written."""

    value: tuple[int, int]
    key: tuple[int, int]
    written: str


class Document:
    """A configuration file, read.

    Attributes:
        file: its name as people gave it.
        tree: dicts, lists, texts, numbers, booleans and ``None``, with variables filled in; ``{}`` for an empty file.
        problems: variables that could not be filled in.
        unfilled: where their values stand, which stay as written.

    """

    def __init__(self, file: str, top: Located | None, env: Mapping[str, str]) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.unfilled: set[Path] = set()
        self._places: dict[Path, _Places] = {}
        self._env = env
        self.tree: Any = {} if top is None or top.value is None else self._read(top, ())

    def _read(self, marked: Located, path: Path) -> Any:
        value = marked.value
        written = "" if value is None or isinstance(value, dict | list) else shorten(value)
        self._places[path] = _Places((marked.line, marked.column), (marked.key_line, marked.key_column), written)
        if isinstance(value, dict):
            return {key: self._read(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._read(item, (*path, at)) for at, item in enumerate(value)]
        if isinstance(value, str) and "$" in value:
            try:
                return fill_in(value, self._env)
            except Unset as error:
                self.problems.append(self.problem(path, error.message, hint=error.hint))
                self.unfilled.add(path)
        return value

    def problem(self, path: Path, message: str, *, hint: str = "", at_key: bool = False, value: str = "") -> Problem:
        """Return a problem with the value at ``path``, or with its key.

        Where nothing stands at ``path`` (a key is missing), the place is that of the mapping it is missing from. The
        value shown is as written, before variables were filled in: it may be a secret afterwards.
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
        return Problem(
            message=message, hint=hint, file=self.file, line=line, column=column, path=dotted(path), value=value
        )


def dotted(path: Path) -> str:
    """Return a path as people write it: ``providers.docker.local.tls``, list positions as ``[0]``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def read_document(text: str, file: str, env: Mapping[str, str]) -> Document:
    """Read a configuration file's text.

    Args:
        text: YAML 1.2.
        file: its name, for messages.
        env: the variables to fill in.

    Raises:
        ConfigError: the text is not YAML. Variables that cannot be filled in are not raised but kept in
            :attr:`Document.problems`, to be told together with all other faults.

    """
    try:
        return Document(file, parse_yaml(text.removeprefix("\ufeff")), env)
    except ParseError as error:
        problem = Problem(message=error.message, file=file, line=error.line, column=error.column)
        raise ConfigError([problem]) from error
