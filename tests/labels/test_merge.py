from __future__ import annotations

import pytest

from pilotage.core.budget import Budget, container_budget
from pilotage.core.yaml import Located, bare
from pilotage.labels.key_schema import FREE_KEYS, Key, KeySchema
from pilotage.labels.merge import AliasFields, Documents, Entry, merge_entries

SCHEMA = KeySchema(
    {"port": Key("port", KeySchema(lower=True)), "check": Key("check", FREE_KEYS, is_yaml=True), "bind": Key("bind")},
    protective=frozenset({"bind"}),
)


def entry(text: str, *path: str, rank: int = 3) -> Entry:
    return Entry(rank, len(path), ".".join(("proxy", "web", *path)), path, text)


def merged(*entries: Entry) -> AliasFields:
    return merge_entries("web", entries, SCHEMA, Documents(container_budget()))


def plain(fields: AliasFields) -> dict[str, object]:
    return {name: bare(value) for name, value in fields.fields.items()}


def test_without_labels_an_alias_has_no_fields() -> None:
    assert merged() == AliasFields("web")


def test_stronger_labels_apply_later_in_any_order() -> None:
    weak, strong = entry("1", "port", rank=0), entry("2", "port")
    for order in ((weak, strong), (strong, weak)):
        found = merged(*order)
        assert plain(found) == {"port": "2"}
        assert [(o.path, o.loser.value, o.winner.value) for o in found.overridden] == [("port", "1", "2")]


def test_mappings_merge_and_other_values_replace() -> None:
    found = merged(entry("check: {a: 1, b: [1]}", rank=0), entry("{b: [2], c: 3}", "check"))
    assert plain(found) == {"check": {"a": 1, "b": [2], "c": 3}}


def test_an_error_of_a_protective_field_is_marked() -> None:
    errors = merged(entry("x", "bind", rank=0), entry("y", "bind", "deeper")).errors
    assert [(error.field, error.protective) for error in errors] == [("bind", True)]


def test_unreadable_text_that_names_a_protective_field_is_marked() -> None:
    marks = {text: merged(entry(text)).errors[0].protective for text in ("bind: [", "bnid: [", "port: [", "x")}
    assert marks == {"bind: [": True, "bnid: [": True, "port: [": False, "x": False}


def test_a_label_below_a_single_value_is_reported_and_changes_nothing() -> None:
    found = merged(entry("80", "port"), entry("81", "port", "proxy"))
    assert plain(found) == {"port": "80"}
    (error,) = found.errors
    assert error.problem.message == "cannot set anything below port: proxy.web.port sets it to text, not a mapping"
    assert (error.problem.label, error.field) == ("proxy.web.port.proxy", "port")


@pytest.mark.parametrize("text", ["'{'", "'[1]'", "80"])
def test_text_that_is_not_a_mapping_cannot_be_extended(text: str) -> None:
    found = merged(entry(f"port: {text}"), entry("81", "port", "proxy"))
    assert [error.field for error in found.errors] == ["port"]


def test_null_unsets_what_a_weaker_label_set_below_a_field() -> None:
    found = merged(entry("/a", "check", "path", rank=0), entry("null", "check"))
    assert plain(found) == {"check": None}
    assert [(o.path, o.winner.source) for o in found.overridden] == [("check", "proxy.web.check")]


def test_labels_of_all_aliases_are_merged_once_and_stay_as_they_are() -> None:
    documents = Documents(container_budget())
    base = merge_entries("*", [entry("{a: 1, b: {c: 1}}", "check", rank=0)], SCHEMA, documents)
    before = plain(base)
    changed = merge_entries("web", [entry("2", "check", "b", "c"), entry("80", "port")], SCHEMA, documents, base)
    assert plain(changed) == {"check": {"a": 1, "b": {"c": "2"}}, "port": "80"}
    assert plain(base) == before == {"check": {"a": 1, "b": {"c": 1}}}


def test_a_used_up_budget_refuses_the_alias_because_the_rest_may_protect_it() -> None:
    found = merge_entries("web", [entry("80", "port")], SCHEMA, Documents(Budget("the labels have", values=0)))
    assert [(error.problem.message, error.protective) for error in found.errors] == [
        ("the labels have more than 0 values", True)
    ]
    assert found.fields == {}


def test_yaml_in_a_mapping_replaces_text_and_extends_a_mapping() -> None:
    below = KeySchema({"inner": Key("inner", FREE_KEYS, is_yaml=True)})
    schema = KeySchema({"check": Key("check", below, is_yaml=True)})

    def read(weak: str, strong: str) -> dict[str, object]:
        return plain(merge_entries("web", [entry(weak, rank=0), entry(strong)], schema, Documents(container_budget())))

    strong = "check: {inner: 'b: 2'}"
    assert read("check: {inner: text}", strong) == {"check": {"inner": "b: 2"}}
    assert read("check: {inner: {a: 1}}", strong) == {"check": {"inner": {"a": 1, "b": 2}}}
    assert read("check: {inner: {a: 1}}", "check: {inner: text}") == {"check": {"inner": "text"}}
    assert read("check: {inner: {a: 1}}", "check: {inner: [b]}") == {"check": {"inner": ["b"]}}
    assert read("check: {other: {a: 1}}", "check: {other: 'b: 2'}") == {"check": {"other": "b: 2"}}


def test_text_for_a_field_that_a_deeper_label_made_a_mapping_merges_with_it() -> None:
    found = merged(entry("81", "port", "proxy", rank=0), entry("listening: 90", "port"))
    assert (plain(found), found.errors) == ({"port": {"proxy": "81", "listening": 90}}, ())


def test_a_mapping_of_all_aliases_stays_as_it_is_when_text_extends_it() -> None:
    documents = Documents(container_budget())
    base = merge_entries("*", [entry("{a: 1}", "check", rank=0)], SCHEMA, documents)
    assert plain(merge_entries("web", [entry("{a: 2}", "check")], SCHEMA, documents, base)) == {"check": {"a": 2}}
    assert plain(base) == {"check": {"a": 1}}


def test_beyond_the_limit_of_problems_the_first_of_an_alias_and_its_first_protective_one_are_kept() -> None:
    entries = [entry("port: [", rank=0), *(entry(text) for text in ("bind: [", "bind: {", "bind: [["))]
    found = merge_entries("web", entries, SCHEMA, Documents(Budget(problems=0)))
    assert [error.protective for error in found.errors] == [False, True]


def test_unreadable_text_that_is_too_long_to_search_counts_as_protective() -> None:
    marks = [merged(entry(f"port: [{'x' * length}")).errors[0].protective for length in (16 * 1024 - 7, 16 * 1024 - 6)]
    assert marks == [False, True]


def test_inherited_fields_cost_a_sixteenth_of_a_value_each() -> None:
    fields = {f"f{i}": Located("x", "proxy.*") for i in range(16)}
    base = AliasFields("*", fields)

    def cost(budget: int) -> int:
        documents = Documents(Budget(values=budget))
        return len(merge_entries("web", [entry("80", "port")], SCHEMA, documents, base).fields)

    assert (cost(2), cost(1)) == (17, 0)


def test_copied_values_cost_a_quarter_of_a_value_each_and_eight_nested_mappings_one() -> None:
    def cost(base: dict[str, str], *path: str) -> int:
        inherited = AliasFields("*", {"check": Located({name: Located(text, "x") for name, text in base.items()}, "x")})
        for budget in range(1, 20):
            documents = Documents(Budget(values=budget))
            if merge_entries("web", [entry("80", *path)], SCHEMA, documents, inherited).fields:
                return budget
        raise AssertionError

    assert cost({f"f{i}": "x" for i in range(20)}, "check", "f") - cost({}, "check", "f") == 5
    assert cost({}, "check", *"abcdefg") - cost({}, "check", *"abcdef") == 1


def test_a_value_below_single_text_names_its_place_and_the_way_out() -> None:
    (error,) = merged(entry("80", "port"), entry("81", "port", "proxy")).errors
    problem = error.problem
    assert (problem.path, problem.hint) == (
        "port",
        "remove one of the two labels, or write proxy.web.port as a mapping",
    )


def test_an_object_label_that_is_no_mapping_names_its_place_and_the_way_out() -> None:
    (error,) = merged(entry("\n  - a", "check")).errors
    problem = error.problem
    assert (problem.message, problem.hint) == (
        "a mapping is needed here, not a list",
        "write lines such as 'name: value'",
    )
    assert (problem.label, problem.path, problem.line, problem.column) == ("proxy.web.check", "check", 2, 3)
