"""A socket proxy as operators run it: HAProxy forwards only what discovery needs, and refuses everything else.

Its rules are those of ``docs/how-to/limit-engine-access.md``; the test reads them from there.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.support.install import debian_packages
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["PACKAGES", "documented_rules", "haproxy", "socket_proxy"]

#: Program -> its Debian package.
PACKAGES: Final = {"haproxy": "haproxy"}

_DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "how-to" / "limit-engine-access.md"


def documented_rules() -> str:
    """Return the HAProxy configuration from the documentation."""
    found = re.search(r"```haproxy\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)
    if found is None:
        raise AssertionError("docs/how-to/limit-engine-access.md gives no rules for HAProxy")
    return found[1]


@contextmanager
def socket_proxy(folder: Path, engine_socket: str, *, silence: str = "10m") -> Generator[str]:
    """Run HAProxy in front of an engine's socket.

    Args:
        folder: an empty folder for its files.
        engine_socket: path of the engine's socket.
        silence: how long an event stream may be idle before HAProxy cuts it.

    Yields:
        The URL of HAProxy's socket.

    """
    listens = folder / "engine.sock"
    rules = documented_rules().replace("/var/run/docker.sock", engine_socket)
    rules = rules.replace("timeout server 1h", f"timeout server {silence}")
    rules = re.sub(r"bind .*", f"bind unix@{listens} mode 660", rules)
    with haproxy(folder, rules, listens.exists):
        yield f"unix://{listens}"


@contextmanager
def haproxy(folder: Path, configuration: str, is_ready: Callable[[], bool]) -> Generator[None]:
    """Run HAProxy with a configuration.

    Raises:
        EngineUnavailable: it is not installed, and cannot be.

    """
    debian_packages(PACKAGES)
    (folder / "haproxy.cfg").write_text(configuration)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            wait_until(
                lambda: is_ready() or process.poll() is not None,
                lambda: f"haproxy did not start: {(folder / 'log').read_text()[-2000:]}",
                patience=10,
            )
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            yield
        finally:
            process.terminate()
            process.wait(10)
