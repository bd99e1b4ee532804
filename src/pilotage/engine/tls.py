"""Makes TLS contexts for engines: loads certificate files and reloads them when they change."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, NoReturn

from pilotage.core.text import shorten
from pilotage.engine.archive import load_pair, read_archive
from pilotage.engine.credentials import CredentialsError
from pilotage.engine.diagnosis import DiagnosedError, Diagnosis

if TYPE_CHECKING:
    from pilotage.engine.config import TLSFiles
    from pilotage.engine.credentials import Credentials

__all__ = ["TLSMaterial", "agent_context"]


class _LockedKeyError(Exception):
    """A private key is encrypted. pilotage never asks for a passphrase."""


class TLSMaterial:
    """Certificate files, cached as an ``SSLContext`` until one of them changes.

    Args:
        files: certificate files; ``None`` for the system's CAs and no client certificate.
        protocol: the protocol to negotiate (ALPN).

    """

    def __init__(self, files: TLSFiles | None, protocol: str = "http/1.1") -> None:
        self.files = files
        self._protocol = protocol
        self._context: ssl.SSLContext | None = None
        self._state: tuple[object, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return a context with the current contents of the files.

        Raises:
            DiagnosedError: a file is missing, unreadable, not PEM or encrypted, or the key does not match the
                certificate. The message names the file.

        """
        state = self._look()
        if self._context is None or state != self._state:
            self._context, self._state = self._load(), state
        return self._context

    def _look(self) -> tuple[object, ...]:
        """Return the files' inodes, sizes and times. At least one of these changes when a file is renewed."""
        if self.files is None:
            return ()
        state: list[object] = []
        for what, path in (
            ("CA file", self.files.ca_file),
            ("certificate", self.files.cert_file),
            ("key", self.files.key_file),
            ("archive", self.files.zip_file),
        ):
            if not path:
                continue
            try:
                found = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                _fail(f"the {what} {path} does not exist", "check the path")
            except OSError as error:
                _fail(f"the {what} {path} cannot be read ({error.strerror})", "check its owner and mode")
            state.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(state)

    def _load(self) -> ssl.SSLContext:
        files = self.files
        if files is None:
            return self._context_for("")
        if files.zip_file:
            try:
                credentials = read_archive(files.zip_file)
                context = self._context_for(files.zip_file, credentials.ca_text)
                load_pair(context, credentials, files.zip_file)
            except CredentialsError as error:
                _fail(error.what, error.remedy)
            return context
        context = self._context_for(files.ca_file)
        if files.cert_file:
            self._load_pair(context, files.cert_file, files.key_file)
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _context_for(self, ca_file: str, ca: str = "") -> ssl.SSLContext:
        """Return a context that trusts the CA in ``ca``, or else in ``ca_file``, or else the system's CAs."""
        try:
            context = ssl.create_default_context(cafile=None if ca else ca_file or None, cadata=ca or None)
        except ssl.SSLError:
            _fail(f"the CA file {ca_file} contains no certificate", "use a PEM file (-----BEGIN CERTIFICATE-----)")
        except OSError as error:
            _fail(f"the CA file {ca_file} cannot be read ({error.strerror})", "check its owner and mode")
        context.set_alpn_protocols([self._protocol])
        if ca_file:
            # Python 3.13 requires extensions that CAs created with Docker's instructions lack. Trust the configured CA
            # as it is, even an intermediate one. All other checks still apply.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    def _load_pair(self, context: ssl.SSLContext, cert: str, key: str) -> None:
        def no_password() -> str:
            raise _LockedKeyError

        for path in (cert, key):  # load_cert_chain does not report which file is unreadable
            if not os.access(path, os.R_OK, effective_ids=True):
                _fail(f"this user cannot read {path}", "check its owner and mode")
        try:
            context.load_cert_chain(cert, key, password=no_password)
        except _LockedKeyError:
            _fail(f"the key {key} is encrypted with a passphrase", "use a key without one (openssl pkey -in … -out …)")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                _fail(f"the key {key} does not belong to the certificate {cert}", "use the certificate's own key")
            _fail(
                f"{cert} and {key} are not a certificate and its key in PEM form ({shorten(error.reason or '')})",
                "check that the files were not swapped or damaged",
            )


def agent_context(credentials: Credentials, protocol: str) -> ssl.SSLContext:
    """Return a context for connections to an agent.

    Args:
        credentials: the agent's CA, and the client's certificate and key.
        protocol: the protocol to negotiate (ALPN).

    Raises:
        CredentialsError: the certificate and key are not valid.
        OSError: the CA is not valid.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=credentials.ca_text)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # GoDoxy's certificates have no key identifiers
    load_pair(context, credentials, "the archive")
    context.set_alpn_protocols([protocol])
    return context


def _fail(what: str, remedy: str) -> NoReturn:
    raise DiagnosedError(Diagnosis(what, remedy))
