"""Converts failures of engine requests to EngineError, with a message and a remedy for the operator.

A :class:`Diagnosis` says what failed and how to fix it; :func:`explain` converts any exception that a request raises.
Details that only one transport knows (a socket's group, ssh's output, a certificate's dates) come from its dialer.
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
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from pilotage.core.errors import EngineError, EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.core.text import shorten
from pilotage.engine.address import Address
from pilotage.engine.http_stream import CutShortError, DisconnectedError, NotHTTPError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "OURS",
    "BodyTooLargeError",
    "ClosedError",
    "DiagnosedError",
    "Diagnosis",
    "DialError",
    "EncodedError",
    "Request",
    "diagnose_tcp",
    "diagnose_unix",
    "explain",
    "refusal",
    "renamed",
]


class DialError(Exception):
    """No stream could be opened; ``__cause__`` explains why."""


class ClosedError(Exception):
    """The client was closed during a request."""


class BodyTooLargeError(Exception):
    """A response exceeded its size limit.

    Args:
        limit: maximum size in bytes.

    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class EncodedError(Exception):
    """A response is compressed although the request asked for ``identity``.

    Args:
        encoding: its ``Content-Encoding``.

    """

    def __init__(self, encoding: str) -> None:
        super().__init__(encoding)
        self.encoding = encoding


class Diagnosis(msgspec.Struct, frozen=True):
    """What failed and how to fix it: two texts without a full stop, as in EngineError."""

    what: str
    remedy: str = ""


class DiagnosedError(Exception):
    """A dialer found the problem before it opened a stream.

    Args:
        diagnosis: the problem and its remedy.

    """

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis)
        self.diagnosis = diagnosis


OURS: Final = (DialError, ClosedError, BodyTooLargeError, EncodedError, NotHTTPError)
"""Internal exceptions of the engine package. :func:`explain` converts them."""


class Request(msgspec.Struct, frozen=True):
    """A request as messages describe it.

    Attributes:
        engine: the engine's name.
        address: the engine's address.
        line: method and path without the query, e.g. ``GET /containers/json``.
        connect_timeout, timeout: time limits in seconds.

    """

    engine: str
    address: Address
    line: str
    connect_timeout: float
    timeout: float


def renamed(error: EngineError, engine: str) -> EngineError:
    """Return the same error with another name for the engine."""
    if isinstance(error, EngineRefused):
        return EngineRefused(engine, error.what, error.remedy, status=error.status)
    return type(error)(engine, error.what, error.remedy)


# ---- exceptions ----------------------------------------------------------------------------------------------------

_LOST: Final = {errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN}
_TLS_RECORD: Final = b"\x15\x03"  # the beginning of a TLS alert


def explain(error: BaseException, request: Request, diagnosis: Diagnosis | None = None) -> EngineError:
    """Convert an exception that a request raised to EngineError. Messages never contain response bodies.

    Args:
        error: an exception from this package, asyncio or the system; an EngineError is returned unchanged.
        request: the request that failed.
        diagnosis: the dialer's diagnosis, if it has one.

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
        case EncodedError():
            what = (
                f"the response to {request.line} is compressed ({shorten(error.encoding, 40)}), which engines never do"
            )
            return EngineIncompatible(
                request.engine, what, "switch compression off in the proxy in front of the engine"
            )
        case msgspec.DecodeError() | UnicodeDecodeError() | RecursionError():
            what = f"the response to {request.line} does not match the Engine API ({_json_error(error)})"
            return EngineIncompatible(request.engine, what, "check that the address belongs to a container engine")
        case NotHTTPError():
            return _not_http(error, request)
        case DisconnectedError():
            what = f"the connection was closed before the response to {request.line} arrived"
            return EngineUnreachable(request.engine, what, _see_log(request))
        case CutShortError():
            what = f"the response to {request.line} was cut short"
            return EngineUnreachable(request.engine, what, "check the log of the engine or of the proxy in front of it")
    return EngineUnreachable(request.engine, *_system(error, request))


def _dial(error: BaseException | None, request: Request) -> tuple[str, str]:
    """Return why no stream could be opened, and a remedy, if the dialer has no diagnosis."""
    if isinstance(error, DiagnosedError):
        return error.diagnosis.what, error.diagnosis.remedy
    if isinstance(error, TimeoutError) and error.errno is None:
        what = f"could not connect to {request.address} within {request.connect_timeout:g} s"
        return what, "check that the machine is up and no firewall blocks the port"
    if isinstance(error, OSError) and error.errno in {errno.EMFILE, errno.ENFILE}:
        return _no_descriptor()
    if isinstance(error, ConnectionError):
        return f"the connection to {request.address} was closed during connection setup", _see_log(request)
    return f"cannot connect to {request.address} ({_describe(error)})", ""


def _see_log(request: Request) -> str:
    return "check the engine's log" + (
        ", or use tls:// if the port expects TLS" if request.address.scheme == "tcp" else ""
    )


def _system(error: BaseException, request: Request) -> tuple[str, str]:
    """Return why an open stream failed, and a remedy."""
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
    return f"{request.line} failed ({_describe(error)})", ""


def _not_http(error: NotHTTPError, request: Request) -> EngineError:
    if error.args[0].startswith(_TLS_RECORD):
        what = f"{request.address} expects TLS but received plain HTTP"
        return EngineUnreachable(request.engine, what, "use tls:// and set the certificate files under `tls:`")
    what = f"the response to {request.line} is not HTTP"
    return EngineIncompatible(request.engine, what, "check that the address belongs to a container engine")


def _no_descriptor() -> tuple[str, str]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"pilotage is out of file descriptors (limit {soft})", "raise the limit (ulimit -n)"


def _json_error(error: Exception) -> str:
    return shorten(str(error).rstrip("."), 120)


def _describe(error: BaseException | None) -> str:
    """Return the system's description of an exception, which never includes a response body."""
    if isinstance(error, socket.gaierror):
        return error.strerror or "name resolution failed"
    tls = next((e for e in (error, error and error.__cause__) if isinstance(e, ssl.SSLError)), None)
    if tls is not None:  # its errno is OpenSSL's, not the system's
        return f"TLS: {(getattr(tls, 'reason', None) or 'broken').replace('_', ' ').lower()}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else shorten(error.strerror or "")
    return type(error).__name__ if error is not None else "no reason given"


# ---- error responses -----------------------------------------------------------------------------------------------

_TLS_WANTED: Final = b"Client sent an HTTP request to an HTTPS server"


class ErrorResponse(Protocol):
    """The parts of an unsuccessful response that :func:`refusal` reads."""

    status: int
    reason: str
    headers: Mapping[str, str]  # by name in lower case

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        ...


class _ErrorBody(msgspec.Struct):
    """Body of an engine's error response. Docker sends only ``message``; it is also Podman's most useful field."""

    message: str = ""


def refusal(request: Request, response: ErrorResponse, body: bytes) -> EngineError:
    """Convert an unsuccessful response to an error.

    Args:
        request: the request.
        response: the response; its body is not read here.
        body: the first kilobytes of the body.

    """
    status = response.status
    if 300 <= status < 400:
        target = shorten(response.headers.get("location", "nowhere"))
        what = f"{request.line} was redirected to {target}, which engines never do"
        return EngineIncompatible(request.engine, what, "use the engine's own address")
    if status == 400 and body.startswith(_TLS_WANTED):
        what = f"{request.address} expects TLS but received plain HTTP"
        return EngineUnreachable(request.engine, what, "use tls:// and set the certificate files under `tls:`")
    reply = _error_message(response.content_type, body)
    what = f"{request.line} returned {status} {shorten(response.reason or '')}".rstrip()
    if reply:
        what += f": {reply}"
    remedy = ""
    if status == 403:
        remedy = f"if a socket proxy is in front of the engine, allow {request.line} there"
    elif status in {401, 407}:
        remedy = "engines never ask for a login: check what is in front of the engine"
    elif status >= 500:
        remedy = "check the engine's log"
    return EngineRefused(request.engine, what, remedy, status=status)


def _error_message(content_type: str, body: bytes) -> str:
    """Return the engine's error message; ``""`` for HTML pages and other content types."""
    if content_type == "application/json":
        try:
            return shorten(msgspec.json.decode(body, type=_ErrorBody).message.strip(), 200)
        except msgspec.DecodeError:
            return ""
    if content_type == "text/plain":
        return shorten(body.decode(errors="replace").strip(), 200)
    return ""


# ---- transports ----------------------------------------------------------------------------------------------------


def diagnose_unix(path: str, error: BaseException | None) -> Diagnosis | None:
    """Diagnose a failed connection to a Unix socket. Return None if the socket is not the cause."""
    match error:
        case FileNotFoundError():
            return Diagnosis(f"no socket at {path}", "start the engine, or set its address if it listens elsewhere")
        case PermissionError():
            return _forbidden(path)
        case ConnectionRefusedError():
            try:
                is_socket = stat.S_ISSOCK(os.stat(path).st_mode)  # noqa: PTH116
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
        return Diagnosis(
            f"{what}: the user {user} cannot enter {closed}", "run as the owner of that directory, or as root"
        )
    if not found.st_mode & stat.S_IWGRP:
        return Diagnosis(f"{what}: only its owner may use it", "run as that user, or as root")
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        return Diagnosis(
            f"{what}: only its owner and the group with id {found.st_gid} may use it",
            f"start with that supplementary group (for a container: --group-add {found.st_gid})",
        )
    if found.st_gid == 0:  # nobody should join root's group for this
        return Diagnosis(f"{what}: only its owner and the group {group!r} may use it", "run as that user, or as root")
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
    """Diagnose a failed TCP connection. Return None if the network is not the cause."""
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
