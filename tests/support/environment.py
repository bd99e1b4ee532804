"""The environment that tests run in: nothing of the user's, the machine's daemon or its engines shows through it.

Every test process, and so each worker of pytest-xdist, has a home, a runtime folder and a folder for temporary files of
its own. ``MACHINE`` keeps the environment as it was, for the few that need it: fixtures that use an engine the user has
named.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MACHINE", "in_ci", "isolate", "remove_leftovers"]

MACHINE: Final[Mapping[str, str]] = dict(os.environ)

#: Variables of the tests themselves.
_KEPT: Final = ("PILOTAGE_SCALE_", "PILOTAGE_TEST_")
_PREFIXES: Final = ("CONTAINER_", "DOCKER_", "PILOTAGE_", "XDG_", "WATCHDOG_", "_PILOTAGE_")
_NAMES: Final = frozenset({
    "COLUMNS", "FORCE_COLOR", "INVOCATION_ID", "JOURNAL_STREAM", "LINES", "LISTEN_FDS", "LISTEN_PID", "NETRC",
    "NOTIFY_SOCKET", "NO_COLOR", "SSH_AGENT_PID", "SSH_AUTH_SOCK", "TTY_COMPATIBLE", "TTY_INTERACTIVE",
})  # fmt: skip


def in_ci() -> bool:
    """Return whether ``CI`` asks that nothing be skipped: any value but ``0``, ``false`` and the empty one."""
    return MACHINE.get("CI", "").lower() not in {"", "0", "false"}


def isolate() -> Path:
    """Replace the environment of this process and its children; return the folder that holds all of it."""
    # a shell that runs us in the background, and nohup, have these ignored, and children inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    folder = Path(tempfile.mkdtemp(prefix="pt-"))  # short, because the paths of unix sockets are
    folder.chmod(0o755)  # tests give up their rights and still look in here
    for name in list(os.environ):
        if name in _NAMES or (name.startswith(_PREFIXES) and not name.startswith(_KEPT)):
            del os.environ[name]
    for name, inside in (("HOME", "home"), ("XDG_RUNTIME_DIR", "run"), ("TMPDIR", "tmp")):
        (folder / inside).mkdir()
        os.environ[name] = str(folder / inside)
    (folder / "tmp").chmod(0o1777)
    os.environ["PILOTAGE_SOCKET"] = str(folder / "no-daemon.sock")
    # pytest's own folders stay where people look for them
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    tempfile.tempdir = None  # read TMPDIR again
    return folder


def remove_leftovers(folder: Path) -> list[str]:
    """Remove the folder of :func:`isolate`; return what tests have left among the temporary files."""
    left = sorted(path.name for path in (folder / "tmp").iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    return left
