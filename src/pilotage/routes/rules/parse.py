"""Parses rules in both syntaxes: blocks (``condition { command }``) and lists of name, on and do. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pilotage.core.text import shorten_value
from pilotage.routes.rules.commands import COMMANDS, check_command, ends, option_arguments
from pilotage.routes.rules.conditions import SUBJECTS, is_about_responses, parse_condition
from pilotage.routes.rules.model import Branch, Choice, Command, Rule, RuleError, RuleSet, Statement
from pilotage.routes.rules.words import find, line_of, strip_comments, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LONGEST", "MOST_RULES", "check_rules", "is_block_syntax", "parse_blocks", "parse_rule"]

LONGEST: Final = 16_384
"""Maximum characters of all rules of a route."""
MOST_RULES: Final = 200
"""Maximum number of rules of a route."""
_DEEPEST: Final = 8
_COMMENTS: Final = re.compile(r"(?:[ \t\r]*(?:#[^\n]*)?\n)*")
_MOST_COMMANDS: Final = 1_000


def is_block_syntax(text: str) -> bool:
    """Return whether rules are blocks, not a YAML list. Both may begin with lines that are comments."""
    beginning = _COMMENTS.match(text)
    return text[beginning.end() if beginning else 0 :].lstrip()[:1] not in ("-", "[")


def parse_blocks(text: str) -> RuleSet:
    """Parse rules written as blocks. Raises RuleError with the line."""
    if len(text) > LONGEST:
        raise RuleError(f"the rules have more than {LONGEST:,} characters")
    text = strip_comments(text)
    found, at = [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        begin = find(text, at, "{}")
        line = line_of(text, at)
        if begin < 0 or text[begin] == "}":
            what = "a '}' is unmatched" if begin >= 0 else "a condition has no block"
            raise RuleError(what, "write 'condition { command }'", line)
        end = _closing(text, begin)
        found.append(_block(text[at:begin], _Body(text, begin + 1, end).statements(), line))
        if len(found) > MOST_RULES:
            raise RuleError(f"there are more than {MOST_RULES} rules", line=line)
        at = end + 1
    return check_rules(found)


def _block(header: str, body: tuple[Statement, ...], line: int) -> Rule:
    is_default = header.strip() == "default"
    try:
        condition = () if is_default else parse_condition(header)
    except RuleError as error:
        raise RuleError(error.message, error.hint, line + error.line) from None
    return Rule("", is_default, condition, body, line, " ".join(header.split()))


def parse_rule(rule: Mapping[str, Any], line: int) -> Rule:
    """Parse one rule of a list: a mapping with texts for name, on and do. Raises RuleError.

    ``line`` is the rule's position, for messages.
    """
    name, on, do = (rule.get(key) for key in ("name", "on", "do"))
    for key, value in (("on", on), ("do", do)):
        if not isinstance(value, str | None) or len(value or "") > LONGEST:
            raise RuleError(f"{key} of a rule is not text", f"write {key}: as text", line)
    is_default = name == "default" or (on or "").strip() == "default"
    try:
        header = strip_comments(on or "")
        condition = () if is_default and header.strip() in ("", "default") else parse_condition(header)
        body = strip_comments(do or "")
        statements = _Body(body, 0, len(body)).statements()
    except RuleError as error:
        raise RuleError(error.message, error.hint, line) from None
    return Rule(str(name or ""), is_default, condition, _all_at(line, statements), line, " ".join(header.split()))


def _all_at(line: int, statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """Return statements that all have the line of their rule."""
    found: list[Statement] = []
    for it in statements:
        if isinstance(it, Choice):
            branches = tuple(Branch(branch.condition, _all_at(line, branch.body)) for branch in it.branches)
            found.append(Choice(branches, line))
        else:
            found.append(Command(it.name, it.args, line))
    return tuple(found)


def check_rules(rules: list[Rule], *, in_list: bool = False) -> RuleSet:
    """Check rules against one another. Raises RuleError."""
    if sum(rule.is_default for rule in rules) > 1:
        raise RuleError("there are several default rules", "keep one", [r.line for r in rules if r.is_default][1])
    seen: dict[Any, Rule] = {}
    for rule in rules:
        if rule.is_default or is_about_responses(rule.condition):
            continue
        key = frozenset(frozenset(part) for part in rule.condition)
        if key in seen:
            raise RuleError(
                "the rule never runs, because an earlier one with the same condition stops processing",
                "remove it, or move it up",
                rule.line,
            )
        if _always_ends(rule.body):
            seen[key] = rule
    return RuleSet(tuple(rules), in_list)


def _always_ends(body: Iterable[Statement]) -> bool:
    for statement in body:
        if isinstance(statement, Command):
            if ends(statement):
                return True
        elif not statement.branches[-1].condition and all(_always_ends(branch.body) for branch in statement.branches):
            return True
    return False


def _closing(text: str, begin: int, end: int | None = None) -> int:
    depth, at = 1, begin
    while depth:
        at = find(text, at + 1, "{}", end)
        if at < 0:
            raise RuleError("a '{' is not closed", "write '}'", line_of(text, begin))
        depth += 1 if text[at] == "{" else -1
    return at


class _Body:
    """Reads the commands and nested blocks between two positions of a text without comments."""

    def __init__(self, text: str, at: int, end: int, depth: int = 1) -> None:
        self.text, self.at, self.end, self.depth = text, at, end, depth
        if depth > _DEEPEST:
            raise RuleError(f"blocks are nested more than {_DEEPEST} deep", line=line_of(text, at))

    def statements(self) -> tuple[Statement, ...]:
        found: list[Statement] = []
        while self.text[self.at : self.end].strip():
            rest = self.text[self.at : self.end]
            self.at += len(rest) - len(rest.lstrip())
            found.append(self.statement())
            if len(found) > _MOST_COMMANDS:
                raise RuleError(f"a block has more than {_MOST_COMMANDS:,} commands", line=self.line)
        return tuple(found)

    @property
    def line(self) -> int:
        return line_of(self.text, self.at)

    def statement(self) -> Statement:
        line, start = self.line, self.at
        first = re.match(r"!?\w*", self.text[start : self.end])
        word = first.group() if first else ""
        bare = self.text[start + len(word) : self.end].lstrip()[:1] == "{"
        if word.lstrip("!") in SUBJECTS and self.opens_block() and not (bare and word in COMMANDS):
            return self.choice()
        stop = self.logical_end()
        brace = find(self.text, start, "{", stop)
        if brace >= 0 and word in COMMANDS:
            return self.options(word, brace, line)
        if brace >= 0:
            return self.choice()
        self.at = min(stop + 1, self.end)
        text = self.text[start:stop]
        try:
            name, *args = words(text)
        except RuleError as error:
            raise RuleError(error.message, error.hint, line) from None
        return check_command(name, args, line)

    def logical_end(self) -> int:
        stop = find(self.text, self.at, "\n", self.end)
        return self.end if stop < 0 else stop

    def opens_block(self) -> bool:
        """Return whether the current line, or a line that continues it, has an opening brace."""
        at = self.at
        while True:
            stop = find(self.text, at, "\n{", self.end)
            if stop < 0:
                return False
            if self.text[stop] == "{":
                return True
            if self.text[at:stop].rstrip()[-1:] not in ("|", "&"):
                return False
            at = stop + 1

    def options(self, name: str, brace: int, line: int) -> Command:
        end = _closing(self.text, brace, self.end)
        if len(self.text[self.at : brace].split()) > 1:
            raise RuleError(f"{name} has both arguments and a block of options", "use one or the other", line)
        found: dict[str, str] = {}
        try:
            for row in self.text[brace + 1 : end].split("\n"):
                if not row.strip():
                    continue
                key, colon, value = row.partition(":")
                key = key.strip()
                if not colon or not key or key in found:
                    what = f"the option {shorten_value(key)!r} is set twice" if key in found else "expected an option"
                    raise RuleError(what, "write one line 'name: value' for each option")  # noqa: TRY301
                given = words(value)
                if len(given) > 1:
                    given = [value.strip()]
                found[key] = given[0] if given else ""
            args = option_arguments(name, found)
        except RuleError as error:
            raise RuleError(error.message, error.hint, line) from None
        self.at = end + 1
        return check_command(name, args, line)

    def choice(self) -> Choice:
        line = self.line
        branches = [self.branch(self.at)]
        while rest := re.compile(r"[ \t\r]*(elif\b|else\b)").match(self.text, self.at, self.end):
            if rest[1] == "else":
                if self.text[rest.end() : self.end].lstrip()[:1] != "{":
                    raise RuleError("expected '{' after else", line=self.line)
                self.at = rest.end()
                branches.append(self.branch(self.at, always=True))
                break
            branches.append(self.branch(rest.end()))
        return Choice(tuple(branches), line)

    def branch(self, start: int, *, always: bool = False) -> Branch:
        brace = find(self.text, start, "{}", self.end)
        line = line_of(self.text, start)
        if brace < 0 or self.text[brace] == "}":
            raise RuleError("a nested condition has no block", "write 'condition { command }'", line)
        try:
            condition = parse_condition(self.text[start:brace])
        except RuleError as error:
            raise RuleError(error.message, error.hint, line + error.line) from None
        if not condition and not always:
            raise RuleError("a nested block has no condition", "write 'condition { command }'", line)
        end = _closing(self.text, brace, self.end)
        body = _Body(self.text, brace + 1, end, self.depth + 1).statements()
        self.at = end + 1
        return Branch(condition, body)
