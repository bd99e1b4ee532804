"""Merges the labels of one alias into one mapping of fields. Pure.

Mappings merge; lists and single values replace. Sources of the rules: LABELS I.2, I.6, II.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import nearest
from pilotage.core.text import shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.labels.key_schema import FREE_KEYS, KeySchema, fold

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AliasFields", "Entry", "FieldError", "Fields", "Overridden", "merge_entries", "yaml_problem"]

Fields = dict[str, Located]


class FieldError(msgspec.Struct, frozen=True):
    """An error in a label, found before its fields could be read.

    Attributes:
        problem: the error.
        field: canonical name of the top-level field it is about; ``""`` if that is unknown.
        protective: the label may have been meant to restrict access, so the route must not be served.

    """

    problem: Problem
    field: str = ""
    protective: bool = False


class Overridden(msgspec.Struct, frozen=True):
    """A value that a stronger label replaced."""

    path: str
    loser: Located
    winner: Located


class AliasFields(msgspec.Struct, frozen=True):
    """The fields that labels set for one alias.

    Attributes:
        alias: lower-cased.
        fields: canonical name -> value as written. Nobody may change it.
        errors: errors in its labels.
        overridden: values that stronger labels replaced, the strongest last.

    """

    alias: str
    fields: Fields = {}
    errors: tuple[FieldError, ...] = ()
    overridden: tuple[Overridden, ...] = ()


class Entry(msgspec.Struct, frozen=True, order=True):
    """One label for one alias. Entries sort in the order in which they apply.

    Attributes:
        rank: strength of the label's form: wildcard, shortcut, reference, name.
        depth: length of the path; deeper labels apply later.
        key: the label's key.
        path: written names below the alias.
        text: the label's value.

    """

    rank: int
    depth: int
    key: str
    path: tuple[str, ...]
    text: str


def merge_entries(alias: str, entries: Iterable[Entry], schema: KeySchema) -> AliasFields:
    """Merge the labels of one alias.

    Args:
        alias: lower-cased.
        entries: its labels, in any order.
        schema: keys of a route.

    """
    merger = _Merger(schema)
    for entry in sorted(entries):
        merger.apply(entry)
    return AliasFields(alias, merger.fields, tuple(merger.errors), tuple(merger.overridden))


def yaml_problem(error: ParseError, entry: Entry, path: str = "") -> Problem:
    """Return the problem for a label whose text is not valid YAML."""
    return Problem(
        message=error.message,
        label=entry.key,
        path=path,
        value=shorten(entry.text),
        line=error.line,
        column=error.column,
    )


class _Merger:
    """Applies labels to the fields of one alias, weakest first. An instance is used once."""

    def __init__(self, schema: KeySchema) -> None:
        self.schema = schema
        self.fields: Fields = {}
        self.errors: list[FieldError] = []
        self.overridden: list[Overridden] = []

    def apply(self, entry: Entry) -> None:
        """Set the value of one label."""
        if not entry.path:
            document = self._mapping_of(entry)
            if document is not None:
                self._merge(self.fields, document.value, self.schema, ())
            return
        place = self._enter_all(entry)
        if place is not None:
            self._set(entry, *place)

    def _enter_all(self, entry: Entry) -> tuple[Fields, KeySchema, tuple[str, ...]] | None:
        """Return the mapping that holds a label's last name, with its keys and path; ``None`` after an error."""
        at, keys = self.fields, self.schema
        path: tuple[str, ...] = ()
        for written in entry.path[:-1]:
            key = keys.find(written)
            path = (*path, key.name)
            inner = self._enter(at, key.name, entry, path)
            if inner is None:
                return None
            at, keys = inner, key.below or FREE_KEYS
        return at, keys, path

    def _enter(self, at: Fields, name: str, entry: Entry, path: tuple[str, ...]) -> Fields | None:
        """Return the mapping under a name. A missing one is created; text is parsed as YAML."""
        known = at.get(name)
        if known is None or known.value is None or known.value == "":
            inner: Fields = {}
            at[name] = Located(inner, entry.key)
            return inner
        if isinstance(known.value, dict):
            return known.value
        parsed = _parse_mapping(known) if isinstance(known.value, str) else None
        if parsed is not None:
            at[name] = msgspec.structs.replace(known, value=parsed)
            return parsed
        where, kind = ".".join(path), kind_name(known.value)
        problem = Problem(
            message=f"cannot set anything below {where}: {known.source} sets it to {kind}, not a mapping",
            hint=f"remove one of the two labels, or write {known.source} as a mapping",
            label=entry.key,
            path=where,
            value=shorten(entry.text),
        )
        self._error(problem, path[0])
        return None

    def _set(self, entry: Entry, at: Fields, keys: KeySchema, parents: tuple[str, ...]) -> None:
        """Set the last name of a label's path. YAML text merges; other text replaces."""
        key = keys.find(entry.path[-1])
        path = (*parents, key.name)
        known = at.get(key.name)
        mapping: Fields | None = known.value if known is not None and isinstance(known.value, dict) else None
        if not key.is_yaml and mapping is None:
            self._replace(at, path, Located(entry.text, entry.key))
            return
        document = self._mapping_of(entry, path)
        if document is None:
            return
        if document.value is None:
            self._replace(at, path, document)
            return
        if mapping is None:
            mapping = {}
            self._override(path, known, document)
            at[key.name] = Located(mapping, entry.key)
        self._merge(mapping, document.value, key.below or FREE_KEYS, path)

    def _merge(self, target: Fields, source: Fields, keys: KeySchema, parents: tuple[str, ...]) -> None:
        """Merge a YAML mapping into another one."""
        for written, value in source.items():
            key = keys.find(written)
            path = (*parents, key.name)
            known = target.get(key.name)
            below = key.below or FREE_KEYS
            if isinstance(value.value, dict):
                inner = _known_mapping(known)
                if inner is None:
                    self._override(path, known, value)
                    inner = {}
                target[key.name] = msgspec.structs.replace(value, value=inner)
                self._merge(inner, value.value, below, path)
                continue
            if isinstance(value.value, str) and key.is_yaml and known is not None and isinstance(known.value, dict):
                parsed = _parse_mapping(value)
                if parsed is not None:
                    self._merge(known.value, parsed, below, path)
                    continue
            self._replace(target, path, value)

    def _mapping_of(self, entry: Entry, path: tuple[str, ...] = ()) -> Located | None:
        """Parse a label's text as a mapping. Empty text is an empty mapping; ``null`` unsets a field.

        Returns:
            The mapping or null, or ``None`` after an error.

        """
        where = ".".join(path)
        field = path[0] if path else ""
        try:
            document = parse_yaml(entry.text, entry.key)
        except ParseError as error:
            self._error(yaml_problem(error, entry, where), field, entry.text)
            return None
        if document is None:
            return Located({}, entry.key)
        if isinstance(document.value, dict) or (path and document.value is None):
            return document
        problem = Problem(
            message=f"a mapping is needed here, not {kind_name(document.value)}",
            hint="write lines such as 'name: value'",
            label=entry.key,
            path=where,
            value=shorten(entry.text),
            line=document.line,
            column=document.column,
        )
        self._error(problem, field, entry.text)
        return None

    def _replace(self, at: Fields, path: tuple[str, ...], value: Located) -> None:
        """Put a value into a mapping under the last name of its path."""
        self._override(path, at.get(path[-1]), value)
        at[path[-1]] = value

    def _override(self, path: tuple[str, ...], loser: Located | None, winner: Located) -> None:
        if loser is not None:
            self.overridden.append(Overridden(".".join(path), loser, winner))

    def _error(self, problem: Problem, field: str, text: str = "") -> None:
        protective = field in self.schema.protective or (not field and _may_protect(text, self.schema))
        self.errors.append(FieldError(problem, field, protective))


def _known_mapping(known: Located | None) -> Fields | None:
    """Return the mapping that a value is, or that its text contains."""
    if known is None or isinstance(known.value, dict):
        return known.value if known is not None else None
    return _parse_mapping(known) if isinstance(known.value, str) else None


def _parse_mapping(value: Located) -> Fields | None:
    """Return the YAML mapping in a text, ``None`` if it contains anything else."""
    try:
        document = parse_yaml(value.value, value.source)
    except ParseError:
        return None
    mapping: Any = document.value if document is not None else None
    return mapping if isinstance(mapping, dict) else None


def _may_protect(text: str, schema: KeySchema) -> bool:
    """Return whether an unreadable label may set a protective field: an error must not mean "open to all"."""
    words = {fold(word) for word in re.findall(r"[A-Za-z_]+", text)}
    if not words.isdisjoint(map(fold, schema.protective)):
        return True
    names = {key.name for key in schema.keys.values()}
    written = {word for word in re.findall(r"([A-Za-z_]+)[\"']?\s*:", text) if not schema.knows(word)}
    return any(nearest(word, names) in schema.protective for word in written)
