"""Holds what the HTTP listeners depend on besides the settings, and builds their resources. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.acme_challenges import HTTP_CHALLENGES, http_challenges
from pilotage.xds.certificate_slots import SLOTS, CertificateSlots
from pilotage.xds.listeners import certificate_groups, http_listeners
from pilotage.xds.resources import EXTENSION, SECRET, by_key
from pilotage.xds.self_signed import PLACEHOLDER, placeholder
from pilotage.xds.server_names import CHALLENGES, NameGroup, certificate_secret, challenge_chain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key, Resource
    from pilotage.xds.served_certificates import CertificatePair

__all__ = ["ListenerState"]


class ListenerState:
    """What the HTTP listeners depend on besides the settings.

    Attributes:
        http_challenges: token -> key authorization of the HTTP-01 challenges to answer.
        tls_challenges: host name -> certificate of the TLS-ALPN-01 challenges to answer.
        slots: the certificates that pilotage obtains.

    """

    def __init__(self) -> None:
        self.http_challenges: dict[str, str] = {}
        self.tls_challenges: dict[str, CertificatePair] = {}
        self.slots = CertificateSlots()
        self._placeholder: CertificatePair | None = None

    def resources(self, options: GatewayOptions) -> list[Resource]:
        """Return the HTTP listeners and the resources that only they use."""
        if not options.automatic_certificates:
            return http_listeners(options)
        found = [http_challenges(self.http_challenges)] if options.http_port else []
        if not options.https_port:
            return found + http_listeners(options)
        found += http_listeners(options, self._automatic, self.tls_challenges)
        if self._placeholder is None:
            self._placeholder = placeholder()
        found += self.slots.secrets(self._placeholder)
        for name, pair in self.tls_challenges.items():
            found.append(certificate_secret(challenge_chain(name), pair.chain_pem, pair.key_pem))
        return found

    def certificates(self, options: GatewayOptions) -> list[NameGroup]:
        """Return the groups of all certificates of the gateway, also for the listeners of routes with own ports."""
        return certificate_groups(options, self._automatic if options.automatic_certificates else None)

    @property
    def _automatic(self) -> NameGroup:
        names = {name for certificate in self.slots.certificates for name in certificate.names}
        return NameGroup(
            tuple(sorted(names | {PLACEHOLDER})), (), secrets=tuple(self.slots.secret_names), chain="automatic"
        )

    def changes(self, options: GatewayOptions, present: Iterable[Key]) -> dict[Key, Resource | None]:
        """Return key -> resource, for those that may have changed since the settings were applied.

        Args:
            options: the gateway's settings.
            present: the keys of the present resources. Those that are no longer needed map to ``None``.

        """
        return dict.fromkeys(filter(self.owns, present)) | by_key(self.resources(options))

    @staticmethod
    def owns(key: Key) -> bool:
        """Return whether a resource is a secret from :meth:`resources`."""
        return key[0] == SECRET and key[1].startswith((SLOTS, CHALLENGES))

    @property
    def http_key(self) -> Key:
        """The key of the resource with the HTTP-01 challenges."""
        return (EXTENSION, HTTP_CHALLENGES)
