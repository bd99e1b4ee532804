from __future__ import annotations

import pytest

from pilotage.core.urlpaths import has_dot_segments


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", False),
        ("/a/b.c/..d/...", False),
        ("/..", True),
        ("/a/./b", True),
        ("/a/%2e%2E/b", True),
        ("/a%2f..%2fb", True),
        ("/a/..;x=1/b", True),
        ("/a\\..\\b", True),
    ],
)
def test_dot_segments(path: str, found: bool) -> None:
    assert has_dot_segments(path) is found
