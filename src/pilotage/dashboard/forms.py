"""Reads the forms that browsers send. Before somebody has signed in, anybody can send one."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from pilotage.api.connections import receiving

__all__ = ["read_form"]

_KIND: Final = "application/x-www-form-urlencoded"
_LARGEST: Final = 10_000
"""Bytes of a form."""
_MOST_FIELDS: Final = 20


async def read_form(request: web.Request) -> dict[str, str]:
    """Return the fields of a form, name -> value. Bytes that are not UTF-8 are replaced.

    Raises:
        HTTPException: the form has another format or is too large.
        ConnectionError: the client has disconnected, or the form has not arrived in time.

    """
    if request.content_type != _KIND:
        raise web.HTTPUnsupportedMediaType
    body = bytearray()
    with receiving(request):
        async for part in request.content.iter_any():
            body += part
            if len(body) > _LARGEST:
                raise web.HTTPRequestEntityTooLarge(_LARGEST, len(body))
    try:
        fields = parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise web.HTTPBadRequest from error
    return dict(fields)
