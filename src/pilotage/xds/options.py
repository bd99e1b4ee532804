"""What the gateway is asked to be: where it listens, for which domains, with which certificates."""

from __future__ import annotations

import msgspec

__all__ = ["CertificateFiles", "GatewayOptions"]


class CertificateFiles(msgspec.Struct, frozen=True):
    """A certificate of the gateway; of several, the client's server name chooses.

    Attributes:
        certificate: path of the certificate chain, PEM, the gateway's own first.
        key: path of its private key, PEM.

    """

    certificate: str
    key: str


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's settings.

    Attributes:
        http_address, http_port: where plain HTTP is answered; port 0: nowhere.
        https_address, https_port: where HTTPS is answered; port 0, or no certificates: nowhere.
        public_https_port: the port that clients reach HTTPS by, for redirects; 0: ``https_port``.
        certificates: what HTTPS shows.
        redirect_to_https: plain HTTP is sent to HTTPS, for all routes.
        hsts_max_age: seconds for which browsers shall use HTTPS only; 0: they are not told to.
        match_domains: the suffixes an alias answers under (``example.com``); empty: any.
        compression: compress textual answers for clients that accept it.
        debug: error pages tell more.
        access_log: a file, ``-`` for Envoy's standard output, ``""`` for none.
        trusted_proxies: networks whose ``X-Forwarded-For`` is believed.
        connect_timeout: seconds to connect to an endpoint.
        retries: how often a request that reached no endpoint is tried again.

    """

    http_address: str = "0.0.0.0"  # noqa: S104  a gateway is there to be reached
    http_port: int = 8080
    https_address: str = "0.0.0.0"  # noqa: S104
    https_port: int = 0
    public_https_port: int = 0
    certificates: tuple[CertificateFiles, ...] = ()
    redirect_to_https: bool = False
    hsts_max_age: float = 0.0
    match_domains: tuple[str, ...] = ()
    compression: bool = True
    debug: bool = False
    access_log: str = ""
    trusted_proxies: tuple[str, ...] = ()
    connect_timeout: float = 2.0
    retries: int = 3

    @property
    def serves_https(self) -> bool:
        """HTTPS is answered somewhere."""
        return bool(self.https_port and self.certificates)

    @property
    def redirect_port(self) -> int:
        """The port that redirects lead to."""
        return self.public_https_port or self.https_port
