"""Holds what the HTTP listeners depend on besides the settings, and builds their resources. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotage.xds.acme_challenges import HTTP_CHALLENGES, http_challenges
from pilotage.xds.listeners import http_listeners
from pilotage.xds.resources import EXTENSION, by_key

if TYPE_CHECKING:
    from pilotage.xds.options import GatewayOptions
    from pilotage.xds.resources import Key, Resource

__all__ = ["ListenerState"]


class ListenerState:
    """What the HTTP listeners depend on besides the settings.

    Attributes:
        http_challenges: token -> key authorization of the HTTP-01 challenges to answer.

    """

    def __init__(self) -> None:
        self.http_challenges: dict[str, str] = {}

    def resources(self, options: GatewayOptions) -> list[Resource]:
        """Return the HTTP listeners and the resources that only they use."""
        found = http_listeners(options)
        if options.automatic_certificates and options.http_port:
            found.append(http_challenges(self.http_challenges))
        return found

    def changes(self, options: GatewayOptions) -> dict[Key, Resource | None]:
        """Return key -> resource, for those that may have changed since the settings were applied."""
        return by_key(self.resources(options))

    @property
    def http_key(self) -> Key:
        """The key of the resource with the HTTP-01 challenges."""
        return (EXTENSION, HTTP_CHALLENGES)
