from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pilotage.core.errors import GatewayError
from pilotage.xds.self_signed import PLACEHOLDER, certified_names, placeholder, self_signed
from pilotage.xds.served_certificates import CertificatePair


def test_a_self_signed_certificate_is_for_one_name_and_has_a_key_of_its_own() -> None:
    first, second = self_signed("shop.example.org"), self_signed("shop.example.org")
    assert certified_names(first) == {"shop.example.org"}
    assert first.key_pem != second.key_pem
    key = x509.load_pem_x509_certificate(first.chain_pem).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


def test_a_long_name_is_only_an_alternative_name() -> None:
    name = ".".join(["a" * 60] * 3)
    assert certified_names(self_signed(name)) == {name}


def test_the_placeholder_is_always_the_same() -> None:
    assert placeholder() == placeholder()
    assert certified_names(placeholder()) == {PLACEHOLDER}


@pytest.mark.parametrize("name", ["bücher.example.org"])
def test_a_name_outside_of_ascii_is_an_error(name: str) -> None:
    with pytest.raises(GatewayError, match="no certificate can be made"):
        self_signed(name)


def test_a_pair_that_envoy_could_not_use_is_an_error() -> None:
    one, other = self_signed("a.example.org"), self_signed("a.example.org")
    for pair, message in (
        (CertificatePair(one.chain_pem, other.key_pem), "does not belong"),
        (CertificatePair(b"", one.key_pem), "not a PEM"),
        (CertificatePair(one.chain_pem, b"nothing"), "not a PEM"),
    ):
        with pytest.raises(GatewayError, match=message):
            certified_names(pair)
