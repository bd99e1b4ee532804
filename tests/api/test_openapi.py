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


def test_the_schemas_of_responses_are_made_from_the_structs_that_are_sent() -> None:
    for path, methods in document()["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                assert schema is None or path == "/openapi.json" or list(schema) == ["$ref"], (path, status)


def test_the_documentation_of_a_struct_describes_its_properties() -> None:
    schemas = document()["components"]["schemas"]
    envoy = schemas["EnvoyJson"]
    assert envoy["description"] == "An Envoy that is connected or was within the last hour."
    assert envoy["properties"]["rejected"]["description"] == "number of resources that the Envoy rejects."
    assert schemas["ContainerJson"]["properties"]["private_hostname"]["description"].startswith(
        "the container's address"
    )
    for name in ("RouteEntry", "ProblemDetail", "RouteList", "RouteDetail", "RecordedChange"):
        undescribed = {key for key, value in schemas[name]["properties"].items() if "description" not in value}
        assert undescribed == set(), name


def test_fields_that_labels_set_are_further_properties_of_a_route() -> None:
    schema = document()["components"]["schemas"]["RouteEntry"]
    assert schema["additionalProperties"] is True
    assert "fields" not in schema["properties"]
    assert "fields" not in schema["required"]
