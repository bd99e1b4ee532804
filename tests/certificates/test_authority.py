from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from pilotage.certificates.authority import ROOT, InternalAuthority
from pilotage.certificates.errors import CertificateError
from tests.support.certificates import DAY, opened

if TYPE_CHECKING:
    from pathlib import Path


def test_clients_that_trust_the_root_trust_its_certificates(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    issued = InternalAuthority(storage).issue(["nas.lan", "*.nas.lan"], "ec256", time.time())
    root = storage.folder / ROOT
    store = Store(x509.load_pem_x509_certificates(root.read_bytes()))
    (leaf,) = x509.load_pem_x509_certificates(issued.chain)
    for name in ("nas.lan", "shop.nas.lan"):
        assert PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    ssl.create_default_context(cafile=str(root))  # OpenSSL reads it, too


def test_the_root_stays_the_same(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    InternalAuthority(storage).issue(["a.lan"], "ec256", time.time())
    root = (storage.folder / ROOT).read_bytes()
    InternalAuthority(storage).issue(["b.lan"], "rsa2048", time.time())
    assert (storage.folder / ROOT).read_bytes() == root


def test_a_damaged_root_is_an_error_and_is_not_replaced(tmp_path: Path) -> None:
    storage = opened(tmp_path)
    InternalAuthority(storage).issue(["a.lan"], "ec256", time.time())
    (storage.folder / ROOT).write_text("damaged")
    with pytest.raises(CertificateError, match="damaged"):
        InternalAuthority(storage).issue(["a.lan"], "ec256", time.time())
    assert (storage.folder / ROOT).read_text() == "damaged"


def test_a_root_that_is_not_valid_is_reported(tmp_path: Path) -> None:
    storage, now = opened(tmp_path), time.time()
    InternalAuthority(storage).issue(["a.lan"], "ec256", now)
    for wrong in (now - 30 * 365 * DAY, now + 11 * 365 * DAY):
        with pytest.raises(CertificateError, match=r"is only valid from .* UTC; check this machine's clock"):
            InternalAuthority(storage).issue(["a.lan"], "ec256", wrong)
