"""The sections of ``pilotage.yml`` that are about serving: ``gateway``, ``api``, ``match_domains`` and ``debug``. Pure.

Pydantic checks what is written; what comes out are plain frozen values: what Envoys are told, in their own terms, and
how our own one is run. Imported where a configuration is read.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from pilotage.core.text import shorten
from pilotage.core.values import ParseError, parse_duration
from pilotage.engine.address import TLSFiles
from pilotage.xds.options import CertificateFiles, GatewayOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pilotage.config.substitute import Path as DocumentPath

    FileOf = Callable[[str, DocumentPath], str]
    Fault = Callable[[DocumentPath, str, str], None]
    PathOf = Callable[[str], Path]

__all__ = ["FAULT", "ApiSettings", "GatewaySettings", "Section", "ServeSections", "XdsSettings"]

FAULT: Final = "pilotage"
"""The type of pydantic's findings that are told in our words."""

HTTP_PORT: Final = GatewayOptions().http_port
HTTPS_PORT: Final = 8443
API_PORT: Final = 8888


# ---- what comes out ------------------------------------------------------------------------------------------------


class XdsSettings(msgspec.Struct, frozen=True):
    """Where Envoys elsewhere get their configuration.

    Attributes:
        host, port: where to listen; port 0 for nowhere.
        tls: our certificate and key, and who signs the Envoys' certificates.

    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: TLSFiles | None = None


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says about how our Envoy is run; what Envoys are told is :class:`GatewayOptions`.

    Attributes:
        drain: how long requests may go on when the gateway stops, in seconds.
        envoy: the binary; ``""`` to find it.
        workers: Envoy's threads; 0 for one on each processor.
        log_level: Envoy's.
        xds: for Envoys elsewhere.

    """

    drain: float = 30.0
    envoy: str = ""
    workers: int = 0
    log_level: str = "warning"
    xds: XdsSettings = XdsSettings()


class ApiSettings(msgspec.Struct, frozen=True):
    """What the file says about the HTTP API.

    Attributes:
        listen: places as :func:`pilotage.api.listen.parse_listen` reads them; ``None`` for the usual ones.
        token_file: holds what callers from elsewhere must present; ``""`` for none.

    """

    listen: tuple[str, ...] | None = None
    token_file: str = ""


# ---- what may be written -------------------------------------------------------------------------------------------


class Section(BaseModel):
    """A mapping with these keys and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _fault(message: str, hint: str) -> PydanticCustomError:
    # Its text would be a template, and what people wrote may have braces in it: what counts is beside it.
    return PydanticCustomError(FAULT, "see the context", {"message": message, "hint": hint})


def _listener(value: Any) -> Any:
    """Read a port, or ``host:port``; ``false`` and 0 for nowhere."""
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
        said = "true" if value is True else shorten(text)
        raise _fault(f"{said!r} is no place to listen", "write a port, or an IP address and a port: 127.0.0.1:8080")
    return (address, int(port))


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _fault(f"{shorten(value)!r} is no duration", "write one such as 30s, 5m or 1h30m")
    try:
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
    except ParseError as error:
        raise _fault(f"{shorten(value)!r}: {error.message}", "") from error
    if seconds < 0:
        raise _fault(f"{shorten(value)!r} is negative", "write a duration from 0 up")
    return seconds


def _network(value: Any) -> Any:
    try:
        return str(ipaddress.ip_network(str(value), strict=False))
    except ValueError:
        raise _fault(f"{shorten(value)!r} is no network", "write one such as 10.0.0.0/8 or 192.0.2.7") from None


_SUFFIX: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)


def _domain(value: Any) -> Any:
    text = str(value).lower().removeprefix("*").removeprefix(".").removesuffix(".")
    if not isinstance(value, str) or not _SUFFIX.fullmatch(text):
        raise _fault(f"{shorten(value)!r} is no domain", "write one such as .example.com")
    return text


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _whole(value: Any) -> Any:
    if isinstance(value, bool):
        raise _fault("must be a whole number", "")
    return value


Listener = Annotated[tuple[str, int], BeforeValidator(_listener)]
Seconds = Annotated[float, BeforeValidator(_seconds)]
Network = Annotated[str, BeforeValidator(_network)]
Domain = Annotated[str, BeforeValidator(_domain)]
Port = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535)]


class _Certificate(Section):
    cert_file: str
    key_file: str


class _XdsTLS(Section):
    ca_file: str
    cert_file: str
    key_file: str


class _Xds(Section):
    listen: Listener
    tls: _XdsTLS | None = None


_OPTIONS: Final = GatewayOptions()
_SETTINGS: Final = GatewaySettings()


class _Gateway(Section):
    http: Listener = (_OPTIONS.http_address, _OPTIONS.http_port)
    https: Listener | None = None
    tls: list[_Certificate] = []
    public_https_port: Port | None = None
    redirect_to_https: bool = _OPTIONS.redirect_to_https
    hsts: Seconds = _OPTIONS.hsts_max_age
    trusted_proxies: list[Network] = []
    compression: bool = _OPTIONS.compression
    access_log: str = _OPTIONS.access_log
    connect_timeout: Seconds = _OPTIONS.connect_timeout
    retries: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=10)] = _OPTIONS.retries
    drain: Seconds = _SETTINGS.drain
    envoy: str = _SETTINGS.envoy
    workers: Annotated[int, BeforeValidator(_whole), Field(ge=0, le=1024)] = _SETTINGS.workers
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    xds: _Xds | None = None


class _Api(Section):
    listen: Annotated[list[str], BeforeValidator(_texts)] | None = None
    token_file: str = ""


class ServeSections(Section):
    """These sections; the base of the whole file."""

    gateway: _Gateway | None = None
    api: _Api | None = None
    match_domains: list[Domain] = []
    debug: bool = False

    def gateway_options(self, file: FileOf, fault: Fault, path: PathOf) -> GatewayOptions:
        """Return what Envoys are told beside the routes.

        Args:
            file: returns the path of a file that is named at a place, and notes when there is none.
            fault: notes a fault at a place: path, message, hint.
            path: returns the path of a file that need not be there.

        """
        told = self.gateway or _Gateway()
        https = told.https or (_OPTIONS.https_address, HTTPS_PORT if told.tls else 0)
        if told.https is not None and told.https[1] and not told.tls:
            hint = "add gateway.tls with cert_file and key_file"
            fault(("gateway", "https"), "HTTPS needs a certificate", hint)
        if told.redirect_to_https and not https[1] and not told.public_https_port:
            fault(("gateway", "redirect_to_https"), "there is no HTTPS to redirect to", "add gateway.tls")
        return GatewayOptions(
            http_address=told.http[0],
            http_port=told.http[1],
            https_address=https[0],
            https_port=https[1],
            public_https_port=told.public_https_port or 0,
            certificates=tuple(
                CertificateFiles(
                    file(pair.cert_file, ("gateway", "tls", number, "cert_file")),
                    file(pair.key_file, ("gateway", "tls", number, "key_file")),
                )
                for number, pair in enumerate(told.tls)
            ),
            redirect_to_https=told.redirect_to_https,
            hsts_max_age=told.hsts,
            match_domains=tuple(self.match_domains),
            compression=told.compression,
            debug=self.debug,
            access_log=told.access_log if told.access_log in {"", "-"} else str(path(told.access_log)),
            trusted_proxies=tuple(told.trusted_proxies),
            connect_timeout=told.connect_timeout,
            retries=told.retries,
        )

    def gateway_settings(self, file: FileOf, fault: Fault) -> GatewaySettings:
        """Return how our Envoy is run; arguments as for :meth:`gateway_options`."""
        told = self.gateway or _Gateway()
        xds = self._xds(told.xds, file, fault) if told.xds is not None else XdsSettings()
        return GatewaySettings(
            drain=told.drain, envoy=told.envoy, workers=told.workers, log_level=told.log_level, xds=xds
        )

    @staticmethod
    def _xds(told: _Xds, file: FileOf, fault: Fault) -> XdsSettings:
        at: DocumentPath = ("gateway", "xds", "tls")
        host, port = told.listen
        if told.tls is None:
            if port and not ipaddress.ip_address(host).is_loopback:
                hint = "add gateway.xds.tls with ca_file, cert_file and key_file, or listen on 127.0.0.1"
                fault(("gateway", "xds", "listen"), f"{host}:{port} would tell everybody all routes", hint)
            return XdsSettings(host, port)
        tls = TLSFiles(
            ca_file=file(told.tls.ca_file, (*at, "ca_file")),
            cert_file=file(told.tls.cert_file, (*at, "cert_file")),
            key_file=file(told.tls.key_file, (*at, "key_file")),
        )
        return XdsSettings(host, port, tls)

    def api_settings(self, file: FileOf) -> ApiSettings:
        """Return what is said about the API."""
        told = self.api or _Api()
        listen = None if told.listen is None else tuple(told.listen)
        return ApiSettings(listen, file(told.token_file, ("api", "token_file")))
