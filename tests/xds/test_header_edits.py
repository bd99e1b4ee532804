from __future__ import annotations

import pytest

from pilotage.xds.combining import Edits
from pilotage.xds.header_edits import PATH, HeaderEdits


def test_several_middlewares_that_change_headers_add_up() -> None:
    reader = HeaderEdits()
    reader.request({"setheaders": "X-A: 1", "addprefix": "/b"})
    reader.request({"addheaders": "X-B: 2", "hideheaders": "X-C", "addprefix": "a"})
    reader.answer({"hideheaders": "Server"})
    assert reader.problems == []
    assert reader.found == {
        "request": Edits((("X-A", "1"),), (("X-B", "2"),), ("X-C",)),
        "prefix": "/a/b/",
        "answer": Edits((), (), ("Server",)),
    }


@pytest.mark.parametrize(
    ("path", "valid"), [("/a/b%20c", True), ("a", True), ("/a?b", False), ("/a b", False), ("", False)]
)
def test_a_path_has_no_query(path: str, valid: bool) -> None:
    assert bool(PATH.fullmatch(path)) is valid
