"""Defines the field ``rules``, which contains request rules. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from pilotage.core.budget import container_budget
from pilotage.core.secrets import UNSEEN
from pilotage.core.values import ParseError
from pilotage.core.yaml import Located, bare, kind_name, parse_yaml
from pilotage.routes.fields import UNSET, FieldContext, Kind
from pilotage.routes.rules.model import RuleError, RuleSet
from pilotage.routes.rules.parse import LONGEST, MOST_RULES, check_rules, is_block_syntax, parse_blocks, parse_rule

__all__ = ["Rules", "read_rule_text", "read_rules"]

_RULE_KEYS: Final = ("name", "on", "do")


def read_rules(value: Any) -> RuleSet:
    """Parse the rules of :class:`~pilotage.routes.schema.RouteSettings`, which have already been validated."""
    if not value:
        return RuleSet()
    if isinstance(value, str):
        return _read_text(value)
    return check_rules([parse_rule(rule, number) for number, rule in enumerate(value, 1)], in_list=True)


def read_rule_text(text: str) -> Any:
    """Return the rules in the text of a file, as the field ``rules`` keeps them. Raises RuleError with the line."""
    context = FieldContext(budget=container_budget())
    value = Rules().read(Located(text), context)
    if context.problems:
        problem = context.problems[0]
        raise RuleError(problem.message, problem.hint, problem.line)
    return None if value is UNSET else value


@lru_cache(maxsize=256)
def _read_text(text: str) -> RuleSet:
    return parse_blocks(text)


class Rules(Kind):
    """Rules for requests, kept as written: blocks in braces, or a YAML list of ``name``, ``on`` and ``do``."""

    name = "list of rules"
    visible = UNSEEN  # rules may set headers, which may be secret

    def read(self, value: Located, context: FieldContext) -> Any:
        given = value.value
        if given is None or given == "":
            return UNSET
        if isinstance(given, str):
            if is_block_syntax(given):
                return self._blocks(value, given, context)
            try:
                document = parse_yaml(given, value.source, context.budget)
            except ParseError as error:
                context.error(value, error.message)
                return UNSET
            value = document if document is not None else value
        if not isinstance(value.value, list):
            return self.wrong(value, context, "write blocks in braces, or a list of rules with name, on and do")
        return bare(value) if self._check(value.value, context) else UNSET

    def _blocks(self, value: Located, text: str, context: FieldContext) -> Any:
        if "{" not in text and text.strip():
            return self.wrong(value, context, "write 'condition { command }'")
        try:
            found = _read_text(text)
        except RuleError as error:
            where = f" (line {error.line} of the rules)" if error.line else ""
            context.error(value, f"{error.message}{where}", error.hint)
            return UNSET
        return text if found.rules else UNSET

    def _check(self, rules: list[Located], context: FieldContext) -> bool:
        before, parsed = context.errors, []
        if len(rules) > MOST_RULES:
            context.error(rules[MOST_RULES], f"there are more than {MOST_RULES} rules")
            return False
        texts = [it.value for rule in rules if isinstance(rule.value, dict) for it in rule.value.values()]
        if sum(len(it) for it in texts if isinstance(it, str)) > LONGEST:
            context.error(rules[0], f"the rules have more than {LONGEST:,} characters", "write fewer or shorter rules")
            return False
        for number, rule in enumerate(rules, 1):
            if not isinstance(rule.value, dict):
                context.error(rule, f"a rule is a mapping, not {kind_name(rule.value)}", "write name, on and do")
                continue
            for key, item in rule.value.items():
                if key not in _RULE_KEYS:
                    context.error(item, "unknown field of a rule", context.did_you_mean(key, _RULE_KEYS), at_key=True)
            try:
                parsed.append(parse_rule(bare(rule), number))
            except RuleError as error:
                context.error(rule, error.message, error.hint)
        if context.errors == before:
            try:
                check_rules(parsed)
            except RuleError as error:
                context.error(rules[max(error.line, 1) - 1], error.message, error.hint)
        return context.errors == before
