from __future__ import annotations

from typing import Any

import pytest

from tests.support.summaries import container


@pytest.mark.parametrize(
    ("fields", "health"),
    [
        ({"Status": "Up 3 hours"}, ""),
        ({"Status": "Up 3 hours (healthy)"}, "healthy"),
        ({"Status": "Up 3 hours (unhealthy)"}, "unhealthy"),
        ({"Status": "Up 2 seconds (health: starting)"}, "starting"),
        ({"Status": "Up 3 hours (Paused)"}, ""),
        ({"Status": "Up 3 hours (unhealthy)", "Health": {"Status": "healthy"}}, "healthy"),
        ({"Status": "Up 3 hours (healthy)", "Health": {"Status": ""}}, "healthy"),
        ({"Health": {"Status": "none"}}, ""),
    ],
)
def test_health_comes_from_its_own_field_or_the_end_of_the_status(fields: dict[str, Any], health: str) -> None:
    assert container(**fields).health == health
