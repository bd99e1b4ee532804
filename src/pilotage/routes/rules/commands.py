"""Checks the commands of rules. Pure. Source: GoDoxy's documentation of actions."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import msgspec

from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten_value
from pilotage.core.urlpaths import has_dot_segments
from pilotage.routes.rules.model import Command, RuleError

__all__ = ["COMMANDS", "CommandSyntax", "check_command", "ends", "option_arguments"]


class CommandSyntax(msgspec.Struct, frozen=True):
    """The arguments that a command takes, and whether it stops processing, so that no later command runs."""

    arguments: tuple[str, ...]
    ends: bool = False


COMMANDS: Final = {
    **dict.fromkeys(("upstream", "pass", "bypass"), CommandSyntax((), ends=True)),
    "require_auth": CommandSyntax(()),
    "rewrite": CommandSyntax(("from", "to")),
    "serve": CommandSyntax(("root",), ends=True),
    "serve_file": CommandSyntax(("file",), ends=True),
    "handle": CommandSyntax(("name",), ends=True),
    "proxy": CommandSyntax(("to",), ends=True),
    "route": CommandSyntax(("route",), ends=True),
    "redirect": CommandSyntax(("to",), ends=True),
    "error": CommandSyntax(("code", "text"), ends=True),
    "require_basic_auth": CommandSyntax(("realm",), ends=True),
    "set": CommandSyntax(("target", "field", "value")),
    "add": CommandSyntax(("target", "field", "value")),
    "remove": CommandSyntax(("target", "field")),
    "log": CommandSyntax(("level", "path", "template")),
    "notify": CommandSyntax(("level", "provider", "title", "body")),
}
"""All commands."""

_TARGETS: Final = ("header", "resp_header", "query", "cookie", "body", "resp_body", "status")
_UNNAMED: Final = frozenset({"body", "resp_body", "status"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "fatal", "panic")
_LONGEST: Final = 4_000


def ends(command: Command) -> bool:
    """Return whether a command stops processing, so that no later command runs."""
    return COMMANDS[command.name].ends


def check_command(name: str, args: list[str], line: int) -> Command:
    """Check the arguments of a command and return the command. Raises RuleError if they are invalid."""
    syntax = COMMANDS.get(name)
    if syntax is None:
        raise RuleError(f"{shorten_value(name)!r} is not a command", did_you_mean(name, COMMANDS), line)
    try:
        if name in ("set", "add", "remove"):
            _edit(name, args)
        elif len(args) != len(syntax.arguments):
            raise _count(name, args, syntax.arguments)
        _check(name, args)
    except RuleError as error:
        raise RuleError(error.message, error.hint, line) from None
    return Command(name, tuple(args), line)


def option_arguments(name: str, options: dict[str, str]) -> list[str]:
    """Return the arguments of a command that is written with a block of options. Raises RuleError."""
    wanted = COMMANDS[name].arguments
    if name in ("set", "add") and options.get("target") in _UNNAMED:
        wanted = ("target", "value")
    for option in options:
        if option not in wanted:
            hint = did_you_mean(option, wanted) or f"write {', '.join(wanted)}"
            raise RuleError(f"the command {name} has no option {shorten_value(option)!r}", hint)
    for option in wanted:
        if option not in options:
            raise RuleError(f"the command {name} needs the option {option}", f"write {', '.join(wanted)}")
    return [options[option] for option in wanted]


def _count(name: str, args: list[str], wanted: tuple[str, ...]) -> RuleError:
    return RuleError(
        f"the command {name} has {len(args)} arguments", f"write {' '.join((name, *wanted))}; use quotes for spaces"
    )


def _edit(name: str, args: list[str]) -> None:
    target = args[0] if args else ""
    if target not in _TARGETS:
        hint = did_you_mean(target, _TARGETS) or f"write one of {', '.join(_TARGETS)}"
        raise RuleError(f"{name} cannot change {shorten_value(target)!r}", hint)
    if target in _UNNAMED:
        if name != "set":
            raise RuleError(f"{name} cannot change {target}", f"write set {target} VALUE")
        wanted: tuple[str, ...] = ("target", "value")
    else:
        wanted = COMMANDS[name].arguments
    if len(args) != len(wanted):
        raise _count(name, args, wanted)
    if target in ("header", "resp_header", "cookie") and not _TOKEN.fullmatch(args[1]):
        raise RuleError(f"{shorten_value(args[1])!r} is not a valid {target.removeprefix('resp_')} name")
    if target == "status" and not re.fullmatch("[2-5][0-9][0-9]", args[1]):
        raise RuleError(f"{shorten_value(args[1])!r} is not a status", "write one from 200 to 599")


def _check(name: str, args: list[str]) -> None:
    for arg in args:
        if len(arg.encode()) > _LONGEST:
            raise RuleError(f"an argument of {name} has more than {_LONGEST:,} bytes")
    if name == "rewrite":
        for path in args:
            if not path.startswith("/"):
                raise RuleError(f"the path {shorten_value(path)!r} does not begin with '/'", "write rewrite /from /to")
        _check_dots(args[1])
    elif name == "error":
        if not re.fullmatch("[2-5][0-9][0-9]", args[0]):
            raise RuleError(f"{shorten_value(args[0])!r} is not a status", "write one from 200 to 599")
    elif name in ("redirect", "proxy"):
        _check_url(name, args[0])
        if name == "proxy" and args[0].startswith("/"):
            _check_dots(args[0].partition("?")[0])
    elif name in ("log", "notify") and args[0].lower() not in _LEVELS:
        hint = did_you_mean(args[0], _LEVELS) or f"write one of {', '.join(_LEVELS)}"
        raise RuleError(f"{shorten_value(args[0])!r} is not a level", hint)
    elif name in ("route", "handle", "serve", "serve_file") and not args[0]:
        raise RuleError(f"the argument of {name} is empty")


def _check_dots(path: str) -> None:
    """Refuse a path with dot segments, which could lead out of the path that a target, or an agent, expects."""
    if has_dot_segments(path):
        raise RuleError(f"the path {shorten_value(path)!r} has a segment '.' or '..'", "write it without them")


def _check_url(name: str, text: str) -> None:
    hint = "write a path such as /login, or a URL such as https://example.com"
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  it may be invalid
    except ValueError:
        raise RuleError(f"{shorten_value(text)!r} is not a URL", hint) from None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise RuleError(f"the URL of {name} has characters that must be percent-encoded", hint)
    if not text.startswith("/") and not (url.scheme in ("http", "https", "h2c") and url.hostname):
        raise RuleError(f"{shorten_value(text)!r} is neither a path nor a URL", hint)
