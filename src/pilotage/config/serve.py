"""Defines the sections of ``pilotage.yml`` for serving: ``gateway``, ``api``, ``match_domains``, ``debug``. Pure.

Pydantic models validate the sections. Frozen structs hold the result: options for all Envoys, and how to run one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pilotage.config.dashboard import DashboardSettings
from pilotage.config.tls_section import CertificateList, OwnCA
from pilotage.config.trusted_proxies import with_known_proxies
from pilotage.config.validation import config_error, list_of_one
from pilotage.core.hostnames import ascii_host
from pilotage.core.tempdirs import MAX_SOCKET_PATH
from pilotage.core.text import shorten
from pilotage.core.values import ParseError, parse_duration
from pilotage.engine.address import bracketed
from pilotage.engine.config import TLSFiles
from pilotage.policy import NO_POLICY, Policy, parse_range
from pilotage.xds.options import CertificateFiles, GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pilotage.config.substitute import Path as DocumentPath

    FileOf = Callable[[str, DocumentPath], str]
    AddProblem = Callable[[DocumentPath, str, str], None]
    PathOf = Callable[[str], Path]

__all__ = ["ApiSettings", "GatewaySettings", "PortRange", "Section", "ServeSections", "XdsSettings"]

HTTP_PORT: Final = GatewayOptions().http_port
HTTPS_PORT: Final = 8443
API_PORT: Final = 8888


class XdsSettings(msgspec.Struct, frozen=True):
    """The listener from which other Envoys get their configuration, including private keys.

    Attributes:
        path: path of a unix socket for Envoys of the same user; ``""`` for TCP.
        host, port: where to listen on TCP. Without ``path``, port 0 disables the listener.
        tls: certificate and key of the server, and the CA of the Envoys' certificates; required for TCP.

    """

    path: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    tls: TLSFiles | None = None

    @property
    def address(self) -> str:
        """``unix:/path`` or ``host:port``; ``""`` if there is no listener."""
        if self.path:
            return f"unix:{self.path}"
        return f"{bracketed(self.host)}:{self.port}" if self.port else ""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for running Envoy. The settings of what it serves are :class:`~pilotage.xds.options.GatewayOptions`.

    Attributes:
        drain: time for active requests to finish on shutdown, in seconds.
        keep: whether Envoy keeps running when the daemon stops; ``external`` if ``pilotage envoy`` runs Envoy.
        envoy: path of Envoy's binary; if it is ``""``, pilotage searches for the binary.
        workers: number of worker threads; 0 means one per CPU.
        max_connections: maximum number of client connections; 0 means as many as descriptors and memory allow.
        max_client_connections: maximum for one client; 0 means no limit, ``None`` an eighth of ``max_connections``.
        log_level: one of Envoy's log levels.
        xds: the listener for other Envoys.

    """

    drain: float = 30.0
    keep: bool | Literal["external"] = False
    envoy: str = ""
    workers: int = 0
    max_connections: int = 0
    max_client_connections: int | None = None
    log_level: str = "warning"
    xds: XdsSettings = XdsSettings()


class ApiSettings(msgspec.Struct, frozen=True):
    """Settings of the HTTP API.

    Attributes:
        listen: addresses as :func:`pilotage.api.listen.parse_listen` takes them; ``None`` for the default address.
        token_file: file with the bearer token that clients on other machines must send; ``""`` for none.
        dashboard: how the gateway serves the dashboard.

    """

    listen: tuple[str, ...] | None = None
    token_file: str = ""
    dashboard: DashboardSettings = DashboardSettings()

    @property
    def ports(self) -> frozenset[int]:
        """The TCP ports of the API, except those of addresses that cannot be parsed."""
        listen = (str(API_PORT),) if self.listen is None else self.listen
        ends = [text.rpartition(":")[2] for text in listen if not text.startswith("unix:")]
        return frozenset(int(end) for end in ends if end.isascii() and end.isdigit() and len(end) <= 5) - {0}


class Section(BaseModel):
    """A mapping that accepts only known keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _listener(value: Any) -> Any:
    """Parse a port or ``ADDRESS:port`` to address and port. ``false`` and 0 give port 0, which means no listener."""
    if value is False or value == 0:
        return ("0.0.0.0", 0)  # noqa: S104
    text = str(value)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "0.0.0.0"  # noqa: S104
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        address = ""
    if value is True or not address or not port.isdecimal() or not 0 < int(port) < 65536:
        shown = "true" if value is True else shorten(text)
        raise config_error(
            f"{shown!r} is not an address to listen on", "write a port, or an IP address and a port: 127.0.0.1:8080"
        )
    return (address, int(port))


def _xds_listener(value: Any) -> Any:
    """Parse the path of a unix socket, a port or ``host:port``. Return path, host and port."""
    if not (text := str(value)).startswith("unix:"):
        return ("", *_listener(value))
    path = text.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/") or len(os.fsencode(path)) > MAX_SOCKET_PATH:
        hint = f"write unix:// and an absolute path of at most {MAX_SOCKET_PATH} bytes"
        raise config_error(f"{shorten(text)!r} is not a unix socket", hint)
    return (path, "", 0)


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise config_error(f"{shorten(value)!r} is not a duration", "write one such as 30s, 5m or 1h30m")
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except ParseError as error:
        raise config_error(f"{shorten(value)!r}: {error.message}", "") from error
    if seconds < 0:
        raise config_error(f"{shorten(value)!r} is negative", "write a duration of 0 or more")
    return seconds


def _network(value: Any) -> Any:
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError:
        hint = "write one such as 10.0.0.0/8 or 192.0.2.7"
        raise config_error(f"{shorten(value)!r} is not a network", hint) from None


_LABEL: Final = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_SUFFIX: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def _domain(value: Any) -> Any:
    text = ascii_host(str(value).removeprefix("*").removeprefix("."))
    if not isinstance(value, str) or not _SUFFIX.fullmatch(text):
        raise config_error(f"{shorten(value)!r} is not a domain", "write one such as .example.com")
    return text


def _range(value: Any) -> Any:
    found = parse_range(str(value)) if not isinstance(value, bool) else None
    if found is None:
        raise config_error(
            f"{shorten(value)!r} is not a port or a range of ports", "write one such as 9000 or 9000-9100"
        )
    return found


def _label_folder(value: Any) -> Any:
    if not isinstance(value, str) or not value.strip() or ".." in value.split("/"):
        raise config_error(f"{shorten(value)!r} is not a folder", "write one such as /etc/pilotage/files, without ..")
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise config_error("must be a whole number", "")
    return value


Listener = Annotated[tuple[str, int], BeforeValidator(_listener)]
XdsListener = Annotated[tuple[str, str, int], BeforeValidator(_xds_listener)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Network = Annotated[str, BeforeValidator(_network)]
Domain = Annotated[str, BeforeValidator(_domain)]
PortRange = Annotated[tuple[int, int], BeforeValidator(_range)]
LabelFolder = Annotated[str, BeforeValidator(_label_folder)]
Port = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535)]


class _XdsTLS(Section):
    ca_file: str
    cert_file: str
    key_file: str


class _Xds(Section):
    listen: XdsListener
    tls: _XdsTLS | None = None


_OPTIONS: Final = GatewayOptions()
_SETTINGS: Final = GatewaySettings()


class _Gateway(Section):
    http: Listener = (_OPTIONS.http_address, _OPTIONS.http_port)
    https: Listener | None = None
    tls: CertificateList = []
    public_https_port: Port | None = None
    redirect_to_https: bool = _OPTIONS.redirect_to_https
    hsts: Seconds = _OPTIONS.hsts_max_age
    trusted_proxies: Annotated[list[Network], BeforeValidator(with_known_proxies)] = []
    compression: bool = _OPTIONS.compression
    access_log: str = _OPTIONS.access_log
    connect_timeout: Seconds = _OPTIONS.connect_timeout
    retries: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10)] = _OPTIONS.retries
    max_waiting_requests: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = _OPTIONS.max_waiting_requests
    idle_timeout: Seconds = _OPTIONS.idle_timeout
    body_timeout: Seconds = _OPTIONS.body_timeout
    stream_timeout: Seconds = _OPTIONS.stream_timeout
    tcp_timeout: Seconds = _OPTIONS.tcp_timeout
    max_connections: Annotated[int, BeforeValidator(_whole), Field(ge=16)] | None = None
    max_connections_per_client: Annotated[int, BeforeValidator(_whole), Field(ge=0)] | None = None
    max_target_connections: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = _OPTIONS.max_target_connections
    max_udp_clients: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = _OPTIONS.max_udp_clients
    max_rule_memory: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = _OPTIONS.max_rule_memory
    drain: Seconds = _SETTINGS.drain
    keep: Literal[False, True, "external"] = _SETTINGS.keep
    envoy: str = _SETTINGS.envoy
    workers: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1024)] = _SETTINGS.workers
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    xds: _Xds | None = None
    targets: Literal["any", "own"] = NO_POLICY.targets
    stream_ports: Annotated[list[PortRange], BeforeValidator(list_of_one)] | None = None
    label_files: Annotated[list[LabelFolder], BeforeValidator(list_of_one)] = []
    label_roots: Annotated[list[LabelFolder], BeforeValidator(list_of_one)] = []


_SAME: Final = (
    "connect_timeout retries max_waiting_requests idle_timeout body_timeout stream_timeout tcp_timeout "
    "max_target_connections max_udp_clients max_rule_memory"
).split()
"""Settings that :class:`GatewayOptions` has under the same names."""


class _Api(Section):
    listen: Annotated[list[str], BeforeValidator(list_of_one)] | None = None
    token_file: str = ""


class ServeSections(Section):
    """The sections for serving. The model of the whole file extends this class."""

    gateway: _Gateway | None = None
    api: _Api | None = None
    match_domains: list[Domain] = []
    debug: bool = False

    @property
    def uses_own_ca(self) -> bool:
        """Whether ``gateway.tls`` asks for certificates of pilotage's own CA."""
        return self.gateway is not None and any(isinstance(it, OwnCA) for it in self.gateway.tls)

    def gateway_options(
        self,
        file: FileOf,
        add_problem: AddProblem,
        path: PathOf,
        files: tuple[CertificateFiles, ...] = (),
        *,
        automatic: bool = False,
    ) -> GatewayOptions:
        """Return the settings that all Envoys get besides the routes.

        Args:
            file: takes a file name and its document path; returns the file's path, and reports a missing file.
            add_problem: takes the document path of an error, a message and a hint, and reports the error.
            path: takes the name of a file or folder, which need not exist, and returns its path.
            files: further certificates from files.
            automatic: whether pilotage obtains certificates itself.

        """
        section = self.gateway or _Gateway()
        has_certificates = bool(section.tls or files or automatic)
        https = section.https or (_OPTIONS.https_address, HTTPS_PORT if has_certificates else 0)
        if section.https is not None and section.https[1] and not has_certificates:
            hint = "add autocert to obtain certificates, or gateway.tls with files or the word internal"
            add_problem(("gateway", "https"), "HTTPS needs a certificate", hint)
        if section.redirect_to_https and not https[1] and not section.public_https_port:
            message = "HTTPS is not enabled, so there is nothing to redirect to"
            add_problem(("gateway", "redirect_to_https"), message, "add autocert or gateway.tls")
        return GatewayOptions(
            http_address=section.http[0],
            http_port=section.http[1],
            https_address=https[0],
            https_port=https[1],
            public_https_port=section.public_https_port or 0,
            automatic_certificates=automatic,
            certificates=files
            + tuple(
                CertificateFiles(
                    file(pair.cert_file, ("gateway", "tls", number, "cert_file")),
                    file(pair.key_file, ("gateway", "tls", number, "key_file")),
                    default=pair.default,
                )
                for number, pair in enumerate(section.tls)
                if not isinstance(pair, OwnCA)
            ),
            redirect_to_https=section.redirect_to_https,
            hsts_max_age=section.hsts,
            match_domains=tuple(self.match_domains),
            compression=section.compression,
            debug=self.debug,
            access_log=section.access_log if section.access_log in {"", "-"} else str(path(section.access_log)),
            trusted_proxies=tuple(section.trusted_proxies),
            **{name: getattr(section, name) for name in _SAME},
        )

    def built_in_policy(self, options: GatewayOptions, path: PathOf) -> Policy:
        """Return the policy without its rules. ``options`` come from :meth:`gateway_options` with the same ``path``."""
        section = self.gateway or _Gateway()
        addresses = [options.http_address] * bool(options.http_port) + [options.https_address] * options.serves_https
        return Policy(
            targets=section.targets,
            stream_ports=None if section.stream_ports is None else tuple(section.stream_ports),
            addresses=tuple(dict.fromkeys(addresses)),
            label_files=tuple(str(path(folder).absolute()) for folder in section.label_files),
            label_roots=tuple(str(path(folder).absolute()) for folder in section.label_roots),
            domains=options.match_domains,
        )

    def gateway_settings(self, file: FileOf, add_problem: AddProblem) -> GatewaySettings:
        """Return the settings for running Envoy. The arguments are those of :meth:`gateway_options`."""
        section = self.gateway or _Gateway()
        return GatewaySettings(
            drain=section.drain,
            keep=section.keep,
            envoy=section.envoy,
            workers=section.workers,
            max_connections=section.max_connections or 0,
            max_client_connections=section.max_connections_per_client,
            log_level=section.log_level,
            xds=self._xds(section.xds, file, add_problem) if section.xds is not None else XdsSettings(),
        )

    @staticmethod
    def _xds(section: _Xds, file: FileOf, add_problem: AddProblem) -> XdsSettings:
        at: DocumentPath = ("gateway", "xds", "tls")
        path, host, port = section.listen
        if section.tls is None:
            if port:
                message = f"{bracketed(host)}:{port} would give all routes and private keys to everyone who can connect"
                hint = "add gateway.xds.tls with ca_file, cert_file and key_file, or listen on unix:///PATH"
                add_problem(("gateway", "xds", "listen"), message, hint)
            return XdsSettings(path, host, port)
        if path:
            add_problem(at, "a unix socket uses no TLS, because only its owner can connect", "remove gateway.xds.tls")
        tls = TLSFiles(
            ca_file=file(section.tls.ca_file, (*at, "ca_file")),
            cert_file=file(section.tls.cert_file, (*at, "cert_file")),
            key_file=file(section.tls.key_file, (*at, "key_file")),
        )
        return XdsSettings(path, host, port, tls)

    def api_settings(self, file: FileOf, _: AddProblem) -> ApiSettings:
        """Return the settings of the API. The arguments are those of :meth:`gateway_options`."""
        section = self.api or _Api()
        token_file = file(section.token_file, ("api", "token_file"))
        return ApiSettings(None if section.listen is None else tuple(section.listen), token_file)
