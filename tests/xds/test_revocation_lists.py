from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from pilotage.xds.client_authorities import read_profile
from pilotage.xds.client_profiles import ClientProfile
from pilotage.xds.revocation_lists import read_lists
from tests.support.revocation import revocation_list

if TYPE_CHECKING:
    from pathlib import Path


def test_lists_are_read_from_pem_and_der(tmp_path: Path) -> None:
    one, two = trustme.CA(), trustme.CA()
    (tmp_path / "one.der").write_bytes(revocation_list(one, encoding="DER"))
    (tmp_path / "both.pem").write_bytes(revocation_list(one) + revocation_list(two))
    authorities = one.cert_pem.bytes() + two.cert_pem.bytes()
    files = [str(tmp_path / name) for name in ("one.der", "both.pem")]
    assert read_lists(files, authorities).count(b"BEGIN X509 CRL") == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the revocation list {}: No such file"),
        (b"", "{} is not a revocation list"),
        (b"-----BEGIN X509 CRL-----", "{} is not a revocation list"),
        ("expired", "the revocation list {} has expired, on "),
        ("foreign", "no authority of the profile issued the revocation list {}"),
    ],
)
def test_a_list_that_cannot_be_used_closes_the_profile(
    tmp_path: Path, content: bytes | str | None, message: str
) -> None:
    authority, path = trustme.CA(), tmp_path / "list.pem"
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    made = {"expired": revocation_list(authority, days=-1.0), "foreign": revocation_list(trustme.CA())}
    if content is not None:
        path.write_bytes(made[content] if isinstance(content, str) else content)
    profile, pem, lists = read_profile(ClientProfile("staff", (str(tmp_path / "ca.pem"),), crl_files=(str(path),)))
    assert profile.problem.startswith(message.format(path))
    assert (pem, lists) == (b"", b"")
