from __future__ import annotations

import pytest

from pilotage.core.media_types import media_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("style.css", "text/css; charset=utf-8"),
        ("app.mjs", "text/javascript; charset=utf-8"),
        ("logo.svg", "image/svg+xml; charset=utf-8"),
        ("logo.png", "image/png"),
        ("font.woff2", "font/woff2"),
        ("pages.tar.gz", "application/gzip"),
        ("odd", "application/octet-stream"),
    ],
)
def test_the_name_says_the_type(name: str, expected: str) -> None:
    assert media_type(name) == expected
