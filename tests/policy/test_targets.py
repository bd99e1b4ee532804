from __future__ import annotations

import pytest

from pilotage.policy.targets import matches_target


@pytest.mark.parametrize(
    ("glob", "host", "expected"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8:80", "10.1.2.3", True),
        ("10.0.0.0/8:81", "10.1.2.3", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1:80", "127.0.0.2", False),
        ("[::1]:80", "::1", True),
        ("::1", "::1", True),
        ("fd00::/8", "fd00::7", True),
        ("*.internal", "db.internal", True),
        ("db.internal:80", "db.internal", True),
        ("*", "10.1.2.3", True),
        ("*.internal", "10.1.2.3", False),
    ],
)
def test_a_target_is_a_name_an_address_or_a_network(glob: str, host: str, expected: bool) -> None:
    assert matches_target(glob, host, 80) is expected
