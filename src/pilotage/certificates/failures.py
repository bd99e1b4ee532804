"""Explains errors of the ACME libraries: the CA's own words, and what to check."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import requests
from acme import errors, messages

from pilotage.certificates.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["failure_of", "failure_of_names"]

_HOUR: Final = 3600.0

_POINT: Final = "check that the domain's DNS records point to this machine and that no other proxy is in front"
_HINTS: Final = {
    "accountDoesNotExist": "pilotage registers the account again at the next attempt",
    "badCSR": "choose another certificate_key_type",
    "badPublicKey": "choose another certificate_key_type, or remove the account's key file to make a new one",
    "caa": "add this CA to the CAA records of the domain, or remove them",
    "connection": "check that the domain's DNS records point to this machine, and that the Internet can reach its port",
    "dns": "check that the domain exists and that its name servers respond",
    "dnssec": "check the domain's DNSSEC signatures",
    "externalAccountRequired": "add eab_kid and eab_hmac, which the CA gives to its customers",
    "incorrectResponse": _POINT,
    "invalidContact": "correct autocert.email",
    "invalidEmail": "correct autocert.email",
    "rateLimited": "wait; pilotage tries again when the CA allows it",
    "rejectedIdentifier": "remove the name from autocert.domains, or exclude its route",
    "tls": "check that the Internet can reach the HTTPS port of this machine",
    "unauthorized": _POINT,
    "unknownHost": "check that the domain exists",
    "unsupportedContact": "correct autocert.email",
    "unsupportedIdentifier": "remove the name from autocert.domains, or exclude its route",
    "userActionRequired": "follow the CA's instructions",
}
_DNS_HINT: Final = (
    "check that the provider's token may edit the zone, and that the zone's name servers are the provider's"
)
_ELSEWHERE: Final = frozenset({"rateLimited", "serverInternal", "userActionRequired", "externalAccountRequired"})
_NAMES: Final = frozenset({"rejectedIdentifier", "unsupportedIdentifier", "caa"})


class Source(Protocol):
    """The account that ran the failed step."""

    @property
    def name(self) -> str:
        """Host name of the CA."""

    @property
    def retry_after(self) -> float:
        """Seconds to wait, according to the CA's last response; 0 if the response contained no time."""


def failure_of(error: Exception, source: Source) -> CertificateError:
    """Return the error for operators that corresponds to an error of the libraries."""
    if isinstance(error, messages.Error):
        return _refusal(error, source)
    if isinstance(error, errors.IssuanceError):
        return _refusal(error.error, source)
    if isinstance(error, (errors.TimeoutError, requests.Timeout)):
        return CertificateError(f"{source.name} did not respond in time", "pilotage tries again")
    if isinstance(error, requests.exceptions.SSLError):
        why = _reason(error)
        return CertificateError(f"the certificate of {source.name} is not trusted: {why}", _hint_of_distrust(why))
    if isinstance(error, requests.RequestException):
        hint = "check ca_dir_url and this machine's connection; pilotage tries again"
        return CertificateError(f"cannot reach {source.name}: {_reason(error)}", hint)
    response = error.args[0] if error.args and isinstance(error, errors.ClientError) else None
    if isinstance(response, requests.Response) and response.status_code >= HTTPStatus.TOO_MANY_REQUESTS:
        return _overloaded(response, source)
    message = f"{source.name} sent an invalid response: {_reason(error)}"
    return CertificateError(message, "check that ca_dir_url is an ACME directory", retry_after=source.retry_after)


def _hint_of_distrust(why: str) -> str:
    if "expired" not in why and "not yet valid" not in why:
        return "add the CA's own CA to ca_certs"
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"check this machine's clock, which shows {shown}; if it is right, the CA has to renew its own certificate"


def _overloaded(response: requests.Response, source: Source) -> CertificateError:
    """Return the error for a status that a server in front of the CA sends, without a problem document."""
    status = f"{response.status_code} {response.reason or ''}".strip()
    limited = response.status_code == HTTPStatus.TOO_MANY_REQUESTS
    hint = _HINTS["rateLimited"] if limited else "pilotage tries again; see the CA's status page"
    wait = source.retry_after or (_HOUR if limited else 0.0)
    return CertificateError(f"{source.name} responded with the status {status}", hint, retry_after=wait)


def _refusal(error: messages.Error, source: Source) -> CertificateError:
    code = error.code or ""
    names = frozenset(_blamed(error)) if code in _NAMES or error.subproblems else frozenset()
    wait = source.retry_after
    if code == "rateLimited" and not wait:
        wait = _HOUR
    deactivated = code == "unauthorized" and "deactivated" in (error.detail or "").lower()
    hint = _HINTS.get(code, "")
    if deactivated or (code == "unauthorized" and "account" in (error.detail or "").lower()):
        hint = "the account was revoked; remove its file from the folder accounts to register a new one"
    return CertificateError(
        f"{source.name}: {_words(error)}",
        hint,
        names=names,
        retry_after=wait,
        elsewhere=code in _ELSEWHERE or not names,
    )


def failure_of_names(found: dict[str, messages.Error], source: Source, method: str) -> CertificateError:
    """Return the error for names that the CA could not validate.

    Args:
        found: host name -> the CA's error.
        source: the account that ran the step.
        method: ``http-01``, ``tls-alpn-01`` or ``dns-01``.

    """
    name, error = next(iter(found.items()))
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    hint = _DNS_HINT if method == "dns-01" else _HINTS.get(error.code or "", _HINTS["connection"])
    if error.code == "connection" and method != "dns-01":
        hint = f"{hint}: {'80' if method == 'http-01' else '443'}"
    return CertificateError(
        f"{source.name} could not validate {name}{more}: {_words(error)}",
        hint,
        names=frozenset(found),
        validated=True,
        retry_after=source.retry_after,
        elsewhere=False,
    )


def _words(error: messages.Error) -> str:
    """Return the CA's message, with its subproblems."""
    code = error.code or error.typ or "error"
    text = (error.detail or error.title or error.description or "no details").rstrip(".")
    parts = [f"{text} ({code})"]
    parts += [f"{it.identifier.value if it.identifier else ''}: {it.detail}" for it in (error.subproblems or ())[:5]]
    return "; ".join(part.rstrip(".") for part in parts)


def _blamed(error: messages.Error) -> Iterator[str]:
    for problem in (error, *(error.subproblems or ())):
        if problem.identifier is not None:
            yield problem.identifier.value.lower()


def _reason(error: BaseException) -> str:
    """Return the innermost reason of an error. The outer texts of ``requests`` are long and repetitive."""
    inner: BaseException = error
    for _ in range(8):
        reason = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(reason, BaseException):
            break
        inner = reason
    return str(inner) or type(inner).__name__
