from __future__ import annotations

from typing import Any

import pytest

from pilotage.xds.auth_services import APP_SEC_HEADERS, ForwardAuth, read_crowdsec

USUAL = {"route": "CrowdSec", "apikey": "k"}


def test_the_options_are_read() -> None:
    auth, problems, warnings = read_crowdsec({**USUAL, "endpoint": "/x", "timeout": "2s"})
    assert (auth, problems, warnings) == (ForwardAuth("crowdsec", "/x", (), "k", 2.0), [], [])
    assert (auth.forgeable, auth.middleware) == (APP_SEC_HEADERS, "crowdsec")
    assert ForwardAuth("auth", "/", ("A",)).forgeable == ("A",)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"route": ""}, "route"),
        ({"route": "::1"}, "route"),
        ({"apikey": "ü"}, "api_key"),
        ({"apikey": "a\nb"}, "api_key"),
        ({"endpoint": "x"}, "endpoint"),
        ({"endpoint": "/a?b"}, "endpoint"),
        ({"timeout": "soon"}, "timeout"),
        ({"timeout": "1ms"}, "timeout"),
        ({"timeout": "1h"}, "timeout"),
    ],
)
def test_wrong_options_are_problems(options: dict[str, Any], option: str) -> None:
    _, problems, warnings = read_crowdsec({**USUAL, **options})
    assert [it[0] for it in problems] == [option]
    assert warnings == []


@pytest.mark.parametrize("options", [{"port": 7422}, {"logblocked": True}, {"logonly": "true"}])
def test_options_without_effect_are_warnings(options: dict[str, Any]) -> None:
    _, problems, warnings = read_crowdsec({**USUAL, **options})
    assert (problems, len(warnings)) == ([], 1)
    assert read_crowdsec({**USUAL, "logblocked": False})[2] == []
