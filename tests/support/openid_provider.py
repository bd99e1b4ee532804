"""A real OpenID provider (npm's ``oidc-provider``) on loopback, and what a person does in its pages."""

from __future__ import annotations

import contextlib
import html
import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

from tests.support.npm import npm_folder
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["USERS", "Person", "openid_provider"]

_FILES: Final = Path(__file__).with_name("openid")

USERS: Final[dict[str, dict[str, Any]]] = {
    "ann": {
        "preferred_username": "ann",
        "name": "Ann Ålund",
        "email": "ann@example.com",
        "email_verified": True,
        "groups": ["staff", "admins"],
    },
    "bob": {"preferred_username": "bob", "email": "bob@example.com", "email_verified": False, "groups": ["guests"]},
}


@contextlib.contextmanager
def openid_provider(clients: list[dict[str, Any]], port: int = 0, **settings: Any) -> Iterator[str]:
    """Run a provider with these clients and :data:`USERS`, and yield its issuer URL.

    Args:
        clients: as the library has them.
        port: where it listens; 0 for any port.
        settings: more settings of ``provider.mjs``.

    """
    folder = npm_folder(_FILES, "provider.mjs")
    port = port or free_port()
    issuer = f"http://127.0.0.1:{port}"
    given = {"issuer": issuer, "port": port, "clients": clients, "users": USERS, **settings}
    process = subprocess.Popen(
        ["node", "provider.mjs"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(f"{json.dumps(given)}\n".encode())
        process.stdin.flush()
        while (line := process.stdout.readline()) != b"ready\n":
            assert line, "the OpenID provider has ended"
        yield issuer
    finally:
        process.kill()
        process.communicate()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Person:
    """Somebody with a browser, who signs in at the provider. The browser keeps the provider's cookies."""

    def __init__(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor()
        self._browser = urllib.request.build_opener(cookies, _NoRedirect())

    def signs_in(self, url: str, user: str) -> str:
        """Follow the provider's pages, and return the URL to which it sends the browser back.

        Args:
            url: where the gateway has sent the browser.
            user: one of :data:`USERS`.

        """
        for _ in range(12):
            text, location = self._load(url)
            if not location:
                fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', text))
                action = re.search(r'action="([^"]+)"', text)
                assert action, text
                form = {**fields, **({"login": user, "password": "x"} if 'name="login"' in text else {})}
                _, location = self._load(urljoin(url, html.unescape(action[1])), urlencode(form).encode())
            url = urljoin(url, location)
            if urlsplit(url).path == "/auth/callback":
                return url
        raise AssertionError(url)

    def _load(self, url: str, form: bytes | None = None) -> tuple[str, str]:
        try:
            with self._browser.open(url, form, timeout=30) as response:
                return response.read().decode(), ""
        except urllib.error.HTTPError as answer:
            with answer:
                return "", answer.headers["Location"]
