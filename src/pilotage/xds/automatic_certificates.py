"""Serves the certificates that pilotage obtains, and answers the challenges of the authorities that issue them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from pilotage.core.errors import GatewayError
from pilotage.core.problems import Problem
from pilotage.core.text import shorten
from pilotage.xds.acme_challenges import MOST_CHALLENGES, http_challenges, is_challenge
from pilotage.xds.certificate_slots import MOST_CERTIFICATES
from pilotage.xds.resources import LISTENER, SECRET
from pilotage.xds.self_signed import certified_names, self_signed
from pilotage.xds.served_certificates import ServedCertificate
from pilotage.xds.server_names import challenge_chain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pilotage.xds.envoys import Envoys
    from pilotage.xds.resources import Key
    from pilotage.xds.served_certificates import CertificatePair
    from pilotage.xds.session import Session
    from pilotage.xds.snapshot import Snapshot

__all__ = ["AutomaticCertificates"]

_log = logging.getLogger(__name__)

_LONGEST_WAIT: Final = 10.0
"""Seconds that Envoys may take to accept a challenge."""
_LINGER: Final = 2.0
"""Seconds for which Envoys keep a certificate after others have replaced it, so that each name always has one."""
_MOST_NAMED: Final = 5


class AutomaticCertificates:
    """The certificates and challenges that every Envoy should have. They need ``options.automatic_certificates``.

    Set the certificates before the first table is published. Otherwise, an Envoy that was already running when this
    process started loses its certificates until they are set.

    Attributes:
        problems: a problem for each certificate that cannot be served, and for names without certificate.

    Args:
        snapshot: the configuration that every Envoy should have.
        send_changes: sends changed resources to the Envoys.
        envoys: the connected Envoys.
        schedule: calls a function after a number of seconds.

    """

    def __init__(
        self,
        snapshot: Snapshot,
        send_changes: Callable[[frozenset[Key]], None],
        envoys: Envoys,
        schedule: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self.problems: tuple[Problem, ...] = ()
        self._snapshot = snapshot
        self._send_changes = send_changes
        self._envoys = envoys
        self._schedule = schedule
        self._managed: frozenset[str] = frozenset()
        self._certificates: tuple[ServedCertificate, ...] = ()
        self._checked: dict[CertificatePair, frozenset[str]] = {}
        self._self_signed: dict[str, CertificatePair] = {}
        self._since: dict[str, float] = {}
        self._making: asyncio.Task[None] | None = None
        self._retirements = 0

    def close(self) -> None:
        """Stop making certificates."""
        if self._making is not None:
            self._making.cancel()

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
            key_authorization: the answer to the challenge.
            timeout: seconds that the Envoys may take.

        Raises:
            GatewayError: there is no plain HTTP listener, the values are invalid (RFC 8555), there are too many
                challenges, or an Envoy rejects the answer.
            TimeoutError: not all Envoys have accepted it in time, or none is connected. It stays set.

        """
        if not self._snapshot.options.http_port:
            raise GatewayError("HTTP-01 challenges need the plain HTTP listener, and gateway.http is 0")
        if not is_challenge(token, key_authorization):
            raise GatewayError("the token or key authorization of an HTTP-01 challenge is not valid (RFC 8555)")
        challenges = self._snapshot.listeners.http_challenges
        _limit(challenges, token)
        challenges[token] = key_authorization
        self._update_http()
        await self._wait([self._snapshot.listeners.http_key], timeout)

    def remove_http_challenge(self, token: str) -> None:
        """Stop answering an HTTP-01 challenge. Unknown tokens are ignored."""
        if self._snapshot.listeners.http_challenges.pop(token, None) is not None:
            self._update_http()

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
            GatewayError: there is no HTTPS listener, the certificate cannot be used, there are too many challenges, or
                an Envoy rejects the certificate.
            TimeoutError: not all Envoys have accepted it in time, or none is connected. It stays set.

        """
        if not self._snapshot.options.serves_https:
            raise GatewayError("TLS-ALPN-01 challenges need the HTTPS listener, and gateway.https is 0")
        certified_names(certificate)
        host, challenges = host.lower(), self._snapshot.listeners.tls_challenges
        _limit(challenges, host)
        challenges[host] = certificate
        self._update()
        await self._wait([(SECRET, challenge_chain(host)), (LISTENER, "https")], timeout)

    def remove_tls_alpn_challenge(self, host: str) -> None:
        """Stop answering a TLS-ALPN-01 challenge. Unknown hosts are ignored."""
        if self._snapshot.listeners.tls_challenges.pop(host.lower(), None) is not None:
            self._update()

    # ---- certificates

    def set_certificates(self, certificates: Sequence[ServedCertificate]) -> None:
        """Replace all certificates. New handshakes use them, and no connection is closed.

        If several certificates have the same name, the first one serves it. :attr:`problems` lists those that cannot be
        served.
        """
        self._certificates = tuple(certificates)
        self._apply()

    def set_managed_names(self, names: AbstractSet[str]) -> None:
        """Replace the names that need a certificate. Those without one get a self-signed certificate."""
        self._managed = frozenset(name.lower() for name in names)
        self._apply()

    @property
    def self_signed_names(self) -> Mapping[str, float]:
        """The names that have only a self-signed certificate so far -> when they got it, in seconds since 1970."""
        return self._since

    def _apply(self) -> None:
        """Serve the certificates and, for all other names, the self-signed certificates that have been made so far."""
        served, problems = self._servable()
        names = {name for it in served for name in it.names}
        names |= {name.lower() for files in self._snapshot.options.certificates for name in files.names}
        missing = sorted(name for name in self._managed if not _covers(names, name))
        room = MOST_CERTIFICATES - len(served)
        if len(served) + len(missing) > MOST_CERTIFICATES:
            hint = "put several names into each certificate, or use a wildcard"
            message = f"the gateway serves at most {MOST_CERTIFICATES:,} automatic certificates"
            problems.append(Problem(message=message, hint=hint))
            served, missing = served[:MOST_CERTIFICATES], missing[: max(0, room)]
        self._self_signed = {name: pair for name in missing if (pair := self._self_signed.get(name)) is not None}
        self._since = {name: self._since.get(name) or time.time() for name in self._self_signed}
        unmade = [name for name in missing if name not in self._self_signed]
        if self._self_signed:
            problems.append(_without_certificate(list(self._self_signed)))
        self.problems = tuple(problems)
        temporary = [ServedCertificate(frozenset({name}), pair) for name, pair in self._self_signed.items()]
        if self._snapshot.listeners.slots.replace([*served, *temporary]):
            self._retirements += 1
            number = self._retirements
            if self._envoys.sessions:
                self._schedule(_LINGER, lambda: self._clear(number))
            else:
                self._snapshot.listeners.slots.clear()
        self._update()
        if unmade and (self._making is None or self._making.done()):
            try:
                self._making = asyncio.get_running_loop().create_task(self._make(unmade), name="self-signed")
            except RuntimeError:  # nothing runs yet that could wait
                self._add(_make_all(unmade))

    def _servable(self) -> tuple[list[ServedCertificate], list[Problem]]:
        """Return the certificates that Envoy can use, each with the names for which it is the first."""
        found, problems, taken = [], [], set[str]()
        checked = {}
        for certificate in self._certificates:
            shown = _shown(certificate.names)
            try:
                valid = self._checked.get(certificate.pair) or certified_names(certificate.pair)
            except GatewayError as error:
                problems.append(Problem(message=f"the certificate for {shown} is not served: {error}"))
                continue
            checked[certificate.pair] = valid
            names = {name.lower() for name in certificate.names}
            if wrong := sorted(name for name in names if not _covers(valid, name)):
                message = f"the certificate for {shown} is not valid for {_shown(wrong)}"
                problems.append(Problem(message=message, hint="obtain a certificate with this name"))
            if names := {name for name in names if _covers(valid, name)} - taken:
                found.append(ServedCertificate(frozenset(names), certificate.pair))
                taken |= names
        self._checked = checked
        return found, problems

    def _clear(self, number: int) -> None:
        if number == self._retirements:  # otherwise, a later call clears all
            self._snapshot.listeners.slots.clear()
            self._update()

    async def _make(self, names: list[str]) -> None:
        self._add(await asyncio.to_thread(_make_all, names))

    def _add(self, made: dict[str, CertificatePair]) -> None:
        if made:
            _log.info("using self-signed certificates for %s until others are issued", _shown(sorted(made)))
            self._self_signed |= made
            self._making = None
            self._apply()  # some of these names may have a certificate by now, or others may need one

    # ---- delivery

    def _update_http(self) -> None:
        """Send only the answers to HTTP-01 challenges."""
        answers = http_challenges(self._snapshot.listeners.http_challenges)
        self._send_changes(self._snapshot.apply({answers.key: answers}))

    def _update(self) -> None:
        self._send_changes(self._snapshot.change_listeners())

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


def _limit(challenges: Iterable[str], new: str) -> None:
    known = set(challenges)
    if new not in known and len(known) >= MOST_CHALLENGES:
        raise GatewayError(f"there are already {MOST_CHALLENGES:,} challenges of this kind")


def _covers(names: AbstractSet[str], name: str) -> bool:
    """Return whether a name is among others, or matches a wildcard among them, which stands for one label."""
    return name in names or f"*.{name.partition('.')[2]}" in names


def _make_all(names: Iterable[str]) -> dict[str, CertificatePair]:
    made = {}
    for name in names:
        try:
            made[name] = self_signed(name)
        except GatewayError as error:
            _log.error("%s", error)
    return made


def _shown(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _MOST_NAMED:,} more" if len(ordered) > _MOST_NAMED else ""
    return ", ".join(shorten(name, 100) for name in ordered[:_MOST_NAMED]) + more


def _without_certificate(names: list[str]) -> Problem:
    have = "has" if len(names) == 1 else "have"
    return Problem(
        message=f"{_shown(names)} {have} only a self-signed certificate so far, which browsers refuse",
        severity="warning",
        hint="'pilotage certificates' shows the authority's answer",
    )
