"""Which connections ask for client certificates, for every kind of name and of certificate, with a real Envoy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.options import CertificateFiles
from pilotage.xds.self_signed import self_signed
from pilotage.xds.served_certificates import ServedCertificate
from tests.support.gateway import route, target
from tests.support.handshakes import context, status
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from tests.xds.conftest import Envoy


def _files(folder: Path, authority: trustme.CA, *names: str, default: bool = False) -> CertificateFiles:
    issued, path = authority.issue_cert(*names), str(folder / names[0].replace("*", "any"))
    issued.cert_chain_pems[0].write_to_path(f"{path}.pem")
    issued.private_key_pem.write_to_path(f"{path}.key")
    return CertificateFiles(f"{path}.pem", f"{path}.key", default=default)


async def test_every_name_of_a_route_asks_whatever_its_certificate(
    envoy: Envoy, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.issue_cert("alice@example.org").private_key_and_cert_chain_pem.write_to_path(tmp_path / "alice")
    alice, nobody = context(certificate=str(tmp_path / "alice")), context()
    # A percent sign begins an operator in many of Envoy's texts.
    profiles = (ClientProfile("100% staff", (str(tmp_path / "ca.pem"),)),)
    options: dict[str, Any] = {
        "https_address": "127.0.0.1",
        "https_port": free_port(),
        "automatic_certificates": True,
        "client_profiles": profiles,
        "trusted_proxies": ("127.0.0.9",),
        "certificates": (
            _files(tmp_path, authority, "exact.org"),
            _files(tmp_path, authority, "*.wild.org"),
            _files(tmp_path, authority, "default.org", "127.0.0.1", default=True),
        ),
    }
    async with envoy(**options) as gw, target() as app:
        port = options["https_port"]
        gw.ads.certificates.set_certificates(
            [
                ServedCertificate(frozenset({name}), self_signed(name))
                for name in ("auto.org", "*.auto.org", "short.auto.net")
            ]
        )
        closed = {"inbound_mtls_profile": "100% staff"}

        async def statuses(name: str | None, host: str) -> tuple[int, int]:
            one, other = (asyncio.to_thread(status, port, it, name, host) for it in (alice, nobody))
            return await one, await other

        names = ("exact.org", "a.wild.org", "auto.org", "a.auto.org", "elsewhere.net")
        await gw.publish(*(route(name, app.port, **closed) for name in names), route("short", app.port, **closed))
        for name in (*names, "short.wild.org", "short.auto.net", "short.nowhere.net"):
            assert await statuses(name, name) == (200, 403), name
            assert await statuses("other.wild.org", name) == (421, 421), name
        assert await statuses(None, "exact.org") == (421, 421)
        # Names of other routes do not ask, and after the profiles are gone, none does.
        await gw.publish(route("exact.org", app.port), route("*.wild.org", app.port, **closed))
        assert await statuses("exact.org", "exact.org") == (200, 200)
        assert await statuses("b.wild.org", "b.wild.org") == (200, 403)
        assert await statuses("exact.org", "b.wild.org") == (421, 421)
        # The default route serves every name, and clients without a name.
        await gw.publish(route("open.wild.org", app.port), route("*", app.port, **closed))
        for server_name in ("exact.org", "a.auto.org", "elsewhere.net", None):
            assert await statuses(server_name, "anything.example") == (200, 403), server_name
        assert await statuses("open.wild.org", "open.wild.org") == (200, 200)
        await gw.publish(route("exact.org", app.port))
        assert await statuses("exact.org", "exact.org") == (200, 200)
        assert not [name for _, name in gw.ads.snapshot.resources if name.startswith("client-ca/")][1:]
        assert not gw.refused
