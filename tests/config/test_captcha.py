from __future__ import annotations

from pathlib import Path

import pytest

from pilotage.config.load import read_config
from pilotage.core.errors import ConfigError
from pilotage.xds.captcha import CaptchaService


def read(text: str) -> CaptchaService:
    return read_config(text, file="pilotage.yml", folder=Path("/nowhere"), env={}).options.captcha


def test_the_provider_is_hcaptcha_unless_the_section_names_another() -> None:
    usual = CaptchaService()
    assert read("{}") == read("captcha: {}") == usual
    found = read("captcha: {script_url: https://c.example.com/api.js}")
    assert found == CaptchaService("https://c.example.com/api.js", usual.verify_url)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{verify_ur: https://c}", "unknown key 'verify_ur'; did you mean 'verify_url'?"),
        ("{verify_url: c}", "captcha.verify_url: not the URL of a service; write one such as https://captcha"),
        ("{script_url: 'https://c/a b'}", "captcha.script_url: not the URL of a service"),
    ],
)
def test_errors_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"captcha: {text}")
    assert message in str(caught.value)
