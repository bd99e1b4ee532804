"""Pebble, the ACME server for tests, and its DNS server, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trustme

from tests.support.go import go_program
from tests.support.install import debian_packages
from tests.support.ports import free_port
from tests.support.required import required
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHORT_LIFETIME", "Pebble", "new_pebble"]

SHORT_LIFETIME: Final = 6 * 86_400
"""Lifetime of the profile ``shortlived``, in seconds, as Let's Encrypt's."""

_PACKAGES: Final = {"pebble": "pebble", "pebble-challtestsrv": "pebble"}
_MODULE: Final = "github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.3"
EAB: Final = ("kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W")


def new_pebble() -> Path:
    """Return a Pebble that knows profiles and ARI, which Debian's does not, and build it if necessary.

    Raises:
        EngineUnavailable: Go is missing, or cannot build it.

    """
    return go_program("pebble-2.10", "pebble", _MODULE)


class Pebble:
    """A running ACME server that trusts only the tests' DNS server.

    Args:
        folder: for its configuration.
        eab: whether accounts need an external account binding (:data:`EAB`).
        bad_nonces: percentage of good nonces that it rejects.
        newer: whether to run the version with profiles and ARI.
        lifetime: of certificates in seconds; needs ``newer``.
        dns: address of the DNS server that it asks; its own mock server if omitted.
        http_port, tls_port: the ports where it validates HTTP-01 and TLS-ALPN-01; free ports if 0.

    Attributes:
        http_port: port on which it validates HTTP-01.
        tls_port: port on which it validates TLS-ALPN-01.
        ca_file: CA of the API's certificate.

    """

    def __init__(
        self,
        folder: Path,
        *,
        eab: bool = False,
        bad_nonces: int = 5,
        newer: bool = False,
        lifetime: int = 0,
        dns: str = "",
        http_port: int = 0,
        tls_port: int = 0,
    ) -> None:
        with required():
            debian_packages(_PACKAGES)
            self._program = str(new_pebble()) if newer else "pebble"
        self._folder = folder
        self._port, self._management, self._dns_port, self._dns_management = (free_port() for _ in range(4))
        self.http_port, self.tls_port = http_port or free_port(), tls_port or free_port()
        self._dns = dns
        self._env = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(bad_nonces), "PEBBLE_AUTHZREUSE": "0"}
        folder.mkdir(exist_ok=True)
        ca = trustme.CA()
        self.ca_file = str(folder / "api-ca.pem")
        ca.cert_pem.write_to_path(self.ca_file)
        leaf = ca.issue_cert("127.0.0.1", "localhost")
        leaf.private_key_pem.write_to_path(folder / "api-key.pem")
        leaf.cert_chain_pems[0].write_to_path(folder / "api.pem")
        profiles = {
            "default": {"description": "default", "validityPeriod": lifetime or 90 * 86_400},
            "shortlived": {"description": "short", "validityPeriod": SHORT_LIFETIME},
        }
        config: dict[str, Any] = {
            "listenAddress": f"127.0.0.1:{self._port}",
            "managementListenAddress": f"127.0.0.1:{self._management}",
            "certificate": str(folder / "api.pem"),
            "privateKey": str(folder / "api-key.pem"),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": eab,
            "externalAccountMACKeys": dict([EAB]) if eab else {},
            "domainBlocklist": ["blocked-domain.com"],
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": profiles,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def directory(self) -> str:
        """URL of the ACME directory."""
        return f"https://127.0.0.1:{self._port}/dir"

    @property
    def log(self) -> str:
        """What the server has printed."""
        return (self._folder / "pebble.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the servers, and wait until they respond."""
        dns = self._dns or f"127.0.0.1:{self._dns_port}"
        if not self._dns:
            self._run(
                "pebble-challtestsrv",
                *("-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", dns),
                *("-http01", "", "-https01", "", "-tlsalpn01", ""),
                *("-management", f"127.0.0.1:{self._dns_management}"),
            )
        self._run(self._program, "-config", str(self._folder / "pebble.json"), "-dnsserver", dns)
        wait_until(lambda: self._answers() or self._has_ended, lambda: self.log)
        assert not self._has_ended, self.log

    @property
    def _has_ended(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def stop(self) -> None:
        """End the servers."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(10)
        self._processes.clear()

    @contextlib.contextmanager
    def running(self) -> Iterator[Pebble]:
        """Run the servers while the context is active."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def set_txt(self, name: str, value: str) -> None:
        """Set a TXT record on the mock DNS server."""
        self.dns_call("set-txt", host=f"{name}.", value=value)

    def dns_call(self, action: str, **values: object) -> None:
        """Call the management API of the mock DNS server."""
        self._post(f"http://127.0.0.1:{self._dns_management}/{action}", values)

    def root(self) -> bytes:
        """Return the root certificate of the issued certificates, as PEM."""
        return self._get(f"https://127.0.0.1:{self._management}/roots/0")

    def set_renewal_info(self, certificate: str, start: str, end: str, retry_after: int = 60) -> None:
        """Make the server suggest a renewal window for a PEM certificate (RFC 3339 times)."""
        window = {"suggestedWindow": {"start": start, "end": end}}
        answer = {"certificate": certificate, "ariResponse": json.dumps(window), "retryAfter": str(retry_after)}
        self._post(f"https://127.0.0.1:{self._management}/set-renewal-info/", answer)

    def _run(self, *command: str) -> None:
        with (self._folder / f"{Path(command[0]).name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | self._env)
            )

    def _answers(self) -> bool:
        try:
            return bool(self._get(self.directory))
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionError):
                raise
            return False  # it does not listen yet

    def _get(self, url: str) -> bytes:
        return bytes(urllib.request.urlopen(url, timeout=10, context=self._context()).read())

    def _post(self, url: str, values: dict[str, Any]) -> None:
        request = urllib.request.Request(url, json.dumps(values).encode())
        context = self._context() if url.startswith("https") else None
        urllib.request.urlopen(request, timeout=10, context=context).read()

    def _context(self) -> Any:
        import ssl

        return ssl.create_default_context(cafile=self.ca_file)
