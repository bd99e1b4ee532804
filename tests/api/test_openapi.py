from __future__ import annotations

import re

import msgspec

from pilotage import __version__
from pilotage.api.openapi import document


def test_the_document_is_json_and_names_the_version() -> None:
    told = msgspec.json.decode(msgspec.json.encode(document()))
    assert told["openapi"].startswith("3.1")
    assert told["info"]["version"] == __version__


def test_every_answer_is_described_and_every_name_in_a_path_is_a_parameter() -> None:
    for path, methods in document()["paths"].items():
        ((method, operation),) = methods.items()
        (content,) = operation["responses"]["200" if method == "get" else "202"]["content"].values()
        assert content["schema"], path
        named = {it["name"] for it in operation.get("parameters", []) if it["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))
