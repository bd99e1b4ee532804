"""Builds JSON responses. Long ones are built in parts, so that other tasks can run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from aiohttp import web

from pilotage.core.text import safe_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

__all__ = ["ErrorJson", "error", "in_turns", "json"]

T = TypeVar("T")
R = TypeVar("R")

_SLICE: Final = 100  # containers or routes serialized before other tasks run


class ErrorJson(msgspec.Struct, frozen=True):
    """An error.

    Attributes:
        error: what is wrong, in one sentence without a full stop.
        hint: what the client can do; empty if there is no advice.

    """

    error: str
    hint: str


def json(value: Any, status: int = 200) -> web.Response:
    """Return a response whose body is ``value`` as JSON."""
    return web.Response(
        body=safe_json(msgspec.json.encode(value)) + b"\n", status=status, content_type="application/json"
    )


def error(status: int, message: str, hint: str = "") -> web.Response:
    """Return a response whose body is a JSON object with the error ``message`` and a hint on what to do."""
    return json(ErrorJson(message, hint), status)


async def in_turns(items: Iterable[T], function: Callable[[T], R]) -> AsyncIterator[R]:
    """Yield the function's result for each item, and let other tasks run after every 100 items."""
    for number, item in enumerate(items, 1):
        yield function(item)
        if not number % _SLICE:
            await asyncio.sleep(0)
