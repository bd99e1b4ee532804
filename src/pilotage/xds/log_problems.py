"""Finds the access log settings of a route that Envoy cannot apply. Pure.

It needs no package from the ``gateway`` extra.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.text import shorten_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.routes.access_log import AccessLog

__all__ = ["LogProblem", "log_problems", "network_of", "values_of"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
"""A header name (RFC 9110). Envoy would refuse the whole route for another one."""


class LogProblem(msgspec.Struct, frozen=True):
    """An access log setting that has no effect.

    Attributes:
        field: name of the setting, such as ``access_log.path``.
        message: the problem.
        hint: what to do.
        blocking: whether nothing is logged because of this problem.

    """

    field: str
    message: str
    hint: str
    blocking: bool = False


def log_problems(log: AccessLog) -> Iterator[LogProblem]:
    """Yield a problem for each access log setting that has no effect."""
    if not log.stdout:
        text = "a log file of its own is not supported"
        hint = "set access_log.stdout: true, and send pilotage's standard output to a file"
        yield LogProblem("access_log.path", text, hint, blocking=True)
    elif log.path:
        text = "a log file of its own is not supported, so requests are logged only on standard output"
        yield LogProblem("access_log.path", text, "remove it, and send pilotage's standard output to a file")
    for field in ("retention", "rotate_interval"):
        if getattr(log, field):
            text = "standard output is not kept or rotated by pilotage"
            yield LogProblem(f"access_log.{field}", text, "remove it, and let what reads standard output do that")
    yield from _filter_problems(log)
    query = log.fields.query
    if query.config or query.default == "redact":
        text = "single query parameters cannot be hidden, so the whole query is left out"
        yield LogProblem("access_log.fields.query", text, "set access_log.fields.query.default to keep or drop")
    for field in ("headers", "cookies"):
        wanted = getattr(log.fields, field)
        if wanted.config or wanted.default != "drop":
            text = (
                "cookies are not logged" if field == "cookies" else "only the headers Referer and User-Agent are logged"
            )
            yield LogProblem(f"access_log.fields.{field}", text, "remove it")


def _filter_problems(log: AccessLog) -> Iterator[LogProblem]:
    for header in values_of(log.filters.headers):
        if not _NAME.fullmatch(header.partition("=")[0]):
            text = f"{shorten_value(header)!r} is neither a header name nor Name=value"
            hint = "write X-Debug or X-Debug=on"
            yield LogProblem("access_log.filters.headers", text, hint, blocking=True)
            break
    for network in values_of(log.filters.cidr):
        if network_of(network) is None:
            text, hint = f"{shorten_value(network)!r} is not a network", "write one such as 10.0.0.0/8"
            yield LogProblem("access_log.filters.cidr", text, hint, blocking=True)
            break


def values_of(wanted: Any) -> tuple[str, ...]:
    """Return the values that a log filter lists; empty if ``wanted`` is ``None``."""
    return () if wanted is None else wanted.values


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Return a network or an address as a network; ``None`` if it is neither."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
