"""3. From a container's labels to one nested mapping of fields for each alias, every value with its origin.

Pure. What a field means is not known here; a :class:`Spelling` says how names are written and which values are
mappings. The rules: LABELS I.1 to I.6, II.1, II.2.

Sources of one alias apply in this order, later ones winning (decision 1): ``proxy.*``, ``proxy.*.field``, shortcuts
such as ``proxy.ports``, ``proxy.#1``, ``proxy.#1.field``, ``proxy.name``, ``proxy.name.field``. Mappings merge; lists
and single values replace.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from pilotage.core.problems import Problem
from pilotage.core.suggest import nearest
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, comma_list
from pilotage.core.yaml import Located, kind_name, parse_yaml
from pilotage.labels.keys import CONTAINER_LABELS, SHORTCUTS, near_namespaces, split_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Fault", "LabelTree", "Overridden", "Spelling", "read_labels"]

Fields = dict[str, Located]


class Spelling(Protocol):
    """How the keys of one mapping are spelt, and what lies below them."""

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        """Return the name to keep a key under, the spelling of the mapping below it, and whether text is YAML there.

        The spelling is ``None`` where no mapping can be. With the last one true, a label's text at this place is read
        as a YAML mapping; otherwise it stays text until a deeper label asks for a mapping.
        """
        ...


class Fault(msgspec.Struct, frozen=True):
    """A problem, and the top-level field of the route that it spoils.

    Attributes:
        problem: what is wrong.
        field: canonical name of the field; ``""`` when it is not about one field.
        text: the label's value when no field could be made out in it.

    """

    problem: Problem
    field: str = ""
    text: str = ""


class Overridden(msgspec.Struct, frozen=True):
    """A value that another label replaced."""

    alias: str
    path: str
    loser: Located
    winner: Located


class LabelTree(msgspec.Struct):
    """What the labels of one container say.

    Attributes:
        fields: alias -> its fields, listed and default aliases first, then dynamic ones by name.
        faults: alias -> what is wrong with its labels.
        problems: what is wrong with labels that belong to no alias.
        overridden: values that lost against others.

    """

    fields: dict[str, Fields]
    faults: dict[str, list[Fault]]
    problems: list[Problem]
    overridden: list[Overridden]


_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_WILDCARD, _SHORTCUT, _REFERENCE, _NAMED = range(4)


class _Entry(msgspec.Struct, frozen=True, order=True):
    """One label on its way to an alias; entries sort into the order in which they apply."""

    rank: int
    depth: int
    key: str
    path: tuple[str, ...]
    text: str


def read_labels(labels: Mapping[str, str], aliases: Sequence[str], spelling: Spelling) -> LabelTree:
    """Read the ``proxy.`` labels of one container.

    Args:
        labels: the container's labels without the container-level ones (:data:`CONTAINER_LABELS`).
        aliases: its listed or default aliases, lower-cased, duplicates kept (they count for ``#N``).
        spelling: how the fields of a route are spelt.

    Returns:
        A mapping for each alias; never raises, whatever the labels hold.

    """
    tree = LabelTree({alias: {} for alias in aliases}, {}, near_namespaces(labels), [])
    if any(key.startswith("proxy.") for key in labels):
        _Merger(labels, aliases, spelling, tree).run()
    return tree


# ---- merging -------------------------------------------------------------------------------------------------------


class _Merger:
    """Brings the labels of one container together. An instance is used once."""

    def __init__(self, labels: Mapping[str, str], aliases: Sequence[str], spelling: Spelling, tree: LabelTree) -> None:
        self.aliases = aliases
        self.spelling = spelling
        self.tree = tree
        self.wildcard: list[_Entry] = []
        self.shortcuts: dict[str, str] = {}
        self.filled: dict[str, str] = {}  # field -> the shortcut that fills it
        self.references: dict[str, list[_Entry]] = {}
        self.named: dict[str, list[_Entry]] = {}
        for key, text in labels.items():
            if not key.startswith("proxy."):
                continue
            alias, path = split_key(key)
            if alias == "*":
                self.wildcard.append(_Entry(_WILDCARD, len(path), key, path, text))
            elif not alias:
                hint = "write proxy.<alias>.<field>"
                tree.problems.append(Problem(message="empty alias", hint=hint, label=key, value=shorten(text)))
            elif alias[0] in "#$":
                self.references.setdefault(alias, []).append(_Entry(_REFERENCE, len(path), key, path, text))
            elif not path and alias in SHORTCUTS:
                self.shortcuts[alias] = key
            else:
                self.named.setdefault(alias, []).append(_Entry(_NAMED, len(path), key, path, text))
        tree.problems.sort(key=lambda problem: problem.label)
        self.labels = labels

    def run(self) -> None:
        entries: dict[str, list[_Entry]] = {alias: list(self.wildcard) for alias in self.aliases}
        for alias in sorted(self.named):
            mine = self.named[alias]
            if alias not in entries and not self._names_a_route(alias, mine):
                continue
            entries.setdefault(alias, list(self.wildcard)).extend(mine)
        for shortcut, field in SHORTCUTS.items():
            if shortcut in self.shortcuts:
                self._apply_shortcut(shortcut, field, entries)
        for reference in sorted(self.references):
            target = self._referenced(reference[1:])
            for entry in sorted(self.references[reference]):
                if target is None:
                    self._no_such_alias(reference[1:], entry.key, entry.text)
                else:
                    entries[target].append(entry)
        for alias, mine in entries.items():
            mine.sort()
            fields = self.tree.fields.setdefault(alias, {})
            for entry in mine:
                self._apply(alias, fields, entry)

    def _referenced(self, number: str) -> str | None:
        """Return the alias that ``#N`` stands for, ``None`` if there is none (decision 4)."""
        index = int(number) if _NUMBER.fullmatch(number) else 0
        return self.aliases[index - 1] if 1 <= index <= len(self.aliases) else None

    def _no_such_alias(self, number: str, key: str, text: str) -> None:
        names = ", ".join(f"#{i} ({alias})" for i, alias in enumerate(self.aliases[:8], 1))
        message = (
            f"there is no alias number {int(number)}: index out of range"
            if _NUMBER.fullmatch(number)
            else f"{shorten(number)!r} is not a number"
        )
        self.tree.problems.append(Problem(message=message, hint=f"there is {names}", label=key, value=shorten(text)))

    def _names_a_route(self, alias: str, entries: list[_Entry]) -> bool:
        """Tell whether labels make a dynamic alias: not if the only one is ``proxy.alias: <no mapping>``."""
        if len(entries) > 1 or entries[0].path:
            return True
        entry = entries[0]
        try:
            document = parse_yaml(entry.text)
        except ParseError as error:
            self.tree.problems.append(_yaml_problem(error, entry))
            return False
        if document is None or isinstance(document.value, dict):
            return True
        own = self.aliases[0] if self.aliases else "<alias>"
        name = alias if alias in CONTAINER_LABELS else nearest(alias, [*CONTAINER_LABELS, *SHORTCUTS])
        if SHORTCUTS.get(name, "").replace("_", "") == alias.replace("_", ""):
            hint = f"write proxy.{own}.{alias}, or proxy.{name} for all aliases in turn"
        elif name:
            hint = f"did you mean 'proxy.{name}'?"
        else:
            hint = f"a field needs an alias before it: proxy.{own}.{alias}"
        message = f"a mapping of fields is needed here, not {kind_name(document.value)}"
        problem = Problem(message=message, hint=hint, label=entry.key, value=shorten(entry.text))
        self._fault_everywhere(problem, self.spelling.child(alias)[0])
        return False

    # ---- shortcuts

    def _apply_shortcut(self, shortcut: str, field: str, entries: dict[str, list[_Entry]]) -> None:
        key = self.shortcuts[shortcut]
        rivals = sorted(self._rivals(field))
        if field in self.filled:
            rivals.append(self.filled[field])
        if rivals:
            message = f"shortcut conflicts with full label: {key} -> {field} conflicts with {', '.join(rivals)}"
            text = shorten(self.labels[key])
            problem = Problem(message=message, hint="keep one of them", label=key, value=text)
            self._fault_everywhere(problem, field)
            return
        self.filled[field] = key
        for number, item in enumerate(comma_list(self.labels[key]), 1):
            target = self._referenced(str(number))
            if target is None:
                self._no_such_alias(str(number), key, item)
            else:
                entries[target].append(_Entry(_SHORTCUT, 1, key, (field,), item))

    def _rivals(self, field: str) -> list[str]:
        """Return the labels that set a field in full, whatever their alias."""
        groups = (self.wildcard, *self.references.values(), *self.named.values())
        return [entry.key for group in groups for entry in group if self._sets(entry, field)]

    def _sets(self, entry: _Entry, field: str) -> bool:
        if entry.path:
            return len(entry.path) == 1 and self.spelling.child(entry.path[0])[0] == field
        return field in self._top_level(entry.text)

    def _top_level(self, text: str) -> set[str]:
        try:
            document = parse_yaml(text)
        except ParseError:
            return set()
        if document is None or not isinstance(document.value, dict):
            return set()
        return {self.spelling.child(name)[0] for name in document.value}

    # ---- one label

    def _fault(self, alias: str, problem: Problem, field: str = "", text: str = "") -> None:
        self.tree.faults.setdefault(alias, []).append(Fault(problem, field, text))

    def _fault_everywhere(self, problem: Problem, field: str) -> None:
        """Report a label that could not be applied: it may have been there to protect any of the routes."""
        for alias in dict.fromkeys(self.aliases):
            self._fault(alias, problem, field)

    def _apply(self, alias: str, fields: Fields, entry: _Entry) -> None:
        """Put one label's value where it belongs in an alias's mapping."""
        value = Located(entry.text, entry.key)
        if not entry.path:
            document = self._document(alias, entry)
            if document is not None:
                self._merge(alias, fields, document.value, self.spelling, ())
            return
        at: Fields = fields
        below: Spelling = self.spelling
        path: tuple[str, ...] = ()
        for segment in entry.path[:-1]:
            name, spelling, _ = below.child(segment)
            path = (*path, name)
            inner = self._enter(alias, at, name, entry, path)
            if inner is None:
                return
            at, below = inner, spelling or _ANYTHING
        name, spelling, is_yaml = below.child(entry.path[-1])
        path = (*path, name)
        known = at.get(name)
        if not is_yaml and (known is None or not isinstance(known.value, dict)):
            self._note(alias, path, known, value)
            at[name] = value
            return
        document = self._document(alias, entry, path)
        if document is None:
            return
        if document.value is None:
            self._note(alias, path, known, document)
            at[name] = document
            return
        if known is None or not isinstance(known.value, dict):
            self._note(alias, path, known, document)
            at[name] = known = Located({}, entry.key)
        self._merge(alias, known.value, document.value, spelling or _ANYTHING, path)

    def _enter(self, alias: str, at: Fields, name: str, entry: _Entry, path: tuple[str, ...]) -> Fields | None:
        """Return the mapping under a name, made if missing; text there is read as YAML."""
        known = at.get(name)
        if known is None or known.value is None or known.value == "":
            at[name] = Located({}, entry.key)
            return at[name].value  # type: ignore[no-any-return]
        if isinstance(known.value, str):
            inner = _mapping_or_none(known)
            if inner is not None:
                at[name] = msgspec.structs.replace(known, value=inner)
                return inner
        if isinstance(known.value, dict):
            return known.value
        where = ".".join(path)
        problem = Problem(
            message=f"nothing can be set below {where}: {known.source} gave it {kind_name(known.value)}, not a mapping",
            hint=f"remove one of the two labels, or write {known.source} as a mapping",
            label=entry.key,
            path=where,
            value=shorten(entry.text),
        )
        self._fault(alias, problem, path[0])
        return None

    def _document(self, alias: str, entry: _Entry, path: tuple[str, ...] = ()) -> Located | None:
        """Read a label's text as a mapping; ``None`` when it is none, which is then reported.

        Empty text is an empty mapping. ``null`` unsets a field, so it comes back as it is for one.
        """
        where = ".".join(path)
        field = path[0] if path else ""
        try:
            document = parse_yaml(entry.text, entry.key)
        except ParseError as error:
            self._fault(alias, _yaml_problem(error, entry, where), field, entry.text)
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
        self._fault(alias, problem, field, entry.text)
        return None

    def _merge(self, alias: str, target: Fields, source: Fields, spelling: Spelling, path: tuple[str, ...]) -> None:
        """Merge a YAML mapping into what is there: mappings merge, anything else replaces."""
        for key, value in source.items():
            name, below, is_yaml = spelling.child(key)
            here = (*path, name)
            known = target.get(name)
            if isinstance(value.value, dict):
                inner: Any = known.value if known is not None and isinstance(known.value, dict) else None
                if inner is None and known is not None and isinstance(known.value, str) and known.value:
                    inner = _mapping_or_none(known)
                if inner is None:
                    self._note(alias, here, known, value)
                    inner = {}
                target[name] = msgspec.structs.replace(value, value=inner)
                self._merge(alias, inner, value.value, below or _ANYTHING, here)
            else:
                if isinstance(value.value, str) and is_yaml and known is not None and isinstance(known.value, dict):
                    inner = _mapping_or_none(value)
                    if inner is not None:
                        self._merge(alias, known.value, inner, below or _ANYTHING, here)
                        continue
                self._note(alias, here, known, value)
                target[name] = value

    def _note(self, alias: str, path: tuple[str, ...], loser: Located | None, winner: Located) -> None:
        if loser is not None:
            self.tree.overridden.append(Overridden(alias, ".".join(path), loser, winner))


def _mapping_or_none(value: Located) -> Fields | None:
    try:
        document = parse_yaml(value.value, value.source)
    except ParseError:
        return None
    return document.value if document is not None and isinstance(document.value, dict) else None


def _yaml_problem(error: ParseError, entry: _Entry, path: str = "") -> Problem:
    return Problem(
        message=error.message,
        label=entry.key,
        path=path,
        value=shorten(entry.text),
        line=error.line,
        column=error.column,
    )


class _Anything:
    """The spelling of a free mapping: names stay as they are written."""

    def child(self, name: str) -> tuple[str, Spelling | None, bool]:
        return name, self, False


_ANYTHING: Final = _Anything()
