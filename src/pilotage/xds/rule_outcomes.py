"""Divides requests into cases that the rules of a route treat alike, so that Envoy can look up the case. Pure.

Rules run one after another and may change the request. This module runs them for all requests at once: each condition
splits a case into two. The result is a list of cases. The first case whose tests hold applies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.rules import (
    Branch,
    Check,
    Choice,
    Rule,
    RuleError,
    RuleSet,
    Statement,
    is_about_responses,
    read_rules,
)
from pilotage.xds.rule_commands import is_only_after, run_command
from pilotage.xds.rule_responses import add_response_rule, divide, response_choice
from pilotage.xds.rule_sizes import envoy_memory, is_too_costly
from pilotage.xds.rule_state import Outcome, State
from pilotage.xds.rule_tests import TestResult, all_of, asked_checks, needs_address, ways

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.routes.route import Route
    from pilotage.routes.rules import Condition
    from pilotage.xds.rule_state import Elsewhere

__all__ = ["Case", "Compiled", "compile_rules", "elsewhere", "route_rules"]

_MOST_CASES: Final = 300
_MOST_TESTS: Final = 40
_MOST_CHECKS: Final = 4_000
"""Maximum number of checks to work out, so that labels cannot keep the daemon busy."""
_REWRITTEN: Final = 100
"""A check of a rewritten path counts as this many checks, because it takes much longer to work out."""
_MOST_TARGETS: Final = 20
"""Maximum number of other routes, addresses and folders to which the rules of a route send requests."""
_MOST_ASKED: Final = 20
"""Maximum number of different conditions about which Envoy asks this process."""
_LONGEST_IN_ALL: Final = 500_000
"""Maximum number of characters that the rules write in all cases. Envoy keeps them several times for each case."""


class Case(msgspec.Struct, frozen=True):
    """The outcome for requests for which all tests have the wanted results, unless an earlier case applies."""

    tests: tuple[TestResult, ...]
    outcome: Outcome


class Compiled(msgspec.Struct, frozen=True):
    """The cases of all rules; the last one applies to all remaining requests.

    Attributes:
        cases: the cases in order.
        address: whether a test needs the client's address or HTTP version.
        asked: the checks about which Envoy asks this process.
        memory: estimated bytes that Envoy needs for the cases.
        refused: why the rules cannot be applied, and the hint; ``None`` if they can.

    """

    cases: tuple[Case, ...] = ()
    address: bool = False
    asked: tuple[Check, ...] = ()
    memory: int = 0
    refused: tuple[str, str] | None = None

    @property
    def signs_in(self) -> bool:
        """Whether users have to sign in for some requests (``require_auth``)."""
        return any(case.outcome.sign_in for case in self.cases)


def route_rules(route: Route) -> Compiled:
    """Return the cases of a route's rules. Never raises."""
    return _compiled(read_rules(route.settings.rules), route.alias) if route.settings.rules else Compiled()


def elsewhere(route: Route) -> tuple[Elsewhere, ...]:
    """Return where the rules of a route send requests, apart from its own target."""
    if not route.settings.rules:
        return ()
    found = (case.outcome.elsewhere for case in route_rules(route).cases)
    return tuple(dict.fromkeys(it for it in found if it is not None))


@lru_cache(maxsize=256)
def _compiled(rules: RuleSet, alias: str) -> Compiled:
    return compile_rules(rules, alias)


def compile_rules(rules: RuleSet, alias: str) -> Compiled:
    """Work out the cases of rules for the route with this alias. Never raises."""
    run = _Run(rules, alias)
    try:
        cases = run.rules(0, State())
        memory = _check_costs(cases)
        _check_targets(cases, alias)
    except RuleError as error:
        return Compiled(refused=(f"{error.message}{rules.place(error.line)}", error.hint))
    except RecursionError:  # each rule that lets processing continue needs a few levels of the stack
        return Compiled(refused=("too many rules apply one after another", "end rules with pass, or write fewer"))
    return Compiled(tuple(cases), run.address, tuple(run.asked), memory=memory)


def _check_costs(cases: Sequence[Case]) -> int:
    """Estimate how many bytes Envoy needs for cases. Raises RuleError if they exceed a route's limits."""
    if is_too_costly(case.tests for case in cases):
        raise RuleError(
            "together, the rules need too many patterns, or patterns that are too large",
            "end some rules with the command 'pass'",
        )
    outcomes = [case.outcome for case in cases]
    edits = (edit for it in outcomes for edit in (*it.request, *it.response))
    texts = (text for edit in edits for text in (edit.name, *edit.values))
    scripted = (text for it in outcomes for edit in (*it.before, *it.after) for text in (edit.name, edit.text))
    length = sum(map(len, texts)) + sum(map(len, scripted)) + sum(len(it.body) for it in outcomes)
    if length > _LONGEST_IN_ALL:
        raise RuleError("together, the values in the rules are too long", "end some rules with the command 'pass'")
    return envoy_memory((case.tests for case in cases), length)


def _check_targets(cases: Sequence[Case], alias: str) -> None:
    found = {case.outcome.elsewhere for case in cases} - {None}
    if ("route", alias) in found:
        raise RuleError(f"the command route {alias} leads back to its own route", "use pass")
    if len(found) > _MOST_TARGETS:
        raise RuleError(f"the rules send requests to more than {_MOST_TARGETS} other targets", "use fewer")


class _Run:
    def __init__(self, rules: RuleSet, alias: str) -> None:
        ordered = [rule for rule in rules.rules if not rule.is_default]
        self.ordered = [rule for rule in ordered if not is_about_responses(rule.condition)]
        self.last = [rule for rule in ordered if is_about_responses(rule.condition)]
        self.default = next((rule for rule in rules.rules if rule.is_default), None)
        self.alias, self.address, self.line = alias, False, 0
        self.asked: dict[Check, None] = {}
        self.count = self.checks = 0

    def rules(self, number: int, state: State) -> list[Case]:
        """Return the cases of the rule with this number and all later rules."""
        if number == len(self.ordered):
            return self.fallback(state)
        rule = self.ordered[number]
        self.line = rule.line

        def go_on(after: State) -> list[Case]:
            return self.rules(number + 1, after)

        if state.ended and not is_only_after(rule):
            return go_on(state)

        def matched(after: State) -> list[Case]:
            before = after.ended
            entered = msgspec.structs.replace(after, matched=True, ended=False)
            return self.body(rule.body, entered, lambda it: go_on(_ended(it, ended=before or it.ended)))

        return self.split(rule.condition, state, matched, go_on)

    def fallback(self, state: State) -> list[Case]:
        rule = self.default
        if rule is None or state.matched:
            return self.case(state)
        self.line = rule.line
        return self.body(rule.body, state, self.case)

    def case(self, state: State, number: int = 0) -> list[Case]:
        """Return the cases of a state after adding the rules about responses, beginning with this number."""
        if number < len(self.last):
            rule = self.last[number]
            self.line = rule.line
            return self.respond(rule, rule.condition, (), state, lambda it: self.case(it, number + 1))
        self.count += 1
        if self.count > _MOST_CASES:
            raise RuleError(
                f"the rules lead to more than {_MOST_CASES} combinations of conditions",
                "end rules with pass, or combine them",
            )
        return [Case((), state.outcome)]

    def respond(
        self, rule: Rule, parts: Condition, left: Condition, state: State, then: Callable[[State], list[Case]]
    ) -> list[Case]:
        """Return the cases of a rule about responses, some parts of whose condition are about requests.

        Args:
            rule: the rule.
            parts: the parts of its condition that are still to test.
            left: the parts to test when a response arrives.
            state: the state before the rule.
            then: continues with the next rule.

        """
        if not parts:
            return then(add_response_rule(state, left, rule.body, rule.line))
        part, *others = parts
        now, later = divide(part)
        both, rest = (*left, later), tuple(others)
        if not now:
            return self.respond(rule, rest, both, state, then)
        return self.split(
            (now,),
            state,
            lambda it: self.respond(rule, rest, left, it, then),
            lambda it: self.respond(rule, rest, both, it, then) if later else then(it),
        )

    def split(
        self,
        condition: Condition,
        state: State,
        then: Callable[[State], list[Case]],
        otherwise: Callable[[State], list[Case]],
    ) -> list[Case]:
        """Return the cases in which a condition holds, followed by those in which it does not."""
        rewritten = state.changes.rewrite is not None
        self.checks += sum(_REWRITTEN if rewritten and it.subject == "path" else 1 for part in condition for it in part)
        if self.checks > _MOST_CHECKS:
            raise RuleError(
                "the rules can combine in too many ways", "end some rules with the command 'pass'", self.line
            )
        try:
            found = ways(condition, dict(state.known), self.alias, state.changes)
        except RuleError as error:
            raise RuleError(error.message, error.hint, self.line) from None
        self.address = self.address or needs_address(condition)
        self.ask(condition)
        if found == ((),):
            return then(state)
        cases: list[Case] = []
        for tests in found:
            entered = msgspec.structs.replace(state, known=(*state.known, *tests))
            for case in then(entered):
                both = all_of(tests, case.tests)
                if both is not None:
                    if len(both) > _MOST_TESTS:
                        raise RuleError(f"a request would need more than {_MOST_TESTS} tests", line=self.line)
                    cases.append(Case(both, case.outcome))
        if len(found) == 1 and len(found[0]) == 1:
            ((test, wanted),) = found[0]
            state = msgspec.structs.replace(state, known=(*state.known, (test, not wanted)))
        rest = otherwise(state)
        return rest if _same(cases, rest) else [*cases, *rest]

    def ask(self, condition: Condition) -> None:
        """Collect the checks about which Envoy asks this process. Raises RuleError if there are too many."""
        self.asked |= dict.fromkeys(asked_checks(condition))
        if len(self.asked) > _MOST_ASKED:
            what = f"there are more than {_MOST_ASKED} conditions basic_auth, form and postform"
            raise RuleError(what, "write fewer", self.line)

    def body(self, statements: Sequence[Statement], state: State, then: Callable[[State], list[Case]]) -> list[Case]:
        """Return the cases of commands and of everything after them."""
        for at, statement in enumerate(statements):
            rest = statements[at + 1 :]
            if isinstance(statement, Choice) and is_about_responses(statement.branches[0].condition):
                state = state if state.ended else response_choice(state, statement)
            elif isinstance(statement, Choice):
                return self.choice(statement.branches, state, lambda it, rest=rest: self.body(rest, it, then))  # type: ignore[misc]
            else:
                state = run_command(statement, state)
        return then(state)

    def choice(self, branches: Sequence[Branch], state: State, then: Callable[[State], list[Case]]) -> list[Case]:
        if not branches or state.ended:
            return then(state)
        first, *others = branches
        if is_about_responses(first.condition):
            raise RuleError(
                "a nested condition about responses follows one about requests", "write it first", self.line
            )
        return self.split(
            first.condition,
            state,
            lambda it: self.body(first.body, it, then),
            lambda it: self.choice(others, it, then),
        )


def _ended(state: State, *, ended: bool) -> State:
    return msgspec.structs.replace(state, ended=ended)


def _same(cases: list[Case], rest: list[Case]) -> bool:
    """Return whether the outcome is the same whether or not a condition holds."""
    return len(rest) == 1 and all(case.outcome == rest[0].outcome for case in cases)
