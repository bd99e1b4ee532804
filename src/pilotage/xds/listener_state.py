"""Holds the certificates and challenges of the HTTP listeners, and builds the listeners. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.acme_challenges import HTTP_CHALLENGES, http_challenges
from pilotage.xds.certificate_slots import SLOTS, CertificateSlots
from pilotage.xds.client_profiles import ClientNames
from pilotage.xds.listeners import certificate_groups, http_listeners
from pilotage.xds.resources import EXTENSION, SECRET, by_key
from pilotage.xds.self_signed import placeholder
from pilotage.xds.server_names import CHALLENGES, NameGroup, certificate_secret, challenge_chain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pilotage.xds.backend import Backend
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key, Resource
    from pilotage.xds.served_certificates import CertificatePair

__all__ = ["ListenerState"]


class ListenerState:
    """The certificates, challenges and client profiles on which the HTTP listeners depend, besides the settings.

    Attributes:
        http_challenges: token -> key authorization of the HTTP-01 challenges to answer.
        tls_challenges: host name -> certificate of the TLS-ALPN-01 challenges to answer.
        slots: the certificates that pilotage obtains.
        clients: key of a backend whose clients need certificates -> the backend's name and profile.

    """

    def __init__(self) -> None:
        self.http_challenges: dict[str, str] = {}
        self.tls_challenges: dict[str, CertificatePair] = {}
        self.slots = CertificateSlots()
        self.clients: dict[str, tuple[str, str]] = {}
        self._placeholder: CertificatePair | None = None

    def follow(self, key: str, backend: Backend | None) -> bool:
        """Record a backend's profile; return whether it changed, and the listeners with it."""
        profile = backend.route.settings.inbound_mtls_profile if backend is not None else ""
        found = (backend.name, profile) if backend is not None and profile else None
        if self.clients.get(key) == found:
            return False
        if found is None:
            del self.clients[key]
        else:
            self.clients[key] = found
        return True

    def resources(self, options: GatewayOptions) -> list[Resource]:
        """Return the HTTP listeners and the resources that only they use."""
        if options.client_profile:
            clients = ClientNames.all(options.client_profile)
        else:
            clients = ClientNames.of_routes(self.clients.values(), options.match_domains)
        if not options.automatic_certificates:
            return http_listeners(options, clients=clients)
        found = [http_challenges(self.http_challenges)] if options.http_port else []
        if not options.https_port:
            return found + http_listeners(options)
        found += http_listeners(options, self._automatic, self.tls_challenges, clients)
        if self._placeholder is None:
            self._placeholder = placeholder()
        found += self.slots.secrets(self._placeholder)
        for name, pair in self.tls_challenges.items():
            found.append(certificate_secret(challenge_chain(name), pair.chain_pem, pair.key_pem))
        return found

    def certificates(self, options: GatewayOptions) -> list[NameGroup]:
        """Return the groups of all certificates of the gateway, also for the listeners of routes with own ports."""
        return certificate_groups(options, self._automatic if options.automatic_certificates else ())

    @property
    def _automatic(self) -> list[NameGroup]:
        return [NameGroup(it.names, (), secrets=it.secrets, chain=it.name) for it in self.slots.chains]

    def changes(self, options: GatewayOptions, present: Iterable[Key]) -> dict[Key, Resource | None]:
        """Return key -> resource, for those that may have changed since the settings were applied.

        Args:
            options: the gateway's settings.
            present: the keys of the present resources. In the result, resources that are no longer needed map to
                ``None``.

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
