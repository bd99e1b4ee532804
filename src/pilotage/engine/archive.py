"""Reads an agent's certificates from the archive that GoDoxy keeps, ``certs/<host:port>.zip``.

Its members are ``ca.pem`` (a CA for this agent only), ``cert.pem`` (the client's certificate) and ``key.pem`` (the
client's key).
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import zipfile
import zlib
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from pilotage.core.text import shorten
from pilotage.engine.credentials import Credentials, CredentialsError
from pilotage.engine.x509 import parse_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pilotage.engine.config import TLSFiles
    from pilotage.engine.x509 import Certificate

__all__ = ["check_credentials", "load_pair", "read_archive", "read_credentials"]

_MEMBERS: Final = ("ca.pem", "cert.pem", "key.pem")
_LARGEST_ARCHIVE: Final = 1024 * 1024
_LARGEST_MEMBER: Final = 128 * 1024
_CREATE: Final = "copy it again from the certs folder of GoDoxy, or create it with 'pilotage agent create'"


def read_credentials(files: TLSFiles) -> Credentials:
    """Read an agent's certificates from its archive or from separate files.

    Raises:
        CredentialsError: a file is missing, unreadable or damaged, or lacks a member.

    """
    if files.zip_file:
        return read_archive(files.zip_file)
    return Credentials(*(_read(path) for path in (files.ca_file, files.cert_file, files.key_file)))


def read_archive(path: str) -> Credentials:
    """Read an agent's certificates from an archive. Raises CredentialsError like :func:`read_credentials`."""
    body = _read(path)
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(BytesIO(body)) as archive:
            for name in _MEMBERS:
                with contextlib.suppress(KeyError), archive.open(name) as member:
                    found[name] = member.read(_LARGEST_MEMBER + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError, ValueError) as error:
        _fail(f"{path} is not a readable archive ({shorten(error, 80)})", _CREATE)
    if missing := [name for name in _MEMBERS if not found.get(name)]:
        _fail(f"{path} has no {' and no '.join(missing)}", _CREATE)
    if large := [name for name, content in found.items() if len(content) > _LARGEST_MEMBER]:
        _fail(f"{large[0]} in {path} is larger than {_LARGEST_MEMBER // 1024} KiB", _CREATE)
    return Credentials(*(found[name] for name in _MEMBERS))


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            body = file.read(_LARGEST_ARCHIVE + 1)
    except FileNotFoundError:
        _fail(f"{path} does not exist", _CREATE if path.endswith(".zip") else "check the path")
    except OSError as error:
        _fail(f"{path} cannot be read ({error.strerror})", "check its owner and mode")
    if len(body) > _LARGEST_ARCHIVE:
        _fail(f"{path} is larger than {_LARGEST_ARCHIVE // 1024} KiB", _CREATE)
    return body


def load_pair(context: ssl.SSLContext, credentials: Credentials, place: str) -> None:
    """Load the client's certificate and key into a context.

    Args:
        context: the context.
        credentials: contain the certificate and key.
        place: the file that they come from, for messages.

    Raises:
        CredentialsError: the certificate or key is invalid, the two do not belong together, or the key has a
            passphrase.

    """
    locked = False

    def no_password() -> str:
        nonlocal locked
        locked = True
        return ""

    with _as_file(credentials.cert + b"\n" + credentials.key) as path:
        try:
            context.load_cert_chain(path, password=no_password)
        except ssl.SSLError as error:
            if locked:
                _fail(f"the key in {place} is encrypted with a passphrase", "use a key without one")
            if error.reason == "KEY_VALUES_MISMATCH":
                _fail(f"the key in {place} does not belong to its certificate", _CREATE)
            _fail(f"{place} has no valid certificate and key in PEM form ({shorten(error.reason or '')})", _CREATE)


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give content a path, because ``ssl`` reads keys only from files. On Linux, the content never reaches a disk."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("pilotage", os.MFD_CLOEXEC), "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.NamedTemporaryFile(prefix="pilotage-") as file:  # of mode 0600
        file.write(content)
        file.flush()
        yield file.name


def check_credentials(files: TLSFiles) -> Credentials:
    """Read an agent's certificates and check them without connecting.

    Raises:
        CredentialsError: the certificates cannot be read, do not belong together, are not valid now, or would be
            refused by an agent.

    """
    credentials = read_credentials(files)
    place = files.zip_file or files.cert_file
    cas = parse_certificates(credentials.ca_text)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_verify_locations(cadata=credentials.ca_text)
    except (ssl.SSLError, ValueError):  # a certificate is damaged, or there is none
        cas = []
    if not cas:
        _fail(f"{files.zip_file or files.ca_file} has no CA certificate in PEM form", _CREATE)
    load_pair(server, credentials, place)
    own, now = credentials.client, datetime.now(UTC)
    for what, certificate in (("CA", cas[0]), ("certificate", own)):
        if certificate is None or not certificate.not_before <= now <= certificate.not_after:
            period = "" if certificate is None else f" (valid {_period(certificate)})"
            _fail(f"the {what} in {place} is not valid now{period}", "create new ones, or check the clock")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if error := _handshake(server, credentials):
        why = "" if own is None or own.for_clients else ", because it is not valid for clients"
        _fail(f"the certificate in {place} does not verify against its CA{why or f' ({shorten(error)})'}", _CREATE)
    return credentials


def _period(certificate: Certificate) -> str:
    return f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}"


def _handshake(server: ssl.SSLContext, credentials: Credentials) -> str:
    """Present the client's certificate to a server in memory. Return the server's error, ``""`` if there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the other end is this function
    load_pair(context, credentials, "")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (context.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    done = [False, False]
    for _ in range(10):
        for index, end in enumerate(ends):
            try:
                end.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return (getattr(error, "verify_message", "") or error.reason or "it is refused").lower()
    return "" if all(done) else "no handshake"


def _fail(what: str, remedy: str) -> NoReturn:
    raise CredentialsError(what, remedy)
