"""Connects to a CA and keeps our account with it. Blocking: call it in a thread."""

from __future__ import annotations

import re
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import requests
from acme import errors, messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from josepy import errors as jose_errors
from josepy import jwa, jwk

from pilotage.certificates.client import AcmeClient, AcmeNetwork, TrustingAdapter
from pilotage.certificates.errors import CertificateError, StorageError
from pilotage.certificates.failures import failure_of
from pilotage.certificates.storage import write_file
from pilotage.certificates.x509 import make_key, pem_of_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotage.certificates.settings import Authority
    from pilotage.certificates.storage import Storage

__all__ = ["Account"]

_T = TypeVar("_T")

_REQUEST_TIMEOUT: Final = 30  # seconds for each request to a CA
_ERRORS: Final = (
    *(messages.Error, errors.Error, requests.RequestException, jose_errors.Error),
    *(ValueError, KeyError),  # the library does not check all that it reads
)
_SKEW: Final = 3600.0  # seconds by which clocks may differ unnoticed


class Account:
    """Our account with one CA, registered or looked up on first use.

    Attributes:
        client: the :class:`~pilotage.certificates.client.AcmeClient`; ``None`` before :meth:`connect`.
        key: the account key.

    """

    client: Any
    key: Any

    def __init__(self, authority: Authority, storage: Storage) -> None:
        self.authority = authority
        self._offset: float | None = None  # the CA's time minus the time since the start of this machine
        self.client = None
        self._storage = storage
        self._retry_after = 0.0
        self._lock = threading.Lock()
        self._connecting = threading.Lock()  # two orders that begin at once must not make two account keys
        self._closed: tuple[float, CertificateError] | None = None  # until when, by the monotonic clock, and why

    @property
    def name(self) -> str:
        """Host name of the CA, for messages."""
        return re.sub(r"^https?://", "", self.authority.directory).partition("/")[0]

    def call(self, step: Callable[[], _T]) -> _T:
        """Run a step of the protocol. Only one step runs at a time.

        Raises:
            CertificateError: the step failed.

        """
        with self._lock:
            self._retry_after = 0.0
            try:
                return step()
            except _ERRORS as error:
                raise failure_of(error, self) from error

    @property
    def skew(self) -> float | None:
        """Seconds by which the CA's clock is ahead of ours; 0 if it is less than an hour.

        ``None`` before the CA has responded. Setting our clock corrects it at once.
        """
        if self._offset is None:
            return None
        ahead = self._offset + _uptime() - time.time()
        return ahead if abs(ahead) > _SKEW else 0.0

    @property
    def retry_after(self) -> float:
        """Seconds to wait, according to the last response; 0 if the response contained no time."""
        return self._retry_after

    def connect(self) -> None:
        """Read the CA's directory, and register an account unless there is one.

        Raises:
            CertificateError: the CA cannot be reached or refuses the account, or the account key cannot be saved.

        """
        with self._connecting:
            if self.client is not None:
                return
            self._check_closed()
            try:
                self._connect()
            except CertificateError as error:
                if error.retry_after > 0:
                    self._closed = time.monotonic() + error.retry_after, error
                raise

    def _check_closed(self) -> None:
        """Raise the CA's refusal again for as long as the CA wants no requests: it concerns every order."""
        if self._closed is None:
            return
        until, error = self._closed
        wait = until - time.monotonic()
        if wait > 0:
            raise CertificateError(error.what, error.hint, retry_after=wait)
        self._closed = None

    def _connect(self) -> None:
        self.key = jwk.JWKRSA(key=key) if isinstance(key := self._key(), rsa.RSAPrivateKey) else jwk.JWKEC(key=key)
        net = AcmeNetwork(self.key, alg=_algorithm(key), user_agent="pilotage (acme-python)", timeout=_REQUEST_TIMEOUT)
        net.session.mount("https://", TrustingAdapter(self._trust()))
        net.session.hooks["response"].append(self._observe)
        directory = self.call(lambda: AcmeClient.get_directory(self.authority.directory, net))
        found = AcmeClient(directory, net)
        self._register(found)
        self.client = found

    def forget_refusal(self) -> None:
        """Ask the CA again, even if it wants no requests yet."""
        self._closed = None

    def forget(self) -> None:
        """Register again before the next order, because the CA no longer knows the account."""
        self.client = None

    def _register(self, found: AcmeClient) -> None:
        binding = None
        if self.authority.eab_kid:
            binding = self.call(
                lambda: messages.ExternalAccountBinding.from_data(
                    self.key.public_key(), self.authority.eab_kid, self.authority.eab_hmac, found.directory
                )
            )
        elif found.external_account_required():
            message = f"{self.name} requires an external account binding"
            raise CertificateError(message, "add eab_kid and eab_hmac, which the CA gives to its customers")
        request = messages.NewRegistration.from_data(
            email=self.authority.email or None, external_account_binding=binding, terms_of_service_agreed=True
        )
        try:
            self.call(lambda: _new_account(found, request))
        except _AlreadyRegistered as known:
            found.net.account = messages.RegistrationResource(body=messages.Registration(), uri=known.location)

    # ---- the account key

    def _key(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
        """Return the account key: the stored key, or else one to take over, or else a new key, which is saved."""
        name = f"accounts/{_file_name(self.authority.directory)}.pem"
        try:
            stored = self._storage.read_file(name)
            if stored is not None:
                return _read_key(stored, str(self._storage.folder / name))
            key = self._taken_over() or make_key("ec256")
            self._storage.write(name, pem_of_key(key))
        except StorageError as error:
            hint = "free some disk space, or give pilotage access to the folder; an account is lost without its key"
            raise CertificateError(f"cannot save the account key: {error}", hint, elsewhere=False) from error
        self._copy(key)
        return key

    def _taken_over(self) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None:
        if not self.authority.account_key:
            return None
        try:
            with Path(self.authority.account_key).open("rb") as file:
                return _read_key(file.read(65_536), self.authority.account_key)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{self.authority.account_key}: {error.strerror}") from error

    def _copy(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        """Write the key to the file that the configuration names, in GoDoxy's format (SEC 1, DER)."""
        path = Path(self.authority.account_key)
        if self.authority.keep_account_key and not path.exists():
            form = serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL
            try:
                write_file(path, key.private_bytes(*form, serialization.NoEncryption()))
            except OSError as error:
                message = f"acme_key_path: {path}: {error.strerror}"
                raise CertificateError(
                    message, "create its folder, or remove acme_key_path", elsewhere=False
                ) from error

    # ---- the connection

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        for file in self.authority.ca_certs:
            try:
                context.load_verify_locations(file)
            except (OSError, ssl.SSLError) as error:
                hint = "write the CA's certificate as PEM"
                raise CertificateError(f"ca_certs: {file} cannot be read: {error}", hint) from error
        return context

    def _observe(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        """Record two facts that the libraries do not pass on: when to retry, and the CA's clock."""
        header = response.headers.get("Retry-After", "")
        self._retry_after = seconds_until(header)
        try:
            sent = parsedate_to_datetime(response.headers["Date"]).timestamp()
            sent += float(response.headers.get("Age", 0))  # caches keep the date
        except (KeyError, ValueError, TypeError, OverflowError):
            return
        self._offset = sent - _uptime()


def _uptime() -> float:
    """Return the seconds since this machine started, including those asleep where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class _AlreadyRegistered(Exception):
    def __init__(self, location: str) -> None:
        self.location = location
        super().__init__(location)


def _new_account(found: AcmeClient, request: messages.NewRegistration) -> None:
    try:
        found.new_account(request)
    except errors.ConflictError as conflict:
        raise _AlreadyRegistered(conflict.location) from conflict


def seconds_until(header: str) -> float:
    """Return the seconds in a ``Retry-After`` header, at most a week; 0 if the header is missing or invalid."""
    try:
        seconds = float(header) if header.isdigit() else parsedate_to_datetime(header).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), 7 * 86_400.0)


def _algorithm(key: object) -> Any:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: jwa.ES256, 384: jwa.ES384, 521: jwa.ES512}[key.curve.key_size]
    return jwa.RS256


def _read_key(content: bytes, path: str) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    """Return a private key in PEM or, as GoDoxy writes it, in DER."""
    load = serialization.load_pem_private_key if b"-----BEGIN" in content else serialization.load_der_private_key
    try:
        key = load(content, password=None)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path} is not a private key without a password") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise StorageError(f"{path} is neither an ECDSA nor an RSA key")
    return key


def _file_name(directory: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", re.sub(r"^https?://", "", directory.lower())).strip("-.")[:150] or "ca"
