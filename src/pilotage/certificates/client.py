"""Extends the ACME library: orders that replace a certificate, and requests to CAs that few machines trust."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from acme import client, messages
from josepy.json_util import field
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import ssl

__all__ = ["AcmeClient", "AcmeNetwork", "TrustingAdapter"]


_NONCE_ATTEMPTS: Final = 10
"""A CA may reject a nonce at any time (RFC 8555, 6.5). The library itself repeats a request once."""


class _ReplacingOrder(messages.NewOrder):
    """A new order with the field ``replaces`` (RFC 9773, section 5), which the library does not define."""

    replaces: str = field("replaces", omitempty=True)


class AcmeNetwork(client.ClientNetwork):
    """Sends signed requests.

    Attributes:
        replaces: the certificate that the next order replaces; ``""`` for none.

    """

    replaces = ""

    def post(self, url: str, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Send a request, again with another nonce if the CA rejects the first one.

        Each request of a step is repeated by itself: a step that is repeated as a whole could place a second order.
        """
        if self.replaces and isinstance(obj, messages.NewOrder):
            obj = _ReplacingOrder(identifiers=obj.identifiers, profile=obj.profile, replaces=self.replaces)
        for _ in range(_NONCE_ATTEMPTS - 1):
            try:
                return super().post(url, obj, *args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(url, obj, *args, **kwargs)


class AcmeClient(client.ClientV2):
    """The client for one CA."""

    net: AcmeNetwork

    @property
    def offers_renewal_info(self) -> bool:
        """Whether the CA says when to renew certificates (ARI), and so knows the field ``replaces``."""
        return "renewalInfo" in self.directory.to_partial_json()

    def new_order(self, csr_pem: bytes, profile: str | None = None, replaces: str = "") -> messages.OrderResource:
        """Begin an order.

        Args:
            csr_pem: the certificate signing request.
            profile: the CA's profile; ``None`` for its default.
            replaces: the identifier of the certificate that the order replaces (RFC 9773, section 4.1); ``""`` for
                none.

        """
        self.net.replaces = replaces
        try:
            return super().new_order(csr_pem, profile)
        finally:
            self.net.replaces = ""


class TrustingAdapter(HTTPAdapter):  # type: ignore[misc]  # requests has no types
    """Verifies servers with given CAs."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> Any:
        """Use the given CAs for new connections."""
        return super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
