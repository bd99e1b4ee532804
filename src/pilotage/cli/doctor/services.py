"""Checks the engines and the running daemon."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import http.client
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from pilotage.cli.doctor.finding import Finding
from pilotage.cli.doctor.ports import user_name
from pilotage.core.errors import EngineError, PilotageError
from pilotage.engine import Pool, new_client

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pilotage.engine import DockerProviderConfig

__all__ = ["Daemon", "check_daemon", "check_engine"]

_PATIENCE: Final = 10.0  # seconds for one engine
_DAEMON_PATIENCE: Final = 5.0  # seconds
_DRIFT: Final = 5.0  # seconds; the header has whole seconds, and the request takes time, too


async def check_engine(config: DockerProviderConfig) -> list[Finding]:
    """Check whether an engine can be reached, lists its containers to this user, and agrees with this machine's clock.

    Args:
        config: the engine.

    """
    check = f"engine {config.name}"
    try:
        async with asyncio.timeout(_PATIENCE), Pool() as pool:
            begin = time.perf_counter()
            async with await new_client(config, pool=pool, unique=True) as client:
                latency = time.perf_counter() - begin
                running = len(await client.list_containers(all=False))
                name = f"{'rootless ' if client.is_rootless else ''}{client.kind.capitalize()}"
                text = f"{name} {client.version.Version}, API {client.api_version}, {running} running"
                date = ""
                with contextlib.suppress(EngineError):  # a socket proxy may refuse it; nothing else needs it
                    date = await client.date()
    except EngineError as error:
        return [Finding(check, "problem", error.what, error.remedy)]
    except PilotageError as error:
        return [Finding(check, "problem", str(error))]
    except TimeoutError:
        text = f"{config.url} does not answer within {_PATIENCE:g} s"
        return [Finding(check, "problem", text, "check the engine's log: sudo journalctl -u docker -n 50")]
    found = [Finding(check, "ok", f"{text}, responds in {latency * 1000:.0f} ms")]
    return found + compare_clocks(config.name, date, time.time())


def compare_clocks(engine: str, date: str, now: float) -> list[Finding]:
    """Return a problem if an engine's clock differs from this machine's.

    Args:
        engine: the engine's name.
        date: the header ``Date`` of its response; ``""`` if it had none.
        now: this machine's time in seconds since 1970.

    """
    try:
        difference = email.utils.parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return []
    if abs(difference) <= _DRIFT:
        return []
    text = f"{abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} this machine's clock"
    return [Finding(f"clock of {engine}", "problem", text, "on both machines: sudo timedatectl set-ntp true")]


class Daemon(NamedTuple):
    """What is known of the running daemon: the finding, and its process ID; 0 if there is none, -1 if it is unknown."""

    finding: Finding
    pid: int = 0


def check_daemon(sockets: Iterable[Path]) -> Daemon:
    """Check whether a daemon runs and is ready.

    Args:
        sockets: where its API may listen; the first socket that exists counts.

    """
    for path in sockets:
        connection = _Connection(str(path))
        try:
            connection.request("GET", "/readyz")
            pid, uid = connection.peer()
            response = connection.getresponse()
            said = response.read(2000).decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            remedy = f"run as its user: sudo -u '#{_owner(path)}' pilotage doctor"
            return Daemon(Finding("daemon", "warning", f"this user may not connect to {path}", remedy), -1)
        except ConnectionRefusedError:
            text = f"nothing listens on {path}, which an earlier daemon left behind"
            return Daemon(Finding("daemon", "warning", text, "start it: pilotage serve"))
        except (OSError, http.client.HTTPException) as error:
            text = f"the daemon at {path} does not answer: {error}"
            return Daemon(Finding("daemon", "problem", text, "read its log: sudo journalctl -u pilotage -n 50"))
        finally:
            connection.close()
        who = f"process {pid}, user {user_name(uid)}"
        if response.status != http.HTTPStatus.OK:
            text = f"{said or response.reason} ({who})"
            return Daemon(Finding("daemon", "problem", text, "read its log: sudo journalctl -u pilotage -n 50"), pid)
        return Daemon(Finding("daemon", "ok", f"ready ({who})"), pid)
    return Daemon(Finding("daemon", "ok", "not running; pilotage serve starts it"))


def _owner(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return 0


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("pilotage", timeout=_DAEMON_PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def peer(self) -> tuple[int, int]:
        """Return the daemon's process ID and user ID (SO_PEERCRED); zeros on systems other than Linux."""
        if not hasattr(socket, "SO_PEERCRED"):
            return 0, 0
        pid, uid, _ = struct.unpack("3i", self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid, uid
