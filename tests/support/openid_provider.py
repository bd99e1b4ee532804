"""A real OpenID provider (npm's ``oidc-provider``) on loopback, and what a person does in its pages."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from tests.support.install import EngineUnavailable, cache_directory
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

__all__ = ["USERS", "openid_provider", "sign_in"]

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


def _installed() -> Path:
    """Install the provider once for each version, and return its folder.

    Raises:
        EngineUnavailable: there is no node and npm, or the installation failed.

    """
    if not (shutil.which("node") and shutil.which("npm")):
        raise EngineUnavailable("no OpenID provider for tests: install node and npm")
    lock = (_FILES / "package-lock.json").read_bytes()
    folder = cache_directory() / f"openid-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "provider.mjs").exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", "provider.mjs"):
            shutil.copy(_FILES / name, made)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=made,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineUnavailable(f"no OpenID provider for tests: npm failed: {done.stderr[-300:]}")
        with contextlib.suppress(OSError):  # another process was first
            made.rename(folder)
    shutil.copy(_FILES / "provider.mjs", folder)
    return folder


@contextlib.asynccontextmanager
async def openid_provider(clients: list[dict[str, Any]], **settings: Any) -> AsyncIterator[str]:
    """Run a provider with these clients and :data:`USERS`, and yield its issuer URL."""
    folder = await asyncio.to_thread(_installed)
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    process = await asyncio.create_subprocess_exec(
        "node",
        "provider.mjs",
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        given = {"issuer": issuer, "port": port, "clients": clients, "users": USERS, **settings}
        process.stdin.write(f"{json.dumps(given)}\n".encode())
        async with asyncio.timeout(30):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, "the OpenID provider has ended"
        yield issuer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def sign_in(browser: aiohttp.ClientSession, url: str, user: str) -> str:
    """Sign in at the provider without a real browser, and return the URL to which it sends the user back.

    Args:
        browser: keeps the provider's cookies.
        url: where the gateway has sent the user.
        user: one of :data:`USERS`.

    """
    for _ in range(12):
        async with browser.get(url, allow_redirects=False) as response:
            text = await response.text()
            location = response.headers.get("Location")
        if location is None:
            fields = dict(re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', text))
            action = re.search(r'action="([^"]+)"', text)
            assert action, text
            form = {**fields, **({"login": user, "password": "x"} if 'name="login"' in text else {})}
            async with browser.post(
                urljoin(url, html.unescape(action[1])), data=form, allow_redirects=False
            ) as response:
                location = response.headers["Location"]
        url = urljoin(url, location)
        if urlsplit(url).path.endswith("/auth/callback"):
            return url
    raise AssertionError(url)
