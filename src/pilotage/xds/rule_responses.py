"""Turns rules about responses into commands for the script in Envoy, which runs them when a response arrives. Pure.

These rules run after all others, in their order. A rule's condition is tested just before its commands run, so it sees
the response as earlier commands have changed it. Source: GoDoxy's documentation of the post phase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.rules import Choice, RuleError, is_about_responses
from pilotage.xds.rule_commands import run_command
from pilotage.xds.rule_guards import guard_parts
from pilotage.xds.rule_state import Outcome, ScriptEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.routes.rules import Check, Command, Condition, Statement
    from pilotage.xds.rule_state import HeaderEdit, State

__all__ = ["add_response_rule", "divide", "response_choice"]

_MOST: Final = 50
"""Maximum number of commands about the response of a request."""


def divide(part: tuple[Check, ...]) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """Return the checks of a part of a condition that are about requests, and those that are about responses."""
    after = tuple(check for check in part if is_about_responses(((check,),)))
    return tuple(check for check in part if check not in after), after


def add_response_rule(state: State, condition: Condition, body: Sequence[Statement], line: int) -> State:
    """Return the state with the commands of a rule added, to run if a condition about the response holds."""
    return _with(state, _guarded(condition, _commands(body, state)), line)


def response_choice(state: State, choice: Choice) -> State:
    """Return the state with a nested block about the response added. Raises RuleError if it is also about requests."""
    return _with(state, _choice(choice, state), choice.line)


def _with(state: State, edits: list[ScriptEdit], line: int) -> State:
    found = (*state.outcome.after, *edits)
    if len(found) > _MOST:
        raise RuleError(f"a response would need more than {_MOST} commands", "write fewer", line)
    return msgspec.structs.replace(state, outcome=msgspec.structs.replace(state.outcome, after=found))


def _guarded(condition: Condition, edits: list[ScriptEdit]) -> list[ScriptEdit]:
    if not condition or not edits:
        return edits
    return [ScriptEdit("if", str(len(edits)), guard_parts(condition).replace("$", "$$")), *edits]


def _commands(body: Sequence[Statement], state: State) -> list[ScriptEdit]:
    found: list[ScriptEdit] = []
    for statement in body:
        if isinstance(statement, Choice):
            found += _choice(statement, state)
            continue
        edits, ends = _command(statement, state)
        found += edits
        if ends:
            break
    return found


def _choice(choice: Choice, state: State) -> list[ScriptEdit]:
    """Return the commands of a chain of nested blocks. A branch ends with a jump over the branches after it."""
    found: list[ScriptEdit] = []
    for branch in reversed(choice.branches):
        if any(divide(part)[0] for part in branch.condition):
            what = "a block inside a rule about responses tests the request"
            raise RuleError(what, "test it in the condition of the rule", choice.line)
        edits = _commands(branch.body, state)
        if found:
            edits.append(ScriptEdit("skip", str(len(found))))
        found = [*_guarded(branch.condition, edits), *found]
    return found


def _command(command: Command, state: State) -> tuple[list[ScriptEdit], bool]:
    """Return the script's form of a command about the response, and whether the command ends the rule."""
    name, args = command.name, command.args
    if name in ("pass", "bypass", "upstream"):
        return [], True
    if name not in ("error", "log", "notify") and args[:1] not in (("resp_header",), ("resp_body",), ("status",)):
        what = f"{name} {args[0]}" if name in ("set", "add", "remove") else name
        hint = "change the response instead: set status, set resp_body, set resp_header or error"
        raise RuleError(f"the command {what} has no effect once there is a response", hint, command.line)
    earlier = Outcome(request=state.outcome.request)  # its values may be referred to
    found = run_command(command, msgspec.structs.replace(state, outcome=earlier, ended=False)).outcome
    edits = [_scripted(edit) for edit in found.response]
    if name == "error":
        edits.append(ScriptEdit("set status", str(found.status)))
        edits += found.after or [ScriptEdit("set body", text=found.body)]
    else:
        edits += found.after
    return edits, name == "error"


def _scripted(edit: HeaderEdit) -> ScriptEdit:
    if not edit.values:
        return ScriptEdit("remove header", edit.name)
    return ScriptEdit("add header" if edit.keep else "set header", edit.name, edit.values[0])
