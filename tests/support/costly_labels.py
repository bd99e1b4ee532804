"""Sets of labels that grow in one dimension, each chosen to cost as much as it can."""

from __future__ import annotations

import functools
from collections.abc import Callable

__all__ = ["DIMENSIONS", "SIZE", "Labels", "largest"]

Labels = Callable[[int], dict[str, str]]

SIZE = 1024 * 1024  # bytes that the labels of one container may have


def numbered(form: str, number: int) -> list[str]:
    return [form.format(i=i) for i in range(number)]


def of_each(form: str, text: str) -> Labels:
    return lambda number: dict.fromkeys(numbered(form, number), text)


def one(key: str, text: Callable[[int], str]) -> Labels:
    return lambda number: {key: text(number)}


def long(part: str, size: int = 1_000) -> str:
    return part * (size // len(part))


def aliases(number: int) -> str:
    return ",".join(numbered("a{i}", number))


def with_aliases(labels: Labels, ratio: int = 1) -> Labels:
    return lambda number: {**labels(number), "proxy.aliases": aliases(max(1, number // ratio))}


def lines(form: str) -> Callable[[int], str]:
    return lambda number: "\n".join(numbered(form, number))


def with_base(number: int) -> dict[str, str]:
    """Each alias copies the mapping of the wildcard, because it changes it."""
    half = max(1, number // 2)
    headers = "\n".join(numbered("H{i}: v", half))
    changes = dict.fromkeys(numbered("proxy.a{i}.middlewares.request.set_headers.X", half), "1")
    return {"proxy.*.middlewares.request.set_headers": headers, **changes}


def chain_of_anchors(number: int) -> str:
    return "a0: &a0 {x: 1}\n" + "\n".join(f"a{i}: &a{i} {{<<: *a{i - 1}, x{i}: 1}}" for i in range(1, number))


def laughs(number: int) -> str:
    return "a0: &a0 [1, 1]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, number))


DIMENSIONS: dict[str, Labels] = {
    "unknown fields": of_each("proxy.web.unknown{i}", "1"),
    "unknown fields in a mapping": one("proxy.web", lines("unknown{i}: 1")),
    "near misses of fields": one("proxy.web", lines("midlewares{i}: 1")),
    "near misses of the namespace": of_each("prxy.a{i}", "1"),
    "other labels": of_each("x{i}", "1"),
    "labels of aliases": of_each("proxy.a{i}.port", "80"),
    "mappings of aliases": of_each("proxy.a{i}", "port: 80"),
    "texts of aliases": of_each("proxy.a{i}", "x"),
    "aliases": one("proxy.aliases", aliases),
    "one alias repeated": one("proxy.aliases", lambda number: "a," * number),
    "aliases by upper case": one("proxy.aliases", lambda number: "\u0130" * number),
    "wildcards": of_each("proxy.*.x{i}", "1"),
    "wildcards and aliases": with_aliases(of_each("proxy.*.x{i}", "{")),
    "wrong wildcards and aliases": with_aliases(of_each("proxy.*.healthcheck.x{i}", "{")),
    "a wrong wildcard and aliases": with_aliases(one("proxy.*", lambda number: "mdlwares: [\n" * number)),
    "a mapping for all aliases": with_aliases(one("proxy.*", lines("x{i}: {{y: 1}}")), 4),
    "changes to the mapping of all aliases": with_base,
    "references": of_each("proxy.#{i}.port", "80"),
    "references with wrong numbers": of_each("proxy.$x{i}.port", "80"),
    "a shortcut": one("proxy.ports", lambda number: "80," * number),
    "a shortcut and its rivals": lambda number: {
        "proxy.ports": "80",
        "proxy.binds": "::",
        **of_each("proxy.a{i}.port", "80")(number),
    },
    "dots in a key": lambda number: {f"proxy.web{'.a' * number}": "1"},
    "dots in keys": lambda number: dict.fromkeys(numbered("proxy.web" + ".a" * 60 + "{i}", number // 64 + 1), "1"),
    "a long key": lambda number: {f"proxy.web.{'a' * number}": "1"},
    "a long alias": lambda number: {f"proxy.{'a' * number}.prot": "1", "proxy.aliases": "b" * number},
    "long protective keys": lambda number: {f"proxy.web.middlewares.{'a' * number}": "1"},
    "brackets": one("proxy.web", lambda number: "[" * number),
    "nested mappings": one("proxy.web", lambda number: "{a: " * number),
    "nested lines": one("proxy.web", lambda number: "- " * number),
    "a list": one("proxy.web.ssl_protocols", lambda number: "TLSv1.2," * number),
    "a wrong list": one("proxy.web.ssl_protocols", lambda number: "x," * number),
    "a list in YAML": one("proxy.web.ssl_protocols", lambda number: "[" + "x," * number + "]"),
    "networks": one("proxy.web.middlewares.cidr_whitelist.allow", lambda number: "10.0.0.1," * number),
    "wrong networks": one("proxy.web.middlewares.cidr_whitelist.allow", lambda number: "10.0.0.x," * number),
    "middlewares": of_each("proxy.web.middlewares.x{i}", ""),
    "headers": one("proxy.web.middlewares.request.set_headers", lines("H{i}: v")),
    "a long value": one("proxy.web.homepage.name", lambda number: "x" * number),
    "a long host": one("proxy.web.host", lambda number: "x" * number),
    "a long address": one("proxy.web.bind", lambda number: "1:" * number),
    "a long number": one("proxy.web.port", lambda number: "1" * number),
    "a long duration": one("proxy.web.hold", lambda number: "1h" * number),
    "a long path": one("proxy.web.healthcheck.path", lambda number: "/a b" * number),
    "a long icon": one("proxy.web.homepage.icon", lambda number: "@selfhst/" + "." * number),
    "a long retention": one("proxy.web.access_log.retention", lambda number: " " * number),
    "a long start": lambda number: {"proxy.idle_timeout": "1m", "proxy.start_endpoint": "http://" + "a" * number},
    "long values for all aliases": with_aliases(one("proxy.*.rules", lambda number: "a { b }" * number), 8),
    "rules": one("proxy.web.rules", lambda number: "a { b }\n" * number),
    "braces": one("proxy.web.rules", lambda number: "{" * number + "}" * number),
    "rules in YAML": one("proxy.web.rules", lines("- nam{i}: x")),
    "anchors": one("proxy.web", chain_of_anchors),
    "laughs": one("proxy.web", laughs),
    "tabs": one("proxy.web", lambda number: "\t" * number + "a"),
    "comments": one("proxy.web", lambda number: "#\n" * number),
    "a quoted text": one("proxy.web", lambda number: 'a: "' + "\\x41" * number + '"'),
    "letters before a colon": one("proxy.web", lambda number: "{" + "a" * number),
    "spaces before a colon": one("proxy.web", lambda number: "{" + "a " * number),
    "a deep path into text": lambda number: {"proxy.web.x": "{" * number, "proxy.web.x.y": "1"},
    "dependencies": one("proxy.depends_on", lambda number: "a," * number),
    "dependencies by Compose": one("com.docker.compose.depends_on", lambda number: "a:b:c," * number),
    "a network": one("proxy.network", lambda number: "x" * number),
    "container settings below aliases": of_each("proxy.a{i}.idle_timeout", "1h"),
    "long wrong ports": of_each("proxy.a{i}.port", long("key a:b=c key: x@y ")),
    "long wrong icons": of_each("proxy.a{i}.homepage.icon", long("key a:b=c key: x@y ")),
    "long wrong lists": of_each("proxy.a{i}.ssl_protocols", long("key a:b=c key: x@y ")),
    "long wrong networks": of_each("proxy.a{i}.middlewares.cidr_whitelist.allow", long("key a:b=c key: x@y ")),
    "long wrong names": of_each("proxy.a{i}.load_balance.link", long("token-token=?a@")),
    "longer wrong retentions": of_each("proxy.a{i}.access_log.retention", long("key a:b=c key: x@y ", 4_000)),
    "secret aliases": one("proxy.aliases", lambda number: "key a:b=c key: x@y," * number),
    "a secret shortcut": one("proxy.ports", lambda number: "key a:b=c key: x@y," * number),
    "long near misses of the namespace": of_each("prxy.a{i}." + long("key:a@b="), "1"),
    "ports in a mapping": one("proxy.web.port", lines("listning{i}: 1")),
}


def size_of(labels: dict[str, str]) -> int:
    return sum(len(key) + len(text) for key, text in labels.items())


@functools.cache
def largest(make: Labels) -> int:
    """Return the highest number of repetitions, to an eighth, at which the labels have at most 1 MiB."""
    number = 64
    while size_of(make(2 * number)) <= SIZE:
        number *= 2
    step = number // 8
    while size_of(make(number + step)) <= SIZE:
        number += step
    return number
