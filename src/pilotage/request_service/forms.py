"""Reads the fields of forms. Pure."""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Final
from urllib.parse import parse_qsl

__all__ = ["FORM_TYPES", "read_form"]

_URL_ENCODED: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
FORM_TYPES: Final = (_URL_ENCODED, _MULTIPART)
"""Media types of forms."""

_MOST_FIELDS: Final = 1_000
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, section 5.1.1
_LONGEST_HEAD: Final = 8 * 1024  # bytes of the headers of a part


def read_form(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """Return the names and values of a form's fields, without files.

    Args:
        content_type: the header ``Content-Type``.
        body: the whole body.

    Raises:
        ValueError: the body is not a valid form, or has too many fields.

    """
    head = Message()
    head["content-type"] = content_type
    kind = head.get_content_type()
    if kind == _URL_ENCODED:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    boundary = head.get_param("boundary", failobj="")
    if kind != _MULTIPART or not isinstance(boundary, str) or not _BOUNDARY.fullmatch(boundary):
        raise ValueError("it is not a form")
    return [field for part in _parts(body, boundary.encode()) if (field := _field(part)) is not None]


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Return the parts of a multipart body. Raises ValueError if it does not end as it must."""
    pieces = re.split(rb"\r?\n--" + re.escape(boundary), b"\r\n" + body, maxsplit=_MOST_FIELDS + 1)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--") or any(it.startswith(b"--") for it in pieces[1:-1]):
        raise ValueError("the form is cut off")
    return pieces[1:-1]


def _field(part: bytes) -> tuple[str, str] | None:
    """Return the name and value of a field; ``None`` for a file, or for a part without a name. Raises ValueError."""
    found = re.match(rb"[ \t]*\r?\n((?:[^\r\n]+\r?\n)*)\r?\n", part)
    if found is None or len(found[1]) > _LONGEST_HEAD:
        raise ValueError("a part of the form has no valid headers")
    head = BytesParser(policy=HTTP).parsebytes(found[1] + b"\r\n", headersonly=True)
    disposition = head.get("content-disposition")
    params = disposition.params if disposition is not None else {}
    name = params.get("name")
    if name is None or "filename" in params:
        return None
    return str(name), part[found.end() :].decode("utf-8", "replace")
