"""JSON responses."""

from __future__ import annotations

import json

from pilotage.api import answers


def test_misleading_characters_are_escaped() -> None:
    response = answers.json({"name": "a\u202eb"})
    assert response.body == b'{"name":"a\\u202eb"}\n'
    assert response.content_type == "application/json"


def test_an_error_has_a_hint() -> None:
    response = answers.error(404, "no such name", "did you mean 'shop'?")
    assert response.status == 404
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"error": "no such name", "hint": "did you mean 'shop'?"}
