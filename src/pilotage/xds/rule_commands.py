"""Runs the commands of rules for all requests of a case together. Pure."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.text import shorten_value
from pilotage.core.urlpaths import has_dot_segments
from pilotage.routes.rules import Command, RuleError, ends
from pilotage.xds.rule_state import HeaderEdit, Outcome, ScriptEdit
from pilotage.xds.rule_values import is_for_script, script_parts
from pilotage.xds.variables import VariableError, expand

if TYPE_CHECKING:
    from pilotage.routes.rules import Rule
    from pilotage.xds.rule_state import State

__all__ = ["FRAMING", "is_only_after", "run_command"]

_OF_RESPONSE: Final = frozenset({"resp_header", "resp_body", "status"})
_STREAMS: Final = {"/dev/stdout": "stdout", "/dev/stderr": "stderr"}
_MOST_EDITS: Final = 50
"""Maximum number of commands that the script runs for a request."""
_PATH: Final = re.compile(r"(?:/(?:(?![?#\\])[!-~])*)?")
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
    if name == "notify":
        what = "the command notify needs a notification provider, which pilotage does not support yet"
        raise RuleError(what, "remove it, or use log", command.line)
    if name == "log":
        return _log(command, state)
    if state.ended:
        return state
    if ends(command):
        _check_values(command, response=False)
        outcome = _final(command, state.outcome)
        return msgspec.structs.replace(state, outcome=outcome, ended=True)
    if name in ("set", "add", "remove"):
        return _edit(command, state) if args[0] in ("header", "resp_header") else _change(command, state)
    if name == "rewrite":
        if state.outcome.rewrite is not None:
            raise RuleError("a second rewrite of the same request is not supported", line=command.line)
        outcome = msgspec.structs.replace(state.outcome, rewrite=(args[0], args[1]))
        changes = msgspec.structs.replace(state.changes, rewrite=(args[0], args[1]))
        return msgspec.structs.replace(state, outcome=outcome, changes=changes)
    assert name == "require_auth"  # noqa: S101  there are no other commands
    return _with(state, sign_in=True)


def _final(command: Command, outcome: Outcome) -> Outcome:
    """Return the outcome after a command that stops processing."""
    name, args = command.name, command.args
    replace = msgspec.structs.replace
    match name:
        case "upstream" | "pass" | "bypass":
            return outcome
        case "error":
            text = f"{args[1]}\n" if args[1] else ""
            if is_for_script(text):
                edit = ScriptEdit("set body", text=text)
                return replace(_own(outcome), status=int(args[0]), after=(*outcome.after, edit))
            return replace(_own(outcome), status=int(args[0]), body=text)
        case "require_basic_auth":
            realm = args[0].replace("\\", "\\\\").replace('"', '\\"')
            challenge = ("www-authenticate", f'Basic realm="{realm}"')
            return replace(_own(outcome), status=401, body="Unauthorized\n", headers=(challenge,))
        case "redirect":
            return replace(_own(outcome), status=307, headers=(("location", args[0]),))
        case "proxy" if args[0].startswith("/"):
            return replace(outcome, path=args[0], rewrite=None)
        case "proxy" | "route" | "serve" | "serve_file":
            return _elsewhere(command, outcome)
    raise RuleError(f"the command {name} needs a part of GoDoxy that pilotage does not have", "remove it", command.line)


def _elsewhere(command: Command, outcome: Outcome) -> Outcome:
    """Return the outcome after a command that sends requests to another target."""
    name, (argument,) = command.name, command.args
    replace = msgspec.structs.replace
    if name == "route":
        return replace(outcome, elsewhere=(name, argument.lower()))
    if name == "proxy":
        url = urlsplit(argument)
        wrong = url.query or url.fragment or "@" in url.netloc or not _PATH.fullmatch(url.path)
        if wrong or has_dot_segments(url.path):
            hint = "write a scheme, a host and, if needed, a port and a path, such as http://other:8080/path"
            raise RuleError("the URL of proxy has an unsupported part or an invalid path", hint, command.line)
        return replace(outcome, elsewhere=(name, argument))
    path = posixpath.normpath(argument)
    hidden = any(part.startswith(".") for part in argument.split("/"))
    if not argument.startswith("/") or (hidden and name == "serve_file"):
        hint = f"write {name} /srv/www" if name == "serve" else f"write {name} /srv/www/index.html"
        raise RuleError(f"{shorten_value(argument)!r} is not an absolute path that can be served", hint, command.line)
    if name == "serve":
        return replace(outcome, elsewhere=(name, path))
    return replace(outcome, elsewhere=(name, path), path=f"/{posixpath.basename(path)}", rewrite=None)


def _edit(command: Command, state: State) -> State:
    """Change a header, with Envoy's own settings if they can work out the value, else with the script."""
    target, name = command.args[:2]
    _check_values(command, response=target == "resp_header")
    if name.lower() in FRAMING:
        raise RuleError(f"the gateway itself sets the header {name}", "remove it", command.line)
    field, scripted = ("request", "before") if target == "header" else ("response", "after")
    value = command.args[2] if command.name != "remove" else ""
    if target == "header":
        changed = state.changes.headers | {name.lower()}
        state = msgspec.structs.replace(state, changes=msgspec.structs.replace(state.changes, headers=changed))
        value = _with_earlier(value, state.outcome)
    edits = {edit.name.lower(): edit for edit in getattr(state.outcome, field)}
    old = edits.pop(name.lower(), None)
    in_script = any(
        it.command.endswith(" header") and it.name.lower() == name.lower() for it in getattr(state.outcome, scripted)
    )
    if in_script or is_for_script(value):
        # Envoy's settings change requests after the script, and responses before it.
        earlier = _as_script(old) if old is not None and target == "header" else ()
        kept = edits if target == "header" or old is None else {**edits, name.lower(): old}
        state = _with(state, **{field: tuple(kept.values())})
        return _added(state, command, scripted, *earlier, ScriptEdit(f"{command.name} header", name, value))
    if command.name == "remove":
        new = HeaderEdit(name)
    elif command.name == "set":
        new = HeaderEdit(name, (value,))
    else:
        new = HeaderEdit(name, (*(old.values if old else ()), value), keep=old.keep if old else True)
    return _with(state, **{field: (*edits.values(), new)})


def _as_script(edit: HeaderEdit) -> tuple[ScriptEdit, ...]:
    """Return the commands for the script that change a header as Envoy's own settings would."""
    if not edit.values:
        return (ScriptEdit("remove header", edit.name),)
    first = ScriptEdit("add header" if edit.keep else "set header", edit.name, edit.values[0])
    return (first, *(ScriptEdit("add header", edit.name, value) for value in edit.values[1:]))


def _change(command: Command, state: State) -> State:
    """Change the status, a body, the query or a cookie, which only the script in Envoy can change."""
    target, *rest = command.args
    _check_values(command, response=target == "resp_body")
    match target:
        case "status":
            return _added(state, command, "after", ScriptEdit("set status", rest[0]))
        case "body" | "resp_body":
            text = rest[0] if rest[0].endswith("\n") or not rest[0] else f"{rest[0]}\n"
            field = "before" if target == "body" else "after"
            return _added(state, command, field, ScriptEdit("set body", text=_with_earlier(text, state.outcome)))
    changes = state.changes
    if target == "query":
        changes = msgspec.structs.replace(changes, query=True)
    else:
        changes = msgspec.structs.replace(changes, headers=changes.headers | {"cookie"})
    state = msgspec.structs.replace(state, changes=changes)
    value = _with_earlier(rest[1], state.outcome) if len(rest) > 1 else ""
    return _added(state, command, "before", ScriptEdit(f"{command.name} {target}", rest[0], value))


def _log(command: Command, state: State) -> State:
    level, path, text = command.args
    stream = _STREAMS.get(path)
    if stream is None:
        raise RuleError(
            f"log cannot write to {shorten_value(path)!r}", "write to /dev/stdout or /dev/stderr", command.line
        )
    _check_values(command, response=True)
    edit = ScriptEdit("log", f"{level.lower()} {stream}", _with_earlier(text, state.outcome))
    return _added(state, command, "after", edit)


def _added(state: State, command: Command, field: str, *edits: ScriptEdit) -> State:
    found = (*getattr(state.outcome, field), *edits)
    if len(found) > _MOST_EDITS:
        what = f"a request would run more than {_MOST_EDITS} commands that change queries, cookies, bodies or logs"
        raise RuleError(what, "write fewer", command.line)
    return _with(state, **{field: found})


def _with(state: State, **changes: Any) -> State:
    return msgspec.structs.replace(state, outcome=msgspec.structs.replace(state.outcome, **changes))


def _with_earlier(text: str, outcome: Outcome) -> str:
    """Replace references to request headers that earlier commands have set, because Envoy sets them last."""
    fixed = {
        it.name.lower(): it.values[0] if it.values else ""
        for it in outcome.request
        if len(it.values) < 2 and not it.keep
    }

    def value(found: re.Match[str]) -> str:
        return fixed.get(found[1].lower(), found[0]) if found[1] else found[0]

    return _HEADER.sub(value, text) if fixed and "$" in text else text


_HEADER: Final = re.compile(r"\$(?:\$|header\(\s*([\w-]+)\s*(?:,\s*0\s*)?\))", re.ASCII)


def _check_values(command: Command, *, response: bool) -> None:
    """Check the variables in the values that a command writes."""
    name, args = command.name, command.args
    has_values = name in ("set", "add", "error", "log") and args[0] != "status"
    for text in args[-1:] if has_values else ():
        try:
            if is_for_script(text) or (name != "error" and args[0] not in ("header", "resp_header")):
                script_parts(text, response=response)
            else:
                expand(text, response=response)
        except VariableError as error:
            raise RuleError(error.message, error.hint, command.line) from None


def _own(outcome: Outcome) -> Outcome:
    """Return the outcome without changes to the request, which does not reach the target."""
    return Outcome(response=outcome.response, sign_in=outcome.sign_in, after=outcome.after)


def is_only_after(rule: Rule) -> bool:
    """Return whether all commands of a rule are about the response, so that it also runs after the rules have ended."""
    return all(
        isinstance(it, Command) and (it.name in ("log", "notify") or it.args[:1] in _ONLY_AFTER) for it in rule.body
    )


_ONLY_AFTER: Final = tuple((target,) for target in _OF_RESPONSE)
