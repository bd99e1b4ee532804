"""Answers Envoys' questions about conditions of rules that Envoy cannot test: passwords and form fields.

The answer is a request header with the identifiers of the conditions that hold. If a question cannot be answered, the
client gets an error, whatever the rules would do.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from google.rpc import status_pb2

from pilotage.request_service.forms import FORM_TYPES, read_form
from pilotage.request_service.passwords import Passwords, TooManyWait, read_basic_auth
from pilotage.routes.rules import matches, pattern_size
from pilotage.xds.checks import denial
from pilotage.xds.rule_tests import RESULTS_HEADER, check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pilotage.request_service.asked import Asked
    from pilotage.routes.rules import Check

__all__ = ["RuleChecks"]

_METHODS: Final = ("POST", "PUT", "PATCH")
"""Methods of requests with forms. Source: Go's ``http.Request.ParseForm``."""

_MOST_STEPS: Final = 2_000_000
"""Maximum number of steps to match patterns with values in one request, about a third of a second."""


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class RuleChecks:
    """Answers questions about requests.

    Args:
        find: returns the conditions of a backend (see :attr:`pilotage.xds.rule_outcomes.Compiled.asked`); ``None`` if
            there is no such backend.

    """

    def __init__(self, find: Callable[[str], tuple[Check, ...] | None]) -> None:
        self._find = find
        self._passwords = Passwords()
        # One thread, so that matching uses at most one processor.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forms")

    async def check(self, asked: Asked) -> Any:
        """Return the answer to a check."""
        checks = self._find(asked.route)
        if checks is None:
            return _denial(503, "The gateway could not check this request.")
        try:
            found = [it for it in checks if it.subject == "basic_auth" and await self._has_password(it, asked)]
            if any(it.subject != "basic_auth" for it in checks):
                run = asyncio.get_running_loop().run_in_executor
                found += await run(self._thread, _matching_fields, checks, asked)
        except TooManyWait:
            return _denial(503, "Too many passwords are being compared.")
        except _Refused as error:
            return _denial(error.status, error.text)
        value = base_pb2.HeaderValue(key=RESULTS_HEADER, value=",".join(map(check_id, found)) or "none")
        action = base_pb2.HeaderValueOption.HeaderAppendAction
        option = base_pb2.HeaderValueOption(header=value, append_action=action.OVERWRITE_IF_EXISTS_OR_ADD)
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=0), ok_response=external_auth_pb2.OkHttpResponse(headers=[option])
        )

    async def _has_password(self, check: Check, asked: Asked) -> bool:
        given = read_basic_auth(asked.headers.get("authorization", ""))
        if given is None or given[0] != check.key:
            return False
        return await self._passwords.matches(asked.route, given[1], check.value)

    def close(self) -> None:
        """Stop answering."""
        self._passwords.close()
        self._thread.shutdown(wait=False, cancel_futures=True)


def _denial(status: int, text: str) -> Any:
    headers = [("content-type", "text/plain; charset=utf-8"), ("cache-control", "no-store")]
    return denial(status, headers, f"{text}\n")


def _matching_fields(checks: Iterable[Check], asked: Asked) -> list[Check]:
    """Return the checks of form fields that hold. Raises _Refused if they cannot be tested."""
    content_type = asked.headers.get("content-type", "")
    posted: list[tuple[str, str]] = []
    if asked.method in _METHODS and content_type.partition(";")[0].strip().lower() in FORM_TYPES:
        try:
            posted = read_form(content_type, asked.body.encode())
        except (ValueError, LookupError):
            raise _Refused(400, "The form of this request is not valid.") from None
    try:
        sent = parse_qsl(asked.query, keep_blank_values=True, max_num_fields=len(asked.query) + 1)
    except ValueError:
        raise _Refused(400, "The query of this request is not valid.") from None
    steps = 0
    found = []
    for check in checks:
        if check.subject == "basic_auth":
            continue
        fields = posted if check.subject == "postform" else [*posted, *sent]
        values = [value for name, value in fields if name == check.key] or [""]
        if check.pattern is None:
            holds = any(values)
        else:
            size = pattern_size(check.pattern.node) if check.pattern.node is not None else 0
            steps += sum((len(value) + 1) * size for value in values)
            if steps > _MOST_STEPS:
                raise _Refused(413, "A field of this form is too large.")
            pattern = check.pattern
            holds = (all if pattern.negate else any)(matches(pattern, value) for value in values)
        if holds:
            found.append(check)
    return found
