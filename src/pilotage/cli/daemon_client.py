"""Talks to a running daemon over its unix socket: fetches its snapshot, wakes containers and puts them to sleep."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from pilotage.api.snapshot import SNAPSHOT_PATH, socket_candidates, unpack
from pilotage.certificates.status import CertificateStatus
from pilotage.sleep.status import SleepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pilotage.api.snapshot import Snapshot

__all__ = [
    "Refused",
    "certificates_of",
    "closed_socket",
    "command",
    "fetch",
    "find_daemon",
    "renew_certificates",
    "root_of",
    "statuses",
]

_ERROR: Final = 400
_TIMEOUT: Final = 5.0  # seconds; if the daemon takes longer, a command asks the engines itself


def closed_socket(env: Mapping[str, str]) -> Path | None:
    """Return the first of :func:`socket_candidates` that exists but denies this user access, or ``None``."""
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
    """Return the snapshot of a running daemon; ``None`` if no daemon of this version is accessible.

    Args:
        env: environment variables, which decide where the daemon's socket is.
        with_envoys: also ask for the state of each route on each Envoy.

    """
    found = find_daemon(env, with_envoys=with_envoys)
    return None if found is None else found[1]


def find_daemon(env: Mapping[str, str], *, with_envoys: bool = False) -> tuple[Path, Snapshot] | None:
    """Return the socket and the snapshot of a running daemon. The arguments are as for :func:`fetch`."""
    for path in socket_candidates(env):
        if os.access(path, os.R_OK | os.W_OK) and path.is_socket():
            found = asyncio.run(_fetch(path, f"{SNAPSHOT_PATH}?envoys" if with_envoys else SNAPSHOT_PATH))
            if found is not None:
                return path, found
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


class Refused(Exception):
    """The daemon refuses a command, or no daemon can be reached. The message says why and what to do.

    Attributes:
        is_unreachable: whether no daemon can be reached.

    """

    def __init__(self, text: str, *, is_unreachable: bool = False) -> None:
        super().__init__(text)
        self.is_unreachable = is_unreachable


def command(env: Mapping[str, str], verb: str, name: str) -> SleepStatus:
    """Tell the daemon to wake a container or to put it to sleep. Return the container's status at that moment.

    Args:
        env: environment variables, which decide where the daemon's socket is.
        verb: ``wake`` or ``sleep``.
        name: an alias of the container, its name or its ID.

    Raises:
        Refused: the daemon refuses the command, or no daemon can be reached.

    """
    path = _socket(env)
    return msgspec.convert(
        asyncio.run(_request(path, "POST", f"/v1/containers/{quote(name, safe='')}/{verb}")), SleepStatus
    )


def statuses(env: Mapping[str, str]) -> list[SleepStatus]:
    """Return the status of all containers that can sleep.

    Raises:
        Refused: no daemon can be reached.

    """
    return msgspec.convert(asyncio.run(_request(_socket(env), "GET", "/v1/sleep"))["units"], list[SleepStatus])


def certificates_of(env: Mapping[str, str]) -> list[CertificateStatus]:
    """Return the certificates that the daemon obtains, and the names that have none.

    Raises:
        Refused: no daemon can be reached.

    """
    return _certificates(asyncio.run(_request(_socket(env), "GET", "/v1/certificates")))


def renew_certificates(env: Mapping[str, str], name: str) -> list[CertificateStatus]:
    """Tell the daemon to replace the certificates for a host name soon. Return their previous status.

    Raises:
        Refused: the daemon refuses the request, or no daemon can be reached.

    """
    url = f"/v1/certificates/{quote(name, safe='')}/renew"
    return _certificates(asyncio.run(_request(_socket(env), "POST", url)))


def root_of(env: Mapping[str, str]) -> str:
    """Return the root certificate of the daemon's own CA as PEM.

    Raises:
        Refused: there is none, or no daemon can be reached.

    """
    return str(asyncio.run(_request(_socket(env), "GET", "/v1/certificates/root")))


def _certificates(body: Any) -> list[CertificateStatus]:
    found = body["certificates"]
    known = [{key: value for key, value in item.items() if value is not None} for item in found]
    return msgspec.convert(known, list[CertificateStatus])


def _socket(env: Mapping[str, str]) -> Path:
    for path in socket_candidates(env):
        if os.access(path, os.R_OK | os.W_OK) and path.is_socket():
            return path
    closed = closed_socket(env)
    if closed is not None:
        raise Refused(f"this user cannot open {closed}; run the command as the daemon's user", is_unreachable=True)
    raise Refused("no daemon is running; start one with 'pilotage serve'", is_unreachable=True)


async def _request(path: Path, method: str, url: str) -> Any:
    connector = aiohttp.UnixConnector(str(path))
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.request(method, URL(f"http://pilotage{url}", encoded=True)) as response,
        ):
            is_json = response.content_type == "application/json"
            body: Any = await response.json() if is_json else await response.text()
            if response.status < _ERROR:
                return body
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Refused(f"the daemon at {path} does not answer: {error}", is_unreachable=True) from error
    hint = body.get("hint", "")
    raise Refused(f"{body.get('error', response.status)}; {hint}" if hint else str(body.get("error", response.status)))
