"""Reads the response to clients that the middleware ``cidr_whitelist`` refuses. Pure.

It needs no package from the ``gateway`` extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from pilotage.core.text import shorten_value
from pilotage.routes.fields import scalar_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["STATUSES", "Refusal", "read_refusal"]

STATUSES: Final = (400, 401, 403, 404, 405, 406, 410, 418, 421, 423, 429, 451, 500, 501, 502, 503, 504)
"""Statuses that a route can give refused clients. Envoy needs a condition for each of them."""

_NOT_ALLOWED: Final = "IP not allowed"
_LONGEST: Final = 1_000


class Refusal(msgspec.Struct, frozen=True):
    """The response to clients that have no access; status 0 for the usual one."""

    status: int = 0
    message: str = ""


def read_refusal(options: Mapping[str, Any], report: Callable[[str, str, str], None]) -> Refusal:
    """Return the response to refused clients.

    Args:
        options: the options of the middleware, with folded names.
        report: receives message, hint and option of each problem.

    """
    status, message = options.get("status", options.get("statuscode")), options.get("message")
    if status is None and message is None:
        return Refusal()
    wanted = "403" if status is None else str(status)
    if wanted not in map(str, STATUSES):
        hint = f"write one of {', '.join(map(str, STATUSES))}"
        report(f"pilotage cannot answer with status {shorten_value(wanted)}, so it answers 403", hint, "status_code")
        wanted = "403"
    text = scalar_text(message) or _NOT_ALLOWED
    if len(text) > _LONGEST:
        report(f"the message has more than {_LONGEST:,} characters, so it is not used", "shorten it", "message")
        text = _NOT_ALLOWED
    return Refusal(int(wanted), text)
