"""Defines which service must approve the requests to a route, and reads the options of ``crowdsec``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.addresses import is_address
from pilotage.core.text import shorten_value
from pilotage.core.values import ParseError, parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["APP_SEC_HEADERS", "CROWDSEC_OPTIONS", "ForwardAuth", "read_crowdsec"]

CROWDSEC_OPTIONS: Final = ("route", "port", "api_key", "endpoint", "timeout", "log_blocked", "log_only")

_APP_SEC: Final = ("Ip", "Uri", "Host", "Verb", "Api-Key", "User-Agent", "Http-Version", "Transaction-Id")
APP_SEC_HEADERS: Final = tuple(f"X-Crowdsec-Appsec-{name}" for name in _APP_SEC)
"""Headers that are removed from clients' requests, because CrowdSec trusts them."""

_PATH: Final = re.compile(r"/(?:(?![?#])[!-~])*")
_LONGEST_KEY: Final = 1024  # characters
_SHORTEST_CHECK, _LONGEST_CHECK = 0.1, 60.0  # seconds


class ForwardAuth(msgspec.Struct, frozen=True):
    """The route that must approve every request to another route.

    Attributes:
        route: alias of the route.
        path: path of the authorization request.
        headers: headers of the route's response that are passed on to the backend.
        api_key: the key for CrowdSec; ``""`` if the route is not CrowdSec's AppSec.
        timeout: seconds that the route may take to answer.

    """

    route: str
    path: str
    headers: tuple[str, ...]
    api_key: str = ""
    timeout: float = 10.0

    @property
    def forgeable(self) -> tuple[str, ...]:
        """Headers that clients may not set."""
        return APP_SEC_HEADERS if self.api_key else self.headers

    @property
    def middleware(self) -> str:
        """The name of the middleware."""
        return "crowdsec" if self.api_key else "forwardauth"


_Problem = tuple[str, str, str]  # option, message, hint


def read_crowdsec(options: Mapping[str, Any]) -> tuple[ForwardAuth, list[_Problem], list[_Problem]]:
    """Read the options of the middleware ``crowdsec``.

    Args:
        options: folded name -> value.

    Returns:
        The service to ask, the problems that prevent the route from being served, and the other problems. Each problem
        consists of the option's name, a message and a hint.

    """
    problems: list[_Problem] = []
    route, path = str(options.get("route") or "").lower(), str(options.get("endpoint") or "/")
    if not route or is_address(route):
        hint = "name a route, such as one from a route file with this host and port"
        problems.append(("route", "CrowdSec must be a route of this gateway", hint))
    key = str(options.get("apikey") or "")
    if not (key and key.isascii() and key.isprintable() and len(key) <= _LONGEST_KEY):
        problems.append(("api_key", "CrowdSec needs an API key", "create one with: cscli bouncers add pilotage"))
    if not _PATH.fullmatch(path):
        problems.append(("endpoint", f"{shorten_value(path)!r} is not a path", "write one such as /"))
    timeout = 5.0
    try:
        timeout = parse_duration(str(options.get("timeout") or "5s"))
    except ParseError as error:
        problems.append(("timeout", error.message, "write one such as 5s"))
    if not _SHORTEST_CHECK <= timeout <= _LONGEST_CHECK:
        problems.append(("timeout", "the timeout is too short or too long", "write one from 100ms to 60s"))
    warnings: list[_Problem] = []
    if "port" in options:
        warnings.append(("port", "the port has no effect, because the route has its own", "remove it"))
    for option in ("log_blocked", "log_only"):
        if str(options.get(option.replace("_", ""), "false")).lower() != "false":
            text = f"{option} has no effect: CrowdSec's refusals always apply, and are not logged separately"
            warnings.append((option, text, "remove it, or set access_log"))
    return ForwardAuth(route, path, (), key or "?", timeout), problems, warnings
