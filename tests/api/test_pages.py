from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from pilotage.api.pages import prefers_html


@pytest.mark.parametrize(
    ("accept", "expected"),
    [("text/html,application/xhtml+xml,*/*;q=0.8", True), ("*/*", False), ("application/json", False), ("", False)],
)
def test_only_browsers_that_show_a_page_prefer_html(accept: str, *, expected: bool) -> None:
    assert prefers_html(make_mocked_request("GET", "/", {"Accept": accept})) is expected
