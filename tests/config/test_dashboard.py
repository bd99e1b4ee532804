from __future__ import annotations

import pytest

from pilotage.config.dashboard import DashboardSettings


@pytest.mark.parametrize(
    ("middlewares", "expected"),
    [({"oidc": None}, True), ({"forward_auth": {"route": "auth"}}, True), ({"cidr_whitelist": {}}, False), ({}, False)],
)
def test_only_some_middlewares_know_who_the_user_is(middlewares: dict[str, object], *, expected: bool) -> None:
    assert DashboardSettings(("pilotage.example.com",), middlewares).signs_in is expected
