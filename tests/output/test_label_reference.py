from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pilotage.labels.keys import CONTAINER_OPTIONS, SHORTCUTS, filter_labels
from pilotage.lint.works import works_by_label
from pilotage.output.label_reference import CONTAINER, LabelEntry, entries, markdown, matching
from pilotage.routes.schema import ROUTE
from tests.support.summaries import LENIENT, built, container

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "labels.md"
EXAMPLES = [entry for entry in entries() if entry.example]


def label_of(entry: LabelEntry) -> dict[str, str]:
    """The example as the label that compose makes of it."""
    found = yaml.load(entry.example, Loader=yaml.BaseLoader)
    assert isinstance(found, dict)
    return found


def test_every_label_of_containers_is_there() -> None:
    assert [entry.label for entry in CONTAINER] == [f"proxy.{name}" for name in CONTAINER_OPTIONS]
    keys = {entry.label: "" for entry in CONTAINER}
    assert filter_labels(keys).options == keys


def test_every_field_and_shortcut_is_there() -> None:
    known = {entry.label for entry in entries()}
    assert {f"proxy.<alias>.{name}" for name in ROUTE.fields} <= known
    assert {f"proxy.{name}" for name in SHORTCUTS} <= known
    assert "proxy.<alias>.access_log.filters.status_codes.values" in known


def test_every_label_has_a_description() -> None:
    assert [entry.label for entry in entries() if not entry.meaning.endswith(".") or not entry.type] == []


@pytest.mark.parametrize("entry", EXAMPLES, ids=lambda entry: entry.label)
def test_an_example_is_a_valid_label(entry: LabelEntry) -> None:
    (label,) = label_of(entry)
    assert label.replace("proxy.app.", "proxy.<alias>.") == entry.label
    labels = {"proxy.aliases": "app, other", **label_of(entry)}
    if label == "proxy.network":
        labels["proxy.network"] = "bridge"
    if label in {"proxy.app.relay_proxy_protocol_header", "proxy.app.tls_termination"}:
        labels["proxy.app.scheme"] = "tcp"  # they are for it alone
    if label.startswith("proxy.app.access_log."):
        labels["proxy.app.access_log.stdout"] = "true"  # it has to go somewhere
    problems = [*container("app", labels).errors, *built(labels, name="app", policy=LENIENT).problems]
    assert [str(problem) for problem in problems] == []


def test_a_default_is_shown_in_label_syntax() -> None:
    defaults = {entry.label: entry.default for entry in entries()}
    assert defaults["proxy.<alias>.healthcheck.interval"] == "5s"
    assert defaults["proxy.<alias>.homepage.show"] == "true"
    assert defaults["proxy.wake_timeout"] == "3m"


def test_a_word_finds_the_labels_that_have_it() -> None:
    found, hint = matching("timeout")
    assert hint == ""
    assert {"proxy.idle_timeout", "proxy.<alias>.healthcheck.timeout"} <= {entry.label for entry in found}


@pytest.mark.parametrize("word", ["health_check", "HealthCheck", "proxy.healthcheck"])
def test_a_word_is_found_in_any_spelling(word: str) -> None:
    assert "proxy.<alias>.healthcheck.path" in {entry.label for entry in matching(word)[0]}


def test_another_spelling_of_a_field_finds_it() -> None:
    assert [entry.label for entry in matching("desc")[0]] == ["proxy.<alias>.homepage.description"]


def test_a_mistyped_word_gets_a_suggestion() -> None:
    assert matching("shceme") == ((), "did you mean 'scheme'?")


def test_the_committed_page_matches_the_command() -> None:
    assert DOCUMENT.read_text() == markdown(works_by_label()), (
        "run: pilotage labels --format markdown > docs/reference/labels.md"
    )


def test_every_row_of_the_document_has_as_many_cells_as_its_head() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", markdown(works_by_label()), re.MULTILINE)
    assert len(tables) > 2
    for table in tables:
        widths = [line.replace("\\|", "").count("|") for line in table.splitlines()]
        assert set(widths) == {widths[0]}, table
