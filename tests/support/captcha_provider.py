"""A stand-in for hCaptcha on loopback: its script shows a button, and its API checks solutions."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CaptchaProvider", "captcha_provider"]

_SCRIPT: Final = b"""
const box = document.querySelector(".h-captcha");
const button = document.createElement("button");
button.id = "human";
button.onclick = () => window[box.dataset.callback](`solution-of-${box.dataset.sitekey}`);
box.append(button);
"""


class CaptchaProvider:
    """The provider.

    Attributes:
        port: where it listens.
        secret: the site's secret key.
        seen: the forms that it has received.
        answer: status and body of its answers; ``None`` for the usual ones.

    """

    def __init__(self, port: int, secret: str) -> None:
        self.port = port
        self.secret = secret
        self.seen: list[dict[str, str]] = []
        self.answer: tuple[int, bytes] | None = None
        self._used: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def verdict(self, form: dict[str, str]) -> dict[str, Any]:
        self.seen.append(form)
        if form.get("secret") != self.secret:
            return {"success": False, "error-codes": ["invalid-input-secret"]}
        solution = form.get("response", "")
        if solution != f"solution-of-{form.get('sitekey')}" or solution in self._used:
            return {"success": False, "error-codes": ["invalid-input-response"]}
        return {"success": True, "hostname": "app.example.com"}


@contextlib.contextmanager
def captcha_provider(secret: str) -> Iterator[CaptchaProvider]:
    """Run the provider."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, _SCRIPT, "text/javascript")

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(text).items()}
            verdict = json.dumps(provider.verdict(form)).encode()
            status, body = provider.answer or (200, verdict)
            self._reply(status, body, "application/json")

        def _reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = CaptchaProvider(server.server_port, secret)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
