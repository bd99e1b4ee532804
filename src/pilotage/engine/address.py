"""Parses and normalizes engine addresses such as ``ssh://me@host``. Pure, but may look for certificates."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import TYPE_CHECKING, Final, Literal, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from pilotage.core.errors import ConfigError
from pilotage.core.problems import Problem
from pilotage.core.suggest import did_you_mean
from pilotage.core.text import shorten
from pilotage.engine.config import DockerProviderConfig, TLSFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "LOCAL_SOCKET",
    "Address",
    "bracketed",
    "environment_tls",
    "is_local",
    "parse_address",
    "url_hostname",
]

LOCAL_SOCKET: Final = "unix:///var/run/docker.sock"
"""Docker's default socket."""

Scheme = Literal["unix", "tcp", "tls", "ssh", "agent", "context"]


class Address(msgspec.Struct, frozen=True):
    """A validated, normalized engine address. Equal addresses share a connection.

    Attributes:
        scheme: transport. ``http`` becomes ``tcp``; ``https``, and ``tcp`` with certificates, become ``tls``.
        host: host name or IP address without brackets; for ``context``, the context's name; ``""`` for ``unix``.
        port: TCP port; 0 for ``unix`` and ``context``, and for ``ssh`` if ssh's configuration sets the port.
        path: the socket for ``unix``; the remote socket, if given, for ``ssh``; a prefix of all request paths, without
            a trailing slash, for ``tcp`` and ``tls``.
        user: login name, ``ssh`` only.
        tls: certificate files; with the scheme ``tls``, ``None`` means the system's CAs and no client certificate.

    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""
    user: str = ""
    tls: TLSFiles | None = None

    @property
    def url(self) -> str:
        """The address as a URL, without its certificate files."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}://{user}{bracketed(self.host)}{port}{self.path}"

    @property
    def key(self) -> str:
        """URL followed by the certificate files, if any. Identifies a shared connection."""
        if self.tls is None:
            return self.url
        files = {"ca": self.tls.ca_file, "cert": self.tls.cert_file, "key": self.tls.key_file, "zip": self.tls.zip_file}
        options = [f"{name}={file}" for name, file in files.items() if file]
        if not self.tls.verify:
            options.append("unverified")
        return f"{self.url}#{','.join(options)}"

    def __str__(self) -> str:
        return self.url


def bracketed(host: str) -> str:
    """Return a host as URLs write it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


# ---- parsing ------------------------------------------------------------------------------------------------------

_SCHEMES: Final = ("unix", "tcp", "tls", "http", "https", "ssh", "agent", "context")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST_PORT = re.compile(r"[A-Za-z0-9_.-]+:[0-9]+|\[[0-9a-fA-F:.]+\]:[0-9]+")
_DEFAULT_HOST: Final = ("$DOCKER_HOST", "${DOCKER_HOST}")
_SOCKET_PATH_BYTES: Final = 107  # sun_path holds 108 with its closing NUL
_PLAIN_PORT: Final = 2375
_TLS_PORT: Final = 2376


def parse_address(config: DockerProviderConfig, env: Mapping[str, str] | None = None) -> Address:
    """Validate an engine's configuration and return its address.

    ``$DOCKER_HOST`` expands to that variable, or to the local socket if it is unset (LABELS II.7.1). If the URL equals
    ``DOCKER_HOST`` and the configuration has no certificates, ``DOCKER_TLS_VERIFY``, ``DOCKER_TLS`` and
    ``DOCKER_CERT_PATH`` apply, as in the docker CLI. The default port is Docker's: 2375, or 2376 with TLS.

    Args:
        config: the engine as configured. Certificate files are not checked here; missing ones fail when connecting.
        env: environment variables; ``None`` means no variables.

    Raises:
        ConfigError: the address is invalid; the error contains one problem with its remedy.

    """
    env = env or {}
    url, tls = config.url, config.tls
    if url in _DEFAULT_HOST:
        url = env.get("DOCKER_HOST") or LOCAL_SOCKET
    if tls is None and url == env.get("DOCKER_HOST"):
        tls = environment_tls(env)
    return _Parser(config, url, tls).read()


def environment_tls(env: Mapping[str, str]) -> TLSFiles | None:
    """Return the certificates that the docker CLI uses for ``DOCKER_HOST``; ``None`` for no TLS.

    Any text in ``DOCKER_TLS_VERIFY`` enables TLS, even ``0``; ``DOCKER_CERT_PATH`` defaults to ``~/.docker``. With
    ``DOCKER_TLS`` alone, the engine's certificate is not verified, and the client certificate is used if it exists.
    """
    folder = env.get("DOCKER_CERT_PATH") or env.get("DOCKER_CONFIG") or f"{env.get('HOME', '')}/.docker"
    files = TLSFiles(ca_file=f"{folder}/ca.pem", cert_file=f"{folder}/cert.pem", key_file=f"{folder}/key.pem")
    if env.get("DOCKER_TLS_VERIFY"):
        return files
    if not env.get("DOCKER_TLS"):
        return None
    has_pair = os.path.exists(files.cert_file) and os.path.exists(files.key_file)  # noqa: PTH110
    return TLSFiles(cert_file=files.cert_file, key_file=files.key_file, verify=False) if has_pair else _UNVERIFIED


_UNVERIFIED: Final = TLSFiles(verify=False)


_SSH_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")
_SSH_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*")
"""Hosts and users are restricted because ssh's configuration may insert them into shell commands (ProxyCommand)."""


class _Parser:
    """Parses one URL. Each method returns a part of the address or raises ConfigError with one problem."""

    def __init__(self, config: DockerProviderConfig, url: str, tls: TLSFiles | None) -> None:
        self.config = config
        self.url = url
        self.tls = tls

    def fail(self, message: str, hint: str, *, path: str = "") -> NoReturn:
        value = shorten(re.sub(r"(://[^/@]*?):[^/@]*@", r"\1:…@", self.url))  # hides a password
        raise ConfigError([Problem(message=message, hint=hint, value=value, provider=self.config.name, path=path)])

    def read(self) -> Address:
        self.check_text()
        match = _SCHEME.match(self.url)
        if match is None:
            self.no_scheme()
        scheme, rest = match[1].lower(), self.url[match.end() :]
        if scheme not in _SCHEMES:
            self.unknown_scheme(scheme)
        self.check_tls(scheme)
        if scheme == "unix":
            return self.unix(rest)
        if scheme == "context":
            if not rest or "/" in rest:
                self.fail(f"{self.url!r} has no context name", "write context://NAME; `docker context ls` lists them")
            return Address("context", host=rest)
        parts = self.split()
        if scheme == "ssh":
            return self.ssh(parts)
        return self.network(scheme, parts)

    def check_text(self) -> None:
        if not self.url:
            self.fail("the engine's address is empty", f"write {LOCAL_SOCKET}, or remove the engine")
        bad = next((c for c in self.url if c.isspace() or not c.isprintable()), None)
        if bad is not None:
            self.fail(
                f"the engine's address {shorten(self.url)!r} contains the character {shorten(bad)!r}", "remove it"
            )

    def no_scheme(self) -> NoReturn:
        text = self.url
        prefix = f"the engine's address {shorten(text)!r} has no scheme"
        colon = re.match(r"([A-Za-z]+):/?", text)
        if colon and colon[1].lower() in _SCHEMES:
            rest = text[colon.end(1) + 1 :].lstrip("/")
            root = "/" if colon[1].lower() == "unix" else ""
            self.fail(prefix, f"write {colon[1].lower()}://{root}{rest}")
        if _HOST_PORT.fullmatch(text):
            self.fail(prefix, f"write tcp://{text}")
        if text.startswith("/"):
            self.fail(prefix, f"write unix://{text}")
        if text.endswith(".sock"):
            self.fail(prefix, "write unix:// and the socket's full path")
        self.fail(prefix, f"write ssh://{text} or tcp://{text}:{_PLAIN_PORT}")

    def unknown_scheme(self, scheme: str) -> NoReturn:
        prefix = f"the engine's address {shorten(self.url)!r} has the scheme {scheme!r}"
        if scheme == "npipe":
            self.fail(f"{prefix}, a named pipe, which only Windows supports", "use ssh://, or tls:// with certificates")
        if scheme == "fd":
            self.fail(f"{prefix}, which only tells an engine where to listen", f"write {LOCAL_SOCKET}")
        allowed = f"use one of {', '.join(_SCHEMES)}"
        self.fail(f"{prefix}, which pilotage does not support", did_you_mean(scheme, _SCHEMES) or allowed)

    def check_tls(self, scheme: str) -> None:
        if self.tls is None:
            if scheme == "tls":
                self.fail(
                    "tls:// needs certificate files",
                    "add `tls:` with ca_file, cert_file and key_file, or write https:// to trust the system's CAs",
                )
            return
        if bool(self.tls.cert_file) != bool(self.tls.key_file):
            missing, given = ("key_file", "cert_file") if self.tls.cert_file else ("cert_file", "key_file")
            self.fail(f"{given} is set without {missing}", f"add {missing}", path=f"tls.{missing}")
        if scheme in {"unix", "ssh", "context"}:
            self.fail(f"certificate files do not apply to {scheme}://", "remove `tls:`", path="tls")
        if scheme == "http":
            self.fail("certificate files do not apply to http://", "write https:// or tcp://", path="tls")

    def unix(self, path: str) -> Address:
        if not path.startswith("/"):
            self.fail(
                f"{self.url!r} needs the full path of the socket", f"write unix:///{path or 'var/run/docker.sock'}"
            )
        size = len(path.encode())
        if size > _SOCKET_PATH_BYTES:
            self.fail(
                f"the socket path has {size} bytes, but Unix sockets allow at most {_SOCKET_PATH_BYTES}",
                "use a shorter path, for example through a symbolic link to its directory",
            )
        return Address("unix", path=path)

    def split(self) -> SplitResult:
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            hint = "write a port between 1 and 65535, and IPv6 addresses in brackets, as in tcp://[fd00::1]:2375"
            self.fail(f"the engine's address {shorten(self.url)!r} has no valid host and port", hint)
        if port == 0:
            self.fail("port 0 is not a valid port", "write a port between 1 and 65535")
        if not parts.hostname:
            host, colon, rest = f"{parts.scheme}://", parts.netloc.rpartition("@")[2], parts.path
            self.fail(f"{self.url!r} has no host", f"write {host}127.0.0.1{colon}{rest}")
        if parts.query or parts.fragment or self.url.endswith(("?", "#")):
            what = "a query (?)" if "?" in self.url else "a fragment (#)"
            self.fail(f"{what} has no meaning in an engine's address", "remove it")
        return parts

    def ssh(self, parts: SplitResult) -> Address:
        if parts.password is not None:
            self.fail(
                "an ssh address cannot contain a password because pilotage never sends one",
                "set up a key (ssh-copy-id) and remove the password",
            )
        # Keep the case: ssh matches the host against the aliases in its configuration, which may have capitals.
        written = parts.netloc.rpartition("@")[2]
        host = parts.hostname or "" if written.startswith("[") else written.partition(":")[0]
        user = unquote(parts.username or "")
        if host.startswith("-") or user.startswith("-"):
            self.fail(f"{self.url!r}: host and user cannot start with a dash", "check the address")
        for what, name, known in (("host", host, _SSH_HOST), ("user", user, _SSH_USER)):
            if name and not known.fullmatch(name):
                bad = next((char for char in name if not known.fullmatch(f"a{char}a")), name)
                hint = (
                    "use letters, digits, dots, dashes and underscores; other names need a Host entry in ~/.ssh/config"
                )
                self.fail(f"the {what} {shorten(name)!r} of an ssh address contains {shorten(bad)!r}", hint)
        path = unquote(parts.path) if parts.path != "/" else ""
        return Address("ssh", host=host, port=parts.port or 0, path=path, user=user)

    def network(self, scheme: str, parts: SplitResult) -> Address:
        if parts.username is not None or parts.password is not None:
            self.fail(f"{scheme}:// does not take a user name or password", "remove everything before the @")
        host, path = self.host(parts), parts.path.rstrip("/")
        if scheme == "agent":
            if parts.port is None or path:
                self.fail(f"{self.url!r} is not an agent address", f"write agent://{bracketed(host)}:8890")
            return Address("agent", host=host, port=parts.port, tls=self.tls)
        if scheme in {"tls", "https"} or self.tls is not None:
            return Address("tls", host=host, port=parts.port or _TLS_PORT, path=path, tls=self.tls)
        return Address("tcp", host=host, port=parts.port or _PLAIN_PORT, path=path)

    def host(self, parts: SplitResult) -> str:
        """Return the host in lower case (decision 3), and IP addresses in their shortest spelling."""
        host = parts.hostname or ""
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            return host


# ---- unparsed URLs -------------------------------------------------------------------------------------------------


def is_local(url: str, env: Mapping[str, str]) -> bool:
    """Return whether an engine's containers run on this machine (LABELS II.3.5).

    They do if the URL is a Unix socket or equals ``DOCKER_HOST`` (both may be empty), or if the URL's host is
    ``localhost``, a loopback address or the unspecified address. The host also decides for ``agent://`` URLs.
    Unparseable URLs are remote.
    """
    if url.startswith("unix://") or url == env.get("DOCKER_HOST", ""):
        return True
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost":
        return True
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.is_loopback or ip.is_unspecified


_OTHER_COLON = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^/]*:")


def url_hostname(url: str) -> str:
    """Return a URL's host in lower case, without user, port and brackets; ``""`` if it has none.

    An unparseable URL returns ``127.0.0.1`` (LABELS II.3.6).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "127.0.0.1"
    if _OTHER_COLON.match(url):
        return "127.0.0.1"
    return parts.hostname or ""
