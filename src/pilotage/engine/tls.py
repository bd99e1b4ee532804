"""TLS towards engines: certificate files into an ``SSLContext``, read anew when they change."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final, NoReturn

from pilotage.errors import EngineUnreachable
from pilotage.problems import shorten

if TYPE_CHECKING:
    from pilotage.engine.address import TLSFiles

__all__ = ["TLSMaterial"]

_STRICT: Final = ssl.VERIFY_X509_STRICT


class _LockedKeyError(Exception):
    """A private key wants a password. Nobody is asked for one."""


class TLSMaterial:
    """Whom to trust and what to show, kept as an ``SSLContext`` until one of the files changes.

    Args:
        engine: the engine's address, for messages.
        files: the certificate files; ``None`` for the system's CAs and no client certificate.

    """

    def __init__(self, engine: str, files: TLSFiles | None) -> None:
        self.engine = engine
        self.files = files
        self._context: ssl.SSLContext | None = None
        self._state: tuple[object, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return a context that fits the files as they are now.

        Raises:
            EngineUnreachable: a file is missing, unreadable, no PEM, locked with a password, or does not belong to
                the others. The message names it.

        """
        state = self._look()
        if self._context is None or state != self._state:
            self._context, self._state = self._load(), state
        return self._context

    def _look(self) -> tuple[object, ...]:
        """Return what changes when a file does: renewals replace files (inode) or rewrite them (time, size)."""
        if self.files is None:
            return ()
        state: list[object] = []
        for what, path in (
            ("CA file", self.files.ca_file),
            ("certificate", self.files.cert_file),
            ("key", self.files.key_file),
        ):
            if not path:
                continue
            try:
                found = os.stat(path)  # noqa: PTH116
            except FileNotFoundError:
                self._fail(f"the {what} {path} does not exist", "check the path")
            except OSError as error:
                self._fail(f"the {what} {path} cannot be read ({error.strerror})", "check its owner and mode")
            state.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return tuple(state)

    def _load(self) -> ssl.SSLContext:
        files = self.files
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if files is None:
            return context
        if files.ca_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.set_alpn_protocols(["http/1.1"])
            # Python 3.13 is strict by default about extensions that CAs made by Docker's own recipe do not have. A CA
            # that the user named is trusted as it is; all other checks stay.
            context.verify_flags &= ~_STRICT
            self._load_ca(context, files.ca_file)
        if files.cert_file:
            self._load_pair(context, files.cert_file, files.key_file)
        if not files.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _load_ca(self, context: ssl.SSLContext, path: str) -> None:
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError:
            self._fail(f"the CA file {path} holds no certificate", "give a PEM file (-----BEGIN CERTIFICATE-----)")
        except OSError as error:
            self._fail(f"the CA file {path} cannot be read ({error.strerror})", "check its owner and mode")

    def _load_pair(self, context: ssl.SSLContext, cert: str, key: str) -> None:
        def no_password() -> str:
            raise _LockedKeyError

        for path in (cert, key):  # load_cert_chain does not say which of the two it cannot read
            if not os.access(path, os.R_OK):
                self._fail(f"{path} may not be read by this user", "check its owner and mode")
        try:
            context.load_cert_chain(cert, key, password=no_password)
        except _LockedKeyError:
            self._fail(f"the key {key} is locked with a password", "give a key without one (openssl pkey -in … -out …)")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                self._fail(f"the key {key} does not belong to the certificate {cert}", "give the key made with it")
            self._fail(
                f"{cert} and {key} are not a certificate and its key in PEM form ({shorten(error.reason or '')})",
                "check that the files were not swapped or damaged",
            )

    def _fail(self, what: str, remedy: str) -> NoReturn:
        raise EngineUnreachable(self.engine, what, remedy)
