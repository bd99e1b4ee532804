"""Challenges and certificates, with a real Envoy."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

from pilotage.core.errors import GatewayError
from pilotage.xds.acme_challenges import MOST_CHALLENGES
from pilotage.xds.options import CertificateFiles, GatewayOptions
from pilotage.xds.self_signed import self_signed
from pilotage.xds.served_certificates import CertificatePair, ServedCertificate
from pilotage.xds.server import AdsServer
from tests.support.gateway import becomes, route, target
from tests.support.handshakes import Shown, context, shown
from tests.support.ports import free_port
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

    from tests.support.gateway import Gateway
    from tests.xds.conftest import Envoy

_PATH = "/.well-known/acme-challenge/"


def _https() -> dict[str, Any]:
    return {"automatic_certificates": True, "https_address": "127.0.0.1", "https_port": free_port()}


def _serial(pair: CertificatePair) -> int:
    return x509.load_pem_x509_certificate(pair.chain_pem).serial_number


def _made(*names: str) -> ServedCertificate:
    (name, *_) = names
    return ServedCertificate(frozenset(names), self_signed(name))


async def test_envoy_answers_a_challenge_before_everything_else(envoy: Envoy) -> None:
    async with envoy(automatic_certificates=True) as gw, target() as app:
        guarded = {"redirect_http": None, "cidr_whitelist": {"allow": ["192.0.2.0/24"]}}
        await gw.publish(route("app", app.port), route("shut", app.port, middlewares=guarded), route("gone"))
        certificates = gw.ads.certificates
        with pytest.raises(GatewayError, match="RFC 8555"):
            await certificates.set_http_challenge("one", "other")
        await asyncio.gather(*(certificates.set_http_challenge(f"one{it}", f"one{it}.mine") for it in range(20)))
        for host in ("app", "shut", "gone", "nowhere.example.org"):
            answer = await gw.ask(host, f"{_PATH}one7")
            assert (answer.status, answer.body) == (200, b"one7.mine")
            assert answer.headers["content-type"] == "text/plain"
        assert (await gw.ask("app", f"{_PATH}one7?x=1")).body == b"one7.mine"
        assert not app.seen
        # A container that obtains its own certificates gets every other token, and every other method.
        for path, method in (("one", "GET"), ("one7x", "GET"), ("one7/", "GET"), ("one7", "POST")):
            assert (await gw.ask("app", _PATH + path, method)).by == "target", path
        certificates.remove_http_challenge("one7")
        certificates.remove_http_challenge("unknown")
        await gw.ads.wait_for_acks()
        await becomes(lambda: _by(gw, "app", f"{_PATH}one7"), "target")
        assert (await gw.ask("app", f"{_PATH}one8")).body == b"one8.mine"


async def _by(gw: Gateway, host: str, path: str) -> str:
    answer = await gw.ask(host, path)
    return answer.by


async def test_a_challenge_is_answered_even_if_everything_is_redirected(envoy: Envoy) -> None:
    async with envoy(**_https(), redirect_to_https=True) as gw:
        await gw.ads.certificates.set_http_challenge("one", "one.mine")
        assert (await gw.ask("app", f"{_PATH}one")).body == b"one.mine"
        assert (await gw.ask("app", f"{_PATH}two")).status == 308


async def test_a_challenge_that_cannot_be_answered_is_an_error() -> None:
    server = AdsServer(GatewayOptions(http_port=0, automatic_certificates=True))
    with pytest.raises(GatewayError, match="plain HTTP listener"):
        await server.certificates.set_http_challenge("a", "a.b")
    server = AdsServer(GatewayOptions(automatic_certificates=True))
    with pytest.raises(GatewayError, match="RFC 8555"):
        await server.certificates.set_http_challenge("a", "b")
    with pytest.raises(TimeoutError):
        await server.certificates.set_http_challenge("a", "a.b", timeout=0)  # no Envoy is connected
    server.snapshot.listeners.http_challenges |= {f"a{it}": "a.b" for it in range(MOST_CHALLENGES)}
    with pytest.raises(GatewayError, match=f"{MOST_CHALLENGES:,}"):
        await server.certificates.set_http_challenge("b", "b.b")


async def test_an_authority_validates_a_name_over_tls(envoy: Envoy) -> None:
    async with envoy(**_https(), trusted_proxies=("127.0.0.9",)) as gw:
        certificates, port = gw.ads.certificates, gw.options.https_port
        certificates.set_certificates([_made("app.x"), _made("*.x")])
        answers = {name: self_signed(name) for name in ("app.x", "other.x")}
        await asyncio.gather(*(certificates.set_tls_alpn_challenge(*it) for it in answers.items()))

        async def seen(name: str, *protocols: str) -> Shown | None:
            return await asyncio.to_thread(shown, port, name, *protocols)

        for name, pair in answers.items():
            answer = await seen(name, "acme-tls/1")
            assert answer is not None
            assert answer[:3] == (name, _serial(pair), "acme-tls/1")
            ordinary = await seen(name, "h2", "http/1.1")
            assert ordinary is not None
            assert ordinary.protocol == "h2"
            assert ordinary.serial != _serial(pair)
        unasked = await seen("third.x", "acme-tls/1")
        assert unasked is not None
        assert (unasked.name, unasked.protocol) == ("*.x", None)
        certificates.remove_tls_alpn_challenge("APP.x")
        await gw.ads.wait_for_acks()
        gone = await seen("app.x", "acme-tls/1")
        assert gone is not None
        assert gone.serial != _serial(answers["app.x"])
        assert "acme/app.x" not in {name for _, name in gw.ads.snapshot.resources}


async def test_a_challenge_is_answered_by_all_envoys_when_the_call_returns(envoy: Envoy) -> None:
    async with envoy(**_https()) as gw, gw.another("second"):
        await gw.ads.certificates.set_http_challenge("a", "a.b")
        await gw.ads.certificates.set_tls_alpn_challenge("a.x", self_signed("a.x"))
        for session in gw.ads.envoys.sessions:
            assert session.has_current(gw.ads.snapshot.listeners.http_key)


async def test_each_name_gets_the_best_certificate(envoy: Envoy, authority: trustme.CA, tmp_path: Path) -> None:
    for name in ("file.x", "*.files.x"):
        issued = authority.issue_cert(name)
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    files = tuple(
        CertificateFiles(str(tmp_path / f"{name}.pem"), str(tmp_path / f"{name}.key"))
        for name in ("file.x", "*.files.x")
    )
    async with envoy(**_https(), certificates=files) as gw:
        certificates, port = gw.ads.certificates, gw.options.https_port

        async def names(*asked: str) -> list[str | None]:
            await gw.ads.wait_for_acks()
            found = [await asyncio.to_thread(shown, port, name, "h2") for name in asked]
            assert all(it.protocol == "h2" for it in found if it is not None)
            return [it and it.name for it in found]

        # A name without a certificate gets a self-signed one, unless a certificate from a file is valid for it.
        certificates.set_managed_names({"One.x", "two.x", "file.x", "a.files.x"})
        await until(lambda: set(certificates.self_signed_names) == {"one.x", "two.x"})
        assert await names("one.x", "two.x", "file.x", "a.files.x") == ["one.x", "two.x", "file.x", "*.files.x"]
        assert await names("three.x", "files.x", "a.one.x") == [None] * 3
        (problem,) = gw.ads.problems
        assert problem.message.startswith("one.x, two.x have only a self-signed certificate")
        # Full names take precedence over wildcards, and the operator's files over both.
        wildcard, one = _made("*.x"), _made("one.x")
        certificates.set_certificates([wildcard, one, _made("file.x"), _made("b.files.x")])
        assert await names("three.x", "b.files.x", "a.files.x") == ["*.x", "b.files.x", "*.files.x"]
        seen = await asyncio.to_thread(shown, port, "one.x")
        assert seen is not None
        assert seen.serial == _serial(one.pair)
        assert certificates.self_signed_names == {}
        assert not gw.ads.problems
        certificates.set_certificates([wildcard])
        await becomes(lambda: names("one.x", "a.files.x"), ["*.x", "*.files.x"])


async def test_no_handshake_fails_and_no_connection_closes_while_certificates_change(envoy: Envoy) -> None:
    changes = 40
    async with envoy(**_https()) as gw, target() as app:
        certificates, port = gw.ads.certificates, gw.options.https_port
        await gw.publish(route("app", app.port))
        pairs = [self_signed("app.x") for _ in range(4)]
        others = [_made(f"h{number}.x") for number in range(12)]
        both = ServedCertificate(frozenset({"app.x"}), pairs[0])
        certificates.set_certificates([both])
        await gw.ads.wait_for_acks()
        end, lost, handshakes = threading.Event(), list[Any](), [0, 0]
        serials = {_serial(pair) for pair in pairs}

        def connect(number: int) -> None:
            while not end.is_set():
                found = shown(port, "app.x", "h2")
                if found is None or found.serial not in serials:
                    lost.append(found)
                handshakes[number] += 1

        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context("http/1.1"), server_hostname="app.x"
        )
        clients = [asyncio.create_task(asyncio.to_thread(connect, number)) for number in range(2)]
        try:
            change = 0
            while change < changes or min(handshakes) < 10:  # a slow machine needs more changes
                change += 1
                mine = ServedCertificate(frozenset({"app.x"}), pairs[change % 4])
                certificates.set_certificates([*others[: change % 12], mine, *([_made("*.x")] if change % 5 else [])])
                if change % 7 == 0:
                    await certificates.set_tls_alpn_challenge("app.x", pairs[1])
                if change % 7 == 3:
                    certificates.remove_tls_alpn_challenge("app.x")
                await gw.ads.wait_for_acks()
                writer.write(b"GET / HTTP/1.1\r\nHost: app\r\n\r\n")
                answer = await reader.readuntil(b"\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 200")
                assert b"connection: close" not in answer.lower()
                await reader.readexactly(int(answer.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        finally:
            end.set()
            await asyncio.gather(*clients)
            writer.close()
        assert not lost
        assert min(handshakes) > 10


async def test_a_certificate_that_cannot_be_served_is_reported_and_loses_nothing_else() -> None:
    server = AdsServer(GatewayOptions(**_https()))
    good, bad = _made("a.x"), ServedCertificate(frozenset({"b.x"}), CertificatePair(b"", b""))
    server.certificates.set_certificates([bad, good, ServedCertificate(frozenset({"c.x", "A.x"}), good.pair)])
    messages = [problem.message for problem in server.certificates.problems]
    assert messages == [
        "the certificate for b.x is not served: it is not a PEM certificate with its private key",
        "the certificate for A.x, c.x is not valid for c.x",
    ]
    assert [it.names for it in server.snapshot.listeners.slots.certificates] == [{"a.x"}]
