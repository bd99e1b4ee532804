"""Runs the commands of rules for all requests of a case at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pilotage.routes.rules import Command, RuleError, ends
from pilotage.xds.rule_state import HeaderEdit, Outcome
from pilotage.xds.rule_tests import Changes
from pilotage.xds.variables import VariableError, expand

if TYPE_CHECKING:
    from pilotage.routes.rules import Rule
    from pilotage.xds.rule_state import State

__all__ = ["FRAMING", "UNWRITTEN", "is_only_after", "run_command"]

_SUPPORTED_TARGETS: Final = ("header", "resp_header")
UNWRITTEN: Final = frozenset({"log", "notify"})
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


def run_command(command: Command, state: State) -> State:
    """Return the state after a command. Raises RuleError if the gateway cannot run it."""
    name, args = command.name, command.args
    if state.ended:
        return state
    if ends(command):
        _check_values(command, response=False)
        outcome = _final(command, state.outcome)
        return msgspec.structs.replace(state, outcome=outcome, ended=True)
    if name in ("set", "add", "remove") and args[0] in _SUPPORTED_TARGETS:
        return _edit(command, state)
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


def _final(command: Command, outcome: Outcome) -> Outcome:
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


def _edit(command: Command, state: State) -> State:
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


def is_only_after(rule: Rule) -> bool:
    """Return whether all commands of a rule are about the response, so that it also runs after the rules have ended."""
    return all(
        isinstance(it, Command)
        and (it.name in UNWRITTEN or (it.name in ("set", "add", "remove") and it.args[0] == "resp_header"))
        for it in rule.body
    )
