"""Decodes the labels of one container into one mapping of fields for each alias. Pure.

The labels of one alias apply in this order, and later ones win (decision 1): ``proxy.*``, ``proxy.*.field``, shortcuts
such as ``proxy.ports``, ``proxy.#1``, ``proxy.#1.field``, ``proxy.name``, ``proxy.name.field``. Rules: decisions 1 to
6; LABELS II.1, II.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.budget import MAX_PROBLEMS, container_budget
from pilotage.core.problems import Problem
from pilotage.core.secrets import HIDDEN, UNSEEN, shown_text
from pilotage.core.text import SEARCHED, shorten
from pilotage.core.values import ParseError, comma_list
from pilotage.core.yaml import Located, kind_name
from pilotage.labels.container_options import MAX_NAMES
from pilotage.labels.keys import CONTAINER_OPTIONS, MAX_DEPTH, SHORTCUTS, shown_key, split_key
from pilotage.labels.merge import AliasFields, Documents, Entry, FieldError, merge_entries, yaml_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pilotage.core.budget import Budget
    from pilotage.labels.key_schema import KeySchema
    from pilotage.labels.keys import OwnLabels

__all__ = ["DecodedLabels", "decode"]

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_WILDCARD, _SHORTCUT, _REFERENCE, _NAMED = range(4)
_MOST_LISTED: Final = 8  # maximum number of aliases or labels listed in one problem
_OTHER_WORDS: Final = {"disable": "exclude", "disabled": "exclude", "enable": "exclude", "enabled": "exclude"}
"""Names that other proxies use for container options."""
_NAMES: Final = (*CONTAINER_OPTIONS, *SHORTCUTS)


class DecodedLabels(msgspec.Struct, frozen=True):
    """The decoded labels of one container.

    Attributes:
        routes: the fields of each alias: first the listed aliases in their order, then all others, sorted by name.
        problems: problems with labels that belong to no alias, and warnings about keys that look misspelled.

    """

    routes: tuple[AliasFields, ...]
    problems: tuple[Problem, ...] = ()

    def find(self, alias: str) -> AliasFields:
        """Return the fields of an alias, an empty set if no label belongs to the alias."""
        return next((fields for fields in self.routes if fields.alias == alias), AliasFields(alias))


def decode(own: OwnLabels, aliases: Sequence[str], schema: KeySchema, budget: Budget | None = None) -> DecodedLabels:
    """Decode the labels of one container.

    Args:
        own: its labels, from :func:`~pilotage.labels.keys.filter_labels`.
        aliases: its listed or default aliases, lower-cased. Duplicates are kept, because ``#N`` counts them.
        schema: the known keys below an alias.
        budget: limits the work that the labels can cause; by default, the budget of one container (decision 36).

    """
    if not own.routes:
        return DecodedLabels(tuple(map(AliasFields, dict.fromkeys(aliases))), own.warnings)
    return _Decoder(own, aliases, schema, budget or container_budget()).decode()


class _Decoder:
    """Assigns the labels of one container to its aliases. An instance is used once."""

    def __init__(self, own: OwnLabels, aliases: Sequence[str], schema: KeySchema, budget: Budget) -> None:
        self.labels: Mapping[str, str] = own.routes
        self.aliases = aliases
        self.listed = frozenset(aliases)
        self.first_alias = shorten(aliases[0]) if aliases else "<alias>"
        self.schema = schema
        self.budget = budget
        self.documents = Documents(budget)
        self.problems: list[Problem] = list(own.warnings)
        self.errors: dict[str, list[FieldError]] = {}
        self.shared_errors: list[FieldError] = []
        self.wildcard: list[Entry] = []
        self.shortcuts: dict[str, str] = {}
        self.references: dict[str, list[Entry]] = {}
        self.named: dict[str, list[Entry]] = {}

    def decode(self) -> DecodedLabels:
        for key, text in self.labels.items():
            self._group(key, text)
        self.problems.sort(key=lambda problem: problem.label)
        entries = self._named_entries()
        self._add_shortcuts(entries)
        self._add_references(entries)
        routes = [fields for fields in self._merged(entries) if not self._is_forgotten_alias(fields)]
        return DecodedLabels(tuple(map(self._with_errors, routes)), tuple(self.problems))

    def _merged(self, entries: dict[str, list[Entry]]) -> list[AliasFields]:
        """Merge each alias's labels with those of ``proxy.*``. Aliases without own labels share one mapping."""
        base = merge_entries("*", self.wildcard, self.schema, self.documents)
        return [
            merge_entries(alias, mine, self.schema, self.documents, base)
            if mine
            else AliasFields(alias, base.fields, base.errors, base.overridden)
            for alias, mine in entries.items()
        ]

    def _group(self, key: str, text: str) -> None:
        """Put one label into the group for its kind of key: wildcard, reference, shortcut or alias."""
        alias, path = split_key(key)
        shown = shown_key(key)
        if not alias:
            hint = "write proxy.<alias>.<field>"
            self._problem(Problem(message="empty alias", hint=hint, label=shown, value=HIDDEN))
        elif len(path) > MAX_DEPTH or shown != key:
            self._refuse_key(alias, path, shown)
        elif alias == "*":
            self.wildcard.append(Entry(_WILDCARD, len(path), key, path, text))
        elif alias[0] in "#$":
            self.references.setdefault(alias, []).append(Entry(_REFERENCE, len(path), key, path, text))
        elif not path and alias in SHORTCUTS:
            self.shortcuts[alias] = key
        else:
            self.named.setdefault(alias, []).append(Entry(_NAMED, len(path), key, path, text))

    def _refuse_key(self, alias: str, path: tuple[str, ...], shown: str) -> None:
        """Report a label that has no effect, because its key is too long or too deep (decision 36)."""
        message = f"the label key has more than {MAX_DEPTH} names below the alias"
        if len(path) <= MAX_DEPTH:
            message = "the label key has more than 1,024 characters"
        problem = Problem(message=f"{message}, so it has no effect", hint="shorten it", label=shown)
        field = self.schema.find(path[0]).name if path else ""
        if alias in self.listed:
            self._error_of(alias, problem, field)
        else:
            self._error_everywhere(problem, field)

    def _problem(self, problem: Problem) -> None:
        if self.budget.take_problem():
            self.problems.append(problem)

    # ---- aliases by name

    def _named_entries(self) -> dict[str, list[Entry]]:
        """Return alias -> labels whose keys contain it, for listed aliases and those that labels create."""
        entries: dict[str, list[Entry]] = {alias: [] for alias in self.aliases}
        left_out = ""
        for alias in sorted(self.named):
            mine = self.named[alias]
            if alias in entries or (self._creates_route(alias, mine) and len(entries) < MAX_NAMES):
                entries.setdefault(alias, []).extend(mine)
            elif not left_out and len(entries) >= MAX_NAMES:
                left_out = mine[0].key
        if left_out:
            message = f"the labels have more than {MAX_NAMES:,} aliases; this one and later ones get no route"
            self._problem(Problem(message=message, hint="spread them over several containers", label=left_out))
        return entries

    def _creates_route(self, alias: str, entries: list[Entry]) -> bool:
        """Return whether labels create an unlisted alias; report a single ``proxy.<alias>`` that is not a mapping."""
        if len(entries) > 1 or entries[0].path:
            return True
        entry = entries[0]
        try:
            document = self.documents.parse(entry.text, entry.key)
        except ParseError as error:
            self._problem(yaml_problem(error, entry))
            return False
        if document is None or isinstance(document.value, dict):
            return True
        message, hint = f"a mapping of fields is needed here, not {kind_name(document.value)}", self._hint_for(alias)
        problem = Problem(
            message="unknown label" if hint.startswith("did you mean") else message,
            hint=hint,
            label=entry.key,
            value=self._shown(entry.text, (alias,)),
        )
        self._error_everywhere(problem, self.schema.find(alias).name)
        return False

    def _hint_for(self, written: str) -> str:
        own = self.first_alias
        name = written if written in CONTAINER_OPTIONS else self.budget.nearest(written, _NAMES)
        name = _OTHER_WORDS.get(written.lower().replace("_", ""), name)
        written = shorten(written)
        if SHORTCUTS.get(name or "", "").replace("_", "") == written.replace("_", ""):
            return f"write proxy.{own}.{written}, or proxy.{name} with one value for each alias"
        if name:
            return f"did you mean 'proxy.{name}'?"
        if self.schema.knows(written):
            return f"a field needs an alias before it: proxy.{own}.{written}"
        return "there is no such label; write proxy.<alias>.<field>"

    def _is_forgotten_alias(self, fields: AliasFields) -> bool:
        """Report an unlisted alias that is a protective field without its alias; return whether it is one.

        ``proxy.middlewares.cidr_whitelist`` must not create the route "middlewares" and leave the listed aliases
        unprotected.
        """
        alias = fields.alias
        if alias in self.listed or self.schema.find(alias).name not in self.schema.protective:
            return False
        own = {name: value for name, value in fields.fields.items() if split_key(value.source)[0] != "*"}
        if not own or any(map(self.schema.knows, own)):
            return False
        problem = Problem(
            message=f"{alias} is a field, and the alias before it is missing",
            hint=f"write proxy.{self.first_alias}.{alias}, or proxy.*.{alias} for all aliases",
            label=next(iter(own.values())).source,
        )
        self._error_everywhere(problem, self.schema.find(alias).name)
        return True

    # ---- shortcuts

    def _add_shortcuts(self, entries: dict[str, list[Entry]]) -> None:
        """Give the n-th value of each shortcut to the n-th alias; refuse a shortcut if other labels set its field."""
        if not self.shortcuts:
            return
        rivals = self._field_labels()
        for shortcut, field in SHORTCUTS.items():
            key = self.shortcuts.get(shortcut)
            if key is None:
                continue
            if rivals.get(field):
                self._refuse_shortcut(key, field, rivals[field])
                continue
            rivals[field] = [key]
            whole = self.labels[key]
            hides = self.budget.holds_secret(whole)  # part of a secret would not be recognized
            for number, item in enumerate(comma_list(whole, len(self.aliases) + MAX_PROBLEMS), 1):
                if hides:
                    item = whole  # noqa: PLW2901
                alias = self._referenced(str(number))
                if alias is None:
                    self._no_such_alias(str(number), key, self._shown(item, (field,)))
                else:
                    entries[alias].append(Entry(_SHORTCUT, 1, key, (field,), item))

    def _refuse_shortcut(self, key: str, field: str, rivals: list[str]) -> None:
        more = f" and {len(rivals) - _MOST_LISTED} more" if len(rivals) > _MOST_LISTED else ""
        names = ", ".join(rivals[:_MOST_LISTED]) + more
        message = f"shortcut conflicts with full label: {key} -> {field} conflicts with {names}"
        problem = Problem(
            message=message, hint="keep one of them", label=key, value=self._shown(self.labels[key], (field,))
        )
        self._error_everywhere(problem, field)

    def _field_labels(self) -> dict[str, list[str]]:
        """Return field -> sorted keys of the labels that set the whole field for any alias."""
        found: dict[str, list[str]] = {}
        groups = (self.wildcard, *self.references.values(), *self.named.values())
        for entry in sorted((entry for group in groups for entry in group), key=lambda entry: entry.key):
            for written in self._fields_set(entry):
                found.setdefault(self.schema.find(written).name, []).append(entry.key)
        return found

    def _fields_set(self, entry: Entry) -> Iterable[str]:
        """Return the names, as written, of the fields that a label sets as a whole."""
        if entry.path:
            return entry.path if len(entry.path) == 1 else ()
        return self.documents.mapping(Located(entry.text, entry.key)) or ()

    # ---- references

    def _add_references(self, entries: dict[str, list[Entry]]) -> None:
        """Give the labels ``proxy.#N`` and ``proxy.$N`` to the n-th alias; report numbers without an alias."""
        for reference in sorted(self.references):
            alias = self._referenced(reference[1:])
            for entry in sorted(self.references[reference]):
                if alias is None:
                    self._no_such_alias(reference[1:], entry.key, self._shown(entry.text, entry.path))
                else:
                    entries[alias].append(entry)

    def _referenced(self, number: str) -> str | None:
        """Return the alias with this number, counting from 1; ``None`` if no alias has this number (decision 4)."""
        index = int(number) if _NUMBER.fullmatch(number) else 0
        return self.aliases[index - 1] if 1 <= index <= len(self.aliases) else None

    def _shown(self, text: str, path: Iterable[str]) -> str:
        """Return a label's text as a problem may show it; ``path`` leads from the alias to the field."""
        visible = self.schema.visible.at(path) if self.budget.take_search(min(len(text), SEARCHED)) else UNSEEN
        return shorten(shown_text(text[:SEARCHED], visible))

    def _no_such_alias(self, number: str, key: str, shown: str) -> None:
        names = ", ".join(f"#{i} ({shorten(alias)})" for i, alias in enumerate(self.aliases[:_MOST_LISTED], 1))
        message = (
            f"there is no alias number {int(number)}: index out of range"
            if _NUMBER.fullmatch(number)
            else f"{shorten(number)!r} is not a number"
        )
        self._problem(Problem(message=message, hint=f"available: {names}", label=key, value=shown))

    # ---- errors

    def _error_everywhere(self, problem: Problem, field: str) -> None:
        """Report an error for every listed alias, because the label may have been meant to protect that alias."""
        self._keep(self.shared_errors, FieldError(problem, field, field in self.schema.protective))

    def _error_of(self, alias: str, problem: Problem, field: str) -> None:
        """Report an error in a label of one alias."""
        self._keep(self.errors.setdefault(alias, []), FieldError(problem, field, field in self.schema.protective))

    def _keep(self, errors: list[FieldError], error: FieldError) -> None:
        """Add an error unless there are too many errors already. The first protective error is always added."""
        is_kept = self.budget.take_problem(is_first=not errors)
        if is_kept or (error.protective and not any(known.protective for known in errors)):
            errors.append(error)

    def _with_errors(self, fields: AliasFields) -> AliasFields:
        """Return the fields with the errors that were found before merging."""
        errors = (*self.errors.get(fields.alias, ()), *(self.shared_errors if fields.alias in self.listed else ()))
        return msgspec.structs.replace(fields, errors=(*errors, *fields.errors)) if errors else fields
