"""Answers a CA's challenges: by Envoy (HTTP-01, TLS-ALPN-01) or by a DNS record (DNS-01)."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from acme import challenges as acme

from pilotage.certificates.dns import DnsZoneEditor
from pilotage.certificates.errors import CertificateError, StorageError
from pilotage.certificates.records import Record, RecordJournal
from pilotage.certificates.threads import in_thread
from pilotage.certificates.x509 import alpn_certificate
from pilotage.core.errors import GatewayError
from pilotage.xds.served_certificates import CertificatePair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from pilotage.certificates.settings import DnsSettings, Method

__all__ = ["Gateway", "Solver", "challenge_for", "remove_record"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_ENVOYS: Final = 30.0  # seconds for Envoys to accept a challenge
_DNS_CALL: Final = 120.0  # seconds for one call to a DNS provider


class Gateway(Protocol):
    """The Envoys that answer challenges. :class:`pilotage.xds.server.AdsServer` implements this."""

    async def set_http_challenge(self, token: str, key_authorization: str) -> None:
        """Answer an HTTP-01 challenge. Returns once all connected Envoys do."""

    def remove_http_challenge(self, token: str) -> None:
        """Stop answering a challenge."""

    async def set_tls_alpn_challenge(self, host: str, certificate: CertificatePair) -> None:
        """Answer TLS-ALPN-01 challenges for a host. Returns once all connected Envoys do."""

    def remove_tls_alpn_challenge(self, host: str) -> None:
        """Stop answering a challenge."""


@acme.Challenge.register
class TLSALPN01(acme.KeyAuthorizationChallenge):
    """The challenge ``tls-alpn-01`` (RFC 8737), which the library does not define."""

    typ = "tls-alpn-01"

    def validation(self, account_key: Any, **_kwargs: Any) -> bytes:
        """Return the digest that the certificate must contain."""
        return hashlib.sha256(self.key_authorization(account_key).encode()).digest()


@acme.ChallengeResponse.register
class TLSALPN01Response(acme.KeyAuthorizationChallengeResponse):
    """The response to a challenge ``tls-alpn-01``."""

    typ = "tls-alpn-01"


TLSALPN01.response_cls = TLSALPN01Response
_KINDS: Final = {"http-01": acme.HTTP01, "tls-alpn-01": TLSALPN01, "dns-01": acme.DNS01}


def challenge_for(authorization: Any, method: Method) -> Any:
    """Return the challenge of an authorization for a method.

    Raises:
        CertificateError: the CA does not offer a challenge for this method.

    """
    offered = authorization.body.challenges
    for body in offered:
        if isinstance(body.chall, _KINDS[method]):
            return body
    name = authorization.body.identifier.value
    kinds = ", ".join(sorted(str(body.chall.to_partial_json().get("type", "?")) for body in offered)) or "none"
    message = f"the CA offers no {method} challenge for {name}, only: {kinds}"
    raise CertificateError(message, "choose another provider in autocert", names=frozenset({name}))


class Solver:
    """Answers the challenges of one order.

    Args:
        method: the method of the challenges.
        gateway: the Envoys.
        dns: how to set DNS records; required for ``dns-01``.
        journal: the records that must be removed.

    """

    def __init__(self, method: Method, gateway: Gateway, dns: DnsSettings | None, journal: RecordJournal) -> None:
        self._method = method
        self._gateway = gateway
        self._dns = dns
        self._journal = journal

    @contextlib.asynccontextmanager
    async def answering(self, wanted: Sequence[tuple[str, Any]], key: Any) -> AsyncIterator[None]:
        """Answer challenges while the context is active.

        Args:
            wanted: pairs of host name and challenge.
            key: the account key.

        Raises:
            CertificateError: a challenge cannot be answered.

        """
        async with contextlib.AsyncExitStack() as stack:
            if self._method == "http-01":
                for _, body in wanted:
                    await self._serve_http(body, key, stack)
            elif self._method == "tls-alpn-01":
                for host, body in wanted:
                    await self._serve_tls(host, body, key, stack)
            else:
                await self._set_records(wanted, key, stack)
            yield

    async def _serve_http(self, body: Any, key: Any, stack: contextlib.AsyncExitStack) -> None:
        token = body.chall.encode("token")
        stack.callback(self._gateway.remove_http_challenge, token)
        await self._accepted(self._gateway.set_http_challenge(token, body.chall.validation(key)))

    async def _serve_tls(self, host: str, body: Any, key: Any, stack: contextlib.AsyncExitStack) -> None:
        chain, private = alpn_certificate(host, body.chall.validation(key), time.time())
        stack.callback(self._gateway.remove_tls_alpn_challenge, host)
        await self._accepted(self._gateway.set_tls_alpn_challenge(host, CertificatePair(chain, private)))

    @staticmethod
    async def _accepted(setting: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(_ENVOYS):
                await setting
        except TimeoutError as error:
            message = "Envoy did not accept the answer to the CA's challenge in time"
            hint = "check that Envoy is running and can reach pilotage"
            raise CertificateError(message, hint, elsewhere=False) from error
        except GatewayError as error:
            raise CertificateError(f"Envoy cannot answer the CA's challenge: {error}", elsewhere=False) from error

    # ---- DNS

    async def _set_records(self, wanted: Sequence[tuple[str, Any]], key: Any, stack: contextlib.AsyncExitStack) -> None:
        if self._dns is None:
            raise CertificateError("dns-01 needs a DNS provider")  # the configuration ensures that there is one
        editor = DnsZoneEditor(self._dns)
        records: list[Record] = []
        for host, body in wanted:
            name = body.chall.validation_domain_name(host.removeprefix("*."))
            target = await _call(partial(editor.target, name), self._dns.provider)
            record = Record(self._dns.provider, target, body.chall.validation(key))
            try:
                self._journal.add(record)
            except StorageError as error:
                hint = "free some disk space; with this file, pilotage removes DNS records even after a crash"
                raise CertificateError(
                    f"cannot note which DNS record to remove later: {error}", hint, elsewhere=False
                ) from error
            stack.push_async_callback(remove_record, editor, record, self._journal)
            await _call(partial(editor.create, record.name, record.value), self._dns.provider)
            records.append(record)
        given_up: list[bool] = []
        stack.callback(given_up.append, True)  # noqa: FBT003
        for record in records:
            await in_thread(
                partial(editor.wait_until_seen, record.name, record.value, lambda: bool(given_up)),
                self._dns.propagation_seconds + _DNS_CALL,
            )


async def _call(action: Callable[[], _T], provider: str) -> _T:
    try:
        return await in_thread(action, _DNS_CALL)
    except TimeoutError as error:
        message = f"{provider} did not respond within {_DNS_CALL:.0f} s"
        raise CertificateError(message, "pilotage tries again", elsewhere=False) from error


async def remove_record(editor: DnsZoneEditor, record: Record, journal: RecordJournal) -> None:
    """Remove a DNS record. If that fails, it stays in the journal and is removed later."""
    journal.leave(record)
    try:
        await _call(partial(editor.delete, record.name, record.value), record.provider)
        journal.remove(record)
    except (CertificateError, StorageError) as error:
        log.warning("cannot remove the TXT record %s yet: %s", record.name, error)
