from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest

from pilotage.request_service.captcha_page import captcha_page


def read(answer: Any) -> tuple[int, dict[str, str], str]:
    denied = answer.denied_response
    return denied.status.code, {it.header.key: it.header.value for it in denied.headers}, denied.body


@pytest.mark.parametrize(
    ("script_url", "origins"),
    [
        ("https://js.hcaptcha.com/1/api.js", "https://hcaptcha.com https://*.hcaptcha.com"),
        ("http://127.0.0.1:8000/api.js?hl=en", "http://127.0.0.1:8000"),
    ],
)
def test_the_page_may_run_only_its_own_script_and_the_provider_s(script_url: str, origins: str) -> None:
    status, headers, body = read(captcha_page(script_url, "site-1"))
    assert (status, headers["cache-control"]) == (403, "no-store")
    inline = re.search("<script>(.*?)</script>", body, re.DOTALL)
    assert inline is not None
    digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
    policy = dict(it.split(" ", 1) for it in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == f"'sha256-{digest}' {origins}"
    assert policy["frame-src"] == origins
    assert 'data-sitekey="site-1"' in body
    assert f'<script src="{script_url}"' in body
