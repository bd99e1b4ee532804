"""Changes the bodies of responses for Envoy, with limits on their size and number.

Error responses get the operator's error pages, if there are any. Apart from that, only complete HTML pages without a
content encoding are changed. All other responses pass unchanged, and so does a page that is too large or that arrives
while too many others are being changed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from envoy.config.core.v3 import base_pb2
from envoy.extensions.filters.http.ext_proc.v3 import processing_mode_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2

from pilotage.core.media_types import media_type
from pilotage.request_service.error_pages import ErrorPages
from pilotage.request_service.html_editor import edit_html
from pilotage.xds.body_filter import ASSETS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pilotage.xds.html_changes import HtmlChange

__all__ = ["BodyService"]

log = logging.getLogger(__name__)

_LARGEST: Final = 512 * 1024
"""Maximum bytes of a page. A larger one would keep the processor busy for more than about half a second."""
_MOST: Final = 40
"""Maximum number of pages held at the same time, 20 MiB in all."""

_TYPES: Final = ("text/html", "application/xhtml+xml")
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"})
"""Charsets that can represent any inserted text, directly or as character references."""

_Response = external_processor_pb2.ProcessingResponse
_PASS: Final = _Response(response_headers=external_processor_pb2.HeadersResponse())


class BodyService:
    """Changes pages.

    Args:
        find: returns, for a backend's key, its changes and the folder of its error pages; the folder is ``""`` if there
            is none.
        largest: maximum number of bytes of a page.
        most: maximum number of pages that are held at the same time.

    """

    def __init__(
        self, find: Callable[[str], tuple[tuple[HtmlChange, ...], str]], *, largest: int = _LARGEST, most: int = _MOST
    ) -> None:
        self._find = find
        self._largest = largest
        self._most = most
        self._held = 0
        self._held_of: Counter[str] = Counter()  # by backend
        self._pages = ErrorPages("")
        # One thread, so that changing pages uses at most one processor.
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="pages")

    async def process(self, requests: AsyncIterator[Any], backend: str) -> AsyncIterator[Any]:
        """Answer Envoy's messages about one response. All ``requests`` are about this response."""
        async for request in requests:
            if request.WhichOneof("request") == "request_headers":
                yield await self._asset(backend, _headers(request.request_headers.headers))
                return
            if request.WhichOneof("request") != "response_headers":
                continue
            changes, folder = self._find(backend)
            headers = _headers(request.response_headers.headers)
            has_body = not request.response_headers.end_of_stream
            if folder and has_body and _is_error_page(headers):
                page = await self._error_page(folder, int(headers[":status"]), changes)
                if page:
                    yield _replaced(page)
                    return
            charset = _charset(headers) if changes and has_body else ""
            # A backend may hold at most as many pages as there are places left, so that its slow pages leave places for
            # those of others.
            if not charset or self._held_of[backend] >= self._most - self._held:
                yield _PASS
                return
            self._held += 1
            self._held_of[backend] += 1
            try:
                yield _begin(headers)
                async for answer in self._body(requests, changes, charset):
                    yield answer
            finally:
                self._held -= 1
                self._held_of[backend] -= 1
                if not self._held_of[backend]:
                    del self._held_of[backend]
            return

    async def _asset(self, backend: str, headers: dict[str, str]) -> Any:
        """Answer a request for a file that error pages use."""
        if headers.get(":method") not in ("GET", "HEAD"):
            return _answer(405, b"Files can only be read.\n", "text/plain; charset=utf-8", allow="GET, HEAD")
        name = unquote(headers.get(":path", "").partition("?")[0].removeprefix(ASSETS))
        self._use(self._find(backend)[1])
        read = self._pages.asset if self._pages.folder else lambda _: None
        content = await asyncio.get_running_loop().run_in_executor(self._threads, read, name)
        if content is None:
            return _answer(404, b"There is no such file.\n", "text/plain; charset=utf-8")
        return _answer(200, content, media_type(name), cache_control="max-age=5")

    def _use(self, folder: str) -> None:
        if folder != self._pages.folder:
            self._pages = ErrorPages(folder)

    async def _error_page(self, folder: str, status: int, changes: tuple[HtmlChange, ...]) -> bytes:
        self._use(folder)
        run = asyncio.get_running_loop().run_in_executor
        page = await run(self._threads, self._pages.page, status)
        return await self._changed(page, changes, "utf-8") if page and changes else page

    async def _body(
        self, requests: AsyncIterator[Any], changes: tuple[HtmlChange, ...], charset: str
    ) -> AsyncIterator[Any]:
        """Hold a body until it is complete, then send it changed. If it gets too large, send it unchanged."""
        held = bytearray()  # not a list of parts, where parts of one byte would take much more memory
        holds = True
        async for request in requests:
            if request.WhichOneof("request") != "response_body":
                continue
            part, ends = request.response_body.body, request.response_body.end_of_stream
            if not holds:
                yield _part(part)
                continue
            held += part
            if len(held) > self._largest:
                holds = False
                yield _part(bytes(held))
                held.clear()
            elif ends:
                yield _part(await self._changed(bytes(held), changes, charset))
                return
            else:
                yield _part(b"")

    async def _changed(self, body: bytes, changes: tuple[HtmlChange, ...], charset: str) -> bytes:
        try:
            run = asyncio.get_running_loop().run_in_executor
            return await run(self._threads, _edit, body, changes, charset)
        except Exception as error:  # a stranger's page may cause any error; it then passes unchanged
            log.debug("a page cannot be changed", exc_info=error)
            return body

    def close(self) -> None:
        """Stop changing pages."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _edit(body: bytes, changes: tuple[HtmlChange, ...], charset: str) -> bytes:
    try:
        text = body.decode(charset)
    except UnicodeDecodeError:
        return body
    return edit_html(text, changes).encode(charset, "xmlcharrefreplace")


def _headers(headers: Any) -> dict[str, str]:
    return {it.key.lower(): it.raw_value.decode("latin-1") if it.raw_value else it.value for it in headers.headers}


def _is_error_page(headers: dict[str, str]) -> bool:
    """Return whether a response is an error page for people. Error responses for programs stay as they are."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return headers.get(":status", "")[:1] in ("4", "5") and kind in (*_TYPES, "text/plain")


def _replaced(page: bytes) -> Any:
    """Answer with a page instead of the body of the target. Other headers stay, such as ``WWW-Authenticate``."""
    gone = ["content-length", "content-encoding", "etag", "last-modified", "accept-ranges", "content-md5", "digest"]
    mutation = external_processor_pb2.HeaderMutation(remove_headers=gone)
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    value = base_pb2.HeaderValue(key="content-type", raw_value=b"text/html; charset=utf-8")
    mutation.set_headers.append(
        base_pb2.HeaderValueOption(header=value, append_action=action.OVERWRITE_IF_EXISTS_OR_ADD)
    )
    common = external_processor_pb2.CommonResponse(
        status=external_processor_pb2.CommonResponse.CONTINUE_AND_REPLACE,
        header_mutation=mutation,
        body_mutation=external_processor_pb2.BodyMutation(body=page),
    )
    return _Response(response_headers=external_processor_pb2.HeadersResponse(response=common))


def _answer(status: int, body: bytes, kind: str, **headers: str) -> Any:
    """Answer a request instead of the target."""
    action = base_pb2.HeaderValueOption.HeaderAppendAction
    given = {"content-type": kind, "x-content-type-options": "nosniff", **headers}
    mutation = external_processor_pb2.HeaderMutation(
        set_headers=[
            base_pb2.HeaderValueOption(
                header=base_pb2.HeaderValue(key=name.replace("_", "-"), raw_value=value.encode()),
                append_action=action.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for name, value in given.items()
        ]
    )
    return _Response(
        immediate_response=external_processor_pb2.ImmediateResponse(
            status={"code": status}, headers=mutation, body=body, details="error_page_file"
        )
    )


def _charset(headers: dict[str, str]) -> str:
    """Return the charset of a response that may be changed; ``""`` if the response must pass unchanged."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if kind.strip().lower() not in _TYPES or encoding not in ("", "identity"):
        return ""
    if headers.get(":status", "") in ("101", "204", "206", "304") or "content-range" in headers:
        return ""
    if "no-transform" in headers.get("cache-control", "").lower():
        return ""
    found = _CHARSET.search(f";{parameters}")
    charset = found[1].lower() if found else "utf-8"
    return charset if charset in _CHARSETS else ""


def _begin(headers: dict[str, str]) -> Any:
    """Ask for the body. Because its bytes change, remove its length and digests, and make its ETag weak."""
    mutation = external_processor_pb2.HeaderMutation(remove_headers=["content-length", "content-md5", "digest"])
    if headers.get("etag", "").startswith('"'):
        action = base_pb2.HeaderValueOption.HeaderAppendAction
        value = base_pb2.HeaderValue(key="etag", raw_value=f"W/{headers['etag']}".encode("latin-1"))
        mutation.set_headers.append(
            base_pb2.HeaderValueOption(header=value, append_action=action.OVERWRITE_IF_EXISTS_OR_ADD)
        )
    common = external_processor_pb2.CommonResponse(header_mutation=mutation)
    mode = processing_mode_pb2.ProcessingMode
    override = mode(
        request_header_mode=mode.SKIP,
        response_header_mode=mode.SEND,
        response_body_mode=mode.STREAMED,
        response_trailer_mode=mode.SKIP,
    )
    return _Response(response_headers=external_processor_pb2.HeadersResponse(response=common), mode_override=override)


def _part(body: bytes) -> Any:
    mutation = external_processor_pb2.BodyMutation(body=body) if body else _CLEAR
    common = external_processor_pb2.CommonResponse(body_mutation=mutation)
    return _Response(response_body=external_processor_pb2.BodyResponse(response=common))


_CLEAR: Final = external_processor_pb2.BodyMutation(clear_body=True)
