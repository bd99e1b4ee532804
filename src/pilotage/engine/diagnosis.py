"""What went wrong with an engine, in our words: the one border where foreign exceptions become ours.

Two layers: a :class:`Diagnosis` says what failed and what to do; :func:`explain` turns any exception of a request into
an `EngineError`. What only one way to an engine can know (a socket's group, ssh's own words,
a certificate's date) is found by that way's dialer.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource
import socket
import ssl
import stat
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.core.text import shorten
from pilotage.engine.address import Address

__all__ = [
    "OURS",
    "BodyTooLargeError",
    "ClosedError",
    "DiagnosedError",
    "Diagnosis",
    "DialError",
    "Request",
    "diagnose_tcp",
    "diagnose_unix",
    "explain",
    "refusal",
    "renamed",
]


class DialError(Exception):
    """No stream could be opened; the reason is the cause. Not an ``OSError``, so that aiohttp hands it through."""


class ClosedError(Exception):
    """The client was closed by its owner while a request was under way."""


class BodyTooLargeError(Exception):
    """An answer was longer than any sound one.

    Args:
        limit: in bytes.

    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class Diagnosis(msgspec.Struct, frozen=True):
    """What failed, and what to do about it. Both without a full stop, as `EngineError`."""

    what: str
    remedy: str = ""


class DiagnosedError(Exception):
    """A dialer knows what is wrong before it has opened anything.

    Args:
        diagnosis: what that is.

    """

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis)
        self.diagnosis = diagnosis


OURS: Final = (DialError, ClosedError, BodyTooLargeError)
"""What the engine modules raise among themselves, for :func:`explain` to turn into errors."""


class Request(msgspec.Struct, frozen=True):
    """What was being asked, for messages.

    Attributes:
        engine: the name people know the engine by.
        address: where it is.
        line: method and path without the query, e.g. ``GET /containers/json``.
        connect_timeout, timeout: the limits in force, in seconds.

    """

    engine: str
    address: Address
    line: str
    connect_timeout: float
    timeout: float


def renamed(error: EngineError, engine: str) -> EngineError:
    """Return the same error as seen by somebody who knows the engine by another name."""
    if isinstance(error, EngineRefused):
        return EngineRefused(engine, error.what, error.remedy, status=error.status)
    return type(error)(engine, error.what, error.remedy)


# ---- exceptions ----------------------------------------------------------------------------------------------------

_LOST: Final = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN}
_TLS_RECORD: Final = r"\x15\x03"  # how aiohttp shows a TLS alert that it took for a status line


def explain(error: BaseException, request: Request, diagnosis: Diagnosis | None = None) -> EngineError:
    """Turn an exception of a request into ours. Bodies never get into messages.

    Args:
        error: what aiohttp, asyncio or the system raised; an error of ours is returned as it is.
        request: what was being asked.
        diagnosis: what the dialer found out, when it did.

    """
    if isinstance(error, EngineError):
        return error
    if diagnosis is not None:
        return EngineUnreachable(request.engine, diagnosis.what, diagnosis.remedy)
    match error:
        case ClosedError():
            return EngineUnreachable(request.engine, f"{request.line}: the client was closed during the request")
        case DialError():
            return EngineUnreachable(request.engine, *_dial(error.__cause__, request))
        case BodyTooLargeError():
            what = (
                f"the response to {request.line} is longer than {error.limit // 2**20} MiB, more than any engine sends"
            )
            return EngineIncompatible(request.engine, what, "check that the address belongs to a container engine")
        case msgspec.DecodeError():
            what = f"the response to {request.line} does not match the Engine API ({_json_fault(error)})"
            return EngineIncompatible(request.engine, what, "check that the address belongs to a container engine")
        case aiohttp.ClientResponseError():
            return _not_http(error, request)
        case aiohttp.ServerDisconnectedError():
            what = f"the connection was closed before the response to {request.line} arrived"
            return EngineUnreachable(request.engine, what, _see_log(request))
        case aiohttp.ClientPayloadError():
            what = f"the response to {request.line} was cut short"
            return EngineUnreachable(request.engine, what, "check the log of the engine or of the proxy in front of it")
    return EngineUnreachable(request.engine, *_system(error, request))


def _dial(error: BaseException | None, request: Request) -> tuple[str, str]:
    """Explain why no stream could be opened, where the dialer did not know better."""
    if isinstance(error, DiagnosedError):
        return error.diagnosis.what, error.diagnosis.remedy
    if isinstance(error, TimeoutError) and error.errno is None:
        what = f"could not connect to {request.address} within {request.connect_timeout:g} s"
        return what, "check that the machine is up and no firewall blocks the port"
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return _no_descriptor()
    if isinstance(error, ConnectionError):
        return f"the connection to {request.address} was closed during connection setup", _see_log(request)
    return f"cannot connect to {request.address} ({_words(error)})", ""


def _see_log(request: Request) -> str:
    return "check the engine's log" + (
        ", or use tls:// if the port expects TLS" if request.address.scheme == "tcp" else ""
    )


def _system(error: BaseException, request: Request) -> tuple[str, str]:
    """Explain what happened to a stream that was open."""
    code = getattr(error, "errno", None)
    if isinstance(error, TimeoutError) and code is None:
        what = f"no response to {request.line} within {request.timeout:g} s"
        return what, "the engine hangs or is overloaded: check its log"
    if code == errno.ENOTCONN:
        return "the engine accepts no more connections: its queue is full", "it hangs or is suspended: check its log"
    if code in _LOST:
        return f"the connection was reset during {request.line}", _see_log(request)
    if code in {errno.EMFILE, errno.ENFILE}:
        return _no_descriptor()
    return f"{request.line} failed ({_words(error)})", ""


def _not_http(error: aiohttp.ClientResponseError, request: Request) -> EngineError:
    if _TLS_RECORD in error.message:
        what = f"{request.address} expects TLS but received plain HTTP"
        return EngineUnreachable(request.engine, what, "use tls:// and set the certificate files under `tls:`")
    what = f"the response to {request.line} is not HTTP"
    return EngineIncompatible(request.engine, what, "check that the address belongs to a container engine")


def _no_descriptor() -> tuple[str, str]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"pilotage is out of file descriptors (limit {soft})", "raise the limit (ulimit -n)"


def _json_fault(error: msgspec.DecodeError) -> str:
    return shorten(str(error).rstrip("."), 120)


def _words(error: BaseException | None) -> str:
    """Return the system's words for an exception, never a body."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "name resolution failed"
    tls = next((e for e in (error, error and error.__cause__) if isinstance(e, ssl.SSLError)), None)
    if tls is not None:  # its errno is OpenSSL's, not the system's
        return f"TLS: {(getattr(tls, 'reason', None) or 'broken').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else shorten(error.strerror or "")
    return type(error).__name__ if error is not None else "no reason given"


# ---- answers that say no -------------------------------------------------------------------------------------------

_TLS_WANTED: Final = b"Client sent an HTTP request to an HTTPS server"


class _ErrorBody(msgspec.Struct):
    """The body of an engine's error: ``message`` is all that Docker sends, and the best of what Podman does."""

    message: str = ""


def refusal(request: Request, response: aiohttp.ClientResponse, body: bytes) -> EngineError:
    """Turn an answer that is no success into an error.

    Args:
        request: what was asked.
        response: its status and headers.
        body: the first kilobytes of its body.

    """
    status = response.status
    if 300 <= status < 400:
        target = shorten(response.headers.get("Location", "nowhere"))
        what = f"{request.line} was redirected to {target}, which engines never do"
        return EngineIncompatible(request.engine, what, "use the engine's own address")
    if status == 400 and body.startswith(_TLS_WANTED):
        what = f"{request.address} expects TLS but received plain HTTP"
        return EngineUnreachable(request.engine, what, "use tls:// and set the certificate files under `tls:`")
    said = _said(response.content_type, body)
    what = f"{request.line} returned {status} {response.reason or ''}".rstrip()
    if said:
        what += f": {said}"
    remedy = ""
    if status == 403:
        remedy = f"if a socket proxy is in front of the engine, allow {request.line} there"
    elif status in {401, 407}:
        remedy = "engines never ask for a login: check what is in front of the engine"
    elif status >= 500:
        remedy = "check the engine's log"
    return EngineRefused(request.engine, what, remedy, status=status)


def _said(content_type: str, body: bytes) -> str:
    """Return the engine's own words; pages made for browsers say nothing."""
    if content_type == "application/json":
        try:
            return shorten(msgspec.json.decode(body, type=_ErrorBody).message.strip(), 200)
        except msgspec.DecodeError:
            return ""
    if content_type == "text/plain":
        return shorten(body.decode(errors="replace").strip(), 200)
    return ""


# ---- what the ways know --------------------------------------------------------------------------------------------


def diagnose_unix(path: str, error: BaseException | None) -> Diagnosis | None:
    """Say why a Unix socket could not be connected to; ``None`` when the socket is not the reason."""
    match error:
        case FileNotFoundError():
            return Diagnosis(f"no socket at {path}", "start the engine, or set its address if it listens elsewhere")
        case PermissionError():
            return _forbidden(path)
        case ConnectionRefusedError():
            try:
                is_socket = stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116  # Path.stat says no more
            except OSError:
                is_socket = True
            if not is_socket:
                return Diagnosis(f"{path} is not a socket", "give the path of the engine's socket")
            return Diagnosis(
                f"nothing listens on {path}", "start the engine (the socket is left over from an earlier run)"
            )
        case NotADirectoryError():
            return Diagnosis(f"no socket at {path}: part of the path is not a directory", "check the path")
    return None


def _forbidden(path: str) -> Diagnosis:
    user = pwd.getpwuid(os.geteuid()).pw_name if _known_user() else str(os.geteuid())
    what = f"permission denied on {path}"
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        closed = next(
            (str(p) for p in reversed(Path(path).parents) if not os.access(p, os.X_OK, effective_ids=True)),
            "a directory above",
        )
        return Diagnosis(f"{what}: the user {user} cannot enter {closed}", "run as the user who owns it, or as root")
    if not found.st_mode & stat.S_IWGRP:
        return Diagnosis(f"{what}: only its owner may use it", "run as that user, or as root")
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return Diagnosis(
            f"{what}: only its owner and the group with id {found.st_gid} may use it",
            f"start with that supplementary group (for a container: --group-add {found.st_gid})",
        )
    return Diagnosis(
        f"{what}: only its owner and the group {group!r} may use it",
        f"add the user {user} to the group {group!r} (sudo usermod -aG {group} {user}) and log in again",
    )


def _known_user() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def diagnose_tcp(host: str, port: int, error: BaseException | None) -> Diagnosis | None:
    """Say why a TCP port could not be connected to; ``None`` when the network is not the reason."""
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return Diagnosis(f"cannot resolve {host!r}: no name server responds", "check the network")
        return Diagnosis(f"cannot resolve {host!r}: no name server knows it", "check the name, or use an IP address")
    if isinstance(error, UnicodeError):
        return Diagnosis(f"{shorten(host)!r} is not a valid host name", "check the name")
    if not isinstance(error, OSError):
        return None
    match error.errno:
        case errno.ECONNREFUSED:
            return Diagnosis(
                f"nothing listens on port {port} of {host}",
                "start the engine and make it listen on that port (dockerd -H)",
            )
        case errno.EHOSTUNREACH | errno.ENETUNREACH:
            return Diagnosis(f"no route to {host}", "check the network and its routing")
        case errno.ETIMEDOUT:
            return Diagnosis(
                f"{host} does not respond on port {port}", "check that it is up and no firewall blocks the port"
            )
    return None
