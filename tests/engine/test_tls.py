from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from pilotage.core.errors import EngineUnreachable
from pilotage.engine.config import DockerProviderConfig, TLSFiles
from pilotage.engine.diagnosis import DiagnosedError
from pilotage.engine.pool import Pool, new_client
from pilotage.engine.tls import TLSMaterial
from tests.support.faults import behave, puppet
from tests.support.rights import open_to_everybody
from tests.support.tls import Authority, server_context


@pytest.fixture
def house(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "house")


def message_of(files: TLSFiles) -> str:
    with pytest.raises(DiagnosedError) as caught:
        TLSMaterial(files).context()
    found = caught.value.diagnosis
    return f"{found.what}; {found.remedy}"


def test_without_files_the_system_cas_are_trusted_with_strict_checks() -> None:
    context, usual = TLSMaterial(None).context(), ssl.create_default_context()
    assert context.verify_flags == usual.verify_flags
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_named_ca_disables_only_strict_x509_checks(house: Authority) -> None:
    context, usual = TLSMaterial(house.files()).context(), ssl.create_default_context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags | ssl.VERIFY_X509_STRICT >= usual.verify_flags
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1


def test_a_context_is_kept_until_a_file_changes(house: Authority) -> None:
    material = TLSMaterial(house.files(house.issue("me", "me@house.invalid")))
    first = material.context()
    assert material.context() is first
    Path(house.ca_file).write_bytes(Path(house.ca_file).read_bytes() + b"\n")
    assert material.context() is not first


def test_each_missing_file_is_named(house: Authority, tmp_path: Path) -> None:
    cert, key = house.issue("me", "me@house.invalid")
    nowhere = str(tmp_path / "nowhere.pem")
    assert f"the CA file {nowhere} does not exist" in message_of(TLSFiles(ca_file=nowhere))
    assert f"the certificate {nowhere} does not exist" in message_of(TLSFiles(cert_file=nowhere, key_file=key))
    assert f"the key {nowhere} does not exist" in message_of(TLSFiles(cert_file=cert, key_file=nowhere))
    assert "cannot be read (Not a directory)" in message_of(TLSFiles(ca_file=f"{cert}/ca.pem"))
    assert "cannot be read (Is a directory)" in message_of(TLSFiles(ca_file=str(tmp_path)))


def test_invalid_pem_files_are_named(house: Authority, tmp_path: Path) -> None:
    cert, key = house.issue("me", "me@house.invalid")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    assert f"the CA file {text} contains no certificate; use a PEM file" in message_of(TLSFiles(ca_file=str(text)))
    assert "are not a certificate and its key in PEM form" in message_of(TLSFiles(cert_file=str(text), key_file=key))
    assert "check that the files were not swapped" in message_of(TLSFiles(cert_file=key, key_file=cert))


def test_a_key_of_another_certificate_is_reported(house: Authority) -> None:
    (cert, _), (_, key) = house.issue("me", "me@house.invalid"), house.issue("you", "you@house.invalid")
    assert f"the key {key} does not belong to the certificate {cert}" in message_of(
        TLSFiles(cert_file=cert, key_file=key)
    )


def test_an_encrypted_key_is_rejected_without_a_password_prompt(house: Authority) -> None:
    cert, key = house.issue("me", "me@house.invalid")
    plain = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert f"the key {key} is encrypted with a passphrase" in message_of(TLSFiles(cert_file=cert, key_file=key))


@pytest.mark.usefixtures("root")
def test_an_unreadable_key_is_named(house: Authority, tmp_path: Path) -> None:
    cert, key = house.issue("me", "me@house.invalid")
    Path(key).chmod(0o600)
    open_to_everybody(tmp_path)
    os.seteuid(65534)
    try:
        said = message_of(TLSFiles(ca_file=house.ca_file, cert_file=cert, key_file=key))
    finally:
        os.seteuid(0)
    assert f"this user cannot read {key}; check its owner and mode" in said


async def test_certificates_are_read_again_when_their_files_change(house: Authority) -> None:
    sound = house.issue("me", "me@house.invalid")
    used = (sound[0] + ".used", sound[1] + ".used")
    stale = Authority(house.directory, "strangers").issue("me", "me@strangers.invalid")

    def install(pair: tuple[str, str]) -> None:
        for target, source in zip(used, pair, strict=True):
            Path(target).write_bytes(Path(source).read_bytes())

    install(stale)
    server = server_context(house.issue("engine", "127.0.0.1"), house)
    config_files = house.files(used)
    async with puppet(behave(), tls=server) as engine, Pool() as pool:
        config = DockerProviderConfig(engine.url, config_files, "far")
        with pytest.raises(EngineUnreachable, match="strangers"):
            await new_client(config, pool=pool)
        install(sound)
        async with await new_client(config, pool=pool) as client:
            await client.list_containers()
            install(stale)
            for exchange in engine.heads:
                exchange.reset()
            with pytest.raises(EngineUnreachable, match="strangers"):
                await client.ping()
            install(sound)
            await client.ping()


async def test_a_missing_file_is_an_error_of_the_engine_by_its_name(house: Authority, tmp_path: Path) -> None:
    async with Pool() as pool:
        config = DockerProviderConfig("tcp://127.0.0.1:1", TLSFiles(ca_file=str(tmp_path / "ca.pem")), "far")
        with pytest.raises(EngineUnreachable, match=r"^far: the CA file .*ca.pem does not exist; check the path$"):
            await new_client(config, pool=pool)
