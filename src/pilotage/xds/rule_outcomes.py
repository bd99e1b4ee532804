"""Splits requests into cases by what the rules of a route do with them, so that Envoy can look up the case. Pure.

Rules run one after another and may change the request. Here they run for all requests at once: at each condition the
case splits into two. The result is a list of cases. The first case whose tests hold applies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.rules import (
    Branch,
    Choice,
    Command,
    Rule,
    RuleError,
    RuleSet,
    Statement,
    ends,
    is_about_responses,
    read_rules,
)
from pilotage.xds.rule_sizes import is_too_costly
from pilotage.xds.rule_tests import Changes, TestResult, all_of, needs_address, ways
from pilotage.xds.variables import VariableError, expand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pilotage.routes.route import Route
    from pilotage.routes.rules import Condition

__all__ = ["Case", "Compiled", "HeaderEdit", "Outcome", "compile_rules", "route_rules"]

_MOST_CASES: Final = 300
_MOST_TESTS: Final = 40
_MOST_CHECKS: Final = 4_000
"""Maximum number of checks to work out, so that labels cannot keep the daemon busy."""
_REWRITTEN: Final = 100
"""A check of a rewritten path counts as this many checks, because it takes much longer to work out."""
_LONGEST_IN_ALL: Final = 500_000
"""Maximum number of characters that the rules write in all cases. Envoy keeps them several times for each case."""
_SUPPORTED_TARGETS: Final = ("header", "resp_header")
_UNWRITTEN: Final = frozenset({"log", "notify"})
_REFUSED: Final = {
    "serve": "run a web server in a container for the files",
    "serve_file": "run a web server in a container for the files",
    "handle": "remove it",
    "require_auth": "use the middleware oidc or forward_auth",
    "route": "give that service a path or host of its own",
}


FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    }
)


class HeaderEdit(msgspec.Struct, frozen=True):
    """A change to a header.

    Attributes:
        name: name of the header.
        values: values to set or add, with variables; empty to remove the header.
        keep: whether to keep the header's existing values.

    """

    name: str
    values: tuple[str, ...] = ()
    keep: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What the rules do with a request.

    Attributes:
        request, response: changes to headers.
        rewrite: a prefix of the path, and what replaces it; ``None`` to keep the path.
        path: the whole new path; ``""`` to keep it.
        status: the status of the gateway's own response; 0 if the request goes to the target.
        body: the text of that response, with variables.
        headers: headers of that response, as literal text.

    """

    request: tuple[HeaderEdit, ...] = ()
    response: tuple[HeaderEdit, ...] = ()
    rewrite: tuple[str, str] | None = None
    path: str = ""
    status: int = 0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class Case(msgspec.Struct, frozen=True):
    """What happens to requests for which all tests have the wanted results, unless an earlier case applies."""

    tests: tuple[TestResult, ...]
    outcome: Outcome


class Compiled(msgspec.Struct, frozen=True):
    """The cases of all rules; the last one applies to all remaining requests.

    Attributes:
        cases: the cases in order.
        address: whether a test needs the client's address.
        refused: why the rules cannot be applied, and the hint; ``None`` if they can.
        skipped: commands that have no effect, such as ``log``.

    """

    cases: tuple[Case, ...] = ()
    address: bool = False
    refused: tuple[str, str] | None = None
    skipped: tuple[str, ...] = ()


def route_rules(route: Route) -> Compiled:
    """Return the cases of a route's rules. Never raises."""
    return _compiled(read_rules(route.settings.rules), route.alias) if route.settings.rules else Compiled()


@lru_cache(maxsize=256)
def _compiled(rules: RuleSet, alias: str) -> Compiled:
    return compile_rules(rules, alias)


def compile_rules(rules: RuleSet, alias: str) -> Compiled:
    """Work out the cases of rules for the route with this alias. Never raises."""
    run = _Run(rules, alias)
    try:
        cases = run.rules(0, _State())
        _check_costs(cases)
    except RuleError as error:
        where = f" (line {error.line} of the rules)" if error.line else ""
        return Compiled(refused=(f"{error.message}{where}", error.hint))
    except RecursionError:  # each rule that does not end the rules needs a few levels of the stack
        return Compiled(refused=("too many rules apply one after another", "end rules with pass, or write fewer"))
    return Compiled(tuple(cases), run.address, skipped=tuple(dict.fromkeys(run.skipped)))


def _check_costs(cases: Sequence[Case]) -> None:
    if is_too_costly(case.tests for case in cases):
        raise RuleError("the rules need too many or too large patterns in all combinations", "end rules with pass")
    outcomes = [case.outcome for case in cases]
    edits = (edit for it in outcomes for edit in (*it.request, *it.response))
    texts = (text for edit in edits for text in (edit.name, *edit.values))
    if sum(map(len, texts)) + sum(len(it.body) for it in outcomes) > _LONGEST_IN_ALL:
        raise RuleError("the rules need too long values in all combinations", "end rules with pass")


class _State(msgspec.Struct, frozen=True):
    """What is known about the requests of a case after some of the rules.

    Attributes:
        known: results of tests.
        outcome: what the rules have done so far.
        changes: what the rules have changed in the request.
        matched: whether a rule other than the default one has matched.
        ended: whether a command has ended the rules.

    """

    known: tuple[TestResult, ...] = ()
    outcome: Outcome = Outcome()
    changes: Changes = Changes()
    matched: bool = False
    ended: bool = False


class _Run:
    def __init__(self, rules: RuleSet, alias: str) -> None:
        self.ordered = [rule for rule in rules.rules if not rule.is_default]
        self.default = next((rule for rule in rules.rules if rule.is_default), None)
        self.alias, self.address, self.line = alias, False, 0
        self.skipped: list[str] = []
        self.count = self.checks = 0

    def rules(self, number: int, state: _State) -> list[Case]:
        """Return the cases of the rule with this number and all later rules."""
        if number == len(self.ordered):
            return self.fallback(state)
        rule = self.ordered[number]
        self.line = rule.line
        if is_about_responses(rule.condition):
            raise RuleError(
                "conditions about responses are a GoDoxy feature that pilotage does not support", line=rule.line
            )

        def go_on(after: _State) -> list[Case]:
            return self.rules(number + 1, after)

        if state.ended and not _is_only_after(rule):
            return go_on(state)

        def matched(after: _State) -> list[Case]:
            before = after.ended
            entered = msgspec.structs.replace(after, matched=True, ended=False)
            return self.body(rule.body, entered, lambda it: go_on(_ended(it, ended=before or it.ended)))

        return self.split(rule.condition, state, matched, go_on)

    def fallback(self, state: _State) -> list[Case]:
        rule = self.default
        if rule is None or state.matched:
            return self.case(state)
        self.line = rule.line
        return self.body(rule.body, state, self.case)

    def case(self, state: _State) -> list[Case]:
        self.count += 1
        if self.count > _MOST_CASES:
            raise RuleError(
                f"the rules lead to more than {_MOST_CASES} combinations of conditions",
                "end rules with pass, or combine them",
            )
        return [Case((), state.outcome)]

    def split(
        self,
        condition: Condition,
        state: _State,
        then: Callable[[_State], list[Case]],
        otherwise: Callable[[_State], list[Case]],
    ) -> list[Case]:
        """Return the cases in which a condition holds, followed by those in which it does not."""
        rewritten = state.changes.rewrite is not None
        self.checks += sum(_REWRITTEN if rewritten and it.subject == "path" else 1 for part in condition for it in part)
        if self.checks > _MOST_CHECKS:
            raise RuleError("the rules need too many tests in all combinations", "end rules with pass", self.line)
        try:
            found = ways(condition, dict(state.known), self.alias, state.changes)
        except RuleError as error:
            raise RuleError(error.message, error.hint, self.line) from None
        self.address = self.address or needs_address(condition)
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

    def body(self, statements: Sequence[Statement], state: _State, then: Callable[[_State], list[Case]]) -> list[Case]:
        """Return the cases of commands and of what follows them."""
        for at, statement in enumerate(statements):
            rest = statements[at + 1 :]
            if isinstance(statement, Choice):
                return self.choice(statement.branches, state, lambda it, rest=rest: self.body(rest, it, then))  # type: ignore[misc]
            state = self.command(statement, state)
        return then(state)

    def choice(self, branches: Sequence[Branch], state: _State, then: Callable[[_State], list[Case]]) -> list[Case]:
        if not branches or state.ended:
            return then(state)
        first, *others = branches
        if is_about_responses(first.condition):
            raise RuleError("conditions about responses are a GoDoxy feature that pilotage does not support")
        return self.split(
            first.condition,
            state,
            lambda it: self.body(first.body, it, then),
            lambda it: self.choice(others, it, then),
        )

    # ---- commands

    def command(self, command: Command, state: _State) -> _State:
        name, args = command.name, command.args
        if name in _UNWRITTEN:
            self.skipped.append(name)
            return state
        if state.ended:
            return state
        if ends(command):
            _check_values(command, response=False)
            outcome = self.final(command, state.outcome)
            return msgspec.structs.replace(state, outcome=outcome, ended=True)
        if name in ("set", "add", "remove") and args[0] in _SUPPORTED_TARGETS:
            return self.edit(command, state)
        if name == "rewrite":
            if state.outcome.rewrite is not None:
                raise RuleError("a second rewrite of the same request is not supported", line=command.line)
            outcome = msgspec.structs.replace(state.outcome, rewrite=(args[0], args[1]))
            changes = Changes(state.changes.headers, (args[0], args[1]))
            return msgspec.structs.replace(state, outcome=outcome, changes=changes)
        what = f"{name} {args[0]}" if name in ("set", "add", "remove") else name
        raise RuleError(
            f"the command {what} is a GoDoxy feature that pilotage does not support",
            _REFUSED.get(name, "remove it"),
            command.line,
        )

    def final(self, command: Command, outcome: Outcome) -> Outcome:
        """Return the outcome after a command that ends the rules."""
        name, args = command.name, command.args
        replace = msgspec.structs.replace
        match name:
            case "upstream" | "pass" | "bypass":
                return outcome
            case "error":
                return replace(_own(outcome), status=int(args[0]), body=f"{args[1]}\n" if args[1] else "")
            case "require_basic_auth":
                realm = args[0].replace("\\", "\\\\").replace('"', '\\"')
                challenge = ("www-authenticate", f'Basic realm="{realm}"')
                return replace(_own(outcome), status=401, body="Unauthorized\n", headers=(challenge,))
            case "redirect":
                return replace(_own(outcome), status=307, headers=(("location", args[0]),))
            case "proxy" if args[0].startswith("/"):
                return replace(outcome, path=args[0], rewrite=None)
        raise RuleError(
            f"the command {name} is a GoDoxy feature that pilotage does not support"
            if name != "proxy"
            else "the command proxy with another host is a GoDoxy feature that pilotage does not support",
            _REFUSED.get(name, "give that service a route of its own"),
            command.line,
        )

    def edit(self, command: Command, state: _State) -> _State:
        target, name = command.args[:2]
        _check_values(command, response=target == "resp_header")
        if name.lower() in FRAMING:
            raise RuleError(f"the gateway itself sets the header {name}", "remove it", command.line)
        field = "request" if target == "header" else "response"
        edits = {edit.name.lower(): edit for edit in getattr(state.outcome, field)}
        old = edits.pop(name.lower(), None)
        if command.name == "remove":
            new = HeaderEdit(name)
        elif command.name == "set":
            new = HeaderEdit(name, (command.args[2],))
        else:
            new = HeaderEdit(name, (*(old.values if old else ()), command.args[2]), keep=old.keep if old else True)
        outcome = msgspec.structs.replace(state.outcome, **{field: (*edits.values(), new)})
        headers = state.changes.headers | ({name.lower()} if target == "header" else set())
        changes = Changes(headers, state.changes.rewrite)
        return msgspec.structs.replace(state, outcome=outcome, changes=changes)


def _check_values(command: Command, *, response: bool) -> None:
    """Check the variables in the values that a command writes."""
    texts = command.args[2:] if command.name in ("set", "add") else command.args[1:] if command.name == "error" else ()
    for text in texts:
        try:
            expand(text, response=response)
        except VariableError as error:
            raise RuleError(error.message, error.hint, command.line) from None


def _own(outcome: Outcome) -> Outcome:
    """Return the outcome without changes to the request, which does not reach the target."""
    return Outcome(response=outcome.response)


def _ended(state: _State, *, ended: bool) -> _State:
    return msgspec.structs.replace(state, ended=ended)


def _same(cases: list[Case], rest: list[Case]) -> bool:
    """Return whether the outcome is the same whether or not a condition holds."""
    return len(rest) == 1 and all(case.outcome == rest[0].outcome for case in cases)


def _is_only_after(rule: Rule) -> bool:
    """Return whether all commands of a rule are about the response, so that it also runs after the rules have ended."""
    return all(
        isinstance(it, Command)
        and (it.name in _UNWRITTEN or (it.name in ("set", "add", "remove") and it.args[0] == "resp_header"))
        for it in rule.body
    )
