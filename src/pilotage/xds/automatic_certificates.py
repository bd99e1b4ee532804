"""Serves the certificates that pilotage obtains, and answers the challenges of the authorities that issue them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pilotage.core.errors import GatewayError
from pilotage.xds.acme_challenges import MOST_CHALLENGES, is_challenge

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from pilotage.core.problems import Problem
    from pilotage.xds.envoys import Envoys
    from pilotage.xds.resources import Key
    from pilotage.xds.served_certificates import CertificatePair, ServedCertificate
    from pilotage.xds.session import Session
    from pilotage.xds.snapshot import Snapshot

__all__ = ["AutomaticCertificates"]

_LONGEST_WAIT: Final = 10.0
"""Seconds that Envoys may take to accept a challenge."""


class AutomaticCertificates:
    """The certificates and challenges that every Envoy should have. They need ``options.automatic_certificates``.

    Args:
        snapshot: what every Envoy should have.
        send_changes: sends changed resources to the Envoys.
        envoys: the connected Envoys.

    """

    def __init__(self, snapshot: Snapshot, send_changes: Callable[[frozenset[Key]], None], envoys: Envoys) -> None:
        self._snapshot = snapshot
        self._send_changes = send_changes
        self._envoys = envoys

    # ---- challenges

    async def set_http_challenge(
        self,
        token: str,
        key_authorization: str,
        *,
        timeout: float = _LONGEST_WAIT,  # noqa: ASYNC109
    ) -> None:
        """Answer an HTTP-01 challenge on the plain HTTP listener; return once all connected Envoys do so.

        Args:
            token: the challenge's token.
            key_authorization: the answer to it.
            timeout: seconds that the Envoys may take.

        Raises:
            GatewayError: there is no plain HTTP listener, the values are not as RFC 8555 demands, there are too many
                challenges, or an Envoy rejects the answer.
            TimeoutError: not all Envoys have accepted it in time, or none is connected. It stays set.

        """
        if not self._snapshot.options.http_port:
            raise GatewayError("HTTP-01 challenges need the plain HTTP listener, and gateway.http is 0")
        if not is_challenge(token, key_authorization):
            raise GatewayError("the token or key authorization of an HTTP-01 challenge is not as RFC 8555 demands")
        challenges = self._snapshot.listeners.http_challenges
        if token not in challenges and len(challenges) >= MOST_CHALLENGES:
            raise GatewayError(f"there are already {MOST_CHALLENGES:,} HTTP-01 challenges")
        challenges[token] = key_authorization
        self._update()
        await self._wait([self._snapshot.listeners.http_key], timeout)

    def remove_http_challenge(self, token: str) -> None:
        """Stop answering an HTTP-01 challenge. Unknown tokens are ignored."""
        if self._snapshot.listeners.http_challenges.pop(token, None) is not None:
            self._update()

    async def set_tls_alpn_challenge(
        self,
        host: str,
        certificate: CertificatePair,
        *,
        timeout: float = _LONGEST_WAIT,  # noqa: ASYNC109
    ) -> None:
        """Answer a TLS-ALPN-01 challenge (RFC 8737) on the HTTPS listener; return once all connected Envoys do so.

        Args:
            host: the name that is to be validated.
            certificate: the challenge's certificate.
            timeout: seconds that the Envoys may take.

        Raises:
            GatewayError: there is no HTTPS listener, or an Envoy rejects the certificate.
            TimeoutError: not all Envoys have accepted it in time, or none is connected. It stays set.

        """
        raise NotImplementedError

    def remove_tls_alpn_challenge(self, host: str) -> None:
        """Stop answering a TLS-ALPN-01 challenge. Unknown hosts are ignored."""
        raise NotImplementedError

    # ---- certificates

    def set_certificates(self, certificates: Sequence[ServedCertificate]) -> None:
        """Replace all certificates. New handshakes use them, and no connection is closed."""
        raise NotImplementedError

    def set_managed_names(self, names: AbstractSet[str]) -> None:
        """Replace the names that need a certificate. Those without one get a self-signed certificate."""
        raise NotImplementedError

    @property
    def problems(self) -> tuple[Problem, ...]:
        """A problem for each certificate that cannot be served."""
        return ()

    @property
    def self_signed_names(self) -> frozenset[str]:
        """The names that have no certificate yet except a self-signed one."""
        return frozenset()

    # ---- delivery

    def _update(self) -> None:
        snapshot = self._snapshot
        self._send_changes(snapshot.apply(snapshot.listeners.changes(snapshot.options)))

    async def _wait(self, keys: Sequence[Key], timeout: float) -> None:  # noqa: ASYNC109
        """Wait until all Envoys have accepted these resources. An Envoy that has just connected has none yet."""

        def is_done(session: Session) -> bool:
            return all(session.has_current(key) or key in session.nacks for key in keys)

        async with asyncio.timeout(timeout):
            await self._envoys.wait(is_done, "", float("inf"))
        for session in self._envoys.sessions:
            for key in keys:
                if key in session.nacks:
                    raise GatewayError(f"Envoy {session.node} rejects the answer: {session.nacks[key].error}")
