from __future__ import annotations

from typing import Any

import pytest

from pilotage.xds.options import CertificateFiles
from pilotage.xds.server_names import NameGroup, name_groups


def _certificate(*names: str, default: bool = False) -> CertificateFiles:
    return CertificateFiles("c", "k", default=default, names=names)


@pytest.mark.parametrize(
    ("certificates", "groups"),
    [
        ([], []),
        ([_certificate("a.x")], [(("a.x",), (0,))]),
        ([_certificate("B.x", "a.x"), _certificate("c.x")], [(("a.x", "b.x"), (0,)), (("c.x",), (1,))]),
        ([_certificate("a.x"), _certificate("a.x")], [(("a.x",), (0, 1))]),  # such as ECDSA and RSA
        ([_certificate("a.x"), _certificate("b.x"), _certificate("b.x", "a.x")], [(("a.x", "b.x"), (0, 1, 2))]),
        (
            [_certificate("a.x"), _certificate("b.x", default=True)],
            [(("a.x",), (0,)), (("b.x",), (1,)), ((), (1,), True)],
        ),
        ([_certificate("a.x", "10.0.0.1"), _certificate("::1")], [(("a.x",), (0,)), ((), (0, 1))]),
        ([_certificate("10.0.0.1"), _certificate("a.x", default=True)], [(("a.x",), (1,)), ((), (1,), True)]),
        ([_certificate("*.a.x", "f*.x", "*")], [(("*.a.x",), (0,))]),
        ([_certificate()], []),
    ],
)
def test_a_name_belongs_to_the_certificates_that_have_it(
    certificates: list[CertificateFiles], groups: list[tuple[Any, ...]]
) -> None:
    assert name_groups(certificates) == [NameGroup(*group) for group in groups]
