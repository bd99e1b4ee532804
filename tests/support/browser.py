"""A real Chromium, driven by its debugging protocol."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession

from tests.support.install import debian_packages
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttp import ClientWebSocketResponse

__all__ = ["Tab", "chromium", "open_tab"]


class Tab:
    """A tab of a browser, by Chromium's debugging protocol.

    Attributes:
        errors: exceptions of scripts, and what the browser refused to run or load.

    """

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.errors: list[Any] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}

    async def receive(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            elif told["method"] == "Runtime.exceptionThrown" or (
                told["method"] == "Log.entryAdded"
                and told["params"]["entry"]["source"] not in {"network", "recommendation"}
            ):
                self.errors.append(told["params"])

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(60):
            answer = await asyncio.shield(self._waiting[number])
        return answer["result"]

    async def value(self, script: str) -> Any:
        """Return the value of an expression; ``None`` while the page changes."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"].get("value")

    async def text(self, name: str) -> str:
        """Return the visible text of the element with an ID; ``""`` if it is not there or not visible."""
        return str(
            await self.value(f"(at => at?.checkVisibility() ? at.innerText : '')(document.getElementById('{name}'))")
        )

    async def shows(self, name: str, text: str) -> None:
        """Return as soon as the element with an ID shows a text."""
        async with asyncio.timeout(60):
            while await self.text(name) != text:  # noqa: ASYNC110  # what is waited for happens in the browser
                await asyncio.sleep(0.02)


@contextlib.contextmanager
def chromium() -> Iterator[str]:
    """Run a browser, and yield the address of its debugging protocol.

    Raises:
        EngineUnavailable: it cannot be installed.

    """
    debian_packages({"chromium": "chromium"})
    flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-port=0"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # short, because of a unix socket in it
        # Pages of other programs may name servers on the internet.
        only_here = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE localhost, EXCLUDE 127.0.0.1"
        command = ["chromium", *flags.split(), only_here, f"--user-data-dir={folder}/profile"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env={**os.environ, "TMPDIR": folder}, **quiet)  # type: ignore[call-overload]
        place = Path(folder, "profile", "DevToolsActivePort")
        try:
            wait_until(lambda: process.poll() is not None or (place.exists() and place.read_text().strip()))
            assert process.poll() is None
            yield f"http://127.0.0.1:{place.read_text().split()[0]}"
        finally:
            process.terminate()
            process.wait()


@contextlib.asynccontextmanager
async def open_tab(browser: str) -> AsyncIterator[Tab]:
    """Open a tab. Scripts in it must not fail."""
    async with ClientSession() as client:
        async with client.put(f"{browser}/json/new?about:blank") as response:
            target = await response.json()
        async with client.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            tab = Tab(socket)
            receiving = asyncio.create_task(tab.receive())
            for domain in ("Page", "Runtime", "Log"):
                await tab.call(f"{domain}.enable")
            yield tab
            receiving.cancel()
        async with client.put(f"{browser}/json/close/{target['id']}") as response:
            assert response.status == 200
    assert tab.errors == [], tab.errors
