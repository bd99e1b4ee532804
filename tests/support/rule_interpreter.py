"""What rules mean, one request at a time: the reference for what is compiled for Envoy."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import bcrypt

from pilotage.routes.rules import Choice, is_about_responses, matches
from pilotage.xds.rule_patterns import canonical_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilotage.routes.rules import Check, Command, Condition, Rule, RuleSet, Statement

__all__ = ["Request", "Result", "interpret"]


@dataclass
class Request:
    method: str = "GET"
    target: str = "/"
    host: str = "app"
    address: str = "127.0.0.1"
    headers: list[tuple[str, str]] = field(default_factory=list)
    form: list[tuple[str, str]] = field(default_factory=list)
    user: str = ""
    password: str = ""
    version: str = "HTTP/1.1"

    @property
    def path(self) -> str:
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> list[tuple[str, str]]:
        pairs = [part.partition("=") for part in self.target.partition("?")[2].split("&") if part]
        return [(unquote(key.replace("+", " ")), unquote(value.replace("+", " "))) for key, _, value in pairs]

    @property
    def cookies(self) -> list[tuple[str, str]]:
        found = []
        for name, value in self.headers:
            if name == "cookie":
                found += [part.strip().partition("=")[::2] for part in value.split(";")]
        return [(name, value.strip('"')) for name, value in found]

    def values(self, name: str) -> list[str]:
        return [value for it, value in self.headers if it == name.lower()]


@dataclass
class Result:
    """What a client and the target see.

    Attributes:
        by: the name of the target.
        target: the decoded path that the target gets.
        query: the decoded query that it gets.
        cookies: the cookies that it gets, as written.

    """

    status: int = 200
    body: str = ""
    location: str = ""
    target: str = ""
    sent: dict[str, str | None] = field(default_factory=dict)
    answered: dict[str, str | None] = field(default_factory=dict)
    by: str = ""
    query: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)


class _Ended(Exception):
    pass


class _Run:
    def __init__(self, request: Request, alias: str) -> None:
        self.request, self.alias, self.result = request, alias, Result()
        self.path, self.by = request.path, "target"
        self.query = request.query
        self.cookies = [it.strip() for value in request.values("cookie") for it in value.split(";")]
        self.status, self.text = 0, ""

    def holds(self, condition: Condition) -> bool:
        return all(any(self.check(check) for check in part) for part in condition)

    def check(self, check: Check) -> bool:
        return self.plain(check) is not check.negate

    def plain(self, check: Check) -> bool:
        request = self.request
        match check.subject:
            case "header" | "resp_header":
                values = (request.values if check.subject == "header" else self.response_values)(check.key.lower())
            case "query":
                values = [value for name, value in request.query if name == check.key]
            case "cookie":
                values = [value for name, value in request.cookies if name == check.key]
            case "method":
                return request.method == check.value
            case "remote":
                return self.is_in(check.value)
            case "path":
                assert check.pattern is not None
                path = canonical_path(re.sub(";[^/]*", "", self.path))
                if check.pattern.kind == "exact":
                    wanted = canonical_path(check.pattern.text)
                    return (path in (wanted, f"{wanted}/")) is not check.pattern.negate
                return matches(check.pattern, path)
            case "form" | "status" | "postform" | "basic_auth" | "proto":
                return self.asked(check)
            case "host":
                values = [request.host]
            case "route":
                values = [self.alias]
            case _:
                raise AssertionError(check.subject)
        if check.pattern is None or not values:
            return bool(values)
        # Unlike in GoDoxy, an inverted pattern means that no value matches.
        return (all if check.pattern.negate else any)(matches(check.pattern, value) for value in values)

    def is_in(self, text: str) -> bool:
        address = ipaddress.ip_address(self.request.address)
        address = getattr(address, "ipv4_mapped", None) or address
        network = ipaddress.ip_network(text)
        mapped = getattr(network.network_address, "ipv4_mapped", None)
        if mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network((mapped, network.prefixlen - 96))
        return address.version == network.version and address in network

    def response_values(self, name: str) -> list[str]:
        if name in self.result.answered:
            value = self.result.answered[name]
            return value.split(", ") if value is not None else []
        return ["target"] if name == "x-from" and self.result.status == 200 else []

    def asked(self, check: Check) -> bool:
        request = self.request
        if check.subject == "status":
            low, high = map(int, check.value.split("-"))
            return low <= (self.status or self.result.status) <= high
        if check.subject == "basic_auth":
            return check.key == request.user and bcrypt.checkpw(request.password.encode(), check.value.encode())
        if check.subject == "proto":
            return check.value in ("http", {"HTTP/1.1": "h1", "HTTP/2": "h2c"}[request.version])
        sent = request.query if check.subject == "form" else []
        values = [value for name, value in [*request.form, *sent] if name == check.key] or [""]
        if check.pattern is None:
            return any(values)
        return (all if check.pattern.negate else any)(matches(check.pattern, value) for value in values)

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            if isinstance(statement, Choice):
                for branch in statement.branches:
                    if self.holds(branch.condition):
                        self.body(branch.body)
                        break
            else:
                self.command(statement)

    def command(self, command: Command) -> None:
        result, args = self.result, command.args
        match command.name:
            case "pass":
                raise _Ended
            case "error":
                result.status, result.body = int(args[0]), f"{args[1]}\n"
                raise _Ended
            case "redirect":
                result.status, result.location = 307, args[0]
                raise _Ended
            case "rewrite":
                if self.path.startswith(args[0]):
                    self.path = args[1] + self.path.removeprefix(args[0])
            case "route":
                self.by = args[0]
                raise _Ended
            case "set" | "add" | "remove":
                self.change(command)
            case _:
                raise AssertionError(command.name)

    def change(self, command: Command) -> None:
        args = command.args
        match args[0]:
            case "status":
                self.status = int(args[1])
            case "resp_body":
                self.text = f"{args[1]}\n"
            case "query":
                self.query = _edited(command, self.query, self.query, (args[1], args[-1]))
            case "cookie":
                pairs = [(it.partition("=")[0], it) for it in self.cookies]
                self.cookies = _edited(command, pairs, self.cookies, f"{args[1]}={args[-1]}")
            case _:
                headers = self.result.sent if args[0] == "header" else self.result.answered
                name = args[1].lower()
                if command.name == "remove":
                    headers[name] = None
                elif command.name == "add" and headers.get(name) is not None:
                    headers[name] = f"{headers[name]}, {args[2]}"
                else:
                    headers[name] = args[2]


def _edited(command: Command, pairs: list[tuple[str, str]], items: list[Any], new: Any) -> list[Any]:
    """Return items after a change to those with a name. ``pairs`` has the name of each item."""
    name = command.args[1]
    found = [number for number, (it, _) in enumerate(pairs) if it == name]
    if command.name == "add" or (command.name == "set" and not found):
        return [*items, new]
    kept = [new if found and number == found[0] else it for number, it in enumerate(items) if number not in found[1:]]
    return kept if command.name == "set" else [it for number, it in enumerate(items) if number not in found]


def interpret(rules: RuleSet, request: Request, alias: str) -> Result:
    """Run rules for a request."""
    run = _Run(request, alias)
    ended = matched = False

    def do(rule: Rule) -> bool:
        try:
            run.body(rule.body)
        except _Ended:
            return True
        return False

    first = [rule for rule in rules.rules if not is_about_responses(rule.condition)]
    for rule in first:
        if rule.is_default or not run.holds(rule.condition):
            continue
        matched = True
        after = all(not isinstance(it, Choice) and it.args[:1] in _AFTER for it in rule.body)
        if not ended or after:
            ended = do(rule) or ended
    if not matched:
        for rule in rules.rules:
            if rule.is_default:
                do(rule)
    for rule in rules.rules:
        if is_about_responses(rule.condition) and run.holds(rule.condition):
            do(rule)
    result = run.result
    if result.status == 200 and not run.text:
        result.target, result.by, result.query, result.cookies = run.path, run.by, run.query, run.cookies
    result.status, result.body = run.status or result.status, run.text or result.body
    return result


_AFTER = (("resp_header",), ("resp_body",), ("status",))
