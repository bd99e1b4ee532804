"""What each diagnosis says, and what to do about it."""

from __future__ import annotations

import errno
import resource
import socket
import ssl
from typing import TYPE_CHECKING

import msgspec
import pytest

from pilotage.core.errors import EngineIncompatible, EngineRefused, EngineUnreachable
from pilotage.engine.address import Address
from pilotage.engine.diagnosis import (
    BodyTooLargeError,
    ClosedError,
    DiagnosedError,
    Diagnosis,
    DialError,
    EncodedError,
    Request,
    diagnose_tcp,
    diagnose_unix,
    explain,
    refusal,
)
from pilotage.engine.http_response import EngineResponse
from pilotage.engine.http_stream import CutShortError, DisconnectedError, NotHTTPError

if TYPE_CHECKING:
    from pathlib import Path

    from pilotage.core.errors import EngineError

REQUEST = Request("far", Address("tcp", host="h", port=1), "GET /x", 5, 30)
LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
LOG = "check the engine's log, or use tls:// if the port expects TLS"
NO_ENGINE = "check that the address belongs to a container engine"
NO_FILES = f"pilotage is out of file descriptors (limit {LIMIT}); raise the limit (ulimit -n)"
TLS = "tcp://h:1 expects TLS but received plain HTTP; use tls:// and set the certificate files under `tls:`"


def dial(cause: BaseException | None) -> DialError:
    error = DialError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (ClosedError(), EngineUnreachable, "GET /x: the client was closed during the request"),
        (
            BodyTooLargeError(3 * 2**20),
            EngineIncompatible,
            f"the response to GET /x is longer than 3 MiB, more than any engine sends; {NO_ENGINE}",
        ),
        (
            EncodedError("gzip"),
            EngineIncompatible,
            (
                "the response to GET /x is compressed (gzip), which engines never do; "
                "switch compression off in the proxy in front of the engine"
            ),
        ),
        (
            msgspec.DecodeError("bad."),
            EngineIncompatible,
            f"the response to GET /x does not match the Engine API (bad); {NO_ENGINE}",
        ),
        (NotHTTPError(b"SSH-2.0"), EngineIncompatible, f"the response to GET /x is not HTTP; {NO_ENGINE}"),
        (NotHTTPError(b"\x15\x03\x01"), EngineUnreachable, TLS),
        (
            DisconnectedError(),
            EngineUnreachable,
            f"the connection was closed before the response to GET /x arrived; {LOG}",
        ),
        (
            CutShortError(),
            EngineUnreachable,
            "the response to GET /x was cut short; check the log of the engine or of the proxy in front of it",
        ),
        (
            TimeoutError(),
            EngineUnreachable,
            "no response to GET /x within 30 s; the engine hangs or is overloaded: check its log",
        ),
        (
            OSError(errno.ENOTCONN, "x"),
            EngineUnreachable,
            "the engine accepts no more connections: its queue is full; it hangs or is suspended: check its log",
        ),
        (OSError(errno.EPIPE, "x"), EngineUnreachable, f"the connection was reset during GET /x; {LOG}"),
        (OSError(errno.ESHUTDOWN, "x"), EngineUnreachable, f"the connection was reset during GET /x; {LOG}"),
        (OSError(errno.ECONNABORTED, "x"), EngineUnreachable, f"the connection was reset during GET /x; {LOG}"),
        (OSError(errno.ENFILE, "x"), EngineUnreachable, NO_FILES),
        (OSError(errno.EIO, "x"), EngineUnreachable, "GET /x failed (Input/output error)"),
        (OSError(-1, "odd"), EngineUnreachable, "GET /x failed (odd)"),
        (dial(DiagnosedError(Diagnosis("it rains", "wait"))), EngineUnreachable, "it rains; wait"),
        (
            dial(TimeoutError()),
            EngineUnreachable,
            "could not connect to tcp://h:1 within 5 s; check that the machine is up and no firewall blocks the port",
        ),
        (dial(OSError(errno.EMFILE, "x")), EngineUnreachable, NO_FILES),
        (
            dial(ConnectionResetError()),
            EngineUnreachable,
            f"the connection to tcp://h:1 was closed during connection setup; {LOG}",
        ),
        (
            dial(socket.gaierror(socket.EAI_FAIL)),
            EngineUnreachable,
            "cannot connect to tcp://h:1 (name resolution failed)",
        ),
        (dial(RuntimeError("secret")), EngineUnreachable, "cannot connect to tcp://h:1 (RuntimeError)"),
        (dial(None), EngineUnreachable, "cannot connect to tcp://h:1 (no reason given)"),
        (ssl.SSLError(1, "x"), EngineUnreachable, "GET /x failed (TLS: broken)"),
    ],
    ids=repr,
)
def test_an_exception_becomes_one_sentence_and_a_remedy(error: Exception, kind: type[EngineError], said: str) -> None:
    found = explain(error, REQUEST)
    assert (type(found), str(found)) == (kind, f"far: {said}")


def test_only_a_tcp_address_may_be_one_for_tls() -> None:
    over_unix = Request("far", Address("unix", path="/s"), "GET /x", 5, 30)
    assert str(explain(DisconnectedError(), over_unix)).endswith("arrived; check the engine's log")


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (
            socket.gaierror(socket.EAI_AGAIN, "x"),
            Diagnosis("cannot resolve 'h': no name server responds", "check the network"),
        ),
        (
            socket.gaierror(socket.EAI_NONAME, "x"),
            Diagnosis("cannot resolve 'h': no name server knows it", "check the name, or use an IP address"),
        ),
        (UnicodeError(), Diagnosis("'h' is not a valid host name", "check the name")),
        (
            OSError(errno.ECONNREFUSED, "x"),
            Diagnosis(
                "nothing listens on port 1 of h", "start the engine and make it listen on that port (dockerd -H)"
            ),
        ),
        (OSError(errno.EHOSTUNREACH, "x"), Diagnosis("no route to h", "check the network and its routing")),
        (OSError(errno.ENETUNREACH, "x"), Diagnosis("no route to h", "check the network and its routing")),
        (
            OSError(errno.ETIMEDOUT, "x"),
            Diagnosis("h does not respond on port 1", "check that it is up and no firewall blocks the port"),
        ),
        (OSError(errno.EPERM, "x"), None),
        (None, None),
    ],
    ids=repr,
)
def test_a_failed_tcp_connection_has_a_remedy(error: BaseException | None, found: Diagnosis | None) -> None:
    assert diagnose_tcp("h", 1, error) == found


def test_a_failed_connection_to_a_socket_has_a_remedy(tmp_path: Path) -> None:
    file, missing = tmp_path / "file", tmp_path / "missing"
    file.touch()
    assert diagnose_unix(str(missing), FileNotFoundError()) == Diagnosis(
        f"no socket at {missing}", "start the engine, or set its address if it listens elsewhere"
    )
    assert diagnose_unix(str(file), ConnectionRefusedError()) == Diagnosis(
        f"{file} is not a socket", "give the path of the engine's socket"
    )
    assert diagnose_unix(str(missing), ConnectionRefusedError()) == Diagnosis(
        f"nothing listens on {missing}", "start the engine (the socket is left over from an earlier run)"
    )
    assert diagnose_unix(f"{file}/s", NotADirectoryError()) == Diagnosis(
        f"no socket at {file}/s: part of the path is not a directory", "check the path"
    )
    assert diagnose_unix(str(file), None) is None


class Source:
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@pytest.mark.parametrize(
    ("status", "reason", "headers", "body", "said"),
    [
        (
            302,
            "Found",
            {"location": "/login"},
            b"",
            "GET /x was redirected to /login, which engines never do; use the engine's own address",
        ),
        (300, "", {}, b"", "GET /x was redirected to nowhere, which engines never do; use the engine's own address"),
        (400, "Bad Request", {}, b"Client sent an HTTP request to an HTTPS server.", TLS),
        (400, "Bad Request", {"content-type": "text/plain"}, b" odd ", "GET /x returned 400 Bad Request: odd"),
        (
            403,
            "",
            {"content-type": "text/html"},
            b"<html>",
            "GET /x returned 403; if a socket proxy is in front of the engine, allow GET /x there",
        ),
        (
            401,
            "Unauthorized",
            {},
            b"",
            "GET /x returned 401 Unauthorized; engines never ask for a login: check what is in front of the engine",
        ),
        (407, "", {}, b"", "GET /x returned 407; engines never ask for a login: check what is in front of the engine"),
        (
            404,
            "Not Found",
            {"content-type": "application/json"},
            b'{"message": "no x"}',
            "GET /x returned 404 Not Found: no x",
        ),
        (404, "", {"content-type": "application/json"}, b"[", "GET /x returned 404"),
        (500, "", {}, b"", "GET /x returned 500; check the engine's log"),
        (499, "", {}, b"", "GET /x returned 499"),
    ],
)
def test_an_unsuccessful_response_becomes_one_sentence_and_a_remedy(
    status: int, reason: str, headers: dict[str, str], body: bytes, said: str
) -> None:
    found = refusal(REQUEST, EngineResponse(status, reason, headers, Source()), body)
    assert str(found) == f"far: {said}"
    if isinstance(found, EngineRefused):
        assert found.status == status
