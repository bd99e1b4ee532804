"""Builds the page on which visitors solve a captcha. Pure."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pilotage.request_service.pages import COMMON, document
from pilotage.xds.captcha import CAPTCHA_HEADER, CAPTCHA_PATH
from pilotage.xds.checks import denial

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["captcha_page"]

_TITLE: Final = "Are you human?"
_HCAPTCHA: Final = ("https://hcaptcha.com", "https://*.hcaptcha.com")
"""The origins that hCaptcha's documentation lists for a content security policy."""

_SCRIPT: Final = """
function solved(solution) {
  function show(text) { document.getElementById("said").textContent = text; }
  fetch("PATH", {method: "POST", headers: {"HEADER": solution}}).then(function (answer) {
    if (answer.ok) { location.reload(); return; }
    answer.text().then(show);
    if (window.hcaptcha) { hcaptcha.reset(); }
  }, function () { show("The gateway cannot be reached. Try again."); });
}
""".replace("PATH", CAPTCHA_PATH).replace("HEADER", CAPTCHA_HEADER)
_DIGEST: Final = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()


def captcha_page(script_url: str, site_key: str) -> Any:
    """Return the answer to a check with the page. Its status is 403, to distinguish it from pages of the service.

    Args:
        script_url: the provider's script.
        site_key: names the site at the provider.

    """
    origins = _origins(script_url)
    policy = "; ".join(
        (
            "default-src 'none'",
            "frame-ancestors 'none'",
            _allowed("script-src", f"'sha256-{_DIGEST}'", *origins),
            _allowed("style-src", "'unsafe-inline'", *origins),
            _allowed("connect-src", "'self'", *origins),
            _allowed("img-src", "data:", *origins),
            _allowed("frame-src", *origins),
        )
    )
    headers = [*COMMON, ("content-type", "text/html; charset=utf-8"), ("content-security-policy", policy)]
    content = (
        "<p>This service is only for people. Solve this captcha to continue.</p>"
        f'<div class="h-captcha" data-sitekey="{escape(site_key)}" data-callback="solved"></div>'
        '<p id="said" role="status"></p><noscript><p>Allow scripts to see the captcha.</p></noscript>'
        f'<script>{_SCRIPT}</script><script src="{escape(script_url)}" async defer></script>'
    )
    return denial(403, headers, document(_TITLE, content))


def _allowed(kind: str, *sources: str) -> str:
    return " ".join((kind, *sources))


def _origins(script_url: str) -> Iterable[str]:
    parts = urlsplit(script_url)
    if (parts.hostname or "").endswith("hcaptcha.com"):
        return _HCAPTCHA
    return (f"{parts.scheme}://{parts.netloc}",)
