"""Defines the field ``rules``, which contains request rules. Only their outer form is checked. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

from pilotage.core.secrets import UNSEEN
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, bare, kind_name, parse_yaml
from pilotage.routes.fields import UNSET, FieldContext, Kind
from pilotage.routes.mappings import MAX_ELEMENTS

__all__ = ["Rules"]

_RULE_KEYS: Final = ("name", "on", "do")
_BRACES: Final = re.compile(r"[{}]")


class Rules(Kind):
    """Rules for requests, kept as written: blocks in braces, or a YAML list of ``name``, ``on`` and ``do``.

    Only the outer form is checked: braces must match, a list must contain rules, and at most one rule may be the
    default.
    """

    name = "list of rules"
    visible = UNSEEN  # rules may set headers, which may be secret

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, str):
            text = given.strip()
            if text[:1] not in ("-", "["):
                if text.count("{") > MAX_ELEMENTS:
                    context.error(value, f"the rules have more than {MAX_ELEMENTS:,} blocks")
                    return UNSET
                if not text or self._is_block(text):
                    return given
                return self.wrong(value, context, "write 'condition { action }'")
            try:
                document = parse_yaml(given, value.source, context.budget)
            except ParseError as error:
                context.error(value, error.message)
                return UNSET
            value = document if document is not None else value
        if not isinstance(value.value, list):
            return self.wrong(value, context, "write blocks in braces, or a list of rules with name, on and do")
        return bare(value) if self._check(value.value, context) else UNSET

    @staticmethod
    def _is_block(text: str) -> bool:
        if text.count("{") != text.count("}"):
            return False
        depth = 0
        for brace in _BRACES.finditer(text):
            depth += 1 if brace.group() == "{" else -1
            if depth < 0:
                return False
        return "{" in text

    @staticmethod
    def _check(rules: list[Located], context: FieldContext) -> bool:
        before, defaults = context.errors, 0
        for rule in rules:
            if not isinstance(rule.value, dict):
                context.error(rule, f"a rule is a mapping, not {kind_name(rule.value)}", "write name, on and do")
                continue
            for key, item in rule.value.items():
                if key not in _RULE_KEYS:
                    context.error(item, "unknown field of a rule", context.did_you_mean(key, _RULE_KEYS), at_key=True)
            name = rule.value.get("name")
            defaults += name is not None and name.value == "default"
            if defaults > 1:
                context.error(rule, "there is already a default rule", "keep one")
        return context.errors == before
