"""Stands between pilotage and Pebble: refuses chosen requests, as public CAs do, and records all of them."""

from __future__ import annotations

import base64
import json
import ssl
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import trustme
from aiohttp import web

from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from tests.support.pebble import Pebble

__all__ = ["ACCOUNT", "AUTHORIZATION", "CHALLENGE", "DIRECTORY", "FINALIZE", "NONCE", "ORDER", "AcmeProxy"]

DIRECTORY: Final = "dir"
NONCE: Final = "nonce-plz"
ACCOUNT: Final = "sign-me-up"
ORDER: Final = "order-plz"
CHALLENGE: Final = "chalZ"
AUTHORIZATION: Final = "authZ"
FINALIZE: Final = "finalize-order"
"""The first parts of Pebble's paths."""


class AcmeProxy:
    """Passes requests on to Pebble. Pebble makes its URLs from the ``Host`` header, so that they lead here.

    Args:
        pebble: the CA.
        folder: for the certificate of its own CA.
        not_before, not_after: validity of its certificate.

    Attributes:
        ca_file: its own CA.
        seen: the requests: the first part of the path, and the payload of its JWS, if any.
        tokens: the tokens of HTTP-01 challenges in authorizations that were read, the newest last.
        held: while it is set, answers to challenges wait.

    """

    def __init__(
        self, pebble: Pebble, folder: Path, not_before: dt.datetime | None = None, not_after: dt.datetime | None = None
    ) -> None:
        self._pebble = pebble
        self._port = free_port()
        self._refusals: dict[str, deque[web.Response]] = defaultdict(deque)
        self.seen: list[tuple[str, Any]] = []
        self.tokens: list[str] = []
        self.held = False
        ca = trustme.CA()
        self.ca_file = str(folder / "proxy-ca.pem")
        ca.cert_pem.write_to_path(self.ca_file)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1", not_before=not_before, not_after=not_after).configure_cert(self._context)

    @property
    def directory(self) -> str:
        """URL of the ACME directory."""
        return f"https://127.0.0.1:{self._port}/dir"

    def count(self, kind: str) -> int:
        """Return how many requests of a kind have arrived, also those that were refused."""
        return sum(seen == kind for seen, _ in self.seen)

    def refuse(self, kind: str, status: int, problem: dict[str, Any] | None = None, **headers: str) -> None:
        """Refuse the next request of a kind, with a problem document or, without one, with a page for people."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if problem is None:
            response = web.Response(status=status, text="<html>slow down</html>", content_type="text/html")
        else:
            found = {**problem, "type": f"urn:ietf:params:acme:error:{problem['type']}", "status": status}
            response = web.Response(status=status, text=json.dumps(found), content_type="application/problem+json")
        response.headers.update(named)
        self._refusals[kind].append(response)

    async def __aenter__(self) -> Self:
        trusted = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self._pebble.ca_file))
        self._session = aiohttp.ClientSession(connector=trusted)
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._context).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._response(request)
        response.force_close()  # so that no connection is open when the test ends
        return response

    async def _response(self, request: web.BaseRequest) -> web.Response:
        kind = request.path.strip("/").partition("/")[0]
        body = await request.read()
        self.seen.append((kind, _payload(body)))
        if self._refusals[kind]:
            return self._refusals[kind].popleft()
        headers = {name: request.headers[name] for name in ("Host", "Content-Type") if name in request.headers}
        url = self._pebble.directory.removesuffix("/dir") + request.path
        if kind == CHALLENGE:
            await until(lambda: not self.held)
        async with self._session.request(request.method, url, headers=headers, data=body) as answer:
            kept = ("Replay-Nonce", "Location", "Link", "Retry-After", "Content-Type", "Date")
            found = [(name, value) for name, value in answer.headers.items() if name in kept]
            content = await answer.read()
            if kind == AUTHORIZATION and answer.ok:
                self.tokens += [it["token"] for it in json.loads(content)["challenges"] if it["type"] == "http-01"]
            return web.Response(status=answer.status, headers=found, body=content)


def _payload(body: bytes) -> Any:
    if not body:
        return None
    text = json.loads(body)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or "null")
