from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from acme import messages
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pilotage.certificates.account import Account, seconds_until
from pilotage.certificates.errors import CertificateError
from pilotage.certificates.settings import Authority
from tests.support.certificates import opened
from tests.support.pebble import EAB, Pebble

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.process, pytest.mark.slow]


def authority(pebble: Pebble, **fields: object) -> Authority:
    found = Authority(directory=pebble.directory, ca_certs=(pebble.ca_file,), email="admin@example.com")
    return msgspec.structs.replace(found, **fields)


def uri_of(account: Account) -> str:
    account.connect()
    return str(account.client.net.account.uri)


def test_the_account_is_kept(pebble: Pebble, tmp_path: Path) -> None:
    storage = opened(tmp_path)
    first = uri_of(Account(authority(pebble), storage))
    assert uri_of(Account(authority(pebble), storage)) == first
    (file,) = (storage.folder / "accounts").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.unlink()
    assert uri_of(Account(authority(pebble), storage)) != first


def test_the_account_of_godoxy_is_taken_over(pebble: Pebble, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL
    (tmp_path / "acme.key").write_bytes(key.private_bytes(*form, serialization.NoEncryption()))
    account = Account(authority(pebble, account_key=str(tmp_path / "acme.key")), opened(tmp_path))
    first = uri_of(account)
    (tmp_path / "acme.key").unlink()
    assert uri_of(Account(authority(pebble), opened(tmp_path))) == first


def test_a_new_key_is_also_written_where_the_configuration_wants_it(pebble: Pebble, tmp_path: Path) -> None:
    path = tmp_path / "acme.key"
    first = uri_of(Account(authority(pebble, account_key=str(path), keep_account_key=True), opened(tmp_path)))
    assert path.stat().st_mode & 0o777 == 0o600
    assert uri_of(Account(authority(pebble, account_key=str(path)), opened(tmp_path / "other"))) == first


def test_an_external_account_binding_is_used_or_asked_for(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", eab=True).running() as pebble:
        with pytest.raises(CertificateError, match="requires an external account binding; add eab_kid and eab_hmac"):
            Account(authority(pebble), opened(tmp_path)).connect()
        wrong = authority(pebble, eab_kid=EAB[0], eab_hmac="d3Jvbmc")
        with pytest.raises(CertificateError) as caught:
            Account(wrong, opened(tmp_path)).connect()
        assert "d3Jvbmc" not in str(caught.value)
        assert uri_of(Account(authority(pebble, eab_kid=EAB[0], eab_hmac=EAB[1]), opened(tmp_path)))


def test_most_nonces_may_be_rejected(tmp_path: Path) -> None:
    with Pebble(tmp_path / "pebble", bad_nonces=60).running() as pebble:
        account = Account(authority(pebble), opened(tmp_path))
        first = uri_of(account)
        known = account.client.net.account
        again = account.call(lambda: account.client.query_registration(known))
        assert again.uri == first


def test_a_revoked_account_says_how_to_make_a_new_one(pebble: Pebble, tmp_path: Path) -> None:
    storage = opened(tmp_path)
    account = Account(authority(pebble), storage)
    account.connect()
    known = account.client.net.account
    account.call(lambda: account.client.deactivate_registration(known))
    with pytest.raises(CertificateError) as caught:
        Account(authority(pebble), storage).connect()
    assert "deactivated" in caught.value.what
    assert "remove its file from the folder accounts to register a new one" in caught.value.hint


def test_a_ca_that_is_away_or_not_trusted_is_an_error(pebble: Pebble, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"is not trusted.*ca_certs"):
        Account(authority(pebble, ca_certs=()), opened(tmp_path)).connect()
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(CertificateError, match=r"ca_certs: .*empty\.pem cannot be read"):
        Account(authority(pebble, ca_certs=(str(tmp_path / "empty.pem"),)), opened(tmp_path)).connect()
    pebble.stop()
    with pytest.raises(CertificateError, match=r"cannot reach 127\.0\.0\.1:"):
        Account(authority(pebble), opened(tmp_path)).connect()


def test_a_key_that_cannot_be_kept_or_read_stops_the_registration(pebble: Pebble, tmp_path: Path) -> None:
    storage = opened(tmp_path)
    account = Account(authority(pebble), storage)
    account.connect()
    (file,) = (storage.folder / "accounts").iterdir()
    file.write_text("damaged")
    with pytest.raises(CertificateError, match="is not a private key without a password"):
        Account(authority(pebble), storage).connect()
    (storage.folder / "accounts").rename(storage.folder / "elsewhere")
    with pytest.raises(CertificateError, match="cannot save the account key"):
        Account(authority(pebble), storage).connect()


def test_an_account_that_the_ca_has_forgotten_is_registered_again(pebble: Pebble, tmp_path: Path) -> None:
    account = Account(authority(pebble), opened(tmp_path))
    account.connect()
    pebble.stop()
    pebble.start()  # it keeps nothing
    known = account.client.net.account
    with pytest.raises(CertificateError) as caught:
        account.call(lambda: account.client.deactivate_registration(known))
    assert isinstance(caught.value.__cause__, messages.Error)
    account.forget()
    assert uri_of(account)


def test_retry_after_is_read_in_both_forms() -> None:
    assert seconds_until("120") == 120
    assert seconds_until("99999999") == 7 * 86_400
    assert seconds_until("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert 3.1e7 > seconds_until("Fri, 31 Dec 2100 23:59:59 GMT") > 0
    for wrong in ("", "soon", "-5", "1e99"):
        assert seconds_until(wrong) == 0
