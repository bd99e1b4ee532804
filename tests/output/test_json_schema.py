"""The schemas accept what pilotage accepts, and find misspelled fields."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.core.yaml import bare, parse_yaml
from pilotage.output.json_schema import SCHEMAS
from pilotage.output.label_reference import entries
from tests.test_documentation_examples import FAULTY, Example, yaml_examples

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA_FOLDER = Path(__file__).parents[2] / "docs" / "schema"
KINDS = {"compose.yml": "labels", "routes.yml": "routes"}
_LIBRARY: Any = importlib.import_module("fastjsonschema")
_CHECKS: dict[str, Callable[[Any], Any]] = {name: _LIBRARY.compile(make()) for name, make in SCHEMAS.items()}


def accepts(kind: str, text: str) -> bool:
    document = parse_yaml(text)
    try:
        _CHECKS[kind](None if document is None else bare(document))
    except _LIBRARY.JsonSchemaValueException:
        return False
    return True


def covered() -> list[Example]:
    return [it for it in yaml_examples() if it.file in KINDS and "  - use:" not in it.text]


@pytest.mark.parametrize("example", covered(), ids=lambda example: example.page)
def test_only_faulty_examples_of_the_documentation_are_refused(example: Example) -> None:
    fault = FAULTY.get(example.page, "")
    is_misspelled = fault in ("admin.pot", "hi.prot") and fault in example.text
    assert accepts(KINDS[example.file], example.text) is not is_misspelled


@pytest.mark.parametrize("entry", [it for it in entries() if it.example], ids=lambda entry: entry.label)
def test_the_example_of_each_label_is_accepted_in_both_forms(entry: Any) -> None:
    labels = "services: {web: {labels: {PLACE}}}"
    assert accepts("labels", labels.replace("{PLACE}", f"{{{_quoted(entry.example)}}}"))
    key, _, value = entry.example.partition(": ")
    assert accepts("labels", labels.replace("{PLACE}", json.dumps([f"{key}={value}"])))


def _quoted(example: str) -> str:
    key, _, value = example.partition(": ")
    return f"{json.dumps(key)}: {value if value.startswith('[') else json.dumps(value.strip(chr(34)))}"


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "{host: 10.0.0.2, port: 80}",
        '{port: "2222:22", Scheme: tcp, NoTlsVerify: "true", no_tls_verify: }',
        "{healthCheck: {use_get: 1, interval: 10s, retries: '3'}, hold: 1h30m}",
        "{health_check: 'path: /up', ssl_protocols: [tlsv1.2], loadbalance: {link: a, weight: 5}}",
        "{middlewares: {redirectHTTP: {}, lan@file: , RATE_LIMIT: {average: 1}}, rules: [{name: a}]}",
        "{agent: attic, idlewatcher: {idle_timeout: 5m}, homepage: {desc: text, widget: {type: a}}}",
        "{access_log: {stdout: true, keep: 7 days, filters: {status_codes: {values: [404, 500-599]}}}}",
    ],
)
def test_routes_that_pilotage_accepts_are_accepted(fields: str) -> None:
    assert accepts("routes", f"nas: {fields}\nx-base: [anything]\n")


@pytest.mark.parametrize(
    "fields",
    [
        "{prot: 80}",
        "{port: 65536}",
        "{port: many}",
        "{scheme: htps}",
        "{hold: 5 minutes}",
        "{hold: [5s]}",
        "{no_tls_verify: maybe}",
        "{healthcheck: {pth: /}}",
        "{load_balance: {weight: 10001}}",
        "{middlewares: {redirect: {}}}",
        "{bind: localhost}",
        "[80]",
    ],
)
def test_wrong_fields_and_values_are_refused(fields: str) -> None:
    assert not accepts("routes", f"nas: {fields}\n")


@pytest.mark.parametrize(
    ("label", "is_right"),
    [
        ("proxy.web.port=80", True),
        ("proxy.web.Health_Check.path=/up", True),
        ("proxy.*.middlewares.redirectHTTP=", True),
        ("proxy.#1.middlewares.lan@file=", True),
        ("proxy.web.prot=80", False),
        ("proxy.web.healthcheck.pth=/up", False),
        ("proxy.web.middlewares.redirect=", False),
        ("com.acme.web.prot=80", True),
    ],
)
def test_a_misspelled_label_is_found_in_a_mapping_a_list_and_below_deploy(label: str, is_right: bool) -> None:
    key, _, value = label.partition("=")
    for labels in ([label], {key: value}):
        assert accepts("labels", json.dumps({"services": {"web": {"labels": labels}}})) is is_right
        assert accepts("labels", json.dumps({"services": {"web": {"deploy": {"labels": labels}}}})) is is_right


def test_values_of_labels_are_checked_unless_compose_substitutes_them() -> None:
    text = "services: {web: {labels: {proxy.web.no_tls_verify: '%s'}}}"
    assert accepts("labels", text % "true")
    assert accepts("labels", text % "${VERIFY:-true}")
    assert not accepts("labels", text % "maybe")
    assert not accepts("labels", "services: {web: {labels: {proxy.web.healthcheck: {path: /}}}}")


def test_each_field_has_a_description() -> None:
    def described(schema: Any) -> int:
        found = 0
        for name, item in schema.items() if isinstance(schema, dict) else ():
            if name == "properties" and "middlewares" in item:
                assert all(field["description"] for field in item.values())
                assert item["hold"]["default"] == "0s"
                assert item["response_header_timeout"]["description"].endswith("Default: 1m.")
                found += len(item)
            found += sum(map(described, item)) if isinstance(item, list) else described(item)
        return found

    assert described(SCHEMAS["routes"]()) > 30


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schema_is_up_to_date(name: str) -> None:
    """Run ``pilotage schema NAME > docs/schema/NAME.schema.json`` after a change."""
    assert json.loads((SCHEMA_FOLDER / f"{name}.schema.json").read_text()) == SCHEMAS[name]()
