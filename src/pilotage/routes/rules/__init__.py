"""Parses the field ``rules``: conditions and commands for requests and responses.

The text or list as written goes in, a :class:`RuleSet` of frozen values or a :class:`RuleError` with the line comes
out. This package does not know Envoy, and reads no files or environment variables.
"""

from __future__ import annotations

from pilotage.routes.rules.commands import COMMANDS, CommandSyntax, ends
from pilotage.routes.rules.conditions import ARGUMENTS, SUBJECTS, is_about_responses, parse_condition
from pilotage.routes.rules.derivative import is_nullable, remainder
from pilotage.routes.rules.describe import RuleDescription, describe_rules
from pilotage.routes.rules.globs import parse_glob
from pilotage.routes.rules.kind import Rules, read_rule_text, read_rules
from pilotage.routes.rules.matching import matches
from pilotage.routes.rules.model import (
    Branch,
    Check,
    Choice,
    Command,
    Condition,
    Pattern,
    Rule,
    RuleError,
    RuleSet,
    Statement,
)
from pilotage.routes.rules.nodes import (
    ANY,
    Alternatives,
    Chain,
    Chars,
    Edge,
    Node,
    Ranges,
    Repeat,
    literal_node,
)
from pilotage.routes.rules.nodes import size as pattern_size
from pilotage.routes.rules.places import address_of, places
from pilotage.routes.rules.regex import parse_regex

__all__ = [
    "ANY",
    "ARGUMENTS",
    "COMMANDS",
    "SUBJECTS",
    "Alternatives",
    "Branch",
    "Chain",
    "Chars",
    "Check",
    "Choice",
    "Command",
    "CommandSyntax",
    "Condition",
    "Edge",
    "Node",
    "Pattern",
    "Ranges",
    "Repeat",
    "Rule",
    "RuleDescription",
    "RuleError",
    "RuleSet",
    "Rules",
    "Statement",
    "address_of",
    "describe_rules",
    "ends",
    "is_about_responses",
    "is_nullable",
    "literal_node",
    "matches",
    "parse_condition",
    "parse_glob",
    "parse_regex",
    "pattern_size",
    "places",
    "read_rule_text",
    "read_rules",
    "remainder",
]
