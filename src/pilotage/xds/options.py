"""Defines the gateway's settings: addresses, domains, certificates."""

from __future__ import annotations

from typing import Final

import msgspec

from pilotage.routes.oidc import OidcDefaults
from pilotage.xds.captcha import CaptchaService
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.cloudflare import CLOUDFLARE_LISTS

__all__ = ["FORGEABLE", "RETRY_PAUSES", "CertificateFiles", "GatewayOptions", "longest_pauses"]


_SHORTEST_ATTEMPT: Final = 0.1
RETRY_PAUSES: Final = (0.1, 0.8)
"""Upper limit in seconds of the pause before the first retry. It doubles with each further retry, up to the maximum.
Envoy chooses each pause at random below its limit. When a container restarts, Envoy learns of it a moment later.
Requests in this moment wait only for the sum of these pauses, unless the container's route has its own cluster.
"""
_STATIC_RETRIES: Final = 2
_STATIC_TIMEOUT: Final = 2.0
"""Limits for routes from files, because pilotage does not know whether their targets are restarting."""


def longest_pauses(retries: int) -> float:
    """Return the maximum total of the pauses before a number of retries, in seconds."""
    least, most = RETRY_PAUSES
    return sum(min(most, least * 2.0**number) for number in range(retries))


FORGEABLE: Final = (
    *("forwarded", "x-forwarded-", "x-original-", "x-rewrite-url", "x-scheme", "x-url-scheme", "front-end-https"),
    *("x-real-ip", "x-client-ip", "x-cluster-client-ip", "x-remote-ip", "x-remote-addr", "true-client-ip"),
    *("cf-connecting-", "cf-visitor", "cf-ipcountry", "fastly-client-ip", "fly-client-ip", "x-azure-clientip"),
    *("remote-", "x-remote-user", "x-remote-group", "x-auth-request-", "x-authentik-", "x-webauth-", "x-proxy-user"),
    *("x-ssl-", "ssl-client-", "x-client-cert", "client-cert", "x-client-verify", "x-tls-client-"),
)
"""Headers that only proxies and auth services may set; other clients' are removed. A final dash marks a prefix."""


class CertificateFiles(msgspec.Struct, frozen=True):
    """A certificate of the gateway. If there are several, the server name that a client sends (SNI) selects one.

    Attributes:
        certificate: path of the PEM certificate chain, leaf certificate first.
        key: path of the PEM private key.
        default: whether the certificate is for clients that ask for a name that no certificate has, or for no name.
        names: host names and IP addresses for which the certificate is valid; empty until its file has been read.

    """

    certificate: str
    key: str
    default: bool = False
    names: tuple[str, ...] = ()


class GatewayOptions(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True):
    """The gateway's settings.

    Attributes:
        http_address, http_port: plain HTTP listener; port 0 disables it.
        https_address, https_port: HTTPS listener; disabled if the port is 0, or there are neither certificates nor
            ``automatic_certificates``.
        public_https_port: HTTPS port as clients see it, for redirects; 0 means ``https_port``.
        certificates: certificates of the HTTPS listener.
        automatic_certificates: pilotage obtains certificates itself; Envoys answer the authorities' challenges.
        client_profiles: which client certificates routes can require.
        client_profile: the profile that all HTTP routes require; ``""`` if each route decides.
        redirect_to_https: redirect plain HTTP to HTTPS for all routes.
        hsts_max_age: how long browsers must use only HTTPS, in seconds; 0 omits the header.
        match_domains: domains under which aliases are served (``example.com``); empty means any.
        compression: compress text responses of all routes, for clients that accept it; a label can also turn it on for
            one route.
        report_errors: Envoys count failed requests in their load reports, which takes 7 % more CPU instructions per
            request. Only for Envoys that the daemon does not run, because it cannot read their statistics.
        has_agents: requests may go through agents; Envoys then replace the agents' error pages. Each request then
            passes one more filter, and Envoys warn at startup that this filter is work in progress.
        oidc: how users sign in to routes with the middleware ``oidc``, unless the route says otherwise.
        cloudflare_lists: URLs of the lists of Cloudflare's networks; empty if they are not read.
        captcha: the provider of captchas for routes with the middleware ``hcaptcha``.
        session_keys: the public keys of sessions of signed-in users, as a JSON Web Key Set; ``""`` if Envoys do not
            verify sessions themselves but ask the daemon about each request.
        debug: whether error pages include advice for the operator.
        access_log: path of a file; ``-`` for standard output, which Envoy shares with pilotage; ``""`` for no access
            log.
        files_socket: path of the unix socket on which the daemon serves files; ``""`` if no Envoy can reach it. Reloads
            do not change it.
        error_pages: path of the folder with the pages for the middleware ``error_page``; ``""`` if there is none.
        trusted_proxies: networks whose ``X-Forwarded-*`` headers are trusted.
        connect_timeout: seconds after which a request fails if Envoy cannot connect to any endpoint. The limit covers
            all attempts together. For routes from files, it is at most 2 s.
        retries: how often a request that could not reach its endpoint is retried. On routes from files, it is retried
            at most twice.
        idle_timeout: seconds after which a connection without a request is closed.
        body_timeout: seconds after which a request with a body is aborted if neither it nor its response makes
            progress.
        stream_timeout: like ``body_timeout``, for traffic that may pause for a long time: responses to GET, WebSockets
            and other upgraded connections, and gRPC.
        tcp_timeout: like ``body_timeout``, for connections of tcp routes; 0 for no limit.
        max_target_connections: maximum number of simultaneous connections to one target. Further requests wait until
            one of these connections is free. Further connections of a tcp route are closed.
        max_client_connections: simultaneous connections of one client to all TCP listeners together; 0 for no limit. A
            client is an IPv4 address or the network of 64 bits of an IPv6 address. Trusted proxies have no limit.
        max_waiting_requests: requests per route that wait in one Envoy for a container that is restarting or asleep. It
            also limits the connections per tcp route that wait for a sleeping container.
        max_waiting_in_all: waiting requests of all routes together, in each HTTP connection manager of an Envoy.
        max_rule_memory: memory that Envoy may need for the rules of all containers, in MiB.
        max_udp_clients: maximum number of simultaneous clients of one udp route. Datagrams from further clients are
            dropped.

    """

    http_address: str = "0.0.0.0"  # noqa: S104  a gateway is there to be reached
    http_port: int = 8080
    https_address: str = "0.0.0.0"  # noqa: S104
    https_port: int = 0
    public_https_port: int = 0
    certificates: tuple[CertificateFiles, ...] = ()
    automatic_certificates: bool = False
    client_profiles: tuple[ClientProfile, ...] = ()
    client_profile: str = ""
    redirect_to_https: bool = False
    hsts_max_age: float = 0.0
    match_domains: tuple[str, ...] = ()
    compression: bool = False
    report_errors: bool = False
    has_agents: bool = False
    oidc: OidcDefaults = OidcDefaults()
    cloudflare_lists: tuple[str, ...] = CLOUDFLARE_LISTS
    captcha: CaptchaService = CaptchaService()
    session_keys: str = ""
    debug: bool = False
    access_log: str = ""
    files_socket: str = ""
    error_pages: str = ""
    trusted_proxies: tuple[str, ...] = ()
    connect_timeout: float = 7.0
    retries: int = 8
    idle_timeout: float = 180.0
    body_timeout: float = 300.0
    stream_timeout: float = 600.0
    tcp_timeout: float = 0.0
    max_target_connections: int = 10_000
    max_client_connections: int = 6_250
    max_waiting_requests: int = 1000
    max_waiting_in_all: int = 20_000
    max_udp_clients: int = 2_500
    max_rule_memory: int = 256

    @property
    def serves_https(self) -> bool:
        """Whether there is an HTTPS listener."""
        return bool(self.https_port and (self.certificates or self.automatic_certificates))

    def tries(self, *, static: bool) -> int:
        """Return how often a request is retried. The number may be lower for routes from files."""
        return min(_STATIC_RETRIES, self.retries) if static else self.retries

    def attempt_timeout(self, *, static: bool = False) -> float:
        """Return each attempt's time limit in seconds: its share of the connect timeout minus the pauses in between.

        Args:
            static: whether the route is from a file.

        """
        whole = min(_STATIC_TIMEOUT, self.connect_timeout) if static else self.connect_timeout
        retries = self.tries(static=static)
        return max(_SHORTEST_ATTEMPT, (whole - longest_pauses(retries)) / (retries + 1))

    @property
    def ports(self) -> frozenset[int]:
        """The ports of the HTTP listeners."""
        https = self.https_port if self.serves_https else 0
        return frozenset(port for port in (self.http_port, https) if port)

    @property
    def redirect_port(self) -> int:
        """The port used in redirects to HTTPS."""
        return self.public_https_port or self.https_port
