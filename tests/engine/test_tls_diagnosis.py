"""Each TLS fault has its own message: on a real engine with mutual TLS, and on servers that speak one version only."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.engine.diagnosis import Diagnosis
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.tls import TLSMaterial
from pilotage.engine.tls_diagnosis import Peer, Shown, explain_tls
from tests.support.faults import Exchange, behave, puppet
from tests.support.leaks import assert_no_leaks
from tests.support.required import of_own_engine
from tests.support.tls import Authority, bare_recipe, server_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.engines import Engine

pytestmark = pytest.mark.process

VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ssl.TLSVersion:
    """Speak only this version of TLS."""
    only = VERSIONS[request.param]
    load = TLSMaterial._load

    def loaded(self: TLSMaterial) -> ssl.SSLContext:
        context = load(self)
        context.minimum_version = context.maximum_version = only
        return context

    monkeypatch.setattr(TLSMaterial, "_load", loaded)
    return only


@pytest.fixture
def engine_ca(docker_engine: Engine, tmp_path: Path) -> Authority:
    """The CA of the real engine."""
    return Authority.of_engine(of_own_engine(docker_engine.cert_dir, "CA for the tests"), tmp_path)


async def failure(url: str, tls: TLSFiles | None) -> str:
    """Return the message of a failed connection, after seeing that nothing is left of it."""
    async with assert_no_leaks(), Pool() as pool:
        with pytest.raises(EngineUnreachable) as caught:
            await new_client(DockerProviderConfig(url, tls, "far"), pool=pool)
        return str(caught.value)


# ---- a real engine


async def test_mutual_tls_works_with_a_real_engine(
    docker_engine: Engine, engine_ca: Authority, version: ssl.TLSVersion
) -> None:
    files = engine_ca.files(engine_ca.issue("client", "me@pilotage.invalid"))
    async with Pool() as pool:
        for scheme in ("tcp", "tls", "https"):
            url = str(docker_engine.tls_url).replace("tcp", scheme, 1)
            async with await new_client(DockerProviderConfig(url, files, "far"), pool=pool) as client:
                await client.list_containers()
                assert client.daemon_host.startswith("tls://127.0.0.1:")
        assert len(pool._entries) == 1


def unsound(name: str) -> Callable[[Authority, Path], tuple[str, str]]:
    def make(engine_ca: Authority, folder: Path) -> tuple[str, str]:
        match name:
            case "none":
                return ("", "")
            case "expired":
                return engine_ca.issue("me", "me@pilotage.invalid", expired=True)
            case "future":
                return engine_ca.issue("me", "me@pilotage.invalid", future=True)
            case "stranger":
                return Authority(folder, "strangers").issue("me", "me@pilotage.invalid")
        raise AssertionError(name)

    return make


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("none", ["requires a client certificate, but `tls:` has none", "add cert_file and key_file"]),
        ("expired", ["the client certificate", "engine-me.pem ('me') expired on 20", "issue a new one"]),
        ("future", ["engine-me.pem ('me') is not valid before 20", "clocks"]),
        ("stranger", ["rejects the client certificate", "strangers-me.pem ('me', issued by 'strangers')"]),
    ],
)
async def test_a_real_engine_that_does_not_accept_us_is_explained(
    docker_engine: Engine, engine_ca: Authority, version: ssl.TLSVersion, tmp_path: Path, kind: str, words: list[str]
) -> None:
    pair = unsound(kind)(engine_ca, tmp_path)
    for _ in range(3):  # the message must not depend on who wins the race for the closed connection
        message = await failure(str(docker_engine.tls_url), engine_ca.files(pair))
        for word in words:
            assert word in message


async def test_a_server_only_certificate_is_not_accepted_for_clients(version: ssl.TLSVersion, tmp_path: Path) -> None:
    files, pair = bare_recipe(tmp_path)
    context = server_context(pair)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.ca_file)
    async with puppet(behave(), tls=context) as server:
        message = await failure(f"tls://localhost:{server.port}", files)
    assert "recipe-leaf.pem ('recipe leaf') is not valid for clients; issue one with extendedKeyUsage=clientAuth" in (
        message
    )


async def test_a_ca_that_did_not_issue_the_engines_certificate_is_named_with_its_file(
    docker_engine: Engine, engine_ca: Authority, tmp_path: Path
) -> None:
    strangers = Authority(tmp_path, "strangers")
    message = await failure(str(docker_engine.tls_url), strangers.files())
    assert "was issued by 'pilotage tests', which is not in " in message
    assert f"{strangers.ca_file} (it contains 'strangers'); set ca_file to the CA" in message


async def test_the_system_does_not_trust_a_private_ca(docker_engine: Engine, engine_ca: Authority) -> None:
    message = await failure(str(docker_engine.tls_url).replace("tcp", "https", 1), None)
    assert (
        "was issued by 'pilotage tests', which this system does not trust; set ca_file under `tls:` to its CA"
        in message
    )


async def test_plain_http_to_a_tls_port_suggests_tls(docker_engine: Engine, engine_ca: Authority) -> None:
    message = await failure(str(docker_engine.tls_url), None)
    assert "expects TLS but received plain HTTP; use tls:// and set the certificate files under `tls:`" in message


async def test_tls_to_a_plain_port_suggests_tcp(docker_engine: Engine, engine_ca: Authority) -> None:
    message = await failure(of_own_engine(docker_engine.tcp_url, "plain TCP port"), engine_ca.files())
    assert "does not speak TLS; use tcp:// without `tls:`" in message


# ---- what a real engine cannot be made to show


@pytest.mark.parametrize(
    ("identities", "options", "words"),
    [
        (("localhost", "127.0.0.1"), {"expired": True}, "('engine') expired on 20"),
        (("localhost", "127.0.0.1"), {"future": True}, "('engine') is not valid before 20"),
        (("elsewhere.invalid", "10.0.0.1"), {}, "is valid for elsewhere.invalid, 10.0.0.1, not for 127.0.0.1"),
    ],
)
async def test_an_invalid_engine_certificate_is_explained(
    version: ssl.TLSVersion, tmp_path: Path, identities: tuple[str, ...], options: dict[str, bool], words: str
) -> None:
    ca = Authority(tmp_path, "house")
    pair = ca.issue("engine", *identities, **options)
    async with puppet(behave(), tls=server_context(pair)) as server:
        assert words in await failure(server.url, ca.files())


async def test_a_tls_server_that_closes_on_plain_http_suggests_tls(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "house").issue("engine", "127.0.0.1")
    async with puppet(behave(), tls=server_context(pair)) as server:
        assert "or use tls:// if the port expects TLS" in await failure(server.url, None)


@pytest.mark.parametrize("said", ["TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL"])
def test_an_engine_with_no_version_of_tls_in_common_is_explained(said: str) -> None:
    found = explain_tls(None, Shown(alert=said), Peer("old.invalid", 2376, "old.invalid", None))
    assert found == Diagnosis("old.invalid:2376 supports no secure TLS version (1.2 or newer)", "upgrade the engine")


def test_unknown_tls_errors_quote_openssl() -> None:
    found = explain_tls(None, Shown(alert="TLSV1_UNRECOGNIZED_NAME"), Peer("::1", 2376, "::1", None))
    assert found == Diagnosis("TLS with [::1]:2376 failed: tlsv1 unrecognized name")


async def test_a_ca_made_by_dockers_documented_recipe_is_good_enough(tmp_path: Path) -> None:
    files, pair = bare_recipe(tmp_path, server_only=False)
    context = server_context(pair)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files.ca_file)
    async with (
        puppet(behave(), tls=context) as server,
        Pool() as pool,
        await new_client(DockerProviderConfig(f"tls://localhost:{server.port}", files), pool=pool) as client,
    ):
        assert await client.list_containers() == []


async def test_an_intermediate_ca_may_be_the_one_to_trust(tmp_path: Path) -> None:
    root = Authority(tmp_path, "root")
    middle = Authority(tmp_path, "middle", root.ca.create_child_ca())
    async with (
        puppet(behave(), tls=server_context(middle.issue("engine", "127.0.0.1"))) as server,
        Pool() as pool,
        await new_client(DockerProviderConfig(server.url, middle.files()), pool=pool) as client,
    ):
        await client.ping()


async def test_a_context_that_skips_verification_accepts_any_certificate(tmp_path: Path) -> None:
    pair = Authority(tmp_path, "house").issue("engine", "elsewhere.invalid", expired=True)
    async with (
        puppet(behave(), tls=server_context(pair)) as server,
        Pool() as pool,
        await new_client(DockerProviderConfig(server.url, TLSFiles(verify=False)), pool=pool) as client,
    ):
        await client.ping()


async def test_a_healthy_tls_engine_that_cuts_an_answer_is_not_blamed_on_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "house")

    async def cut(exchange: Exchange) -> None:
        exchange.reset()

    async with (
        puppet(behave(json=cut), tls=server_context(ca.issue("engine", "127.0.0.1"))) as server,
        Pool() as pool,
        await new_client(DockerProviderConfig(server.url, ca.files(), "far"), pool=pool) as client,
    ):
        with pytest.raises(EngineUnreachable, match=r"^far: the connection was .* GET /containers/json"):
            await client.list_containers()
