"""Fetches the snapshot of a running daemon over its unix socket."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import aiohttp
import msgspec

from pilotage.api.snapshot import SNAPSHOT_PATH, socket_candidates, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pilotage.api.snapshot import Snapshot

__all__ = ["closed_socket", "fetch"]

_TIMEOUT: Final = 5.0  # seconds; if the daemon takes longer, a command asks the engines itself


def closed_socket(env: Mapping[str, str]) -> Path | None:
    """Return the first of :func:`socket_candidates` that exists but that this user cannot access, or ``None``."""
    for path in socket_candidates(env):
        try:
            path.lstat()
        except PermissionError:
            return path
        except OSError:
            continue
        if not os.access(path, os.R_OK | os.W_OK):
            return path
    return None


def fetch(env: Mapping[str, str], *, with_envoys: bool = False) -> Snapshot | None:
    """Return the snapshot of a running daemon; ``None`` if none is accessible and has this version.

    Args:
        env: environment variables.
        with_envoys: also ask what each Envoy has of each route.

    """
    for path in socket_candidates(env):
        if os.access(path, os.R_OK | os.W_OK) and path.is_socket():
            found = asyncio.run(_fetch(path, f"{SNAPSHOT_PATH}?envoys" if with_envoys else SNAPSHOT_PATH))
            if found is not None:
                return found
    return None


async def _fetch(path: Path, target: str) -> Snapshot | None:
    connector = aiohttp.UnixConnector(str(path))
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.get(f"http://pilotage{target}") as response,
        ):
            return unpack(await response.read()) if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError):
        return None
