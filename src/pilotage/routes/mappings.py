"""Defines the kinds of composite values: lists, mappings with any keys, and mappings with known fields. Pure.

Rules: LABELS II.6.1, decision 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_type_hints

import msgspec

from pilotage.core.budget import BudgetError
from pilotage.core.secrets import HIDDEN, UNSEEN, Visibility, holds_secret
from pilotage.core.values import ParseError, comma_list
from pilotage.core.yaml import Located, bare, parse_yaml
from pilotage.labels.key_schema import Key, KeySchema, fold
from pilotage.routes.fields import UNSET, FieldContext, Kind, Text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_ELEMENTS", "Field", "FreeMapping", "ListOf", "StructKind", "as_mapping"]

MAX_ELEMENTS: Final = 1_000
"""Maximum number of entries in a list (decision 36)."""


class ListOf(Kind):
    """A comma-separated list or a YAML list of at most 1,000 entries. Invalid entries are reported and dropped."""

    def __init__(self, item: Kind) -> None:
        self.item = item
        self.visible = item.visible
        self.name = f"list of {item.name}" if not isinstance(item, Text) else "list"

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, str):
            elements = self._split(value, context)
        elif isinstance(given, list):
            elements = given
        else:
            return self.wrong(value, context)
        if elements is None:
            return UNSET
        if len(elements) > MAX_ELEMENTS:
            context.error(value, f"the list has more than {MAX_ELEMENTS:,} entries")
            return UNSET
        path, visible = context.path, context.visible
        if isinstance(given, str) and context.budget.holds_secret(given):
            context.visible = UNSEEN  # any part of it may be the secret
        found = []
        for index, element in enumerate(elements):
            context.path = f"{path}[{index}]"
            item = self.item.read(element, context)
            if item is not UNSET:
                found.append(item)
        context.path, context.visible = path, visible
        return tuple(found)

    def _split(self, value: Located, context: FieldContext) -> Sequence[Located] | None:
        text = value.value
        if "\n" not in text and text.lstrip()[:1] not in ("-", "["):
            pieces = comma_list(text, MAX_ELEMENTS)
            try:
                context.budget.take(len(pieces))
            except BudgetError as error:
                context.error(value, error.message)
                return None
            return [msgspec.structs.replace(value, value=piece) for piece in pieces]
        document = _parse_text(value, context)
        if document is None:
            return []
        if document is UNSET:
            return None
        if not isinstance(document.value, list):
            self.wrong(document, context)
            return None
        elements: list[Located] = document.value
        return elements

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        if holds_secret(",".join(item for item in value if isinstance(item, str))):
            return name, [HIDDEN] * len(value)
        return name, [self.item.dump("", item)[1] for item in value]


class FreeMapping(Kind):
    """A mapping with any keys, kept as written. Its values are never shown, because they may be secret."""

    name = "mapping"
    eager = True
    visible = UNSEEN

    def read(self, value: Located, context: FieldContext) -> Any:
        mapping = as_mapping(self, value, context)
        return UNSET if mapping is UNSET else {key: bare(item) for key, item in mapping.items()}


def _parse_text(value: Located, context: FieldContext) -> Any:
    """Parse text as YAML. Return the document, ``None`` if it is empty, or :data:`UNSET` after reporting an error."""
    try:
        return parse_yaml(value.value, value.source, context.budget)
    except ParseError as error:
        if not value.line:  # the text is a whole label, so the position in the error is the position in the label
            value = msgspec.structs.replace(value, line=error.line, column=error.column)
        context.error(value, error.message)
        return UNSET


def as_mapping(kind: Kind, value: Located, context: FieldContext) -> Any:
    """Return a value as a mapping, parsing text as YAML; :data:`UNSET` for null, or after reporting an error."""
    given = value.value
    if isinstance(given, dict):
        return given
    if given is None:
        return UNSET
    if isinstance(given, str):
        document = _parse_text(value, context)
        if document is None:
            return {}
        if document is UNSET or isinstance(document.value, dict):
            return document if document is UNSET else document.value
    kind.wrong(value, context, "write lines such as 'name: value'")
    return UNSET


class Field(msgspec.Struct, frozen=True):
    """The definition of one field. Its name and default value are those of the annotated struct attribute.

    Attributes:
        kind: the kind of value that the field takes.
        meaning: what the field means, in one sentence.
        example: a value usable in a label.
        spellings: other accepted names of the field.
        protective: whether the field restricts access, so that an error in it takes the route out of service (decision
            10).
        strict: whether an invalid value takes the route out of service, as in GoDoxy.
        default: the default to document, if the struct attribute's default value does not show it.

    """

    kind: Kind
    meaning: str
    example: str = ""
    spellings: tuple[str, ...] = ()
    protective: bool = False
    strict: bool = False
    default: str = ""


class StructKind(Kind):
    """A mapping with known fields, read into a struct.

    Args:
        struct: the struct to read into; each attribute is annotated with :class:`Field`.

    """

    name = "mapping"
    eager = True

    def __init__(self, struct: type[msgspec.Struct]) -> None:
        self.struct = struct
        hints = get_type_hints(struct, include_extras=True)
        self.fields: dict[str, Field] = {name: hints[name].__metadata__[0] for name in struct.__struct_fields__}
        keys = {
            fold(spelling): Key(name, field.kind.keys, field.kind.eager)
            for name, field in self.fields.items()
            for spelling in (name, *field.spellings)
        }
        protective = frozenset(name for name, field in self.fields.items() if field.protective)
        self.visible = Visibility(
            fields={
                fold(spelling): field.kind.visible
                for name, field in self.fields.items()
                for spelling in (name, *field.spellings)
            }
        )
        self.schema = self.keys = KeySchema(keys, protective, visible=self.visible)

    def canonical(self, name: str) -> str | None:
        """Return a field's canonical name, given any spelling; ``None`` if the field is unknown."""
        key = self.schema.keys.get(fold(name))
        return None if key is None else key.name

    def read(self, value: Located, context: FieldContext) -> Any:
        mapping = as_mapping(self, value, context)
        return UNSET if mapping is UNSET else self.struct(**self.read_fields(mapping, context))

    def read_fields(self, mapping: dict[str, Located], context: FieldContext) -> dict[str, Any]:
        """Return the valid fields of a mapping as name -> value. Report unknown keys with the nearest known name."""
        path = context.path
        found: dict[str, Any] = {}
        for key, value in mapping.items():
            name = self.canonical(key)
            context.path = f"{path}.{name or key}" if path else name or key
            read = self.read_field(name, key, value, context)
            if name is not None and read is not UNSET:
                found[name] = read
        context.path = path
        return found

    def read_field(self, name: str | None, key: str, value: Located, context: FieldContext) -> Any:
        """Read one field. Return :data:`UNSET` if it is automatic, invalid or unknown (``name`` is ``None``)."""
        if name is None:
            self.unknown(key, value, context)
            return UNSET
        field = self.fields[name]
        before = context.errors
        read = field.kind.read(value, context)
        if (field.protective or field.strict) and context.errors > before:
            context.refused = True
        return read

    def unknown(self, key: str, value: Located, context: FieldContext) -> None:
        """Report a key that is not the name of a field, once for each label that sets it."""
        if not key:
            context.error(value, "empty field name", "write proxy.<alias>.<field>", at_key=True)
            return
        hint = context.did_you_mean(key, self.fields)
        context.error(value, "unknown field", hint, at_key=True)
        for label in sorted(_sources(value) - {value.source}):
            context.error(Located(value.value, label), "unknown field", hint)

    def dump(self, name: str, value: Any) -> tuple[str, Any]:
        answer: dict[str, Any] = {}
        for key, field in self.fields.items():
            item = getattr(value, key)
            if item is not None:
                dumped, content = field.kind.dump(key, item)
                answer[dumped] = content
        return name, answer


def _sources(value: Located) -> set[str]:
    """Return the labels that set a value or anything below it."""
    found = {value.source}
    if isinstance(value.value, dict):
        found = found.union(*map(_sources, value.value.values()))
    return found
