"""step-ca, a private ACME CA, on loopback."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

import trustme

from tests.support.go import go_program
from tests.support.handshakes import context
from tests.support.ports import free_port
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["step_ca"]

_MODULE: Final = "github.com/smallstep/certificates/cmd/step-ca@v0.30.2"


@contextlib.contextmanager
def step_ca(folder: Path, http_port: int, tls_port: int, resolver: str) -> Iterator[tuple[str, str]]:
    """Run it; yield the URL of its ACME directory, and the file with its root certificate.

    Building it takes several minutes.

    Args:
        folder: for its files.
        http_port, tls_port: where it validates HTTP-01 and TLS-ALPN-01.
        resolver: address and port of its DNS server.

    Raises:
        EngineUnavailable: it cannot be built.

    """
    program = go_program("step-ca-0.30", "step-ca", _MODULE, patience=3600)
    folder.mkdir(exist_ok=True)
    root = trustme.CA()
    intermediate = root.create_child_ca()
    for name, content in (
        ("root.pem", root.cert_pem),
        ("ca.pem", intermediate.cert_pem),
        ("ca-key.pem", intermediate.private_key_pem),
    ):
        content.write_to_path(folder / name)
    port = free_port()
    challenges = ["http-01", "tls-alpn-01"]
    configuration = {
        "root": str(folder / "root.pem"),
        "crt": str(folder / "ca.pem"),
        "key": str(folder / "ca-key.pem"),
        "address": f"127.0.0.1:{port}",
        "dnsNames": ["127.0.0.1"],
        "db": {"type": "bbolt", "dataSource": str(folder / "db")},
        "authority": {"provisioners": [{"type": "ACME", "name": "acme", "challenges": challenges}]},
    }
    (folder / "ca.json").write_text(json.dumps(configuration))
    ports = (f"--acme-http-port={http_port}", f"--acme-tls-port={tls_port}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, folder / "ca.json", f"--resolver={resolver}", "--insecure", *ports],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(
            lambda: _answers(f"https://127.0.0.1:{port}/health") or process.poll() is not None,
            (folder / "log").read_text,
        )
        yield f"https://127.0.0.1:{port}/acme/acme/directory", str(folder / "root.pem")
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(url, timeout=10, context=context()).read())
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionError):
            raise
        return False  # it does not listen yet
