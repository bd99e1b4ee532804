from __future__ import annotations

import re
from pathlib import Path

import pytest

from pilotage.lint.works import MIDDLEWARE_SAMPLES, NO_EFFECT, SAMPLES, sample_labels, sample_problems, works_by_label
from pilotage.output.label_reference import LabelEntry, entries
from pilotage.routes.middlewares import MIDDLEWARES
from pilotage.routes.schema import Homepage
from pilotage.xds.middlewares import known_options

FIELDS = [entry for entry in entries() if entry.scope == "route"]
SOURCE = Path(__file__).parents[2] / "src" / "pilotage"
_ODD = {"alias"}  # it has no effect by itself


def path_of(entry: LabelEntry) -> str:
    return entry.label.removeprefix("proxy.<alias>.")


def sample_of(entry: LabelEntry) -> str:
    return SAMPLES.get(path_of(entry)) or entry.example.partition(": ")[2].strip('"')


def test_every_label_and_middleware_has_an_answer() -> None:
    found = works_by_label()
    names = set(MIDDLEWARES.values())
    options = {f"middlewares.{name}.{option}" for name in names for option in known_options(name)}
    assert set(found) == {entry.label for entry in entries()} | {f"middlewares.{name}" for name in names} | options
    reasons = {label: answer for label, answer in found.items() if label not in options}
    assert [label for label, answer in reasons.items() if not re.match(r"yes$|(partly|no): .", answer)] == []
    assert (found["middlewares.oidc.scopes"], found["middlewares.real_ip.recursive"]) == ("yes", "no")


@pytest.mark.parametrize("entry", FIELDS, ids=path_of)
def test_a_sample_is_valid_apart_from_what_the_gateway_supports(entry: LabelEntry) -> None:
    assert sample_of(entry)
    if path_of(entry) not in _ODD:
        assert sample_problems(path_of(entry), sample_of(entry), gateway=None) == ((), True)


@pytest.mark.parametrize("name", sorted(MIDDLEWARE_SAMPLES))
def test_a_sample_of_a_middleware_is_valid_apart_from_what_the_gateway_supports(name: str) -> None:
    assert sample_problems(f"middlewares.{name}", MIDDLEWARE_SAMPLES[name], gateway=None) == ((), True)


@pytest.mark.parametrize("entry", FIELDS, ids=path_of)
def test_serve_reports_exactly_the_labels_that_do_not_work(entry: LabelEntry) -> None:
    problems, is_served = sample_problems(path_of(entry), sample_of(entry))
    answer = works_by_label()[entry.label]
    if path_of(entry) in NO_EFFECT:
        assert answer == f"no: {NO_EFFECT[path_of(entry)]}"
    elif answer.startswith("no"):
        key = f"proxy.app.{path_of(entry)}"
        assert any(
            f"{key}.".startswith(f"{problem.label}.")
            for problem in problems
            if problem.label in sample_labels(path_of(entry), sample_of(entry))
        )
        assert is_served is ("not served" not in answer)
    else:
        assert (problems, is_served) == ((), True)


def test_of_what_a_dashboard_would_show_only_some_fields_are_read() -> None:
    read = {
        name
        for file in SOURCE.rglob("*.py")
        for name in re.findall(r"\bhomepage\.(\w+)", file.read_text())
        if name in Homepage.__struct_fields__
    }
    unread = {path.partition(".")[2] for path in NO_EFFECT if path.startswith("homepage.")}
    assert read - unread == set(Homepage.__struct_fields__) - unread
