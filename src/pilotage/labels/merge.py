"""Merges the labels of one alias into one mapping of fields. Pure.

Mappings are merged; lists and single values are replaced. The labels for all aliases (``proxy.*``) are merged once.
Each alias starts from the result and copies the mappings that its own labels change. Rules: decisions 2 and 6; LABELS
II.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.budget import BudgetError
from pilotage.core.problems import Problem
from pilotage.core.secrets import HIDDEN, UNSEEN, shown_text
from pilotage.core.text import SEARCHED, shorten
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.labels.key_schema import FREE_KEYS, KeySchema, fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.core.budget import Budget

__all__ = ["AliasFields", "Documents", "Entry", "FieldError", "Fields", "Overridden", "merge_entries", "yaml_problem"]

_FIELDS: Final = 16  # this many fields shared with other aliases cost as much as one value
_COPIES: Final = 4  # this many copied values cost as much as one value, because they are converted again
_DEEP: Final = 8  # entering this many mappings costs as much as one value
_MOST_WORDS: Final = 200
_LONGEST_UNREADABLE: Final = 16 * 1024  # characters

Fields = dict[str, Located]


class FieldError(msgspec.Struct, frozen=True):
    """An error in a label that was found before its fields could be read.

    Attributes:
        problem: the error.
        field: canonical name of the top-level field in question; ``""`` if that is unknown.
        protective: whether the label may have been meant to restrict access, so that the route must not be served.

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
        fields: canonical name -> value as written. It must not be changed.
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
        depth: length of the path; within a rank, labels with longer paths apply later.
        key: the label's key.
        path: written names below the alias.
        text: the label's value.

    """

    rank: int
    depth: int
    key: str
    path: tuple[str, ...]
    text: str


class Documents:
    """The YAML documents in the labels of one container. Each is parsed once, and all share a budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._known: dict[tuple[str, str], Located | ParseError | None] = {}

    def parse(self, text: str, source: str) -> Located | None:
        """Parse the text of one label. The result must not be changed.

        Raises:
            ParseError: as in :func:`~pilotage.core.yaml.parse_yaml`.

        """
        place = (source, text)
        if place not in self._known:
            try:
                self._known[place] = parse_yaml(text, source, self.budget)
            except ParseError as error:
                self._known[place] = error
        known = self._known[place]
        if isinstance(known, ParseError):
            raise known.with_traceback(None)
        return known

    def mapping(self, value: Located) -> Fields | None:
        """Return the YAML mapping in a text; ``None`` if it contains anything else."""
        try:
            document = self.parse(value.value, value.source)
        except ParseError:
            return None
        mapping: Any = document.value if document is not None else None
        return mapping if isinstance(mapping, dict) else None


def merge_entries(
    alias: str, entries: Iterable[Entry], schema: KeySchema, documents: Documents, base: AliasFields | None = None
) -> AliasFields:
    """Merge the labels of one alias.

    Args:
        alias: lower-cased.
        entries: its labels, in any order.
        schema: keys of a route.
        documents: parser of the container's labels.
        base: weaker labels, already merged. It is not changed.

    """
    merger = _Merger(schema, documents, base)
    try:
        merger.budget.take((len(merger.fields) + len(merger.overridden)) // _FIELDS)
        for entry in sorted(entries):
            merger.budget.take(1 + len(entry.path) // _DEEP)
            merger.apply(entry)
    except BudgetError as error:
        # The labels that have not been merged may restrict access.
        return AliasFields(alias, {}, (FieldError(Problem(message=error.message), protective=True),))
    return AliasFields(alias, merger.fields, tuple(merger.errors), tuple(merger.overridden))


def yaml_problem(error: ParseError, entry: Entry, path: str = "") -> Problem:
    """Return the problem for a label whose text is not valid YAML. It may contain secrets anywhere."""
    return Problem(
        message=error.message,
        label=entry.key,
        path=path,
        value=HIDDEN,
        line=error.line,
        column=error.column,
    )


class _Merger:
    """Applies labels to the fields of one alias, weakest first. An instance is used once."""

    def __init__(self, schema: KeySchema, documents: Documents, base: AliasFields | None) -> None:
        self.schema = schema
        self.documents = documents
        self.budget = documents.budget
        self.fields: Fields = dict(base.fields) if base is not None else {}
        self.errors: list[FieldError] = list(base.errors) if base is not None else []
        self.overridden: list[Overridden] = list(base.overridden) if base is not None else []
        self._own: dict[int, Fields] = {}  # mappings that this merger made, by id, and may change

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
        """Return the mapping for the last name of a label's path, its schema and its path; ``None`` after an error."""
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
            inner = self._new()
            at[name] = Located(inner, entry.key)
            return inner
        mapping = self._known_mapping(known)
        if mapping is not None:
            inner = self._copy(mapping)
            if inner is not known.value:
                at[name] = msgspec.structs.replace(known, value=inner)
            return inner
        where, kind = ".".join(path), kind_name(known.value)
        problem = Problem(
            message=f"cannot set anything below {where}: {known.source} sets it to {kind}, not a mapping",
            hint=f"remove one of the two labels, or write {known.source} as a mapping",
            label=entry.key,
            path=where,
            value=self._shown(entry),
        )
        self._error(problem, path[0])
        return None

    def _set(self, entry: Entry, at: Fields, keys: KeySchema, parents: tuple[str, ...]) -> None:
        """Store a value under the last name in a label's path.

        YAML text is merged into the existing value; other text replaces it.
        """
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
            mapping = self._new()
            self._override(path, known, document)
            at[key.name] = Located(mapping, entry.key)
        elif known is not None:
            mapping = self._copy(mapping)
            at[key.name] = msgspec.structs.replace(known, value=mapping)
        self._merge(mapping, document.value, key.below or FREE_KEYS, path)

    def _merge(self, target: Fields, source: Fields, keys: KeySchema, parents: tuple[str, ...]) -> None:
        """Merge a YAML mapping into another one, which this merger made."""
        for written, value in source.items():
            key = keys.find(written)
            path = (*parents, key.name)
            known = target.get(key.name)
            below = key.below or FREE_KEYS
            if isinstance(value.value, dict):
                mapping = self._known_mapping(known)
                if mapping is None:
                    self._override(path, known, value)
                    inner = self._new()
                else:
                    inner = self._copy(mapping)
                target[key.name] = msgspec.structs.replace(value, value=inner)
                self._merge(inner, value.value, below, path)
                continue
            if isinstance(value.value, str) and key.is_yaml and known is not None and isinstance(known.value, dict):
                parsed = self.documents.mapping(value)
                if parsed is not None:
                    inner = self._copy(known.value)
                    target[key.name] = msgspec.structs.replace(known, value=inner)
                    self._merge(inner, parsed, below, path)
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
            document = self.documents.parse(entry.text, entry.key)
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
            value=self._shown(entry),
            line=document.line,
            column=document.column,
        )
        self._error(problem, field, entry.text)
        return None

    def _shown(self, entry: Entry) -> str:
        """Return the text of a label, shortened and without secrets, as problems show it."""
        is_short = self.budget.take_search(min(len(entry.text), SEARCHED))
        visible = self.schema.visible.at(entry.path) if is_short else UNSEEN
        return shorten(shown_text(entry.text[:SEARCHED], visible))

    def _new(self) -> Fields:
        """Return an empty mapping that this merger may change."""
        return self._copy({})

    def _copy(self, mapping: Fields) -> Fields:
        """Return a mapping with the same content that this merger may change: a copy, unless the mapping is its own."""
        if id(mapping) in self._own:
            return mapping
        self.budget.take(len(mapping) // _COPIES)
        copy = dict(mapping)
        self._own[id(copy)] = copy  # keeps it alive, so that nothing else gets its id
        return copy

    def _known_mapping(self, known: Located | None) -> Fields | None:
        """Return a value if it is a mapping, or the mapping in its text."""
        if known is None or isinstance(known.value, dict):
            return known.value if known is not None else None
        return self.documents.mapping(known) if isinstance(known.value, str) else None

    def _replace(self, at: Fields, path: tuple[str, ...], value: Located) -> None:
        """Put a value into a mapping under the last name of its path."""
        self._override(path, at.get(path[-1]), value)
        at[path[-1]] = value

    def _override(self, path: tuple[str, ...], loser: Located | None, winner: Located) -> None:
        if loser is not None:
            self.overridden.append(Overridden(".".join(path), loser, winner))

    def _error(self, problem: Problem, field: str, text: str = "") -> None:
        protective = field in self.schema.protective or (not field and _may_protect(text, self.schema, self.budget))
        is_kept = self.budget.take_problem(is_first=not self.errors)
        if is_kept or (protective and not any(error.protective for error in self.errors)):
            self.errors.append(FieldError(problem, field, protective))


def _may_protect(text: str, schema: KeySchema, budget: Budget) -> bool:
    """Return whether an unreadable label may set a protective field, because errors must not open a route.

    Return ``True`` for a text that is too long to search.
    """
    if len(text) > _LONGEST_UNREADABLE:
        return True
    words = {fold(word) for word in _WORD.findall(text)}
    if not words.isdisjoint(map(fold, schema.protective)):
        return True
    names = tuple(sorted({key.name for key in schema.keys.values()}))
    written = sorted({word for word in _FIELD.findall(text) if not schema.knows(word)})
    if len(written) > _MOST_WORDS:
        return True
    # None: not looked up, because the budget is used up.
    return any(near is None or near in schema.protective for near in (budget.nearest(word, names) for word in written))


_WORD: Final = re.compile(r"[A-Za-z_]+")
_FIELD: Final = re.compile(r"(?<![A-Za-z_])([A-Za-z_]++)[\"']?\s*+:")
