from __future__ import annotations

from typing import Any

import pytest

from pilotage.xds.captcha import Captcha, captcha_audience, read_captcha, url_problem

KEYS = {"sitekey": "10000000-ffff-ffff-ffff-000000000001", "secretkey": "0x0000"}


def test_the_options_are_read() -> None:
    captcha, problems = read_captcha({**KEYS, "sessionexpiry": "2h"})
    assert problems == []
    assert captcha == Captcha(KEYS["sitekey"], "0x0000", 7200.0)
    assert read_captcha(KEYS)[0].session_seconds == 86_400
    assert "0x0000" not in repr(captcha)


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"sitekey": "a"}, "secret_key", "a captcha needs this key"),
        ({"secretkey": "a"}, "site_key", "a captcha needs this key"),
        ({**KEYS, "sitekey": [1]}, "site_key", "a captcha needs this key"),
        ({**KEYS, "sitekey": '"><script>'}, "site_key", "not a key of hCaptcha"),
        ({**KEYS, "secretkey": "canary 1"}, "secret_key", "not a key of hCaptcha"),
        (
            {**KEYS, "sessionexpiry": "soon"},
            "session_expiry",
            "not a duration; write a number with a unit, such as 30s, 5m or 1h30m",
        ),
        ({**KEYS, "sessionexpiry": "5s"}, "session_expiry", "the duration of a session is out of range"),
        ({**KEYS, "sessionexpiry": "10000h"}, "session_expiry", "the duration of a session is out of range"),
    ],
)
def test_a_wrong_option_is_reported_without_its_secret(options: dict[str, Any], option: str, message: str) -> None:
    ((found, text, hint),) = read_captcha(options)[1]
    assert (found, text) == (option, message)
    assert hint
    assert "canary" not in f"{text}{hint}"


def test_sessions_are_for_one_backend_and_site() -> None:
    captcha = Captcha("a", "s")
    found = {captcha_audience(backend, it) for backend in ("route/a", "route/b") for it in (captcha, Captcha("b", "s"))}
    assert len(found) == 4
    assert captcha_audience("route/a", captcha) == captcha_audience("route/a", Captcha("a", "other"))


@pytest.mark.parametrize(
    ("url", "valid"),
    [
        ("https://captcha.example.com/api.js?render=explicit", True),
        ("http://127.0.0.1:8000/verify", True),
        ("captcha.example.com", False),
        ("https://user:pw@captcha.example.com", False),
        ("https://captcha.example.com/;script-src", False),
        ("https://captcha.example.com:port", False),
        ("file:///etc/passwd", False),
    ],
)
def test_urls_of_services(url: str, valid: bool) -> None:
    assert (url_problem(url) is None) is valid
