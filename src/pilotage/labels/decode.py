"""Decodes the labels of one container: for each alias, one mapping of fields. Pure.

The labels of one alias apply in this order, later ones win (decision 1): ``proxy.*``, ``proxy.*.field``, shortcuts such
as ``proxy.ports``, ``proxy.#1``, ``proxy.#1.field``, ``proxy.name``, ``proxy.name.field``. Sources of the rules: LABELS
I.1 to I.6, II.1, II.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import nearest
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, comma_list
from pilotage.core.yaml import kind_name, parse_yaml
from pilotage.labels.keys import CONTAINER_OPTIONS, SHORTCUTS, split_key
from pilotage.labels.merge import AliasFields, Entry, FieldError, merge_entries, yaml_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pilotage.labels.key_schema import KeySchema
    from pilotage.labels.keys import OwnLabels

__all__ = ["DecodedLabels", "decode"]

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_WILDCARD, _SHORTCUT, _REFERENCE, _NAMED = range(4)
_MOST_LISTED: Final = 8  # aliases named in a hint


class DecodedLabels(msgspec.Struct, frozen=True):
    """The decoded labels of one container.

    Attributes:
        routes: fields of the listed aliases in their order, then of further aliases by name.
        problems: problems with labels that belong to no alias, and keys that look misspelt.

    """

    routes: tuple[AliasFields, ...]
    problems: tuple[Problem, ...] = ()

    def find(self, alias: str) -> AliasFields:
        """Return the fields of an alias; without labels, none."""
        return next((fields for fields in self.routes if fields.alias == alias), AliasFields(alias))


def decode(own: OwnLabels, aliases: Sequence[str], schema: KeySchema) -> DecodedLabels:
    """Decode the labels of one container. Never raises.

    Args:
        own: its labels, from :func:`~pilotage.labels.keys.filter_labels`.
        aliases: its listed or default aliases, lower-cased. Duplicates stay, because they count for ``#N``.
        schema: keys of a route.

    """
    if not own.routes:
        return DecodedLabels(tuple(map(AliasFields, dict.fromkeys(aliases))), own.warnings)
    return _Decoder(own, aliases, schema).decode()


class _Decoder:
    """Assigns the labels of one container to its aliases. An instance is used once."""

    def __init__(self, own: OwnLabels, aliases: Sequence[str], schema: KeySchema) -> None:
        self.labels: Mapping[str, str] = own.routes
        self.aliases = aliases
        self.first_alias = aliases[0] if aliases else "<alias>"
        self.schema = schema
        self.problems: list[Problem] = list(own.warnings)
        self.errors: dict[str, list[FieldError]] = {}
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
        merged = [merge_entries(alias, mine, self.schema) for alias, mine in entries.items()]
        routes = [fields for fields in merged if not self._is_forgotten_alias(fields)]
        return DecodedLabels(tuple(map(self._with_errors, routes)), tuple(self.problems))

    def _group(self, key: str, text: str) -> None:
        """Sort one label by the form of its key."""
        alias, path = split_key(key)
        if not alias:
            hint = "write proxy.<alias>.<field>"
            self.problems.append(Problem(message="empty alias", hint=hint, label=key, value=shorten(text)))
        elif alias == "*":
            self.wildcard.append(Entry(_WILDCARD, len(path), key, path, text))
        elif alias[0] in "#$":
            self.references.setdefault(alias, []).append(Entry(_REFERENCE, len(path), key, path, text))
        elif not path and alias in SHORTCUTS:
            self.shortcuts[alias] = key
        else:
            self.named.setdefault(alias, []).append(Entry(_NAMED, len(path), key, path, text))

    # ---- aliases by name

    def _named_entries(self) -> dict[str, list[Entry]]:
        """Return each alias with the labels that name it and the wildcards."""
        entries: dict[str, list[Entry]] = {alias: list(self.wildcard) for alias in self.aliases}
        for alias in sorted(self.named):
            mine = self.named[alias]
            if alias in entries or self._creates_route(alias, mine):
                entries.setdefault(alias, list(self.wildcard)).extend(mine)
        return entries

    def _creates_route(self, alias: str, entries: list[Entry]) -> bool:
        """Return whether labels create an unlisted alias: a lone ``proxy.<alias>`` without a mapping does not."""
        if len(entries) > 1 or entries[0].path:
            return True
        entry = entries[0]
        try:
            document = parse_yaml(entry.text)
        except ParseError as error:
            self.problems.append(yaml_problem(error, entry))
            return False
        if document is None or isinstance(document.value, dict):
            return True
        message = f"a mapping of fields is needed here, not {kind_name(document.value)}"
        problem = Problem(
            message=message, hint=self._missing_alias_hint(alias), label=entry.key, value=shorten(entry.text)
        )
        self._error_everywhere(problem, self.schema.find(alias).name)
        return False

    def _missing_alias_hint(self, written: str) -> str:
        own = self.first_alias
        name = written if written in CONTAINER_OPTIONS else nearest(written, [*CONTAINER_OPTIONS, *SHORTCUTS])
        if SHORTCUTS.get(name, "").replace("_", "") == written.replace("_", ""):
            return f"write proxy.{own}.{written}, or proxy.{name} for all aliases in turn"
        return f"did you mean 'proxy.{name}'?" if name else f"a field needs an alias before it: proxy.{own}.{written}"

    def _is_forgotten_alias(self, fields: AliasFields) -> bool:
        """Return whether an unlisted alias is a protective field whose alias is missing; report it if so.

        ``proxy.middlewares.cidr_whitelist`` must not create the route "middlewares" and leave the listed ones open.
        """
        alias = fields.alias
        if alias in self.aliases or self.schema.find(alias).name not in self.schema.protective:
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
        """Give the n-th value of each shortcut to the n-th alias."""
        used: dict[str, str] = {}  # field -> key of the shortcut that sets it
        for shortcut, field in SHORTCUTS.items():
            key = self.shortcuts.get(shortcut)
            if key is None:
                continue
            rivals = sorted(self._rivals(field))
            if field in used:
                rivals.append(used[field])
            if rivals:
                self._refuse_shortcut(key, field, rivals)
                continue
            used[field] = key
            for number, item in enumerate(comma_list(self.labels[key]), 1):
                alias = self._referenced(str(number))
                if alias is None:
                    self._no_such_alias(str(number), key, item)
                else:
                    entries[alias].append(Entry(_SHORTCUT, 1, key, (field,), item))

    def _refuse_shortcut(self, key: str, field: str, rivals: list[str]) -> None:
        message = f"shortcut conflicts with full label: {key} -> {field} conflicts with {', '.join(rivals)}"
        problem = Problem(message=message, hint="keep one of them", label=key, value=shorten(self.labels[key]))
        self._error_everywhere(problem, field)

    def _rivals(self, field: str) -> list[str]:
        """Return the labels that set a whole field, for any alias."""
        groups = (self.wildcard, *self.references.values(), *self.named.values())
        return [entry.key for group in groups for entry in group if self._sets(entry, field)]

    def _sets(self, entry: Entry, field: str) -> bool:
        if entry.path:
            return len(entry.path) == 1 and self.schema.find(entry.path[0]).name == field
        try:
            document = parse_yaml(entry.text)
        except ParseError:
            return False
        mapping = document.value if document is not None and isinstance(document.value, dict) else {}
        return any(self.schema.find(name).name == field for name in mapping)

    # ---- references

    def _add_references(self, entries: dict[str, list[Entry]]) -> None:
        """Give the labels of ``#N`` and ``$N`` to the n-th alias."""
        for reference in sorted(self.references):
            alias = self._referenced(reference[1:])
            for entry in sorted(self.references[reference]):
                if alias is None:
                    self._no_such_alias(reference[1:], entry.key, entry.text)
                else:
                    entries[alias].append(entry)

    def _referenced(self, number: str) -> str | None:
        """Return the alias with this number, counted from 1; ``None`` if there is none (decision 4)."""
        index = int(number) if _NUMBER.fullmatch(number) else 0
        return self.aliases[index - 1] if 1 <= index <= len(self.aliases) else None

    def _no_such_alias(self, number: str, key: str, text: str) -> None:
        names = ", ".join(f"#{i} ({alias})" for i, alias in enumerate(self.aliases[:_MOST_LISTED], 1))
        message = (
            f"there is no alias number {int(number)}: index out of range"
            if _NUMBER.fullmatch(number)
            else f"{shorten(number)!r} is not a number"
        )
        self.problems.append(Problem(message=message, hint=f"there is {names}", label=key, value=shorten(text)))

    # ---- errors

    def _error_everywhere(self, problem: Problem, field: str) -> None:
        """Report a label that cannot be applied to every listed alias: it may have protected any of them."""
        error = FieldError(problem, field, field in self.schema.protective)
        for alias in dict.fromkeys(self.aliases):
            self.errors.setdefault(alias, []).append(error)

    def _with_errors(self, fields: AliasFields) -> AliasFields:
        """Add the errors that are not about one alias alone."""
        errors = self.errors.get(fields.alias)
        return fields if errors is None else msgspec.structs.replace(fields, errors=(*errors, *fields.errors))
